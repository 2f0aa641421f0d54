"""Waiting for validation: what a status means for whoever waits, and the one poll loop."""

from __future__ import annotations

import random
from dataclasses import asdict, dataclass, field, fields
from enum import Enum
from typing import TYPE_CHECKING, Any, Literal

from airflow_provider_cohere_datasets.core import calls, errors
from airflow_provider_cohere_datasets.core.calls import Pause
from airflow_provider_cohere_datasets.core.retries import exchange

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from airflow_provider_cohere_datasets.core.account import RequestPolicy
    from airflow_provider_cohere_datasets.core.calls import Flow
    from airflow_provider_cohere_datasets.core.models import Dataset

#: The version of :class:`WaitEvent` as it crosses from the trigger to the task through Airflow's database.
EVENT_VERSION = 1
_MAX_TEXT = 500


class Verdict(Enum):
    """What an observed dataset means for whoever waits for it."""

    WAIT = "wait"
    READY = "ready"
    FAILED = "failed"
    SKIPPED = "skipped"
    GONE = "gone"


@dataclass(frozen=True, slots=True)
class Goal:
    """What counts as done.

    :param skipped_as: whether a validation that Cohere skipped is a failure or a success.
    """

    skipped_as: Literal["fail", "success"] = "fail"


def assess(status: str | None, goal: Goal) -> Verdict:
    """Return what a status means; ``None`` stands for a dataset that does not exist.

    The set of statuses is open. ``unknown`` is the state before validation starts, and a status that nobody has
    heard of is some new stage, so both wait.
    """
    if status is None:
        return Verdict.GONE
    if status == "validated" or (status == "skipped" and goal.skipped_as == "success"):
        return Verdict.READY
    return {"failed": Verdict.FAILED, "skipped": Verdict.SKIPPED}.get(status, Verdict.WAIT)


@dataclass(frozen=True, slots=True)
class Observation:
    """What one look at a dataset showed; small enough for XCom, without samples and URLs.

    :param status: the validation status, ``None`` if the dataset does not exist.
    """

    id: str
    status: str | None
    num_rows: int = 0
    size_bytes: int = 0
    warnings: int = 0
    reason: str | None = None

    @classmethod
    def of(cls, dataset: Dataset) -> Observation:
        """Take from a dataset what waiting needs."""
        reason = dataset.validation_error or None
        if dataset.validation_status == "failed":
            warnings = "; ".join((dataset.validation_warnings or [])[:5])
            reason = f"{reason or 'no reason given'}{f' (warnings: {warnings})' if warnings else ''}"
        return cls(
            dataset.id,
            dataset.validation_status,
            dataset.num_rows,
            dataset.size_bytes,
            len(dataset.validation_warnings or ()),
            reason and (reason if len(reason) <= _MAX_TEXT else f"{reason[:_MAX_TEXT]}…"),
        )


@dataclass(frozen=True, slots=True)
class PollPolicy:
    """How often to look.

    :param interval: seconds between two looks.
    :param factor: what the interval is multiplied with after each look.
    :param max_interval: seconds; the interval grows no further.
    :param jitter: share of the interval that is random, from 0 to 1.
    """

    interval: float = 30.0
    factor: float = 1.0
    max_interval: float | None = None
    jitter: float = 0.1

    def delay(self, looks: int, uniform: Callable[[float, float], float] = random.uniform) -> float:
        """Return the seconds to wait after a number of looks."""
        seconds = self.interval * self.factor ** min(looks - 1, 60)
        if self.max_interval is not None:
            seconds = min(seconds, max(self.max_interval, self.interval))
        return seconds * (1.0 - uniform(0.0, self.jitter))


