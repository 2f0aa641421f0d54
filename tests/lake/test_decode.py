from __future__ import annotations

import json
from datetime import UTC, datetime
from typing import Any

import pyarrow as pa
import pytest

from airflow_provider_cohere_datasets.core.calls import Call, Reply
from airflow_provider_cohere_datasets.core.errors import CohereUnexpectedAnswerError
from airflow_provider_cohere_datasets.lake.decode import Decoder, read_fast
from airflow_provider_cohere_datasets.lake.errors import CohereBadRowError
from tests.adversary import make_dataset, make_datasets
from tests.lake.conftest import decode


def body_with(members: str) -> bytes:
    """A page of three rows, of which the second has these members."""
    return f'{{"datasets":[{{"id":"a","name":"x"}},{{"id":"b",{members}}},{{"id":"c","name":"z"}}]}}'.encode()


def test_a_usual_page_takes_the_fast_path_and_keeps_null_empty_text_and_empty_list_apart() -> None:
    rows = [
        {"id": "a", "name": "", "required_fields": [], "dataset_parts": []},
        {"id": "b", "name": None, "required_fields": None, "parse_info": {}},
        {"id": "c"},
    ]
    body = json.dumps({"datasets": rows}).encode()
    assert read_fast(body) is not None
    table = decode(body).rows
    assert table.column("name").to_pylist() == ["", None, None]
    assert table.column("required_fields").to_pylist() == [[], None, None]
    assert table.column("dataset_parts").to_pylist() == [[], None, None]
    assert table.column("parse_info").to_pylist() == [None, {"separator": None, "delimiter": None}, None]


def test_every_documented_field_arrives() -> None:
    part = {"id": "p", "name": "n", "url": "u", "index": 3, "size_bytes": 4, "num_rows": 5, "original_url": "o"}
    finetune: dict[str, Any] = {
        name: number
        for number, name in enumerate(
            ["trainable_token_count", "total_examples", "train_examples", "train_size_bytes", "eval_examples"]
        )
    }
    finetune["eval_size_bytes"] = 2**62
    finetune["reranker_data_metrics"] = {
        "num_train_queries": 1,
        "num_train_relevant_passages": 2,
        "num_train_hard_negatives": 3,
        "num_eval_queries": 4,
        "num_eval_relevant_passages": 5,
        "num_eval_hard_negatives": 6,
    }
    finetune["chat_data_metrics"] = {"num_train_turns": 1, "num_eval_turns": 2, "preamble": "p"}
    finetune["classify_data_metrics"] = {"label_metrics": [{"total_examples": 1, "label": "l", "samples": ["s"]}]}
    row = {
        "id": "a",
        "name": "b",
        "created_at": "2026-01-02T03:04:05.678901Z",
        "updated_at": "2026-01-02T03:04:06Z",
        "dataset_type": "new-type",
        "validation_status": "new-status",
        "validation_error": "e",
        "schema": "s",
        "required_fields": ["r"],
        "preserve_fields": ["p"],
        "dataset_parts": [{**part, "samples": ["one", "two"]}],
        "validation_warnings": ["w"],
        "parse_info": {"separator": ";", "delimiter": ","},
        "metrics": {"finetune_dataset_metrics": finetune},
    }
    times = {
        "created_at": datetime(2026, 1, 2, 3, 4, 5, 678901, tzinfo=UTC),
        "updated_at": datetime(2026, 1, 2, 3, 4, 6, tzinfo=UTC),
    }
    assert decode([row]).rows.to_pylist() == [row | times]
    assert decode([row, {"id": "rotten", "name": 5}]).rows.to_pylist()[0] == row | times


def test_defaults_for_what_the_api_leaves_out_are_the_same_on_both_paths() -> None:
    row = {"id": "a", "dataset_parts": [{"id": "p"}]}
    for page in (decode([row]), decode([row, {"id": "b", "name": 1}])):
        first = page.rows.to_pylist()[0]
        assert first["validation_status"] == "unknown"
        assert first["dataset_parts"][0]["index"] == 0
        assert first["dataset_parts"][0]["num_rows"] is None


