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


@pytest.fixture(scope="session")
def adversary() -> Iterator[AdversarialServer]:
    with AdversarialServer() as running:
        yield running


@pytest.fixture
def server(adversary: AdversarialServer, connect: Connect) -> Iterator[AdversarialServer]:
    """A server with three datasets, as good as new, behind the default connection."""
    adversary.reset(make_datasets(3))
    connect(host=adversary.url)
    yield adversary
    adversary.check()
