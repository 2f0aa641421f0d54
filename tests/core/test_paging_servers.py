"""Every dataset once, from servers that page in every way the documentation leaves open; over HTTP."""

from __future__ import annotations

import random
from collections.abc import Callable
from typing import Any

import pytest

from airflow_provider_cohere_datasets.core import page_requests
from airflow_provider_cohere_datasets.core.errors import CohereListingError
from tests.adversary import Churn, Listing, Model, make_dataset, make_datasets
from tests.core.paging_tools import Lister, ids_of, once, running_lister

lister = pytest.fixture(scope="module")(running_lister)

ROWS = make_datasets(250)
IDS = ids_of(ROWS)
ROWS_OF_LARGE_PAGES = make_datasets(3500)


@pytest.mark.parametrize(
    ("size", "requests"), [(0, 2), (1, 4), (3, 3), (99, 3), (100, 3), (101, 4), (200, 5), (250, 5), (1000, 13)]
)
def test_well_behaved_server_costs_few_requests(lister: Lister, size: int, requests: int) -> None:
    rows = make_datasets(size)
    reading = lister.read(rows, Listing(cap=100))
    once(reading, ids_of(rows))
    assert lister.requests == reading.report.pages == requests
    assert reading.report.complete
    assert not reading.report.limited
    assert not reading.report.notes
    assert not lister.pauses


def test_large_pages_share_few_rows(lister: Lister) -> None:
    once(lister.read(ROWS_OF_LARGE_PAGES, Listing(cap=1000), page_size=1000), ids_of(ROWS_OF_LARGE_PAGES))
    assert [offset for _, offset in lister.asked] == [0, 975, 1950, 2925, 3475, 3500]


@pytest.mark.parametrize("vanished", [20, 25, 40, 300])
def test_more_rows_vanish_than_large_pages_share(lister: Lister, vanished: int) -> None:
    churn = Churn(random.Random(3), 0, vanished, "read")
    reading = lister.read(ROWS_OF_LARGE_PAGES, Listing(cap=1000, order="oldest", between=churn), page_size=1000)
    assert len(reading.ids) == len(set(reading.ids))
    assert lister.server.model.survivors() <= set(reading.ids)
    assert lister.requests < 30


@pytest.mark.parametrize("size", [0, 3])
@pytest.mark.parametrize("empty_as", ["list", "null", "missing"])
def test_no_rows_in_any_spelling(lister: Lister, empty_as: Any, size: int) -> None:
    once(lister.read(make_datasets(size), Listing(empty_as=empty_as)), ids_of(make_datasets(size)))
    assert lister.requests == (3 if size else 2)


@pytest.mark.parametrize("cap", [2, 3, 7, 99, 100, 249, 250])
def test_limit_that_is_clamped_in_silence(lister: Lister, cap: int) -> None:
    reading = lister.read(ROWS, Listing(cap=cap), page_size=1000)
    once(reading, IDS)
    assert {limit for limit, _ in lister.asked} == {1000}
    assert lister.requests <= 3 + 2.5 * 250 / cap


def test_pages_of_one_row(lister: Lister) -> None:
    once(lister.read(ROWS[:30], Listing(cap=1)), ids_of(ROWS[:30]))
    assert lister.requests < 30 * 6


def test_small_default_where_limit_is_ignored(lister: Lister) -> None:
    once(lister.read(ROWS, Listing(default_size=20, ignore_limit=True)), IDS)
    assert lister.requests <= 250 // 18 + 4


@pytest.mark.parametrize("seed", range(4))
def test_short_pages_in_the_middle(lister: Lister, seed: int) -> None:
    once(lister.read(ROWS, Listing(cap=50, short_pages=0.5, seed=seed)), IDS)
    assert lister.requests < 40


def test_every_page_is_short(lister: Lister) -> None:
    once(lister.read(ROWS, Listing(cap=50, short_pages=1.0)), IDS)


@pytest.mark.parametrize("order", ["newest", "oldest", "name", "id", "status", "shuffled-once"])
def test_any_order_that_holds_still(lister: Lister, order: Any) -> None:
    mixed = [make_dataset(n, status=("validated", "failed", "queued")[n % 3]) for n in range(250)]
    reading = lister.read(mixed, Listing(cap=100, order=order))
    once(reading, IDS)
    assert reading.report.complete
    assert not reading.report.notes
    # A short list in an order that is not of time is read twice again.
    assert lister.requests <= (5 if order in {"newest", "oldest"} else 13)


