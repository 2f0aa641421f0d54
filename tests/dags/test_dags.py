"""Every example runs as it is, against the emulator."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import duckdb
import pytest
from airflow.providers.common.compat.sdk import DAG

from airflow_provider_cohere_datasets.emulator import Emulator

DAGS = Path(__file__).parents[2] / "dags"
FILES = sorted(DAGS.glob("*.py"))


class Ran:
    """A run of a DAG that has ended."""

    def __init__(self, run: Any) -> None:
        self.state = str(run.state)
        instances = run.get_task_instances()
        self.tasks: dict[str, list[str]] = {}
        for instance in instances:
            self.tasks.setdefault(instance.task_id, []).append(str(instance.state))
        self.results = {
            (instance.task_id, instance.map_index): instance.xcom_pull(
                task_ids=instance.task_id, map_indexes=instance.map_index if instance.map_index >= 0 else None
            )
            for instance in instances
        }

    def result(self, task_id: str, map_index: int = -1) -> Any:
        return self.results[task_id, map_index]


@pytest.fixture(scope="session")
def database() -> None:
    from airflow.utils.db import initdb

    initdb()


@pytest.fixture
def lake(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The folder that the examples write to."""
    monkeypatch.setenv("COHERE_EXAMPLE_LAKE", tmp_path.as_uri())
    return tmp_path


def dags_of(path: Path) -> list[DAG]:
    """Read a file as Airflow's DAG processor does."""
    from airflow.dag_processing.dagbag import BundleDagBag

    bag = BundleDagBag(dag_folder=DAGS, bundle_path=DAGS, bundle_name="dags-folder", collect_dags=False)
    found = bag.process_file(str(path), only_if_updated=False)
    assert not bag.import_errors
    assert not bag.captured_warnings
    return list(found)


def run(dag: DAG) -> Ran:
    """Run a DAG in this process."""
    from airflow.dag_processing.bundles.manager import DagBundlesManager
    from airflow.dag_processing.dagbag import BundleDagBag, sync_bag_to_db

    DagBundlesManager().sync_bundles_to_db()
    folder = Path(os.environ["AIRFLOW__CORE__DAGS_FOLDER"])
    bag = BundleDagBag(dag_folder=folder, bundle_path=folder, bundle_name="dags-folder")
    bag.bag_dag(dag)
    sync_bag_to_db(bag, "dags-folder", None)
    return Ran(dag.test())


def the_whole_lifecycle(ran: Ran, emulator: Emulator, lake: Path) -> None:
    assert ran.tasks == {
        task_id: ["success"] for task_id in ("upload", "wait", "gate", "start_job", "export", "read")
    }
    dataset_id = ran.result("upload")
    (exported,) = lake.rglob("*.parquet")
    rows = duckdb.execute("SELECT id, validation_status FROM read_parquet(?)", [str(exported)]).fetchall()
    assert rows == [(dataset_id, "validated")]
    assert ran.result("export")["rows"] == 1
    assert sum(ran.result("start_job").values()) == 10
    assert [request.method for request in emulator.requests].count("POST") == 1


#: What must be true after a run, for each DAG; an example without an entry fails.
ENDINGS: dict[str, Callable[[Ran, Emulator, Path], None]] = {"cohere_dataset_lifecycle": the_whole_lifecycle}


@pytest.mark.usefixtures("database", "cohere_connection")
@pytest.mark.parametrize("path", FILES, ids=lambda path: path.stem)
def test_the_example_runs(path: Path, emulator: Emulator, lake: Path) -> None:
    dags = dags_of(path)
    assert dags, f"{path.name} has no DAG"
    for dag in dags:
        assert dag.dag_id in ENDINGS, f"{dag.dag_id} has no test: say in ENDINGS what must be true after a run"
        ran = run(dag)
        assert ran.state == "success", ran.tasks
        ENDINGS[dag.dag_id](ran, emulator, lake)


def test_every_test_is_of_an_example_that_exists() -> None:
    assert ENDINGS.keys() == {path.stem for path in FILES}
