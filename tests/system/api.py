"""What the tests ask of Airflow's REST API."""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

import httpx

_POLL = 0.25
#: Marks for the user interface, which folds what is between them.
_FOLDING = ("::group::", "::endgroup::")
_FINAL = frozenset({"success", "failed"})


class AirflowRequestError(RuntimeError):
    """Airflow refused a request, or did not get done what was waited for."""


@dataclass(frozen=True)
class TaskState:
    """One task instance as Airflow shows it.

    :param state: its state; empty as long as it has none.
    :param try_number: 0 before the first try, 1 during and after it.
    """

    task_id: str
    map_index: int
    state: str
    try_number: int


class AirflowApi:
    """A client for the REST API of an Airflow without passwords.

    :param url: such as ``http://127.0.0.1:8080``.
    """

    def __init__(self, url: str) -> None:
        self._http = httpx.Client(base_url=f"{url}/api/v2", timeout=120, trust_env=False)

    def close(self) -> None:
        """Close the connections."""
        self._http.close()

    def request(self, method: str, path: str, **kwargs: Any) -> Any:
        """Make a request and return its JSON.

        :raises AirflowRequestError: if Airflow does not answer with success.
        """
        try:
            answer = self._http.request(method, path, **kwargs)
        except httpx.TransportError as error:
            raise AirflowRequestError(f"{method} {path} failed: {error}") from error
        if answer.is_error:
            raise AirflowRequestError(f"{method} {path} was answered with {answer.status_code}: {answer.text[:500]}")
        return answer.json() if answer.content else None

    def health(self) -> dict[str, str]:
        """Return the status of each component."""
        return {name: str((part or {}).get("status")) for name, part in self.request("GET", "/monitor/health").items()}

    def wait_for_dag(self, dag_id: str, *, timeout: float = 60) -> None:
        """Wait until the DAG processor has read a DAG; end at once if it could not.

        :param timeout: seconds.
        """

        def there() -> bool:
            answer = self._http.get(f"/dags/{dag_id}")
            if answer.is_success:
                return True
            for error in self.request("GET", "/importErrors")["import_errors"]:
                if dag_id in error["filename"]:
                    raise AirflowRequestError(f"{error['filename']} cannot be imported:\n{error['stack_trace']}")
            return False

        _wait(there, timeout, f"DAG {dag_id} did not show up")

    def unpause(self, dag_id: str) -> None:
        """Let a DAG run."""
        self.request("PATCH", f"/dags/{dag_id}", json={"is_paused": False})

    def trigger(self, dag_id: str, conf: Mapping[str, Any] | None = None) -> str:
        """Unpause a DAG and start a run of it with the present time; return the run's id."""
        self.wait_for_dag(dag_id)
        self.unpause(dag_id)
        body = {"logical_date": datetime.now(UTC).isoformat(), "conf": dict(conf or {})}
        return str(self.request("POST", f"/dags/{dag_id}/dagRuns", json=body)["dag_run_id"])

    def run_state(self, dag_id: str, run_id: str) -> str:
        """Return the state of a run."""
        return str(self.request("GET", f"/dags/{dag_id}/dagRuns/{run_id}")["state"])

    def wait_for_run(self, dag_id: str, run_id: str, *, timeout: float = 180) -> str:
        """Wait until a run has ended; return its state.

        :param timeout: seconds.
        """
        return RunWatch(self, dag_id, run_id).follow(timeout=timeout)

    def tasks(self, dag_id: str, run_id: str) -> list[TaskState]:
        """Return the task instances of a run, a hundred at the most."""
        return [
            TaskState(task["task_id"], task["map_index"], task["state"] or "", task["try_number"])
            for task in self.task_instances(dag_id, run_id)
        ]

    def task_instances(self, dag_id: str, run_id: str) -> list[dict[str, Any]]:
        """Return all that Airflow tells of the task instances of a run, a hundred at the most."""
        path = f"/dags/{dag_id}/dagRuns/{run_id}/taskInstances"
        found: list[dict[str, Any]] = self.request("GET", path, params={"limit": 100})["task_instances"]
        return found

    def tries(self, dag_id: str, run_id: str, task_id: str) -> list[dict[str, Any]]:
        """Return all that Airflow tells of each try of a task, the first one first."""
        path = f"/dags/{dag_id}/dagRuns/{run_id}/taskInstances/{task_id}/tries"
        found: list[dict[str, Any]] = self.request("GET", path)["task_instances"]
        return sorted(found, key=lambda one: int(one["try_number"]))

    def connect(self, conn_id: str, **fields: Any) -> None:
        """Keep a connection in Airflow's database.

        :param fields: ``conn_type``, ``host``, ``login``, ``password``, ``extra`` (a mapping).
        """
        extra = json.dumps(fields.pop("extra", {}))
        self.request("POST", "/connections", json={"connection_id": conn_id, "extra": extra, **fields})

    def xcom(self, dag_id: str, run_id: str, task_id: str, *, key: str = "return_value", map_index: int = -1) -> Any:
        """Return what a task left in XCom."""
        path = f"/dags/{dag_id}/dagRuns/{run_id}/taskInstances/{task_id}/xcomEntries/{key}"
        params = {"map_index": map_index, "deserialize": "true"}
        return self.request("GET", path, params=params)["value"]

    def log(self, dag_id: str, run_id: str, task_id: str, *, try_number: int = 1, map_index: int = -1) -> list[str]:
        """Return the log of one try, a line for each message; an exception is its type and text."""
        path = f"/dags/{dag_id}/dagRuns/{run_id}/taskInstances/{task_id}/logs/{try_number}"
        params = {"map_index": map_index, "full_content": "true"}
        answer = self.request("GET", path, params=params, headers={"Accept": "application/json"})
        lines = [line for message in answer["content"] for line in _lines(message)]
        return [line for line in lines if not line.startswith(_FOLDING)]

    def set_state(self, dag_id: str, run_id: str, task_id: str, state: str) -> None:
        """Mark a task, as the user interface does."""
        path = f"/dags/{dag_id}/dagRuns/{run_id}/taskInstances/{task_id}"
        self.request("PATCH", path, json={"new_state": state})

    def clear(self, dag_id: str, run_id: str, task_ids: Sequence[str]) -> None:
        """Clear tasks, so that they run once more."""
        body = {
            "dag_run_id": run_id,
            "task_ids": list(task_ids),
            "dry_run": False,
            "only_failed": False,
            "reset_dag_runs": True,
        }
        self.request("POST", f"/dags/{dag_id}/clearTaskInstances", json=body)


