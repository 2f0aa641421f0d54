"""What a status means, how often to look, and when a wait is over."""

from __future__ import annotations

import itertools
import json
import random
from typing import Any

import pytest

from airflow_provider_cohere_datasets.core.account import RequestPolicy
from airflow_provider_cohere_datasets.core.calls import Outcome, Pause, Reply, TransportFailure
from airflow_provider_cohere_datasets.core.errors import (
    CohereAuthenticationError,
    CohereDatasetFailedError,
    CohereDatasetsError,
    CohereEventError,
    CohereInputError,
    CohereInvalidRequestError,
    CohereServerError,
    error_from_details,
)
from airflow_provider_cohere_datasets.core.filters import VALIDATION_STATUSES
from airflow_provider_cohere_datasets.core.looking import Looked, Looker, Observation
from airflow_provider_cohere_datasets.core.poll_policy import PollPolicy
from airflow_provider_cohere_datasets.core.selection import waited_for
from airflow_provider_cohere_datasets.core.wait_event import WaitEvent
from airflow_provider_cohere_datasets.core.waiting import Goal, Verdict, Watch, assess, failure_of, wait_for

WAITING = ("unknown", "queued", "processing", "brand-new", "VALIDATED", "", "None")


def seen(**statuses: str | None) -> dict[str, Looked]:
    return {name: Observation(name, status) for name, status in statuses.items()}


def watch(*ids: str, fail_fast: bool = True, max_failures: int | None = 2, **options: Any) -> Watch:
    return Watch(ids or ("a",), Goal(fail_fast=fail_fast), max_failures=max_failures, **options)


@pytest.mark.parametrize("skipped_as", ["fail", "success"])
def test_every_status_has_a_meaning(skipped_as: Any) -> None:
    goal = Goal(skipped_as)
    skipped = Verdict.READY if skipped_as == "success" else Verdict.SKIPPED
    known = {"validated": Verdict.READY, "failed": Verdict.FAILED, "skipped": skipped, None: Verdict.GONE}
    assert {status: assess(status, goal) for status in known} == known
    assert {assess(status, goal) for status in WAITING} == {Verdict.WAIT}
    assert set(VALIDATION_STATUSES) <= {*known, *WAITING}
    errors = {status: failure_of(Observation("a", status), goal) for status in (*known, *WAITING)}
    assert {status for status, error in errors.items() if error} == {"failed", None} | (
        {"skipped"} if skipped_as == "fail" else set()
    )
    assert all(error.permanent and error.dataset_id == "a" for error in errors.values() if error)


def test_errors_say_what_to_do() -> None:
    failed, skipped, gone = (
        str(failure_of(Observation("a", status, reason=reason), Goal()))
        for status, reason in (("failed", "line 3"), ("skipped", None), (None, None))
    )
    assert failed == "Dataset 'a' failed its validation: line 3."
    assert str(failure_of(Observation("a", "failed"), Goal())).endswith(": no reason given.")
    assert "skipped_as='success' accepts that" in skipped
    assert "does not exist, or not any more" in gone
    assert getattr(failure_of(Observation("a", None), Goal()), "status", 0) == 404


def test_skipped_may_be_as_good_as_validated() -> None:
    waiting = Watch(["a", "b"], Goal(skipped_as="success"), max_failures=2)
    assert waiting.see(seen(a="skipped")) is None
    after = Watch(["a", "b"], Goal(skipped_as="success"), max_failures=2)
    after.recall(waiting.memory())
    assert after.open_ids == ["b"]
    over = after.see(seen(b="validated"))
    assert over is not None
    assert over.outcome == "ready"


@pytest.mark.parametrize(
    "options",
    [
        {"interval": -1},
        {"interval": "30"},
        {"interval": float("nan")},
        {"interval": True},
        {"interval": None},
        {"interval": 1e10},
        {"max_interval": -1},
        {"max_interval": "x"},
        {"jitter": 1.1},
        {"jitter": -0.1},
        {"max_failures": -1},
        {"max_failures": 1.5},
    ],
)
def test_policies_that_cannot_be(options: dict[str, Any]) -> None:
    with pytest.raises(
        CohereInputError, match=rf"\b{next(iter(options))} must be .*, not {next(iter(options.values()))!r}"
    ):
        PollPolicy(**options)


