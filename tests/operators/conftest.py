"""The same connections and the same server as for the hook."""

from __future__ import annotations

from tests.hooks.conftest import adversary, connect, server

__all__ = ["adversary", "connect", "server"]
