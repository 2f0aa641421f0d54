"""What the modes do not share: arguments, messages, memory, Airflow's own timeout, starting in the triggerer."""

from __future__ import annotations

import asyncio
import json
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from functools import wraps
from types import SimpleNamespace
from typing import Any, ClassVar

import pytest
from airflow.providers.common.compat.sdk import (
    DAG,
    AirflowFailException,
    AirflowSensorTimeout,
    AirflowSkipException,
    AirflowTaskTimeout,
    BaseSensorOperator,
    TaskDeferred,
    task,
)
from airflow.triggers.base import BaseTrigger

from airflow_provider_cohere_datasets.core.errors import (
    CohereDatasetFailedError,
    CohereDatasetsError,
    CohereEventError,
    CohereInputError,
    CohereServerError,
)
from airflow_provider_cohere_datasets.core.wait_event import EVENT_VERSION, WaitEvent
from airflow_provider_cohere_datasets.core.waiting import Watch
from airflow_provider_cohere_datasets.sensors.datasets import CohereDatasetValidationSensor
from airflow_provider_cohere_datasets.triggers.datasets import CohereDatasetValidationTrigger
from tests.adversary import AdversarialServer, Through, error
from tests.adversary.answers import Exchange
from tests.hooks.conftest import KEY, Connect
from tests.sensors.clock import VirtualClock
from tests.sensors.modes import MODES, Mode, Runner, Store, ending, fire, rebuilt
from tests.sensors.stage import ALL, stage
from tests.versions import (
    AIRFLOW,
    AirflowRescheduleException,
    TaskDeferralError,
    needs_tasks_in_triggers,
    stored_and_read,
)

READY = {"version": EVENT_VERSION, "outcome": "ready", "observations": [{"id": "a", "status": "validated"}]}


def sensor(**options: Any) -> CohereDatasetValidationSensor:
    return CohereDatasetValidationSensor(**{"task_id": "wait", "dataset_id": "a", **options})


def timed_out(_: object) -> None:
    raise AirflowSensorTimeout


def resume(event: object, **options: Any) -> Any:
    return sensor(deferrable=True, **options).resume_execution("execute_complete", {"event": event}, {})


@pytest.mark.parametrize(
    ("options", "problem"),
    [
        ({"dataset_id": None}, "dataset_id"),
        ({"dataset_ids": ["b"]}, "dataset_ids"),
        ({"skipped_as": "maybe"}, "skipped_as"),
        ({"jitter": 2}, "jitter"),
        ({"jitter": True}, "jitter"),
        ({"max_failures": -1}, "max_failures"),
        ({"max_failures": "5"}, "max_failures"),
        ({"start_from_trigger": True}, "deferrable"),
        *(({flag: "false"}, flag) for flag in ("fail_fast", "deferrable", "start_from_trigger", "partition_outlets")),
    ],
)
def test_bad_arguments(options: dict[str, Any], problem: str) -> None:
    with pytest.raises(CohereInputError, match=problem) as caught:
        sensor(**options)
    assert isinstance(caught.value, AirflowFailException)  # A mapped task finds it when it runs.


@pytest.mark.parametrize("mode", MODES)
@pytest.mark.parametrize(
    "options",
    [
        {"dataset_id": "  "},
        {"dataset_id": "usage"},
        {"dataset_id": 5},
        {"dataset_id": None, "dataset_ids": []},
        {"dataset_id": None, "dataset_ids": "abc"},
        {"dataset_id": None, "dataset_ids": {"a": 1}},
        {"dataset_id": None, "dataset_ids": ["a", ""]},
    ],
)
def test_ids_that_cannot_be(
    options: dict[str, Any], mode: Mode, server: AdversarialServer, clock: VirtualClock
) -> None:
    end = ending(Runner(clock, **options), mode, server)
    assert (end.cause, end.final, end.requests) == ("CohereInputError", True, ())


@pytest.mark.parametrize("mode", MODES)
@pytest.mark.parametrize("option", [None, "soft_fail", "never_fail"])
def test_a_connection_that_does_not_exist(
    option: str | None, mode: Mode, server: AdversarialServer, clock: VirtualClock
) -> None:
    soft = {option: True} if option else {}
    end = ending(Runner(clock, dataset_id="a", conn_id="nowhere", **soft), mode, server)
    assert end.raised == ("AirflowSkipException" if option else "CohereConnectionError")
    assert (end.cause, end.final) == ("CohereConnectionError", False)
    assert "'nowhere'" in str(end.message)
    assert end.requests == ()


