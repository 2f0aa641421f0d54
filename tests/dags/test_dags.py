"""Every example runs as it is, against the emulator."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any, TypeAlias

import duckdb
import pytest
from airflow.providers.common.compat.sdk import DAG

from airflow_provider_cohere_datasets.emulator import Emulator
from tests.dags.events import asset_of, payloads_of, started_by
from tests.operators.running import new_bag, run
from tests.versions import AIRFLOW

DAGS = Path(__file__).parents[2] / "dags"
FILES = sorted(DAGS.glob("*.py"))
#: Task instances by task and map index; -1 for those that are not mapped.
Tasks: TypeAlias = Mapping[tuple[str, int], Any]


@pytest.fixture
def lake(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The folder that the examples write to."""
    monkeypatch.setenv("COHERE_EXAMPLE_LAKE", tmp_path.as_uri())
    return tmp_path


def dags_of(path: Path) -> list[DAG]:
    """Read a file as Airflow's DAG processor does."""
    bag = new_bag(DAGS)
    found: list[DAG] = bag.process_file(str(path), only_if_updated=False)
    assert not bag.import_errors
    assert not bag.captured_warnings
    return found


def result(tasks: Tasks, task_id: str) -> Any:
    return tasks[task_id, -1].xcom_pull(task_ids=task_id)


def the_whole_lifecycle(tasks: Tasks, emulator: Emulator, lake: Path) -> None:
    assert {task_id for task_id, _ in tasks} == {"upload", "wait", "gate", "start_job", "export", "read"}
    (exported,) = lake.rglob("*.parquet")
    rows = duckdb.execute("SELECT id, validation_status FROM read_parquet(?)", [str(exported)]).fetchall()
    assert rows == [(result(tasks, "upload")["id"], "validated")]
    assert result(tasks, "export")["rows"] == 1
    assert sum(result(tasks, "start_job").values()) == 10
    assert [request.method for request in emulator.requests].count("POST") == 1


def both_requests(tasks: Tasks, emulator: Emulator, lake: Path) -> None:
    chats, questions = result(tasks, "upload_chats")["id"], result(tasks, "upload_questions")["id"]
    assert result(tasks, "gate_fine_tune")["dataset_type"] == "chat-finetune-input"
    fine_tune = result(tasks, "fine_tune_request")
    assert fine_tune["settings"] == {"base_model": {"base_type": "BASE_TYPE_CHAT"}, "dataset_id": chats}
    assert fine_tune["name"].startswith("support-chats-")
    assert result(tasks, "embed_job_request")["dataset_id"] == questions


def those_of_the_events_that_passed(tasks: Tasks, emulator: Emulator, lake: Path) -> None:
    # The events of one run come in any order.
    gone, large_1, large_2, small = sorted(result(tasks, "read_events"))
    gated = result(tasks, "gate")
    assert (sorted(gated["passed"]), gated["checked"]) == ([large_1, large_2], 4)
    assert gated["failed"] == {
        small: ["total_examples is 4, below the minimum of 5"],
        gone: ["it does not exist"],
    }
    assert sorted(request["dataset_id"] for request in result(tasks, "embed_job_requests")) == [large_1, large_2]


def both_files(tasks: Tasks, emulator: Emulator, lake: Path) -> None:
    assert [request.method for request in emulator.requests].count("POST") == 2
    uploaded = [tasks["upload", index].xcom_pull(task_ids="upload", map_indexes=index)["id"] for index in (0, 1)]
    assert [row["id"] for row in result(tasks, "wait")] == uploaded
    assert {row["status"] for row in result(tasks, "wait")} == {"validated"}


def the_one_dataset(tasks: Tasks, emulator: Emulator, lake: Path) -> None:
    assert result(tasks, "start_job") == f"embed-input: {result(tasks, 'get')['id']}"


def what_would_be_deleted(tasks: Tasks, emulator: Emulator, lake: Path) -> None:
    new, old = sorted(result(tasks, "failed"))
    assert result(tasks, "delete") == {"deleted": [old], "count": 1, "missing": 0, "dry_run": True}
    assert new.startswith("new")
    assert "DELETE" not in {request.method for request in emulator.requests}


#: What must be true after a run, for each DAG; an example without an entry fails.
ENDINGS: dict[str, Callable[[Tasks, Emulator, Path], None]] = {
    "cohere_cleanup": what_would_be_deleted,
    "cohere_dataset_lifecycle": the_whole_lifecycle,
    "cohere_gated_fine_tune": both_requests,
    "cohere_on_dataset_validated": those_of_the_events_that_passed,
    "cohere_one_run_per_dataset": the_one_dataset,
    "cohere_upload_several": both_files,
}


