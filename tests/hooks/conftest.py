"""Connections out of the environment, and a server that misbehaves on demand."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from typing import Any

import pytest

from tests.adversary import AdversarialServer, make_datasets

KEY = "test-key"
Connect = Callable[..., str]


@pytest.fixture
def connect(monkeypatch: pytest.MonkeyPatch) -> Connect:
    """Store a connection that never waits between tries; return its id."""

    def store(conn_id: str = "cohere_default", **fields: Any) -> str:
        connection = {"conn_type": "cohere_datasets", "password": KEY, "extra": {"backoff_base": 0}, **fields}
        monkeypatch.setenv(f"AIRFLOW_CONN_{conn_id.upper()}", json.dumps(connection))
        return conn_id

    return store


@pytest.fixture
def server(connect: Connect) -> Iterator[AdversarialServer]:
    """A server with three datasets behind the default connection; a new one, so nothing late can reach it."""
    with AdversarialServer(make_datasets(3)) as running:
        connect(host=running.url)
        yield running
