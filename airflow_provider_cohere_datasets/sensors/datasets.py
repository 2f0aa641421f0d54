"""Sensors for Cohere's Datasets API."""

from __future__ import annotations

import time
from datetime import timedelta
from functools import cached_property
from inspect import unwrap
from typing import TYPE_CHECKING, Any, Literal

from airflow.providers.common.compat.sdk import (
    AirflowNotFoundException,
    AirflowSensorTimeout,
    AirflowSkipException,
    AirflowTaskTimeout,
    BaseSensorOperator,
    PokeReturnValue,
    conf,
)

from airflow_provider_cohere_datasets.assets.events import emit
from airflow_provider_cohere_datasets.core.errors import (
    CohereAuthenticationError,
    CohereConnectionError,
    CohereDatasetsError,
    CohereInputError,
    CoherePermissionError,
    error_from_details,
)
from airflow_provider_cohere_datasets.core.filters import check_choice, check_flags
from airflow_provider_cohere_datasets.core.poll_policy import TRIGGER_MARGIN, PollPolicy
from airflow_provider_cohere_datasets.hooks.configuration import poll_interval
from airflow_provider_cohere_datasets.hooks.datasets import CohereDatasetsHook
from airflow_provider_cohere_datasets.hooks.errors import airflow_errors, for_airflow
from airflow_provider_cohere_datasets.hooks.retries import RetryPolicyMixin
from airflow_provider_cohere_datasets.lineage.datasets import LineageMixin, read
from airflow_provider_cohere_datasets.links.datasets import CohereDatasetsLink

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from airflow.providers.common.compat.sdk import Context

    from airflow_provider_cohere_datasets.core.looking import Looked, Looker
    from airflow_provider_cohere_datasets.core.selection import DatasetRef, DatasetRefs
    from airflow_provider_cohere_datasets.core.wait_event import WaitEvent
    from airflow_provider_cohere_datasets.core.waiting import Goal, Watch

#: The key in the task's state store, where there is one.
_STATE = "cohere_datasets_wait"
#: How Airflow says in all its versions that its own limit on the trigger ended the wait.
_FAIL, _TRIGGER_TIMEOUT = "__fail__", "Trigger timeout"
#: Seconds after the timeout at which the last look is made, so that Airflow's clock has passed it too.
_PASSED = 0.001
#: Seconds below which Airflow may lose a task that is rescheduled. The last look is rather made a little late.
_SHORTEST_RESCHEDULE = 10.0