def test_a_connection_that_cannot_be_read_for_a_moment(
    server: AdversarialServer, clock: VirtualClock, connect: Connect, monkeypatch: pytest.MonkeyPatch
) -> None:
    stage(server, clock, {"a": [(0, "queued"), (100, "validated")]})
    waiting = sensor(dataset_id="a", poke_interval=10, jitter=0)
    assert waiting.poke({}) is False
    del waiting.hook
    monkeypatch.delenv("AIRFLOW_CONN_COHERE_DEFAULT")
    clock.now += 200
    assert waiting.poke({}) is False
    connect(host=server.url)
    assert waiting.poke({})


@pytest.mark.parametrize("mode", MODES)
def test_duplicates_are_asked_for_once(mode: Mode, server: AdversarialServer, clock: VirtualClock) -> None:
    stage(server, clock, {"a": [(0, "queued"), (20, "validated")], "b": [(0, "validated")]})
    end = ending(Runner(clock, dataset_ids=["b", "a", "b", "a"]), mode, server)
    assert [row["id"] for row in end.result] == ["b", "a"]
    assert len(end.requests) == 3


def test_the_result_is_small_json(server: AdversarialServer, clock: VirtualClock) -> None:
    row = server.model.datasets[1]
    row["validation_warnings"] = ["w" * 10_000, "x"]
    result = sensor(dataset_id=row["id"]).execute({})
    expected = {"id": row["id"], "status": "validated", "num_rows": 2, "size_bytes": 101, "warnings": 2}
    assert json.loads(json.dumps(result)) == expected


@pytest.mark.parametrize("mode", MODES)
def test_each_change_is_told_once(
    mode: Mode, server: AdversarialServer, clock: VirtualClock, monkeypatch: pytest.MonkeyPatch
) -> None:
    stage(server, clock, {"a": [(0, "queued"), (100, "brand-new"), (300, "validated")]})
    told: list[str] = []
    original = Watch.__init__

    def listening(watch: Watch, *args: Any, **options: Any) -> None:
        original(watch, *args, **{**options, "tell": told.append, "warn": told.append})

    monkeypatch.setattr(Watch, "__init__", listening)
    assert ending(Runner(clock, dataset_id="a", timeout=1000), mode, server).raised is None
    assert len([line for line in told if "not documented" in line]) == 1
    assert sorted(line.split()[3] for line in told if line.startswith("Dataset a is")) == [
        "brand-new.",
        "queued.",
        "validated.",
    ]


@dataclass(frozen=True)
class Rotated:
    """The key is replaced, at the server and in the connection, while a request is on its way."""

    needs_body: ClassVar[int | None] = None

    server: AdversarialServer
    connect: Connect

    def play(self, exchange: Exchange) -> None:
        self.server.model.key = "new-key"
        self.connect(host=self.server.url, password="new-key")
        Through().play(exchange)


@pytest.mark.parametrize("mode", MODES)
def test_a_key_that_is_replaced_during_the_wait(
    mode: Mode, server: AdversarialServer, clock: VirtualClock, connect: Connect
) -> None:
    stage(server, clock, {ALL: [(0, {}), (40, Rotated(server, connect))], "a": [(0, "queued"), (50, "validated")]})
    end = ending(Runner(clock, dataset_id="a"), mode, server)
    assert (end.raised, end.seconds, len(end.requests)) == (None, 60, 4)


def test_a_retry_starts_from_nothing(server: AdversarialServer, clock: VirtualClock) -> None:
    """The store outlives a try; failed looks of one try must not end the next one."""
    stage(server, clock, {"a": [(0, error(500))]})
    runner = Runner(clock, dataset_id="a", timeout=1000, request_policy={"max_tries": 1})
    with pytest.raises(CohereServerError):
        runner.run("reschedule")
    context = runner.context()
    context["ti"].try_number = 2
    with pytest.raises(AirflowRescheduleException):
        runner.sensor("reschedule").execute(context)
    assert json.loads(json.dumps(runner.store))["cohere_datasets_wait"]["failures"] == 1


