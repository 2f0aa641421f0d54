"""Uploads in a real Airflow whose processes are killed: one dataset each, whenever that happens."""

from __future__ import annotations

import json
import sqlite3
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from tests.adversary import AdversarialServer
from tests.adversary.answers import Exchange
from tests.system.api import RunWatch
from tests.system.killing import Kill, until
from tests.system.standalone import Standalone, copy_dags

pytestmark = pytest.mark.system

DAG_ID = "creating_once"
KILLED = ("in_the_body", "before_the_answer", "after_the_answer", "while_it_waits")
#: More than fits between the two ends of a connection, so that the task is still sending when it is killed.
SIZE = 16 << 20
#: Bytes of the body after which the first task is killed.
SOME = 1 << 20
LIST = "/v1/datasets"


@dataclass
class ByName:
    """Play another fault for the first upload under each of some names, and let all else through."""

    needs_body = 0

    faults: dict[str, Kill]
    killed: list[str]

    def play(self, exchange: Exchange) -> None:
        request, wire = exchange.request, exchange.wire
        fault = self.faults.pop(request.param("name") or "", None)
        body = exchange.body  # type: ignore[attr-defined]
        wire.receive(request.headers, body, fault.needs_body if fault else None)
        if fault is None:
            exchange.model().play(exchange)
            return
        self.killed.append(str(request.param("name")))
        fault.play(exchange)


@dataclass(frozen=True)
class Story:
    """What happened.

    :param states: state and tries of each task at the end.
    :param datasets: ids of each name at the server, deleted ones included, before anything was cleared.
    :param results: what each task returned.
    :param deleted: ids that were deleted at the server.
    :param killed: the tasks whose process was killed, in order.
    :param cleared: the datasets and the results after some tasks were cleared.
    :param seconds: from the start of the run to its end.
    """

    states: dict[str, tuple[str, int]]
    datasets: dict[str, list[str]]
    results: dict[str, Any]
    deleted: list[str]
    killed: list[str]
    cleared: tuple[dict[str, list[str]], dict[str, Any]]
    seconds: float


@pytest.fixture(scope="module")
def server() -> Iterator[AdversarialServer]:
    with AdversarialServer() as server:
        yield server


@pytest.fixture(scope="module")
def airflow(server: AdversarialServer, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Standalone]:
    connection = {"conn_type": "cohere_datasets", "host": server.url, "password": "test-key"}
    env = {
        "AIRFLOW_CONN_COHERE_DEFAULT": json.dumps(connection),
        "AIRFLOW__DAG_PROCESSOR__MIN_FILE_PROCESS_INTERVAL": "60",
        # A dead triggerer is noticed, and its triggers go to the next one, after seconds.
        "AIRFLOW__TRIGGERER__JOB_HEARTBEAT_SEC": "2",
        "AIRFLOW__TRIGGERER__TRIGGERER_HEALTH_CHECK_THRESHOLD": "6",
    }
    dags = copy_dags(tmp_path_factory.mktemp("dags"), Path(__file__).parent / "dags")
    with Standalone(tmp_path_factory.mktemp("airflow"), dags=dags, env=env) as airflow:
        yield airflow


@pytest.fixture(scope="module")
def story(airflow: Standalone, server: AdversarialServer, tmp_path_factory: pytest.TempPathFactory) -> Story:
    data = tmp_path_factory.mktemp("data") / "rows.jsonl"
    with data.open("wb") as file:
        file.truncate(SIZE)  # sparse: takes no room on the disk
    killed: list[str] = []

    def validate(exchange: Exchange) -> None:
        killed.append("while_it_waits")
        server.model.update(exchange.request.path.rpartition("/")[2], validation_status="validated")

    faults = {
        "in_the_body": Kill(SOME),
        "before_the_answer": Kill(before=lambda exchange: exchange.model()),
        "after_the_answer": Kill(before=lambda exchange: exchange.model().play(exchange)),
    }
    server.script("POST", LIST, [ByName(faults, killed)], repeat=True)
    server.script("GET", f"{LIST}/while-it-waits-*", [Kill(after=validate)])

    api, begun = airflow.api, time.monotonic()
    run_id = api.trigger(DAG_ID, {"data": str(data)})

    def states() -> dict[str, tuple[str, int]]:
        return {task.task_id: (task.state, task.try_number) for task in api.tasks(DAG_ID, run_id)}

    def results() -> dict[str, Any]:
        return {task_id: api.xcom(DAG_ID, run_id, task_id) for task_id, now in states().items() if now[0] == "success"}

    waiting = ("deferred", "given_up")
    until("two wait", lambda: [states()[task_id][0] for task_id in waiting] == ["deferred"] * 2, 120)
    until("a triggerer has them", lambda: claimed(airflow) == len(waiting))
    api.set_state(DAG_ID, run_id, "given_up", "failed")
    until("its dataset is deleted", lambda: server.model.deleted)

    assert airflow.kill_triggerer()
    before = len(server.requests)
    server.model.update(named(server, "deferred")[0], validation_status="validated")
    airflow.start_triggerer()
    until(
        "all has ended",
        lambda: {state for state, _ in states().values()} == {"success", "failed"},
        120,
        found=lambda: f"{states()}\n{airflow.last_output(100)}",
    )
    assert len(server.requests) > before
    first = (states(), all_named(server), results(), list(server.model.deleted), killed, time.monotonic() - begun)

    # Until the run has ended too, the scheduler may end it once more, whatever is cleared meanwhile.
    RunWatch(api, DAG_ID, run_id).follow()
    api.clear(DAG_ID, run_id, ["before_the_answer", "kept"])
    RunWatch(api, DAG_ID, run_id).follow()
    return Story(*first[:5], (all_named(server), results()), first[5])


