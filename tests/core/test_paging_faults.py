"""Pages that the server refuses, loses or spoils in the middle of a list; over HTTP, with a virtual clock."""

from __future__ import annotations

from typing import Any

import pytest

from airflow_provider_cohere_datasets.core import errors, page_requests
from tests.adversary import (
    Answer,
    CutBody,
    Listing,
    Reset,
    Through,
    broken_json,
    error,
    make_dataset,
    make_datasets,
    per_minute,
    per_month,
)
from tests.adversary.spoil import Fault
from tests.core.paging_tools import LIST, POLICY, Lister, ids_of, once, running_lister

lister = pytest.fixture(scope="module")(running_lister)

ROWS = make_datasets(70)
IDS = ids_of(ROWS)


@pytest.mark.parametrize("how", ["422", "413", "429"])
def test_large_limit_is_refused(lister: Lister, how: Any) -> None:
    """The page is halved and the reading goes on; no try and no pause is spent on it."""
    reading = lister.read(ROWS, Listing(reject_limit_above=30, reject_with=how))
    once(reading, IDS)
    assert [limit for limit, _ in lister.asked] == [100, 50, 25, 25, 25, 25, 25]
    assert reading.report.pages == 5
    assert reading.report.complete
    assert not lister.pauses


def test_page_grows_too_large_in_the_middle(lister: Lister) -> None:
    rows = [*make_datasets(40, first=40), *make_datasets(40, samples=["x" * 1000])]
    once(lister.read(rows, Listing(cap=10, max_bytes=12_000)), ids_of(rows))
    limits = [limit for limit, _ in lister.asked]
    assert limits[0] == 100
    assert limits[-1] < 25
    assert not lister.pauses


@pytest.mark.parametrize("fat", [[700], [700, 701], [0, 350, 1999]])
def test_a_few_large_rows_do_not_make_the_rest_of_the_list_slow(lister: Lister, fat: list[int]) -> None:
    rows = [make_dataset(n, samples=["x" * 180_000] if n in fat else ["x"]) for n in range(2000)]
    reading = lister.read(rows, Listing(max_bytes=200_000))
    once(reading, ids_of(rows))
    assert reading.report.complete
    # Without large rows it takes 25, and with pages of one row to the end thousands.
    assert lister.requests < 25 + 150 * len(fat)


def test_a_size_that_is_always_too_large_is_tried_ever_more_seldom(lister: Lister) -> None:
    rows = make_datasets(3000)
    once(lister.read(rows, Listing(reject_limit_above=60, reject_with="413")), ids_of(rows))
    refused = [limit for limit, _ in lister.asked if limit > 60]
    assert 1 < len(refused) <= 5


@pytest.mark.parametrize("limit", [None, 95])
def test_page_grows_too_large_where_the_next_ones_are_asked_for_ahead(
    lister: Lister, limit: int | None, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(page_requests, "_LONG", 0)
    rows = [*make_datasets(40, samples=["x" * 1000]), *make_datasets(60, first=40)]
    reading = lister.read(rows, Listing(cap=10, max_bytes=12_000), limit=limit)
    once(reading, [row["id"] for row in reversed(rows)][:limit])
    assert all(0 <= offset <= len(rows) + 10 for _, offset in lister.asked)


def test_page_of_one_row_is_all_that_works(lister: Lister) -> None:
    once(lister.read(ROWS[:5], Listing(reject_limit_above=1, reject_with="413")), ids_of(ROWS[:5]))
    assert [limit for limit, _ in lister.asked][:7] == [100, 50, 25, 12, 6, 3, 1]
    assert lister.requests < 40


def test_page_of_one_row_is_too_large(lister: Lister) -> None:
    with pytest.raises(errors.CoherePageTooLargeError):
        lister.read(ROWS, Listing(max_bytes=10))
    assert [limit for limit, _ in lister.asked] == [100, 50, 25, 12, 6, 3, 1]


@pytest.mark.parametrize(
    "fault", [error(503), error(500), per_minute(), Reset(), CutBody(), CutBody(chunked=True), broken_json()]
)
def test_fault_that_passes(lister: Lister, fault: Fault) -> None:
    """The same page is asked for again, and nothing is lost or doubled."""
    lister.server.reset(ROWS, Listing(cap=20))
    lister.server.script("GET", LIST, [Through(), fault, fault, Through(), Through(), fault])
    once(lister.read_again(), IDS)
    assert [offset for _, offset in lister.asked] == [0, 18, 18, 18, 36, 54, 54, 69, 70]
    assert len(lister.pauses) == 3
    assert lister.pauses[0] <= POLICY.backoff_base
    assert lister.pauses[1] <= 2 * POLICY.backoff_base


def test_wait_that_the_server_asks_for(lister: Lister) -> None:
    lister.server.reset(ROWS, Listing(cap=20))
    lister.server.script("GET", LIST, [Through(), per_minute(retry_after="7")])
    once(lister.read_again(), IDS)
    assert len(lister.pauses) == 1
    assert 7 <= lister.pauses[0] <= 8


@pytest.mark.parametrize(
    ("fault", "kind", "requests"),
    [
        (error(503), errors.CohereServerError, 5),
        (Reset(), errors.CohereTransportError, 5),
        (broken_json(), errors.CohereUnexpectedAnswerError, 5),
        (error(403), errors.CoherePermissionError, 3),
        (per_month(), errors.CohereQuotaError, 3),
    ],
)
def test_fault_that_stays(lister: Lister, fault: Fault, kind: type[errors.CohereDatasetsError], requests: int) -> None:
    """What came before was handed on, and the error comes through: never an end that is none."""
    lister.server.reset(ROWS, Listing(cap=20))
    lister.server.script("GET", LIST, [Through(), Through(), fault], repeat=True)
    with pytest.raises(kind):
        lister.read_again()
    assert lister.requests == requests
    assert set(lister.reading.ids) == {row["id"] for row in list(reversed(ROWS))[:38]}


@pytest.mark.parametrize("body", [{"message": "no"}, {"datasets": {"a": 1}}, {"datasets": "[]"}, [], None, "{}"])
def test_answer_that_is_no_list_is_not_taken_for_the_end(lister: Lister, body: object) -> None:
    lister.server.reset(ROWS, Listing(cap=20))
    lister.server.script("GET", LIST, [Through(), Answer(json=body)], repeat=True)
    with pytest.raises(errors.CohereUnexpectedAnswerError):
        lister.read_again()
    assert lister.requests == 1 + POLICY.max_tries
    assert len(lister.reading.ids) == 20


def test_chaos(lister: Lister) -> None:
    """A quarter of all requests fails in one of eight ways."""
    rows = make_datasets(300)
    for seed in range(3):
        lister.server.reset(rows, Listing(cap=20))
        lister.server.chaos(0.25, seed, in_a_row=2)
        once(lister.read_again(), ids_of(rows))


@pytest.mark.parametrize("false", [{}, {"datasets": []}])
@pytest.mark.parametrize(("size", "cap"), [(5, 1), (30, 2), (30, 3), (30, 10), (30, 50)])
def test_one_false_end_does_not_end_a_list(lister: Lister, size: int, cap: int, false: dict[str, Any]) -> None:
    rows = ROWS[:size]
    ends = lister.read(rows, Listing(cap=cap)).report.pages
    for place in range(ends):
        lister.server.reset(rows, Listing(cap=cap))
        lister.server.script("GET", LIST, [*[Through()] * place, Answer(json=false)])
        once(lister.read_again(), ids_of(rows))
