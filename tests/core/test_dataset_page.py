"""Pages of the list as models."""

from __future__ import annotations

import json

import pytest

from airflow_provider_cohere_datasets.core.calls import Reply, list_datasets
from airflow_provider_cohere_datasets.core.dataset_page import DatasetPage, read_page
from airflow_provider_cohere_datasets.core.errors import CohereUnexpectedAnswerError
from airflow_provider_cohere_datasets.core.filters import ListFilters
from airflow_provider_cohere_datasets.core.ledger import nameless
from tests.adversary import make_dataset

CALL = list_datasets(ListFilters(), limit=100, offset=0)


def page_of(value: object) -> DatasetPage:
    """Read an answer with this body."""
    return read_page(CALL, Reply("http://localhost/v1/datasets", 200, body=json.dumps(value).encode()))


def test_rows_keep_the_order_of_the_server() -> None:
    page = page_of({"datasets": [make_dataset(2), make_dataset(1, status="failed", type="embed-result")]})
    assert [row.name for row in page.datasets] == ["dataset 2", "dataset 1"]
    assert list(page.ids) == [make_dataset(2)["id"], make_dataset(1)["id"]]
    assert list(page.created) == [1767268802123456, 1767268801123456]
    assert list(page.texts("dataset_type")) == ["embed-input", "embed-result"]
    assert list(page.texts("validation_status")) == ["validated", "failed"]


@pytest.mark.parametrize("value", [{"datasets": []}, {"datasets": None}, {}])
def test_no_rows_in_any_spelling(value: object) -> None:
    page = page_of(value)
    assert len(page.ids) == len(page.created) == len(page.texts("dataset_type")) == len(page.datasets) == 0


@pytest.mark.parametrize("row", [None, 1, "a", [], {}, {"name": "x"}, {"id": ""}, {"id": 5}, {"id": None}])
def test_row_that_is_no_dataset_keeps_its_place(row: object) -> None:
    page = page_of({"datasets": [make_dataset(0), row, make_dataset(1)]})
    assert list(page.ids) == [make_dataset(0)["id"], nameless(row), make_dataset(1)["id"]]
    assert page.created[1] is None
    assert list(page.texts("validation_status")) == ["validated", "", "validated"]
    assert len(page.datasets) == 2


@pytest.mark.parametrize("created", [None, "", "yesterday", 17, "9999-12-31T23:59:59-23:00"])
def test_time_that_cannot_be_read_is_none(created: object) -> None:
    page = page_of({"datasets": [{"id": "a", "created_at": created}, {"id": "b"}]})
    assert list(page.ids) == ["a", "b"]
    assert list(page.created) == [None, None]


def test_status_that_is_left_out_is_unknown() -> None:
    assert list(page_of({"datasets": [{"id": "a"}]}).texts("validation_status")) == ["unknown"]


def test_take() -> None:
    page = page_of({"datasets": [make_dataset(n) for n in range(4)]})
    assert list(page.take([3, 1]).ids) == [page.ids[3], page.ids[1]]
    assert list(page.take(range(0)).ids) == []


@pytest.mark.parametrize("value", [{"datasets": {}}, {"datasets": "x"}, {"datasets": 1}, {"message": "no"}, [], None])
def test_answer_that_is_no_list(value: object) -> None:
    with pytest.raises(CohereUnexpectedAnswerError):
        page_of(value)
