"""Lists the ids of datasets, for dynamic task mapping."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from airflow_provider_cohere_datasets.core.errors import CohereInputError
from airflow_provider_cohere_datasets.core.filters import optional_count
from airflow_provider_cohere_datasets.hooks.errors import airflow_errors, for_airflow
from airflow_provider_cohere_datasets.operators.base import CohereDatasetsOperator

if TYPE_CHECKING:
    from datetime import datetime

    from airflow.providers.common.compat.sdk import Context

#: More ids than this do not belong into XCom.
MAX_LISTED = 1000


class CohereListDatasetsOperator(CohereDatasetsOperator):
    """Return the ids of datasets, for dynamic task mapping (``GET /v1/datasets``).

    For a record of everything use
    :class:`~airflow_provider_cohere_datasets.transfers.parquet.CohereDatasetsToParquetOperator`; XCom is not the place
    for thousands of rows. No ids at all skip the tasks that are mapped over them.

    :param dataset_type: only this type.
    :param validation_status: only this status.
    :param before: only datasets created before this time; a time without a zone is UTC.
    :param after: only datasets created at or after this time.
    :param page_size: rows to ask for at a time; ``[cohere_datasets] page_size`` by default, 100 if not set.
    :param limit: ids at the most. Without it, more than 1,000 ids are an error. Airflow itself maps over 1,024 at the
        most, unless ``[core] max_map_length`` says otherwise.
    :raises CohereInputError: for bad arguments, before any request; also if more than 1,000 datasets match and no
        limit is set, which is found without reading the rest of the list.
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
        page_size: int | str | None = None,
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
        with airflow_errors():
            limit = optional_count("limit", self.limit)
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
