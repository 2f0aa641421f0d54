"""From the bytes of one answer to rows in the export's schema.

The fast path lets pyarrow read the whole page against the schema, without a Python object for a row. It refuses what
it cannot take exactly (a number as a text, ``1e3``, a fraction, 2^63, digits below a microsecond, a lone surrogate, a
repeated key, a wrong container), and what it would take but differently is looked for afterwards. A page that it does
not take goes row by row through the models, which give ``None`` for a value they cannot read, and say so. Both paths
give the same table.

Two defaults hold on both: a part without an index is part 0, and a dataset without a status is ``unknown``, because
the API leaves zero values out. Everything else that is left out is null.
"""

from __future__ import annotations

import codecs
import json
import math
import re
from dataclasses import replace
from datetime import UTC, datetime
from decimal import Decimal, InvalidOperation
from typing import TYPE_CHECKING, Any, Literal

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.json as pj

from airflow_provider_cohere_datasets.core import calls
from airflow_provider_cohere_datasets.core.filters import microseconds
from airflow_provider_cohere_datasets.core.ledger import nameless
from airflow_provider_cohere_datasets.core.untrusted import shallow
from airflow_provider_cohere_datasets.lake.errors import CohereBadRowError
from airflow_provider_cohere_datasets.lake.pages import DecodedPage
from airflow_provider_cohere_datasets.lake.parts import PartUrls, shaped, with_defaults
from airflow_provider_cohere_datasets.lake.schema import DATASET, RAW_FIELD

if TYPE_CHECKING:
    from collections.abc import Callable

    from airflow_provider_cohere_datasets.core.calls import Call, Reply

OnBadRow = Literal["keep", "fail"]

_ANSWER = pj.ParseOptions(
    explicit_schema=pa.schema({"datasets": pa.list_(DATASET)}), unexpected_field_behavior="ignore"
)
#: Anything but an object is not for pyarrow: a bare ``null`` makes it crash.
_OBJECT = re.compile(rb"[ \t\r\n]*\{")
#: The times that Python can tell, in microseconds since 1970.
_FIRST, _LAST = (microseconds(end.replace(tzinfo=UTC)) for end in (datetime.min, datetime.max))
#: Longer numbers are far beyond 64 bits, and slow to read.
_MAX_DIGITS = 40


class Decoder:
    """Decodes the answers of one export; what :func:`~.core.paging.list_pages` calls ``read``.

    :param part_urls: ``strip`` removes the signature from part URLs, ``drop`` the whole URL, ``keep`` nothing.
    :param include_samples: whether sample rows land.
    :param keep_raw: whether each row also lands as it came, in ``_raw``; costs a second reading of the page.
    :param on_bad_row: ``fail`` makes a row without a readable id an error; other bad rows are the caller's business.
    """

    def __init__(
        self,
        *,
        part_urls: PartUrls = "strip",
        include_samples: bool = True,
        keep_raw: bool = False,
        on_bad_row: OnBadRow = "keep",
    ) -> None:
        self.part_urls = part_urls
        self.include_samples = include_samples
        self.keep_raw = keep_raw
        self.on_bad_row = on_bad_row
        #: Whether an answer came without the list.
        self.listless = False
        self._nameless: set[int] = set()
        #: Called with each answer, also with those that bring nothing new.
        self.heard: Callable[[], None] = lambda: None

    @property
    def rows_without_id(self) -> int:
        """Rows that had to be left out, because without an id nobody can tell whether they were read before."""
        return len(self._nameless)

    def prepare(self, reply: Reply) -> Reply:
        """Decode an answer before it is asked for; may run in another thread.

        :returns: what shall be decoded instead: without its body, or the same if it is not for the fast path.
        """
        body = reply.body.removeprefix(codecs.BOM_UTF8)
        rows = read_fast(body)
        if not rows:
            return reply
        page = self._page(rows, body, {}, {})
        # Here they cost no time of the thread that everything goes through.
        _ = page.ids, page.created
        return replace(reply, body=b"", decoded=page)

    def __call__(self, call: Call, reply: Reply) -> DecodedPage:
        """Decode one answer.

        :raises CohereUnexpectedAnswerError: if it is not a list of datasets.
        :raises CohereBadRowError: if a row has no id and ``on_bad_row`` is ``fail``.
        """
        self.heard()
        if isinstance(reply.decoded, DecodedPage):
            return reply.decoded
        body = reply.body.removeprefix(codecs.BOM_UTF8)
        problems: dict[int, list[str]] = {}
        unnamed: dict[int, int] = {}
        rows = read_fast(body)
        if rows is None:
            rows = self._read_slowly(call, reply, body, problems, unnamed)
        elif not rows:  # Beside an empty list, an error may stand.
            calls.read_rows(call, reply)
        return self._page(rows, body, problems, unnamed)

    def _page(
        self, rows: pa.StructArray, body: bytes, problems: dict[int, list[str]], unnamed: dict[int, int]
    ) -> DecodedPage:
        rows = shaped(rows, part_urls=self.part_urls, include_samples=self.include_samples)
        batch = pa.RecordBatch.from_struct_array(rows)
        if self.keep_raw:
            from airflow_provider_cohere_datasets.lake.raw import raw_rows

            try:
                texts = raw_rows(body, part_urls=self.part_urls, include_samples=self.include_samples)
            except ValueError:  # pyarrow takes Inf in fields that it ignores.
                texts = [None] * len(rows)
            for position, text in enumerate(texts):
                if text is None:
                    problems.setdefault(position, []).append("it or its page is nested too deeply for _raw, or no JSON")
            batch = batch.append_column(RAW_FIELD, pa.array(texts, RAW_FIELD.type))
        return DecodedPage(batch, problems, unnamed)

    def _read_slowly(
        self, call: Call, reply: Reply, body: bytes, problems: dict[int, list[str]], unnamed: dict[int, int]
    ) -> pa.StructArray:
        values = read_values(body)
        if not values or not isinstance(values, list):
            listed = isinstance(values, list)
            # Raises if the answer is an error or no JSON; else there are no datasets.
            values = calls.read_rows(call, reply)
            self.listless = self.listless or not listed
        rows = read_rows(values, problems)
        for position, row in enumerate(rows):
            if row.get("id") is None:
                if self.on_bad_row == "fail":
                    raise CohereBadRowError(f"A row of the list has no readable id: {problems[position][0]}.")
                unnamed[position] = nameless(values[position])
        self._nameless.update(unnamed.values())
        return pa.array(rows, DATASET)