@dataclass(frozen=True, slots=True)
class WaitEvent:
    """How a wait ended; the one message from a trigger to its task.

    :param outcome: ``ready``, ``error`` or ``timeout``.
    :param observations: what was seen last of each dataset.
    :param error: for ``error``, what to raise; see :meth:`~.errors.CohereDatasetsError.details`.
    """

    outcome: Literal["ready", "error", "timeout"]
    observations: tuple[Observation, ...] = ()
    error: Mapping[str, object] | None = None
    version: int = field(default=EVENT_VERSION)

    def to_json(self) -> dict[str, Any]:
        """Return the event as plain JSON."""
        return asdict(self)

    @classmethod
    def from_json(cls, payload: object) -> WaitEvent:
        """Read an event, and refuse everything that is not exactly one.

        :raises CohereDatasetsError: so that no unknown event is ever taken for success.
        """
        if not isinstance(payload, dict):
            raise errors.CohereDatasetsError(f"The trigger's event is not known: {payload!r:.100}.")
        if payload.get("version") != EVENT_VERSION:
            raise errors.CohereDatasetsError(
                f"The trigger's event has version {payload.get('version')!r:.20}, this worker knows {EVENT_VERSION}: "
                "the triggerer and the worker run different versions of the provider."
            )
        rows, error, outcome = payload.get("observations"), payload.get("error"), payload.get("outcome")
        known = {f.name for f in fields(Observation)}
        if (
            outcome not in {"ready", "error", "timeout"}
            or not isinstance(rows, list | tuple)
            or not all(isinstance(row, dict) and {"id", "status"} <= row.keys() <= known for row in rows)
            or isinstance(error, dict) != (outcome == "error")
            or (outcome == "ready" and not rows)
        ):
            raise errors.CohereDatasetsError(f"The trigger's event is not known: {payload!r:.100}.")
        return cls(outcome, tuple(Observation(**row) for row in rows), error)


def look(ids: Sequence[str], policy: RequestPolicy) -> Flow[dict[str, Observation]]:
    """Look once at some datasets."""
    seen = {}
    for dataset_id in ids:
        call = calls.get_dataset(dataset_id)
        try:
            seen[dataset_id] = Observation.of((yield from exchange(call, calls.read_dataset, policy)))
        except errors.CohereDatasetNotFoundError:
            seen[dataset_id] = Observation(dataset_id, None)
    return seen


def judge(observation: Observation, goal: Goal) -> Verdict:
    """Return the verdict on a dataset, or raise what ends the wait for it.

    :raises CohereDatasetsError: if the dataset failed, was skipped or is gone.
    """
    verdict = assess(observation.status, goal)
    about = f"Dataset {observation.id!r}"
    if verdict is Verdict.FAILED:
        raise errors.CohereDatasetFailedError(
            f"{about} failed its validation: {observation.reason or 'no reason given'}.", dataset_id=observation.id
        )
    if verdict is Verdict.SKIPPED:
        raise errors.CohereDatasetSkippedError(
            f"The validation of dataset {observation.id!r} was skipped; set skipped_as='success' to accept that.",
            dataset_id=observation.id,
        )
    if verdict is Verdict.GONE:
        raise errors.CohereDatasetNotFoundError(
            f"{about} does not exist, or not any more (Cohere deletes datasets 30 days after creation).",
            dataset_id=observation.id,
            status=404,
        )
    return verdict


def wait_for(
    ids: Sequence[str],
    *,
    goal: Goal,
    poll: PollPolicy,
    policy: RequestPolicy,
    timeout: float,
    on_look: Callable[[Mapping[str, Observation]], None] | None = None,
) -> Flow[WaitEvent]:
    """Wait until all datasets are ready.

    :param ids: the datasets.
    :param goal: what counts as done.
    :param poll: how often to look.
    :param policy: tries and deadlines of each request.
    :param timeout: seconds from now after which the wait ends with the outcome ``timeout``.
    :param on_look: told what each look showed.
    :returns: the event; errors that end the wait are in it, not raised.
    """
    started = yield from _now()
    open_ids, seen, looks = list(ids), dict[str, Observation](), 0
    while True:
        try:
            seen |= yield from look(open_ids, policy)
            looks += 1
            if on_look is not None:
                on_look(seen)
            open_ids = [i for i in open_ids if judge(seen[i], goal) is Verdict.WAIT]
        except errors.CohereDatasetsError as error:
            return WaitEvent("error", tuple(seen.values()), error.details())
        if not open_ids:
            return WaitEvent("ready", tuple(seen.values()))
        left = timeout - ((yield from _now()) - started)
        if left <= 0:
            return WaitEvent("timeout", tuple(seen.values()))
        yield Pause(min(poll.delay(looks), left))


def _now() -> Flow[float]:
    now = yield Pause(0.0)
    if not isinstance(now, float):
        raise TypeError(f"a driver must answer a pause with its clock, not {now!r:.60}")
    return now
