"""Returns how much the organisation stores, and may fail before its quota is full."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from airflow_provider_cohere_datasets.core.errors import CohereInputError, CohereUsageError
from airflow_provider_cohere_datasets.core.filters import number_in, optional_count
from airflow_provider_cohere_datasets.core.limits import QUOTA
from airflow_provider_cohere_datasets.hooks.errors import airflow_errors, for_airflow
from airflow_provider_cohere_datasets.operators.base import CohereDatasetsOperator, rendered_later

if TYPE_CHECKING:
    from airflow.providers.common.compat.sdk import Context


class CohereGetDatasetUsageOperator(CohereDatasetsOperator):
    """Return how much the organisation stores (``GET /v1/datasets/usage``), and fail if that is too much.

    Both numbers may be texts, because templates render to text. An argument that renders to an empty text is not set.

    :param quota: bytes that the organisation may store; 10 GB, as Cohere's documentation has it, unless yours differs.
    :param fail_above: a share of the quota, above 0 and up to 1, for example 0.9; if more is stored, the task fails
        for good.
    :returns: ``organization_usage`` and ``quota`` in bytes, and ``share``, the one divided by the other, to 4 digits.
    :raises CohereInputError: for bad arguments, before any request; as soon as the DAG is read unless they are
        templates.
    :raises CohereUsageError: if more is stored than ``fail_above`` allows.
    """

    template_fields = (*CohereDatasetsOperator.template_fields, "quota", "fail_above")

    def __init__(self, *, quota: int | str = QUOTA, fail_above: float | str | None = None, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.quota = quota
        self.fail_above = fail_above
        with airflow_errors():
            for value, check in ((quota, _quota), (fail_above, _share)):
                if not rendered_later(value):
                    check(value)

    def execute(self, context: Context) -> dict[str, Any]:
        """Return the usage."""
        with airflow_errors():
            quota, most = _quota(self.quota), _share(self.fail_above)
        usage = self.hook.get_usage()
        self.log.info("The organisation stores %d of %d bytes.", usage, quota)
        if most is not None and usage / quota > most:
            message = f"The organisation stores {usage} of {quota} bytes, above the fail_above of {most:g}."
            raise for_airflow(CohereUsageError(message), self.conn_id)
        return {"organization_usage": usage, "quota": quota, "share": round(usage / quota, 4)}


def _quota(value: Any) -> int:
    return optional_count("quota", value) or QUOTA


def _share(value: Any) -> float | None:
    share = number_in("fail_above", value)
    if share is not None and not 0 < share <= 1:
        raise CohereInputError(f"fail_above must be a share of the quota, above 0 and up to 1, not {value!r:.40}.")
    return share
