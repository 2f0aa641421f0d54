"""3,000 datasets that come and go with every request, read without any I/O, beside a reader that pages by offset."""

from __future__ import annotations

import contextlib
import itertools
import random
from collections.abc import Sequence
from dataclasses import dataclass, field

import pytest

from airflow_provider_cohere_datasets.core.errors import CohereListingError, CoherePageTooLargeError
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

    :param order: where new rows come in: ``newest`` first, ``oldest`` first, or ``shuffled``; ``random`` is another
        order for each request
    :param moves: how many rows move to the head with every request, fractions by chance
    :param ragged: whether pages have any length up to the cap
    """

    order: str
    creates: int
    deletes: float
    seed: int
    moves: float = 0
    size: int = ROWS
    cap: int = CAP
    ragged: bool = False
    requests: int = 0
    rows: list[int] = field(default_factory=list)

    def __post_init__(self) -> None:
        self.rng = random.Random(self.seed)
        self.rows = list(range(self.size))
        self.number = self.size
        if self.order == "newest":
            self.rows.reverse()
        if self.order == "shuffled":
            self.rng.shuffle(self.rows)

    def page(self, limit: int, offset: int) -> SimulatedPage:
        """Answer one request."""
        self.requests += 1
        if self.order == "random":
            self.rng.shuffle(self.rows)
        page = self.rows[offset : offset + min(limit, self.rng.randint(1, self.cap) if self.ragged else self.cap)]
        for _ in range(min(self._times(self.deletes), len(self.rows))):
            self.rows.pop(self.rng.randrange(len(self.rows)))
        for _ in range(self._times(self.moves)):
            self.rows.insert(0, self.rows.pop(self.rng.randrange(len(self.rows))))
        for _ in range(self.creates):
            place = {"newest": 0, "oldest": len(self.rows)}.get(self.order)
            self.rows.insert(self.rng.randrange(len(self.rows) + 1) if place is None else place, self.number)
            self.number += 1
        return SimulatedPage(page)

    def _times(self, rate: float) -> int:
        return int(rate) + (self.rng.random() < rate % 1)

    def lost(self, ids: set[str]) -> int:
        """Count the rows that lived through the run and are not among these."""
        return sum(row < self.size and str(row) not in ids for row in self.rows)


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


@pytest.mark.parametrize(("size", "cap"), [(400, 10), (1000, 20)])
def test_a_list_that_holds_still_may_be_ragged_and_without_order(size: int, cap: int) -> None:
    for seed in range(3):
        lost, report = read(SimulatedList("random", 0, 0, seed, size=size, cap=cap, ragged=True))
        assert (lost, report.complete) == (0, True)


@pytest.mark.parametrize("creates", [1, 2, 4, 8])
def test_a_list_that_only_grows_at_its_head_is_not_complained_of(creates: int) -> None:
    """Not even if a whole page of new rows stands there at the end, of which none is known."""
    for seed in range(3):
        simulated = SimulatedList("newest", creates, 0, seed)
        lost, report = read(simulated)
        assert (lost, report.complete, report.notes) == (0, True, [])
        assert simulated.requests <= FEWEST * 1.5


@pytest.mark.parametrize(
    ("size", "cap", "creates", "deletes", "moves", "ragged"),
    [
        (ROWS, CAP, 0, 0, 5, False),
        (300, 20, 0, 0, 5, False),
        (ROWS, CAP, 1, 1, 2, False),
        # A short list, which is shorter at the end than the rows that were read.
        (1000, 100, 0, 2, 0.3, False),
        # Where a page at the head shows only what came in a moment ago.
        (8000, 100, 10, 0, 0.1, True),
    ],
)
def test_rows_that_move_to_the_head_are_found_or_it_is_told(
    size: int, cap: int, creates: int, deletes: float, moves: float, ragged: bool
) -> None:
    for seed in range(20):
        with contextlib.suppress(CohereListingError):
            lost, report = read(SimulatedList("newest", creates, deletes, seed, moves, size, cap, ragged))
            assert lost == 0 or report.notes


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
