"""Triggers for Cohere's Datasets API."""

from __future__ import annotations

import asyncio
import json
import math
import time
from contextlib import aclosing
from dataclasses import replace
from functools import cached_property
from inspect import signature
from typing import TYPE_CHECKING, Any, ClassVar

from airflow.providers.common.compat.triggers import BaseEventTrigger
from airflow.triggers.base import TriggerEvent

from airflow_provider_cohere_datasets.core.errors import CohereDatasetsError, CohereInputError
from airflow_provider_cohere_datasets.core.poll_policy import TRIGGER_MARGIN, PollPolicy
from airflow_provider_cohere_datasets.hooks.datasets import CohereDatasetsHook
from airflow_provider_cohere_datasets.triggers.events import CohereDatasetEventTrigger

if TYPE_CHECKING:
    from collections.abc import (
        AsyncGenerator,
        AsyncIterator,
        Callable,
        Collection,
        Hashable,
        Iterable,
        Mapping,
        Sequence,
    )

    from airflow_provider_cohere_datasets.core.account import RequestPolicy
    from airflow_provider_cohere_datasets.core.calls import Flow
    from airflow_provider_cohere_datasets.core.looking import Looked, Looker
    from airflow_provider_cohere_datasets.core.wait_event import WaitEvent
    from airflow_provider_cohere_datasets.core.waiting import Watch

    #: What one look of the poll loop gives: what it showed, or the error it ended with; and the waits it was made for.
    Look = tuple[Mapping[str, Looked] | CohereDatasetsError, Collection[Watch]]

#: Seconds that those who share a loop wait for one of them because the server asks for that.
_PATIENCE = 5.0

__all__ = ["CohereDatasetEventTrigger", "CohereDatasetValidationTrigger"]


