"""Reads lists for the tests of paging: over HTTP from the adversarial server, or without any I/O."""

from __future__ import annotations

from collections.abc import Callable, Generator, Iterable, Iterator
from dataclasses import dataclass, field
from types import TracebackType
from typing import Any

from airflow_provider_cohere_datasets.core.account import Account, RequestPolicy
from airflow_provider_cohere_datasets.core.calls import Call, Pause, Reply
from airflow_provider_cohere_datasets.core.dataset_page import DatasetPage, read_page
from airflow_provider_cohere_datasets.core.filters import ListFilters
from airflow_provider_cohere_datasets.core.page import Page
from airflow_provider_cohere_datasets.core.paging import ListReport, list_pages
from airflow_provider_cohere_datasets.transport.blocking import BlockingTransport
from tests.adversary import AdversarialServer, Listing
from tests.adversary.rows import Row

LIST = "/v1/datasets"
KEY = "test-key"
#: Patient enough for a busy machine.
POLICY = RequestPolicy(max_tries=3, connect_timeout=5, read_timeout=5, total_timeout=10)


@dataclass
class Reading:
    """What came of reading a list.

    :param ids: of the rows handed on, in order; rows without an id cannot be among them
    :param sizes: rows of every page handed on
    :param report: what the pager says of it
    """

    ids: list[str | None] = field(default_factory=list)
    sizes: list[int] = field(default_factory=list)
    report: ListReport = field(default_factory=ListReport)


class Lister:
    """One server, and one client of it with a virtual clock. Each reading starts with a new list."""

    def __init__(self) -> None:
        self.server = AdversarialServer()
        #: seconds of every pause that the reading asked for
        self.pauses: list[float] = []
        #: what was handed on, also when the reading failed
        self.reading = Reading()

    def __enter__(self) -> Lister:
        self.server.__enter__()
        self.transport = BlockingTransport(Account(self.server.url, KEY, policy=POLICY), sleep=self.pauses.append)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, value: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.transport.close()
        self.server.__exit__(kind, value, trace)

    def read(self, rows: Iterable[Row], listing: Listing | None = None, **options: Any) -> Reading:
        """Read a new list; the options are those of ``list_pages``."""
        self.server.reset(rows, listing)
        return self.read_again(**options)

    def read_again(self, filters: ListFilters | None = None, **options: Any) -> Reading:
        """Read the list as it is now."""
        self.pauses.clear()
        self.server.requests.clear()
        self.reading = Reading()
        flow = list_pages(read_page, filters=filters or ListFilters(), policy=POLICY, **options)
        stream = self.transport.stream(flow)
        while True:
            try:
                page: DatasetPage = next(stream)
            except StopIteration as stop:
                self.reading.report = stop.value
                self.server.check()
                assert self.reading.report.rows == len(self.reading.ids)
                return self.reading
            assert page.rows, "an empty page was handed on"
            self.reading.ids += page.ids
            self.reading.sizes.append(len(page.ids))

    @property
    def requests(self) -> int:
        """Requests that the server received."""
        return self.server.count("GET", LIST)

    @property
    def asked(self) -> list[tuple[int, int]]:
        """Limit and offset of every request that the server received."""
        return [
            (int(request.param("limit") or 0), int(request.param("offset") or 0))
            for request in self.server.matching("GET", LIST)
        ]


def running_lister() -> Iterator[Lister]:
    """Make a lister; to be made a fixture of a module."""
    with Lister() as lister:
        yield lister


def ids_of(rows: Iterable[Row]) -> set[str]:
    """Give the ids of rows."""
    return {row["id"] for row in rows}


def once(reading: Reading, wanted: Iterable[str]) -> None:
    """Check that a reading has every one of these ids exactly once, and nothing else."""
    wanted = set(wanted)
    assert len(reading.ids) == len(set(reading.ids)), "a dataset was handed on twice"
    assert set(reading.ids) == wanted


def drive(
    answer: Callable[[int, int], Page], *, filters: ListFilters | None = None, **options: Any
) -> Generator[Page, None, ListReport]:
    """Run the pager without I/O: pages come from a function of limit and offset."""

    def read(call: Call, reply: Reply) -> Page:
        query = dict(call.query)
        return answer(int(query["limit"]), int(query["offset"]))

    flow = list_pages(read, filters=filters or ListFilters(), policy=POLICY, **options)
    outcome: Reply | float | None = None
    while True:
        try:
            step = flow.send(outcome)
        except StopIteration as stop:
            report: ListReport = stop.value
            return report
        outcome = None
        if isinstance(step, Call):
            outcome = Reply(step.target, 200)
        elif isinstance(step, Pause):
            outcome = 0.0
        else:
            yield step
