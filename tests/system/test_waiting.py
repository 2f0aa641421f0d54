"""Waiting in a real Airflow: many sensors, an asset watcher, and a triggerer that is killed and started again."""

from __future__ import annotations

import sqlite3
import time
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from airflow_provider_cohere_datasets.emulator import Emulator, EmulatorSettings, ReceivedRequest, running_emulator
from tests.system.api import RunWatch
from tests.system.clock import Clock
from tests.system.standalone import Standalone, copy_dags

pytestmark = pytest.mark.system

MANY = "waiting_for_many"
WATCHING = "watching_for_datasets"
IN_THE_TRIGGERER = "waiting_in_the_triggerer"
SENSORS = 50
#: Seconds of the emulator's clock from the creation of a dataset to its verdict; the clock is moved by hand.
VALIDATION = 1000.0
#: Seconds over which requests are counted while nothing happens, and between two looks (see the DAGs).
QUIET = 10.0
INTERVAL = 2.0
#: What the watcher asks for and the sensors do not.
WATCHED_TYPE = "batch-chat-input"


@dataclass(frozen=True)
class Outage:
    """What happened around the death of a triggerer, with the watcher's datasets by when they became validated."""

    run_state: str
    states: Counter[str]
    tries: set[int]
    seconds: dict[str, float]
    requests: dict[str, list[ReceivedRequest]]
    datasets: dict[str, str]
    payloads: list[list[dict[str, Any]]]


@dataclass(frozen=True)
class Started:
    """What the run of the tasks that start in the triggerer left behind."""

    ids: dict[str, Any]
    states: dict[tuple[str, int], str]
    logs_while_deferred: set[str]
    asked_for_after_giving_up: set[str]
    triggers_at_the_end: int
    requests: list[ReceivedRequest]


@pytest.fixture(scope="module")
def clock() -> Clock:
    return Clock()


@pytest.fixture(scope="module")
def emulator(clock: Clock) -> Iterator[Emulator]:
    with running_emulator(EmulatorSettings(validation_seconds=VALIDATION, clock=clock)) as emulator:
        yield emulator


@pytest.fixture(scope="module")
def airflow(emulator: Emulator, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Standalone]:
    env = {
        "AIRFLOW_CONN_COHERE_DEFAULT": emulator.connection_json(),
        "AIRFLOW__DAG_PROCESSOR__MIN_FILE_PROCESS_INTERVAL": "5",
        # A dead triggerer is noticed, and its triggers go to the next one, after seconds.
        "AIRFLOW__TRIGGERER__JOB_HEARTBEAT_SEC": "2",
        "AIRFLOW__TRIGGERER__TRIGGERER_HEALTH_CHECK_THRESHOLD": "6",
    }
    dags = copy_dags(tmp_path_factory.mktemp("dags"), Path(__file__).parent / "dags")
    with Standalone(tmp_path_factory.mktemp("airflow"), dags=dags, env=env) as airflow:
        yield airflow


@pytest.fixture(scope="module")
def started(airflow: Standalone, emulator: Emulator, clock: Clock) -> Started:
    ids = {"single": seed(emulator), "mapped": emulator.seed(2, lifecycle=True), "given_up": seed(emulator)}
    run_id = airflow.api.trigger(IN_THE_TRIGGERER, ids)
    waiting = {"single", "mapped", "given_up"}

    def states() -> dict[tuple[str, int], str]:
        found = airflow.api.tasks(IN_THE_TRIGGERER, run_id)
        return {(task.task_id, task.map_index): task.state for task in found if task.task_id in waiting}

    until("all four wait", lambda: list(states().values()) == ["deferred"] * 4 and validation_triggers(airflow) == 4)
    until("each is looked for", lambda: asked_for(emulator, seconds=1) >= {ids["single"], ids["given_up"]})
    logs = {path.parent.name for path in airflow.home.rglob("attempt=1.log") if IN_THE_TRIGGERER in str(path)}
    airflow.api.set_state(IN_THE_TRIGGERER, run_id, "given_up", "failed")
    until("the trigger is gone", lambda: validation_triggers(airflow) == 3)
    # The triggerer cancels what has lost its row in its next round.
    until("nobody asks for it", lambda: ids["given_up"] not in asked_for(emulator, seconds=3))
    later = asked_for(emulator, seconds=3)
    clock.ahead += VALIDATION
    RunWatch(airflow.api, IN_THE_TRIGGERER, run_id).follow()
    until("no trigger is left", lambda: validation_triggers(airflow) == 0)
    return Started(ids, states(), logs, later, validation_triggers(airflow), emulator.requests)


