"""The provider on two Celery workers, with Redis, PostgreSQL and a lake in S3; one of the workers is killed."""

from __future__ import annotations

import json
import time
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import httpx
import pyarrow.fs
import pyarrow.parquet
import pytest

from airflow_provider_cohere_datasets.emulator import Emulator, EmulatorSettings, ReceivedRequest, running_emulator
from tests.adversary import AdversarialServer
from tests.adversary.answers import Exchange
from tests.system.clock import Clock
from tests.system.distributed import CONCURRENCY, HEARTBEAT_TIMEOUT, WORKERS, Distributed, missing
from tests.system.killing import client_of, until
from tests.system.standalone import copy_dags

pytestmark = [pytest.mark.system, pytest.mark.skipif(bool(missing()), reason=missing())]

SYSTEM = Path(__file__).parent
MANY = "waiting_for_many"
UPLOAD = "creating_on_a_worker"
LIFECYCLE = "cohere_dataset_lifecycle"
#: DAGs of dags/, and how many sensors each has.
EXAMPLES = {LIFECYCLE: 1, "cohere_gated_fine_tune": 2}
SENSORS = 50
#: Seconds of the emulator's clock from the creation of a dataset to its verdict; the clock is moved by hand.
VALIDATION = 1000.0
#: Seconds over which requests are counted while nothing happens, and between two looks (see the DAGs).
QUIET = 10.0
INTERVAL = 2.0
#: More than fits between the two ends of a connection, so that the task is still sending when its worker is killed.
SIZE = 16 << 20
#: Bytes of the body after which that happens.
SOME = 1 << 20
LIST = "/v1/datasets"
LAKE_KEY, LAKE_SECRET = "lake-key", "lake-secret"


@dataclass(frozen=True)
class Waiting:
    """What was seen while all sensors waited.

    :param runs: the run of each DAG.
    :param waiting: sensors that a triggerer had.
    :param tasks: processes of tasks.
    :param requests: that the emulator received.
    :param hosts: the workers that the tasks of each DAG began on.
    :param seconds: until all waited.
    """

    runs: dict[str, str]
    waiting: int
    tasks: list[int]
    requests: list[ReceivedRequest]
    hosts: dict[str, Counter[str]]
    seconds: float


@dataclass
class KillWorker:
    """Kill the worker that sends an upload, when some of its body is there.

    :param airflow: whose worker.
    """

    needs_body = SOME

    airflow: Distributed
    done: bool = False
    worker: str = ""
    processes: int = 0
    messages: list[str] = field(default_factory=list)

    def play(self, exchange: Exchange) -> None:
        task = client_of(exchange).pid
        assert task in self.airflow.task_pids()  # which is how others see that none runs
        self.worker = self.airflow.worker_of(task)
        self.processes = len(self.airflow.kill_worker(self.worker))
        self.messages = unacknowledged(self.airflow)
        self.done = True
        exchange.wire.close()


@dataclass(frozen=True)
class Killed:
    """What happened around the death of a worker.

    :param worker: its name.
    :param processes: how many processes died.
    :param messages: the Celery tasks that Redis still held for it.
    :param tries: worker and state of each try.
    :param result: what the task returned.
    :param seconds: until the run had ended.
    """

    worker: str
    processes: int
    messages: list[str]
    tries: list[tuple[str, str]]
    result: dict[str, Any]
    seconds: float


@dataclass(frozen=True)
class Ended:
    """What was there when the other runs had ended, and Redis had nothing left to hand out.

    :param instances: the task instances of each DAG.
    :param received: how often a worker received each message that the dead one had held.
    :param seconds: until the runs had ended.
    """

    instances: dict[str, list[dict[str, Any]]]
    received: dict[str, int]
    seconds: float


@pytest.fixture(scope="module")
def clock() -> Clock:
    return Clock()


@pytest.fixture(scope="module")
def emulator(clock: Clock) -> Iterator[Emulator]:
    with running_emulator(EmulatorSettings(validation_seconds=VALIDATION, clock=clock)) as emulator:
        yield emulator


@pytest.fixture(scope="module")
def server() -> Iterator[AdversarialServer]:
    with AdversarialServer() as server:
        yield server


@pytest.fixture(scope="module")
def airflow(
    emulator: Emulator, server: AdversarialServer, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Distributed]:
    dags = copy_dags(tmp_path_factory.mktemp("dags"), SYSTEM.parents[1] / "dags", SYSTEM / "dags")
    env = {
        "AIRFLOW__DAG_PROCESSOR__MIN_FILE_PROCESS_INTERVAL": "600",
        "COHERE_EXAMPLE_LAKE": "s3://lake_s3@lake/cohere",
    }
    with Distributed(tmp_path_factory.mktemp("airflow"), dags=dags, env=env) as airflow:
        airflow.api.connect(
            "cohere_default", conn_type="cohere_datasets", host=emulator.base_url, password=emulator.api_key
        )
        airflow.api.connect("cohere_killing", conn_type="cohere_datasets", host=server.url, password="test-key")
        extra = {"endpoint_url": airflow.s3_url, "region_name": "us-east-1"}
        airflow.api.connect("lake_s3", conn_type="aws", login=LAKE_KEY, password=LAKE_SECRET, extra=extra)
        lake(airflow).create_dir("lake")
        yield airflow


