"""Starts the run of a DAG as events of its asset do, with what the watcher's own trigger says."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator, Sequence
from contextlib import aclosing, contextmanager
from typing import Any
from unittest import mock

from airflow.providers.common.compat.sdk import DAG, Asset
from airflow.providers.common.compat.triggers import BaseEventTrigger


def asset_of(dag: DAG) -> Asset:
    """Return the only asset that starts a DAG."""
    (asset,) = dag.schedule
    return asset


def payloads_of(trigger: BaseEventTrigger, count: int) -> list[Any]:
    """Let a trigger run until it has fired so often, for datasets that are there already too."""
    kwargs = {**trigger.serialize()[1], "include_existing": True}

    async def fired() -> list[Any]:
        payloads: list[Any] = []
        async with aclosing(type(trigger)(**kwargs).run()) as events:
            async for event in events:
                payloads.append(event.payload)
                if len(payloads) == count:
                    break
        return payloads

    return asyncio.run(asyncio.wait_for(fired(), 30))


@contextmanager
def started_by(dag: DAG, payloads: Sequence[Any]) -> Iterator[None]:
    """Give the runs that the test makes the events that a triggerer would have stored."""
    from airflow.models import dagrun
    from airflow.models.asset import AssetEvent, AssetModel
    from sqlalchemy import select

    make = dagrun.get_or_create_dagrun

    def with_events(**arguments: Any) -> Any:
        run, session = make(**arguments), arguments["session"]
        for payload in payloads:
            asset = session.scalar(select(AssetModel).where(AssetModel.name == asset_of(dag).name))
            event = AssetEvent(asset_id=asset.id, extra={"from_trigger": True, "payload": payload})
            run.consumed_asset_events.append(event)
        session.commit()
        return run

    with mock.patch.object(dagrun, "get_or_create_dagrun", with_events):
        yield