SIZE = '"dataset_parts":[{{"id":"p","size_bytes":{}}}]'


@pytest.mark.parametrize(
    ("number", "value"),
    [
        ('"100"', 100),
        ('"9223372036854775807"', 2**63 - 1),
        ("9223372036854775807", 2**63 - 1),
        ("-9223372036854775808", -(2**63)),
        ("1e3", 1000),
        ("1.0", 1),
        ("-0.0", 0),
        ("9007199254740993.0", 9007199254740993),
        ("9.223372036854775807e18", 2**63 - 1),
    ],
)
def test_whole_numbers_are_exact_however_they_are_written(number: str, value: int) -> None:
    page = decode(body_with(SIZE.format(number)))
    assert page.rows.column("dataset_parts").to_pylist()[1][0]["size_bytes"] == value
    assert not page.problems


@pytest.mark.parametrize(
    "number",
    [
        "1.5",
        "1.0000000000000000000000001",
        "9223372036854775808",
        "-9223372036854775809",
        "1e19",
        "1e400",
        "1e99999999999999999999",
        "1e999999999999999999",
        "9" * 5000,
        '"9223372036854775808"',
        '"1.5"',
        '""',
        '"many"',
        "NaN",
        "-Infinity",
        "true",
        "[]",
        "{}",
    ],
)
def test_what_is_no_64_bit_integer_is_null_and_reported(number: str) -> None:
    page = decode(body_with(SIZE.format(number)))
    assert page.rows.column("dataset_parts").to_pylist()[1][0]["size_bytes"] is None
    assert page.rows.column("name").to_pylist() == ["x", None, "z"]
    assert list(page.problems) == [1]
    assert "DatasetPart.size_bytes" in page.problems[1][0]


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("2026-01-02T03:04:05Z", datetime(2026, 1, 2, 3, 4, 5, tzinfo=UTC)),
        ("2026-01-02T03:04:05.123456789Z", datetime(2026, 1, 2, 3, 4, 5, 123456, tzinfo=UTC)),
        ("2026-01-02T03:04:05.1+05:30", datetime(2026, 1, 1, 21, 34, 5, 100000, tzinfo=UTC)),
        ("2026-01-02T03:04:05", datetime(2026, 1, 2, 3, 4, 5, tzinfo=UTC)),
        ("2026-01-02t03:04:05z", datetime(2026, 1, 2, 3, 4, 5, tzinfo=UTC)),
        ("0001-01-01T00:00:00Z", datetime(1, 1, 1, tzinfo=UTC)),
        ("9999-12-31T23:59:59.999999Z", datetime(9999, 12, 31, 23, 59, 59, 999999, tzinfo=UTC)),
    ],
)
def test_times_are_utc(text: str, value: datetime) -> None:
    page = decode(body_with(f'"created_at":"{text}"'))
    assert page.rows.column("created_at").to_pylist()[1] == value
    assert page.created[1] == (value - datetime(1970, 1, 1, tzinfo=UTC)) // (datetime.resolution)
    assert not page.problems


@pytest.mark.parametrize(
    "value",
    [
        '"rubbish"',
        '"2026-01-02T03:04:051Z"',
        '"2026-01-02T0304056Z"',
        '"2026-01-02T03:04:05z+01:00"',
        '"2026-01-02T03:04:05+10:60"',
        '"2026-01-02T03:04:05.123456789W123Z"',
        '"2026-01-02T03:04:05\\u0000Z"',
        '"2026-W01-5"',
        '""',
        '"0000-01-01T00:00:00Z"',
        '"0001-01-01T00:00:00+01:00"',
        '"9999-12-31T23:59:59-01:00"',
        '"2026-02-30T00:00:00Z"',
        "1700000000",
        "[]",
    ],
)
def test_what_is_no_time_is_null_and_reported(value: str) -> None:
    page = decode(body_with(f'"created_at":{value}'))
    assert page.created == [None, None, None]
    assert "Dataset.created_at" in page.problems[1][0]