class CohereDatasetValidationSensor(RetryPolicyMixin, LineageMixin, BaseSensorOperator):
    """Wait until Cohere has validated one dataset, or all of several.

    ``validated`` is success. ``failed`` fails at once, with Cohere's reason, and Airflow does not retry it.
    ``unknown``, ``queued``, ``processing`` and any status that is not known yet wait. Part data and row counts show
    up before the status is ``validated`` and are not taken for it. A dataset that does not exist fails after 3
    seconds, in which it is asked for three times.

    In the modes ``poke`` and ``reschedule`` the task itself looks; with ``deferrable=True`` it looks once and then
    waits in the triggerer without taking a worker slot. The outcome, the exception and what ``soft_fail`` makes of it
    are the same in each mode, and in each the last look is made when the time is up; in ``reschedule`` up to ten
    seconds later, because Airflow may lose tasks that come back sooner. Below Airflow 3.3 nothing remembers there from
    one look to the next what was seen, so failed looks are not counted.

    :param dataset_id: the dataset; or
    :param dataset_ids: several of them. They are looked at together, through the list of datasets where that takes
        fewer requests.
    :param skipped_as: whether a validation that Cohere skipped is a failure or a success.
    :param fail_fast: whether the first dataset that fails ends the wait for all. If not, all are waited for, and the
        error names every one that failed.
    :param poke_interval: seconds between two looks; ``[cohere_datasets] poll_interval`` by default, 30 if not set.
    :param exponential_backoff: whether the interval doubles after each look, up to ``max_wait``.
    :param jitter: share of the interval that is random, so that many sensors do not look at once.
    :param max_failures: looks in a row that may fail for reasons that pass, each after the tries of the request
        policy; ``None`` for any number, as ``silent_fail`` does.
    :param deferrable: whether to wait in the triggerer; the default is ``[operators] default_deferrable``.
    :param start_from_trigger: whether to start in the triggerer without a first look on a worker (Airflow 3.3; a mapped
        task, and one whose ids another task returns, starts on a worker all the same). Needs ``deferrable``.
    :param partition_outlets: whether each asset in ``outlets`` gets one event for each dataset, with its id as the
        partition's key (Airflow 3.3 and later), in place of one event.
    :param conn_id: the connection.
    :param request_policy: tries and deadlines of each request that win over the connection's extra.
    :returns: for each dataset its id, status, rows, bytes and number of warnings; a list for ``dataset_ids``.
    :raises CohereInputError: for bad arguments, before any request.
    :raises CohereDatasetFailedError: if the validation failed.
    :raises CohereDatasetSkippedError: if it was skipped, and that is not a success.
    :raises CohereDatasetNotFoundError: if the dataset does not exist.
    :raises AirflowSensorTimeout: after ``timeout`` seconds, with the last status.
    """

    template_fields = ("conn_id", "dataset_id", "dataset_ids")
    ui_color = "#f5f0ea"
    operator_extra_links = (CohereDatasetsLink(),)
    # The class must not start from the trigger: a mapped task would defer with what was not expanded yet.
    start_trigger_args = None

    def __init__(
        self,
        *,
        dataset_id: DatasetRef | None = None,
        dataset_ids: DatasetRefs | None = None,
        skipped_as: Literal["fail", "success"] = "fail",
        fail_fast: bool = True,
        poke_interval: float | timedelta | None = None,
        jitter: float = 0.1,
        max_failures: int | None = 5,
        deferrable: bool | None = None,
        start_from_trigger: bool = False,
        partition_outlets: bool = False,
        conn_id: str = CohereDatasetsHook.default_conn_name,
        request_policy: Mapping[str, Any] | None = None,
        **kwargs: Any,
    ) -> None:
        super().__init__(poke_interval=poll_interval(poke_interval), **kwargs)
        self.dataset_id = dataset_id
        self.dataset_ids = dataset_ids
        self.skipped_as = skipped_as
        self.fail_fast = fail_fast
        self.jitter = jitter
        self.max_failures = max_failures
        self.conn_id = conn_id
        self.request_policy = request_policy
        if deferrable is None:
            deferrable = conf.getboolean("operators", "default_deferrable", fallback=False)
        self.deferrable = deferrable
        self.start_from_trigger = start_from_trigger
        self.partition_outlets = partition_outlets
        with airflow_errors():  # Of a mapped task, these are what another task gave, and no retry mends them.
            check_choice("skipped_as", skipped_as, "fail", "success")
            check_flags(
                fail_fast=fail_fast,
                deferrable=deferrable,
                start_from_trigger=start_from_trigger,
                partition_outlets=partition_outlets,
            )
            if (dataset_id is None) == (dataset_ids is None):
                both = "not None" if dataset_id is None else "not both"
                raise CohereInputError(f"Give either dataset_id or dataset_ids, {both}.")
            self._poll_policy()
            if start_from_trigger:
                self._start_from_trigger()

    def _start_from_trigger(self) -> None:
        from airflow.triggers.base import BaseTrigger, StartTriggerArgs

        if not self.deferrable:
            raise CohereInputError("start_from_trigger needs deferrable=True.")
        several = [None] if self.dataset_ids is None else self.dataset_ids
        # The trigger cannot be handed what another task returns, nor ask for it, nor can a text be rendered to a list;
        # and below Airflow 3.3 it gets a template as it is written.
        unknown = "xcom_pull" if hasattr(BaseTrigger, "render_template_fields") else "{"
        if not isinstance(several, list | tuple) or not all(
            value is None or (isinstance(value, str) and unknown not in value)
            for value in (self.conn_id, self.dataset_id, *several)
        ):
            return
        self.start_trigger_args = StartTriggerArgs(
            trigger_cls="airflow_provider_cohere_datasets.triggers.datasets.CohereDatasetValidationTrigger",
            trigger_kwargs=self._trigger_kwargs(started_at=None),
            next_method="execute_complete",
            next_kwargs=None,
            timeout=self._trigger_timeout(self.timeout),
        )

    def _poll_policy(self) -> PollPolicy:
        return PollPolicy(
            interval=self.poke_interval,
            exponential=bool(self.exponential_backoff),
            max_interval=self.max_wait.total_seconds() if self.max_wait is not None else None,
            jitter=self.jitter,
            max_failures=None if self.silent_fail else self.max_failures,
        )

    def _trigger_kwargs(self, started_at: float | None, memory: dict[str, Any] | None = None) -> dict[str, Any]:
        poll = self._poll_policy()
        return {
            "dataset_id": self.dataset_id,
            "dataset_ids": self.dataset_ids,
            "conn_id": self.conn_id,
            "skipped_as": self.skipped_as,
            "fail_fast": self.fail_fast,
            "poke_interval": poll.interval,
            "exponential_backoff": poll.exponential,
            "max_wait": poll.max_interval,
            "jitter": poll.jitter,
            "max_failures": poll.max_failures,
            "timeout": self.timeout,
            "started_at": started_at,
            "request_policy": dict(self.request_policy) if self.request_policy else None,
            "memory": memory,
        }

    @staticmethod
    def _trigger_timeout(seconds: float) -> timedelta:
        return timedelta(seconds=max(0.0, seconds) + TRIGGER_MARGIN)

    @cached_property
    def hook(self) -> CohereDatasetsHook:
        """The hook on the connection."""
        return CohereDatasetsHook(self.conn_id, request_policy=self.request_policy)

    @cached_property
    def _looker(self) -> Looker:
        from airflow_provider_cohere_datasets.core.looking import Looker

        return Looker()

    @cached_property
    def _watch(self) -> Watch:
        from airflow_provider_cohere_datasets.core.waiting import Watch

        return Watch(
            self._ids(),
            self._goal(),
            max_failures=self._poll_policy().max_failures,
            tell=self.log.info,
            warn=self.log.warning,
        )

    def _goal(self) -> Goal:
        from airflow_provider_cohere_datasets.core.waiting import Goal

        return Goal(self.skipped_as, self.fail_fast)

    def _ids(self) -> list[str]:
        from airflow_provider_cohere_datasets.core.selection import waited_for

        with airflow_errors():
            return waited_for(self.dataset_id, self.dataset_ids)

    def _ids_for_trigger(self) -> dict[str, Any]:
        """Return the ids as texts; the user's may be what other tasks returned, which no database stores."""
        ids = self._ids()
        return {"dataset_id": ids[0]} if self.dataset_ids is None else {"dataset_ids": ids}

    def poke(self, context: Context) -> bool | PokeReturnValue:
        """Look once; raise what ends the wait."""
        self._look_began = time.time()
        if self.reschedule and not self.deferrable:
            self._recall_stored(context)
        watch = self._watch
        try:
            over = watch.see(self._look())
        except CohereDatasetsError as error:
            over = watch.fail(error)
        except AirflowNotFoundException as error:
            missing = CohereConnectionError(
                f"There is no connection {self.conn_id!r}, or it cannot be read just now: {error}"
            )
            if not watch.seen:  # Most likely its name is wrong, so nobody shall wait for the next look to hear of it.
                raise for_airflow(missing, self.conn_id) from error
            over = watch.fail(missing)
        if over is None and (self.reschedule or self.deferrable):
            self._store(context)
        return False if over is None else PokeReturnValue(True, self._result(over, context))

    def _look(self) -> dict[str, Looked]:
        try:
            return self._look_once()
        except (CohereAuthenticationError, CoherePermissionError):
            # The key may have been replaced since the wait began; if not, another request would be refused as well.
            if not self.hook.has_another_key():
                raise
            return self._look_once()

    def _look_once(self) -> dict[str, Looked]:
        return self.hook.run(self._looker.look(self._watch.open_ids, self.hook.account.policy))

    def _memory(self) -> dict[str, Any]:
        return {**self._watch.memory(), **self._looker.memory()}

    def _store(self, context: Context) -> None:
        """Store the wait for the next process, where Airflow has a store for that."""
        store = context.get("task_state_store")
        if store is not None:
            store.set(_STATE, {"try": context["ti"].try_number, **self._memory(), **self._ids_for_trigger()})

    def _recall_stored(self, context: Context) -> None:
        store = context.get("task_state_store")
        stored = None if store is None else store.get(_STATE)
        # What an earlier try of the task has seen is no business of this one.
        if isinstance(stored, dict) and stored.get("try") == context["ti"].try_number:
            self._wait_for(stored)
            self._recall(stored)

    def _recall(self, memory: object) -> None:
        self._watch.recall(memory)
        self._looker.recall(memory)

    def execute(self, context: Context) -> Any:
        """Wait, in whatever mode the sensor is in."""
        if not self.deferrable:
            return self._as_configured(lambda: self._poke_until_done(context))
        started_at = time.time()
        first = self._as_configured(lambda: self.poke(context))
        if isinstance(first, PokeReturnValue):
            return first.xcom_value
        if time.time() - started_at >= self.timeout > 0:  # Airflow would lose a task that comes back at once.
            return self._as_configured(lambda: self._last_look(context))
        from airflow_provider_cohere_datasets.triggers.datasets import CohereDatasetValidationTrigger

        ids = self._ids_for_trigger()
        self.defer(
            trigger=CohereDatasetValidationTrigger(
                **{**self._trigger_kwargs(started_at, self._memory()), **ids}, carried=ids
            ),
            method_name="execute_complete",
            timeout=self._trigger_timeout(self.timeout - (time.time() - started_at)),
        )

    def _poke_until_done(self, context: Context) -> Any:
        entered = time.time()
        try:
            # Airflow 2 takes super().execute() for a call from outside a task, and warns or refuses.
            return unwrap(BaseSensorOperator.execute)(self, context)
        except AirflowSensorTimeout:
            pass
        except AirflowSkipException as over:
            # With soft_fail and never_fail Airflow has skips of its own, which would say less than ours.
            if over.__cause__ is not None:
                raise _skipped(over.__cause__) from over.__cause__
        if self._watch.failures or self._look_began - self._began(context, entered) >= self.timeout:
            raise self._timed_out()
        return self._last_look(context)  # Because that look took until the time was up.

    def _began(self, context: Context, entered: float) -> float:
        """Return when the wait began: rescheduled, that was in another process."""
        ti: Any = context.get("ti") if self.reschedule else None
        # Airflow 2 does not tell: one look more.
        first = ti.get_first_reschedule_date(context) if hasattr(ti, "get_first_reschedule_date") else None
        return first.timestamp() if first is not None else entered

    def _get_next_poke_interval(self, started_at: Any, run_duration: Callable[[], float], poke_count: int) -> float:
        elapsed = run_duration()
        delay = max(self._poll_policy().delay(elapsed), self._watch.pause)
        least = _SHORTEST_RESCHEDULE if self.reschedule and self.timeout else 0.0
        return min(delay, max(least, self.timeout - elapsed) + _PASSED)

    def resume_execution(self, next_method: str, next_kwargs: dict[str, Any] | None, context: Context) -> Any:
        """Go on after the trigger; where no triggerer told the end of the wait in time, look once more."""
        if next_method == _FAIL and (next_kwargs or {}).get("error") == _TRIGGER_TIMEOUT:
            self._recall_stored(context)
            return self._as_configured(lambda: self._last_look(context, self._over_in_the_triggerer(context)))
        try:
            return super().resume_execution(next_method, next_kwargs, context)
        except AirflowSkipException as over:
            # Airflow puts a skip of its own in place of ours, which would not say why.
            if isinstance(over.__cause__, AirflowSkipException):
                raise over.__cause__ from over.__cause__.__cause__
            raise

    def _over_in_the_triggerer(self, context: Context) -> Callable[[], BaseException]:
        """Return what ends a wait that Airflow ended: where it starts in the triggerer, execution_timeout may have."""
        limit = self.execution_timeout.total_seconds() if self.execution_timeout else self.timeout
        mapped = getattr(context.get("ti"), "map_index", -1) >= 0
        if limit >= self.timeout or mapped or getattr(self, "start_trigger_args", None) is None:
            return self._timed_out
        return lambda: AirflowTaskTimeout(
            f"Not validated within the execution_timeout of {limit:g} s. {self._watch.last_seen()}"
        )

    def _last_look(self, context: Context, over: Callable[[], BaseException] | None = None) -> Any:
        last = self.poke(context)
        if isinstance(last, PokeReturnValue):
            return last.xcom_value
        raise (over or self._timed_out)()

    def _wait_for(self, ids: object) -> None:
        """Wait for what the wait began with: templates are rendered anew in each process, and may name others now."""
        if isinstance(ids, dict) and ids.keys() & {"dataset_id", "dataset_ids"}:
            self.dataset_id, self.dataset_ids = ids.get("dataset_id"), ids.get("dataset_ids")

    def execute_complete(self, context: Context, event: object = None) -> Any:
        """Take the trigger's event: return the result or raise what ended the wait.

        :raises CohereEventError: for an event that is none of ours or of another version.
        """
        from airflow_provider_cohere_datasets.core.wait_event import WaitEvent

        self._wait_for(event.get("carried") if isinstance(event, dict) else None)

        def complete() -> Any:
            with airflow_errors(self.conn_id):
                over = WaitEvent.from_json(event, self._ids(), self._goal().done)
            if over.outcome != "timeout":
                return self._result(over, context)
            self._recall(over.recollection())
            return self._last_look(context)

        return self._as_configured(complete)

    def _result(self, over: WaitEvent, context: Context) -> Any:
        if over.outcome == "error":
            raise for_airflow(error_from_details(over.error or {}), self.conn_id)
        rows = over.results()
        host, datasets = self.hook.account.base_url, {str(row["id"]): row for row in rows}
        extra = rows[0] if self.dataset_ids is None else {"datasets": rows}
        emit(context, self.outlets, extra=extra, datasets=datasets, host=host, partitions=self.partition_outlets)
        self.record_lineage(self.hook, read(datasets, host))
        return rows[0] if self.dataset_ids is None else rows

    def _timed_out(self) -> AirflowSensorTimeout:
        return AirflowSensorTimeout(f"Not validated within {self.timeout:g} s. {self._watch.last_seen()}")

    def _as_configured(self, run: Callable[[], Any]) -> Any:
        """Run something and, with ``soft_fail`` or ``never_fail``, skip where it fails, in each mode alike."""
        try:
            return run()
        except AirflowSkipException:
            raise
        except (Exception, AirflowTaskTimeout) as error:
            # What is nobody's end of a wait is skipped by never_fail alone; where we poke, Airflow does that itself.
            ends = isinstance(error, CohereDatasetsError | AirflowSensorTimeout | AirflowTaskTimeout)
            if (ends and (self.soft_fail or self.never_fail)) or (self.deferrable and self.never_fail):
                raise _skipped(error) from error
            raise


def _skipped(error: BaseException) -> AirflowSkipException:
    return AirflowSkipException(f"Skipped, because the wait failed: {error}")
