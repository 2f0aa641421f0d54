"""Lists that change at one exact moment, read without any I/O."""

from __future__ import annotations

import random
from collections.abc import Callable

import pytest

from airflow_provider_cohere_datasets.core.dataset_page import DatasetPage
from airflow_provider_cohere_datasets.core.models import Dataset
from airflow_provider_cohere_datasets.core.paging import ListReport
from tests.core.paging_tools import drive


def page_of(ids: list[str]) -> DatasetPage:
    return DatasetPage([Dataset(id=each) for each in ids])


def read_with_report(answer: Callable[[int, int], DatasetPage]) -> tuple[list[str | None], ListReport]:
    pages, ids = drive(answer), []
    while True:
        try:
            ids += next(pages).ids
        except StopIteration as stop:
            return ids, stop.value


def read(answer: Callable[[int, int], DatasetPage]) -> list[str | None]:
    ids, _ = read_with_report(answer)
    return ids


@pytest.mark.parametrize(
    "passes",
    [
        # A pass that brings nothing new proves nothing where a row stands in it twice, …
        ["ab", "ab", "abb", "dab", "abe", "abde"],
        # … or where the one before it had another length.
        ["ab", "ab", "ab", "abd"],
    ],
)
def test_a_quiet_pass_alone_is_no_proof(passes: list[str]) -> None:
    """Pages of one row cannot show that the order holds still, so whole passes are made until two agree."""
    number = -1

    def answer(limit: int, offset: int) -> DatasetPage:
        nonlocal number
        number += offset == 0
        rows = passes[min(number, len(passes) - 1)]
        return page_of(list(rows[offset : offset + 1]))

    got = read(answer)
    assert len(got) == len(set(got))
    assert set(got) == set(passes[-1])


@pytest.mark.parametrize("size", [1, 2])
def test_a_row_that_a_page_repeats_hides_no_other(size: int) -> None:
    """In a random order, a repeated row that counted as two would lead past one that nobody has seen."""
    there = [f"row-{number}" for number in range(15)]
    for seed in range(100):
        rng = random.Random(seed)

        def answer(limit: int, offset: int, rng: random.Random = rng) -> DatasetPage:
            page = rng.sample(there, len(there))[offset : offset + size]
            return page_of(page + page[:1])

        got, report = read_with_report(answer)
        assert len(got) == len(set(got))
        assert set(got) == set(there) or report.notes


def test_rows_that_come_in_as_fast_as_they_are_read_are_no_server_without_offset() -> None:
    """The second page may equal the first, because just as many rows came in at the head meanwhile."""
    there = [f"old-{number}" for number in range(300)]
    rows, asked = list(there), 0

    def answer(limit: int, offset: int) -> DatasetPage:
        nonlocal asked
        asked += 1
        if asked == 2:
            rows[:0] = [f"new-{number}" for number in range(offset)]
        return page_of(rows[offset : offset + limit])

    got = read(answer)
    assert len(got) == len(set(got))
    assert set(there) <= set(got)


@pytest.mark.parametrize(("rows", "passes"), [(50, 3), (1000, 2)])
def test_a_list_in_another_order_is_read_again(rows: int, passes: int) -> None:
    """A short one twice more, to see whether its order holds still; one that did not change is not complained of."""
    there = [Dataset.model_validate({"id": f"{n}", "created_at": f"2026-01-{1 + n * 7 % 28:02d}"}) for n in range(rows)]
    begins = 0

    def answer(limit: int, offset: int) -> DatasetPage:
        nonlocal begins
        begins += offset == 0
        return DatasetPage(there[offset : offset + min(limit, 10)])

    got, report = read_with_report(answer)
    assert got == [each.id for each in there]
    assert begins == passes
    assert (report.complete, report.notes) == (True, [])


@pytest.mark.parametrize("looks", range(1, 5))
def test_a_server_of_short_pages_may_seem_to_end_more_than_once(looks: int) -> None:
    """It returned a short page with rows behind it, so two signs of the end are no end."""
    rows, answers, ends = [f"{number}" for number in range(600)], 0, 0

    def answer(limit: int, offset: int) -> DatasetPage:
        nonlocal answers, ends
        answers += 1
        seen = rows
        if offset + limit > 300 and ends < looks:
            ends += 1
            seen = rows[:300]
        return page_of(seen[offset : offset + (50 if answers == 1 else limit)])

    assert read(answer) == rows


def test_a_list_in_another_order_that_changes_meanwhile_is_complained_of() -> None:
    there = [Dataset.model_validate({"id": f"{n}", "created_at": f"2026-01-{1 + n * 7 % 28:02d}"}) for n in range(1000)]
    late = Dataset(id="late")
    begins = 0

    def answer(limit: int, offset: int) -> DatasetPage:
        nonlocal begins
        begins += offset == 0
        rows = [*there, late] if begins > 1 else there
        return DatasetPage(rows[offset : offset + min(limit, 10)])

    got, report = read_with_report(answer)
    assert got == [*(each.id for each in there), "late"]
    assert report.complete
    assert len(report.notes) == 1
    assert report.notes[0].startswith("The list is not in the order of creation and changed while it was read again; ")
    assert report.notes[0].endswith(" a dataset that changed its place each time may be missing.")
