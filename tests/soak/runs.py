"""One export and one wait, and what must hold of them however they end."""

from __future__ import annotations

import hashlib
import random
import time
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, cast

import pyarrow.parquet as pq
from airflow.providers.common.compat.sdk import AirflowFailException, AirflowSensorTimeout

from airflow_provider_cohere_datasets.core.errors import CohereDatasetFailedError, CohereDatasetsError
from airflow_provider_cohere_datasets.transfers.parquet import CohereDatasetsToParquetOperator
from tests.adversary import AdversarialServer, Answer, Churn, Listing, Model, Request, make_datasets
from tests.adversary.wire import Body
from tests.sensors.modes import MODES, Mode, Runner

#: Requests of a call at the most, by the number of the run: from impatient to usual.
TRIES = (2, 3, 5, 5)
#: Modes of the sensor, without the one that needs a clock that jumps.
WAITS: tuple[Mode, ...] = tuple(mode for mode in MODES if mode != "reschedule")


def policy(number: int) -> dict[str, Any]:
    """Give a request policy with short waits."""
    return {
        "max_tries": TRIES[number % len(TRIES)],
        "backoff_base": 0.01,
        "backoff_max": 0.05,
        "read_timeout": 5,
        "total_timeout": 10,
    }


def passes(error: Exception) -> bool:
    """Whether an error is one that Airflow would try again after; the server never breaks for good."""
    return (
        isinstance(error, CohereDatasetsError) and not error.permanent and not isinstance(error, AirflowFailException)
    )


@dataclass
class Export:
    """An export over one file, again and again.

    :param server: the API.
    :param folder: an empty folder.
    """

    server: AdversarialServer
    folder: Path
    name: str = "export"
    _path: Path = field(init=False)

    def prepare(self, number: int) -> None:
        """Set the server up for a run."""
        rng = random.Random(number)
        listings = (
            Listing(cap=100),
            Listing(cap=60, order="oldest", short_pages=0.3),
            Listing(cap=100, repeat_ids=0.1, unstable_ties=True, empty_as="null"),
            Listing(cap=70, order="shuffled-once", ignore_filters=("datasetType",), empty_as="missing"),
            Listing(cap=80, between=Churn(rng, 1, 1, stop_after=6)),
            Listing(reject_limit_above=40, reject_with="429"),
        )
        self.server.reset(make_datasets(230, ties=5), listings[number % len(listings)])
        self.server.chaos(seed=number)
        self.server.model.start_run()
        self._path = self.folder / f"{number % 7}.parquet"
        self._before = _digest(self._path)

    def run(self, number: int) -> object:
        """Export."""
        operator = CohereDatasetsToParquetOperator(
            task_id="export",
            output_path=str(self._path),
            dataset_type="embed-input",
            page_size=100,
            request_policy=policy(number),
        )
        context = {"run_id": f"run-{number}", "logical_date": datetime.now(UTC), "outlet_events": {}}
        return operator.execute(cast("Any", context))

    def wrong(self, value: object, error: Exception | None) -> list[str]:
        """Say what is wrong with how it ended."""
        found = [f"{path.name} was left behind" for path in self.folder.iterdir() if path.suffix != ".parquet"]
        found += [f"{path.name} was left behind" for path in self.folder.iterdir() if path.name.startswith((".", "_"))]
        if error is not None:
            found += [] if passes(error) else [f"{type(error).__name__}: {error}"]
            found += [] if _digest(self._path) == self._before else ["the old file was touched"]
            return found
        ids = pq.read_table(self._path, columns=["id"]).column("id").to_pylist()
        model = self.server.model
        if len(ids) != len(set(ids)):
            found.append(f"{len(ids) - len(set(ids))} ids are there twice")
        if lost := model.survivors() - set(ids):
            found.append(f"{len(lost)} ids are lost")
        if strange := set(ids) - model.ever():
            found.append(f"{len(strange)} ids are of no dataset")
        rows = value["rows"] if isinstance(value, Mapping) else None
        return found if rows == len(ids) else [*found, f"{rows} rows were told of, but {len(ids)} are there"]


@dataclass
class Staged(Model):
    """A model in which statuses change with the clock.

    :param due: when which dataset gets which status, in order of time.
    """

    due: list[tuple[float, str, str]] = field(default_factory=list)

    def answer(self, request: Request, body: Body) -> Answer:
        """Carry a request out."""
        with self.lock:
            while self.due and self.due[0][0] <= time.monotonic():
                _, dataset_id, status = self.due.pop(0)
                self.update(dataset_id, validation_status=status)
            return super().answer(request, body)


@dataclass
class Wait:
    """A sensor on one dataset or three, which end well, fail, or never end.

    :param server: the API.
    :param mode: of the sensor.
    """

    server: AdversarialServer
    mode: Mode
    _ending: str = field(init=False)
    _ids: list[str] = field(init=False)

    @property
    def name(self) -> str:
        """What it is called in the report."""
        return f"sensor, {self.mode}"

    def prepare(self, number: int) -> None:
        """Set the server up for a run."""
        rng = random.Random(number)
        self.server.reset()
        model = self.server.model = Staged(make_datasets(40))
        self._ids = [model.fresh(status="queued")["id"] for _ in range(1 + number % 2 * 2)]
        self._ending = "failed" if number % 10 == 3 else "processing" if number % 20 == 7 else "validated"
        now = time.monotonic()
        for position, dataset_id in enumerate(self._ids):
            last = self._ending if position == len(self._ids) - 1 else "validated"
            begin = now + rng.uniform(0, 0.1)
            model.due += [(begin, dataset_id, "processing"), (begin + rng.uniform(0, 0.3), dataset_id, last)]
        model.due.sort()
        self.server.chaos(seed=number)

    def run(self, number: int) -> object:
        """Wait."""
        which = {"dataset_id": self._ids[0]} if len(self._ids) == 1 else {"dataset_ids": self._ids}
        runner = Runner(
            cast("Any", None),  # No clock but the real one.
            **which,
            poke_interval=0.03,
            jitter=0.1,
            timeout=1 if self._ending == "processing" else 20,
            max_failures=(0, 1, 5)[number % 3],
            request_policy=policy(number),
        )
        return runner.run(self.mode)

    def wrong(self, value: object, error: Exception | None) -> list[str]:
        """Say what is wrong with how it ended."""
        if error is not None:
            right = {"failed": CohereDatasetFailedError, "processing": AirflowSensorTimeout}.get(self._ending)
            fine = passes(error) or (right is not None and isinstance(error, right))
            return [] if fine else [f"{type(error).__name__}: {error}"]
        rows = value if isinstance(value, list) else [value]
        told = [(row["id"], row["status"]) for row in rows if isinstance(row, Mapping)]
        statuses = {row["id"]: row["validation_status"] for row in self.server.model.datasets}
        found = [] if [name for name, _ in told] == self._ids else [f"it told of {told}, not of {self._ids}"]
        return found + [
            f"{name} was {statuses[name]}" for name, said in told if not said == statuses[name] == "validated"
        ]


def _digest(path: Path) -> str | None:
    return hashlib.sha256(path.read_bytes()).hexdigest() if path.exists() else None
