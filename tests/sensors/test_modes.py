"""Poke, reschedule and both ways of deferring agree on everything, whatever the server does."""

from __future__ import annotations

import pytest

from tests.adversary import AdversarialServer, error
from tests.sensors.cases import ONE, Case, status_cases
from tests.sensors.cases_of_faults import fault_cases
from tests.sensors.cases_of_many import many_cases
from tests.sensors.clock import VirtualClock
from tests.sensors.modes import MODES, Ending, Runner, ending
from tests.sensors.stage import stage


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
    assert str(first.message) in str(first.skip) or case.raised is None
    for text in case.says:
        assert text in str(first.message)