@pytest.mark.parametrize("size", [30, 250])
def test_random_order_is_read_until_nothing_new_comes(lister: Lister, size: int) -> None:
    rows = make_datasets(size)
    reading = lister.read(rows, Listing(cap=100, order="random-each-request"))
    once(reading, ids_of(rows))
    assert lister.requests < 120


def test_random_order_in_which_new_rows_come_for_ever_is_reported(lister: Lister) -> None:
    def listing() -> Listing:
        churn = Churn(random.Random(1), inserts_per_request=3, deletes_per_request=3)
        return Listing(cap=10, order="random-each-request", between=churn)

    with pytest.raises(CohereListingError, match="could not be proved complete"):
        lister.read(make_datasets(60), listing())
    assert len(lister.reading.ids) == len(set(lister.reading.ids))
    reading = lister.read(make_datasets(60), listing(), require_complete=False)
    assert not reading.report.complete
    assert reading.report.notes
    assert len(reading.ids) == len(set(reading.ids))
    assert lister.requests < 600


@pytest.mark.parametrize("ties", [2, 50, 250])
@pytest.mark.parametrize("order", ["newest", "oldest"])
def test_equal_times_across_a_page_edge(lister: Lister, order: Any, ties: int) -> None:
    rows = make_datasets(250, ties=ties)
    once(lister.read(rows, Listing(cap=100, order=order)), ids_of(rows))
    assert lister.requests <= 13


@pytest.mark.parametrize("ties", [5, 50, 250])
def test_equal_times_in_another_order_in_every_answer(lister: Lister, ties: int) -> None:
    rows = make_datasets(250, ties=ties)
    once(lister.read(rows, Listing(cap=100, unstable_ties=True)), ids_of(rows))


def test_equal_times_hide_that_the_order_is_random(lister: Lister) -> None:
    """The few rows of the second page may be in the right order by chance, and the times do not tell."""
    for seed in range(30):
        churn = Churn(random.Random(seed), inserts_per_request=0, deletes_per_request=8)
        listing = Listing(cap=38, order="random-each-request", between=churn, seed=seed)
        reading = lister.read(make_datasets(46, ties=200), listing)
        assert not lister.server.model.survivors() - set(reading.ids)


@pytest.mark.parametrize("share", [0.05, 0.5, 1.0])
@pytest.mark.parametrize("size", [30, 250])
def test_repeated_ids_are_handed_on_once(lister: Lister, share: float, size: int) -> None:
    rows = make_datasets(size)
    once(lister.read(rows, Listing(cap=100, repeat_ids=share)), ids_of(rows))


def test_repeated_ids_on_one_page(lister: Lister) -> None:
    once(lister.read([*ROWS[:3], *ROWS[:3]], Listing()), ids_of(ROWS[:3]))


def test_offset_is_ignored(lister: Lister) -> None:
    with pytest.raises(CohereListingError, match="ignores offset"):
        lister.read(ROWS, Listing(cap=100, ignore_offset=True))
    assert lister.requests == 4


def test_offset_is_ignored_and_pages_have_one_row(lister: Lister) -> None:
    """One row is what was asked for, so it must not pass for a list of one."""
    with pytest.raises(CohereListingError, match="ignores offset"):
        lister.read(ROWS, Listing(ignore_offset=True), page_size=1)
    assert lister.requests == 4


def test_limit_and_offset_are_ignored(lister: Lister) -> None:
    reading = lister.read(ROWS, Listing(default_size=None, ignore_limit=True, ignore_offset=True))
    once(reading, IDS)
    assert lister.requests == 4
    assert reading.report.complete
    assert [note for note in reading.report.notes if "ignores limit and offset" in note]


@pytest.mark.parametrize("numbers", [(0, 0), (0, 0, 0), (2, 0, 1), (1, 3, 2, 0), tuple(range(40))])
def test_one_fixed_answer_is_the_whole_list_in_any_order_of_time(lister: Lister, numbers: tuple[int, ...]) -> None:
    rows = [{**row, "created_at": ROWS[number]["created_at"]} for row, number in zip(ROWS, numbers, strict=False)]
    reading = lister.read(rows, Listing(order="name", default_size=None, ignore_limit=True, ignore_offset=True))
    once(reading, ids_of(rows))
    assert reading.report.complete
    assert lister.requests <= 4


def test_one_fixed_answer_in_which_a_row_stands_twice(lister: Lister) -> None:
    rows = [ROWS[0], ROWS[1], ROWS[0]]
    reading = lister.read(rows, Listing(default_size=None, ignore_limit=True, ignore_offset=True))
    once(reading, ids_of(rows))
    assert lister.requests <= 4


