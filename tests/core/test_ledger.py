"""The ledger tells fresh rows from known ones, and an order that holds still from one that does not."""

from __future__ import annotations

import pytest

from airflow_provider_cohere_datasets.core.ledger import Ledger, Sighting, nameless


def enter(ledger: Ledger, *ids: str | None) -> Sighting:
    """Enter a page; return what it showed."""
    sighting = ledger.look(ids)
    ledger.add(ids, sighting)
    return sighting


def ledger_of(*ids: str | None) -> Ledger:
    ledger = Ledger()
    enter(ledger, *ids)
    return ledger


def test_new_ledger_knows_nobody() -> None:
    ledger = Ledger()
    assert (len(ledger), ledger.ranked) == (0, 0)
    assert ledger.look([]) == Sighting([], 0, True)
    assert ledger.look(["a", "b"]) == Sighting([0, 1], 0, True)
    assert not ledger.is_last("a")
    assert not ledger.is_last(None)


def test_looking_changes_nothing() -> None:
    ledger = ledger_of("a")
    assert ledger.is_last("a")
    assert ledger.look(["a", "b"]) == ledger.look(["a", "b"]) == Sighting([1], 1, True)
    assert len(ledger) == 1


def test_id_is_fresh_once_on_a_page() -> None:
    assert Ledger().look(["a", "b", "a", "b", "c"]) == Sighting([0, 1, 4], 0, True)
    assert ledger_of("a").look(["a", "a", "b"]) == Sighting([2], 1, True)


def test_rows_without_an_id_are_known_by_what_they_hold() -> None:
    this, that = nameless({"name": "this"}), nameless({"name": "that"})
    ledger = ledger_of("a", this, "b", that)
    assert (len(ledger), ledger.ranked) == (4, 2)
    seen = ledger.look([that, "b", nameless({"name": "this"}), nameless({}), "c"])
    assert seen == Sighting([3, 4], 3, True), "they may stand anywhere"
    assert ledger.add([that, "b", this, nameless({}), "c"], seen) == [4]
    assert ledger.is_last("c")
    assert not ledger.is_last(that)
    assert not ledger.is_last(nameless({"name": "other"}))


def test_pages_that_overlap_continue_the_order() -> None:
    ledger = ledger_of("a", "b", "c")
    assert enter(ledger, "c", "d", "e") == Sighting([1, 2], 1, True)
    assert (len(ledger), ledger.ranked) == (5, 5)
    assert ledger.is_last("e")
    assert not ledger.is_last("c")
    assert ledger.look(["b", "c", "d"]).in_order
    assert not ledger.look(["d", "c"]).in_order


def test_rows_that_came_in_between_have_no_place() -> None:
    ledger = ledger_of("a", "b", "c", "d")
    assert enter(ledger, "x", "b", "y", "c") == Sighting([0, 2], 2, True)
    assert (len(ledger), ledger.ranked) == (6, 4)
    assert ledger.is_last("d")
    assert not ledger.is_last("y")
    assert ledger.look(["y", "x", "c"]) == Sighting([], 3, True), "they may stand in any order"
    enter(ledger, "b", "w")
    assert (ledger.ranked, ledger.is_last("d")) == (4, True), "behind the page's last row, but not behind the list's"
    enter(ledger, "z", "d", "e")
    assert ledger.is_last("e")
    assert ledger.ranked == 5, "only what stands behind the last row has a place"


def test_page_that_shares_nobody_with_a_place_continues_the_order() -> None:
    ledger = ledger_of("a", "b")
    enter(ledger, "x", "a")
    enter(ledger, "x", "c")
    assert ledger.is_last("c")
    assert ledger.ranked == 3


@pytest.mark.parametrize(
    ("ids", "in_order"),
    [
        ("abcdefgh", True),
        ("bacdefg", False),  # too few to call it a repeated row
        ("bacdefgh", True),
        ("hbcdefga", False),
        ("abcdefgjhi", True),
        ("jihgfedcba", False),
        ("badcfehg", False),
    ],
)
def test_one_row_in_the_wrong_place_is_a_repeated_row(ids: str, in_order: bool) -> None:
    assert ledger_of(*"abcdefghij").look(list(ids)).in_order is in_order
