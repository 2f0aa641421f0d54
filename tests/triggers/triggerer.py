"""Runs triggers as the triggerer does: through Airflow's own shared streams, each in a task of its own."""

from __future__ import annotations

import asyncio
from contextlib import aclosing
from typing import Any

import httpx
import pytest
from airflow.providers.common.compat.triggers import BaseEventTrigger

from airflow_provider_cohere_datasets.triggers.datasets import CohereDatasetValidationTrigger
from tests.sensors.modes import as_json
from tests.versions import SHARED_STREAMS

if SHARED_STREAMS:
    from airflow.triggers.shared_stream import SharedStreamManager


def trigger(dataset_id: str = "a", **options: Any) -> CohereDatasetValidationTrigger:
    """Make a trigger that looks often, without a first look of its task."""
    return CohereDatasetValidationTrigger(
        **{"dataset_id": dataset_id, "poke_interval": 0.02, "jitter": 0, "timeout": 30, **options}
    )


class Triggerer:
    """What of the triggerer matters here."""

    def __init__(self) -> None:
        self.streams = SharedStreamManager() if SHARED_STREAMS else None
        self.tasks: list[asyncio.Task[Any]] = []

    def start(self, *triggers: BaseEventTrigger) -> list[asyncio.Task[Any]]:
        """Start triggers; each task returns the payload of the one event."""
        first = len(self.tasks)
        new = [asyncio.create_task(self._run(first + n, each)) for n, each in enumerate(triggers)]
        self.tasks += new
        return new

    async def _run(self, trigger_id: int, trigger: BaseEventTrigger) -> Any:
        key = trigger.shared_stream_key() if self.streams else None
        payloads = []
        try:
            if key is None:
                events = trigger.run()
            else:
                stream = self.streams.subscribe(trigger_id=trigger_id, trigger=trigger, key=key)
                events = trigger.filter_shared_stream(stream)
            async with aclosing(events):
                async for event in events:
                    payloads.append(as_json(event.payload))
        except asyncio.CancelledError:
            if hasattr(trigger, "on_kill"):  # Airflow 3.3
                await trigger.on_kill()
            raise
        finally:
            if key is not None:
                await self.streams.unsubscribe(trigger_id, key)
            await trigger.cleanup()
        assert len(payloads) == 1
        return payloads[0]

    async def kill(self, *tasks: asyncio.Task[Any]) -> None:
        """End triggers as a user does who marks their tasks."""
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)

    def assert_clean(self, clients: list[httpx.AsyncClient]) -> None:
        """Check that nothing is left of all this."""
        assert not self.streams or not self.streams._groups
        assert not CohereDatasetValidationTrigger._watches
        assert all(client.is_closed for client in clients)
        assert asyncio.all_tasks() == {asyncio.current_task()}


@pytest.fixture
def clients(monkeypatch: pytest.MonkeyPatch) -> list[httpx.AsyncClient]:
    """Every HTTP client that is made."""
    made: list[httpx.AsyncClient] = []
    original = httpx.AsyncClient.__init__

    def noting(client: httpx.AsyncClient, *args: Any, **options: Any) -> None:
        made.append(client)
        original(client, *args, **options)

    monkeypatch.setattr(httpx.AsyncClient, "__init__", noting)
    return made