def read_fast(body: bytes) -> pa.StructArray | None:
    """Read a page with pyarrow, or return ``None`` if that would not be exact."""
    if not _OBJECT.match(body) or not _is_utf8(body):
        return None
    options = pj.ReadOptions(use_threads=False, block_size=len(body) + 1)
    try:
        answer = pj.read_json(pa.BufferReader(body), read_options=options, parse_options=_ANSWER)
    except pa.ArrowException:
        return None
    if answer.num_rows != 1 or answer.column("datasets").null_count:
        return None
    rows = answer.column("datasets").chunk(0).values
    return with_defaults(rows) if _is_exact(rows) else None


def _is_utf8(body: bytes) -> bool:
    """Return whether the bytes are UTF-8, which pyarrow does not check."""
    if body.isascii():
        return True
    try:
        body.decode()
    except UnicodeDecodeError:
        return False
    return True


def _is_exact(rows: pa.StructArray) -> bool:
    """Look for what pyarrow takes and the models do not."""
    ids = rows.field("id")
    if rows.null_count or ids.null_count or pc.min(pc.binary_length(ids)).as_py() == 0:
        return False
    for name in ("created_at", "updated_at"):
        ends = pc.min_max(rows.field(name))
        if ends["min"].is_valid and (ends["min"].value < _FIRST or ends["max"].value > _LAST):
            return False
    return not _has_null_items(rows)


def _has_null_items(array: pa.Array) -> bool:
    if isinstance(array, pa.ListArray):
        return array.values.null_count > 0 or _has_null_items(array.values)
    if isinstance(array, pa.StructArray):
        return any(_has_null_items(array.field(index)) for index in range(array.type.num_fields))
    return False


def read_values(body: bytes) -> Any:
    """Read the list of a page into Python values, or return ``None`` if there is none."""
    try:
        try:
            answer = _loaded(body)
        except RecursionError:  # One value that is nested too deeply costs no other.
            answer = _loaded(shallow(body))
    except (ValueError, RecursionError):
        return None
    values = answer.get("datasets") if isinstance(answer, dict) else None
    return _storable(values) if _SURROGATE.search(body) or not _is_utf8(body) else values


def _loaded(body: bytes) -> Any:
    # What is no UTF-8 becomes a lone surrogate, so that it costs one value and not the page.
    return json.loads(body.decode(errors="surrogateescape"), parse_float=_number, parse_int=_integer)


#: How JSON writes a surrogate; where there is none of these, there is no lone one either.
_SURROGATE = re.compile(rb"\\u[dD][89a-fA-F]")


class _Unstorable:
    """Stands for a text that cannot be stored as UTF-8; no model takes it."""

    def __repr__(self) -> str:
        return "unstorable"  # The same for the same row, see nameless().


def _storable(value: Any, depth: int = 20) -> Any:
    """Return a value with every text in it that has a lone surrogate made unreadable."""
    if depth == 0:  # Far below anything documented.
        return _Unstorable()
    if isinstance(value, str):
        try:
            value.encode()
        except UnicodeEncodeError:
            return _Unstorable()
        return value
    if isinstance(value, dict):
        return {name: _storable(member, depth - 1) for name, member in value.items()}
    return [_storable(item, depth - 1) for item in value] if isinstance(value, list) else value


def _integer(text: str) -> int | float:
    return int(text) if len(text) <= _MAX_DIGITS else math.inf


def _number(text: str) -> int | float:
    """Read ``1e3`` as the integer that it is, so that nothing is rounded; anything else is no integer."""
    try:
        value = Decimal(text)
    except InvalidOperation:
        return math.inf
    if value.adjusted() > _MAX_DIGITS:
        return math.inf
    return int(value) if value == value.to_integral_value() else math.nan


def read_rows(values: list[Any], problems: dict[int, list[str]]) -> list[dict[str, Any]]:
    """Read rows with the models, each for itself.

    :param values: the rows as they came.
    :param problems: receives what could not be read, by position.
    :returns: one row for each value; empty for one that has no id.
    """
    from pydantic import ValidationError

    from airflow_provider_cohere_datasets.core.models import Dataset

    documented = {field.name for field in DATASET}
    rows: list[dict[str, Any]] = []
    for position, value in enumerate(values):
        found: list[str] = []
        row: dict[str, Any] = {}
        if isinstance(value, dict):
            known = {name: value[name] for name in documented & value.keys()}
            try:
                dataset = Dataset.model_validate(known, context={"problems": found, "nulls": True})
                row = dataset.model_dump(by_alias=True, warnings=False)
            except ValidationError as error:
                found.append(f"Dataset.id: {error.errors()[0]['msg']}")
        else:
            found.append(f"it is not an object but a {type(value).__name__}")
        rows.append(row)
        if found:
            problems[position] = found
    return rows
