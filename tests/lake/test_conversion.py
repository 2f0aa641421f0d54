"""Which JSON Lines tables become."""

from __future__ import annotations

import io
import json
import math
from datetime import UTC, date, datetime, time, timedelta
from decimal import Decimal
from typing import Any

import numpy as np
import pandas as pd
import polars as pl
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from airflow_provider_cohere_datasets.core.errors import CohereInputError
from airflow_provider_cohere_datasets.lake import conversion
from airflow_provider_cohere_datasets.lake.conversion import parquet_rows, table_rows, write_json_lines
from airflow_provider_cohere_datasets.lake.errors import CohereStorageError

LIMIT = 1_000_000


def converted(table: Any, limit: int = LIMIT) -> bytes:
    out = io.BytesIO()
    write_json_lines(table_rows("data", table), out, limit)
    return out.getvalue()


def parsed(lines: bytes) -> list[Any]:
    def no_constant(name: str) -> None:
        raise AssertionError(f"{name} is not JSON")

    return [json.loads(line, parse_constant=no_constant) for line in lines.decode().split("\n")[:-1]]


def values(array: pa.Array | pa.ChunkedArray) -> list[Any]:
    return [row["x"] for row in parsed(converted(pa.table({"x": array})))]


def refused(table: Any, **options: Any) -> str:
    with pytest.raises(CohereInputError) as caught:
        converted(table, **options)
    message = str(caught.value)
    assert message.startswith("data ")
    assert message.endswith(".")
    assert "\n" not in message
    assert message.count(". ") == 0
    return message


def integers(kind: pa.DataType, *raw: int | None) -> pa.Array:
    """An array of a type that is stored as integers, from these."""
    return pa.array(raw, pa.int64() if kind.bit_width == 64 else pa.int32()).view(kind)


MAP = pa.map_(pa.string(), pa.int64())
SAME = "the values themselves"
NOON = datetime(2024, 2, 29, 12, 0, 0, 123456)


@pytest.mark.parametrize(
    ("array", "expected"),
    [
        (pa.array([None, None], pa.null()), SAME),
        (pa.array([True, False, None]), SAME),
        (pa.array([-(2**63), 2**63 - 1, None]), SAME),
        (pa.array([2**64 - 1], pa.uint64()), SAME),
        (pa.array([-128, 127], pa.int8()), SAME),
        (pa.array([0.1, -0.0, 1e300, 5e-324, None]), SAME),
        (pa.array([0.5, None], pa.float32()), SAME),
        (pa.array(np.array([0.5, -2], "float16")), SAME),
        (pa.array([math.nan, 1.0, None]), [None, 1.0, None]),
        (pa.array(['é\n"\\\u2028\x00\U0001f600', "", None]), SAME),
        (pa.array(["a", None], pa.large_string()), SAME),
        (pa.array(["a", None], pa.string_view()), SAME),
        (pa.array(["a", None, "b", "a"]).dictionary_encode(), ["a", None, "b", "a"]),
        (pc.run_end_encode(pa.array([7, 7, None])), [7, 7, None]),
        (pa.array([Decimal("1.10"), Decimal("-0.01"), None]), ["1.10", "-0.01", None]),
        (pa.array([Decimal("1e-10")], pa.decimal128(38, 10)), ["0.0000000001"]),
        (pa.array([Decimal("1" * 60)], pa.decimal256(76, 2)), ["1" * 60 + ".00"]),
        (pa.array([date(2024, 2, 29), None]), ["2024-02-29", None]),
        (pa.array([date(2024, 2, 29)], pa.date64()), ["2024-02-29"]),
        (pa.array([time(1, 2, 3), None], pa.time32("s")), ["01:02:03", None]),
        (integers(pa.time64("ns"), 1), ["00:00:00.000000001"]),
        (pa.array([NOON, None]), ["2024-02-29T12:00:00.123456", None]),
        (pa.array([NOON.replace(tzinfo=UTC)]), ["2024-02-29T12:00:00.123456Z"]),
        (integers(pa.timestamp("s", "Europe/Berlin"), 0, None), ["1970-01-01T00:00:00Z", None]),
        (integers(pa.timestamp("ms"), -1), ["1969-12-31T23:59:59.999"]),
        (integers(pa.timestamp("ns"), 1_700_000_000_000_000_001), ["2023-11-14T22:13:20.000000001"]),
        (integers(pa.timestamp("ns", "+05:30"), 1), ["1970-01-01T00:00:00.000000001Z"]),
        (pa.array([[1, None], [], None, [3]]), SAME),
        (pa.array([["a"], None], pa.large_list(pa.string())), SAME),
        (pa.array([[1, 2], None, [3, None]], pa.list_(pa.int64(), 2)), SAME),
        (pa.array([[[1], None], None], pa.list_(pa.list_(pa.int64()))), SAME),
        (pa.array([[math.nan], [1.0]]), [[None], [1.0]]),
        (pa.array([[NOON], None]), [["2024-02-29T12:00:00.123456"], None]),
        (pa.array([{"a": 1, "b": "x"}, None, {"a": None, "b": "y"}]), SAME),
        (pa.array([{"a": [{"b": Decimal("1.0")}]}]), [{"a": [{"b": "1.0"}]}]),
        (pa.array([{}, None], pa.struct([])), SAME),
        (pa.array([[("a", 1), ("b", None)], None, []], MAP), [{"a": 1, "b": None}, None, {}]),
        (
            pa.array([[("a", [NOON])]], pa.map_(pa.string(), pa.list_(pa.timestamp("s")))),
            [{"a": ["2024-02-29T12:00:00"]}],
        ),
    ],
    ids=lambda value: str(value.type) if isinstance(value, pa.Array) else "",
)
def test_each_type(array: pa.Array, expected: Any) -> None:
    expected = array.to_pylist() if expected is SAME else expected
    assert values(array) == expected
    # What is cut out of the middle of an array still has the array's memory.
    assert values(pa.concat_arrays([array, array]).slice(1)) == (expected * 2)[1:]


