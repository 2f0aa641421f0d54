"""The provider in a real Airflow: scheduler, triggerer, workers and API server, against the emulator."""

from __future__ import annotations

import json
import secrets
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import duckdb
import pytest

from airflow_provider_cohere_datasets.emulator import Emulator, EmulatorSettings, running_emulator
from tests.system.api import RunWatch, TaskState
from tests.system.standalone import Standalone, copy_dags

pytestmark = pytest.mark.system

SYSTEM = Path(__file__).parent
RIGHT_KEY = f"right-{secrets.token_hex(12)}"
WRONG_KEY = f"wrong-{secrets.token_hex(12)}"
#: Long enough for the sensor to see a dataset that is not ready.
VALIDATION_SECONDS = 8.0


@dataclass(frozen=True)
class Run:
    """A run that has ended."""

    dag_id: str
    run_id: str
    state: str
    seen: list[TaskState]

    def states_of(self, task_id: str) -> list[str]:
        return [task.state for task in self.seen if task.task_id == task_id]

    def last(self, task_id: str) -> TaskState:
        return [task for task in self.seen if task.task_id == task_id][-1]


@pytest.fixture(scope="module")
def emulator() -> Iterator[Emulator]:
    settings = EmulatorSettings(api_keys=(RIGHT_KEY,), validation_seconds=VALIDATION_SECONDS)
    with running_emulator(settings) as emulator:
        yield emulator


@pytest.fixture(scope="module")
def lake(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("lake")


@pytest.fixture(scope="module")
def airflow(emulator: Emulator, lake: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Standalone]:
    wrong = {"conn_type": "cohere_datasets", "host": emulator.base_url, "password": WRONG_KEY}
    env = {
        "AIRFLOW_CONN_COHERE_DEFAULT": emulator.connection_json(),
        "AIRFLOW_CONN_COHERE_WRONG_KEY": json.dumps(wrong),
        "AIRFLOW__LOGGING__LOGGING_LEVEL": "DEBUG",
        "COHERE_EXAMPLE_LAKE": lake.as_uri(),
    }
    dags = copy_dags(tmp_path_factory.mktemp("dags"), SYSTEM.parents[1] / "dags", SYSTEM / "dags")
    with Standalone(tmp_path_factory.mktemp("airflow"), dags=dags, env=env) as airflow:
        yield airflow


@pytest.fixture(scope="module")
def lifecycle(airflow: Standalone) -> Run:
    return run_of(airflow, "cohere_dataset_lifecycle")


@pytest.fixture(scope="module")
def refused(airflow: Standalone) -> Run:
    return run_of(airflow, "permanent_errors")


def run_of(airflow: Standalone, dag_id: str) -> Run:
    run_id = airflow.api.trigger(dag_id)
    watch = RunWatch(airflow.api, dag_id, run_id)
    return Run(dag_id, run_id, watch.follow(), watch.seen)


def test_the_main_job_succeeds(lifecycle: Run) -> None:
    assert lifecycle.state == "success"
    assert {task.task_id for task in lifecycle.seen} == {"upload", "wait", "gate", "start_job", "export", "read"}


def test_the_sensor_waits_in_the_triggerer(airflow: Standalone, lifecycle: Run) -> None:
    states = lifecycle.states_of("wait")
    assert "deferred" in states
    assert states.index("deferred") < states.index("success")
    assert list(airflow.home.rglob("task_id=wait/attempt=1.log.trigger.*.log"))


def test_another_reader_finds_the_uploaded_dataset_in_the_lake(airflow: Standalone, lifecycle: Run, lake: Path) -> None:
    dataset_id = airflow.api.xcom(lifecycle.dag_id, lifecycle.run_id, "upload")["id"]
    exported = airflow.api.xcom(lifecycle.dag_id, lifecycle.run_id, "export")["path"].removeprefix("file://")
    assert Path(exported).is_relative_to(lake)
    rows = duckdb.execute("SELECT id, validation_status, dataset_type FROM read_parquet(?)", [exported]).fetchall()
    assert (dataset_id, "validated", "embed-input") in rows


def test_the_dashboard_is_one_click_away(airflow: Standalone, lifecycle: Run) -> None:
    for task_id in ("upload", "wait", "gate"):
        path = f"/dags/{lifecycle.dag_id}/dagRuns/{lifecycle.run_id}/taskInstances/{task_id}/links"
        links = airflow.api.request("GET", path)["extra_links"]
        assert links == {"Cohere dashboard": "https://dashboard.cohere.com/datasets"}


@pytest.mark.parametrize(
    "example",
    # As they are, without parameters: those for events find nothing to do.
    ["cohere_gated_fine_tune", "cohere_cleanup", "cohere_on_dataset_validated", "cohere_one_run_per_dataset"],
)
def test_the_other_examples_succeed(airflow: Standalone, example: str) -> None:
    assert run_of(airflow, example).state == "success"


def test_each_validated_dataset_gets_one_run(airflow: Standalone) -> None:
    consumer = "cohere_one_run_per_dataset"
    airflow.api.wait_for_dag(consumer)
    airflow.api.unpause(consumer)
    producer = run_of(airflow, "cohere_upload_several")
    assert producer.state == "success"
    rows = airflow.api.xcom(producer.dag_id, producer.run_id, "wait")
    assert len(rows) == 2

    def runs() -> list[dict[str, Any]]:
        found = airflow.api.request("GET", f"/dags/{consumer}/dagRuns")["dag_runs"]
        return [run for run in found if run["partition_key"]]

    deadline = time.monotonic() + 120
    while [run["state"] for run in runs()] != ["success"] * 2 and time.monotonic() < deadline:
        time.sleep(1)
    assert [run["state"] for run in runs()] == ["success"] * 2
    assert {run["partition_key"] for run in runs()} == {row["id"] for row in rows}
    for run in runs():
        assert airflow.api.xcom(consumer, run["dag_run_id"], "start_job").endswith(run["partition_key"])


@pytest.mark.parametrize(
    ("task_id", "error", "paths", "status"),
    [
        ("wrong_key", "CohereAuthenticationError: Cohere refuses the API key.", ["/v1/datasets"], 401),
        (
            "unknown_dataset",
            "CohereDatasetNotFoundError: Dataset 'no-such-dataset-000000' does not exist",
            # Right after its creation a dataset may not be known yet, so the sensor asks three times in 3 seconds.
            ["/v1/datasets/no-such-dataset-000000"] * 3,
            404,
        ),
    ],
)
def test_what_no_retry_can_help_costs_one_try(
    airflow: Standalone, emulator: Emulator, refused: Run, task_id: str, error: str, paths: list[str], status: int
) -> None:
    ended = refused.last(task_id)
    assert (ended.state, ended.try_number) == ("failed", 1)
    assert [request.path for request in emulator.requests if request.status == status] == paths
    lines = airflow.api.log(refused.dag_id, refused.run_id, task_id)
    assert len([line for line in lines if line.startswith(error)]) == 1


def test_the_api_keys_are_nowhere(airflow: Standalone, lake: Path, lifecycle: Run, refused: Run) -> None:
    files = [path for folder in (airflow.home, lake) for path in folder.rglob("*") if path.is_file()]
    assert {airflow.output, airflow.home / "airflow.db"} <= set(files)
    keys = (RIGHT_KEY.encode(), WRONG_KEY.encode())
    assert [path for path in files if any(key in path.read_bytes() for key in keys)] == []
