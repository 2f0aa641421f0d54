"""The trigger behind an asset watcher: a DAG runs when a dataset becomes validated."""

from __future__ import annotations

import asyncio
import json
import math
import time
from contextlib import aclosing
from datetime import timedelta
from fnmatch import fnmatchcase
from hashlib import sha256
from inspect import signature
from typing import TYPE_CHECKING, Any

from airflow.providers.common.compat.triggers import BaseEventTrigger
from airflow.triggers.base import TriggerEvent

from airflow_provider_cohere_datasets.core.errors import CohereDatasetsError, CohereInputError
from airflow_provider_cohere_datasets.core.filters import VALIDATION_STATUSES, check_flags
from airflow_provider_cohere_datasets.core.poll_policy import PollPolicy
from airflow_provider_cohere_datasets.hooks.datasets import CohereDatasetsHook

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Mapping, Sequence

    from airflow_provider_cohere_datasets.core.observation import Observation

#: How the keys in the asset's state store begin; the rest says what is watched.
_STATE = "cohere_datasets_fired"
#: Seconds between two looks at the most, when one after the other fails.
_SLOWEST = 3600.0
#: Looks of which the first whole list, or else all, tell what was there before.
_SETTLING = 3
#: Seconds until an event that was yielded is in Airflow's database: the triggerer hands it on once a second, and what
#: goes into the store goes the same way. What were noted sooner would be lost with the triggerer.
_HANDED_ON = 10.0
#: Seconds until the scheduler has made a run of an event. Airflow up to 3.3.2 gives that run the events up to the first
#: one; those that come between it and the run stay until there is another event, so the last one comes later.
_TAKEN_UP = 10.0
#: Seconds for which whole lists must lack a dataset that fired until it is forgotten: one list may lag behind.
_FORGOTTEN = 3600.0
#: Seconds until a store that failed is asked again what fired before.
_STORE_PAUSE = 10.0


