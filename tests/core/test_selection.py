"""Selections: one dataset, several, or a filter, and exactly one of these."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, datetime
from typing import Any

import pytest

from airflow_provider_cohere_datasets.core.errors import CohereInputError
from airflow_provider_cohere_datasets.core.filters import ListFilters
from airflow_provider_cohere_datasets.core.selection import FILTERS, Selection

START = datetime(2026, 1, 1, tzinfo=UTC)


class Lazy:
    """Something that can be read like a list, as the results of mapped tasks are."""

    def __iter__(self) -> Iterator[str]:
        yield from ("a", "b")


class Nothing(Lazy):
    """The results of a task that was mapped over nothing; Airflow's equal any other empty sequence."""

    def __iter__(self) -> Iterator[str]:
        yield from ()

    def __eq__(self, other: object) -> bool:
        return other == ""

    __hash__ = None  # type: ignore[assignment]


@pytest.mark.parametrize(
    ("values", "selection"),
    [
        ({"dataset_id": "a"}, Selection("a")),
        ({"dataset_id": "a", "dataset_ids": "", "dataset_type": "", "after": None}, Selection("a")),
        ({"dataset_ids": ["b", "a", "b"]}, Selection(dataset_ids=("b", "a"))),
        ({"dataset_ids": Lazy(), "dataset_id": ""}, Selection(dataset_ids=("a", "b"))),
        ({"dataset_ids": []}, Selection(dataset_ids=())),
        ({"dataset_ids": Nothing()}, Selection(dataset_ids=())),
        (
            {"dataset_type": " embed-input ", "validation_status": "failed", "after": "2026-01-01"},
            Selection(filters=ListFilters("embed-input", "failed", START)),
        ),
        ({"before": START, "dataset_id": None}, Selection(filters=ListFilters(before=START))),
    ],
)
def test_one_way(values: dict[str, Any], selection: Selection) -> None:
    assert Selection.of(values) == selection


@pytest.mark.parametrize(
    ("values", "says"),
    [
        ({}, "not none of them."),
        (
            {"dataset_id": "", "dataset_type": None, "after": ""},
            "not none of them; dataset_id is empty; after is empty.",
        ),
        ({"dataset_id": "a", "dataset_ids": ["b"]}, "not dataset_id and dataset_ids."),
        ({"dataset_ids": [], "before": START}, "not dataset_ids and a filter."),
        ({"dataset_ids": Nothing(), "dataset_id": "a"}, "not dataset_id and dataset_ids."),
    ],
)
def test_not_one_way(values: dict[str, Any], says: str) -> None:
    with pytest.raises(
        CohereInputError, match=rf"^Give either dataset_id, dataset_ids or a filter \({', '.join(FILTERS)}\)"
    ) as caught:
        Selection.of(values)
    assert str(caught.value).endswith(says)


def test_what_is_not_known_yet_may_turn_out_not_to_be_set() -> None:
    assert Selection.of({}, ["dataset_id", "dataset_type"]) == Selection()
    assert Selection.of({"dataset_id": "a"}, ["dataset_ids"]) == Selection("a")
    with pytest.raises(CohereInputError, match="Give either"):
        Selection.of({"dataset_id": "a", "dataset_ids": ["b"]}, ["dataset_type"])


@pytest.mark.parametrize(
    ("values", "says"),
    [
        ({"dataset_id": " "}, "dataset_id is empty"),
        ({"dataset_id": 7}, "dataset_id must be a text"),
        ({"dataset_id": Nothing()}, "dataset_id must be a text, not Nothing"),
        ({"dataset_id": "None"}, "dataset_id 'None' cannot be the id"),
        ({"dataset_ids": "a"}, "dataset_ids must be a list of ids, not 'a'"),
        ({"dataset_ids": {"a": 1}}, "dataset_ids must be a list of ids"),
        ({"dataset_ids": 7}, "dataset_ids must be a list of ids"),
        ({"dataset_ids": ["a", ""]}, r"^dataset_ids\[1\] is empty"),
        ({"dataset_ids": [None]}, r"^dataset_ids\[0\] is None: "),
        ({"dataset_ids": [7]}, r"^dataset_ids\[0\] must be a text"),
        ({"dataset_ids": [str(number) for number in range(1001)]}, "dataset_ids has 1001 ids, more than the 1000"),
        ({"validation_status": "ready"}, "validation_status 'ready' is not one of"),
        ({"after": "yesterday"}, "after 'yesterday' is not an ISO 8601 time"),
    ],
)
def test_bad_values(values: dict[str, Any], says: str) -> None:
    with pytest.raises(CohereInputError, match=f"^{says}"):
        Selection.of(values)


def test_a_thousand_ids_may_be_given_in_any_form() -> None:
    chosen = Selection.of({"dataset_ids": dict.fromkeys(map(str, range(1000))).keys()})
    assert chosen.dataset_ids == tuple(str(number) for number in range(1000))


@pytest.mark.parametrize("once", [iter(["a"]), map(str, "a"), (each for each in "a"), filter(None, "a")])
def test_what_can_be_read_only_once_is_no_list(once: object) -> None:
    """The check would use it up, and nothing would be selected when the task runs."""
    with pytest.raises(CohereInputError, match="dataset_ids must be a list of ids, not <"):
        Selection.of({"dataset_ids": once})


def test_it_says_what_there_is_none_of() -> None:
    assert str(Selection(dataset_ids=())) == "dataset_ids is an empty list"
    filters = ListFilters("embed-input", after=START)
    assert str(Selection(filters=filters)) == (
        "no dataset has dataset_type 'embed-input', after '2026-01-01T00:00:00.000000Z'"
    )