@pytest.mark.skipif(not hasattr(pa, "json_"), reason="older versions read JSON in Parquet as texts")
def test_json_in_parquet_is_text() -> None:
    texts = ['{"a": 1}', None]
    assert values(pa.ExtensionArray.from_storage(pa.json_(), pa.array(texts))) == texts


@pytest.mark.parametrize(
    ("array", "says"),
    [
        (pa.array([b"\x00"]), "with values of type binary"),
        (pa.array([b"\x00"], pa.large_binary()), "large_binary"),
        (pa.array([b"\x00"], pa.binary(1)), "fixed_size_binary[1]"),
        (pa.array([b"\x00"], pa.binary_view()), "binary_view"),
        (pa.array([b"\x00"]).dictionary_encode(), "with values of type binary"),
        (
            pa.RunEndEncodedArray.from_arrays(pa.array([1], pa.int32()), pa.array(["a"], pa.string_view())),
            "run_end_encoded<run_ends: int32, values: string_view>",
        ),
        (pa.array([[{"raw": b"\x00"}]]), "with values of type binary"),
        (pa.array([[1]], pa.list_view(pa.int64())), "list_view"),
        (pa.array([timedelta(1)]), "duration[us]"),
        (pa.array([(1, 2, 3)], pa.month_day_nano_interval()), "month_day_nano_interval"),
        (pa.UnionArray.from_sparse(pa.array([0], pa.int8()), [pa.array([1])]), "union"),
        (pa.array([[(1, "a")]], pa.map_(pa.int64(), pa.string())), "with map keys of type int64"),
        (pa.array(pd.array(["2024-01"], "period[M]")), "extension type pandas.period"),
        (pa.StructArray.from_arrays([pa.array([1])] * 2, names=["a", "a"]), "structs with two fields of one name"),
    ],
    ids=lambda value: str(value.type) if isinstance(value, pa.Array) else "",
)
def test_types_that_json_cannot_hold_are_refused_by_the_schema(array: pa.Array, says: str) -> None:
    with pytest.raises(CohereInputError) as caught:
        table_rows("data", pa.table({"fine": [1], "bad one": array}))
    assert str(caught.value).startswith("data has a column 'bad one' with ")
    assert says in str(caught.value)
    assert str(caught.value).endswith(", which JSON cannot hold.")


