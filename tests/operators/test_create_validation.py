"""An upload that waits for its validation."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Callable
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
from airflow.providers.common.compat.sdk import AirflowFailException

from airflow_provider_cohere_datasets.core.errors import (
    CohereAuthenticationError,
    CohereDatasetFailedError,
    CohereDatasetNotFoundError,
    CohereDatasetsError,
    CohereDatasetSkippedError,
    CohereEventError,
    CohereValidationTimeoutError,
)
from airflow_provider_cohere_datasets.core.looking import Observation
from airflow_provider_cohere_datasets.core.wait_event import WaitEvent
from airflow_provider_cohere_datasets.hooks.datasets import CohereDatasetsHook
from tests.adversary import AdversarialServer, Close, Fault, error
from tests.hooks.conftest import Connect
from tests.operators.creating import ONE, POLICY, WAIT, Task, Validates, deferred_by, made, validating
from tests.sensors.modes import fire, rebuilt


def test_a_wait_in_place(server: AdversarialServer, data: Path, waits: list[float]) -> None:
    validating(server, "unknown", "queued", "validated")
    result = Task(data, **WAIT, deferrable=False).run()
    (dataset_id,) = made(server)
    assert result == {
        "id": dataset_id,
        "name": "news",
        "dataset_type": "embed-input",
        "bytes": data.stat().st_size,
        "adopted": False,
        "status": "validated",
        "num_rows": 6,
        "size_bytes": 105,
        "warnings": 0,
    }
    assert [9 <= seconds <= 10 for seconds in waits] == [True, True]


class Rotates(Validates):
    """Replaces the key, at the server and perhaps in the connection, while a request is on its way."""

    def __init__(self, server: AdversarialServer, connect: Connect | None) -> None:
        super().__init__(server, "queued")
        object.__setattr__(self, "connect", connect)

    def play(self, exchange: Any) -> None:
        super().play(exchange)
        self.server.model.key = "new-key"  # type: ignore[attr-defined]
        if self.connect:  # type: ignore[attr-defined]
            self.connect(host=self.server.url, password="new-key")  # type: ignore[attr-defined]


def test_a_key_that_is_replaced_during_the_wait(
    server: AdversarialServer, connect: Connect, data: Path, waits: list[float]
) -> None:
    server.script("GET", ONE, [Rotates(server, connect), Validates(server, "validated")])
    assert Task(data, **WAIT, deferrable=False).run()["status"] == "validated"
    assert len(made(server)) == 1
    assert sum(waits) < 100


def test_a_key_that_is_another_one_each_time_ends_the_wait(
    server: AdversarialServer, connect: Connect, data: Path, waits: list[float], monkeypatch: pytest.MonkeyPatch
) -> None:
    """As from a backend that mints them."""
    server.script("GET", ONE, [Rotates(server, None)])
    monkeypatch.setattr(CohereDatasetsHook, "has_another_key", lambda _: True)
    with pytest.raises(CohereAuthenticationError):
        Task(data, **WAIT, deferrable=False).run()
    assert server.count("GET", ONE) == 3


def test_a_key_that_is_refused_for_good_ends_the_wait(
    server: AdversarialServer, data: Path, waits: list[float]
) -> None:
    server.script("GET", ONE, [Rotates(server, None)])
    with pytest.raises(CohereAuthenticationError):
        Task(data, **WAIT, deferrable=False).run()
    assert server.count("GET", ONE) == 2


def test_a_retry_goes_on_waiting_for_the_same_dataset(
    server: AdversarialServer, data: Path, waits: list[float]
) -> None:
    validating(server, "processing")
    task = Task(data, **WAIT, deferrable=False)
    with pytest.raises(
        CohereValidationTimeoutError, match=r"not validated within 100 s\. Last seen: .* was processing"
    ):
        task.run()
    assert sum(waits) == pytest.approx(100)
    server._scripts.clear()
    validating(server, "validated")
    result = task.run()
    assert result["adopted"]
    assert [result["id"]] == made(server)


def test_a_wait_in_the_triggerer(server: AdversarialServer, data: Path) -> None:
    validating(server, "queued", "validated")
    task = Task(data, **WAIT | {"poke_interval": 0.01}, deferrable=True, delete_on_kill=True, skipped_as="success")
    deferred = deferred_by(task)
    assert deferred.method_name == "execute_complete"
    assert deferred.timeout == timedelta(seconds=160)
    trigger = rebuilt(deferred.trigger)
    _, kwargs = trigger.serialize()
    known = {"conn_id", "skipped_as", "poke_interval", "timeout", "request_policy", "delete_on_kill"}
    assert {name: kwargs[name] for name in known} == {
        "conn_id": "cohere_default",
        "skipped_as": "success",
        "poke_interval": 0.01,
        "timeout": 100,
        "request_policy": POLICY,
        "delete_on_kill": True,
    }
    assert "test-key" not in json.dumps(kwargs)
    event = asyncio.run(fire(trigger, shared=False))
    result = task.resume(deferred, event)
    (dataset_id,) = made(server)
    assert (result["id"], result["status"], result["num_rows"], result["name"]) == (dataset_id, "validated", 6, "news")
    assert result["bytes"] == data.stat().st_size
    assert deferred.kwargs is None, "dag.test() would drop them"


def test_the_trigger_knows_what_the_first_look_showed(server: AdversarialServer, data: Path) -> None:
    server.script("GET", ONE, [error(503, retry_after="60")])
    trigger = rebuilt(deferred_by(Task(data, **WAIT, deferrable=True)).trigger)
    assert (trigger.memory["failures"], trigger.memory["pause"]) == (1, 60.0)


def test_what_is_validated_at_once_is_not_deferred(server: AdversarialServer, data: Path) -> None:
    validating(server, "validated")
    assert Task(data, **WAIT, deferrable=True).run()["status"] == "validated"


@pytest.mark.parametrize("outcome", ["ready", "error", "timeout"])
def test_an_event_about_another_dataset_is_refused(server: AdversarialServer, data: Path, outcome: Any) -> None:
    validating(server, "queued")
    task = Task(data, **WAIT, deferrable=True, delete_on_failure=True)
    deferred = deferred_by(task)
    failed = CohereDatasetFailedError("no").details() if outcome == "error" else None
    status = "validated" if outcome == "ready" else "failed"
    event = WaitEvent(outcome, (Observation("other", status),), failed).to_json()
    for carried in (deferred.trigger.serialize()[1]["carried"], None):
        with pytest.raises(CohereEventError):
            task.resume(deferred, {**event, "carried": carried})
    assert server.count("DELETE") == 0


def test_the_time_in_the_triggerer_is_up(server: AdversarialServer, data: Path) -> None:
    validating(server, "queued")
    task = Task(data, **WAIT, deferrable=True)
    deferred = deferred_by(task)
    event = {**WaitEvent("timeout").to_json(), "carried": deferred.trigger.serialize()[1]["carried"]}
    with pytest.raises(CohereValidationTimeoutError, match="was queued") as caught:
        task.resume(deferred, event)
    assert not isinstance(caught.value, AirflowFailException)
    server._scripts.clear()
    validating(server, "validated")  # just in time
    assert task.resume(deferred, event)["status"] == "validated"
    del event["carried"]
    with pytest.raises(CohereValidationTimeoutError, match="None was not validated"):
        task.resume(deferred, event)


def test_the_last_look_of_a_deferred_wait_knows_what_the_trigger_saw(server: AdversarialServer, data: Path) -> None:
    validating(server, "queued")
    task = Task(data, **WAIT, deferrable=True)
    deferred = deferred_by(task)
    (dataset_id,) = made(server)
    server._scripts.clear()
    server.script("GET", ONE, [error(500)], repeat=True)
    seen = (Observation(dataset_id, "processing"),)
    event = {
        **WaitEvent("timeout", seen, memory={"failures": 1}).to_json(),
        "carried": deferred.trigger.serialize()[1]["carried"],
    }
    with pytest.raises(CohereValidationTimeoutError, match="was processing"):
        task.resume(deferred, event)


def test_a_timeout_of_nothing_looks_once(server: AdversarialServer, data: Path) -> None:
    validating(server, "queued")
    for deferrable in (False, True):
        with pytest.raises(CohereValidationTimeoutError, match="within 0 s"):
            Task(data, **WAIT | {"validation_timeout": 0}, deferrable=deferrable).run()


def test_an_event_of_something_else(server: AdversarialServer, data: Path) -> None:
    validating(server, "queued")
    task = Task(data, **WAIT, deferrable=True)
    deferred = deferred_by(task)
    for event in (None, {}, {"version": 2}, {"version": 1, "outcome": "ready", "observations": []}):
        with pytest.raises(CohereEventError) as caught:
            task.resume(deferred, event)
        assert isinstance(caught.value, AirflowFailException)


@pytest.mark.parametrize("deferrable", [False, True])
@pytest.mark.parametrize(
    ("status", "kind"), [("failed", CohereDatasetFailedError), ("skipped", CohereDatasetSkippedError)]
)
@pytest.mark.parametrize("delete", [False, True])
def test_a_validation_that_did_not_succeed(
    server: AdversarialServer,
    data: Path,
    waits: list[float],
    deferrable: bool,
    status: str,
    kind: type[CohereDatasetsError],
    delete: bool,
) -> None:
    validating(server, "queued", status)
    task = Task(data, **WAIT | {"poke_interval": 0}, deferrable=deferrable, delete_on_failure=delete)
    run: Callable[[], object] = task.run
    if deferrable:
        deferred = deferred_by(task)
        event = asyncio.run(fire(rebuilt(deferred.trigger), shared=False))
        run = lambda: task.resume(deferred, event)  # noqa: E731
    with pytest.raises(kind) as caught:
        run()
    assert isinstance(caught.value, AirflowFailException)
    assert caught.value.conn_id == "cohere_default"
    assert server.model.deleted == (made(server) if delete else [])


def test_a_skipped_validation_may_be_a_success(server: AdversarialServer, data: Path) -> None:
    validating(server, "skipped")
    options: dict[str, Any] = {"skipped_as": "success", "delete_on_failure": True}
    assert Task(data, **WAIT, deferrable=False, **options).run()["status"] == "skipped"
    server._scripts.clear()
    validating(server, "queued", "skipped")
    task = Task(data, **WAIT | {"poke_interval": 0}, deferrable=True, **options)
    deferred = deferred_by(task)
    event = asyncio.run(fire(rebuilt(deferred.trigger), shared=False))
    assert task.resume(deferred, event)["status"] == "skipped"
    assert server.model.deleted == []


@pytest.mark.parametrize("fault", [error(503), error(401), Close()])
def test_trouble_with_the_deletion_does_not_hide_the_failure(
    server: AdversarialServer, data: Path, waits: list[float], heard: Callable[[], str], fault: Fault
) -> None:
    validating(server, "failed")
    server.script("DELETE", None, [fault], repeat=True)
    with pytest.raises(CohereDatasetFailedError, match="no valid rows"):
        Task(data, **WAIT, deferrable=False, delete_on_failure=True).run()
    assert "could not be deleted" in heard()
    assert server.count("DELETE") == 1, "the task's own policy has one try"


@pytest.mark.parametrize("answer", [error(503), error(401)])
def test_only_a_verdict_deletes(server: AdversarialServer, data: Path, waits: list[float], answer: Fault) -> None:
    server.script("GET", ONE, [answer], repeat=True)
    with pytest.raises(CohereDatasetsError) as caught:
        Task(data, **WAIT, deferrable=False, delete_on_failure=True).run()
    assert not isinstance(caught.value, CohereDatasetFailedError)
    assert server.model.deleted == []


def test_a_dataset_that_disappears_while_it_is_waited_for(
    server: AdversarialServer, data: Path, waits: list[float]
) -> None:
    server.script("GET", ONE, [error(404)], repeat=True)
    with pytest.raises(CohereDatasetNotFoundError):
        Task(data, **WAIT, deferrable=False, delete_on_failure=True).run()
    assert waits == [1.0, 2.0]
