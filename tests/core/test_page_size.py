"""How many rows are asked for: less where pages are too large, and more again after that."""

from __future__ import annotations

from airflow_provider_cohere_datasets.core.page_size import PageSize


def fitting(size: PageSize, most: int) -> int:
    """Let pages fit until the size grows; return how many that took, ``most`` if it did not grow."""
    for count in range(most):
        if size.grow():
            return count
        size.fits()
    return most


def test_it_is_halved_down_to_one() -> None:
    size = PageSize(5)
    assert [(size.shrink(), size.rows) for _ in range(4)] == [(True, 2), (True, 1), (False, 1), (False, 1)]


def test_it_grows_back_and_no_further() -> None:
    size = PageSize(5)
    assert fitting(size, 100) == 100
    size.shrink()
    assert (fitting(size, 100), size.rows) == (8, 4)
    assert (fitting(size, 100), size.rows) == (8, 5)
    assert fitting(size, 100) == 100


def test_what_grew_too_early_waits_twice_as_long() -> None:
    size = PageSize(100)
    waits = []
    for _ in range(3):
        size.shrink()
        waits.append(fitting(size, 1000))
    assert waits == [8, 16, 32]
    # Two in a row that are too large are one region of large rows, not two that grew too early.
    size.shrink()
    size.shrink()
    assert (fitting(size, 1000), size.rows) == (64, 50)
    # What fitted for a while and then met large rows did not grow too early.
    size.fits()
    size.shrink()
    assert (fitting(size, 1000), size.rows) == (8, 50)
