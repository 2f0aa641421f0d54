"""The same connections and the same server as for the hook."""

from __future__ import annotations

from tests.hooks.conftest import connect, server

__all__ = ["connect", "server"]