def test_limit_and_offset_are_ignored_by_a_server_with_one_dataset(lister: Lister) -> None:
    reading = lister.read(ROWS[:1], Listing(ignore_limit=True, ignore_offset=True))
    once(reading, ids_of(ROWS[:1]))
    assert lister.requests == 4
    assert reading.report.notes


def churned(name: str) -> Callable[[Model], None]:
    inserts, deletes, where = {
        "inserts": (1, 0, "any"),
        "inserts at the head": (1, 0, "head"),
        "deletes": (0, 5, "any"),
        "deletes at the head": (0, 5, "head"),
        "deletes of what was read": (0, 12, "read"),
        "mass deletes of what was read": (0, 60, "read"),
        "both": (5, 5, "any"),
        "both in what was read": (2, 20, "read"),
    }[name]
    return Churn(random.Random(7), inserts, deletes, where)  # type: ignore[arg-type]


@pytest.mark.parametrize("order", ["newest", "oldest", "name"])
@pytest.mark.parametrize(
    "churn",
    [
        "inserts",
        "inserts at the head",
        "deletes",
        "deletes at the head",
        "deletes of what was read",
        "mass deletes of what was read",
        "both",
        "both in what was read",
    ],
)
def test_rows_come_and_go_between_pages(lister: Lister, order: Any, churn: str) -> None:
    """More than ten pages of each list, so that nothing is won by reading it often."""
    reported = False
    try:
        lister.read(make_datasets(1200), Listing(cap=100, order=order, between=churned(churn)))
    except CohereListingError:
        reported = True
    ids, model = lister.reading.ids, lister.server.model
    assert len(ids) == len(set(ids)), "a dataset was handed on twice"
    assert not model.survivors() - set(ids), "a dataset was lost"
    assert not set(ids) - model.ever()
    # This one deletes so fast that a short list is left, which then is read again and again, and still grows.
    assert not reported or churn == "both in what was read"
    assert lister.requests < (200 if reported else 60)


@pytest.mark.parametrize("moves", [13, 10_000])
def test_rows_that_move_to_where_was_read_already(lister: Lister, moves: int) -> None:
    """A list by status: a dataset whose status changes moves to another place, most often behind the reader.

    With the first 13 requests they move while the list is read for the first time; the second time finds them. If
    rows that were not read move for ever, that is reported.
    """
    rng = random.Random(5)
    statuses = ("failed", "processing", "unknown", "validated")
    rows = [make_dataset(n, status=statuses[rng.randrange(4)]) for n in range(1200)]
    pages = 0

    def between(model: Model) -> None:
        nonlocal pages
        pages += 1
        ahead = [row for row in model.datasets if row["id"] not in model.served]
        if ahead and pages <= moves:
            rng.choice(ahead)["validation_status"] = rng.choice(["failed", "processing"])
            model.delete(rng.choice([row for row in model.datasets if row["id"] in model.served])["id"])

    reading = lister.read(rows, Listing(cap=100, order="status", between=between))
    missing = lister.server.model.survivors() - set(reading.ids)
    assert reading.report.notes
    assert len(missing) == 0 if moves == 13 else len(missing) < 5
    assert lister.requests < 40