@pytest.mark.parametrize(
    ("members", "column"),
    [
        ('"name":5', "name"),
        ('"name":"\\ud800"', "name"),
        ('"name":["x"]', "name"),
        ('"required_fields":"text"', "required_fields"),
        ('"required_fields":["text",null]', "required_fields"),
        ('"required_fields":[1]', "required_fields"),
        ('"dataset_parts":{}', "dataset_parts"),
        ('"dataset_parts":[null]', "dataset_parts"),
        ('"parse_info":[]', "parse_info"),
        ('"metrics":"none"', "metrics"),
    ],
)
def test_a_wrong_kind_of_value_costs_only_itself(members: str, column: str) -> None:
    page = decode(body_with(members + ',"schema":"kept"'))
    assert page.ids == ["a", "b", "c"]
    assert page.rows.column(column).to_pylist()[1] is None
    assert page.rows.column("schema").to_pylist() == [None, "kept", None]
    assert f"Dataset.{column}" in page.problems[1][0]


@pytest.mark.parametrize(
    "members",
    [
        '"dataset_parts":[{"id":"p","samples":["x",null]}]',
        '"metrics":{"finetune_dataset_metrics":{"classify_data_metrics":{"label_metrics":[{"samples":[null]}]}}}',
    ],
)
def test_a_null_deep_in_a_list_costs_that_list_and_is_reported(members: str) -> None:
    page = decode(body_with(members))
    assert page.problems[1][0].partition(":")[0].endswith(".samples")
    assert "[null]" not in json.dumps(page.rows.to_pylist()[1])
    assert page.ids == ["a", "b", "c"]


@pytest.mark.parametrize("octets", [b"M\xfcnchen", b"\xed\xa0\xbd", b"\xc0\x80", b"cut \xe2\x98"])
@pytest.mark.parametrize("keep_raw", [False, True])
def test_what_is_no_utf_8_costs_only_its_value(octets: bytes, keep_raw: bool) -> None:
    body = body_with('"name":"@","schema":"kept"').replace(b"@", octets)
    page = decode(body, keep_raw=keep_raw)
    assert page.ids == ["a", "b", "c"]
    assert page.rows.column("name").to_pylist()[1] is None
    assert page.rows.column("schema").to_pylist() == [None, "kept", None]
    assert "Dataset.name" in page.problems[1][0]
    assert list(page.problems) == [1]
    if keep_raw:
        assert all(page.rows.column("_raw").to_pylist())


@pytest.mark.parametrize("depth", [500, 1_500, 100_000])
def test_a_wrong_value_may_be_nested_as_deeply_as_it_likes(depth: int) -> None:
    deep = "[" * depth + '"\\ud800"' + "]" * depth
    page = decode(body_with(f'"name":{deep},"schema":"kept"'))
    assert page.ids == ["a", "b", "c"]
    assert page.rows.column("schema").to_pylist() == [None, "kept", None]


def test_the_last_of_repeated_keys_counts_and_characters_of_any_kind_survive() -> None:
    page = decode('{"datasets":[{"id":"a","name":"old","name":"new \\u0000 \\ud83d\\ude00 \u4e2d"}]}')
    assert page.rows.column("name").to_pylist() == ["new \x00 \U0001f600 \u4e2d"]


def test_unknown_fields_never_fail_a_row() -> None:
    row = {"id": "a", "schema_": "not the schema", "future": {"x": [1, None, {"y": 1.5}]}}
    for extra in ([], [{"id": "b", "name": 1}]):
        page = decode([row, *extra])
        assert page.rows.to_pylist()[0]["schema"] is None
        assert 0 not in page.problems


@pytest.mark.parametrize(
    "row", ["null", "5", "[]", '"a"', "{}", '{"id":null}', '{"id":""}', '{"id":5}', '{"id":"\\ud800"}']
)
def test_a_row_without_an_id_costs_no_other(row: str) -> None:
    page = decode(f'{{"datasets":[{row},{{"id":"b"}}]}}')
    assert isinstance(page.ids[0], int)
    assert page.ids[1] == "b"
    assert list(page.problems) == [0]
    with pytest.raises(CohereBadRowError, match="no readable id"):
        decode(f'{{"datasets":[{row},{{"id":"b"}}]}}', on_bad_row="fail")