@pytest.fixture(scope="module")
def outage(airflow: Standalone, emulator: Emulator, clock: Clock, started: Started) -> Outage:
    api, seconds, requests = airflow.api, {}, {}

    def watched(name: str, age: float = 0.0) -> str:
        return seed(emulator, name=f"watched {name}", dataset_type=WATCHED_TYPE, created_at=clock() - age)

    def runs() -> list[str]:
        found = api.request("GET", f"/dags/{WATCHING}/dagRuns", params={"order_by": "run_after"})["dag_runs"]
        return [run["dag_run_id"] for run in found if run["state"] == "success"]

    emulator.seed(name="watched old", dataset_type=WATCHED_TYPE)
    api.wait_for_dag(WATCHING)
    api.unpause(WATCHING)
    until("the watcher looks", lambda: of_the_watcher(emulator.requests))
    datasets = {"early": watched("early")}
    clock.ahead += VALIDATION
    until("the first dataset has its run", lambda: len(runs()) == 1)

    begun = time.monotonic()
    ids = emulator.seed(SENSORS, lifecycle=True)
    datasets["in the outage"] = watched("in the outage", age=VALIDATION / 2)
    datasets["late"] = watched("late")
    run_id = api.trigger(MANY, {"dataset_ids": ids})
    until("all sensors wait", lambda: validation_triggers(airflow, claimed=True) == SENSORS, 150)
    seconds["until all wait"] = time.monotonic() - begun

    emulator.clear_requests()
    time.sleep(QUIET)
    requests["while they wait"] = emulator.requests

    begun = time.monotonic()
    assert airflow.kill_triggerer()
    emulator.clear_requests()
    clock.ahead += VALIDATION / 2
    time.sleep(INTERVAL)
    requests["without a triggerer"] = emulator.requests
    airflow.start_triggerer()
    until("the sensors are looked for", lambda: len(of_sensors(emulator.requests)) > 1)
    until("the second dataset has its run", lambda: len(runs()) == 2)
    seconds["until the next triggerer looks"] = time.monotonic() - begun
    emulator.clear_requests()
    time.sleep(QUIET)
    requests["after the restart"] = emulator.requests

    begun = time.monotonic()
    emulator.clear_requests()
    clock.ahead += VALIDATION / 2
    watch = RunWatch(api, MANY, run_id)
    watch.follow(timeout=180)
    seconds["until all have succeeded"] = time.monotonic() - begun
    requests["while they end"] = emulator.requests
    until("the third dataset has its run", lambda: len(runs()) >= 3)
    sensors = [task for task in api.tasks(MANY, run_id) if task.task_id == "wait"]
    return Outage(
        watch.run_state,
        Counter(task.state for task in sensors),
        {task.try_number for task in sensors},
        seconds,
        requests,
        datasets,
        [api.xcom(WATCHING, run, "arrived") for run in runs()],
    )


def seed(emulator: Emulator, **options: Any) -> str:
    return emulator.seed(lifecycle=True, **options)[0]


def until(what: str, condition: Callable[[], object], seconds: float = 90.0) -> None:
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline, f"not within {seconds:g} s: {what}"
        time.sleep(0.25)


