"""Operators for Cohere's Datasets API."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from airflow_provider_cohere_datasets.core.errors import CohereInputError
from airflow_provider_cohere_datasets.core.filters import given
from airflow_provider_cohere_datasets.core.paging import DEFAULT_PAGE_SIZE, checked_count
from airflow_provider_cohere_datasets.hooks.errors import airflow_errors, for_airflow
from airflow_provider_cohere_datasets.operators.base import CohereDatasetsOperator
from airflow_provider_cohere_datasets.operators.gate import CohereDatasetGateOperator

if TYPE_CHECKING:
    from collections.abc import Sequence
    from datetime import datetime

    from airflow.providers.common.compat.sdk import Context

__all__ = [
    "CohereCreateDatasetOperator",
    "CohereDatasetGateOperator",
    "CohereDeleteDatasetOperator",
    "CohereGetDatasetOperator",
    "CohereGetDatasetUsageOperator",
    "CohereListDatasetsOperator",
]

#: More ids than this do not belong into XCom.
MAX_LISTED = 1000
#: Nor do more validation warnings; there may be one for each row.
MAX_WARNINGS = 100


class CohereListDatasetsOperator(CohereDatasetsOperator):
    """Return the ids of datasets, for dynamic task mapping (``GET /v1/datasets``).

    For a record of everything use
    :class:`~airflow_provider_cohere_datasets.transfers.parquet.CohereDatasetsToParquetOperator`; XCom is not the place
    for thousands of rows.

    :param dataset_type: only this type.
    :param validation_status: only this status.
    :param before: only datasets created before this time; a time without a zone is UTC.
    :param after: only datasets created at or after this time.
    :param page_size: rows to ask for at a time.
    :param limit: ids at the most. Without it, more than 1,000 ids are an error.
    :raises CohereInputError: for bad arguments, before any request.
    :raises CohereListingError: if the list cannot be proved complete.
    """

    template_fields = (
        *CohereDatasetsOperator.template_fields,
        "dataset_type",
        "validation_status",
        "before",
        "after",
        "page_size",
        "limit",
    )

    def __init__(
        self,
        *,
        dataset_type: str | None = None,
        validation_status: str | None = None,
        before: str | datetime | None = None,
        after: str | datetime | None = None,
        page_size: int = DEFAULT_PAGE_SIZE,
        limit: int | str | None = None,
        **kwargs: Any,
    ) -> None:
        super().__init__(**kwargs)
        self.dataset_type = dataset_type
        self.validation_status = validation_status
        self.before = before
        self.after = after
        self.page_size = page_size
        self.limit = limit

    def execute(self, context: Context) -> list[str]:
        """Return the ids, in the server's order."""
        limit = self.limit
        if isinstance(limit, str):
            with airflow_errors():
                text = given("limit", limit)
                limit = None if text is None else checked_count("limit", text)
        datasets = self.hook.list_datasets(
            dataset_type=self.dataset_type,
            validation_status=self.validation_status,
            before=self.before,
            after=self.after,
            page_size=self.page_size,
            limit=MAX_LISTED + 1 if limit is None else limit,
        )
        if limit is None and len(datasets) > MAX_LISTED:
            raise for_airflow(
                CohereInputError(
                    f"More than {MAX_LISTED} datasets match, too many for XCom: narrow the filters, set limit, or use "
                    "CohereDatasetsToParquetOperator."
                ),
                self.conn_id,
            )
        return [dataset.id for dataset in datasets]


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


class CohereGetDatasetUsageOperator(CohereDatasetsOperator):
    """Return the bytes that the organisation stores (``GET /v1/datasets/usage``); the quota is 10 GB."""

    def execute(self, context: Context) -> dict[str, Any]:
        """Return the usage in bytes."""
        return {"organization_usage": self.hook.get_usage()}


class CohereCreateDatasetOperator(CohereDatasetsOperator):
    """Upload a file as a new dataset (``POST /v1/datasets``) and return its id.

    The file is streamed. An upload is never sent twice; where nobody can tell whether it arrived, the task fails.

    :param name: the name, under 50 characters; names may repeat.
    :param dataset_type: the type, for example ``embed-input``.
    :param data: a ``.jsonl``, ``.csv`` or ``.txt`` file: a local path or the URL of an object store.
    :param eval_data: a second file for evaluation.
    :param keep_original_file: whether Cohere keeps the file as it was uploaded.
    :param skip_malformed_input: whether rows that do not fit are dropped with a warning.
    :param keep_fields: fields to keep beside the required ones.
    :param optional_fields: the same for fields that may be missing.
    :param text_separator: what separates the entries of a ``.txt`` file.
    :param csv_delimiter: the one character that separates the columns of a ``.csv`` file.
    :raises CohereInputError: for bad arguments or files, before any request.
    :raises CohereUploadUnknownError: if nobody can tell whether the dataset was created.
    """

    template_fields = (
        *CohereDatasetsOperator.template_fields,
        "name",
        "dataset_type",
        "data",
        "eval_data",
        "keep_fields",
        "optional_fields",
    )

    def __init__(
        self,
        *,
        name: str,
        dataset_type: str,
        data: str,
        eval_data: str | None = None,
        keep_original_file: bool | None = None,
        skip_malformed_input: bool | None = None,
        keep_fields: Sequence[str] | None = None,
        optional_fields: Sequence[str] | None = None,
        text_separator: str | None = None,
        csv_delimiter: str | None = None,
        **kwargs: Any,
    ) -> None:
        super().__init__(**kwargs)
        self.name = name
        self.dataset_type = dataset_type
        self.data = data
        self.eval_data = eval_data
        self.keep_original_file = keep_original_file
        self.skip_malformed_input = skip_malformed_input
        self.keep_fields = keep_fields
        self.optional_fields = optional_fields
        self.text_separator = text_separator
        self.csv_delimiter = csv_delimiter

    def execute(self, context: Context) -> str:
        """Upload and return the id."""
        dataset_id = self.hook.create_dataset(
            name=self.name,
            dataset_type=self.dataset_type,
            data=self.data,
            eval_data=self.eval_data,
            keep_original_file=self.keep_original_file,
            skip_malformed_input=self.skip_malformed_input,
            keep_fields=self.keep_fields,
            optional_fields=self.optional_fields,
            text_separator=self.text_separator,
            csv_delimiter=self.csv_delimiter,
        )
        self.log.info("Created dataset %s from %s.", dataset_id, self.data)
        return dataset_id


class CohereDeleteDatasetOperator(CohereDatasetsOperator):
    """Delete a dataset (``DELETE /v1/datasets/{id}``).

    :param dataset_id: its id.
    :param ignore_missing: whether a dataset that is gone already counts as done.
    :raises CohereInputError: if it cannot be an id, before any request.
    :raises CohereDatasetNotFoundError: if it is gone and ``ignore_missing`` is false.
    """

    template_fields = (*CohereDatasetsOperator.template_fields, "dataset_id")

    def __init__(self, *, dataset_id: str, ignore_missing: bool = True, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.dataset_id = dataset_id
        self.ignore_missing = ignore_missing

    def execute(self, context: Context) -> None:
        """Delete the dataset."""
        deleted = self.hook.delete_dataset(self.dataset_id, ignore_missing=self.ignore_missing)
        self.log.info("Dataset %s %s.", self.dataset_id, "is deleted" if deleted else "was gone already")