@pytest.mark.parametrize(
    ("array", "says"),
    [
        (pa.array([1.0] * 3000 + [math.inf]), "an infinite number in column 'x', row 3001"),
        (pa.array([[None], [-math.inf]]), "an infinite number in column 'x', row 2"),
        (pa.array([[("a", 1), ("a", 2)]], MAP), "a map with one key twice in column 'x'"),
        (pa.array([b"\xff"]).view(pa.string()), "a text that is not UTF-8 in column 'x'"),
        (integers(pa.timestamp("s"), 2**62), "a time outside the years 0 to 9999 in column 'x'"),
        (integers(pa.timestamp("s", "UTC"), 253402300800), "outside the years"),
        (integers(pa.date32(), -800_000), "outside the years"),
    ],
)
def test_values_that_json_cannot_hold(array: pa.Array, says: str) -> None:
    assert says in refused(pa.table({"fine": ["y"] * len(array), "x": array}))


def test_two_columns_of_one_name() -> None:
    assert "has two columns of the name 'x'" in refused(pa.table([[1], [2]], names=["x", "x"]))


@pytest.mark.parametrize("table", [pa.table({}), pa.table({"x": pa.array([], pa.int64())})])
def test_no_rows(table: pa.Table) -> None:
    assert refused(table) == "data is empty."


def test_a_row_is_a_line_with_every_column_in_its_order() -> None:
    table = pa.table({"text": ["grüß\n", None], "a": [1, 2]})
    assert converted(table) == '{"text":"grüß\\n","a":1}\n{"text":null,"a":2}\n'.encode()


@pytest.mark.parametrize(
    "table",
    [
        pa.table({"x": [1, None]}),
        pa.record_batch({"x": [1, None]}),
        pa.table({"x": [1, None]}).to_reader(),
        pl.DataFrame({"x": [1, None]}),
        pd.DataFrame({"x": pd.array([1, None], "Int64")}),
    ],
    ids=lambda table: f"{type(table).__module__}.{type(table).__name__}",
)
def test_whatever_holds_a_table(table: Any) -> None:
    assert converted(table) == b'{"x":1}\n{"x":null}\n'


@pytest.mark.parametrize("kind", [pl.Categorical, pl.Enum(["neg", "pos"])], ids=["categorical", "enum"])
def test_categories_of_polars(kind: Any) -> None:
    frame = pl.DataFrame({"x": pl.Series(["pos", None, "neg", "pos"], dtype=kind)})
    assert [row["x"] for row in parsed(converted(frame))] == ["pos", None, "neg", "pos"]
    assert [row["x"] for row in parsed(converted(frame.slice(1, 2)))] == [None, "neg"]


def test_entries_of_a_dictionary_that_no_row_has_are_no_trouble() -> None:
    entries = pa.array([0, 10**18], pa.timestamp("s"))  # the second is far beyond the year 9999
    column = pa.DictionaryArray.from_arrays(pa.array([0, None], pa.int8()), entries)
    assert converted(pa.table({"x": column})) == b'{"x":"1970-01-01T00:00:00"}\n{"x":null}\n'


def test_labels_of_rows_are_no_data_but_an_index_with_a_name_is() -> None:
    frame = pd.DataFrame({"x": [1, 2, 3, 4]})[[True, False, True, True]]
    assert converted(frame) == b'{"x":1}\n{"x":3}\n{"x":4}\n'
    file = io.BytesIO()
    frame.to_parquet(file)
    out = io.BytesIO()
    write_json_lines(parquet_rows("data", file), out, LIMIT)
    assert out.getvalue() == converted(frame)
    assert converted(frame.rename_axis("key")).startswith(b'{"x":1,"key":0}')
    anybody = pa.table({"__index_level_0__": [1]}).replace_schema_metadata({"pandas": "no JSON"})
    assert converted(anybody) == b'{"__index_level_0__":1}\n'


def test_what_holds_no_table() -> None:
    assert "cannot be read as a table" in refused(pa.chunked_array([[1]]))


def test_a_stream_that_breaks() -> None:
    def batches() -> Any:
        yield pa.record_batch({"x": [1]})
        raise ValueError("the source went away")

    reader = pa.RecordBatchReader.from_batches(pa.schema({"x": pa.int64()}), batches())
    assert "data cannot be read: " in refused(reader)


