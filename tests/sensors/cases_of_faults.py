"""Stories of one dataset on a server that fails, for a while or for ever."""

from __future__ import annotations

from tests.adversary import (
    Answer,
    Close,
    CutBody,
    Reset,
    broken_json,
    empty_502,
    error,
    html,
    per_minute,
    per_month,
    redirect,
)
from tests.sensors.cases import ONE, Case, burst
from tests.sensors.stage import ALL, Story


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
    cases = [
        Case(
            "a web page with 404, ridden out",
            {"a": [(0, "processing"), (30, html(404)), (70, "validated")]},
            gets=4,
            options={**ONE, **tries},
        )
    ]
    for name, fault in transient.items():
        for late in (False, True):
            before: Story = [(0, "processing")] if late else []
            first = 30 if late else 0
            when = "later" if late else "at first"
            cases += [
                # Five failed looks are tolerated, the sixth ends the wait; each look is two requests.
                Case(
                    f"{name} {when}, ridden out",
                    {"a": [*before, (first, fault), (first + 121, "validated")]},
                    gets=10 + 1 + late,
                    options={**ONE, **tries},
                ),
                Case(
                    f"{name} {when}, for too long",
                    {"a": [*before, (first, fault)]},
                    "",
                    gets=12 + late,
                    options={**ONE, **tries},
                    says=("2 tries", "'cohere_default'"),
                    final=False,
                ),
            ]
    cases += [
        Case(
            "none tolerated",
            {"a": [(0, error(500))]},
            "CohereServerError",
            1,
            options={**ONE, "max_failures": 0, "request_policy": {"max_tries": 1}},
            final=False,
        ),
        Case(
            "any number tolerated",
            {"a": burst(error(500), 900)},
            None,
            31,
            options={**ONE, "max_failures": None, "request_policy": {"max_tries": 1}, "timeout": 1000},
        ),
        Case(
            "silent_fail",
            {"a": burst(error(500), 900)},
            None,
            31,
            options={**ONE, "silent_fail": True, "request_policy": {"max_tries": 1}, "timeout": 1000},
        ),
        Case(
            "silent_fail does not hide a bad key",
            {ALL: [(0, error(401))], "a": [(0, "queued")]},
            "CohereAuthenticationError",
            1,
            options={**ONE, "silent_fail": True},
        ),
        Case(
            "faults with good looks between",
            {"a": [(n * 30, error(500) if n % 3 else "queued") for n in range(12)] + [(360, "validated")]},
            None,
            options={**ONE, "max_failures": 2, "timeout": 1000},
        ),
        Case(
            "the server asks for more than it may",
            {"a": burst(per_minute(retry_after="400"), 700)},
            None,
            3,
            options={**ONE, "timeout": 5000},
            seconds=800,
        ),
        Case(
            "the last status is known though the last looks fail",
            {"a": [(0, "processing"), (10, error(500))]},
            "AirflowSensorTimeout",
            None,
            ("a was processing",),
            final=False,
        ),
        Case(
            "the last look is the one that fails once too often",
            {"a": [(0, error(500))]},
            "CohereServerError",
            6,
            options={**ONE, "timeout": 140, "request_policy": {"max_tries": 1}},
            final=False,
        ),
        Case("never seen", {"a": [(0, error(500))]}, "AirflowSensorTimeout", None, ("a was not seen",), final=False),
    ]
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