@pytest.mark.parametrize(
    "rubbish", [None, "text", 5, [], {"try": 1}, {"try": 1, "seen": 3, "failures": "x", "failed": []}]
)
def test_a_store_with_rubbish_in_it(rubbish: Any, server: AdversarialServer, clock: VirtualClock) -> None:
    stage(server, clock, {"a": [(0, "queued")]})
    runner = Runner(clock, dataset_id="a")
    runner.store = Store(cohere_datasets_wait=rubbish)
    with pytest.raises(AirflowRescheduleException):
        runner.sensor("reschedule").execute(runner.context())


def test_without_a_store_failures_are_not_counted(server: AdversarialServer, clock: VirtualClock) -> None:
    stage(server, clock, {"a": [(0, error(500)), (600, "validated")]})
    runner = Runner(clock, dataset_id="a", timeout=1000, request_policy={"max_tries": 1})
    runner.store = None
    assert runner.run("reschedule")["status"] == "validated"
    assert server.count() == 21


def test_the_timeout_counts_from_the_first_start_whatever_happens_to_the_triggerer(
    server: AdversarialServer, clock: VirtualClock
) -> None:
    stage(server, clock, {"a": [(0, "processing")]})
    with pytest.raises(TaskDeferred) as deferred:
        sensor(deferrable=True, timeout=100, jitter=0).execute({})
    assert deferred.value.timeout == timedelta(seconds=160)
    kwargs = rebuilt(deferred.value.trigger).serialize()
    clock.now += 90  # The triggerer died; another one starts from the same row.
    event = asyncio.run(fire(type(deferred.value.trigger)(**kwargs[1]), shared=True))
    assert (event["outcome"], round(clock.elapsed)) == ("timeout", 100)
    clock.now += 500  # Another was down beyond the end.
    event = asyncio.run(fire(rebuilt(deferred.value.trigger), shared=False))
    assert (event["outcome"], round(clock.elapsed)) == ("timeout", 600)
    with pytest.raises(AirflowSensorTimeout, match=r"100 s\. Last seen: a was processing"):
        resume(event, timeout=100)


@pytest.mark.parametrize("mode", MODES)
@pytest.mark.parametrize("soft_fail", [False, True])
def test_a_look_that_takes_until_the_time_is_up_is_not_the_last(
    mode: Mode, server: AdversarialServer, clock: VirtualClock, soft_fail: bool
) -> None:
    runner = Runner(clock, dataset_id="a", soft_fail=soft_fail)
    stage(server, clock, {"a": [(0, "queued"), (90, "validated")]}, seconds=40)
    end = ending(runner, mode, server)
    assert (end.raised, len(end.requests), round(end.seconds)) == (None, 3, 150)
    stage(server, clock, {"a": [(0, "queued")]}, seconds=40)
    end = ending(runner, mode, server)
    assert (end.raised, end.cause) == ("AirflowSkipException" if soft_fail else end.cause, "AirflowSensorTimeout")
    assert "a was queued" in str(end.message)
    assert len(end.requests) == 3


def test_a_rescheduled_task_has_a_moment_before_the_last_look(server: AdversarialServer, clock: VirtualClock) -> None:
    """Airflow may lose one that comes back sooner."""
    stage(server, clock, {"a": [(0, "queued")]})
    for interval, timeout, ends in ((30, 95, 100), (30, 80, 80), (4, 10, 12)):
        runner = Runner(clock, dataset_id="a", poke_interval=interval, timeout=timeout)
        end = ending(runner, "reschedule", server)
        assert (end.cause, round(end.seconds)) == ("AirflowSensorTimeout", ends)
        end = ending(runner, "poke", server)
        assert (end.cause, round(end.seconds)) == ("AirflowSensorTimeout", timeout)


def test_what_took_all_the_time_is_not_deferred(server: AdversarialServer, clock: VirtualClock) -> None:
    stage(server, clock, {"a": [(0, "queued"), (90, "validated")]}, seconds=110)
    runner = Runner(clock, dataset_id="a")
    assert runner.sensor("deferrable").execute(runner.context())["status"] == "validated"
    assert server.count() == 2


@pytest.mark.parametrize("mode", ["poke", "reschedule"])
def test_a_look_that_failed_until_the_time_was_up_is_the_last(
    mode: Mode, server: AdversarialServer, clock: VirtualClock
) -> None:
    """Another would take as long again."""
    stage(server, clock, {"a": [(0, "queued"), (20, error(503))]}, seconds=80)
    end = ending(Runner(clock, dataset_id="a", request_policy={"max_tries": 1}), mode, server)
    assert (end.cause, len(end.requests)) == ("AirflowSensorTimeout", 2)


