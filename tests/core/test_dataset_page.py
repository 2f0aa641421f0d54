"""A page of the list as models."""

from __future__ import annotations

import json

import pytest

from airflow_provider_cohere_datasets.core.calls import Reply, list_datasets
from airflow_provider_cohere_datasets.core.dataset_page import DatasetPage, read_page
from airflow_provider_cohere_datasets.core.errors import CohereUnexpectedAnswerError
from airflow_provider_cohere_datasets.core.filters import ListFilters
from tests.adversary import make_dataset

CALL = list_datasets(ListFilters(), limit=10, offset=0)


def read(value: object) -> DatasetPage:
    return read_page(CALL, Reply("u", 200, body=json.dumps(value).encode()))


def test_rows_that_are_none_keep_their_place() -> None:
    page = read({"datasets": [make_dataset(0, id="a"), {"name": "no id"}, 5, None, {"id": "b"}]})
    assert page.ids == ["a", None, None, None, "b"]
    assert page.created == [1767268800123456, None, None, None, None]
    assert page.texts("dataset_type") == ["embed-input", None, None, None, None]
    assert page.texts("validation_status") == ["validated", None, None, None, "unknown"]
    assert [dataset.id for dataset in page.datasets] == ["a", "b"]
    assert page.take([4, 0]).ids == ["b", "a"]


@pytest.mark.parametrize("value", [{}, {"datasets": None}, {"datasets": []}])
def test_an_empty_list(value: object) -> None:
    assert (read(value).datasets, read(value).ids, read(value).created) == ([], [], [])


@pytest.mark.parametrize("value", [{"datasets": {}}, {"datasets": 0}, {"datasets": "x"}, {"message": "no"}, []])
def test_what_is_no_list(value: object) -> None:
    with pytest.raises(CohereUnexpectedAnswerError):
        read(value)
