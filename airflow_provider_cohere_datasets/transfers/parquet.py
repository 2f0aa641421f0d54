"""From the list of datasets to a Parquet file in a data lake."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any, Literal

from airflow.providers.common.compat.sdk import AirflowSkipException

from airflow_provider_cohere_datasets.assets.events import emit
from airflow_provider_cohere_datasets.core.filters import check_choice, check_flags
from airflow_provider_cohere_datasets.hooks.configuration import page_size
from airflow_provider_cohere_datasets.hooks.errors import airflow_errors
from airflow_provider_cohere_datasets.lineage.datasets import exported as lineage_of_export
from airflow_provider_cohere_datasets.operators.base import CohereDatasetsOperator

if TYPE_CHECKING:
    import os

    import jinja2
    from airflow.providers.common.compat.sdk import Context, ObjectStoragePath

    from airflow_provider_cohere_datasets.lake.export import Export


class CohereDatasetsToParquetOperator(CohereDatasetsOperator):
    """Exports the datasets of an organisation into one Parquet file: every dataset, every field, never half a file.

    The same interval and path give the same file again: it is replaced in one step, and until then the old one stays.
    Without a window it is a full snapshot. With ``after="{{ data_interval_start }}"`` and
    ``before="{{ data_interval_end }}"`` it has what was created in the interval, and each dataset falls into exactly
    one interval. (In Airflow 3 a run of a cron schedule has an interval only with ``CronDataIntervalTimetable``.)

    Returns (XCom, and the ``extra`` of the event of every asset in ``outlets``): path, rows, bytes, sha256, pages,
    requests, filters, schema_version, bad_rows and newest_created_at.

    :param output_path: the file: a local path, or a URL of a storage that Airflow knows (``file``, ``s3``, ``gs``,
        ``abfs``), for example ``s3://lake/cohere/datasets/snapshot_date={{ ds }}/datasets.parquet``. Put names of
        datasets into it with ``{{ name | path_segment }}``. (templated)
    :param conn_id: the connection to Cohere. (templated)
    :param storage_conn_id: the connection to the storage; the one in the URL, or the environment's, if ``None``.
        (templated)
    :param dataset_type: only datasets of this type. (templated)
    :param validation_status: only datasets in this status. (templated)
    :param before: only datasets created before this time; a time without a zone is UTC. (templated)
    :param after: only datasets created at or after this time. (templated)
    :param page_size: rows to ask for at a time; the default is ``[cohere_datasets] page_size``, 100 if not set.
        (templated)
    :param limit: rows at the most. (templated)
    :param if_empty: if there is no dataset: ``write`` an empty file, ``skip`` the task and leave the old file, or
        ``fail``.
    :param on_bad_row: what to do with values that cannot be read exactly: ``keep`` the row with nulls and warn, or
        ``fail``.
    :param part_urls: part URLs carry a signature that grants access for about 12 hours: ``strip`` it, ``drop`` the
        whole URL, or ``keep`` both.
    :param include_samples: whether sample rows land; if not, their lists are empty.
    :param keep_raw: whether a column ``_raw`` has each row as it came, with URLs and samples treated as above.
    :param request_policy: values of :class:`~airflow_provider_cohere_datasets.core.account.RequestPolicy` by name.
    :raises CohereInputError: for bad arguments or a place that cannot be written, before any request.
    :raises CohereStorageError: if writing fails later; the old file stays, here and with all that follow.
    :raises CohereListingError: if the list cannot be proved complete.
    :raises CohereBadRowError: if a row cannot be read and ``on_bad_row`` is ``fail``.
    :raises CohereEmptyExportError: if there is no dataset and ``if_empty`` is ``fail``.
    :raises CohereTaskStoppedError: if the task is told to stop.
    """

    template_fields = (
        *CohereDatasetsOperator.template_fields,
        "output_path",
        "storage_conn_id",
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
        output_path: str | os.PathLike[str] | ObjectStoragePath,
        storage_conn_id: str | None = None,
        dataset_type: str | None = None,
        validation_status: str | None = None,
        before: str | datetime | None = None,
        after: str | datetime | None = None,
        page_size: int | str | None = None,
        limit: int | str | None = None,
        if_empty: Literal["write", "skip", "fail"] = "write",
        on_bad_row: Literal["keep", "fail"] = "keep",
        part_urls: Literal["strip", "drop", "keep"] = "strip",
        include_samples: bool = True,
        keep_raw: bool = False,
        **kwargs: Any,
    ) -> None:
        super().__init__(**kwargs)
        with airflow_errors():
            check_choice("if_empty", if_empty, "write", "skip", "fail")
            check_choice("on_bad_row", on_bad_row, "keep", "fail")
            check_choice("part_urls", part_urls, "strip", "drop", "keep")
            check_flags(include_samples=include_samples, keep_raw=keep_raw)
        self.output_path = output_path
        self.storage_conn_id = storage_conn_id
        self.dataset_type = dataset_type
        self.validation_status = validation_status
        self.before = before
        self.after = after
        self.page_size = page_size
        self.limit = limit
        self.if_empty = if_empty
        self.on_bad_row = on_bad_row
        self.part_urls = part_urls
        self.include_samples = include_samples
        self.keep_raw = keep_raw
        self._export: Export | None = None

    def render_template(
        self,
        content: Any,
        context: Context,
        jinja_env: jinja2.Environment | None = None,
        seen_oids: set[int] | None = None,
    ) -> Any:
        """Render a template, in which the filter ``path_segment`` may be used.

        This and no other method is called for mapped tasks too.
        """
        from airflow_provider_cohere_datasets.lake.paths import path_segment

        jinja_env = jinja_env or self.get_template_env()
        jinja_env.filters["path_segment"] = path_segment
        return super().render_template(content, context, jinja_env, seen_oids)

    def execute(self, context: Context) -> dict[str, Any]:
        """Export, and tell the assets in ``outlets`` what was exported."""
        with airflow_errors():
            self._export = self._prepare(context)
            exported = self._export.run(self.hook.stream_pages)
        if exported is None:
            raise AirflowSkipException(f"There is no dataset to export to {self.output_path}.")
        self.log.info("Exported %(rows)d rows, %(bytes)d bytes, to %(path)s.", exported)
        emit(context, self.outlets, extra=exported)
        self.record_lineage(self.hook, lineage_of_export(exported, self.hook.account.base_url))
        return exported

    def on_kill(self) -> None:
        """Stop the export; what it had written is thrown away, and the old file stays."""
        if self._export is not None:
            with airflow_errors():
                self._export.stop()

    def _prepare(self, context: Context) -> Export:
        """Check what templates gave, and bring together what an export needs."""
        from airflow_provider_cohere_datasets.lake.decode import Decoder
        from airflow_provider_cohere_datasets.lake.export import Export, Scope
        from airflow_provider_cohere_datasets.lake.publish import Place
        from airflow_provider_cohere_datasets.lake.schema import Stamp

        scope = Scope.of(
            dataset_type=self.dataset_type,
            validation_status=self.validation_status,
            before=self.before,
            after=self.after,
            page_size=page_size(self.page_size),
            limit=self.limit,
        )
        decoder = Decoder(
            part_urls=self.part_urls,
            include_samples=self.include_samples,
            keep_raw=self.keep_raw,
            on_bad_row=self.on_bad_row,
        )
        run_id, logical_date = context.get("run_id"), context.get("logical_date")
        stamp = Stamp(
            datetime.now(UTC),
            run_id if isinstance(run_id, str) else None,  # In a user's unit test, a context may hold anything.
            logical_date if isinstance(logical_date, datetime) else None,
        )
        place = Place(self.output_path, self.storage_conn_id)
        return Export(place, scope, decoder, stamp, if_empty=self.if_empty, log=self.log)
