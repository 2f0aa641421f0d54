"""The endpoints, as calls and as readers of their answers."""

from __future__ import annotations

import io
import json
from contextlib import nullcontext
from typing import Any

import pytest

from airflow_provider_cohere_datasets.core import calls
from airflow_provider_cohere_datasets.core.calls import Call, Reply, Upload
from airflow_provider_cohere_datasets.core.errors import CohereInputError, CohereUnexpectedAnswerError
from airflow_provider_cohere_datasets.core.filters import ListFilters

GET = calls.get_dataset("reviews-abc123")


def reply(value: object) -> Reply:
    return Reply("https://api.cohere.com/v1/datasets", 200, body=json.dumps(value).encode())


@pytest.mark.parametrize(
    ("call", "method", "target", "repeatable"),
    [
        (GET, "GET", "/v1/datasets/reviews-abc123", True),
        (calls.delete_dataset("a/b c"), "DELETE", "/v1/datasets/a%2Fb%20c", True),
        (calls.get_usage(), "GET", "/v1/datasets/usage", True),
        (calls.check_api_key(), "POST", "/v1/check-api-key", True),
        (calls.list_datasets(ListFilters(), limit=7, offset=0), "GET", "/v1/datasets?limit=7&offset=0", True),
        (
            calls.list_datasets(ListFilters.of(dataset_type="a/b&c=ü", before="2026-01-01"), limit=1, offset=2),
            "GET",
            "/v1/datasets?datasetType=a%2Fb%26c%3D%C3%BC&before=2026-01-01T00%3A00%3A01.000000Z&limit=1&offset=2",
            True,
        ),
        (
            calls.create_dataset([("name", "a b"), ("keep_fields", "x"), ("keep_fields", "y")], ()),
            "POST",
            "/v1/datasets?name=a%20b&keep_fields=x&keep_fields=y",
            False,
        ),
    ],
)
def test_calls(call: Call, method: str, target: str, repeatable: bool) -> None:
    assert (call.method, call.target, call.repeatable) == (method, target, repeatable)


def test_an_upload_has_its_files() -> None:
    upload = Upload("data", "a.jsonl", io.BytesIO)
    assert calls.create_dataset((), [upload]).uploads == (upload,)


@pytest.mark.parametrize(
    ("read", "value", "says"),
    [
        (calls.read_created, {"id": ""}, "no usable dataset id in it"),
        (calls.read_key_check, {"valid": "yes"}, "no word on whether the key is valid"),
        (calls.read_dataset, {"dataset": None}, "no dataset in it"),
        (calls.read_usage, {"organization_usage": "much"}, "a usage that is not a number"),
    ],
)
def test_an_unexpected_answer_says_what_is_wrong(read: Any, value: object, says: str) -> None:
    with pytest.raises(CohereUnexpectedAnswerError) as caught:
        read(GET, reply(value))
    assert caught.value.message == (
        f"Could not get the dataset: GET /v1/datasets/reviews-abc123 answered 200 with {says}."
    )
    assert caught.value.status == 200


def test_the_name_of_the_argument_is_in_the_error() -> None:
    with pytest.raises(CohereInputError, match=r"^ids\[0\] is empty"):
        calls.checked_id("", "ids[0]")
    with pytest.raises(CohereInputError, match=r"^dataset_id 'usage' cannot be the id of a dataset"):
        calls.checked_id("usage")
    with pytest.raises(CohereInputError, match="is far too long") as got:
        calls.checked_id("x" * 10_000)
    assert len(str(got.value)) < 200


def test_what_a_task_returned_of_a_dataset_stands_for_its_id() -> None:
    assert calls.checked_id({"id": "news-1", "name": "news"}) == "news-1"
    assert calls.get_dataset({"id": "news-1"}).dataset_id == "news-1"  # type: ignore[arg-type]
    for wrong, says in (
        ({}, "not dict"),
        ({"name": "x"}, "not dict"),
        ({"id": 5}, "not int"),
        ({"id": ""}, "is empty"),
    ):
        with pytest.raises(CohereInputError, match=says):
            calls.checked_id(wrong)