def run_by_hand(dag: DAG, emulator: Emulator) -> Tasks:
    return run(dag)


def run_with_a_dataset(dag: DAG, emulator: Emulator) -> Tasks:
    return run(dag, {"dataset_id": emulator.seed(1)[0]})


def run_for_four_datasets(dag: DAG, emulator: Emulator) -> Tasks:
    """Run for two large datasets, a small one, and one that is gone since: by events, where Airflow has watchers."""
    rows = {"large-1": 5, "large-2": 6, "small": 4, "gone": 7}
    ids = {
        name: emulator.seed(name=name, fields={"dataset_parts": [{"id": "part", "num_rows": number}]})[0]
        for name, number in rows.items()
    }
    if AIRFLOW < (3, 0):
        emulator.store.remove(ids["gone"])
        return run(dag, {"dataset_ids": list(ids.values())})
    (watcher,) = asset_of(dag).watchers
    payloads = payloads_of(watcher.trigger, len(rows))
    emulator.store.remove(ids["gone"])
    with started_by(dag, payloads):
        return run(dag)


def run_with_failed_datasets(dag: DAG, emulator: Emulator) -> Tasks:
    for name, status, days in (("good", "validated", 9), ("new", "failed", 1), ("old", "failed", 8)):
        emulator.seed(name=name, status=status, created_at=datetime.now(UTC) - timedelta(days=days))
    return run(dag)


#: How a run is started, for each DAG that needs more than that it is.
STARTS: dict[str, Callable[[DAG, Emulator], Tasks]] = {
    "cohere_cleanup": run_with_failed_datasets,
    "cohere_on_dataset_validated": run_for_four_datasets,
    "cohere_one_run_per_dataset": run_with_a_dataset,
}


@pytest.mark.usefixtures("cohere_connection")
# Airflow's own code warns in a run; what our code warns of stays an error.
@pytest.mark.filterwarnings("default", "error:::airflow_provider_cohere_datasets")
@pytest.mark.parametrize("path", FILES, ids=lambda path: path.stem)
def test_the_example_runs(path: Path, emulator: Emulator, lake: Path) -> None:
    dags = dags_of(path)
    assert dags, f"{path.name} has no DAG"
    for dag in dags:
        assert dag.dag_id in ENDINGS, f"{dag.dag_id} has no test: say in ENDINGS what must be true after a run"
        tasks = STARTS.get(dag.dag_id, run_by_hand)(dag, emulator)
        assert {str(task.state) for task in tasks.values()} == {"success"}, tasks
        ENDINGS[dag.dag_id](tasks, emulator, lake)


@pytest.mark.usefixtures("cohere_connection", "lake")
@pytest.mark.filterwarnings("default", "error:::airflow_provider_cohere_datasets")
@pytest.mark.parametrize("dag_id", STARTS)
def test_an_example_that_finds_nothing_to_do_says_so(dag_id: str, emulator: Emulator) -> None:
    (dag,) = (dag for path in FILES for dag in dags_of(path) if dag.dag_id == dag_id)
    assert {str(task.state) for task in run(dag).values()} <= {"success", "skipped"}


def test_there_is_an_example_for_every_entry() -> None:
    assert ENDINGS.keys() == {dag.dag_id for path in FILES for dag in dags_of(path)}


def hide_watchers(monkeypatch: pytest.MonkeyPatch) -> None:
    import airflow.sdk

    find = airflow.sdk.__getattr__

    def find_in_airflow_2(name: str) -> Any:
        if name == "AssetWatcher":
            raise AttributeError(name)
        return find(name)

    monkeypatch.delitem(vars(airflow.sdk), "AssetWatcher", raising=False)
    monkeypatch.setattr(airflow.sdk, "__getattr__", find_in_airflow_2)


def test_below_airflow_3_the_dag_of_the_watcher_has_no_schedule(monkeypatch: pytest.MonkeyPatch) -> None:
    if AIRFLOW >= (3, 0):
        hide_watchers(monkeypatch)
    (dag,) = dags_of(DAGS / "cohere_on_dataset_validated.py")
    assert type(dag.timetable).__name__ == "NullTimetable"
    assert dag.task_ids == ["read_events", "gate", "embed_job_requests"]