def test_policies_at_their_limits() -> None:
    policy = PollPolicy(interval=1e9, max_interval=0, jitter=1, max_failures=0)
    assert (policy.interval, policy.max_interval, policy.jitter, policy.max_failures) == (1e9, 0, 1, 0)
    usual = PollPolicy()
    assert (usual.interval, usual.exponential, usual.max_interval, usual.jitter, usual.max_failures) == (
        30.0,
        False,
        None,
        0.1,
        5,
    )


def looks(policy: PollPolicy, count: int, uniform: Any) -> list[float]:
    times = [0.0]
    while len(times) < count:
        times.append(times[-1] + policy.delay(times[-1], uniform))
    return times


def test_the_interval() -> None:
    def none(low: float, high: float) -> float:
        return low

    assert looks(PollPolicy(30.0), 4, none) == [0, 30, 60, 90]
    assert looks(PollPolicy(30.0, max_interval=20), 3, none) == [0, 20, 40]
    assert looks(PollPolicy(30.0, exponential=True), 6, none) == [0, 30, 90, 210, 450, 930]
    assert looks(PollPolicy(30.0, exponential=True, max_interval=100), 6, none) == [0, 30, 90, 190, 290, 390]
    assert looks(PollPolicy(0.0, exponential=True), 4, none) == [0, 1, 3, 7]
    assert PollPolicy(30.0, exponential=True).delay(-5.0, none) == 30  # the clock was put back


@pytest.mark.parametrize("jitter", [0.1, 0.5, 1.0])
@pytest.mark.parametrize("exponential", [False, True])
def test_jitter_makes_no_look_twice(exponential: bool, jitter: float) -> None:
    policy = PollPolicy(10.0, exponential, 100.0, jitter)
    for seed in range(20):
        rng = random.Random(seed)
        times = looks(policy, 50, rng.uniform)
        for earlier, later in itertools.pairwise(times):
            full = min(earlier + 10, 100) if exponential else 10
            assert (1 - jitter) * full - 1e-6 <= later - earlier <= full


@pytest.mark.parametrize(
    ("one", "several", "expected"),
    [("a", None, ["a"]), (None, ["b", "a", "b"], ["b", "a"]), ("a", ("b",), ["b"])],
)
def test_ids(one: Any, several: Any, expected: list[str]) -> None:
    assert waited_for(one, several) == expected


@pytest.mark.parametrize(
    ("one", "several"),
    [(None, None), ("", None), (None, []), (None, "ab"), (None, {"a"}), (None, [1]), (None, ["a", " "])],
)
def test_ids_that_cannot_be(one: Any, several: Any) -> None:
    with pytest.raises(CohereInputError, match="^dataset_id " if several is None else r"^dataset_ids(\[\d\])? "):
        waited_for(one, several)


def test_one_is_waited_for() -> None:
    told: list[str] = []
    warned: list[str] = []
    waiting = watch(tell=told.append, warn=warned.append)
    for status in ("queued", "queued", "brand-new", "queued", "brand-new"):
        assert waiting.see(seen(a=status)) is None
    over = waiting.see(seen(a="validated"))
    assert over is not None
    assert (over.outcome, over.observations[0].status) == ("ready", "validated")
    assert [line.split()[3] for line in told] == ["queued.", "brand-new.", "queued.", "brand-new.", "validated."]
    assert len(warned) == 1
    assert "'brand-new'" in warned[0]


def test_several_in_the_users_order() -> None:
    waiting = watch("b", "a", "c")
    assert waiting.see(seen(a="validated", c="validated")) is None
    assert waiting.open_ids == ["b"]
    assert "b was not seen" in waiting.last_seen()
    assert waiting.see({}) is None
    over = waiting.see(seen(b="validated", a=None, other="failed"))
    assert over is not None
    assert [row.id for row in over.observations] == ["b", "a", "c"]


def test_fail_fast_or_collect() -> None:
    over = watch("a", "b").see(seen(a="queued", b="failed"))
    assert over is not None
    assert over.error is not None
    assert over.error["type"] == "CohereDatasetFailedError"
    waiting = watch("a", "b", "c", fail_fast=False)
    assert waiting.see(seen(a="queued", b="failed", c="validated")) is None
    over = waiting.see(seen(a="validated"))
    assert over is not None
    assert over.error is not None
    assert "'b'" in str(over.error["message"])
    ids = [f"d{n:02}" for n in range(15)]
    over = watch(*ids, fail_fast=False).see(seen(**dict.fromkeys(ids, "failed")))
    assert over is not None
    assert over.error is not None
    message = str(over.error["message"])
    assert "15 of 15" in message
    assert "'d09'" in message
    assert "'d10'" not in message
    assert message.endswith(". And 5 more.")
    over = watch(*ids[:10], fail_fast=False).see(seen(**dict.fromkeys(ids[:10], "failed")))
    assert over is not None
    assert over.outcome == "error"
    assert over.error is not None
    assert "more" not in str(over.error["message"])


