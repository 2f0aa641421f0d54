"""The trigger of one wait: what it takes, what it survives and what it leaves behind."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from typing import Any

import httpx
import pytest
from airflow.triggers.base import TriggerEvent

from airflow_provider_cohere_datasets.core.errors import CohereConnectionError, error_from_details
from airflow_provider_cohere_datasets.core.wait_event import WaitEvent
from airflow_provider_cohere_datasets.triggers.datasets import CohereDatasetEventTrigger, CohereDatasetValidationTrigger
from tests.adversary import AdversarialServer, Hang
from tests.sensors.clock import VirtualClock
from tests.sensors.modes import as_json, fire, rebuilt
from tests.sensors.stage import stage
from tests.triggers.triggerer import Triggerer, trigger


def test_every_option_survives() -> None:
    options = {
        "dataset_ids": ["a", "b"],
        "dataset_id": "c",
        "conn_id": "other",
        "skipped_as": "success",
        "fail_fast": False,
        "poke_interval": 7.5,
        "exponential_backoff": True,
        "max_wait": 70.0,
        "jitter": 0.5,
        "max_failures": None,
        "timeout": 77.0,
        "started_at": 1.5,
        "request_policy": {"max_tries": 2},
        "shared": False,
        "memory": {"failures": 2},
        "delete_on_kill": True,
        "carried": {"bytes": 5},
    }
    assert rebuilt(CohereDatasetValidationTrigger(**options)).serialize()[1] == options
    assert trigger(dataset_ids=("a", "b")).serialize()[1]["dataset_ids"] == ["a", "b"]


@pytest.mark.parametrize("kind", [CohereDatasetValidationTrigger, CohereDatasetEventTrigger])
def test_constructors_never_raise(kind: type[Any]) -> None:
    known = kind().serialize()[1]
    kind(**dict.fromkeys(known, object()), from_a_newer_version=1)
    kind(**dict.fromkeys(known))


BAD: list[dict[str, Any]] = [
    {"dataset_id": None},
    {"dataset_id": 5},
    {"dataset_id": "a\x00"},
    {"dataset_ids": []},
    {"dataset_ids": "abc"},
    {"dataset_ids": 5},
    {"poke_interval": "soon"},
    {"jitter": -1},
    {"timeout": "long"},
    {"timeout": None},
    {"started_at": "now"},
    {"request_policy": {"max_tries": 0}},
    {"request_policy": {"unheard_of": 1}},
]


@pytest.mark.parametrize("shared", [True, False])
@pytest.mark.parametrize("options", BAD, ids=str)
def test_bad_values_end_in_an_event(options: dict[str, Any], shared: bool, server: AdversarialServer) -> None:
    event = asyncio.run(fire(trigger(**options), shared=shared))
    assert WaitEvent.from_json(event, (), ()).outcome == "error"
    assert error_from_details(event["error"]).permanent
    assert server.count() == 0


@pytest.mark.parametrize("shared", [True, False])
def test_a_connection_that_cannot_be_read_may_come_back(shared: bool, server: AdversarialServer) -> None:
    """Airflow says that there is none where the secrets backend does not answer, too."""
    event = asyncio.run(fire(trigger(conn_id="nowhere", max_failures=2), shared=shared))
    error = error_from_details(event["error"])
    assert (type(error), error.permanent) == (CohereConnectionError, False)
    assert "'nowhere', or it cannot be read just now" in error.message
    assert server.count() == 0


@pytest.mark.parametrize(
    "rubbish",
    [
        "text",
        [],
        {"seen": [1], "failures": "x", "pause": "y", "failed": {"a": 1, "z": {}}, "list_cost": "z", "suspects": 1},
    ],
)
def test_a_memory_that_cannot_be_read_is_forgotten(
    rubbish: Any, server: AdversarialServer, clock: VirtualClock
) -> None:
    stage(server, clock, {"a": [(0, "queued"), (40, "validated")]})
    event = asyncio.run(fire(trigger(memory=rubbish, poke_interval=30, timeout=100), shared=False))
    assert event["outcome"] == "ready"


def test_each_trigger_of_its_own_closes_its_client(server: AdversarialServer, clients: list[httpx.AsyncClient]) -> None:
    server.model.update(server.model.datasets[0]["id"], validation_status="queued")

    async def main() -> None:
        triggerer = Triggerer()
        tasks = triggerer.start(trigger(server.model.datasets[0]["id"], shared=False, timeout=0.2))
        (event,) = await asyncio.gather(*tasks)
        assert event["outcome"] == "timeout"
        triggerer.assert_clean(clients)

    asyncio.run(main())
    assert len(clients) == 1


@pytest.mark.parametrize("shared", [True, False])
def test_killed_while_the_server_hangs(
    shared: bool, server: AdversarialServer, clients: list[httpx.AsyncClient]
) -> None:
    server.script("GET", None, [Hang()], repeat=True)

    async def main() -> None:
        triggerer = Triggerer()
        tasks = triggerer.start(trigger(shared=shared))
        async with asyncio.timeout(10):
            while not server.requests:
                await asyncio.sleep(0.005)
        await triggerer.kill(*tasks)
        triggerer.assert_clean(clients)

    asyncio.run(main())


@pytest.mark.parametrize("shared", [True, False])
def test_a_timeout_ends_a_hanging_request(shared: bool, server: AdversarialServer) -> None:
    server.script("GET", None, [Hang()], repeat=True)
    event = asyncio.run(fire(trigger(timeout=0.2), shared=shared))
    assert event["outcome"] == "timeout"


async def events_of(looks: AsyncIterator[Any]) -> list[TriggerEvent]:
    return [event async for event in trigger().filter_shared_stream(looks)]


def test_another_timeout_is_not_taken_for_ours() -> None:
    async def looks() -> AsyncIterator[Any]:
        raise TimeoutError("of something else")
        yield

    with pytest.raises(TimeoutError, match="something else"):
        asyncio.run(events_of(looks()))


def test_a_loop_that_ends_by_itself_is_no_success() -> None:
    async def looks() -> AsyncIterator[Any]:
        yield {}, []

    (event,) = asyncio.run(events_of(looks()))
    assert as_json(event.payload)["error"]["type"] == "CohereInputError"


def test_the_loop_idles_while_nobody_waits(server: AdversarialServer, clock: VirtualClock) -> None:
    async def main() -> None:
        looks = CohereDatasetValidationTrigger.open_shared_stream(trigger().serialize()[1])
        reading = asyncio.ensure_future(anext(looks))  # type: ignore[arg-type]
        while clock.elapsed < 0.2:
            await asyncio.sleep(0.001)
        reading.cancel()
        await asyncio.gather(reading, return_exceptions=True)

    asyncio.run(main())
    assert server.count() == 0
    assert max(clock.slept) <= 1.0


def test_a_template_is_rendered_before_the_key_is_read(server: AdversarialServer) -> None:
    made = trigger(conn_id="{{ conn }}")
    made.conn_id = "rendered"
    assert made.serialize()[1]["conn_id"] == "rendered"
    assert made.shared_stream_key() == trigger(conn_id="rendered").shared_stream_key()
