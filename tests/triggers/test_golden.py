"""Waits in flight outlive an upgrade: what an older version serialised still loads, runs and resumes."""

from __future__ import annotations

import asyncio
import json
from pathlib import Path
from typing import Any

import pytest

from airflow_provider_cohere_datasets.core.selection import waited_for
from airflow_provider_cohere_datasets.core.wait_event import WaitEvent
from airflow_provider_cohere_datasets.sensors.datasets import CohereDatasetValidationSensor
from airflow_provider_cohere_datasets.triggers.datasets import (
    CohereDatasetEventTrigger,
    CohereDatasetValidationTrigger,
)
from tests.adversary import AdversarialServer
from tests.sensors.clock import VirtualClock
from tests.sensors.modes import as_json, fire
from tests.sensors.stage import stage

BOTH = {"validated", "skipped"}
GOLDEN = Path(__file__).parent / "golden"
TRIGGERS = {each.__name__: each for each in (CohereDatasetValidationTrigger, CohereDatasetEventTrigger)}


def golden(name: str) -> Any:
    return json.loads((GOLDEN / f"{name}.json").read_text())


def built(name: str) -> Any:
    """Build a trigger from a golden file, as the triggerer does: by its path and keywords."""
    row = golden(name)
    module, _, kind = row["classpath"].rpartition(".")
    assert module == "airflow_provider_cohere_datasets.triggers.datasets"
    return TRIGGERS[kind](**row["kwargs"])


VALIDATION = ["validation_trigger_first", *(f"validation_trigger_{number}" for number in (1, 2, 3))]


@pytest.mark.parametrize("name", [*VALIDATION, "event_trigger_1"])
def test_a_stored_trigger_keeps_what_it_was_given(name: str) -> None:
    path, kwargs = built(name).serialize()
    row = golden(name)
    assert path == row["classpath"]
    assert row["kwargs"].items() <= as_json(kwargs).items()


@pytest.mark.parametrize("name", ["validation_trigger_3", "event_trigger_1"])
def test_the_form_has_not_changed(name: str) -> None:
    """A new keyword needs a golden file of its own, and those before must stay."""
    assert as_json(built(name).serialize()[1]) == golden(name)["kwargs"]


@pytest.mark.parametrize("shared", [False, True])
@pytest.mark.parametrize("name", VALIDATION)
def test_a_stored_wait_runs_to_its_end(name: str, shared: bool, server: AdversarialServer, clock: VirtualClock) -> None:
    stage(server, clock, {"a": [(0, "queued"), (50, "validated")], "b": [(0, "validated")]})
    event = asyncio.run(fire(built(name), shared=shared))
    assert (event["version"], event["outcome"]) == (1, "ready")
    assert event.get("carried") == built(name).carried
    assert [row["id"] for row in event["observations"]] == waited_for(built(name).dataset_id, built(name).dataset_ids)


async def first(trigger: CohereDatasetEventTrigger) -> Any:
    async for event in trigger.run():
        return event.payload


def test_a_stored_watcher_fires(server: AdversarialServer, clock: VirtualClock) -> None:
    stage(server, clock, {"support-1": [(0, "queued"), (100, "failed")], "other": [(0, "failed")]})
    payload = asyncio.run(first(built("event_trigger_1")))
    assert payload == golden("event_payload_1")


def resumed(event: Any) -> Any:
    sensor = CohereDatasetValidationSensor(task_id="wait", dataset_ids=["a", "b"], deferrable=True, timeout=100)
    return sensor.resume_execution("execute_complete", {"event": event}, {})


def test_stored_events_resume(server: AdversarialServer, clock: VirtualClock) -> None:
    stage(server, clock, {"a": [(0, "processing")], "b": [(0, "validated")]})
    assert resumed(golden("event_ready_1")) == golden("result_1")
    for name in ("error", "timeout"):
        raised = golden(f"event_{name}_1_raises")
        with pytest.raises(Exception, match=raised["message"]) as caught:
            resumed(golden(f"event_{name}_1"))
        assert type(caught.value).__name__ == raised["type"]


@pytest.mark.parametrize("name", ["ready", "error", "timeout"])
def test_the_form_of_events_has_not_changed(name: str) -> None:
    event = golden(f"event_{name}_1")
    assert as_json(WaitEvent.from_json(event, {row["id"] for row in event["observations"]}, BOTH).to_json()) == event