def validation_triggers(airflow: Standalone, *, claimed: bool = False) -> int:
    """Count the sensors' triggers in Airflow's database, or those of them that a triggerer has taken."""
    query = "SELECT count(*) FROM trigger WHERE classpath LIKE '%CohereDatasetValidationTrigger'"
    database = sqlite3.connect(f"file:{airflow.home / 'airflow.db'}?mode=ro", uri=True)
    try:
        return int(database.execute(f"{query} AND triggerer_id IS NOT NULL" if claimed else query).fetchone()[0])
    finally:
        database.close()


def asked_for(emulator: Emulator, *, seconds: float) -> set[str]:
    """Return the datasets that are asked for from now on, over some seconds."""
    before = len(emulator.requests)
    time.sleep(seconds)
    return {request.path.rpartition("/")[2] for request in emulator.requests[before:]}


def of_the_watcher(requests: list[ReceivedRequest]) -> list[ReceivedRequest]:
    return [request for request in requests if f"datasetType={WATCHED_TYPE}" in request.query]


def of_sensors(requests: list[ReceivedRequest]) -> list[ReceivedRequest]:
    return [request for request in requests if f"datasetType={WATCHED_TYPE}" not in request.query]


def test_an_unmapped_sensor_starts_in_the_triggerer(started: Started) -> None:
    assert started.states[("single", -1)] == "success"
    assert "task_id=single" not in started.logs_while_deferred
    assert "task_id=given_up" in started.logs_while_deferred


def test_a_mapped_sensor_starts_on_a_worker_all_the_same(started: Started) -> None:
    assert [started.states[("mapped", index)] for index in (0, 1)] == ["success", "success"]
    assert {"map_index=0", "map_index=1"} <= started.logs_while_deferred


def test_a_sensor_that_is_marked_failed_leaves_nothing_behind(emulator: Emulator, started: Started) -> None:
    given_up = started.ids["given_up"]
    assert started.states[("given_up", -1)] == "failed"
    assert started.triggers_at_the_end == 0
    assert started.asked_for_after_giving_up == {started.ids["single"], *started.ids["mapped"]}
    assert emulator.store.find(given_up) is not None
    assert {request.method for request in started.requests} == {"GET"}


def test_all_sensors_succeed_though_the_triggerer_was_killed(
    outage: Outage, capsys: pytest.CaptureFixture[str]
) -> None:
    with capsys.disabled():
        print(f"\n{SENSORS} sensors and a watcher, a look each {INTERVAL:g} s:")
        for what, requests in outage.requests.items():
            ours, others = len(of_sensors(requests)), len(of_the_watcher(requests))
            print(f"  requests {what}: {ours} for all sensors, {others} of the watcher")
        for what, seconds in outage.seconds.items():
            print(f"  seconds {what}: {seconds:.0f}")
    assert outage.run_state == "success"
    assert outage.states == {"success": SENSORS}
    assert outage.tries == {1}
    assert outage.requests["without a triggerer"] == []


@pytest.mark.parametrize("when", ["while they wait", "after the restart"])
def test_the_requests_are_those_of_one_poll_loop(outage: Outage, when: str) -> None:
    # All sensors stand on the first page of 100; the second request of a look is the one that shows the end.
    looks = QUIET / INTERVAL
    assert looks / 2 <= len(of_sensors(outage.requests[when])) <= 2 * (looks + 2)
    assert {request.path for request in of_sensors(outage.requests[when])} == {"/v1/datasets"}


def test_each_dataset_has_one_run_also_if_it_was_validated_in_the_outage(outage: Outage) -> None:
    fired = [[payload["dataset_id"] for payload in payloads] for payloads in outage.payloads]
    assert fired == [[outage.datasets[when]] for when in ("early", "in the outage", "late")]
    assert {payload["validation_status"] for payloads in outage.payloads for payload in payloads} == {"validated"}