@pytest.mark.parametrize("mode", ["deferrable", "shared"])
def test_validated_while_no_triggerer_ran(mode: Mode, server: AdversarialServer, clock: VirtualClock) -> None:
    stage(server, clock, {"a": [(0, "processing"), (150, "validated")]})
    runner = Runner(clock, dataset_id="a")
    runner.meanwhile = lambda: setattr(clock, "now", clock.start + 200)
    assert runner.run(mode)["status"] == "validated"


@pytest.mark.parametrize("deferrable", [False, True])
@pytest.mark.parametrize("cause", [RuntimeError("API server"), ValueError()])
def test_never_fail_means_never(deferrable: bool, cause: Exception, monkeypatch: pytest.MonkeyPatch) -> None:
    """What is not ours is skipped as well, as by Airflow's own sensors; soft_fail leaves it."""

    def look(self: Any) -> None:
        raise cause

    monkeypatch.setattr(CohereDatasetValidationSensor, "_look_once", look)
    with pytest.raises(AirflowSkipException) as caught:
        sensor(deferrable=deferrable, never_fail=True).execute({})
    assert caught.value.__cause__ is cause
    with pytest.raises(type(cause)):
        sensor(deferrable=deferrable, soft_fail=True).execute({})


def test_a_task_that_took_too_long_is_skipped_as_by_airflow(monkeypatch: pytest.MonkeyPatch) -> None:
    def look(self: Any) -> None:
        raise AirflowTaskTimeout("Timeout, PID: 1")

    monkeypatch.setattr(CohereDatasetValidationSensor, "_look_once", look)
    with pytest.raises(AirflowSkipException, match="Timeout, PID: 1"):
        sensor(soft_fail=True).execute({})
    with pytest.raises(AirflowTaskTimeout):
        sensor().execute({})


@pytest.mark.parametrize(
    ("option", "raised"),
    [("retries", AirflowSensorTimeout), ("soft_fail", AirflowSkipException), ("never_fail", AirflowSkipException)],
)
def test_airflow_ends_the_trigger(
    option: str, raised: type[Exception], server: AdversarialServer, clock: VirtualClock
) -> None:
    """The triggerer never told anything: the task looks itself, and the message has the last status all the same."""
    stage(server, clock, {"a": [(0, "processing"), (500, "validated")]})
    failed = {"error": "Trigger timeout"}
    with pytest.raises(raised, match="Last seen: a was processing"):
        sensor(deferrable=True, **{option: True}).resume_execution("__fail__", failed, {})
    clock.now += 500
    assert sensor(deferrable=True).resume_execution("__fail__", failed, {})["status"] == "validated"
    with pytest.raises(TaskDeferralError):
        sensor(deferrable=True).resume_execution("__fail__", {"error": "Trigger failure"}, {})


@pytest.mark.parametrize(
    "event",
    [
        None,
        "success",
        True,
        [],
        {},
        {**READY, "version": 2},
        {**READY, "version": None},
        {**READY, "outcome": "validated"},
        {**READY, "outcome": ["ready"]},
        {**READY, "outcome": None},
        {**READY, "observations": []},
        {**READY, "observations": None},
        {**READY, "observations": ["a"]},
        {**READY, "observations": [{"id": "a"}]},
        {**READY, "observations": [{"id": "a", "status": "validated", "new": 1}]},
        {**READY, "observations": [{"id": ["a"], "status": "validated"}]},
        {**READY, "observations": [{"id": "a", "status": 1}]},
        {**READY, "observations": [{"id": "a", "status": "processing"}]},
        {**READY, "observations": [{"id": "a", "status": "skipped"}]},
        {**READY, "observations": [{"id": "other", "status": "validated"}]},
        {**READY, "observations": [{"id": "a", "status": "validated"}, {"id": "b", "status": "validated"}]},
        {**READY, "observations": [{"id": "a", "status": None}]},
        {**READY, "error": {"type": "CohereServerError"}},
        {**READY, "outcome": "error"},
        {**READY, "outcome": "error", "error": "text"},
    ],
)
def test_no_unknown_event_is_success(event: object) -> None:
    with pytest.raises(CohereEventError) as caught:
        resume(event)
    assert isinstance(caught.value, AirflowFailException)
    for option in ("soft_fail", "never_fail"):
        with pytest.raises(AirflowSkipException):
            resume(event, **{option: True})


