"""3,000 datasets that come and go with every request, read without any I/O, beside a reader that pages by offset."""

from __future__ import annotations

import itertools
import random
from collections.abc import Sequence
from dataclasses import dataclass, field

import pytest

from airflow_provider_cohere_datasets.core.errors import CoherePageTooLargeError
from airflow_provider_cohere_datasets.core.paging import ListReport
from tests.core.paging_tools import drive

ROWS, CAP = 3000, 100
FEWEST = ROWS // CAP


@dataclass(frozen=True)
class SimulatedPage:
    """Rows are numbers; a larger one was created later."""

    rows: Sequence[int]

    @property
    def ids(self) -> Sequence[str | None]:
        return [str(row) for row in self.rows]

    @property
    def created(self) -> Sequence[int | None]:
        return self.rows

    def texts(self, name: str) -> Sequence[str | None]:
        return [None for _ in self.rows]

    def take(self, positions: Sequence[int]) -> SimulatedPage:
        return SimulatedPage([self.rows[position] for position in positions])


@dataclass
class SimulatedList:
    """A list in which so many rows are created and deleted with every request.

    :param order: where new rows come in: ``newest`` first, ``oldest`` first, or ``shuffled``
    """

    order: str
    creates: int
    deletes: int
    seed: int
    requests: int = 0
    rows: list[int] = field(default_factory=list)

    def __post_init__(self) -> None:
        self.rng = random.Random(self.seed)
        self.rows = list(range(ROWS))
        self.number = ROWS
        if self.order == "newest":
            self.rows.reverse()
        if self.order == "shuffled":
            self.rng.shuffle(self.rows)

    def page(self, limit: int, offset: int) -> SimulatedPage:
        """Answer one request."""
        self.requests += 1
        page = self.rows[offset : offset + min(limit, CAP)]
        for _ in range(min(self.deletes, len(self.rows))):
            self.rows.pop(self.rng.randrange(len(self.rows)))
        for _ in range(self.creates):
            place = {"newest": 0, "oldest": len(self.rows)}.get(self.order)
            self.rows.insert(self.rng.randrange(len(self.rows) + 1) if place is None else place, self.number)
            self.number += 1
        return SimulatedPage(page)

    def lost(self, ids: set[str]) -> int:
        """Count the rows that lived through the run and are not among these."""
        return sum(row < ROWS and str(row) not in ids for row in self.rows)


def read(simulated: SimulatedList) -> tuple[int, ListReport]:
    """Read with the pager; return the number of lost rows, and the report."""
    found: list[str | None] = []
    stream = drive(simulated.page)
    while True:
        try:
            found += next(stream).ids
        except StopIteration as stop:
            assert len(found) == len(set(found)), "a row was handed on twice"
            return simulated.lost({str(each) for each in found}), stop.value


def read_by_offset(simulated: SimulatedList) -> int:
    """Read as plain offset paging does; return the number of lost rows."""
    found: set[str] = set()
    offset = 0
    while ids := simulated.page(CAP, offset).ids:
        found.update(str(each) for each in ids)
        offset += len(ids)
    return simulated.lost(found)


@pytest.mark.parametrize("rows_per_request", [1, 5, 20])
@pytest.mark.parametrize(("order", "most"), [("newest", 50), ("oldest", 110), ("shuffled", 80)])
def test_nobody_is_lost_where_plain_paging_loses(order: str, most: int, rows_per_request: int) -> None:
    lost, lost_by_offset, requests, requests_by_offset = 0, 0, [], []
    for seed in range(5):
        ours = SimulatedList(order, rows_per_request, rows_per_request, seed)
        missing, report = read(ours)
        lost += missing
        requests.append(ours.requests)
        assert report.complete
        plain = SimulatedList(order, rows_per_request, rows_per_request, seed)
        lost_by_offset += read_by_offset(plain)
        requests_by_offset.append(plain.requests)
    print(
        f"{order}, {rows_per_request} creates and deletes a request: lost {lost} in {max(requests)} requests; "
        f"plain offset paging lost {lost_by_offset} in {max(requests_by_offset)}; at least {FEWEST} are needed"
    )
    assert lost == 0
    assert max(requests) <= most
    if order != "newest":  # What comes in at the head there makes up for what is deleted behind the reader.
        assert lost_by_offset > 0


@pytest.mark.parametrize("order", ["newest", "oldest", "shuffled"])
@pytest.mark.parametrize("deletes", [1, 5, 20])
def test_nobody_is_lost_where_rows_only_vanish(order: str, deletes: int) -> None:
    lost = lost_by_offset = 0
    for seed in range(5):
        ours, plain = SimulatedList(order, 0, deletes, seed), SimulatedList(order, 0, deletes, seed)
        lost += read(ours)[0]
        assert ours.requests <= 80
        lost_by_offset += read_by_offset(plain)
    print(f"{order}, {deletes} deletes a request: lost {lost}; plain offset paging lost {lost_by_offset}")
    assert lost == 0 < lost_by_offset


@pytest.mark.parametrize("seed", range(60))
def test_a_stretch_of_single_rows_is_no_proof(seed: int) -> None:
    """Around one row that is nearly too large, pages have one row and share none; then rows move unseen."""
    rng = random.Random(seed)
    rows = list(range(400, 0, -1))
    large, numbers = rows[150], itertools.count(401)

    def answer(limit: int, offset: int) -> SimulatedPage:
        if rng.random() < 0.15:
            rows.pop(rng.randrange(max(1, min(offset, len(rows)))))
        if rng.random() < 0.15:
            rows.insert(0, next(numbers))
        page = rows[offset : offset + limit]
        if large in page and len(page) > 1:
            raise CoherePageTooLargeError("too large")
        return SimulatedPage(page)

    found: set[int] = set()
    stream = drive(answer, page_size=50, require_complete=False)
    while True:
        try:
            found.update(next(stream).rows)
        except StopIteration as stop:
            report: ListReport = stop.value
            break
    assert not report.complete or not {row for row in rows if row <= 400} - found
