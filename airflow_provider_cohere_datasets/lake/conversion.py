"""Tables become JSON Lines, a few rows at a time.

A column becomes a key of every row, ``null`` where it has no value. Texts, numbers and booleans stay what they are, to
the last digit; lists become arrays, structs and maps objects. Dates, times and timestamps become ISO 8601 texts with
all digits of their unit, timestamps with a zone in UTC with ``Z``, those without one as they are. Decimals become
texts, because JSON's readers would round them. NaN becomes ``null``. What JSON cannot hold is refused: by the schema
if that can tell, else with the number of the row, counted from 1. The labels that pandas gives to rows are left out.
"""

from __future__ import annotations

import hashlib
import json
from collections import Counter
from dataclasses import dataclass
from typing import IO, TYPE_CHECKING, Any

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
from pyarrow import types

from airflow_provider_cohere_datasets.core.errors import CohereInputError
from airflow_provider_cohere_datasets.lake.errors import CohereStorageError

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

#: Rows, and about how many bytes, that are converted at a time.
_ROWS, _BYTES = 256, 4 << 20
#: Bytes that are read at a time of one column of Parquet, and of all. Large ones, because each is a request.
_COLUMN_BYTES, _COLUMNS_BYTES = 1 << 20, 64 << 20

_TEXTS = (types.is_string, types.is_large_string, types.is_string_view)
_LISTS = (types.is_list, types.is_large_list, types.is_fixed_size_list)
_MOMENTS = (types.is_date, types.is_time, types.is_timestamp)
_AS_THEY_ARE = (types.is_null, types.is_boolean, types.is_integer, *_TEXTS)

_encode = json.JSONEncoder(ensure_ascii=False, allow_nan=False, check_circular=False, separators=(",", ":")).encode


class _BadValueError(ValueError):
    """What is wrong with a value; the caller knows the column."""


@dataclass(frozen=True, slots=True)
class Rows:
    """Rows that :func:`write_json_lines` can write, as far as the schema tells.

    :param what: what they are, for errors; the name of the argument comes first.
    :param schema: their columns.
    :param batches: the rows, read once.
    :raises CohereInputError: if there is a column that JSON cannot hold, or two of one name.
    """

    what: str
    schema: pa.Schema
    batches: Iterable[pa.RecordBatch]

    def __post_init__(self) -> None:
        """Check the schema."""
        if twice := _repeated(self.schema.names):
            raise CohereInputError(f"{self.what} has two columns of the name {twice!r:.60}.")
        for column in self.schema:
            if complaint := _complaint(column.type):
                raise CohereInputError(
                    f"{self.what} has a column {column.name!r:.60} with {complaint}, which JSON cannot hold."
                )


def table_rows(what: str, table: Any) -> Rows:
    """Return the rows of a table, or of a stream of record batches, which is used up.

    :param what: what it is, for errors.
    :param table: an object of the Arrow PyCapsule interface: a ``pyarrow.Table``, ``RecordBatch`` or
        ``RecordBatchReader``, a data frame of pandas or polars.
    :raises CohereInputError: if it is no table, or has a column that JSON cannot hold.
    """
    try:
        reader = pa.RecordBatchReader.from_stream(table)
    except (pa.ArrowException, TypeError) as error:
        raise CohereInputError(f"{what} cannot be read as a table: {_sentence(error)}.") from error
    return _rows(what, reader.schema, reader)


