"""What a reader may ask for: how many rows, of how many on a page, and which."""

from __future__ import annotations

import itertools
from datetime import timedelta
from typing import Any

import numpy
import pytest

from airflow_provider_cohere_datasets.core.errors import CohereInputError
from airflow_provider_cohere_datasets.core.filters import ListFilters, checked_count
from airflow_provider_cohere_datasets.core.paging import ListReport
from tests.adversary import Listing, make_dataset, make_datasets, timestamp
from tests.adversary.rows import EPOCH
from tests.core.paging_tools import Lister, drive, ids_of, once, running_lister

lister = pytest.fixture(scope="module")(running_lister)

ROWS = make_datasets(60)


def second(number: float) -> str:
    """The creation time of a row."""
    return timestamp(EPOCH + timedelta(seconds=number))


@pytest.mark.parametrize("limit", [1, 7, 10, 11, 25, 59, 60])
def test_limit_gives_exactly_so_many_rows(lister: Lister, limit: int) -> None:
    reading = lister.read(ROWS, Listing(cap=10), limit=limit)
    once(reading, [row["id"] for row in reversed(ROWS)][:limit])
    assert reading.report.limited
    assert reading.report.complete
    assert lister.asked[0] == (min(limit, 100), 0)
    assert lister.requests == (1 if limit <= 10 else -(-(limit - 1) // 9))


def test_limit_beyond_the_end_is_no_limit(lister: Lister) -> None:
    reading = lister.read(ROWS, Listing(cap=10), limit=61)
    once(reading, ids_of(ROWS))
    assert not reading.report.limited
    assert lister.asked[0] == (61, 0)


def test_limit_counts_rows_that_match(lister: Lister) -> None:
    """Also where the server ignores the filter, and gives more rows than were asked for."""
    rows = [make_dataset(n, type=("embed-input", "embed-result")[n % 2]) for n in range(60)]
    listing = Listing(default_size=20, ignore_limit=True, ignore_filters={"datasetType"})
    reading = lister.read(rows, listing, limit=12, filters=ListFilters.of(dataset_type="embed-result"))
    once(reading, [row["id"] for row in reversed(rows)][:24:2])
    assert reading.report.limited
    assert lister.requests == 2


@pytest.mark.parametrize("order", ["name", "random-each-request"])
def test_limit_reached_in_a_later_reading(lister: Lister, order: Any) -> None:
    """Also a list that is read more than once stops at the limit."""
    for limit in range(10, 60, 7):
        reading = lister.read(ROWS, Listing(cap=10, order=order, seed=limit), limit=limit)
        assert len(set(reading.ids)) == len(reading.ids) == limit
        assert reading.report.limited


@pytest.mark.parametrize("name", ["page_size", "limit"])
@pytest.mark.parametrize("value", [0, -1, 1.5, "abc", "", "1.5", "-1", "²", "9" * 5000, True, False, [], float("nan")])
def test_numbers_that_are_none(lister: Lister, name: str, value: object) -> None:
    with pytest.raises(CohereInputError, match=name):
        lister.read(ROWS, **{name: value})
    assert lister.requests == 0


def test_numbers_of_numpy_are_numbers(lister: Lister) -> None:
    assert len(lister.read(ROWS, limit=numpy.int64(7), page_size=numpy.int32(5)).ids) == 7


def test_page_size_has_an_upper_bound(lister: Lister) -> None:
    for value in (10_001, 10**9, "1000000000", None):
        with pytest.raises(CohereInputError, match="page_size"):
            lister.read(ROWS, page_size=value)
    assert lister.requests == 0
    assert len(lister.read(ROWS, page_size=10_000, limit=10**9).ids) == 60


def test_numbers_that_templates_rendered(lister: Lister) -> None:
    assert len(lister.read(ROWS, page_size=" 50 ").ids) == 60
    assert {limit for limit, _ in lister.asked} == {50}
    assert len(lister.read(ROWS, page_size="50", limit="7").ids) == 7
    assert lister.asked == [(7, 0)]
    assert checked_count("limit", "12") == 12


def test_empty_window_needs_no_request(lister: Lister) -> None:
    reading = lister.read(ROWS, filters=ListFilters.of(after=second(5), before=second(5)))
    assert reading.ids == []
    (note,) = reading.report.notes
    assert "after and before are the same time" in note
    assert reading.report == ListReport(notes=[note])
    assert lister.requests == 0


@pytest.mark.parametrize("after_inclusive", [True, False])
@pytest.mark.parametrize("before_inclusive", [True, False])
@pytest.mark.parametrize("ignored", [(), ("after",), ("before",), ("after", "before")])
def test_windows_are_half_open(
    lister: Lister, after_inclusive: bool, before_inclusive: bool, ignored: tuple[str, ...]
) -> None:
    listing = Listing(
        cap=10, after_inclusive=after_inclusive, before_inclusive=before_inclusive, ignore_filters=ignored
    )
    reading = lister.read(ROWS, listing, filters=ListFilters.of(after=second(10), before=second(40)))
    once(reading, ids_of(ROWS[10:40]))


def test_adjoining_windows_have_every_dataset_once(lister: Lister) -> None:
    found: list[str | None] = []
    edges = [second(edge) for edge in (-1, 10, 10.000001, 33, 60)]
    for after, before in itertools.pairwise(edges):
        listing = Listing(cap=7, after_inclusive=True, before_inclusive=True)
        found += lister.read(ROWS, listing, filters=ListFilters.of(after=after, before=before)).ids
    assert len(found) == 60
    assert set(found) == ids_of(ROWS)


@pytest.mark.parametrize("ignored", [(), ("datasetType",), ("validationStatus",), ("datasetType", "validationStatus")])
def test_filters_hold_on_every_page(lister: Lister, ignored: tuple[str, ...]) -> None:
    rows = [
        make_dataset(n, type=("embed-input", "embed-result")[n % 2], status=("validated", "failed", "queued")[n % 3])
        for n in range(60)
    ]
    filters = ListFilters.of(dataset_type="embed-result", validation_status="queued")
    reading = lister.read(rows, Listing(cap=4, ignore_filters=ignored), filters=filters)
    once(reading, ids_of(rows[5::6]))
    sent = [(request.param("datasetType"), request.param("validationStatus")) for request in lister.server.requests]
    assert set(sent) == {("embed-result", "queued")}


def test_row_whose_time_cannot_be_read_stays_in_every_window(lister: Lister) -> None:
    rotten = make_dataset(99, created_at="yesterday")
    rows = [*ROWS, rotten]
    window = ListFilters.of(after=second(10), before=second(20))
    reading = lister.read(rows, Listing(cap=7, ignore_filters={"after", "before"}), filters=window)
    once(reading, ids_of(ROWS[10:20]) | {rotten["id"]})


def test_nothing_is_asked_before_the_reading_is_used() -> None:
    """A bad number is found when the reading begins, as everything is."""
    stream = drive(lambda limit, offset: pytest.fail("a request was made"), page_size=0)
    with pytest.raises(CohereInputError):
        next(stream)
