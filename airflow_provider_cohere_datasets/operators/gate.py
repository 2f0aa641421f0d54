"""The operator that decides whether the next job may start."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any, Literal, NoReturn

from airflow.providers.common.compat.sdk import AirflowSkipException

from airflow_provider_cohere_datasets.assets.events import emit
from airflow_provider_cohere_datasets.core.errors import CohereDatasetNotFoundError, CohereGateError, CohereInputError
from airflow_provider_cohere_datasets.core.filters import check_choice, check_flags
from airflow_provider_cohere_datasets.core.selection import FILTERS, MAX_SELECTED, Selection
from airflow_provider_cohere_datasets.hooks.errors import airflow_errors, for_airflow
from airflow_provider_cohere_datasets.lineage.datasets import read
from airflow_provider_cohere_datasets.operators.base import CohereDatasetsOperator, rendered_later

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence
    from datetime import timedelta

    from airflow.providers.common.compat.sdk import Context

    from airflow_provider_cohere_datasets.core.gating import Findings, Requirements, Tolerance
    from airflow_provider_cohere_datasets.core.models import Dataset
    from airflow_provider_cohere_datasets.core.selection import DatasetRef, DatasetRefs

_SELECTION = ("dataset_id", "dataset_ids", *FILTERS)
_REQUIREMENTS = (
    "required_status",
    "min_total_examples",
    "min_train_examples",
    "min_eval_examples",
    "min_trainable_token_count",
    "max_warnings",
    "max_age",
    "allowed_types",
)


class CohereDatasetGateOperator(CohereDatasetsOperator):
    """Decide whether the next job may start on a dataset, or on several.

    The datasets are given in exactly one way: as ``dataset_id``, as ``dataset_ids``, or by a filter that is made of
    ``dataset_type``, ``validation_status``, ``after`` and ``before``. A gate that is shut lists every violation with
    its figures in one message; of several datasets it names the first 20 in some 4,000 characters, and the task's log
    has all of them.

    Numbers may be texts, because templates render to text. An argument that renders to an empty text is not set;
    only ``allowed_types`` is refused then.

    :param dataset_id: the dataset; one that does not exist is an error, whatever ``on_violation`` says.
    :param dataset_ids: several datasets, at most 1,000; each takes one request. One that does not exist has failed.
    :param dataset_type: only datasets of this type.
    :param validation_status: only datasets with this status. Those with another one are not looked at, so leave it
        out when the gate is to find them.
    :param after: only datasets created at or after this time; a time without a zone is UTC.
    :param before: only datasets created before this time.
    :param required_status: the validation status that each must have.
    :param min_total_examples: examples at least. For types without metrics of their own, rows count.
    :param min_train_examples: examples for training at least.
    :param min_eval_examples: examples for evaluation at least.
    :param min_trainable_token_count: trainable tokens at least.
    :param max_warnings: validation warnings at the most.
    :param max_age: time since the creation at the most, as a ``timedelta`` or in seconds; Cohere deletes a dataset 30
        days after its creation. A dataset without a creation time fails.
    :param allowed_types: dataset types that are fine.
    :param max_failed: how many of several datasets may fail: a number, or a share above 0 and below 1, rounded down.
    :param allow_empty: whether a selection without any dataset passes; it is a violation otherwise.
    :param on_violation: whether a gate that is shut fails the task for good, or skips it and, with the usual trigger
        rule, everything downstream.
    :param partition_outlets: whether each asset in ``outlets`` gets one event for each dataset that passed, with its
        id as the partition's key (Airflow 3.3 and later), in place of one event.
    :returns: for ``dataset_id`` its summary; otherwise ``passed`` (a list of ids), ``failed`` (the violations of the
        first 20 datasets that were tolerated, by id) and ``checked`` (a number).
    :raises CohereInputError: for bad arguments, before any request; as soon as the DAG is read unless they are
        templates. Also if a filter finds more than 1,000 datasets.
    :raises CohereDatasetNotFoundError: if ``dataset_id`` does not exist.
    :raises CohereGateError: if the gate is shut, unless it skips.
    """

    template_fields = (*CohereDatasetsOperator.template_fields, *_SELECTION, *_REQUIREMENTS, "max_failed")

    def __init__(
        self,
        *,
        dataset_id: DatasetRef | None = None,
        dataset_ids: DatasetRefs | None = None,
        dataset_type: str | None = None,
        validation_status: str | None = None,
        after: str | datetime | None = None,
        before: str | datetime | None = None,
        required_status: str = "validated",
        min_total_examples: int | str | None = None,
        min_train_examples: int | str | None = None,
        min_eval_examples: int | str | None = None,
        min_trainable_token_count: int | str | None = None,
        max_warnings: int | str | None = None,
        max_age: timedelta | float | str | None = None,
        allowed_types: Sequence[str] | None = None,
        max_failed: float | str = 0,
        allow_empty: bool = False,
        on_violation: Literal["fail", "skip"] = "fail",
        partition_outlets: bool = False,
        **kwargs: Any,
    ) -> None:
        super().__init__(**kwargs)
        self.dataset_id = dataset_id
        self.dataset_ids = dataset_ids
        self.dataset_type = dataset_type
        self.validation_status = validation_status
        self.after = after
        self.before = before
        self.required_status = required_status
        self.min_total_examples = min_total_examples
        self.min_train_examples = min_train_examples
        self.min_eval_examples = min_eval_examples
        self.min_trainable_token_count = min_trainable_token_count
        self.max_warnings = max_warnings
        self.max_age = max_age
        self.allowed_types = allowed_types
        self.max_failed = max_failed
        self.allow_empty = allow_empty
        self.on_violation = on_violation
        self.partition_outlets = partition_outlets
        with airflow_errors():
            check_choice("on_violation", on_violation, "fail", "skip")
            check_flags(allow_empty=allow_empty, partition_outlets=partition_outlets)
            self._read(unknown=[name for name in self.template_fields if rendered_later(getattr(self, name, None))])

    def _read(self, unknown: Sequence[str] = ()) -> tuple[Selection, Requirements, Tolerance]:
        """Check the arguments, but for those whose values are not known yet."""
        from airflow_provider_cohere_datasets.core.gating import Requirements, Tolerance

        def known(names: Sequence[str]) -> dict[str, Any]:
            return {name: getattr(self, name) for name in names if name not in unknown}

        selection = Selection.of(known(_SELECTION), [name for name in unknown if name in _SELECTION])
        tolerance = Tolerance.of(known(["max_failed"]).get("max_failed"))
        if selection.dataset_id is not None and tolerance != Tolerance():
            raise CohereInputError("max_failed is for several datasets: give dataset_ids or a filter, not dataset_id.")
        return selection, Requirements.of(**known(_REQUIREMENTS)), tolerance

    def execute(self, context: Context) -> dict[str, Any]:
        """Check the datasets, and return what may be used."""
        from airflow_provider_cohere_datasets.core.gating import check

        with airflow_errors():
            selection, requirements, tolerance = self._read()
        if selection.dataset_id is not None:
            dataset = self.hook.get_dataset(selection.dataset_id)
            self.record_lineage(self.hook, read([dataset.id], self.hook.account.base_url))
            violations = requirements.violations(dataset, datetime.now(UTC))
            if violations:
                self._shut(f"Dataset {dataset.id!r} may not be used: {'; '.join(violations)}.", dataset.id)
            self.log.info("Dataset %r may be used.", dataset.id)
            summary = dataset.summary()
            self._tell(context, summary, {dataset.id: summary})
            return summary
        findings = check(self._fetched(selection), requirements, datetime.now(UTC))
        self.record_lineage(self.hook, read([*findings.passed, *findings.failed], self.hook.account.base_url))
        for dataset_id, violations in findings.failed.items():
            self.log.warning("Dataset %r may not be used: %s.", dataset_id, "; ".join(violations))
        self._judge(findings, selection, tolerance)
        self.log.info("%d of %d datasets may be used.", len(findings.passed), findings.checked)
        result = findings.result()
        self._tell(context, result, {dataset_id: {"id": dataset_id} for dataset_id in findings.passed})
        return result

    def _tell(self, context: Context, extra: dict[str, Any], datasets: dict[str, dict[str, Any]]) -> None:
        host = self.hook.account.base_url
        emit(context, self.outlets, extra=extra, datasets=datasets, host=host, partitions=self.partition_outlets)

    def _fetched(self, selection: Selection) -> Iterator[tuple[str, Dataset | None]]:
        """Fetch the datasets, each with its id; ``None`` for one that does not exist."""
        if selection.filters is None:
            for dataset_id in selection.dataset_ids or ():
                try:
                    yield dataset_id, self.hook.get_dataset(dataset_id)
                except CohereDatasetNotFoundError:
                    yield dataset_id, None
            return
        datasets = self.hook.list_datasets(**selection.filters._asdict(), limit=MAX_SELECTED + 1)
        if len(datasets) > MAX_SELECTED:
            message = f"More than {MAX_SELECTED} datasets match, too many to check at once: narrow the filter."
            raise for_airflow(CohereInputError(message), self.conn_id)
        for dataset in datasets:
            yield dataset.id, dataset

    def _judge(self, findings: Findings, selection: Selection, tolerance: Tolerance) -> None:
        if not findings.checked:
            if not self.allow_empty:
                self._shut(f"There is no dataset to check: {selection}.")
        elif len(findings.failed) > tolerance.of_them(findings.checked):
            self._shut(findings.message(tolerance))

    def _shut(self, message: str, dataset_id: str | None = None) -> NoReturn:
        if self.on_violation == "skip":
            raise AirflowSkipException(message)
        raise for_airflow(CohereGateError(message, dataset_id=dataset_id), self.conn_id)
