"""The demo: a real Airflow runs the main job against the emulator, and the exported Parquet is shown.

Run it as ``python -m tests.system.demo``. Everything it makes is in ``.demo/``; whatever it started has ended when it
ends.
"""

from __future__ import annotations

import shutil
import signal
import sys
from datetime import UTC, datetime, timedelta
from importlib.metadata import version
from pathlib import Path
from types import FrameType
from typing import Any

from airflow_provider_cohere_datasets.emulator import Emulator, EmulatorSettings, running_emulator
from tests.system.api import AirflowApi, AirflowRequestError, RunWatch
from tests.system.standalone import Standalone
from tests.system.story import RunStory, Story, requests_made
from tests.system.table import describe_file, describe_rows

PROJECT = Path(__file__).absolute().parents[2]
DEMO = PROJECT / ".demo"
DAG = "cohere_dataset_lifecycle"
#: Long enough to see the sensor wait.
VALIDATION_SECONDS = 10.0
RUN_TIMEOUT = 180.0
_LOG_TAIL = 15


class DemoError(Exception):
    """The demo did not show what it should."""


def main() -> int:
    """Run the demo; return the exit code."""
    signal.signal(signal.SIGTERM, _interrupt)
    story = Story()
    print(f"Upload, wait, gate, job, export: the main job in a real Airflow {version('apache-airflow-core')}")
    try:
        _run(story)
    except KeyboardInterrupt:
        print("\nInterrupted; everything is stopped.", file=sys.stderr)
        return 130
    except (DemoError, AirflowRequestError, TimeoutError, OSError) as error:
        print(f"\nThe demo failed: {error}", file=sys.stderr)
        return 1
    return 0


def _run(story: Story) -> None:
    shutil.rmtree(DEMO, ignore_errors=True)
    lake = DEMO / "lake"
    lake.mkdir(parents=True)
    story.headline("Starting")
    with running_emulator(EmulatorSettings(validation_seconds=VALIDATION_SECONDS)) as emulator:
        others = seed(emulator)
        story.line("emulator", f"the Datasets API is at {emulator.base_url}, with {others} datasets of other jobs")
        env = {
            "AIRFLOW_CONN_COHERE_DEFAULT": emulator.connection_json(),
            "COHERE_EXAMPLE_LAKE": lake.as_uri(),
        }
        airflow = Standalone(DEMO / "airflow", dags=PROJECT / "dags", env=env)
        story.line("airflow", f"starts at {airflow.url}, its home is {_short(airflow.home)}")
        with airflow:
            story.line("airflow", "scheduler, triggerer, DAG processor and API server are healthy")
            exported = _run_dag(story, emulator, airflow.api)
            story.headline("Stopping")
        story.line("airflow", "all its processes have ended")
        _show(exported, emulator)
    print(f"\nDone in {story.elapsed:.0f} s.")


def _run_dag(story: Story, emulator: Emulator, api: AirflowApi) -> Path:
    story.headline(f"Running the DAG {DAG}")
    run_id = api.trigger(DAG)
    watch = RunWatch(api, DAG, run_id)

    def result(task_id: str) -> Any:
        return api.xcom(DAG, run_id, task_id)

    RunStory(story, emulator, result).follow(watch, timeout=RUN_TIMEOUT)
    if watch.run_state != "success":
        raise DemoError(_reason(api, run_id))
    return Path(result("export")["path"].removeprefix("file://"))


def _reason(api: AirflowApi, run_id: str) -> str:
    for task in api.tasks(DAG, run_id):
        if task.state == "failed":
            tail = api.log(DAG, run_id, task.task_id, try_number=task.try_number)[-_LOG_TAIL:]
            return "\n    ".join([f"the task {task.task_id} failed. The end of its log:", *tail])
    return f"the run {run_id} of {DAG} failed, but none of its tasks did."


def _show(exported: Path, emulator: Emulator) -> None:
    print(f"\nThe export: {_short(exported)}\n  {describe_file(exported)}\n")
    for line in describe_rows(exported):
        print(f"  {line}")
    print(f"\nRequests that the emulator received: {len(emulator.requests)}")
    for line in requests_made(emulator):
        print(f"  {line}")


def seed(emulator: Emulator) -> int:
    """Put datasets of other jobs in place, in all states; return how many."""
    now = datetime.now(UTC)
    # name, type, status, age, rows, bytes, error
    others: list[tuple[str, str, str, timedelta, int, int, str]] = [
        ("old-newsletters", "embed-input", "validated", timedelta(days=29, hours=20), 5210, 1_830_411, ""),
        ("product-reviews", "chat-finetune-input", "validated", timedelta(days=12), 1200, 96_320, ""),
        ("search-pairs", "reranker-finetune-input", "validated", timedelta(days=5, hours=3), 848, 412_007, ""),
        ("support-chats", "chat-finetune-input", "failed", timedelta(days=2), 0, 0, "line 7: no turn of the chatbot"),
        ("nightly-batch", "batch-chat-input", "skipped", timedelta(hours=9), 64, 20_113, ""),
        ("wiki-passages", "embed-input", "processing", timedelta(minutes=10), 0, 0, ""),
        ("marketing-faq", "embed-input", "queued", timedelta(minutes=2), 0, 0, ""),
    ]  # fmt: skip
    for name, dataset_type, status, age, rows, size, error in others:
        part = {"id": f"{name}-part-000", "name": name, "size_bytes": size, "num_rows": rows}
        emulator.seed(
            name=name,
            dataset_type=dataset_type,
            status=status,
            created_at=now - age,
            size_bytes=size,
            validation_error=error,
            fields={"dataset_parts": [part]} if rows else None,
        )
    return len(others)


def _short(path: Path) -> str:
    return str(path.relative_to(PROJECT)) if path.is_relative_to(PROJECT) else str(path)


def _interrupt(number: int, frame: FrameType | None) -> None:
    raise KeyboardInterrupt


if __name__ == "__main__":
    sys.exit(main())
