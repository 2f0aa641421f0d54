"""The same connections and the same server as for the hook, and the same clock as for the sensor."""

from __future__ import annotations

from tests.hooks.conftest import connect, server
from tests.sensors.conftest import clock
from tests.triggers.triggerer import clients

__all__ = ["clients", "clock", "connect", "server"]