def test_it_stops_at_the_limit() -> None:
    table = pa.table({"x": ["y"] * 10})
    size = len(converted(table))
    assert len(converted(table, limit=size)) == size
    assert "becomes more than 99 bytes of JSON Lines" in refused(table, limit=99)
    endless = pa.RecordBatchReader.from_batches(table.schema, iter(lambda: table.to_batches()[0], None))
    assert "becomes more than 100000 bytes" in refused(endless, limit=100_000)


def test_the_digest_does_not_know_the_chunks(monkeypatch: pytest.MonkeyPatch) -> None:
    whole = pa.table({"x": list(range(100))})
    chunked = pa.concat_tables([whole.slice(0, 1), whole.slice(1, 70), whole.slice(71)])
    digests = {write_json_lines(table_rows("data", table), io.BytesIO(), LIMIT) for table in (whole, chunked)}
    monkeypatch.setattr(conversion, "_ROWS", 7)
    digests.add(write_json_lines(table_rows("data", whole), io.BytesIO(), LIMIT))
    assert len(digests) == 1
    assert write_json_lines(table_rows("data", whole.slice(1)), io.BytesIO(), LIMIT) not in digests


class Writes(io.BytesIO):
    """Remembers how much was written at a time."""

    def __init__(self) -> None:
        super().__init__()
        self.sizes: list[int] = []

    def write(self, data: Any, /) -> int:
        self.sizes.append(len(data))
        return super().write(data)


def test_large_rows_are_converted_one_at_a_time(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(conversion, "_BYTES", 1000)
    table = pa.table({"x": ["y" * 2000] * 5})
    file = io.BytesIO()
    pq.write_table(table, file, use_dictionary=False, compression="none")
    for rows in (table_rows("data", table), parquet_rows("data", file)):
        out = Writes()
        write_json_lines(rows, out, LIMIT)
        assert out.sizes == [len('{"x":""}\n') + 2000] * 5


def test_no_room_for_the_lines_is_worth_another_try() -> None:
    class Full(io.BytesIO):
        def write(self, data: Any, /) -> int:
            raise OSError(28, "No space left on device")

    with pytest.raises(CohereStorageError, match="data cannot be converted in a temporary file: No space left"):
        write_json_lines(table_rows("data", pa.table({"x": [1]})), Full(), LIMIT)


SCALARS = [
    (pa.string(), st.text(st.characters(codec="utf-8"))),
    (pa.int64(), st.integers(-(2**63), 2**63 - 1)),
    (pa.uint64(), st.integers(0, 2**64 - 1)),
    (pa.float64(), st.floats(allow_nan=False, allow_infinity=False)),
    (pa.bool_(), st.booleans()),
]


def nested(inner: st.SearchStrategy[Any]) -> st.SearchStrategy[Any]:
    def lists(kind: Any) -> Any:
        return pa.list_(kind[0]), st.lists(st.none() | kind[1], max_size=3)

    def structs(kinds: Any) -> Any:
        names = [f"f{number}" for number in range(len(kinds))]
        fields = {name: st.none() | kind[1] for name, kind in zip(names, kinds, strict=True)}
        return pa.struct(list(zip(names, (kind[0] for kind in kinds), strict=True))), st.fixed_dictionaries(fields)

    return inner.map(lists) | st.lists(inner, min_size=1, max_size=2).map(structs)


@st.composite
def tables(draw: Any) -> pa.Table:
    kinds = draw(st.lists(st.recursive(st.sampled_from(SCALARS), nested, max_leaves=4), min_size=1, max_size=4))
    length = draw(st.integers(1, 6))
    columns = [pa.array(draw(st.lists(st.none() | of, min_size=length, max_size=length)), kind) for kind, of in kinds]
    # Arrow's C interface ends names at a zero.
    letters = st.characters(codec="utf-8", exclude_characters="\0")
    names = draw(st.lists(st.text(letters), min_size=len(kinds), max_size=len(kinds), unique=True))
    table = pa.table(columns, names=names)
    cut = draw(st.integers(0, length - 1))
    return pa.concat_tables([table.slice(cut), table.slice(0, cut)])


@settings(deadline=None)
@given(tables())
def test_the_lines_say_what_the_table_says(table: pa.Table) -> None:
    file = io.BytesIO()
    assert parsed(converted(table)) == table.to_pylist()
    pq.write_table(table, file)
    out = io.BytesIO()
    write_json_lines(parquet_rows("data", file), out, LIMIT)
    assert out.getvalue() == converted(table)
