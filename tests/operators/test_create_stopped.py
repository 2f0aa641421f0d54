"""An upload that is told to stop."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest
from airflow.providers.common.compat.sdk import AirflowFailException

from airflow_provider_cohere_datasets.core.errors import CohereTaskStoppedError, CohereUploadUnsettledError
from airflow_provider_cohere_datasets.core.wait_event import WaitEvent
from airflow_provider_cohere_datasets.hooks.datasets import CohereDatasetsHook
from airflow_provider_cohere_datasets.operators.validation import Validation
from airflow_provider_cohere_datasets.triggers.datasets import CohereDatasetValidationTrigger
from tests.adversary import AdversarialServer, Close, error
from tests.operators.creating import LIST, POLICY, WAIT, Task, deferred_by, made, validating
from tests.sensors.modes import rebuilt


@pytest.mark.parametrize("asked", [False, True])
def test_a_killed_task_deletes_only_if_asked(server: AdversarialServer, data: Path, asked: bool) -> None:
    task = Task(data, delete_on_kill=asked)
    task.run()
    task.operator.on_kill()
    assert server.model.deleted == (made(server) if asked else [])


def test_a_task_that_is_killed_before_there_is_a_dataset_deletes_nothing(
    server: AdversarialServer, data: Path, waits: list[float]
) -> None:
    server.script("POST", LIST, [Close()])
    task = Task(data, delete_on_kill=True)
    with pytest.raises(CohereUploadUnsettledError):
        task.run()
    task.operator.on_kill()
    assert server.count("DELETE") == 0


@pytest.mark.parametrize("deferrable", [False, True])
def test_a_task_that_is_killed_while_it_waits_ends_and_may_be_tried_again(
    server: AdversarialServer, data: Path, monkeypatch: pytest.MonkeyPatch, deferrable: bool
) -> None:
    """Airflow 3.3 calls on_kill in a signal handler, and lets the task go on."""
    validating(server, "queued")
    task = Task(data, **WAIT, deferrable=deferrable, delete_on_kill=True)
    if deferrable:
        deferred = deferred_by(task)
        event = {**WaitEvent("timeout").to_json(), "carried": deferred.trigger.serialize()[1]["carried"]}
    wait = Validation.wait

    def killed(validation: Validation, timeout: float) -> WaitEvent:
        over = wait(validation, 0.0)
        task.operator.on_kill()
        return over

    monkeypatch.setattr(Validation, "wait", killed)
    with pytest.raises(CohereTaskStoppedError) as caught:
        task.resume(deferred, event) if deferrable else task.run()
    assert not isinstance(caught.value, AirflowFailException)
    assert "not known" not in str(caught.value)
    assert server.model.deleted == made(server)


def test_a_stop_that_came_where_errors_are_taken_for_the_servers(
    server: AdversarialServer, data: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    task = Task(data, delete_on_kill=True, check_usage=True)

    def stopped(hook: CohereDatasetsHook) -> int:
        try:
            task.operator.on_kill()
        except Exception:
            return 0
        raise AssertionError

    monkeypatch.setattr(CohereDatasetsHook, "get_usage", stopped)
    with pytest.raises(CohereTaskStoppedError, match=r"told to stop\. \("):
        task.run()
    assert made(server) == []


def test_a_stop_that_somebody_swallows_still_ends_the_task(
    server: AdversarialServer, data: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    task = Task(data, delete_on_kill=True, check_usage=True)

    def stopped(hook: CohereDatasetsHook, size: int) -> None:
        with suppress(BaseException):
            task.operator.on_kill()

    monkeypatch.setattr(CohereDatasetsHook, "check_room", stopped)
    with pytest.raises(CohereTaskStoppedError):
        task.run()
    assert server.model.deleted == made(server) != []


def test_a_stop_in_the_middle_of_an_upload_says_what_is_not_known(
    server: AdversarialServer, data: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    task = Task(data, delete_on_kill=True, check_usage=False)
    run = CohereDatasetsHook.run

    def stopped(hook: CohereDatasetsHook, flow: Any) -> Any:
        run(hook, flow)
        task.operator.on_kill()

    monkeypatch.setattr(CohereDatasetsHook, "run", stopped)
    with pytest.raises(CohereTaskStoppedError, match="Whether there is a dataset 'news' now is not known"):
        task.run()
    monkeypatch.setattr(CohereDatasetsHook, "run", run)
    assert task.run()["adopted"]


def test_what_was_uploaded_before_a_clear_is_named(
    server: AdversarialServer, data: Path, heard: Callable[[], str]
) -> None:
    task = Task(data)
    first = task.run()["id"]
    task.clear()
    assert task.run()["id"] != first
    assert f"there were: {first}." in heard()


def test_what_was_killed_is_uploaded_again_by_the_next_try(server: AdversarialServer, data: Path) -> None:
    task = Task(data, delete_on_kill=True)
    first = task.run()["id"]
    task.operator.on_kill()
    assert task.run()["id"] != first


def trigger(ids: list[str], **options: Any) -> CohereDatasetValidationTrigger:
    kill: CohereDatasetValidationTrigger = rebuilt(
        CohereDatasetValidationTrigger(dataset_ids=ids, request_policy=POLICY, **options)
    )
    return kill


@pytest.mark.parametrize("asked", [False, True])
def test_a_killed_trigger_deletes_only_if_asked(
    server: AdversarialServer, heard: Callable[[], str], asked: bool
) -> None:
    ids = [row["id"] for row in server.model.datasets[:2]]
    asyncio.run(trigger(ids, delete_on_kill=asked).on_kill())
    assert server.model.deleted == (ids if asked else [])
    assert len(server.requests) == (2 if asked else 0)
    text = heard()
    assert [f"Dataset {each} is deleted, because its task was killed." in text for each in ids] == [asked, asked]


def test_a_trigger_that_cannot_delete_one_deletes_the_others(
    server: AdversarialServer, heard: Callable[[], str]
) -> None:
    first, gone, last = (row["id"] for row in server.model.datasets)
    server.script("DELETE", f"{LIST}/{gone}", [error(403)])
    asyncio.run(trigger([first, gone, last], delete_on_kill=True).on_kill())
    assert server.model.deleted == [first, last]
    assert f"Dataset {gone} could not be deleted: The API key may not" in heard()


def test_a_killed_trigger_tries_as_often_as_its_task(server: AdversarialServer) -> None:
    server.script("DELETE", None, [error(503)], repeat=True)
    asyncio.run(trigger([server.model.datasets[0]["id"]], delete_on_kill=True).on_kill())
    assert server.count("DELETE") == 1
