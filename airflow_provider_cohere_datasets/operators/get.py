"""Returns what is known of one dataset."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from airflow_provider_cohere_datasets.operators.base import CohereDatasetsOperator

if TYPE_CHECKING:
    from airflow.providers.common.compat.sdk import Context

#: More validation warnings do not belong into XCom; there may be one for each row.
MAX_WARNINGS = 100


class CohereGetDatasetOperator(CohereDatasetsOperator):
    """Return what is known of one dataset, as small JSON (``GET /v1/datasets/{id}``).

    Samples and URLs are left out: the URLs are signed, so whoever reads them can download the data. Of the validation
    warnings the first 100 are kept.

    :param dataset_id: its id.
    :raises CohereInputError: if it cannot be an id, before any request.
    :raises CohereDatasetNotFoundError: if there is no such dataset.
    """

    template_fields = (*CohereDatasetsOperator.template_fields, "dataset_id")

    def __init__(self, *, dataset_id: str, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.dataset_id = dataset_id

    def execute(self, context: Context) -> dict[str, Any]:
        """Return the dataset."""
        dataset = self.hook.get_dataset(self.dataset_id)
        result: dict[str, Any] = _shareable(dataset.model_dump(mode="json", by_alias=True, exclude_none=True))
        warnings = result.get("validation_warnings", ())
        if len(warnings) > MAX_WARNINGS:
            more = len(warnings) - MAX_WARNINGS
            result["validation_warnings"] = [*warnings[:MAX_WARNINGS], f"... and {more} more"]
        return result


def _shareable(value: Any) -> Any:
    """Return JSON without rows of the data and without URLs, wherever they stand and also in fields new to us."""
    if isinstance(value, dict):
        hidden = ("url", "urls", "samples")
        return {name: _shareable(item) for name, item in value.items() if not name.lower().endswith(hidden)}
    if isinstance(value, list):
        return [_shareable(item) for item in value]
    return value