def test_a_template_that_names_another_dataset_by_now(server: AdversarialServer, clock: VirtualClock) -> None:
    stage(server, clock, {"a": [(0, "queued"), (40, "validated")]})
    runner = Runner(clock, dataset_id="a")
    runner.meanwhile = lambda: runner.options.update(dataset_id="b")
    assert runner.run("deferrable")["id"] == "a"
    clock.forget_limits()
    runner = Runner(clock, dataset_ids=["a"])
    stage(server, clock, {"a": [(0, "queued")]})
    runner.meanwhile = lambda: runner.options.update(dataset_ids=["b", "c"])
    with pytest.raises(AirflowSensorTimeout, match="Last seen: a was queued"):
        runner.run("deferrable")


@pytest.mark.parametrize("mode", ["poke", "reschedule"])
def test_the_last_look_of_a_deferred_wait_knows_what_the_trigger_saw(
    mode: str, server: AdversarialServer, clock: VirtualClock
) -> None:
    """Whatever mode the sensor would have if it were not deferrable."""
    stage(server, clock, {"a": [(0, "queued"), (20, "processing"), (95, error(500))]})
    runner = Runner(clock, dataset_id="a", mode=mode, deferrable=True, request_policy={"max_tries": 1})
    end = ending(runner, "deferrable", server)
    assert end.cause == "AirflowSensorTimeout"
    assert "a was processing" in str(end.message)


def test_a_template_that_names_another_dataset_at_the_next_look(server: AdversarialServer, clock: VirtualClock) -> None:
    stage(server, clock, {"a": [(0, "queued"), (40, "validated")], "b": [(0, "failed")]})
    runner = Runner(clock, dataset_id="a")
    with pytest.raises(AirflowRescheduleException):
        runner.sensor("reschedule").execute(runner.context())
    runner.options.update(dataset_id="b")
    clock.now += 60
    assert runner.sensor("reschedule").execute(runner.context())["id"] == "a"


def test_a_template_that_names_another_dataset_where_airflow_ends_the_wait(
    server: AdversarialServer, clock: VirtualClock
) -> None:
    """No event tells what the wait began with: no triggerer ran."""
    stage(server, clock, {"a": [(0, "queued")], "b": [(0, "validated")]})
    runner = Runner(clock, dataset_id="a")
    with pytest.raises(TaskDeferred):
        runner.sensor("deferrable").execute(runner.context())
    runner.options.update(dataset_id="b")
    clock.now += 160
    resumed = runner.sensor("deferrable")
    with pytest.raises(AirflowSensorTimeout, match="Last seen: a was queued"):
        resumed.resume_execution("__fail__", {"error": "Trigger timeout"}, runner.context())


def test_airflow_2_does_not_tell_when_a_rescheduled_task_began(
    server: AdversarialServer, clock: VirtualClock, monkeypatch: pytest.MonkeyPatch
) -> None:
    runner = Runner(clock, dataset_id="a", timeout=20)
    stage(server, clock, {"a": [(0, "queued")]})
    complete = runner.context()
    monkeypatch.setattr(runner, "context", lambda: {**complete, "ti": SimpleNamespace(try_number=1)})
    monkeypatch.setattr(BaseSensorOperator, "execute", lambda task, context: timed_out(task.poke(context)))
    with pytest.raises(AirflowSensorTimeout, match="a was queued"):
        runner.sensor("reschedule").execute(runner.context())
    assert server.count() == 2


def test_the_exact_error_comes_back() -> None:
    with pytest.raises(CohereDatasetFailedError):
        resume({**READY, "outcome": "error", "error": {"type": "CohereDatasetFailedError", "message": "no"}})
    details = CohereServerError(
        "no", dataset_id="a", status=503, method="GET", path="/v1", error_id="e", retry_after=7.0
    )
    details.tries = 3
    with pytest.raises(CohereServerError) as caught:
        resume({**READY, "outcome": "error", "error": details.details()})
    back = caught.value
    assert (back.status, back.retry_after, back.error_id, back.tries, back.conn_id) == (
        503,
        7.0,
        "e",
        3,
        "cohere_default",
    )
    assert not isinstance(back, AirflowFailException)
    with pytest.raises(CohereDatasetsError, match="later") as unknown:
        resume({**READY, "outcome": "error", "error": {"type": "CohereErrorOfTheFuture", "message": "later"}})
    assert isinstance(unknown.value, AirflowFailException)