class CohereDatasetEventTrigger(BaseEventTrigger):
    """Fires for each dataset that becomes validated (or failed); for an ``AssetWatcher`` (Airflow 3).

    Each dataset fires once. Of several that one look shows, the last fires ten seconds after the others: Airflow up to
    3.3.2 makes a run of the first event alone, and leaves those that come before that run until there is another event.

    On Airflow 3.3 and later the ids that fired are kept in the asset's state store, some ten seconds after their
    events, when Airflow has those in its database: over restarts of the triggerer none is lost, and what fired in these
    last seconds fires twice. Below 3.3 there is no such store: what reaches its status while no triggerer runs does not
    fire. Nor is there one for watchers of several assets whose arguments are all equal, which Airflow makes one trigger
    of.

    What fired is kept for each connection and filter, so that several watchers of one asset do not disturb each other,
    and one whose filter changes begins anew.

    Datasets that have reached their status before the trigger ever ran do not fire, unless ``include_existing``; these
    are all that its first whole list shows, or the first three lists if none is proved whole. The trigger never ends:
    a failed look is logged and made again after the usual interval, which doubles with each look that fails, up to an
    hour, or after what the server asked for.

    The constructor never raises, because an exception there would take the whole triggerer down. Bad values are found
    when Airflow stores the DAG, which shows them as an import error.

    The event's payload is small JSON: ``dataset_id``, ``name``, ``dataset_type``, ``validation_status``, ``num_rows``,
    ``size_bytes`` and ``warnings``.

    :param conn_id: the connection.
    :param dataset_type: only datasets of this type.
    :param name_pattern: only datasets whose name matches, with ``*``, ``?`` and ``[…]``, such as ``"support-*"``.
    :param statuses: the statuses that fire.
    :param poke_interval: seconds between two looks, or a ``timedelta``.
    :param include_existing: whether datasets fire that have reached their status before the trigger first ran.
    :param request_policy: tries and deadlines of each request.
    """

    def __init__(
        self,
        conn_id: str = CohereDatasetsHook.default_conn_name,
        dataset_type: str | None = None,
        name_pattern: str | None = None,
        statuses: Sequence[str] = ("validated",),
        poke_interval: float | timedelta = 60.0,
        include_existing: bool = False,
        request_policy: Mapping[str, Any] | None = None,
        **_: Any,
    ) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self.conn_id = conn_id
        self.dataset_type = dataset_type
        self.name_pattern = name_pattern
        self.statuses = statuses
        self.poke_interval = poke_interval.total_seconds() if isinstance(poke_interval, timedelta) else poke_interval
        self.include_existing = include_existing
        self.request_policy = request_policy

    def serialize(self) -> tuple[str, dict[str, Any]]:
        """Return everything that is needed to build the trigger again.

        :raises CohereInputError: for an interval or statuses with which the trigger could never fire, or a flag that
            is none.
        """
        check_flags(include_existing=self.include_existing)
        statuses = self._statuses()
        PollPolicy(self.poke_interval)  # Raises if it cannot be an interval.
        unknown = [each for each in statuses if each not in VALIDATION_STATUSES]
        if unknown or not statuses:
            given = f"{unknown[0]!r:.60} is not one" if unknown else "there is none"
            raise CohereInputError(f"statuses must be some of {', '.join(VALIDATION_STATUSES)}; {given}.")
        names = [name for name in signature(CohereDatasetEventTrigger).parameters if name != "_"]
        return (
            "airflow_provider_cohere_datasets.triggers.datasets.CohereDatasetEventTrigger",
            {**{name: getattr(self, name) for name in names}, "statuses": statuses},
        )

    async def run(self) -> AsyncIterator[TriggerEvent]:
        """Look for ever, and yield an event for each dataset that fires."""
        from airflow_provider_cohere_datasets.core.looking import list_observations
        from airflow_provider_cohere_datasets.triggers.polling import polled

        hook = CohereDatasetsHook(self.conn_id, request_policy=self.request_policy)
        statuses = self._statuses()
        fired = await self._load()
        # Looks after which what was there before is known, even if none shows a list that is whole.
        settling = _SETTLING if fired is None and not self.include_existing else 0
        fired = fired or set()
        unsaved = False
        told: dict[str, float] = {}  # when those of them were told whose events may still be lost
        waiting: dict[str, Observation] = {}  # what is to be told
        absent: dict[str, float] = {}  # since when the list lacks those that fired
        last = -math.inf  # when the last event was
        looks = polled(
            hook,
            lambda policy: list_observations(self.dataset_type, policy),
            PollPolicy(self.poke_interval),
            slowest=_SLOWEST,
            rest=_HANDED_ON,
        )
        async with aclosing(looks):
            async for looked in looks:
                now = time.monotonic()
                late = {each: at for each, at in told.items() if now - at < _HANDED_ON}
                told, unsaved = late, unsaved or len(late) < len(told)
                if isinstance(looked, CohereDatasetsError):
                    self.log.warning("The look for datasets failed and is made again: %s", looked)
                elif looked is not None:
                    reached = {row.id: row for row in looked.rows if row.status in statuses and self._matches(row.name)}
                    if settling:
                        settling = 0 if looked.complete else settling - 1
                        fired |= reached.keys()
                        unsaved = True
                    waiting |= {each: row for each, row in reached.items() if each not in fired}
                    # Only a list that is known to be whole shows what is gone and need not be remembered any longer.
                    if looked.complete:
                        absent = {each: absent.get(each, now) for each in fired - {row.id for row in looked.rows}}
                        forgotten = {each for each, since in absent.items() if now - since >= _FORGOTTEN}
                        if forgotten:
                            fired, unsaved = fired - forgotten, True
                alone = len(waiting) == 1 and now - last >= _TAKEN_UP
                for dataset_id in list(waiting)[: None if alone else -1]:
                    yield TriggerEvent(_payload(waiting.pop(dataset_id)))
                    fired.add(dataset_id)
                    last = told[dataset_id] = time.monotonic()
                if unsaved and await self._save(fired - told.keys()):
                    unsaved = False

    def _matches(self, name: str | None) -> bool:
        return self.name_pattern is None or fnmatchcase(name or "", self.name_pattern)

    def _statuses(self) -> list[str]:
        return [self.statuses] if isinstance(self.statuses, str) else list(self.statuses)

    def _key(self) -> str:
        """Return the key in the asset's state store: another one for all that changes which datasets fire."""
        watched = json.dumps([self.conn_id, self.dataset_type, self.name_pattern, sorted(set(self._statuses()))])
        return f"{_STATE}_{sha256(watched.encode()).hexdigest()[:16]}"

    async def _load(self) -> set[str] | None:
        """Return the ids that fired, ``None`` if that is not known; wait for a store that fails just now."""
        while True:
            try:
                stored = await self._in_store("get", self._key())
            except Exception as error:
                self.log.warning("What fired before cannot be read just now: %s", error)
                await asyncio.sleep(_STORE_PAUSE)
            else:
                return set(stored) if isinstance(stored, list) else None

    async def _save(self, fired: set[str]) -> bool:
        """Remember the ids that fired, and return whether that is done: a store that fails must not end the watch."""
        try:
            await self._in_store("set", self._key(), sorted(fired))
        except Exception as error:
            self.log.warning("What fired cannot be stored just now; it is tried again after the next look: %s", error)
            return False
        return True

    async def _in_store(self, verb: str, *arguments: Any) -> Any:
        """Get or set something in the asset's state store; without a usable one, do nothing."""
        store = getattr(self, "asset_state_store", None)
        if store is None:
            return None
        try:
            if hasattr(store, f"a{verb}"):
                return await getattr(store, f"a{verb}")(*arguments)
            # Airflow 3.3.0 and 3.3.1 have only calls that block.
            return await asyncio.to_thread(getattr(store, verb), *arguments)
        except ValueError as error:
            # Equal watchers of several assets are one trigger to Airflow, and its store cannot tell them apart.
            self.log.warning("What fired is only remembered until the triggerer restarts: %s", error)
            self.asset_state_store = None
            return None


def _payload(row: Observation) -> dict[str, Any]:
    return {
        "dataset_id": row.id,
        "name": row.name,
        "dataset_type": row.dataset_type,
        "validation_status": row.status,
        "num_rows": row.num_rows,
        "size_bytes": row.size_bytes,
        "warnings": row.warnings,
    }
