"""Stories of one dataset on a server that answers, and what the user must see of them in every mode."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from tests.adversary import Fault
from tests.sensors.stage import Story

ONE = {"dataset_id": "a"}
WAITING = ("unknown", "queued", "processing", "some-new-stage")


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
            gets=9,
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
