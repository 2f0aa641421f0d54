"""Waiting for validation: what a status means, how often to look, and when the wait is over.

This is the one description of the wait. The sensor's pokes, its trigger and the loop that triggers share all feed what
they see into a :class:`Watch` and do what it says.
"""

from __future__ import annotations

from dataclasses import asdict, dataclass
from enum import Enum
from typing import TYPE_CHECKING, Any, Literal

from airflow_provider_cohere_datasets.core import calls, errors
from airflow_provider_cohere_datasets.core.filters import VALIDATION_STATUSES
from airflow_provider_cohere_datasets.core.wait_event import WaitEvent, observations_in

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from airflow_provider_cohere_datasets.core.account import RequestPolicy
    from airflow_provider_cohere_datasets.core.looking import Looked, Looker
    from airflow_provider_cohere_datasets.core.observation import Observation
    from airflow_provider_cohere_datasets.core.poll_policy import PollPolicy

_MAX_LISTED = 10


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
    :param fail_fast: whether the first dataset that fails ends the wait for all; if not, all are waited for and then
        every failure is reported.
    """

    skipped_as: Literal["fail", "success"] = "fail"
    fail_fast: bool = True

    @property
    def done(self) -> frozenset[str]:
        """The statuses of success."""
        return frozenset({"validated", "skipped"} if self.skipped_as == "success" else {"validated"})


def assess(status: str | None, goal: Goal) -> Verdict:
    """Return what a status means; ``None`` stands for a dataset that does not exist.

    The set of statuses is open. ``unknown`` is the state before validation starts, and a status that nobody has
    heard of is some new stage, so both wait.
    """
    if status is None:
        return Verdict.GONE
    if status in goal.done:
        return Verdict.READY
    return {"failed": Verdict.FAILED, "skipped": Verdict.SKIPPED}.get(status, Verdict.WAIT)


class Watch:
    """The state of one wait: told what each look showed, it says when the wait is over.

    :param ids: the datasets.
    :param goal: what counts as done.
    :param max_failures: looks in a row that may fail before the wait ends; ``None`` for any number.
    :param tell: told in words what changed, once for each change.
    :param warn: told once of each status that the reference does not list, and of each look that failed.
    """

    def __init__(
        self,
        ids: Sequence[str],
        goal: Goal,
        *,
        max_failures: int | None,
        tell: Callable[[str], None] = lambda _: None,
        warn: Callable[[str], None] = lambda _: None,
    ) -> None:
        self.open_ids = list(ids)
        self.seen: dict[str, Observation] = {}
        #: Looks in a row that failed for reasons that pass.
        self.failures = 0
        #: Seconds that the server asked to wait before the next look.
        self.pause = 0.0
        self._ids = tuple(ids)
        self._goal = goal
        self._max_failures = max_failures
        self._tell = tell
        self._warn = warn
        self._warned: set[str] = set()
        self._failed: dict[str, errors.CohereDatasetsError] = {}

    def see(self, looked: Mapping[str, Looked]) -> WaitEvent | None:
        """Take what a look showed; datasets that are not in it stay as they are, and failures before it count on.

        :returns: how the wait ended, or ``None`` if it goes on.
        """
        troubles: list[errors.CohereDatasetsError] = []
        for dataset_id in list(self.open_ids):
            shown = looked.get(dataset_id)
            if shown is None:
                continue
            if isinstance(shown, errors.CohereDatasetsError):
                if not shown.permanent:
                    troubles.append(shown)
                    continue
                failure: errors.CohereDatasetsError | None = shown
            else:
                self._note(shown)
                failure = failure_of(shown, self._goal)
                if failure is None and assess(shown.status, self._goal) is Verdict.WAIT:
                    continue
            self.open_ids.remove(dataset_id)
            if failure is not None:
                self._failed[dataset_id] = failure
                if self._goal.fail_fast:
                    return self._event("error", failure)
        if troubles:
            return self.fail(max(troubles, key=lambda trouble: trouble.retry_after or 0.0))
        if all(dataset_id in looked for dataset_id in self.open_ids):
            self.failures, self.pause = 0, 0.0
        if self.open_ids:
            return None
        return self._event("error", self._all_failures()) if self._failed else self._event("ready")

    def fail(self, error: errors.CohereDatasetsError) -> WaitEvent | None:
        """Take that a look failed; a permanent error ends the wait, others only after some in a row."""
        self.failures += 1
        self.pause = error.retry_after or 0.0
        if error.permanent or (self._max_failures is not None and self.failures > self._max_failures):
            return self._event("error", self._beside_failed(error))
        self._warn(f"Look number {self.failures} in a row failed: {error}")
        return None

    def memory(self) -> dict[str, Any]:
        """Return what another process must know to go on with this wait, as small JSON."""
        return {
            "failures": self.failures,
            "pause": self.pause,
            "seen": [asdict(row) for row in self.seen.values()],
            "failed": {dataset_id: failure.details() for dataset_id, failure in self._failed.items()},
        }

    def recall(self, memory: object) -> None:
        """Go on with a wait that another process began; what cannot be read of its memory is seen anew."""
        if not isinstance(memory, dict):
            return
        failures, pause, failed = memory.get("failures"), memory.get("pause"), memory.get("failed")
        self.failures = failures if isinstance(failures, int) else 0
        self.pause = float(pause) if isinstance(pause, int | float) else 0.0
        self.seen = {row.id: row for row in observations_in(memory.get("seen")) or () if row.id in self._ids}
        for dataset_id, details in failed.items() if isinstance(failed, dict) else ():
            if dataset_id in self._ids and isinstance(details, dict):
                self._failed[dataset_id] = errors.error_from_details(details)
        for row in self.seen.values():
            failure = failure_of(row, self._goal)
            if failure is not None:
                self._failed.setdefault(row.id, failure)
        settled = {row.id for row in self.seen.values() if assess(row.status, self._goal) is Verdict.READY}
        self.open_ids = [each for each in self._ids if each not in settled and each not in self._failed]

    def timed_out(self) -> WaitEvent:
        """Return that the time is over."""
        return self._event("timeout")

    def last_seen(self) -> str:
        """Return the last status of what is still waited for, and what failed meanwhile, in words."""
        ids, seen = self.open_ids, self.seen
        shown = ", ".join(f"{i} was {seen[i].status if i in seen else 'not seen'}" for i in ids[:_MAX_LISTED])
        more = f" and {len(ids) - _MAX_LISTED} more" if len(ids) > _MAX_LISTED else ""
        return f"Last seen: {shown}{more}.{_listed(list(self._failed.values()))}"

    def _event(
        self, outcome: Literal["ready", "error", "timeout"], error: errors.CohereDatasetsError | None = None
    ) -> WaitEvent:
        # In the order in which the user gave the ids, whatever order they were seen in.
        observations = tuple(self.seen[dataset_id] for dataset_id in self._ids if dataset_id in self.seen)
        return WaitEvent(outcome, observations, error.details() if error else None)

    def _note(self, observation: Observation) -> None:
        before, status = self.seen.get(observation.id), observation.status
        self.seen[observation.id] = observation
        if status is None or (before is not None and before.status == status):
            return
        self._tell(f"Dataset {observation.id} is {status}.")
        if status not in VALIDATION_STATUSES and status not in self._warned:
            self._warned.add(status)
            self._warn(f"Dataset {observation.id} has a status that is not documented, {status[:60]!r}; waiting on.")

    def _beside_failed(self, error: errors.CohereDatasetsError) -> errors.CohereDatasetsError:
        """Return the error that ends a wait in which datasets failed for good, which no retry mends, and name them."""
        failed = list(self._failed.values())
        if not failed:
            return error
        kind = type(error if error.permanent else failed[0])
        return kind(f"{error.message}{_listed(failed)}", dataset_id=error.dataset_id, status=error.status)

    def _all_failures(self) -> errors.CohereDatasetsError:
        first, *others = self._failed.values()
        if not others:
            return first
        return type(first)(
            f"{len(self._failed)} of {len(self._ids)} datasets are not ready:{_listed([first, *others])}"
        )


def _listed(failures: Sequence[errors.CohereDatasetsError]) -> str:
    shown = "".join(f" {failure}" for failure in failures[:_MAX_LISTED])
    return f"{shown} And {len(failures) - _MAX_LISTED} more." if len(failures) > _MAX_LISTED else shown


def wait_for(
    watch: Watch, looker: Looker, policy: RequestPolicy, poll: PollPolicy, *, timeout: float
) -> calls.Flow[WaitEvent]:
    """Look until the wait is over or the time is up; the last look is made when it is.

    :param watch: the state of the wait.
    :param looker: what looks.
    :param policy: tries and deadlines of each request.
    :param poll: how often to look.
    :param timeout: seconds; 0 or less makes one look.
    """
    started = yield from _clock()
    last = timeout <= 0
    while True:
        try:
            over = watch.see((yield from looker.look(watch.open_ids, policy)))
        except errors.CohereDatasetsError as error:
            over = watch.fail(error)
        if over is not None:
            return over
        if last:
            return watch.timed_out()
        elapsed = (yield from _clock()) - started
        delay, left = max(poll.delay(elapsed), watch.pause), timeout - elapsed
        last = delay >= left  # Also if that look took until after the end.
        yield calls.Pause(max(0.0, min(delay, left)))


def _clock() -> calls.Flow[float]:
    now = yield calls.Pause(0)
    if not isinstance(now, float):
        raise TypeError(f"a driver must answer a pause with the time, not {now!r:.60}")
    return now


def failure_of(observation: Observation, goal: Goal) -> errors.CohereDatasetsError | None:
    """Return the error that an observed dataset means for whoever waits for it, if it means one."""
    verdict, dataset_id = assess(observation.status, goal), observation.id
    if verdict is Verdict.FAILED:
        return errors.CohereDatasetFailedError(
            f"Dataset {dataset_id!r} failed its validation: {observation.reason or 'no reason given'}.",
            dataset_id=dataset_id,
        )
    if verdict is Verdict.SKIPPED:
        return errors.CohereDatasetSkippedError(
            f"The validation of dataset {dataset_id!r} was skipped; skipped_as='success' accepts that.",
            dataset_id=dataset_id,
        )
    if verdict is Verdict.GONE:
        return errors.CohereDatasetNotFoundError(
            f"Dataset {dataset_id!r} does not exist, or not any more; Cohere deletes datasets 30 days after creation.",
            dataset_id=dataset_id,
            status=404,
        )
    return None