@pytest.fixture(scope="module")
def waiting(airflow: Distributed, emulator: Emulator) -> Waiting:
    api, begun = airflow.api, time.monotonic()
    ids = emulator.seed(SENSORS, lifecycle=True)
    runs = {dag_id: api.trigger(dag_id) for dag_id in EXAMPLES}
    runs[MANY] = api.trigger(MANY, {"dataset_ids": ids})
    expected = SENSORS + sum(EXAMPLES.values())
    until("all sensors wait", lambda: claimed(airflow, runs) == expected, 240, every=1)
    until("no task runs", lambda: not airflow.task_pids())
    seconds = time.monotonic() - begun

    emulator.clear_requests()
    time.sleep(QUIET)
    requests = emulator.requests
    hosts = {
        dag_id: Counter(one["hostname"] for one in api.task_instances(dag_id, run_id) if one["hostname"])
        for dag_id, run_id in runs.items()
    }
    return Waiting(runs, claimed(airflow, runs), airflow.task_pids(), requests, hosts, seconds)


@pytest.fixture(scope="module")
def killed(
    airflow: Distributed, server: AdversarialServer, waiting: Waiting, tmp_path_factory: pytest.TempPathFactory
) -> Killed:
    data = tmp_path_factory.mktemp("data") / "rows.jsonl"
    with data.open("wb") as file:
        file.truncate(SIZE)  # sparse: takes no room on the disk
    fault = KillWorker(airflow)
    server.script("POST", LIST, [fault])
    run_id = airflow.api.trigger(UPLOAD, {"data": str(data)})
    until("a worker is killed", lambda: fault.done)
    begun = time.monotonic()
    until("the upload has ended", lambda: ended(airflow, {UPLOAD: run_id}), 150, every=1)
    return Killed(
        fault.worker,
        fault.processes,
        fault.messages,
        [(one["hostname"], one["state"]) for one in airflow.api.tries(UPLOAD, run_id, "upload")],
        airflow.api.xcom(UPLOAD, run_id, "upload"),
        time.monotonic() - begun,
    )


@pytest.fixture(scope="module")
def rest(airflow: Distributed, clock: Clock, waiting: Waiting, killed: Killed) -> Ended:
    begun = time.monotonic()
    clock.ahead += VALIDATION
    until("all runs have ended", lambda: ended(airflow, waiting.runs), 300, every=1)
    seconds = time.monotonic() - begun
    # A worker looks for that each 100 seconds only.
    until("Redis has handed out what the dead worker held", lambda: not unacknowledged(airflow), 200, every=1)
    printed = airflow.printed()
    return Ended(
        {dag_id: airflow.api.task_instances(dag_id, run_id) for dag_id, run_id in waiting.runs.items()},
        {message: printed.count(f"[{message}] received") for message in killed.messages},
        seconds,
    )


def ended(airflow: Distributed, runs: dict[str, str]) -> bool:
    return {airflow.api.run_state(*run) for run in runs.items()} <= {"success", "failed"}


def claimed(airflow: Distributed, runs: dict[str, str]) -> int:
    """Count the deferred tasks that the triggerer has taken."""
    found = [one for run in runs.items() for one in airflow.api.task_instances(*run) if one["state"] == "deferred"]
    return len([one for one in found if one["trigger"] and one["trigger"]["triggerer_id"] is not None])


def unacknowledged(airflow: Distributed) -> list[str]:
    """Return the Celery tasks that were handed to a worker and not acknowledged."""
    import redis  # type: ignore[import-not-found, unused-ignore]

    with redis.Redis(port=airflow.redis_port) as client:
        messages = [json.loads(message)[0] for message in client.hvals("unacked")]
    return [message["headers"]["id"] for message in messages]


def lake(airflow: Distributed) -> pyarrow.fs.S3FileSystem:
    """Return a way to the lake that has nothing to do with Airflow's."""
    place = airflow.s3_url.removeprefix("http://")
    return pyarrow.fs.S3FileSystem(
        access_key=LAKE_KEY,
        secret_key=LAKE_SECRET,
        endpoint_override=place,
        scheme="http",
        region="us-east-1",
        allow_bucket_creation=True,
    )