@pytest.mark.parametrize("limit", [None, 1199])
def test_rows_that_move_to_the_head_of_a_long_list(lister: Lister, limit: int | None) -> None:
    """A list by the time of the last change, which nobody can tell from one by that of the creation."""
    rows = [make_dataset(n, name=f"{9999 - n}") for n in range(1200)]
    moved: list[str] = []

    def between(model: Model) -> None:
        ahead = [row for row in model.datasets if row["id"] not in model.served]
        if model.served and ahead:
            moved.append(ahead[len(ahead) // 2]["id"])
            ahead[len(ahead) // 2]["name"] = " moved"

    reading = lister.read(rows, Listing(cap=100, order="name", between=between), limit=limit)
    assert len(moved) > 10
    assert len(set(reading.ids)) == len(reading.ids) == (limit or 1200)
    assert lister.requests < 20


@pytest.mark.parametrize(("moves", "creates", "told"), [(1, 0, False), (20, 0, False), (2, 1, True)])
def test_rows_that_move_to_the_head_all_the_time(lister: Lister, moves: int, creates: int, told: bool) -> None:
    """Also those that were read; so one that was not may stand behind pages of those, and may move once more.

    Where new rows come in beside, nobody can tell whether the last that came were all of those that moved.
    """
    rng = random.Random(3)
    rows = [make_dataset(n, name=f"{99_999 - n}") for n in range(2000)]
    clock = 0

    def between(model: Model) -> None:
        nonlocal clock
        for _ in range(moves):
            clock += 1
            rng.choice(model.datasets)["name"] = f" {100_000 - clock}"
        for _ in range(creates):
            clock += 1
            model.fresh(name=f" {100_000 - clock}", created_at=f"2027-01-01T00:00:00.{clock:06}Z")

    reading = lister.read(rows, Listing(cap=100, order="name", between=between))
    assert not {row["id"] for row in rows} - set(reading.ids)
    assert len(set(reading.ids)) == len(reading.ids)
    assert bool(reading.report.notes) is told
    assert lister.requests < 80


def test_a_list_without_order_that_grows_with_each_request(lister: Lister) -> None:
    """None of its pages is ever empty."""
    rng = random.Random(4)

    def between(model: Model) -> None:
        model.fresh(name=f"{rng.random()}")
        for _ in range(20):
            rng.choice(model.datasets)["name"] = f"{rng.random()}"

    with pytest.raises(CohereListingError, match="readings of the whole list still brought new rows"):
        lister.read(make_datasets(300), Listing(cap=100, order="name", between=between))
    assert lister.requests < 800


def test_new_rows_without_end_do_not_hold_the_reader(lister: Lister, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(page_requests, "MAX_REQUESTS", 40)

    def between(model: Model) -> None:
        for _ in range(120):
            model.fresh(created_at=f"2027-01-01T00:00:00.{len(model.datasets):06}Z")

    with pytest.raises(CohereListingError, match="40 pages"):
        lister.read(ROWS, Listing(cap=100, order="oldest", between=between))
    assert lister.requests == 40
    assert len(lister.reading.ids) == len(set(lister.reading.ids))


def test_list_that_grows_at_the_head_as_fast_as_it_is_read_ends(
    lister: Lister, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(page_requests, "_PATIENCE", 20)

    def between(model: Model) -> None:
        for _ in range(3):
            model.fresh(created_at=f"2027-01-01T00:00:00.{len(model.datasets):06}Z")

    with pytest.raises(CohereListingError, match="changes faster than it can be read"):
        lister.read(make_datasets(20), Listing(cap=3, between=between))
    assert lister.requests < 500


def test_list_that_grows_near_its_end_as_fast_as_it_is_read_ends(lister: Lister) -> None:
    """New rows come in before the last ones too, so nobody can tell new rows from old ones that were missed."""
    listing = Listing(cap=100, order="oldest", between=Churn(random.Random(1), where="head"))
    with pytest.raises(CohereListingError, match="grew as fast as it was read"):
        lister.read(make_datasets(300), listing)
    assert not lister.server.model.survivors() - set(lister.reading.ids)
    assert lister.requests < 100


def test_rows_without_an_id_are_left_out_and_noted(lister: Lister) -> None:
    nameless = [make_dataset(500), make_dataset(501), make_dataset(502)]
    del nameless[0]["id"]
    nameless[1]["id"] = ""
    nameless[2]["id"] = 17
    reading = lister.read([*ROWS[:20], *nameless, *ROWS[20:40]], Listing(cap=10, order="oldest"))
    once(reading, ids_of(ROWS[:40]))
    assert reading.report.notes == ["Rows without an id were left out."]


@pytest.mark.parametrize("cap", [1, 2, 10, 100])
@pytest.mark.parametrize("first", [0, 50, 100])
def test_pages_of_nothing_but_rows_without_an_id(lister: Lister, cap: int, first: int) -> None:
    """What they hold tells them apart, so they join one page to another as any row does."""
    behind = first + 30
    nameless = [{"name": row["name"], "created_at": row["created_at"]} for row in ROWS[first:behind]]
    reading = lister.read([*ROWS[:first], *nameless, *ROWS[behind:130]], Listing(cap=cap, order="oldest"))
    once(reading, ids_of([*ROWS[:first], *ROWS[behind:130]]))
    assert reading.report.complete
    assert reading.report.notes == ["Rows without an id were left out."]


def test_pages_of_nothing_but_equal_rows_without_an_id(lister: Lister) -> None:
    equal = {"created_at": ROWS[50]["created_at"]}
    reading = lister.read([*ROWS[:50], *[equal] * 40, *ROWS[51:100]], Listing(cap=10, order="oldest"))
    once(reading, ids_of([*ROWS[:50], *ROWS[51:100]]))
