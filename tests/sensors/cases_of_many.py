"""Stories of several datasets for which one task waits."""

from __future__ import annotations

from tests.adversary import Through, error
from tests.sensors.cases import Case, burst
from tests.sensors.stage import ALL, Story

TWO = {"dataset_ids": ["a", "b"]}
COLLECT = {**TWO, "fail_fast": False}
MANY = [f"many-{n:02}" for n in range(20)]


def many_cases() -> list[Case]:
    queued: Story = [(0, "queued"), (40, "validated")]
    some: dict[str, Story] = {each: [(0, "queued"), (40, "validated")] for each in MANY}
    return [
        Case("two", {"a": queued, "b": [(0, "queued"), (70, "validated")]}, options=TWO, seconds=90),
        Case(
            "two, one fails fast",
            {"a": [(0, "queued")], "b": [(0, "queued"), (20, "failed")]},
            "CohereDatasetFailedError",
            options=TWO,
            says=("'b'",),
            seconds=30,
        ),
        Case(
            "two, one fails, the other is waited for",
            {"a": queued, "b": [(0, "failed")]},
            "CohereDatasetFailedError",
            options=COLLECT,
            says=("'b'",),
            seconds=60,
        ),
        Case(
            "two fail",
            {"a": [(0, "queued"), (50, "failed")], "b": [(0, "failed")]},
            "CohereDatasetFailedError",
            options=COLLECT,
            says=("2 of 2", "'a'", "'b'"),
            seconds=60,
        ),
        Case(
            "one fails, one is gone",
            {"a": [(0, "queued"), (50, None)], "b": [(0, "failed")]},
            "CohereDatasetFailedError",
            options=COLLECT,
            says=("2 of 2", "'a'", "'b'"),
        ),
        Case(
            "one is validated and then deleted",
            {"a": [(0, "validated"), (10, None)], "b": queued},
            options=TWO,
            seconds=60,
        ),
        Case(
            "one fails and is then deleted",
            {"a": [(0, "failed"), (10, None)], "b": queued},
            "CohereDatasetFailedError",
            options=COLLECT,
            seconds=60,
        ),
        Case(
            "one fails, the other is never validated",
            {
                "a": [(0, {"validation_status": "failed", "validation_error": "row 3 has no text"})],
                "b": [(0, "queued")],
            },
            "AirflowSensorTimeout",
            options=COLLECT,
            says=("b was queued", "'a' failed its validation: row 3"),
            seconds=100,
        ),
        Case(
            "one is refused, the other waited for",
            {"a": [(0, error(400))], "b": queued},
            "CohereInvalidRequestError",
            options=COLLECT,
            seconds=60,
        ),
        Case(
            "one was refused, the other is validated at the last look",
            {"a": [(0, "queued"), (30, error(403)), (60, "validated")], "b": [(0, "queued"), (95, "validated")]},
            "CoherePermissionError",
            options=COLLECT,
            seconds=100,
        ),
        *(
            Case(
                f"one asks for a pause with {status}, the other does not",
                {
                    "a": [(0, "queued"), (600, "validated")],
                    "b": [(0, "queued"), (30, error(503)), (60, "queued"), (600, "validated")],
                    "c": [(0, "queued"), (30, error(status, retry_after="500")), (60, "queued"), (600, "validated")],
                },
                gets=18,
                options={"dataset_ids": ["a", "b", "c"], "timeout": 1000, "request_policy": {"max_tries": 1}},
                seconds=620,
            )
            for status in (429, 503)
        ),
        Case(
            "one is refused", {"a": [(0, error(400))], "b": queued}, "CohereInvalidRequestError", options=TWO, seconds=0
        ),
        Case("one is broken for a while", {"a": burst(error(500), 70), "b": queued}, options=TWO, seconds=90),
        Case(
            "one is broken for ever",
            {"a": [(0, error(500))], "b": queued},
            "CohereServerError",
            options={**TWO, "timeout": 1000},
            final=False,
            seconds=150,
        ),
        Case(
            "one never gets ready",
            {"a": [(0, "processing")], "b": queued},
            "AirflowSensorTimeout",
            options=TWO,
            says=("a was processing",),
            final=False,
        ),
        Case(
            "one fails, one never gets ready",
            {"a": [(0, "processing")], "b": [(0, "failed")]},
            "AirflowSensorTimeout",
            options=COLLECT,
            says=("a was processing",),
            final=False,
        ),
        Case("many", some, options={"dataset_ids": MANY}, seconds=60),
        Case(
            "many, one fails",
            {**some, MANY[7]: [(0, "queued"), (20, "failed")]},
            "CohereDatasetFailedError",
            options={"dataset_ids": MANY},
            says=(MANY[7],),
        ),
        Case(
            "many, one is gone",
            {**some, MANY[7]: [(0, "queued"), (20, None)]},
            "CohereDatasetNotFoundError",
            options={"dataset_ids": MANY},
            says=(MANY[7],),
        ),
        Case(
            "many, with a bad key",
            {ALL: [(0, error(401))], **some},
            "CohereAuthenticationError",
            options={"dataset_ids": MANY},
        ),
        Case(
            "many, while the server is down",
            {ALL: [(0, error(503)), (70, Through())], **some},
            options={"dataset_ids": MANY},
            seconds=90,
        ),
    ]