class RunWatch:
    """Tells what changed in a run since it was looked at last.

    :param api: the API.
    :param dag_id: the DAG.
    :param run_id: its run.
    """

    def __init__(self, api: AirflowApi, dag_id: str, run_id: str) -> None:
        self._api = api
        self._run = (dag_id, run_id)
        self._known: dict[tuple[str, int], TaskState] = {}
        #: Every change that was seen, oldest first.
        self.seen: list[TaskState] = []
        #: The state of the run when it was looked at last.
        self.run_state = ""

    @property
    def finished(self) -> bool:
        """Whether the run has ended."""
        return self.run_state in _FINAL

    def poll(self) -> list[TaskState]:
        """Look once; return the task instances whose state is another one than before."""
        self.run_state = self._api.run_state(*self._run)
        changed = []
        for task in self._api.tasks(*self._run):
            place = (task.task_id, task.map_index)
            if self._known.get(place) != task:
                self._known[place] = task
                changed.append(task)
        self.seen += changed
        return changed

    def follow(self, *, timeout: float = 180) -> str:
        """Look until the run has ended; return its state.

        :param timeout: seconds.
        """

        def ended() -> bool:
            self.poll()
            return self.finished

        _wait(ended, timeout, f"run {self._run[1]} of {self._run[0]} did not end")
        return self.run_state


def _lines(message: Any) -> list[str]:
    if not isinstance(message, dict):
        return [str(message)]
    failures = message.get("error_detail") or []
    return [str(message.get("event", "")), *(f"{e.get('exc_type')}: {e.get('exc_value')}" for e in failures)]


def _wait(condition: Callable[[], bool], timeout: float, complaint: str) -> None:
    deadline = time.monotonic() + timeout
    while not condition():
        if time.monotonic() > deadline:
            raise AirflowRequestError(f"{complaint} within {timeout:g} s")
        time.sleep(_POLL)
