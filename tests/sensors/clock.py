"""A clock that jumps: whoever sleeps has slept."""

from __future__ import annotations

import asyncio
import time
from datetime import UTC, datetime
from importlib import import_module
from types import SimpleNamespace

import pytest

from tests.versions import AIRFLOW

_sleep = asyncio.sleep


class VirtualClock:
    """The time in seconds since 1970, and everything of Python and Airflow that waits by it.

    Only clocks and sleeps are replaced. A limit of ``asyncio.timeout`` expires at its virtual time, through the
    real one.
    """

    def __init__(self) -> None:
        self.start = 1_800_000_000.0
        self.now = self.start
        #: Seconds of each sleep.
        self.slept: list[float] = []
        #: When the task was first started, as Airflow's database has it; ``None`` if it was not rescheduled yet.
        self.first_start: datetime | None = None
        self._limits: list[tuple[float, asyncio.Timeout]] = []

    @property
    def elapsed(self) -> float:
        """Seconds since the beginning."""
        return self.now - self.start

    def time(self) -> float:
        return self.now

    def utcnow(self) -> datetime:
        return datetime.fromtimestamp(self.now, UTC)

    def sleep(self, seconds: float) -> None:
        self.slept.append(seconds)
        self.now += seconds

    async def sleep_async(self, seconds: float) -> None:
        """Sleep; limits that lie in between expire in their turn."""
        # Others of the loop see each tick before the next one.
        for _ in range(20):
            await _sleep(0)
        until = self.now + seconds
        self.slept.append(seconds)
        while due := [limit for limit in self._limits if limit[0] <= until]:
            first = min(due, key=lambda limit: limit[0])
            self._limits.remove(first)
            self.now = max(self.now, first[0])
            first[1].reschedule(asyncio.get_running_loop().time())
            await _sleep(0.001)
        self.now = until

    def timeout(self, seconds: float) -> asyncio.Timeout:
        if seconds <= 0:
            return asyncio.timeout(0)
        limit = asyncio.timeout(None)
        self._limits.append((self.now + seconds, limit))
        return limit

    def forget_limits(self) -> None:
        """Forget limits of waits that are over."""
        self._limits.clear()

    def install(self, monkeypatch: pytest.MonkeyPatch) -> None:
        """Put the clock in the place of the real one."""
        from airflow.providers.common.compat.sdk import BaseSensorOperator

        from airflow_provider_cohere_datasets.sensors import datasets as sensors
        from airflow_provider_cohere_datasets.transport.blocking import BlockingTransport
        from airflow_provider_cohere_datasets.transport.nonblocking import NonblockingTransport
        from airflow_provider_cohere_datasets.triggers import datasets as triggers
        from airflow_provider_cohere_datasets.triggers import events, polling

        base = import_module(BaseSensorOperator.__module__)
        times = SimpleNamespace(time=self.time, monotonic=self.time, sleep=self.sleep, strftime=time.strftime)
        for module in (base, sensors, triggers, polling, events):
            monkeypatch.setattr(module, "time", times)
        monkeypatch.setattr(base, "timezone", SimpleNamespace(utcnow=self.utcnow))
        if AIRFLOW < (3, 0):  # asks the database itself
            monkeypatch.setattr(base, "_orig_start_date", lambda **_: self.first_start)
        monkeypatch.setattr(polling, "asyncio", SimpleNamespace(sleep=self.sleep_async))
        monkeypatch.setattr(events, "asyncio", SimpleNamespace(sleep=self.sleep_async, to_thread=asyncio.to_thread))
        monkeypatch.setattr(triggers, "asyncio", SimpleNamespace(timeout=self.timeout))
        for transport, sleep in ((BlockingTransport, self.sleep), (NonblockingTransport, self.sleep_async)):
            defaults = transport.__init__.__kwdefaults__
            monkeypatch.setitem(defaults, "sleep", sleep)
            monkeypatch.setitem(defaults, "clock", self.time)