def parquet_rows(what: str, stream: IO[bytes]) -> Rows:
    """Return the rows of a Parquet file, which is read while they are.

    :param what: what it is, for errors.
    :param stream: the file, which can seek; it must stay open.
    :raises CohereInputError: if it is no Parquet file, has no rows, or has a column that JSON cannot hold.
    :raises OSError: if it cannot be read.
    """
    try:
        metadata = pq.read_metadata(stream)
        # Without buffers of its own, or with "pre_buffer", it would hold whole row groups.
        buffer = max(1, min(_COLUMN_BYTES, _COLUMNS_BYTES // max(1, metadata.num_columns)))
        file = pq.ParquetFile(stream, metadata=metadata, buffer_size=buffer, pre_buffer=False)
        schema = file.schema_arrow
    except pa.ArrowException as error:
        raise CohereInputError(f"{what} is not a Parquet file that can be read: {_sentence(error)}.") from error
    if metadata.num_rows == 0:
        raise CohereInputError(f"{what} is empty.")
    size = sum(metadata.row_group(group).total_byte_size for group in range(metadata.num_row_groups))
    return _rows(what, schema, file.iter_batches(_some(metadata.num_rows, size), use_threads=False))


def _rows(what: str, schema: pa.Schema, batches: Iterable[pa.RecordBatch]) -> Rows:
    """Return rows without the labels that pandas gives to rows; an index with a name is a column like any other."""
    try:
        index = (schema.pandas_metadata or {}).get("index_columns", ())
    except (ValueError, AttributeError):  # The metadata are anybody's.
        index = ()
    labels = [name for name in index if isinstance(name, str) and name.startswith("__index_level_")]
    if not any(name in schema.names for name in labels):
        return Rows(what, schema, batches)
    kept = [position for position, name in enumerate(schema.names) if name not in labels]
    return Rows(what, pa.schema([schema.field(position) for position in kept]), (each.select(kept) for each in batches))


def write_json_lines(rows: Rows, out: IO[bytes], limit: int) -> str:
    """Write rows as JSON Lines, and return the SHA-256 of what was written.

    :param rows: the rows.
    :param out: where to; it is flushed, not closed.
    :param limit: bytes at the most; it stops before it writes more.
    :raises CohereInputError: if there is no row, one that JSON cannot hold, or more than the limit.
    :raises CohereStorageError: if it cannot be written.
    :raises OSError: if the rows cannot be read.
    """
    digest, size = hashlib.sha256(), 0
    try:
        for lines in _all_lines(rows):
            size += len(lines)
            if size > limit:
                raise CohereInputError(
                    f"{rows.what} becomes more than {limit} bytes of JSON Lines, the most that Cohere takes."
                )
            digest.update(lines)
            _write(rows.what, out, lines)
    except pa.ArrowException as error:
        raise CohereInputError(f"{rows.what} cannot be read: {_sentence(error)}.") from error
    if not size:
        raise CohereInputError(f"{rows.what} is empty.")
    return digest.hexdigest()


def _write(what: str, out: IO[bytes], lines: bytes) -> None:
    try:
        out.write(lines)
        out.flush()
    except OSError as error:
        raise CohereStorageError(f"{what} cannot be converted in a temporary file: {error.strerror}.") from error


def _some(rows: int, size: int) -> int:
    """Return how many of these rows to convert at a time."""
    return max(1, min(_ROWS, _BYTES * rows // max(size, 1)))


def _all_lines(rows: Rows) -> Iterator[bytes]:
    done, step = 0, 1
    for batch in rows.batches:
        start = 0
        while start < batch.num_rows:
            piece = batch.slice(start, step)
            lines = _lines(rows, piece, done)
            yield lines
            start += piece.num_rows
            done += piece.num_rows
            # The size in Arrow's memory would not tell: values may share theirs.
            step = _some(piece.num_rows, len(lines))


def _lines(rows: Rows, batch: pa.RecordBatch, done: int) -> bytes:
    names, columns = batch.schema.names, []
    for name, column in zip(names, batch.columns, strict=True):
        try:
            columns.append(_values(column))
        except UnicodeDecodeError:
            raise CohereInputError(f"{rows.what} has a text that is not UTF-8 in column {name!r:.60}.") from None
        except _BadValueError as error:
            raise CohereInputError(f"{rows.what} has {error} in column {name!r:.60}.") from None
    lines = []
    for number, row in enumerate(zip(*columns, strict=True), start=done + 1):
        try:
            lines.append(_encode(dict(zip(names, row, strict=True))))
        except ValueError:
            name = next(name for name, value in zip(names, row, strict=True) if not _can_be_encoded(value))
            raise CohereInputError(
                f"{rows.what} has an infinite number in column {name!r:.60}, row {number}."
            ) from None
    lines.append("")
    return "\n".join(lines).encode()


def _can_be_encoded(value: Any) -> bool:
    try:
        _encode(value)
    except ValueError:
        return False
    return True


def _is(kind: pa.DataType, tests: Iterable[Any]) -> bool:
    return any(test(kind) for test in tests)


def _repeated(names: Iterable[str]) -> str | None:
    return next((name for name, count in Counter(names).items() if count > 1), None)


def _complaint(kind: pa.DataType) -> str | None:
    """Return what JSON cannot hold of a type, or ``None``; in step with :func:`_values`."""
    if isinstance(kind, pa.BaseExtensionType) and kind.extension_name == "arrow.json":  # Parquet's JSON is a text.
        return _complaint(kind.storage_type)
    if isinstance(kind, pa.BaseExtensionType):  # What is stored may mean something else: a month as a number.
        return f"values of the extension type {kind.extension_name}"
    if types.is_run_end_encoded(kind) and types.is_string_view(kind.value_type):
        return f"values of type {kind}"  # pyarrow cannot decode them.
    if types.is_dictionary(kind) or types.is_run_end_encoded(kind) or _is(kind, _LISTS):
        return _complaint(kind.value_type)
    if types.is_map(kind):
        return _complaint(kind.item_type) if _is(kind.key_type, _TEXTS) else f"map keys of type {kind.key_type}"
    if types.is_struct(kind):
        fields = [kind.field(position) for position in range(kind.num_fields)]
        if _repeated(field.name for field in fields):
            return "structs with two fields of one name"
        return next((complaint for field in fields if (complaint := _complaint(field.type))), None)
    if _is(kind, (*_AS_THEY_ARE, types.is_floating, types.is_decimal, *_MOMENTS)):
        return None
    return f"values of type {kind}"


def _values(array: pa.Array) -> list[Any]:
    """Return the values of an array as JSON has them."""
    kind = array.type
    if isinstance(kind, pa.BaseExtensionType):
        return _values(array.storage)
    if _is(kind, _AS_THEY_ARE):
        values: list[Any] = array.to_pylist()
        return values
    if types.is_floating(kind):  # Only NaN is not equal to itself; older pyarrow has NumPy's numbers for float16.
        return [None if value is None or value != value else float(value) for value in array.to_pylist()]
    if types.is_decimal(kind):  # Not str(), which writes small ones with an exponent.
        return [None if value is None else format(value, "f") for value in array.to_pylist()]
    if _is(kind, _MOMENTS):
        return _moments(array)
    if types.is_dictionary(kind):  # pyarrow decodes none of views, which is what polars has.
        indices = array.indices.to_pylist()
        # The few that these rows use: the whole column's entries come with each batch of it.
        entries = {index: _values(array.dictionary.slice(index, 1))[0] for index in set(indices) - {None}}
        return [entries.get(index) for index in indices]
    if types.is_run_end_encoded(kind):
        return _values(pc.run_end_decode(array))
    if types.is_map(kind):
        return _maps(array)
    if types.is_struct(kind):
        names = [field.name for field in kind]
        columns = [_values(column) for column in array.flatten()]
        return [
            {name: column[row] for name, column in zip(names, columns, strict=True)} if valid else None
            for row, valid in enumerate(array.is_valid().to_pylist())
        ]
    items = iter(_values(array.flatten()))
    lengths = pc.list_value_length(array).to_pylist()
    return [None if length is None else [next(items) for _ in range(length)] for length in lengths]


def _moments(array: pa.Array) -> list[str | None]:
    # Arrow writes them, not Python, whose own end at microseconds.
    zone = ""
    if types.is_timestamp(array.type) and array.type.tz is not None:
        zone, array = "Z", array.view(pa.timestamp(array.type.unit))
    texts = [None if text is None else text.replace(" ", "T") for text in array.cast(pa.string()).to_pylist()]
    for text in texts:
        if text is not None and text[4:5] != "-" and text[2:3] != ":":
            raise _BadValueError("a time outside the years 0 to 9999")
    return [None if text is None else text + zone for text in texts]


def _maps(array: pa.Array) -> list[dict[str, Any] | None]:
    ends = array.offsets.to_pylist()
    start, length = ends[0], ends[-1] - ends[0]
    keys, items = _values(array.keys.slice(start, length)), _values(array.items.slice(start, length))
    maps: list[dict[str, Any] | None] = []
    for first, end, valid in zip(ends, ends[1:], array.is_valid().to_pylist(), strict=False):
        entries = dict(zip(keys[first - start : end - start], items[first - start : end - start], strict=True))
        if valid and len(entries) < end - first:
            raise _BadValueError("a map with one key twice")
        maps.append(entries if valid else None)
    return maps


def _sentence(error: Exception) -> str:
    return " ".join(str(error).split()).partition(". ")[0].rstrip(".")