def test_failed_looks() -> None:
    warned: list[str] = []
    waiting = watch(max_failures=2, warn=warned.append)
    assert waiting.fail(CohereServerError("no", retry_after=7.0)) is None
    assert waiting.pause == 7
    assert waiting.fail(CohereServerError("no")) is None
    assert waiting.pause == 0
    waiting.pause = 7
    assert waiting.see(seen(a="queued")) is None
    assert (waiting.failures, waiting.pause) == (0, 0)
    endings = [waiting.fail(CohereServerError("no")) for _ in range(3)]
    assert endings[:2] == [None, None]
    assert endings[2] is not None
    assert endings[2].outcome == "error"
    assert len(warned) == 4
    assert warned[0] == "Look number 1 in a row failed: no"
    assert watch().fail(CohereAuthenticationError("no")) is not None
    patient = watch(max_failures=None)
    assert all(patient.fail(CohereServerError("no")) is None for _ in range(100))


def test_errors_of_one_dataset() -> None:
    waiting = watch("a", "b", "c", fail_fast=False, max_failures=1)
    looked: dict[str, Looked] = {"a": CohereServerError("down"), "b": CohereInvalidRequestError("no")}
    assert waiting.see({**looked, **seen(c="validated")}) is None
    assert (waiting.open_ids, waiting.failures) == (["a"], 1)
    over = waiting.see({"a": CohereServerError("down", status=503)})
    assert over is not None
    assert over.error is not None
    assert over.error["status"] == 503
    fast = watch("a", "b").see({"a": CohereInvalidRequestError("no"), "b": CohereServerError("down")})
    assert fast is not None
    assert fast.error is not None
    assert fast.error["type"] == "CohereInvalidRequestError"


def test_failures_count_on_behind_looks_at_others() -> None:
    """Who shares a loop gets the looks of all, and does not look itself while the server asked it to wait."""
    waiting = watch("a", "b", max_failures=1)
    assert waiting.see({"a": CohereServerError("down", retry_after=9.0), **seen(b="queued")}) is None
    for others in (seen(z="queued"), seen(b="queued")):
        assert waiting.see(others) is None
        assert (waiting.failures, waiting.pause) == (1, 9.0)
    assert waiting.see(seen(a="queued", b="queued")) is None
    assert (waiting.failures, waiting.pause) == (0, 0.0)


def test_what_failed_is_named_whatever_ends_the_wait() -> None:
    """No other try of the task mends a failed validation, so Airflow must not make one."""
    waiting = watch("a", "b", fail_fast=False, max_failures=0)
    over = waiting.see({**seen(a="failed"), "b": CohereServerError("down", status=503)})
    assert over is not None
    assert over.error is not None
    assert (over.error["type"], over.error["status"]) == ("CohereDatasetFailedError", 503)
    assert str(over.error["message"]).startswith("down Dataset 'a' failed its validation")
    refused = watch("a", "b", fail_fast=False)
    refused.see(seen(a="failed"))
    over = refused.fail(CohereAuthenticationError("no"))
    assert over is not None
    assert over.error is not None
    assert over.error["type"] == "CohereAuthenticationError"
    assert "'a' failed" in str(over.error["message"])


def test_the_last_status_in_words() -> None:
    waiting = watch("a", "b")
    waiting.see(seen(a="processing"))
    assert waiting.last_seen() == "Last seen: a was processing, b was not seen."
    over = waiting.timed_out()
    assert (over.outcome, over.error) == ("timeout", None)
    many = [f"d{n}" for n in range(12)]
    assert watch(*many).last_seen().endswith("d9 was not seen and 2 more.")
    assert watch(*many[:10]).last_seen().endswith("d9 was not seen.")


