"""Tasks that create datasets, and what happens to the datasets meanwhile."""

from __future__ import annotations

import json
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from airflow.providers.common.compat.sdk import TaskDeferred

from airflow_provider_cohere_datasets.operators.datasets import CohereCreateDatasetOperator
from tests.adversary import (
    AdversarialServer,
    DripHeaders,
    Fault,
    Hang,
    Lost,
    Through,
    make_dataset,
)
from tests.sensors.modes import Store, as_json

LIST, USAGE, ONE = "/v1/datasets", "/v1/datasets/usage", "/v1/datasets/news-*"
#: Patient enough for a busy machine ...
POLICY = {"max_tries": 1, "backoff_base": 0, "read_timeout": 5}
#: ... unless the server never answers.
IMPATIENT = {**POLICY, "read_timeout": 0.4, "upload_timeout": 0.6}


def policy(fault: Fault) -> dict[str, Any]:
    """Return a request policy that waits for the answer to an upload no longer than it must."""
    played = fault.fault if isinstance(fault, Lost) else fault
    return IMPATIENT if isinstance(played, Hang | DripHeaders) else POLICY


class Task:
    """A task instance, of which each try is another process.

    :param data: what it uploads.
    :param store: whether Airflow has a state store for tasks.
    :param arguments: of the operator.
    """

    def __init__(self, data: Path | str, *, store: bool = True, map_index: int = -1, **arguments: Any) -> None:
        self.arguments = {"name": "news", "data": str(data), "retries": 2, "request_policy": POLICY, **arguments}
        self.store = Store() if store else None
        self.try_number, self.max_tries, self.map_index = 0, self.arguments["retries"], map_index
        self.dag: Any = None
        self.outlet_events: Any = {}
        self.make: Callable[[], Any] = lambda: CohereCreateDatasetOperator(
            task_id="create", dataset_type="embed-input", **self.arguments
        )
        self.operator: Any = None
        self.begun = datetime.now(UTC)

    def context(self) -> Any:
        facts = {"dag_id": "d", "task_id": "create", "run_id": "r", "map_index": self.map_index}
        ti = SimpleNamespace(try_number=self.try_number, max_tries=self.max_tries, **facts)
        dag_run = SimpleNamespace(start_date=self.begun)
        context = {"ti": ti, "dag": self.dag, "dag_run": dag_run, "outlet_events": self.outlet_events}
        return context if self.store is None else {**context, "task_state_store": self.store}

    def run(self, **changes: Any) -> dict[str, Any]:
        """Make the next try."""
        self.arguments |= changes
        self.try_number += 1
        return self._result(lambda: self.operator.execute(self.context()))

    def resume(self, deferred: TaskDeferred, event: Any) -> dict[str, Any]:
        """Go on with a try after its trigger has fired."""
        kwargs = as_json({**(deferred.kwargs or {}), "event": event})
        return self._result(lambda: self.operator.resume_execution(deferred.method_name, kwargs, self.context()))

    def clear(self) -> None:
        """Clear the task, as a user does."""
        self.max_tries = self.try_number + self.arguments["retries"]

    def _result(self, run: Callable[[], Any]) -> dict[str, Any]:
        self.operator = self.make()
        result: dict[str, Any] = run()
        assert as_json(result) == result
        assert len(json.dumps(result)) < 1000
        return result


def made(server: AdversarialServer) -> list[str]:
    """Return the datasets that uploads made, deleted ones included."""
    return list(server.model.uploads)


WAIT: dict[str, Any] = {"wait_for_validation": True, "poke_interval": 10, "validation_timeout": 100}


class Validates(Through):
    """Lets a request through and gives the dataset its next status first."""

    def __init__(self, server: AdversarialServer, *statuses: str) -> None:
        object.__setattr__(self, "answer", None)
        object.__setattr__(self, "server", server)
        object.__setattr__(self, "statuses", list(statuses))

    def play(self, exchange: Any) -> None:
        statuses = self.statuses  # type: ignore[attr-defined]
        status = statuses.pop(0) if len(statuses) > 1 else statuses[0]
        dataset_id = exchange.request.path.rpartition("/")[2]
        fields = make_dataset(5, status=status)
        for name in ("id", "name", "created_at"):
            del fields[name]
        if self.server.model.get(dataset_id):  # type: ignore[attr-defined]
            self.server.model.update(dataset_id, **fields)  # type: ignore[attr-defined]
        super().play(exchange)


def validating(server: AdversarialServer, *statuses: str) -> None:
    server.script("GET", ONE, [Validates(server, *statuses)], repeat=True)


def deferred_by(task: Task) -> TaskDeferred:
    with pytest.raises(TaskDeferred) as caught:
        task.run()
    return caught.value
