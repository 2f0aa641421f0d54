"""The same connections and the same server as for the hook, and a clock that nobody has to wait for."""

from __future__ import annotations

import pytest

from tests.hooks.conftest import connect, server
from tests.sensors.clock import VirtualClock

__all__ = ["clock", "connect", "server"]


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> VirtualClock:
    """The time of the sensor, of its trigger and of both transports."""
    clock = VirtualClock()
    clock.install(monkeypatch)
    return clock
