"""Runs the sensor in each of its modes against one server, and tells how it went."""

from __future__ import annotations

import asyncio
import contextlib
import json
import re
from collections.abc import Callable
from dataclasses import dataclass
from importlib import import_module
from types import SimpleNamespace
from typing import Any, Literal

from airflow.providers.common.compat.sdk import AirflowFailException, AirflowSkipException, TaskDeferred
from airflow.providers.common.compat.triggers import BaseEventTrigger

from airflow_provider_cohere_datasets.core.errors import CohereTransportError
from airflow_provider_cohere_datasets.sensors.datasets import CohereDatasetValidationSensor
from tests.adversary import AdversarialServer
from tests.sensors.clock import VirtualClock
from tests.versions import SHARED_STREAMS, AirflowRescheduleException

Mode = Literal["poke", "reschedule", "deferrable", "shared"]
#: The modes that this Airflow has.
MODES: tuple[Mode, ...] = ("poke", "reschedule", "deferrable", *(("shared",) if SHARED_STREAMS else ()))


class Store(dict[str, Any]):
    """The state store of a task; what it holds went through JSON."""

    def set(self, key: str, value: Any) -> None:
        self[key] = json.loads(json.dumps(value))


@dataclass(frozen=True)
class Ending:
    """How a wait ended.

    :param raised: the class of the exception that Airflow gets, ``None`` if there was none.
    :param cause: the class of the error itself, under ``soft_fail`` the one behind the skip.
    :param message: of that error.
    :param skip: the message of the skip, if it was one.
    :param final: whether Airflow will not retry.
    :param result: what the task returns.
    :param requests: method and target of each request, in order.
    :param seconds: how long it took.
    """

    raised: str | None
    cause: str | None
    message: str | None
    skip: str | None
    final: bool
    result: Any
    requests: tuple[str, ...]
    seconds: float


def as_json(value: Any) -> Any:
    """Send a value through JSON, as Airflow's database does."""
    return json.loads(json.dumps(value))


def rebuilt(trigger: Any) -> Any:
    """Build a trigger again, as a triggerer does from its database."""
    path, kwargs = trigger.serialize()
    module, _, name = path.rpartition(".")
    return getattr(import_module(module), name)(**as_json(kwargs))


async def fire(trigger: BaseEventTrigger, *, shared: bool) -> Any:
    """Run a trigger as the triggerer does; return the payload of its first event."""
    key = trigger.shared_stream_key() if SHARED_STREAMS else None
    if not shared or key is None:
        async with contextlib.aclosing(trigger.run()) as events:
            return as_json((await anext(events)).payload)
    from airflow.triggers.shared_stream import SharedStreamManager

    manager = SharedStreamManager()
    stream = manager.subscribe(trigger_id=1, trigger=trigger, key=key)
    try:
        async with contextlib.aclosing(trigger.filter_shared_stream(stream)) as events:
            return as_json((await anext(events)).payload)
    finally:
        await manager.unsubscribe(1, key)
        await trigger.cleanup()
        assert not manager._groups


class Runner:
    """Runs one sensor, of which each process makes a new one.

    :param clock: the time.
    :param options: of the sensor.
    """

    def __init__(self, clock: VirtualClock, **options: Any) -> None:
        self.clock = clock
        self.options = {"poke_interval": 30, "timeout": 100, "jitter": 0, **options}
        self.store: Store | None = Store()
        #: Called before the task is resumed.
        self.meanwhile: Callable[[], object] = lambda: None

    def sensor(self, mode: Mode) -> CohereDatasetValidationSensor:
        how = {"mode": mode} if mode in {"poke", "reschedule"} else {"deferrable": True}
        return CohereDatasetValidationSensor(task_id="wait", **{**how, **self.options})

    def context(self) -> Any:
        facts = {"dag_id": "d", "task_id": "wait", "run_id": "r", "map_index": -1, "try_number": 1, "max_tries": 0}
        ti = SimpleNamespace(**facts, get_first_reschedule_date=lambda _: self.clock.first_start)
        context: dict[str, Any] = {"ti": ti}
        if self.store is not None:
            context["task_state_store"] = self.store
        return context

    def run(self, mode: Mode) -> Any:
        """Run the task to its end; return its result or raise its exception."""
        if mode == "poke":
            return self.sensor(mode).execute(self.context())
        if mode == "reschedule":
            return self._reschedule()
        try:
            return self.sensor(mode).execute(self.context())
        except TaskDeferred as caught:
            deferred = caught
        assert deferred.method_name == "execute_complete"
        assert not deferred.kwargs
        event = asyncio.run(fire(rebuilt(deferred.trigger), shared=mode == "shared"))
        self.meanwhile()
        return self.sensor(mode).resume_execution("execute_complete", {"event": event}, self.context())

    def _reschedule(self) -> Any:
        self.clock.first_start = None
        started = self.clock.utcnow()
        while True:
            try:
                return self.sensor("reschedule").execute(self.context())
            except AirflowRescheduleException as again:
                self.clock.now = again.reschedule_date.timestamp()
                self.clock.first_start = started


def ending(runner: Runner, mode: Mode, server: AdversarialServer) -> Ending:
    """Run a sensor in a mode, and tell how it went."""
    runner.clock.now = runner.clock.start
    runner.clock.forget_limits()
    runner.store = Store()
    server.requests.clear()
    raised: BaseException | None = None
    result = None
    try:
        result = as_json(runner.run(mode))
    except Exception as error:
        raised = error
    cause = raised
    while isinstance(cause, AirflowSkipException):
        cause = cause.__cause__
    message = str(cause) if cause else None
    if isinstance(cause, CohereTransportError):
        # The reason is in the words of the HTTP library, and tasks and triggers use different ones.
        message = re.sub(r"(GET \S+:) .*?\. ", r"\1 … ", str(message))
    return Ending(
        type(raised).__name__ if raised else None,
        type(cause).__name__ if cause else None,
        message,
        str(raised) if isinstance(raised, AirflowSkipException) else None,
        isinstance(cause, AirflowFailException),
        result,
        tuple(f"{request.method} {request.raw_target}" for request in server.requests),
        round(runner.clock.elapsed, 1),
    )
