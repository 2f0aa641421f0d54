"""One server for all tests, and a client of either transport."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import replace
from typing import Any, TypeAlias

import pytest

from airflow_provider_cohere_datasets.core.account import Account
from tests.adversary import AdversarialServer, make_datasets
from tests.transport.harness import DRIVERS, KEY, POLICY, Client

#: Makes a client; keywords are fields of ``RequestPolicy``, or ``url``, ``key`` and ``client_name``.
Connect: TypeAlias = Callable[..., Client]

ROWS = make_datasets(3)
#: The dataset that tests ask for.
ID: str = ROWS[0]["id"]
ONE = f"/v1/datasets/{ID}"
LIST = "/v1/datasets"


@pytest.fixture(scope="session")
def running_elsewhere() -> Iterator[AdversarialServer]:
    with AdversarialServer(key=None) as server:
        yield server


@pytest.fixture
def server() -> Iterator[AdversarialServer]:
    """A server with three datasets; a new one for each test, so nothing late can reach it."""
    with AdversarialServer(ROWS) as running:
        yield running


@pytest.fixture
def elsewhere(running_elsewhere: AdversarialServer) -> AdversarialServer:
    """Another server: another origin, which takes any key."""
    running_elsewhere.reset(ROWS, key=None)
    return running_elsewhere


@pytest.fixture
def connector(server: AdversarialServer) -> Iterator[Callable[..., Client]]:
    """Makes clients of any transport and closes them."""
    made: list[Client] = []

    def connect(kind: str, url: str | None = None, key: str = KEY, **values: Any) -> Client:
        names = {name: values.pop(name) for name in ("client_name", "label") if name in values}
        account = Account(url or server.url, key, policy=replace(POLICY, **values), **names)
        made.append(Client(kind, account))
        return made[-1]

    yield connect
    for client in made:
        client.close()


@pytest.fixture(params=list(DRIVERS))
def connect(request: pytest.FixtureRequest, connector: Callable[..., Client]) -> Connect:
    """Makes a client of the transport that this run of the test is about."""
    kind: str = request.param
    return lambda *args, **values: connector(kind, *args, **values)


@pytest.fixture
def client(connect: Connect) -> Client:
    """A client with the usual policy: three tries."""
    return connect()