class CohereDatasetValidationTrigger(BaseEventTrigger):
    """Waits in the triggerer until datasets are validated, and fires one event.

    On Airflow 3.3 and later all waits on one connection with the same interval share one poll loop in a triggerer, so
    the number of requests does not grow with the number of waiting tasks. Below, or with ``exponential_backoff``, or
    with ``shared=False``, each trigger looks for itself.

    The constructor never raises and takes unknown keywords: an exception there would take the whole triggerer down,
    and during an upgrade a newer worker may send what an older triggerer does not know. Bad values end in an error
    event instead. Nothing is deleted at Cohere when the triggerer stops; nor when the task is marked or cleared, unless
    ``delete_on_kill`` says so.

    :param dataset_ids: the datasets.
    :param dataset_id: a single one, instead.
    :param conn_id: the connection; the key itself never stands in a trigger.
    :param skipped_as: whether a validation that Cohere skipped is a failure or a success.
    :param fail_fast: whether the first dataset that fails ends the wait for all.
    :param poke_interval: seconds between two looks.
    :param exponential_backoff: whether the interval doubles after each look.
    :param max_wait: seconds; the interval grows no further.
    :param jitter: share of the interval that is random.
    :param max_failures: looks in a row that may fail for reasons that pass; ``None`` for any number.
    :param timeout: seconds from ``started_at`` until the wait ends with a timeout.
    :param started_at: seconds since 1970 when the wait began with the task's own first look; ``None`` if the trigger
        makes the first look.
    :param request_policy: tries and deadlines of each request.
    :param memory: what the task's own first look showed.
    :param shared: whether to share the poll loop where Airflow can.
    :param delete_on_kill: whether to delete the datasets if a user marks or clears the waiting task (Airflow 3.3).
    :param carried: what the event carries back to the task, as small JSON; ``dag.test()`` knows no other way.
    """

    #: The waits of this process by poll loop, so that each loop knows what to look for; and the monotonic time until
    #: which each rests, because the server asked for that.
    _watches: ClassVar[dict[Hashable, dict[Watch, float]]] = {}
    # Other event triggers may not choose a queue, because they belong to no task; this one does.
    supports_triggerer_queue = True

    def __init__(
        self,
        dataset_ids: Sequence[str] | None = None,
        dataset_id: str | None = None,
        conn_id: str = CohereDatasetsHook.default_conn_name,
        skipped_as: Any = "fail",
        fail_fast: bool = True,
        poke_interval: float = 30.0,
        exponential_backoff: bool = False,
        max_wait: float | None = None,
        jitter: float = 0.1,
        max_failures: int | None = 5,
        timeout: float = 604800.0,
        started_at: float | None = None,
        request_policy: Mapping[str, Any] | None = None,
        shared: bool = True,
        memory: Mapping[str, Any] | None = None,
        delete_on_kill: bool = False,
        carried: Mapping[str, Any] | None = None,
        **_: Any,
    ) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self.dataset_ids = list(dataset_ids) if isinstance(dataset_ids, tuple) else dataset_ids
        self.dataset_id = dataset_id
        self.conn_id = conn_id
        self.skipped_as = skipped_as
        self.fail_fast = fail_fast
        self.poke_interval = poke_interval
        self.exponential_backoff = exponential_backoff
        self.max_wait = max_wait
        self.jitter = jitter
        self.max_failures = max_failures
        self.timeout = timeout
        self.started_at = started_at
        self.request_policy = request_policy
        self.shared = shared
        self.memory = memory
        self.delete_on_kill = delete_on_kill
        self.carried = carried

    def serialize(self) -> tuple[str, dict[str, Any]]:
        """Return everything that is needed to build the trigger again."""
        return (
            "airflow_provider_cohere_datasets.triggers.datasets.CohereDatasetValidationTrigger",
            {name: getattr(self, name) for name in signature(CohereDatasetValidationTrigger).parameters if name != "_"},
        )

    @cached_property
    def poll(self) -> PollPolicy:
        """How often to look."""
        return PollPolicy(self.poke_interval, self.exponential_backoff, self.max_wait, self.jitter, self.max_failures)

    @cached_property
    def _watch(self) -> Watch:
        from airflow_provider_cohere_datasets.core.selection import waited_for
        from airflow_provider_cohere_datasets.core.waiting import Goal, Watch

        watch = Watch(
            waited_for(self.dataset_id, self.dataset_ids),
            Goal(self.skipped_as, self.fail_fast),
            max_failures=self.max_failures,
            tell=self.log.info,
            warn=self.log.warning,
        )
        watch.recall(self.memory)
        return watch

    @cached_property
    def _looker(self) -> Looker:
        from airflow_provider_cohere_datasets.core.looking import Looker

        looker = Looker()
        looker.recall(self.memory)
        return looker

    async def run(self) -> AsyncIterator[TriggerEvent]:
        """Wait with a poll loop of its own, and yield the one event."""
        async with aclosing(self._loop(lambda: [self._watch], shared=False)) as looks:
            async for event in self.filter_shared_stream(looks):
                yield event

    async def on_kill(self) -> None:
        """Delete the datasets, if that was asked for; Airflow calls this only where a user ended the wait."""
        if not self.delete_on_kill:
            return
        from airflow_provider_cohere_datasets.core.calls import delete_dataset
        from airflow_provider_cohere_datasets.core.deletion import deletion
        from airflow_provider_cohere_datasets.core.selection import waited_for

        hook = CohereDatasetsHook(self.conn_id, request_policy=self.request_policy)
        async with await hook.get_async_conn() as transport:
            for dataset_id in waited_for(self.dataset_id, self.dataset_ids):
                try:
                    await transport.run(deletion(delete_dataset(dataset_id), transport.account.policy))
                except CohereDatasetsError as error:
                    self.log.warning("Dataset %s could not be deleted: %s", dataset_id, error)
                else:
                    self.log.info("Dataset %s is deleted, because its task was killed.", dataset_id)

    def shared_stream_key(self) -> Hashable | None:
        """Return what must be equal for two waits to share a poll loop."""
        if not self.shared or self.exponential_backoff:
            return None
        policy = json.dumps(self.request_policy, sort_keys=True, default=str)
        return ("cohere-datasets", self.conn_id, self.poke_interval, self.max_wait, self.jitter, policy)

    @classmethod
    async def open_shared_stream(cls, kwargs: dict[str, Any]) -> AsyncIterator[Look]:
        """Look at what all waits of one loop wait for; one item a look, whatever their number."""
        trigger = cls(**kwargs)
        key = trigger.shared_stream_key()
        # Looked up anew for each look: when the last wait ends, the set goes, and the next wait brings another.
        loop = trigger._loop(lambda: _awake(cls._watches.get(key, {})), shared=True)
        told: object = None
        async with aclosing(loop) as looks:
            async for looked, watches in looks:
                # To wake a thousand waits takes as long as the look, so they are woken only if there is news for one.
                now = (looked, frozenset(cls._watches.get(key, ())))
                if now != told or isinstance(looked, CohereDatasetsError):
                    told = now
                    yield looked, watches

    async def filter_shared_stream(self, shared_stream: AsyncIterator[Look]) -> AsyncIterator[TriggerEvent]:
        """Take the looks of a poll loop until this wait is over, and yield the one event."""
        from airflow_provider_cohere_datasets.core.wait_event import WaitEvent

        try:
            event = await self._wait(shared_stream)
        except CohereDatasetsError as error:
            event = WaitEvent("error", (), error.details())
        carried = self.carried
        if carried is None and self.started_at is None:
            # Where the wait starts in the triggerer, nobody else knows what its templates named.
            carried = {"dataset_id": self.dataset_id, "dataset_ids": self.dataset_ids}
        yield TriggerEvent({**event.to_json(), **({"carried": carried} if carried else {})})

    async def _wait(self, looks: AsyncIterator[Look]) -> WaitEvent:
        from airflow_provider_cohere_datasets.triggers.polling import capped, pause_in

        watch, key = self._watch, self.shared_stream_key()
        try:
            began = self._handed_over() if self.started_at is None else self.started_at
            left = float(self.timeout) - (0.0 if began is None else time.time() - began)
        except (TypeError, ValueError):
            raise CohereInputError("timeout and started_at must be numbers of seconds.") from None
        watches = self._watches.setdefault(key, {})
        # What the server asked for before the wait came here has begun to pass already.
        passed = 0.0 if began is None else max(0.0, time.time() - began)
        watches[watch] = time.monotonic() + capped(watch.pause) - passed
        try:
            async with asyncio.timeout(max(0.0, left)) as limit:
                async for looked, looked_for in looks:
                    before = watch.failures
                    if not isinstance(looked, CohereDatasetsError):
                        over = watch.see(looked)
                    elif watch in looked_for:
                        over = watch.fail(looked)
                    else:  # It rests, or came while the others were looked for.
                        continue
                    if over is not None:
                        return over
                    # Where that asks for no more than the whole loop rests, the next look is everybody's.
                    if watch.failures > before and capped(watch.pause) > pause_in(looked, shared=True):
                        watches[watch] = time.monotonic() + capped(watch.pause)
        except TimeoutError:
            if not limit.expired():
                raise  # Something else took too long.
            # What was seen is in the event already.
            memory = {**watch.memory(), **self._looker.memory()}
            return replace(watch.timed_out(), memory={name: memory[name] for name in memory if name != "seen"})
        finally:
            del watches[watch]
            if not watches:
                del self._watches[key]
        raise CohereInputError("The poll loop ended by itself.")

    def _handed_over(self) -> float | None:
        """Return when a wait that starts in a triggerer began, by Airflow's limit; another may have taken it over."""
        ends: Any = getattr(self, "timeout_after", None)
        task = getattr(getattr(self, "task_instance", None), "task", None)
        if ends is None or task is None:
            return None
        limit, execution = self.timeout + TRIGGER_MARGIN, task.execution_timeout
        began: float = ends.timestamp() - (limit if execution is None else min(limit, execution.total_seconds()))
        return began

    async def _loop(self, waits: Callable[[], Iterable[Watch]], *, shared: bool) -> AsyncGenerator[Look, None]:
        # A generator, so that bad values raise where the wait makes an event of it.
        from airflow_provider_cohere_datasets.triggers.polling import polled

        looker = self._looker
        looked_for: list[Watch] = []

        def look(policy: RequestPolicy) -> Flow[dict[str, Looked]] | None:
            nonlocal looked_for
            looked_for = list(waits())
            ids = dict.fromkeys(dataset_id for watch in looked_for for dataset_id in watch.open_ids)
            patience = _PATIENCE if len(looked_for) > 1 else math.inf
            return looker.look(ids, policy, patience=patience) if ids else None

        hook = CohereDatasetsHook(self.conn_id, request_policy=self.request_policy)
        # A loop is not put off by the pause of the wait that happens to open it, nor does it care for its bad ids.
        pause = 0.0 if shared else self._watch.pause
        looks = polled(hook, look, self.poll, started_at=self.started_at, pause=pause, shared=shared)
        async with aclosing(looks):
            async for looked in looks:
                if looked is not None:  # Which comes only to who asks for rests.
                    # Without a look, there is no connection: for nobody.
                    yield looked, looked_for or list(waits())
                looked_for = []


def _awake(watches: Mapping[Watch, float]) -> list[Watch]:
    """Return the waits that the server did not ask to rest for longer than until now."""
    now = time.monotonic()
    return [watch for watch, rests_until in watches.items() if rests_until <= now]