def test_a_memory_goes_on_where_it_was() -> None:
    before = watch("a", "b", "c", "d", fail_fast=False)
    before.see({**seen(a="validated", b="failed", c="queued"), "d": CohereInvalidRequestError("no", status=400)})
    before.fail(CohereServerError("no", retry_after=3.0))
    memory = json.loads(json.dumps(before.memory()))
    after = watch("a", "b", "c", "d", fail_fast=False)
    after.recall(memory)
    assert (after.open_ids, after.failures, after.pause) == (["c"], 1, 3.0)
    assert after.memory() == before.memory()
    ends = [each.see(seen(c="validated")) for each in (before, after)]
    assert ends[0] == ends[1]
    assert ends[0] is not None
    assert ends[0].error is not None
    assert "2 of 4" in str(ends[0].error["message"])


def test_a_memory_of_what_was_seen_alone_tells_who_failed() -> None:
    before, after = watch("a", "b", fail_fast=False), watch("a", "b", fail_fast=False)
    before.see(seen(a="failed", b="queued"))
    after.recall({"seen": json.loads(json.dumps(before.memory()))["seen"]})
    assert after.open_ids == ["b"]
    over = after.see(seen(b="validated"))
    assert over is not None
    assert over.error is not None
    assert over.error["dataset_id"] == "a"


@pytest.mark.parametrize(
    "memory",
    [
        None,
        5,
        [],
        {},
        {"failures": "x", "pause": "y", "seen": "z", "failed": []},
        {"failures": None, "seen": [{"id": "a"}], "failed": {"a": 1, "other": {}}},
        {"seen": [{"id": "other", "status": "validated"}]},
    ],
)
def test_a_memory_of_something_else(memory: Any) -> None:
    waiting = watch()
    waiting.recall(memory)
    assert (waiting.open_ids, waiting.failures, waiting.pause, waiting.seen) == (["a"], 0, 0.0, {})
    over = waiting.see(seen(a="validated"))
    assert over is not None
    assert over.outcome == "ready"


BOTH = frozenset({"validated", "skipped"})
_READY: dict[str, Any] = WaitEvent("ready", (Observation("a", "validated"),)).to_json()


def test_an_event_needs_no_more_than_id_and_status() -> None:
    event = WaitEvent.from_json({**_READY, "observations": [{"id": "a", "status": "validated"}]}, "a", BOTH)
    assert event.observations == (Observation("a", "validated"),)


def test_events_keep_everything() -> None:
    rows = (Observation("a", "failed", 1, 2, 3, "why", "name", "embed-input"), Observation("b", None))
    for event in (
        WaitEvent("error", rows, CohereDatasetFailedError("no").details()),
        WaitEvent("timeout", rows),
        WaitEvent("ready", (Observation("a", "validated"), Observation("b", "skipped"))),
    ):
        assert WaitEvent.from_json(json.loads(json.dumps(event.to_json())), "ab", BOTH) == event


@pytest.mark.parametrize(
    ("payload", "words"),
    [
        *((each, "is not known") for each in (None, "ready", 1, [])),
        ({}, "has version None, this worker knows"),
        (
            {"version": "1"},
            "has version '1', this worker knows .*: the triggerer and the worker run different versions",
        ),
        ({**_READY, "version": 2}, "has version 2,"),
        ({**_READY, "outcome": "done"}, "is not known"),
        ({**_READY, "outcome": 1}, "is not known"),
        ({**_READY, "outcome": ["ready"]}, "is not known"),
        ({**_READY, "observations": None}, "is not known"),
        ({**_READY, "observations": []}, "is not known"),
        ({**_READY, "observations": [{"id": "a", "status": "failed"}]}, "is not known"),
        ({**_READY, "observations": [{"id": "a", "status": "skipped"}]}, "is not known"),
        ({**_READY, "observations": [{"id": "b", "status": "validated"}]}, "is not known"),
        ({**_READY, "observations": [{"id": i, "status": "validated"} for i in "ab"]}, "is not known"),
        ({**_READY, "outcome": "timeout", "observations": [{"id": "b", "status": "queued"}]}, "is not known"),
        ({**_READY, "observations": [{"id": "a", "status": "validated", "num_rows": "DROP"}]}, "is not known"),
        ({**_READY, "error": {}}, "is not known"),
        ({**_READY, "outcome": "error"}, "is not known"),
    ],
)
def test_an_event_that_is_none(payload: object, words: str) -> None:
    with pytest.raises(CohereEventError, match=words) as caught:
        WaitEvent.from_json(payload, ["a"], {"validated"})
    assert isinstance(caught.value, CohereDatasetsError)
    assert caught.value.permanent