def rows_of(emulator: Emulator) -> list[dict[str, Any]]:
    """Return the rows of the emulator, as its API answers."""
    headers = {"Authorization": f"Bearer {emulator.api_key}"}
    answer = httpx.get(f"{emulator.base_url}{LIST}", params={"limit": 100}, headers=headers, trust_env=False)
    rows: list[dict[str, Any]] = answer.json()["datasets"]
    return rows


def test_the_sensors_wait_without_a_worker(
    airflow: Distributed, waiting: Waiting, capsys: pytest.CaptureFixture[str]
) -> None:
    with capsys.disabled():
        print(f"\n{waiting.waiting} deferred sensors, {len(WORKERS)} Celery workers with {CONCURRENCY} slots each:")
        print(f"  {waiting.seconds:.0f} s until all waited, {len(waiting.requests)} requests in the next {QUIET:g} s")
        for dag_id, hosts in waiting.hosts.items():
            print(f"  tasks of {dag_id} by worker: {dict(sorted(hosts.items()))}")
    assert waiting.waiting > CONCURRENCY * len(WORKERS)
    assert waiting.tasks == []
    assert list(airflow.home.rglob(f"dag_id={LIFECYCLE}/*/task_id=wait/attempt=1.log.trigger.*.log"))


def test_both_workers_ran_tasks(waiting: Waiting) -> None:
    assert set(waiting.hosts[MANY]) == set(WORKERS)


def test_all_sensors_share_one_poll_loop(waiting: Waiting) -> None:
    # All stand on the first page of 100; the second request of a look is the one that shows the end.
    looks = QUIET / INTERVAL
    assert looks / 2 <= len(waiting.requests) <= 2 * (looks + 2)
    assert {request.path for request in waiting.requests} == {LIST}


def test_a_killed_worker_leaves_one_dataset(
    killed: Killed, server: AdversarialServer, capsys: pytest.CaptureFixture[str]
) -> None:
    sent = server.matching("POST")
    with capsys.disabled():
        print(f"\nWorker {killed.worker} was killed with {killed.processes} processes in an upload:")
        print(f"  bytes of each upload: {[request.length for request in sent]}")
        print(f"  {killed.seconds:.0f} s until the run had ended; its tries: {killed.tries}")
        print(f"  datasets: {list(server.model.uploads)}")
    (other,) = set(WORKERS) - {killed.worker}
    assert [worker for worker, _ in killed.tries] == [killed.worker, other]
    assert killed.tries[-1][1] == "success"
    assert [request.complete for request in sent] == [False, True]
    (dataset_id,) = server.model.uploads
    assert dataset_id == killed.result["id"]
    assert server.model.uploads[dataset_id]["data"].length == SIZE
    # It is the scheduler that notices, long before Redis hands anything out again.
    assert killed.seconds > HEARTBEAT_TIMEOUT / 2


def test_the_others_go_on_with_one_worker(
    airflow: Distributed, waiting: Waiting, rest: Ended, capsys: pytest.CaptureFixture[str]
) -> None:
    with capsys.disabled():
        print(f"\n{rest.seconds:.0f} s until all others had succeeded on the other worker")
    states = {run[0]: airflow.api.run_state(*run) for run in waiting.runs.items()}
    assert set(states.values()) == {"success"}, states
    assert {(one["state"], one["try_number"]) for each in rest.instances.values() for one in each} == {("success", 1)}
    assert len([one for one in rest.instances[MANY] if one["task_id"] == "wait"]) == SENSORS


def test_what_redis_hands_out_again_uploads_nothing(
    killed: Killed, rest: Ended, server: AdversarialServer, capsys: pytest.CaptureFixture[str]
) -> None:
    with capsys.disabled():
        print(f"\nTimes that each message of the dead worker was received: {list(rest.received.values())}")
    assert set(rest.received.values()) == {2}
    assert server.count("POST") == 2
    assert list(server.model.uploads) == [killed.result["id"]]


def test_another_reader_finds_the_same_rows_in_s3(
    airflow: Distributed, emulator: Emulator, waiting: Waiting, rest: Ended
) -> None:
    upload, exported = (airflow.api.xcom(LIFECYCLE, waiting.runs[LIFECYCLE], task) for task in ("upload", "export"))
    assert exported["path"].startswith("s3://lake/cohere/snapshot_date=")
    table = pyarrow.parquet.read_table(exported["path"].removeprefix("s3://"), filesystem=lake(airflow))
    fields = ["id", "name", "dataset_type", "validation_status"]
    landed = [tuple(row[field] for field in fields) for row in table.select(fields).to_pylist()]
    there = [tuple(row[field] for field in fields) for row in rows_of(emulator)]
    assert sorted(landed) == sorted(there)
    assert len(landed) == exported["rows"] == waiting.waiting
    assert (upload["id"], upload["name"], "embed-input", "validated") in landed
