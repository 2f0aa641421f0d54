"""Returns how much the organisation stores."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from airflow_provider_cohere_datasets.operators.base import CohereDatasetsOperator

if TYPE_CHECKING:
    from airflow.providers.common.compat.sdk import Context


class CohereGetDatasetUsageOperator(CohereDatasetsOperator):
    """Return the bytes that the organisation stores (``GET /v1/datasets/usage``); the quota is 10 GB."""

    def execute(self, context: Context) -> dict[str, Any]:
        """Return the usage in bytes."""
        return {"organization_usage": self.hook.get_usage()}
