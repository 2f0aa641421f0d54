"""What a server may send and Airflow could not store, or a log should not show."""

from __future__ import annotations

import json
from typing import Any

import pytest

from airflow_provider_cohere_datasets.core import calls
from airflow_provider_cohere_datasets.core.calls import Reply
from airflow_provider_cohere_datasets.core.errors import CohereUnexpectedAnswerError
from airflow_provider_cohere_datasets.core.looking import Observation
from airflow_provider_cohere_datasets.core.models import Dataset
from airflow_provider_cohere_datasets.core.untrusted import is_doubtful, printable, shallow, storable, total

INT64 = 2**63


def read(text: str) -> dict[str, Any]:
    return calls.read_object(calls.get_usage(), Reply("http://x", 200, {}, text.encode()))


@pytest.mark.parametrize(
    ("sent", "stored"),
    [
        (r'"caf\ud83d"', r"caf\ud83d"),
        (r'"\udc00\ud800"', r"\udc00\ud800"),
        (r'"\ud83d\ude00 \u00e9"', "\U0001f600 \u00e9"),
        (r'"a\u0000b"', r"a\u0000b"),
        ("9223372036854775807", INT64 - 1),
        ("9223372036854775808", str(INT64)),
        ("-9223372036854775808", -INT64),
        ("-9223372036854775809", str(-INT64 - 1)),
        ("NaN", "nan"),
        ("-Infinity", "-inf"),
        ("1e999", "inf"),
        ("1.5E3", 1500.0),
        ("true", True),
        ("null", None),
        ("1.5", 1.5),
        (r'[{"\ud83d": [1, "\u0000"]}]', [{r"\ud83d": [1, r"\u0000"]}]),
    ],
)
def test_json_becomes_storable(sent: str, stored: Any) -> None:
    value = read(f'{{"value": {sent}}}')["value"]
    assert (value, type(value)) == (stored, type(stored))


def test_what_needs_no_second_look_has_none() -> None:
    usual = {"id": "a", "size_bytes": 10**17, "name": "caf\u00e9 \n", "parts": [1.5, None, True]}
    assert not is_doubtful(json.dumps(usual).encode())
    assert storable(usual) == usual


@pytest.mark.parametrize("depth", [100, 500, 5_000, 100_000])
def test_json_that_is_nested_too_deeply_is_none(depth: int) -> None:
    """How deep is too deep differs from one Python to the next."""
    text = r'{"value": "\u0000", "deep": ' + "[" * depth + "]" * depth + "}"
    try:
        assert read(text)["value"] == r"\u0000"
        assert depth < 100_000
    except CohereUnexpectedAnswerError:
        assert depth >= 500


@pytest.mark.parametrize(("opens", "closes"), [(b"[", b"]"), (b'{"a":', b"}")])
def test_only_what_is_nested_too_deeply_is_taken_out(opens: bytes, closes: bytes) -> None:
    usual = rb'{"a": [{"b": "]}\"[\\", "c": [[]]}, "[{"]}'
    both = b'{"deep": %b, "usual": %b}' % (opens * 100_000 + usual + closes * 100_000, usual)
    read = json.loads(shallow(both, b"mark"))
    assert read["usual"] == json.loads(usual)
    assert json.dumps(read["deep"]).count("mark") == 1


@pytest.mark.parametrize("body", [b'{"a": [1, "b"]}', b'["a', b'["a\\', b"]", b""])
def test_what_is_not_nested_deeply_stays_whatever_it_is(body: bytes) -> None:
    assert shallow(body) == body


@pytest.mark.parametrize("forged", ["a\nb", "a\x1b[31mb", "a\u202eb", "a\u2028b", "a\u200b\u200fb", "a\ud83db", "a\0b"])
def test_one_line_that_is_what_it_looks_like(forged: str) -> None:
    assert printable(forged).replace("[31m", "") == "a b"


def test_sums_stay_within_64_bits() -> None:
    assert (total([1, 2]), total([])) == (3, 0)
    assert total([INT64 - 1] * 3) == INT64 - 1
    assert total([-INT64] * 3) == -INT64
    parts = [{"num_rows": INT64 - 1, "size_bytes": "9223372036854775807"}] * 3
    dataset = Dataset.model_validate({"id": "a", "dataset_parts": parts})
    seen = Observation.of({"id": "a", "dataset_parts": parts})
    assert {dataset.num_rows, dataset.size_bytes, seen.num_rows, seen.size_bytes} == {INT64 - 1}
    assert Observation.of({"id": "a", "dataset_parts": [{"num_rows": 10**20}]}).num_rows == INT64 - 1


@pytest.mark.parametrize("usage", ["99999999999999999999", '"99999999999999999999"', "1e30"])
def test_a_usage_beyond_64_bits_is_none(usage: str) -> None:
    reply = Reply("http://x", 200, {}, f'{{"organization_usage": {usage}}}'.encode())
    with pytest.raises(CohereUnexpectedAnswerError, match="a usage that is not a number"):
        calls.read_usage(calls.get_usage(), reply)


def test_what_a_look_shows_can_be_stored_and_forges_nothing() -> None:
    evil = "x\0\ud83d\n[INFO] \u202ey"
    seen = Observation.of(
        {
            "id": "a\0",
            "name": evil,
            "dataset_type": evil,
            "validation_status": "failed",
            "validation_error": evil,
            "validation_warnings": [evil],
        }
    )
    for text in (seen.id, seen.name, seen.dataset_type, seen.reason):
        assert text is not None
        assert "\0" not in text
        text.encode()
    assert seen.reason == "x [INFO]  y (warnings: x [INFO]  y)"
    assert Observation.of({"id": "a", "validation_status": "odd\n[INFO] validated"}).status == "odd [INFO] validated"
    assert Observation.of({"id": "a", "name": "\u0646\u200c\u0647"}).name == "\u0646\u200c\u0647", "names are matched"