def test_a_dataset_is_read() -> None:
    dataset = calls.read_dataset(GET, reply({"dataset": {"id": "reviews-abc123", "name": "reviews", "new": 1}}))
    assert (dataset.id, dataset.name, dataset.validation_status) == ("reviews-abc123", "reviews", "unknown")


@pytest.mark.parametrize(
    ("value", "usage"),
    [(None, 0), (0, 0), ("0", 0), (12, 12), ("10737418240", 10737418240), (10737418240.0, 10737418240)],
)
def test_usage(value: object, usage: int) -> None:
    assert calls.read_usage(calls.get_usage(), reply({"organization_usage": value})) == usage


@pytest.mark.parametrize("value", ["much", [1], {"bytes": 1}, float("nan"), float("inf")])
def test_what_is_no_usage(value: object) -> None:
    with pytest.raises(CohereUnexpectedAnswerError, match="a usage that is not a number"):
        calls.read_usage(calls.get_usage(), reply({"organization_usage": value}))


@pytest.mark.parametrize("key", ["message", "error", "errors", "detail", "status"])
@pytest.mark.parametrize("said", ["no", ["no"], {"code": 7}])
def test_something_else_in_a_success(key: str, said: object) -> None:
    with pytest.raises(CohereUnexpectedAnswerError, match=f"with '{key}' instead of 'organization_usage'"):
        calls.read_usage(calls.get_usage(), reply({key: said}))
    assert calls.read_usage(calls.get_usage(), reply({key: said, "organization_usage": 5})) == 5


@pytest.mark.parametrize("key", ["message", "error", "errors", "detail"])
@pytest.mark.parametrize("rows", [[], None])
def test_an_error_beside_an_empty_list(key: str, rows: object) -> None:
    call = calls.list_datasets(ListFilters(), limit=5, offset=0)
    with pytest.raises(CohereUnexpectedAnswerError, match=f"with '{key}' instead of 'datasets'"):
        calls.read_rows(call, reply({"datasets": rows, key: "the backend is gone"}))
    with pytest.raises(CohereUnexpectedAnswerError, match=f"with '{key}' instead of 'datasets'"):
        calls.read_rows(call, reply({"datasets": rows, key: True}))
    with pytest.raises(CohereUnexpectedAnswerError, match=f"with '{key}' instead of 'datasets'"):
        calls.read_rows(call, reply({key: 500}))
    assert calls.read_rows(call, reply({"datasets": rows, key: ""})) == []
    assert calls.read_rows(call, reply({"datasets": rows, "warnings": ["old"]})) == []
    assert calls.read_rows(call, reply({"datasets": [1], key: "cut"})) == [1]


def test_what_says_nothing_beside_a_value_that_is_left_out() -> None:
    others = {"meta": {"api_version": {"version": "1"}}, "total": 0, "limit": 100, "more": False, "next": "", "x": None}
    assert calls.read_result(calls.get_usage(), reply(others), "datasets") is None


@pytest.mark.parametrize("key", ["message", "error", "errors", "detail"])
def test_a_deletion_that_came_with_an_error(key: str) -> None:
    with pytest.raises(CohereUnexpectedAnswerError, match="answered 200 with an error"):
        calls.read_deleted(calls.delete_dataset("a"), reply({"deleted": False, key: "it is used by a job"}))
    calls.read_deleted(calls.delete_dataset("a"), reply({"id": "a", "deleted": True, key: None}))


@pytest.mark.parametrize(
    ("usage", "taken"), [(2**63 - 1, True), (2**63, False), (-(2**63), True), (-(2**63) - 1, False)]
)
def test_a_usage_has_64_bits(usage: int, taken: bool) -> None:
    with nullcontext() if taken else pytest.raises(CohereUnexpectedAnswerError):
        assert calls.read_usage(calls.get_usage(), reply({"organization_usage": usage})) == usage


def test_a_key_check() -> None:
    assert calls.read_key_check(calls.check_api_key(), reply({"valid": False})) == {"valid": False}