def test_a_row_without_an_id_is_known_again_by_what_it_holds() -> None:
    body = b'{"datasets":[{"id":"a"},{"name":"\\ud83d"},{"name":"other"}]}'
    first, second = (decode(body).ids for _ in range(2))
    assert first == second
    assert len(set(first)) == 3


@pytest.mark.parametrize(
    "body", ['{"datasets":[]}', '{"datasets":null}', "{}", '\ufeff{"datasets":[]}', ' {"other":1}']
)
def test_an_empty_list_may_be_said_in_several_ways(body: str) -> None:
    assert decode(body).ids == []


@pytest.mark.parametrize(
    "body",
    [
        "",
        "null",
        " null{}",
        "[]",
        "5",
        '{"datasets":[{"id":"a"}]',
        '{"datasets":[{"id":"a"}]}{"datasets":[]}',
        '{"datasets":[{"id":"a"}]} null',
        '{"datasets":[{"id":"a"}]} x',
        '{"datasets":{}}',
        '{"datasets":"none"}',
        '{"message":"something went wrong"}',
        '{"error":"something went wrong"}',
        "<html></html>",
        '{"datasets":[{"id":"a","x":' + "[" * 200_000,
    ],
)
def test_what_is_no_list_of_datasets_is_an_error_worth_another_try(body: str | bytes) -> None:
    with pytest.raises(CohereUnexpectedAnswerError) as raised:
        decode(body)
    assert not raised.value.permanent


def test_a_byte_order_mark_is_tolerated_on_both_paths() -> None:
    for name in ('"x"', "5"):
        assert decode(f'\ufeff{{"datasets":[{{"id":"a","name":{name}}}]}}').ids == ["a"]


def test_a_page_gives_the_pager_what_it_asks_for_and_keeps_problems_with_their_rows() -> None:
    page = decode([make_dataset(0), {"id": "b", "name": 5}, make_dataset(2, status="failed")])
    taken = page.take([2, 1])
    assert taken.ids == [page.ids[2], "b"]
    assert taken.created == [page.created[2], None]
    assert taken.texts("validation_status") == ["failed", "unknown"]
    assert list(taken.problems) == [1]
    assert page.take([]).ids == []
    assert page.take(range(1)).ids == page.ids[:1]


def test_the_schema_does_not_depend_on_the_data() -> None:
    full, bare, empty = (decode(rows).rows.schema for rows in (list(make_datasets(3)), [{"id": "a"}], []))
    assert full == bare == empty
    assert full.field("created_at").type == pa.timestamp("us", "UTC")


@pytest.mark.parametrize("keep_raw", [False, True])
def test_an_answer_may_be_decoded_before_it_is_asked_for(monkeypatch: pytest.MonkeyPatch, keep_raw: bool) -> None:
    decoder, call = Decoder(keep_raw=keep_raw), Call("list datasets", "GET", "/v1/datasets")
    reply = Reply("http://localhost/v1/datasets", 200, {}, json.dumps({"datasets": make_datasets(3)}).encode())
    expected = decoder(call, reply).rows
    prepared = decoder.prepare(reply)
    assert not prepared.body
    monkeypatch.setattr("airflow_provider_cohere_datasets.lake.decode.read_fast", None)
    assert decoder(call, prepared).rows.equals(expected)
    with pytest.raises(TypeError):
        decoder(call, reply)


@pytest.mark.parametrize("body", [b'{"datasets": [{"id": "a", "created_at": 1}]}', b'{"error": "x"}', b"[]", b"", b"{"])
def test_an_answer_that_is_not_for_the_fast_path_stays_as_it_is(body: bytes) -> None:
    reply = Reply("http://localhost/v1/datasets", 200, {}, body)
    assert Decoder().prepare(reply) is reply


def test_a_row_without_an_id_keeps_what_stands_for_it() -> None:
    page = decode([make_dataset(0), {"name": "no id"}, make_dataset(2), {"name": "none either"}])
    assert page.take([3, 0, 1]).ids == [page.ids[3], page.ids[0], page.ids[1]]
    assert page.take([1, 2]).ids == page.ids[1:3]
    assert len({*page.ids}) == 4
