"""One server for all the tests of the server."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.adversary import AdversarialServer, make_datasets


@pytest.fixture(scope="session")
def running() -> Iterator[AdversarialServer]:
    with AdversarialServer() as server:
        yield server


@pytest.fixture
def server(running: AdversarialServer) -> AdversarialServer:
    """A server with 30 datasets, as good as new."""
    running.reset(make_datasets(30))
    return running