class Waiting:
    """Drives a wait by hand: each answer is a status or what the request comes to, and pauses move the time.

    :param answers: one for each request; the last one is repeated.
    :param seconds: that each request takes.
    """

    def __init__(self, *answers: str | Reply | TransportFailure, seconds: float = 0.0, **options: Any) -> None:
        self.answers = list(answers)
        self.seconds = seconds
        self.watch = watch(**options)
        self.now = 50.0
        self.requests: list[float] = []

    def run(self, timeout: float, poll: PollPolicy) -> WaitEvent:
        flow = wait_for(self.watch, Looker(), RequestPolicy(max_tries=1), poll, timeout=timeout)
        outcome: Outcome = None
        while True:
            try:
                step = flow.send(outcome)
            except StopIteration as stop:
                over: WaitEvent = stop.value
                return over
            outcome = self.pause(step.seconds) if isinstance(step, Pause) else self.answer()

    def pause(self, seconds: float) -> float:
        assert seconds >= 0
        self.now += seconds
        return self.now

    def answer(self) -> Reply | TransportFailure:
        self.requests.append(self.now - 50.0)
        self.now += self.seconds
        given = self.answers.pop(0) if len(self.answers) > 1 else self.answers[0]
        if not isinstance(given, str):
            return given
        dataset = {"id": "a", "name": "n", "dataset_type": "embed-input", "validation_status": given}
        return Reply("http://x", 200, {}, json.dumps({"dataset": dataset}).encode())


EVEN = PollPolicy(interval=10, jitter=0)


def test_a_wait_in_place() -> None:
    waiting = Waiting("queued", "processing", "validated")
    over = waiting.run(100, EVEN)
    assert (over.outcome, waiting.requests) == ("ready", [0, 10, 20])
    expected = {"id": "a", "status": "validated", "num_rows": 0, "size_bytes": 0, "warnings": 0}
    assert over.results() == [expected]


@pytest.mark.parametrize(
    ("timeout", "requests"), [(-1, [0]), (0, [0]), (5, [0, 5]), (25, [0, 10, 20, 25]), (20, [0, 10, 20])]
)
def test_the_last_look_is_made_when_the_time_is_up(timeout: float, requests: list[float]) -> None:
    waiting = Waiting("queued")
    assert waiting.run(timeout, EVEN).outcome == "timeout"
    assert waiting.requests == requests


def test_time_that_requests_take_counts() -> None:
    waiting = Waiting("queued", seconds=8)
    assert waiting.run(20, EVEN).outcome == "timeout"
    # The second took until the time was up, so what it showed is older than that.
    assert waiting.requests == [0, 18, 26]


def test_looks_that_fail_for_a_while() -> None:
    warned: list[str] = []
    busy = Reply("http://x", 503, {"retry-after": "30"})
    waiting = Waiting(busy, TransportFailure("no route"), "validated", warn=warned.append)
    assert waiting.run(100, EVEN).outcome == "ready"
    # The server's own wish counts where it is longer than the interval.
    assert waiting.requests == [0, 30, 40]
    assert len(warned) == 2


@pytest.mark.parametrize("code", [401, 403, 404])
def test_a_permanent_error_ends_a_wait_in_place(code: int) -> None:
    waiting = Waiting(Reply("http://x/v1/datasets/a", code))
    over = waiting.run(100, EVEN)
    assert over.outcome == "error"
    assert over.error is not None
    assert error_from_details(over.error).permanent


def test_too_many_failures_in_a_row_end_a_wait_in_place() -> None:
    waiting = Waiting(Reply("http://x", 503))
    assert waiting.run(100, EVEN).outcome == "error"
    assert waiting.requests == [0, 10, 20]


def test_a_driver_must_tell_the_time() -> None:
    flow = wait_for(watch(), Looker(), RequestPolicy(), EVEN, timeout=0)
    next(flow)
    with pytest.raises(TypeError, match="the time, not None"):
        flow.send(None)


def test_results_are_small_json() -> None:
    shown = Observation("a", "skipped", 5, 6, 7, "why", "n" * 500, "t")
    (result,) = WaitEvent("ready", (shown,)).results()
    assert result == {"id": "a", "status": "skipped", "num_rows": 5, "size_bytes": 6, "warnings": 7}
    assert json.loads(json.dumps(result)) == result
    assert WaitEvent("timeout").results() == []
