from __future__ import annotations

from typing import Any

import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st

from airflow_provider_cohere_datasets.core.urls import without_queries
from airflow_provider_cohere_datasets.lake.parts import _without_queries
from tests.lake.conftest import decode

SIGNED = "https://storage.example.com/org/user/000.avro?X-Goog-Expires=43200&X-Goog-Signature=ab%3Fcd?ef\n#gh"
ROWS: list[dict[str, Any]] = [
    {"id": "a", "dataset_parts": [{"url": SIGNED, "original_url": SIGNED, "samples": ["one"]}, {"samples": []}]},
    {"id": "b", "dataset_parts": []},
    {"id": "c"},
    {"id": "d", "dataset_parts": [{"url": "https://storage.example.com/plain", "samples": None}]},
]


def parts(**options: Any) -> list[list[dict[str, Any]] | None]:
    """The parts that both paths agree on."""
    fast = decode(ROWS, **options).rows.column("dataset_parts").to_pylist()
    slow = decode([*ROWS, {"id": "e", "name": 5}], **options).rows.column("dataset_parts").to_pylist()
    assert slow == [*fast, None]
    return fast


def test_the_signature_is_stripped_unless_told_otherwise() -> None:
    found = parts()
    assert [part["url"] for part in found[0] or ()] == ["https://storage.example.com/org/user/000.avro", None]
    assert [part["original_url"] for part in found[0] or ()] == ["https://storage.example.com/org/user/000.avro", None]
    assert found[1:3] == [[], None]
    assert found[3] is not None
    assert found[3][0]["url"] == "https://storage.example.com/plain"


def test_urls_may_be_dropped_or_kept() -> None:
    for option, first in (("drop", None), ("keep", SIGNED)):
        found = parts(part_urls=option)[0] or []
        assert found[0]["url"] == found[0]["original_url"] == first
        assert found[0]["samples"] == ["one"]


@pytest.mark.parametrize(("include", "expected"), [(True, [["one"], []]), (False, [[], []])])
def test_samples_may_be_emptied(include: bool, expected: list[list[str]]) -> None:
    found = parts(include_samples=include)
    assert [part["samples"] for part in found[0] or ()] == expected
    assert (found[3] or [{}])[0]["samples"] is None


def test_samples_of_labels_are_samples_too() -> None:
    labels = [{"label": "l", "samples": ["secret"]}, {"label": "m"}]
    row = {"id": "a", "metrics": {"finetune_dataset_metrics": {"classify_data_metrics": {"label_metrics": labels}}}}
    metrics = decode([row, {"id": "b"}], include_samples=False).rows.column("metrics").to_pylist()
    found = metrics[0]["finetune_dataset_metrics"]["classify_data_metrics"]["label_metrics"]
    assert [(label["label"], label["samples"]) for label in found] == [("l", []), ("m", None)]
    assert metrics[1] is None


@pytest.mark.parametrize("option", ["strip", "drop", "keep"])
def test_signatures_in_errors_and_warnings_are_stripped_too(option: Any) -> None:
    url = SIGNED.split("\n")[0]
    row = {"id": "a", "validation_error": f"cannot read {url}.", "validation_warnings": [f"<{url}> is odd?", "plain"]}
    rows = decode([row, {"id": "b", "validation_warnings": []}, {"id": "c"}], part_urls=option).rows
    found = [*rows.column("validation_error").to_pylist(), *rows.column("validation_warnings").to_pylist()]
    short = url if option == "keep" else url.partition("?")[0]
    error = f"cannot read {short}" + ("." if option == "keep" else "")
    assert found == [error, None, None, [f"<{short}> is odd?", "plain"], [], None]


def test_signatures_go_where_a_quote_cuts_the_url() -> None:
    error = "cannot read https://h/it's.csv?X-Goog-Signature=SECRET"
    rows = decode([{"id": "a", "validation_error": error, "validation_warnings": [error]}]).rows
    assert "it's.csv" in str(rows.to_pylist())
    assert "SECRET" not in str(rows.to_pylist())


@given(
    st.lists(
        st.sampled_from(
            ["://", "?", "a", "&", '"', "'", "<", ">", " ", *map(chr, range(8, 33)), "\x85", "\xa0", "ü", "sig="]
        )
    )
)
def test_arrow_finds_the_same_queries(pieces: list[str]) -> None:
    text = "".join(pieces)
    assert _without_queries(pa.array([text])).to_pylist() == [without_queries(text)]
