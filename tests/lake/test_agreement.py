"""Both paths of the decoder give the same table, whatever the page holds."""

from __future__ import annotations

import json
from typing import Any

import pyarrow as pa
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from airflow_provider_cohere_datasets.lake.decode import read_fast, read_rows, read_values
from airflow_provider_cohere_datasets.lake.parts import shaped
from airflow_provider_cohere_datasets.lake.schema import DATASET, TIME

TEXTS = st.one_of(st.text(max_size=6), st.sampled_from(["", "None", "\x00", "\u2028", "https://h/p?sig=1", "1"]))
NUMBERS = st.one_of(
    st.integers(-(2**63), 2**63 - 1).map(str),
    st.integers(-3, 3).map(str),
    st.sampled_from(["-0", "1.0", "1e3", "1.5", "9223372036854775808", "NaN", '"7"', "0.1e1", "1E400"]),
)
CLOCKS = st.builds(
    "{:04d}-{:02d}-{:02d}{}{:02d}{}{}".format,
    st.sampled_from([0, 1, 2, 1582, 1969, 1970, 2024, 9999]),
    st.integers(0, 13),
    st.integers(0, 32),
    st.sampled_from(["T", " ", "t", "_"]),
    st.integers(0, 25),
    st.sampled_from(["", ":30", ":59:60", ":00:00", ":30:01.5", ":30:01.123456", ":30:01.1234567", ":30:01.", "3000"]),
    st.sampled_from(["Z", "", "+02:00", "-0130", "+02", "+23:59", "+24:00", "z", " Z", "-00:00"]),
)
MOMENTS = st.one_of(CLOCKS, st.datetimes().map(lambda at: f"{at.isoformat()}Z"), TEXTS, st.just("2024-01-15"))
ANYTHING = st.sampled_from(["null", "true", "[]", "{}", '"x"', "5", "[null]", '["a",null]', '{"a":{}}', '"\\ud800"'])


def values_of(kind: Any) -> st.SearchStrategy[str]:
    """JSON texts for a type: mostly right, sometimes anything."""
    right: st.SearchStrategy[str]
    if pa.types.is_string(kind):
        right = TEXTS.map(json.dumps)
    elif pa.types.is_integer(kind):
        right = NUMBERS
    elif kind == TIME:
        right = MOMENTS.map(json.dumps)
    elif pa.types.is_list(kind):
        right = st.lists(values_of(kind.value_type), max_size=2).map(lambda items: f"[{','.join(items)}]")
    else:
        right = objects_of(kind)
    # One in many, or no page would take the fast path.
    return st.integers(0, 60).flatmap(lambda odds: ANYTHING if odds == 0 else st.just("null") if odds < 4 else right)


def objects_of(kind: Any) -> st.SearchStrategy[str]:
    member = st.sampled_from(list(kind)).flatmap(
        lambda field: values_of(field.type).map(lambda value: (json.dumps(field.name), value))
    )
    extra = st.tuples(st.sampled_from(['"future"', '"schema_"', '"\\u006eame"']), ANYTHING)
    unique = st.lists(st.one_of(member, member, member, extra), max_size=6, unique_by=lambda pair: pair[0])
    return unique.map(lambda pairs: f"{{{','.join(f'{name}:{value}' for name, value in pairs)}}}")


def rows() -> st.SearchStrategy[str]:
    good = st.builds(
        lambda members, number: f'{{"id":"row {number}"{"," if len(members) > 2 else ""}{members[1:]}',
        objects_of(pa.struct([field for field in DATASET if field.name != "id"])),
        st.integers(0, 9),
    )
    return st.one_of(good, good, good, objects_of(DATASET))


@settings(max_examples=150, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(st.lists(rows(), max_size=3))
def test_both_paths_give_the_same_table(page: list[str]) -> None:
    body = f'{{"datasets":[{",".join(page)}]}}'.encode()
    kept = bytes(body)
    fast = read_fast(body)
    assert body == kept
    if fast is None:
        return
    problems: dict[int, list[str]] = {}
    slow = pa.array(read_rows(read_values(body), problems), DATASET)
    options: Any = {"part_urls": "strip", "include_samples": True}
    assert not problems
    assert shaped(fast, **options).to_pylist() == shaped(slow, **options).to_pylist()
    assert shaped(fast, **options).equals(shaped(slow, **options))


@settings(max_examples=600, deadline=None)
@given(st.lists(MOMENTS, max_size=2), st.lists(NUMBERS, max_size=2), TEXTS)
def test_both_paths_read_times_and_numbers_alike(moments: list[str], numbers: list[str], name: str) -> None:
    parts = ",".join(f'{{"size_bytes":{number}}}' for number in numbers)
    rows = [f'{{"id":"x","name":{json.dumps(name)},"created_at":{json.dumps(at)}}}' for at in moments]
    body = f'{{"datasets":[{",".join([*rows, f"""{{"id":"y","dataset_parts":[{parts}]}}"""])}]}}'.encode()
    fast = read_fast(body)
    if fast is not None:
        slow = pa.array(read_rows(read_values(body), {}), DATASET)
        options: Any = {"part_urls": "keep", "include_samples": False}
        assert shaped(fast, **options).equals(shaped(slow, **options))
