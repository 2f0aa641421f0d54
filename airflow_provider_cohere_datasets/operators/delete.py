"""Deletes datasets: one, several, or those that a filter finds."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from time import monotonic
from typing import TYPE_CHECKING, Any, NamedTuple, NoReturn

from airflow_provider_cohere_datasets.core.errors import (
    CohereDatasetNotFoundError,
    CohereDatasetsError,
    CohereInputError,
    CohereInvalidRequestError,
    CohereTaskStoppedError,
)
from airflow_provider_cohere_datasets.core.filters import ListFilters, check_flags, checked_count, seconds_in
from airflow_provider_cohere_datasets.core.selection import MAX_SELECTED, checked_id, checked_ids, is_listed
from airflow_provider_cohere_datasets.hooks.errors import airflow_errors, for_airflow
from airflow_provider_cohere_datasets.operators.base import CohereDatasetsOperator, rendered_later

if TYPE_CHECKING:
    from collections.abc import Sequence

    from airflow.providers.common.compat.sdk import Context

    from airflow_provider_cohere_datasets.core.selection import DatasetRef, DatasetRefs

#: How many datasets are deleted at once, unless the user allows more.
DEFAULT_MAX_DELETIONS = 100

_FILTERS = ("older_than", "dataset_type", "validation_status")
_SELECTION = ("dataset_id", "dataset_ids", *_FILTERS)
#: Permanent errors that are about one dataset, so that the others may still be deleted.
_ITS_OWN = (CohereDatasetNotFoundError, CohereInvalidRequestError, CohereInputError)
#: When so many datasets in a row failed in a way that may pass, the server is down: the others would fail as well.
_FAILURES_IN_A_ROW = 5
_SHOWN = 5
_PROGRESS_SECONDS = 10.0


class CohereDeleteDatasetOperator(CohereDatasetsOperator):
    """Delete a dataset, or several (``DELETE /v1/datasets/{id}``).

    The datasets are given in exactly one way: as ``dataset_id``, as ``dataset_ids``, or by a filter that is made of
    ``older_than``, ``dataset_type`` and ``validation_status``. What a filter finds is listed first, checked row by row
    on the client, and deleted oldest first; a list that cannot be proved complete is a warning, and what is missing in
    it stays for the next run.

    Of several datasets, one that cannot be deleted does not keep the others: they are deleted, and then the task fails
    with how many are left, so that its next try goes on with those. An error that would meet all of them, as a refused
    key, ends it at once; so do five failures in a row that the server may recover from.

    Numbers and ``dry_run`` may be texts, because templates render to text. An argument that selects datasets must not
    become ``None`` or an empty text when the task runs: a template or a task that gave no value would make the
    selection wider.

    :param dataset_id: the dataset.
    :param dataset_ids: several datasets, at most 1,000. ``None`` among them, as from a task that made no dataset, is
        left out with a warning, unless ``ignore_missing`` is false.
    :param older_than: only datasets whose creation lies longer back than this, as a ``timedelta`` or in seconds,
        measured when the task runs; Cohere deletes a dataset 30 days after its creation. A dataset without a creation
        time is never deleted by it. 0 alone would delete everything, and is refused.
    :param dataset_type: only datasets of this type.
    :param validation_status: only datasets with this status.
    :param max_deletions: datasets at the most, where several are given or found. If there are more, none is deleted.
    :param dry_run: whether only to log and return what would be deleted. ``dataset_id`` and ``dataset_ids`` are asked
        for, to see whether they exist.
    :param ignore_missing: whether a dataset that is gone already counts as done. What a filter found and was gone
        meanwhile always does.
    :returns: ``deleted`` (the ids, the first 1,000 of them), ``count`` (how many), ``missing`` (how many were gone
        already) and ``dry_run``; only of the try that succeeded.
    :raises CohereInputError: for bad arguments, before any request; as soon as the DAG is read unless they are
        templates. Also if there are more datasets than ``max_deletions``.
    :raises CohereDatasetNotFoundError: if a dataset is gone and ``ignore_missing`` is false.
    :raises CohereTaskStoppedError: if the task is told to stop before it comes to the end.
    :raises CohereDatasetsError: if some could not be deleted: the first error of those that another try may cure, or
        else the first.
    """

    template_fields = (*CohereDatasetsOperator.template_fields, *_SELECTION, "max_deletions", "dry_run")

    def __init__(
        self,
        *,
        dataset_id: DatasetRef | None = None,
        dataset_ids: DatasetRefs | None = None,
        older_than: timedelta | float | str | None = None,
        dataset_type: str | None = None,
        validation_status: str | None = None,
        max_deletions: int | str = DEFAULT_MAX_DELETIONS,
        dry_run: bool | str = False,
        ignore_missing: bool = True,
        **kwargs: Any,
    ) -> None:
        super().__init__(**kwargs)
        self.dataset_id = dataset_id
        self.dataset_ids = dataset_ids
        self.older_than = older_than
        self.dataset_type = dataset_type
        self.validation_status = validation_status
        self.max_deletions = max_deletions
        # Hides a method of Airflow's that only logs templates, and that only Airflow 2 calls.
        self.dry_run = dry_run  # type: ignore[assignment,method-assign]
        self.ignore_missing = ignore_missing
        self._told_to_stop = False
        self._deleting: str | None = None
        # What a template or another task gives may turn out to be nothing.
        self._selected_by = {name for name in _SELECTION if getattr(self, name) is not None}
        # An instance of a mapped task is only checked when it runs, with what is known of it then.
        if not getattr(self, "_BaseOperator__from_mapped", False):
            with airflow_errors():
                self._read(unknown=[name for name in self.template_fields if rendered_later(getattr(self, name, None))])

    def _read(self, unknown: Sequence[str] = ()) -> _Order:
        """Check the arguments, but for those whose values are not known yet."""

        def known(name: str, default: Any = None) -> Any:
            return default if name in unknown else getattr(self, name)

        check_flags(ignore_missing=self.ignore_missing)
        for name in _SELECTION:
            value = known(name, default="not known yet")
            if (value is None and name in self._selected_by) or (isinstance(value, str) and not value.strip()):
                raise CohereInputError(
                    f"{name} is empty: a template or another task gave no value, and without one more might be deleted "
                    "than you want."
                )
        dataset_id = known("dataset_id")
        order = _Order(
            None if dataset_id is None else checked_id(dataset_id),
            checked_ids(self._without_nothing(known("dataset_ids"))),
            seconds_in("older_than", known("older_than"), zero=True),
            ListFilters.of(dataset_type=known("dataset_type"), validation_status=known("validation_status")),
            checked_count("max_deletions", known("max_deletions", default=DEFAULT_MAX_DELETIONS)),
            _flag("dry_run", known("dry_run", default=False)),
        )
        order.check(perhaps_more=any(name in unknown for name in _SELECTION))
        return order

    def _given_by_mapping(self, context: Context) -> set[str]:
        """Return the arguments of an instance of a mapped task, of which another task may have given ``None``."""
        dag: Any = context.get("dag")
        partial = getattr(dag.get_task(self.task_id), "partial_kwargs", None) if dag is not None else None
        if partial is None:
            return set()
        # Airflow has no public way to tell None from what was not given, as a key that is left out in expand_kwargs().
        given = getattr(self, "_BaseOperator__init_kwargs", _SELECTION)
        return {name for name in given if partial.get(name, name) is not None}

    def _without_nothing(self, ids: Any) -> Any:
        """Leave out what has no id: its task made no dataset, and that is not to keep the others."""
        if not (self.ignore_missing and is_listed(ids)):
            return ids
        ids = list(ids)
        there = [each for each in ids if each is not None]
        if nothing := len(ids) - len(there):
            self.log.warning("%d of %d dataset_ids are None and left out.", nothing, len(ids))
        return there

    def execute(self, context: Context) -> dict[str, Any]:
        """Delete the datasets, and return which."""
        self._selected_by |= self._given_by_mapping(context)
        with airflow_errors():
            order = self._read()
        if order.filtered:
            ids = self._found(order)
        else:
            ids = [order.dataset_id] if order.dataset_id is not None else list(order.dataset_ids or ())
            if len(ids) > order.max_deletions:
                self._refuse(f"{len(ids)} datasets are given", order)
        deleted, missing = (ids, 0) if order.filtered and order.dry_run else self._delete(ids, order)
        done = "would be deleted" if order.dry_run else "are deleted"
        self.log.info("%d datasets %s, %d were gone already: %s", len(deleted), done, missing, deleted[:MAX_SELECTED])
        return {
            "deleted": deleted[:MAX_SELECTED],
            "count": len(deleted),
            "missing": missing,
            "dry_run": order.dry_run,
        }

    def on_kill(self) -> None:
        """Delete no more; from Airflow 3.3 on a task that is told to stop goes on by itself."""
        self._told_to_stop = True

    def _found(self, order: _Order) -> list[str]:
        """Return the ids of what the filter finds, oldest first."""
        before = None if order.older_than is None else datetime.now(UTC) - order.older_than
        # Enough to say how many there are in most cases, without reading a long list only to refuse it.
        limit = max(order.max_deletions, MAX_SELECTED) + 1
        listed = self.hook.list_datasets(
            dataset_type=order.filters.dataset_type,
            validation_status=order.filters.validation_status,
            before=before,
            limit=limit,
            require_complete=False,
        )
        # The list keeps rows whose time cannot be read, so as not to lose them; here that would be the loss.
        rows = [row for row in listed if before is None or (row.created_at is not None and row.created_at < before)]
        if len(listed) == limit:
            self._refuse(f"More than {limit - 1} datasets match", order)
        if len(rows) > order.max_deletions:
            self._refuse(f"{len(rows)} datasets match", order)
        if unclear := len(listed) - len(rows):
            self.log.warning("%d datasets stay, because their creation time is not known.", unclear)
        latest = datetime.max.replace(tzinfo=UTC)
        return [row.id for row in sorted(rows, key=lambda row: row.created_at or latest)]

    def _refuse(self, how_many: str, order: _Order) -> NoReturn:
        message = f"{how_many}, more than max_deletions ({order.max_deletions}) allows, so none was deleted."
        raise for_airflow(CohereInputError(message), self.conn_id)

    def _delete(self, ids: Sequence[str], order: _Order) -> tuple[list[str], int]:
        """Delete datasets; return the ids of those that there were, and how many were gone already."""
        deleted: list[str] = []
        try:
            missing, failed = self._delete_each(ids, order, deleted)
        except BaseException:  # A timeout or a stop too, wherever it comes.
            unknown = f"; whether {self._deleting!r} is deleted is not known" if self._deleting else ""
            if deleted or unknown:
                self.log.warning("Stopped after %d of %d datasets: %s%s", len(deleted), len(ids), deleted, unknown)
            raise
        if failed:
            self.log.warning("%d of %d datasets were deleted: %s", len(deleted), len(ids), deleted)
            raise _summary(failed, len(ids), left=len(ids) - len(deleted) - missing)
        return deleted, missing

    def _delete_each(
        self, ids: Sequence[str], order: _Order, deleted: list[str]
    ) -> tuple[int, dict[str, CohereDatasetsError]]:
        """Delete datasets and note which; return how many were gone already, and the errors of the others."""
        failed: dict[str, CohereDatasetsError] = {}
        missing = in_a_row = 0
        self.hook.get_conn()  # A connection that is not usable is the fault of no dataset.
        shown = monotonic()
        for dataset_id in ids:
            if self._told_to_stop:
                raise CohereTaskStoppedError(f"The task was told to stop; {len(deleted)} of {len(ids)} were deleted.")
            try:
                if self._existed(dataset_id, order):
                    deleted.append(dataset_id)
                else:
                    missing += 1
            except CohereDatasetsError as error:
                self._deleting = None
                if order.dataset_id is not None:
                    raise
                self.log.warning("Dataset %r is not deleted: %s", dataset_id, error)
                if error.permanent and not isinstance(error, _ITS_OWN):
                    raise
                failed[dataset_id] = error
                in_a_row = 0 if error.permanent else in_a_row + 1
                if in_a_row == _FAILURES_IN_A_ROW:
                    break
            else:
                in_a_row = 0
            if monotonic() - shown >= _PROGRESS_SECONDS:
                shown = monotonic()
                self.log.info("%d of %d datasets done.", len(deleted) + missing + len(failed), len(ids))
        return missing, failed

    def _existed(self, dataset_id: str, order: _Order) -> bool:
        """Delete a dataset, or only look at it; return whether there was one."""
        ignore_missing = self.ignore_missing or order.filtered
        if not order.dry_run:
            self._deleting = dataset_id
            existed = self.hook.delete_dataset(dataset_id, ignore_missing=ignore_missing)
            self._deleting = None
            return existed
        try:
            self.hook.get_dataset(dataset_id)
        except CohereDatasetNotFoundError:
            if not ignore_missing:
                raise
            return False
        return True


class _Order(NamedTuple):
    """What is to be deleted, and how."""

    dataset_id: str | None
    dataset_ids: tuple[str, ...] | None
    older_than: timedelta | None
    filters: ListFilters
    max_deletions: int
    dry_run: bool

    @property
    def filtered(self) -> bool:
        """Whether a filter finds the datasets."""
        return self.older_than is not None or self.filters != ListFilters()

    def check(self, *, perhaps_more: bool) -> None:
        """Refuse what is given in no way, in several, or by a filter that finds everything.

        :param perhaps_more: whether arguments that are not known yet may make it whole.
        """
        ways = [name for name in ("dataset_id", "dataset_ids") if getattr(self, name) is not None]
        ways += ["a filter"] * self.filtered
        if len(ways) > 1 or not (ways or perhaps_more):
            raise CohereInputError(
                f"Give either dataset_id, dataset_ids or a filter ({', '.join(_FILTERS)}), "
                f"not {' and '.join(ways) or 'none of them'}."
            )
        if self.older_than == timedelta(0) and self.filters == ListFilters() and not perhaps_more:
            raise CohereInputError(
                "older_than of 0 alone would delete every dataset: give a longer time, or another filter as well."
            )


def _summary(failed: dict[str, CohereDatasetsError], count: int, left: int) -> CohereDatasetsError:
    """Return one error for all, which is permanent only if each of them is."""
    worst = next((error for error in failed.values() if not error.permanent), next(iter(failed.values())))
    ids = ", ".join(f"{dataset_id!r:.100}" for dataset_id in list(failed)[:_SHOWN])
    more = ", …" if len(failed) > _SHOWN else ""
    untried = f", and {left - len(failed)} were not tried" if left > len(failed) else ""
    worst.message = (
        f"{len(failed)} of {count} datasets could not be deleted ({ids}{more}){untried}; for example: {worst.message}"
    )
    return worst


def _flag(name: str, value: Any) -> bool:
    # Nothing else is taken for False: an empty text must not turn a dry run into a deletion.
    flag = {"true": True, "false": False}.get(str(value).strip().lower())
    if flag is None:
        raise CohereInputError(f"{name} must be True or False, not {value!r:.40}.")
    return flag
