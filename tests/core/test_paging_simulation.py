"""3,000 datasets that come and go with every request, read without any I/O, beside a reader that pages by offset."""

from __future__ import annotations

import random
from collections.abc import Sequence
from dataclasses import dataclass, field

import pytest

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
@pytest.mark.parametrize(("order", "most"), [("newest", 45), ("oldest", 110), ("shuffled", 80)])
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