def named(server: AdversarialServer, name: str) -> list[str]:
    return all_named(server)[name]


def all_named(server: AdversarialServer) -> dict[str, list[str]]:
    """Return the ids of all datasets that were ever created, by the name that they begin with."""
    found: dict[str, list[str]] = {}
    for dataset_id, files in server.model.uploads.items():
        assert files["data"].length == SIZE
        found.setdefault(dataset_id.rpartition("-")[0].replace("-", "_"), []).append(dataset_id)
    return found


def claimed(airflow: Standalone) -> int:
    """Count the waits in Airflow's database that a triggerer has taken."""
    query = "SELECT count(*) FROM trigger WHERE triggerer_id IS NOT NULL AND classpath LIKE '%ValidationTrigger'"
    database = sqlite3.connect(f"file:{airflow.home / 'airflow.db'}?mode=ro", uri=True)
    try:
        return int(database.execute(query).fetchone()[0])
    finally:
        database.close()


@pytest.mark.parametrize("task_id", KILLED)
def test_a_killed_task_makes_one_dataset(story: Story, server: AdversarialServer, task_id: str) -> None:
    assert task_id in story.killed
    assert story.states[task_id] == ("success", 2)
    assert story.datasets[task_id] == [story.results[task_id]["id"]]
    sent = [request for request in server.matching("POST") if request.param("name") == task_id]
    again = ("in_the_body", "before_the_answer")  # the second was cleared afterwards
    assert len(sent) == (2 if task_id in again else 1)


def test_only_what_was_whole_is_adopted(story: Story) -> None:
    adopted = {task_id: story.results[task_id]["adopted"] for task_id in KILLED}
    assert adopted == {task_id: task_id != "in_the_body" for task_id in KILLED}


def test_a_killed_triggerer_is_no_reason_to_upload_again(story: Story) -> None:
    assert story.states["deferred"] == ("success", 1)
    assert story.datasets["deferred"] == [story.results["deferred"]["id"]]
    assert story.results["deferred"]["status"] == "validated"


def test_a_task_that_is_given_up_takes_its_dataset_with_it(story: Story) -> None:
    assert story.states["given_up"][0] == "failed"
    assert story.datasets["given_up"] == story.deleted


def test_who_clears_a_task_gets_another_dataset_unless_told_otherwise(story: Story) -> None:
    datasets, results = story.cleared
    first, second = datasets["before_the_answer"]
    assert [first] == story.datasets["before_the_answer"]
    assert (results["before_the_answer"]["id"], results["before_the_answer"]["adopted"]) == (second, False)
    assert datasets["kept"] == story.datasets["kept"] == [results["kept"]["id"]]
    assert results["kept"]["adopted"]


def test_how_long_it_took(story: Story, capsys: pytest.CaptureFixture[str]) -> None:
    with capsys.disabled():
        print(f"\n{len(story.states)} uploads of {SIZE >> 20} MiB, {len(story.killed)} of them killed:")
        print(f"  {story.seconds:.0f} s until all had ended")
        for task_id, (state, tries) in story.states.items():
            print(f"  {task_id}: {state} after {tries} tries, datasets {story.datasets[task_id]}")
