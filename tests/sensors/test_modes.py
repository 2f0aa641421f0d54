"""Poke, reschedule and both ways of deferring agree on everything, whatever the server does."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import pytest

from tests.adversary import (
    AdversarialServer,
    Answer,
    Close,
    CutBody,
    Fault,
    Reset,
    Through,
    broken_json,
    empty_502,
    error,
    html,
    per_minute,
    per_month,
    redirect,
)
from tests.sensors.clock import VirtualClock
from tests.sensors.modes import MODES, Ending, Runner, ending
from tests.sensors.stage import ALL, Story, stage

ONE = {"dataset_id": "a"}
TWO = {"dataset_ids": ["a", "b"]}
COLLECT = {**TWO, "fail_fast": False}
MANY = [f"many-{n:02}" for n in range(20)]
LIST = "GET /v1/datasets?"
WAITING = ("unknown", "queued", "processing", "some-new-stage")


def get(dataset_id: str) -> str:
    return f"GET /v1/datasets/{dataset_id}"


@dataclass(frozen=True)
class Case:
    """A story, and what the user must see of it in every mode.

    :param raised: the error, ``None`` for success.
    :param gets: how often each dataset is asked for, ``None`` to compare the modes only.
    :param says: what the message must say.
    """

    name: str
    stories: Mapping[str, Story]
    raised: str | None = None
    gets: int | None = None
    says: tuple[str, ...] = ()
    options: Mapping[str, Any] = field(default_factory=lambda: ONE)
    final: bool = True
    seconds: float | None = None


def burst(fault: Fault, seconds: float) -> Story:
    """A fault for some seconds, after which the dataset is validated."""
    return [(0, fault), (seconds, "validated")]


def status_cases() -> list[Case]:
    cases = [
        Case("validated at once", {"a": [(0, "validated")]}, gets=1, seconds=0),
        Case("skipped fails", {"a": [(0, "skipped")]}, "CohereDatasetSkippedError", 1, ("'a'", "skipped_as")),
        Case("skipped succeeds", {"a": [(0, "skipped")]}, gets=1, options={**ONE, "skipped_as": "success"}),
        Case(
            "fails later with reason and warnings",
            {
                "a": [
                    (0, "queued"),
                    (40, {"validation_status": "failed", "validation_error": "no rows", "validation_warnings": ["w1"]}),
                ]
            },
            "CohereDatasetFailedError",
            3,
            ("'a'", "no rows", "w1"),
            seconds=60,
        ),
        Case(
            "fails without a reason",
            {"a": [(0, {"validation_status": "failed"})]},
            "CohereDatasetFailedError",
            1,
            ("no reason given",),
        ),
        Case(
            "the whole way",
            {"a": [(0, "unknown"), (25, "queued"), (55, "processing"), (85, "validated")]},
            gets=4,
            seconds=90,
        ),
        Case("validated between the last look and the timeout", {"a": [(0, "queued"), (95, "validated")]}, gets=5),
        Case(
            "failed between the last look and the timeout",
            {"a": [(0, "queued"), (95, "failed")]},
            "CohereDatasetFailedError",
            5,
        ),
        Case(
            "validated too late",
            {"a": [(0, "queued"), (101, "validated")]},
            "AirflowSensorTimeout",
            5,
            ("queued",),
            seconds=100,
        ),
        Case(
            "an interval longer than the timeout",
            {"a": [(0, "queued"), (50, "validated")]},
            gets=2,
            options={**ONE, "poke_interval": 500},
            seconds=100,
        ),
        Case("no time at all", {"a": [(0, "queued")]}, "AirflowSensorTimeout", 2, ("queued",), {**ONE, "timeout": 0}),
        Case(
            "exponential",
            {"a": [(0, "queued"), (600, "validated")]},
            gets=6,
            options={**ONE, "timeout": 5000, "exponential_backoff": True},
            seconds=930,
        ),
        Case(
            "exponential up to max_wait",
            {"a": [(0, "queued"), (600, "validated")]},
            gets=8,
            options={**ONE, "timeout": 5000, "exponential_backoff": True, "max_wait": 100},
            seconds=690,
        ),
    ]
    for status in WAITING:
        cases += [
            Case(f"{status} waits", {"a": [(0, status), (40, "validated")]}, gets=3, seconds=60),
            Case(
                f"{status} times out",
                {"a": [(0, status)]},
                "AirflowSensorTimeout",
                5,
                (f"a was {status}", "100 s"),
                final=False,
            ),
        ]
    return cases


def fault_cases() -> list[Case]:
    tries = {"request_policy": {"max_tries": 2}, "timeout": 1000}
    transient = {
        "500": error(500),
        "502 without a body": empty_502(),
        "503": error(503),
        "429": per_minute(retry_after="0"),
        "a reset": Reset(),
        "a closed connection": Close(),
        "a cut body": CutBody(),
        "broken JSON": broken_json(),
        "a web page": html(),
        "another dataset": Answer(json={"dataset": {"id": "b", "validation_status": "validated"}}),
        "no dataset": Answer(json={}),
        "null": Answer(json=None),
    }
    cases = []
    for name, fault in transient.items():
        for late in (False, True):
            before: Story = [(0, "processing")] if late else []
            first = 30 if late else 0
            when = "later" if late else "at first"
            cases += [
                # Five failed looks are tolerated, the sixth ends the wait; each look is two requests.
                Case(f"{name} {when}, ridden out", {"a": [*before, (first, fault), (first + 121, "validated")]}, gets=10 + 1 + late, options={**ONE, **tries}),
                Case(f"{name} {when}, for too long", {"a": [*before, (first, fault)]}, "", gets=12 + late, options={**ONE, **tries}, says=("2 tries", "'cohere_default'"), final=False),
            ]  # fmt: skip
    cases += [
        Case("none tolerated", {"a": [(0, error(500))]}, "CohereServerError", 1, options={**ONE, "max_failures": 0, "request_policy": {"max_tries": 1}}, final=False),
        Case("any number tolerated", {"a": burst(error(500), 900)}, None, 31, options={**ONE, "max_failures": None, "request_policy": {"max_tries": 1}, "timeout": 1000}),
        Case("silent_fail", {"a": burst(error(500), 900)}, None, 31, options={**ONE, "silent_fail": True, "request_policy": {"max_tries": 1}, "timeout": 1000}),
        Case("silent_fail does not hide a bad key", {ALL: [(0, error(401))], "a": [(0, "queued")]}, "CohereAuthenticationError", 1, options={**ONE, "silent_fail": True}),
        Case("faults with good looks between", {"a": [(n * 30, error(500) if n % 3 else "queued") for n in range(12)] + [(360, "validated")]}, None, options={**ONE, "max_failures": 2, "timeout": 1000}),
        Case("the server asks for more than it may", {"a": burst(per_minute(retry_after="400"), 700)}, None, 3, options={**ONE, "timeout": 5000}, seconds=800),
        Case("the last status is known though the last looks fail", {"a": [(0, "processing"), (10, error(500))]}, "AirflowSensorTimeout", None, ("a was processing",), final=False),
        Case("never seen", {"a": [(0, error(500))]}, "AirflowSensorTimeout", None, ("a was not seen",), final=False),
    ]  # fmt: skip
    permanent = {
        "CohereAuthenticationError": (error(401), error(498)),
        "CoherePermissionError": (error(402), error(403)),
        "CohereInvalidRequestError": (error(400), error(422), error(501)),
        "CohereQuotaError": (per_month(),),
        "CohereRedirectError": (redirect("http://127.0.0.2:9/"),),
    }
    for raised, faults in permanent.items():
        for fault in faults:
            assert isinstance(fault, Answer)
            name = f"{fault.status} {raised}"
            cases += [
                Case(f"{name} at first", {"a": [(0, fault)]}, raised, 1, ("'cohere_default'",)),
                Case(f"{name} later", {"a": [(0, "queued"), (20, fault)]}, raised, 2, ("'cohere_default'",)),
            ]
    gone = "CohereDatasetNotFoundError"
    cases += [
        Case("never there", {"a": [(0, None)]}, gone, 3, ("'a'", "30 days"), seconds=3),
        Case("there after two seconds", {"a": [(0, None), (2, "queued"), (20, "validated")]}, None, 4),
        Case("gone later", {"a": [(0, "processing"), (20, None)]}, gone, 4, seconds=33),
    ]
    return cases


def many_cases() -> list[Case]:
    queued: Story = [(0, "queued"), (40, "validated")]
    some: dict[str, Story] = {each: [(0, "queued"), (40, "validated")] for each in MANY}
    return [
        Case("two", {"a": queued, "b": [(0, "queued"), (70, "validated")]}, options=TWO, seconds=90),
        Case("two, one fails fast", {"a": [(0, "queued")], "b": [(0, "queued"), (20, "failed")]}, "CohereDatasetFailedError", options=TWO, says=("'b'",), seconds=30),
        Case("two, one fails, the other is waited for", {"a": queued, "b": [(0, "failed")]}, "CohereDatasetFailedError", options=COLLECT, says=("'b'",), seconds=60),
        Case("two fail", {"a": [(0, "queued"), (50, "failed")], "b": [(0, "failed")]}, "CohereDatasetFailedError", options=COLLECT, says=("2 of 2", "'a'", "'b'"), seconds=60),
        Case("one fails, one is gone", {"a": [(0, "queued"), (50, None)], "b": [(0, "failed")]}, "CohereDatasetFailedError", options=COLLECT, says=("2 of 2", "'a'", "'b'")),
        Case("one is validated and then deleted", {"a": [(0, "validated"), (10, None)], "b": queued}, options=TWO, seconds=60),
        Case("one fails and is then deleted", {"a": [(0, "failed"), (10, None)], "b": queued}, "CohereDatasetFailedError", options=COLLECT, seconds=60),
        Case("one is refused, the other waited for", {"a": [(0, error(400))], "b": queued}, "CohereInvalidRequestError", options=COLLECT, seconds=60),
        Case("one is refused", {"a": [(0, error(400))], "b": queued}, "CohereInvalidRequestError", options=TWO, seconds=0),
        Case("one is broken for a while", {"a": burst(error(500), 70), "b": queued}, options=TWO, seconds=90),
        Case("one is broken for ever", {"a": [(0, error(500))], "b": queued}, "CohereServerError", options={**TWO, "timeout": 1000}, final=False, seconds=150),
        Case("one never gets ready", {"a": [(0, "processing")], "b": queued}, "AirflowSensorTimeout", options=TWO, says=("a was processing",), final=False),
        Case("one fails, one never gets ready", {"a": [(0, "processing")], "b": [(0, "failed")]}, "AirflowSensorTimeout", options=COLLECT, says=("a was processing",), final=False),
        Case("many", some, options={"dataset_ids": MANY}, seconds=60),
        Case("many, one fails", {**some, MANY[7]: [(0, "queued"), (20, "failed")]}, "CohereDatasetFailedError", options={"dataset_ids": MANY}, says=(MANY[7],)),
        Case("many, one is gone", {**some, MANY[7]: [(0, "queued"), (20, None)]}, "CohereDatasetNotFoundError", options={"dataset_ids": MANY}, says=(MANY[7],)),
        Case("many, with a bad key", {ALL: [(0, error(401))], **some}, "CohereAuthenticationError", options={"dataset_ids": MANY}),
        Case("many, while the server is down", {ALL: [(0, error(503)), (70, Through())], **some}, options={"dataset_ids": MANY}, seconds=90),
    ]  # fmt: skip


def run_all(case: Case, server: AdversarialServer, clock: VirtualClock) -> dict[str, Ending]:
    endings = {}
    for mode in MODES:
        stage(server, clock, case.stories)
        endings[mode] = ending(Runner(clock, **case.options), mode, server)
    return endings


def check(case: Case, endings: dict[str, Ending]) -> None:
    first = endings["poke"]
    assert {mode: each for mode, each in endings.items() if each != first} == {}, first
    if case.raised != "":
        assert first.cause == case.raised, first
    if case.raised is None:
        rows = first.result if isinstance(first.result, list) else [first.result]
        ids = case.options.get("dataset_ids") or [case.options["dataset_id"]]
        assert [row["id"] for row in rows] == ids
        assert {key for row in rows for key in row} == {"id", "status", "num_rows", "size_bytes", "warnings"}
    else:
        assert first.final is (case.final and case.raised != "AirflowSensorTimeout")
    for text in case.says:
        assert text in str(first.message)
    if case.gets is not None:
        assert len(first.requests) == case.gets, first
    if case.seconds is not None:
        assert first.seconds == pytest.approx(case.seconds, abs=0.2)


@pytest.mark.parametrize("case", [*status_cases(), *fault_cases(), *many_cases()], ids=lambda case: case.name)
def test_modes_agree(case: Case, server: AdversarialServer, clock: VirtualClock) -> None:
    check(case, run_all(case, server, clock))


SOFT = [
    Case("failed at once", {"a": [(0, "failed")]}, "CohereDatasetFailedError"),
    Case("failed later", {"a": [(0, "queued"), (20, "failed")]}, "CohereDatasetFailedError"),
    Case("skipped at once", {"a": [(0, "skipped")]}, "CohereDatasetSkippedError"),
    Case("skipped later", {"a": [(0, "queued"), (20, "skipped")]}, "CohereDatasetSkippedError"),
    Case("gone at once", {"a": [(0, None)]}, "CohereDatasetNotFoundError"),
    Case("gone later", {"a": [(0, "queued"), (20, None)]}, "CohereDatasetNotFoundError"),
    Case("bad key at once", {"a": [(0, error(401))]}, "CohereAuthenticationError"),
    Case("bad key later", {"a": [(0, "queued"), (20, error(401))]}, "CohereAuthenticationError"),
    Case("broken for too long", {"a": [(0, error(500))]}, "CohereServerError", options={**ONE, "timeout": 1000}),
    Case("timeout", {"a": [(0, "processing")]}, "AirflowSensorTimeout", says=("a was processing",)),
    Case("validated", {"a": [(0, "queued"), (20, "validated")]}),
]


@pytest.mark.parametrize("option", ["soft_fail", "never_fail"])
@pytest.mark.parametrize("case", SOFT, ids=lambda case: case.name)
def test_what_is_made_of_a_failure(option: str, case: Case, server: AdversarialServer, clock: VirtualClock) -> None:
    hard = run_all(case, server, clock)
    soft = run_all(Case(case.name, case.stories, options={**case.options, option: True}), server, clock)
    first = soft["poke"]
    assert {mode: each for mode, each in soft.items() if each != first} == {}, first
    assert first.raised == (None if case.raised is None else "AirflowSkipException")
    assert (first.cause, first.message, first.requests) == (case.raised, hard["poke"].message, hard["poke"].requests)
    for text in case.says:
        assert text in str(first.message)