def test_deferring_by_default(monkeypatch: pytest.MonkeyPatch, server: AdversarialServer, clock: VirtualClock) -> None:
    assert not sensor().deferrable
    monkeypatch.setenv("AIRFLOW__OPERATORS__DEFAULT_DEFERRABLE", "True")
    stage(server, clock, {"a": [(0, "queued")]})
    with pytest.raises(TaskDeferred):
        sensor().execute({})


def test_the_trigger_gets_every_option_and_no_key(
    server: AdversarialServer, clock: VirtualClock, connect: Connect
) -> None:
    connect("other", host=server.url)
    stage(server, clock, {"a": [(0, "queued")], "b": [(0, "failed")]})
    options = {
        "dataset_id": None,
        "dataset_ids": ["a", "b"],
        "skipped_as": "success",
        "fail_fast": False,
        "poke_interval": timedelta(seconds=7),
        "exponential_backoff": True,
        "max_wait": timedelta(seconds=70),
        "jitter": 0.5,
        "max_failures": 9,
        "timeout": timedelta(seconds=77),
        "conn_id": "other",
        "request_policy": {"max_tries": 2},
    }
    with pytest.raises(TaskDeferred) as deferred:
        sensor(deferrable=True, **options).execute({})
    _, kwargs = rebuilt(deferred.value.trigger).serialize()
    memory = kwargs.pop("memory")
    assert kwargs == {
        **options,
        "poke_interval": 7.0,
        "max_wait": 70.0,
        "timeout": 77.0,
        "started_at": clock.start,
        "shared": True,
        "delete_on_kill": False,
        "carried": {"dataset_ids": ["a", "b"]},
    }
    assert [row["status"] for row in memory["seen"]] == ["queued", "failed"]
    assert list(memory["failed"]) == ["b"]
    assert KEY not in json.dumps(memory)


