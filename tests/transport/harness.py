"""The two transports behind one face, so that each test runs on both; pauses are recorded, not slept."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence
from typing import Any, Protocol, TypeVar

from airflow_provider_cohere_datasets.core import calls
from airflow_provider_cohere_datasets.core.account import Account, RequestPolicy
from airflow_provider_cohere_datasets.core.calls import Call, Flow, Reply, Upload
from airflow_provider_cohere_datasets.core.dataset_page import DatasetPage, read_page
from airflow_provider_cohere_datasets.core.filters import ListFilters
from airflow_provider_cohere_datasets.core.models import Dataset
from airflow_provider_cohere_datasets.core.retries import exchange
from airflow_provider_cohere_datasets.transport.blocking import BlockingTransport
from airflow_provider_cohere_datasets.transport.nonblocking import NonblockingTransport

T = TypeVar("T")

KEY = "test-key"
#: Patient enough for a busy machine; tests of deadlines set their own.
POLICY = RequestPolicy(max_tries=3, connect_timeout=5, read_timeout=5, total_timeout=10, upload_timeout=30)


def highest(_: float, high: float) -> float:
    """Jitter that always takes its upper end, so that pauses show the ceiling."""
    return high


class Driver(Protocol):
    """What both transports can do."""

    def run(self, flow: Flow[T]) -> T:
        """Run a flow to its result."""

    def close(self) -> None:
        """Close the connections."""


class Blocking:
    """Flows in the calling thread."""

    def __init__(self, account: Account, pauses: list[float]) -> None:
        self.transport = BlockingTransport(account, sleep=pauses.append)

    def run(self, flow: Flow[T]) -> T:
        return self.transport.run(flow)

    def close(self) -> None:
        self.transport.close()


class Nonblocking:
    """Flows in an event loop that lives as long as the client, so connections are kept alive."""

    def __init__(self, account: Account, pauses: list[float]) -> None:
        async def sleep(seconds: float) -> None:
            pauses.append(seconds)

        async def build() -> NonblockingTransport:
            return NonblockingTransport(account, sleep=sleep)

        self.runner = asyncio.Runner()
        self.transport = self.runner.run(build())

    def run(self, flow: Flow[T]) -> T:
        return self.runner.run(self.transport.run(flow))

    def close(self) -> None:
        async def leave() -> None:
            async with self.transport:
                pass

        self.runner.run(leave())
        self.runner.close()


DRIVERS: dict[str, Callable[[Account, list[float]], Driver]] = {"blocking": Blocking, "nonblocking": Nonblocking}


class Client:
    """One account on one transport.

    :param kind: the transport, a key of :data:`DRIVERS`
    :param account: where requests go
    """

    def __init__(self, kind: str, account: Account) -> None:
        self.kind = kind
        self.account = account
        #: seconds of every pause that a flow asked for
        self.pauses: list[float] = []
        self.driver = DRIVERS[kind](account, self.pauses)

    def send(self, call: Call, read: Callable[[Call, Reply], T]) -> T:
        return self.driver.run(exchange(call, read, self.account.policy, uniform=highest))

    def get(self, dataset_id: str) -> Dataset:
        return self.send(calls.get_dataset(dataset_id), calls.read_dataset)

    def delete(self, dataset_id: str) -> None:
        return self.send(calls.delete_dataset(dataset_id), calls.read_deleted)

    def usage(self) -> int:
        return self.send(calls.get_usage(), calls.read_usage)

    def page(self, filters: ListFilters | None = None, limit: int = 100, offset: int = 0) -> DatasetPage:
        return self.send(calls.list_datasets(filters or ListFilters(), limit=limit, offset=offset), read_page)

    def check_key(self) -> dict[str, Any]:
        return self.send(calls.check_api_key(), calls.read_key_check)

    def create(self, uploads: Sequence[Upload] = ()) -> str:
        query = [("name", "reviews"), ("type", "embed-input")]
        return self.send(calls.create_dataset(query, uploads), calls.read_created)

    def close(self) -> None:
        self.driver.close()
