"""What the demo says while the DAG runs."""

from __future__ import annotations

import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from airflow_provider_cohere_datasets.emulator import Emulator
from tests.system.api import RunWatch, TaskState

_POLL = 0.25
_BEGUN = {
    "upload": "sends the file to Cohere",
    "wait": "looks once at the dataset",
    "gate": "asks whether a job may start on the dataset",
    "start_job": "downloads the validated records and counts their topics",
    "export": "lists all datasets and writes them into the lake",
    "read": "reads the export back",
}
_DEFERRED = "deferred: the triggerer waits from here on, and no worker slot is taken"
_RESUMED = "is back on a worker with the answer of the triggerer"


class Story:
    """Prints a line for everything that happens, with the seconds since the start."""

    def __init__(self) -> None:
        self._start = time.monotonic()

    @property
    def elapsed(self) -> float:
        """Seconds since the start."""
        return time.monotonic() - self._start

    def headline(self, text: str) -> None:
        """Print a headline."""
        print(f"\n{text}", flush=True)

    def line(self, who: str, what: str) -> None:
        """Print what somebody does."""
        print(f"  {self.elapsed:6.1f} s  {who:<10} {what}", flush=True)


class RunStory:
    """Tells a run of the DAG as it happens.

    :param story: where to tell it.
    :param emulator: whose newest dataset is the one of the run.
    :param result: gives what a task returned.
    """

    def __init__(self, story: Story, emulator: Emulator, result: Callable[[str], Any]) -> None:
        self._story = story
        self._emulator = emulator
        self._result = result
        self._seeded = {dataset.id for dataset in _datasets(emulator)}
        self._status = ""
        self._deferred: set[str] = set()

    def follow(self, watch: RunWatch, *, timeout: float) -> None:
        """Tell everything until the run has ended.

        :param watch: the run.
        :param timeout: seconds.
        :raises TimeoutError: if it takes longer.
        """
        deadline = time.monotonic() + timeout
        while not watch.finished:
            if time.monotonic() > deadline:
                raise TimeoutError(f"the run did not end within {timeout:g} s")
            for task in watch.poll():
                self._tell(task)
            self._look_at_dataset()
            time.sleep(_POLL)

    def _tell(self, task: TaskState) -> None:
        what = ""
        if task.state == "running":
            what = _RESUMED if task.task_id in self._deferred else _BEGUN[task.task_id]
        elif task.state == "deferred":
            self._deferred.add(task.task_id)
            what = _DEFERRED
        elif task.state == "success":
            what = f"done: {outcome(task.task_id, self._result(task.task_id))}"
        elif task.state == "up_for_retry":
            what = f"failed at try {task.try_number} and will run again"
        elif task.state in {"failed", "upstream_failed", "skipped"}:
            what = task.state.replace("_", " ")
        if what:
            self._story.line(task.task_id, what)

    def _look_at_dataset(self) -> None:
        for dataset in _datasets(self._emulator):
            if dataset.id not in self._seeded and dataset.status != self._status:
                self._status = dataset.status
                self._story.line("(Cohere)", f"the dataset is {dataset.status}")


def outcome(task_id: str, result: Any) -> str:
    """Return what came of a task, in words.

    :param task_id: the task.
    :param result: what it returned.
    """
    match task_id:
        case "upload":
            return f"the dataset's id is {result['id']}"
        case "wait":
            return f"{result['status']}, {result['num_rows']} rows, {result['warnings'] or 'no'} warnings"
        case "gate":
            return "the job may start"
        case "start_job":
            return ", ".join(f"{topic} {count}" for topic, count in sorted(result.items()))
        case "export":
            return f"{Path(result['path']).name} is in place"
        case "read":
            return f"{len(result)} datasets in the file"
    return "success"


def requests_made(emulator: Emulator) -> list[str]:
    """Return how often each kind of request came, in words."""
    kinds: dict[str, int] = {}
    for request in emulator.requests:
        kind = f"{request.method} {_place(request.path)}"
        kinds[kind] = kinds.get(kind, 0) + 1
    return [f"{count:4}  {kind}" for kind, count in kinds.items()]


def _place(path: str) -> str:
    if path.startswith("/storage/"):
        return "signed URL of a part (without the API key)"
    return "/v1/datasets/{id}" if path.startswith("/v1/datasets/") else path


def _datasets(emulator: Emulator) -> list[Any]:
    from airflow_provider_cohere_datasets.emulator.store import ListFilter

    return emulator.store.page(ListFilter(), limit=100, offset=0)