class TestStartFromTrigger:
    options: dict[str, Any] = {"deferrable": True, "start_from_trigger": True, "timeout": 100, "jitter": 0}  # noqa: RUF012

    def test_it_waits_from_its_first_look(self, server: AdversarialServer, clock: VirtualClock) -> None:
        stage(server, clock, {"a": [(0, "queued"), (20, "validated")]})
        args = sensor(**self.options).start_trigger_args
        assert args is not None
        assert args.trigger_kwargs is not None
        assert (args.next_method, args.timeout) == ("execute_complete", timedelta(seconds=160))
        trigger = rebuilt(CohereDatasetValidationTrigger(**args.trigger_kwargs))
        event = asyncio.run(fire(trigger, shared=True))
        assert (server.count(), clock.elapsed) == (2, 30)
        assert resume(event)["status"] == "validated"

    def test_a_template_that_names_another_dataset_by_now(self, server: AdversarialServer, clock: VirtualClock) -> None:
        stage(server, clock, {"a": [(0, "queued"), (20, "validated")]})
        args = sensor(**self.options).start_trigger_args
        assert args is not None
        event = asyncio.run(fire(CohereDatasetValidationTrigger(**(args.trigger_kwargs or {})), shared=True))
        assert resume(event, dataset_id="b")["id"] == "a"

    @needs_tasks_in_triggers
    @pytest.mark.parametrize(
        ("limit", "execution_timeout", "left"), [(160, None, 70), (160, 200, 70), (40, 40, 70), (None, None, 100)]
    )
    def test_another_triggerer_does_not_begin_it_anew(
        self,
        server: AdversarialServer,
        clock: VirtualClock,
        limit: int | None,
        execution_timeout: int | None,
        left: int,
    ) -> None:
        stage(server, clock, {"a": [(0, "queued")]})
        args = sensor(**self.options).start_trigger_args
        assert args is not None
        trigger: Any = CohereDatasetValidationTrigger(**(args.trigger_kwargs or {}))
        allowed = None if execution_timeout is None else timedelta(seconds=execution_timeout)
        trigger._task_instance = SimpleNamespace(task=SimpleNamespace(execution_timeout=allowed))
        if limit is not None:  # As the triggerer does, after 30 seconds.
            trigger.timeout_after = datetime.fromtimestamp(clock.now + limit - 30, UTC)
        assert asyncio.run(fire(trigger, shared=True))["outcome"] == "timeout"
        assert clock.elapsed == left

    @pytest.mark.parametrize(
        ("limit", "soft_fail", "expected"),
        [(40, False, AirflowTaskTimeout), (40, True, AirflowSkipException), (100, False, AirflowSensorTimeout)],
    )
    def test_an_execution_timeout_that_is_shorter_ends_it_as_on_a_worker(
        self, server: AdversarialServer, clock: VirtualClock, limit: int, soft_fail: bool, expected: type[BaseException]
    ) -> None:
        """Airflow limits the trigger by it, where the wait starts there."""
        stage(server, clock, {"a": [(0, "queued")]})
        waiting = sensor(**self.options, execution_timeout=timedelta(seconds=limit), soft_fail=soft_fail)
        with pytest.raises(expected, match=f"within (the execution_timeout of )?{limit} s. Last seen: a was queued"):
            waiting.resume_execution("__fail__", {"error": "Trigger timeout"}, {})

    def test_the_timeout_of_our_own_trigger_is_never_another(
        self, server: AdversarialServer, clock: VirtualClock
    ) -> None:
        """A retry would wait all over again."""
        stage(server, clock, {"a": [(0, "queued")]})
        waiting = sensor(**self.options, execution_timeout=timedelta(seconds=40))
        event = WaitEvent("timeout").to_json()
        with pytest.raises(AirflowSensorTimeout, match="within 100 s"):
            waiting.execute_complete({}, event)
        mapped: Any = {"ti": SimpleNamespace(map_index=0, try_number=1)}
        with pytest.raises(AirflowSensorTimeout, match="within 100 s"):
            waiting.resume_execution("__fail__", {"error": "Trigger timeout"}, mapped)

    def test_one_task_starts_in_the_triggerer_and_a_mapped_one_does_not(self) -> None:
        from airflow.serialization.serialized_objects import BaseSerialization

        @task
        def create() -> str:
            return "a"

        with DAG("start_from_trigger", schedule=None) as dag:
            sensor(**self.options)
            CohereDatasetValidationSensor.partial(task_id="mapped", **self.options).expand(dataset_id=["a", "b"])
            sensor(**self.options, task_id="from_another_task", dataset_id=create())
        tasks = stored_and_read(dag).task_dict
        single = tasks["wait"].start_trigger_args
        stored = single.trigger_kwargs
        kwargs = stored if AIRFLOW < (3, 2) else BaseSerialization.deserialize(stored)
        assert tasks["wait"].start_from_trigger
        assert kwargs == sensor(**self.options)._trigger_kwargs(None)
        assert tasks["mapped"].start_trigger_args is None
        assert tasks["from_another_task"].start_trigger_args is None
        pulled = {**self.options, "dataset_id": "{{ ti.xcom_pull(task_ids='one') }}"}
        assert sensor(**pulled).start_trigger_args is None
        assert CohereDatasetValidationSensor.start_trigger_args is None
        assert CohereDatasetValidationSensor.start_from_trigger is False

    def test_a_template_that_nobody_would_render(self, monkeypatch: pytest.MonkeyPatch) -> None:
        """Below 3.3 Airflow hands the trigger what the DAG file has."""
        monkeypatch.delattr(BaseTrigger, "render_template_fields", raising=False)
        for templated in ({"dataset_id": "{{ params.id }}"}, {"dataset_ids": ["a", "{% if x %}b{% endif %}"]}):
            options = {**self.options, "dataset_id": None, **templated}
            assert sensor(**options).start_trigger_args is None
        assert sensor(**self.options, conn_id="{{ params.conn }}").start_trigger_args is None
        assert sensor(**self.options).start_trigger_args is not None


def test_poking_does_not_go_through_the_safeguard_of_airflow_2(
    server: AdversarialServer, clock: VirtualClock, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Which takes it for a call from outside a task, warns, and refuses without ``allow_nested_operators``."""

    @wraps(BaseSensorOperator.execute)
    def refuse(self: Any, context: Any) -> Any:
        raise AssertionError("cannot be called outside TaskInstance!")

    monkeypatch.setattr(BaseSensorOperator, "execute", refuse)
    stage(server, clock, {"a": [(0, "validated")]})
    assert sensor().execute({})["id"] == "a"
