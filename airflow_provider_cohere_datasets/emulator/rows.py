"""The rows of an uploaded file, one after the other, each with the number of its line."""

from __future__ import annotations

import codecs
import csv
import json
import math
import threading
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any, BinaryIO, NoReturn

FORMATS = (".jsonl", ".csv", ".txt")

_BOM = codecs.BOM_UTF8
_CHUNK_BYTES = 1 << 20
_NOT_UTF8 = "not valid UTF-8"


class _CellLimit:
    """
    Python's limit of the length of a CSV cell, of which there is one for all threads.

    Documents are longer than its 128 KiB. It is lifted while any upload is read, and put back after the last.
    """

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._readers = 0
        self._usual = 0

    @contextmanager
    def lifted(self) -> Iterator[None]:
        """Let cells have any length while the body runs."""
        with self._lock:
            if not self._readers:
                self._usual = csv.field_size_limit(2**31 - 1)
            self._readers += 1
        try:
            yield
        finally:
            with self._lock:
                self._readers -= 1
                if not self._readers:
                    csv.field_size_limit(self._usual)


CELL_LIMIT = _CellLimit()


class BadRow(ValueError):
    """A row that cannot be taken; ``skip_malformed_input`` drops it."""


class BadFile(ValueError):
    """A file of which nothing can be taken."""


Row = tuple[int, "Mapping[str, Any] | BadRow"]


def read_rows(file: BinaryIO, suffix: str, *, csv_delimiter: str, text_separator: str) -> Iterator[Row]:
    """
    Read an upload row by row; it is never in memory as a whole.

    A bad row is handed out, not raised, so that the caller can go on to the next one. Cells of a ``.csv`` file may
    only be long while :data:`CELL_LIMIT` is lifted.

    :param file: the upload.
    :param suffix: one of :data:`FORMATS`.
    :param csv_delimiter: the character between the cells of a ``.csv`` file.
    :param text_separator: the text between the entries of a ``.txt`` file.
    :returns: line number (from 1) and row, or what is wrong with it. Blank lines are left out.
    :raises BadFile: when the header of a ``.csv`` file is of no use.
    """
    if suffix == ".csv":
        return _csv_rows(file, csv_delimiter)
    if suffix == ".txt":
        return _text_rows(file, text_separator)
    return _json_rows(file)


def _json_rows(file: BinaryIO) -> Iterator[Row]:
    for line, raw in enumerate(file, start=1):
        if line == 1:
            raw = raw.removeprefix(_BOM)
        if raw.strip():
            yield line, _json_row(raw)


def _json_row(raw: bytes) -> Mapping[str, Any] | BadRow:
    try:
        text = raw.decode("utf-8")
        row = json.loads(text, parse_float=_finite, parse_constant=_refuse_constant)
        if "\\u" in text:  # JSON can spell half a surrogate pair, which no file can store
            json.dumps(row, ensure_ascii=False).encode("utf-8")
    except UnicodeError:
        return BadRow(_NOT_UTF8)
    except json.JSONDecodeError as error:
        return BadRow(f"malformed JSON: {error.msg} at column {error.colno}")
    except (ValueError, RecursionError) as error:
        return BadRow(f"malformed JSON: {error}")
    return row if isinstance(row, dict) else BadRow("not a JSON object")


def _finite(number: str) -> float:
    value = float(number)
    if math.isinf(value):  # 1e999 is JSON, but nothing could store it and give it back as JSON
        raise ValueError(f"{number} is out of range")
    return value


def _refuse_constant(name: str) -> NoReturn:
    raise ValueError(f"{name} is not a JSON value")


def _csv_rows(file: BinaryIO, delimiter: str) -> Iterator[Row]:
    reader = csv.reader(_csv_lines(file), delimiter=delimiter, strict=True)
    try:
        header = next((cells for cells in reader if cells), [])
    except csv.Error as error:
        raise BadFile(f"line 1: malformed CSV: {error}") from None
    if not _is_unicode("".join(header)):
        raise BadFile(f"line 1: {_NOT_UTF8}")
    if len(set(header)) < len(header):
        raise BadFile("line 1: two columns have the same name")
    while True:
        line = reader.line_num + 1  # a quoted cell may span lines: the row is known by its first
        try:
            cells = next(reader)
        except StopIteration:
            return
        except csv.Error as error:
            yield line, BadRow(f"malformed CSV: {error}")
            continue
        if not cells:
            continue
        if not _is_unicode("".join(cells)):
            yield line, BadRow(_NOT_UTF8)
        elif len(cells) != len(header):
            yield line, BadRow(f"{len(cells)} cells where the header has {len(header)}")
        else:
            yield line, dict(zip(header, cells, strict=True))


def _csv_lines(file: BinaryIO) -> Iterator[str]:
    # A wrong byte must cost its own row only, so it travels on as a surrogate until the row is known.
    for line, raw in enumerate(file, start=1):
        yield (raw.removeprefix(_BOM) if line == 1 else raw).decode("utf-8", "surrogateescape")


def _text_rows(file: BinaryIO, separator: str) -> Iterator[Row]:
    line = 1
    for entry in _text_entries(file, separator):
        text = entry.strip("\r\n")
        if text.strip():
            yield line, {"text": text} if _is_unicode(text) else BadRow(_NOT_UTF8)
        line += entry.count("\n") + separator.count("\n")


def _text_entries(file: BinaryIO, separator: str) -> Iterator[str]:
    decoder = codecs.getincrementaldecoder("utf-8-sig")("surrogateescape")
    # An entry over many chunks is joined once; a separator that two chunks share is found with the next one.
    pieces: list[str] = []
    while chunk := file.read(_CHUNK_BYTES):
        pieces.append(decoder.decode(chunk))
        if separator in pieces[-1]:
            *entries, rest = "".join(pieces).split(separator)
            pieces = [rest]
            yield from entries
    yield from "".join([*pieces, decoder.decode(b"", True)]).split(separator)


def _is_unicode(text: str) -> bool:
    try:
        text.encode("utf-8")
    except UnicodeEncodeError:
        return False
    return True
