"""The exported Parquet file, as a person likes to see it."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime
from pathlib import Path
from typing import Any

_HEADINGS = ("id", "type", "status", "rows", "created (UTC)", "expires")
_RIGHT = frozenset({"rows"})
_COLUMNS = ("id", "dataset_type", "validation_status", "dataset_parts", "created_at", "_expires_at")
_VERSION = b"cohere_datasets.schema_version"


def describe_file(path: Path) -> str:
    """Return how much a file holds, in one line.

    :param path: the file.
    """
    import pyarrow.parquet

    with pyarrow.parquet.ParquetFile(path) as file:
        schema = file.schema_arrow
        version = (schema.metadata or {}).get(_VERSION, b"unknown").decode()
        size = path.stat().st_size
        return f"{file.metadata.num_rows} rows, {len(schema)} columns, {size:,} bytes, schema version {version}"


def describe_rows(path: Path) -> list[str]:
    """Return the rows of a file, newest first, as the lines of an aligned table.

    :param path: the file.
    """
    import pyarrow.parquet

    rows = pyarrow.parquet.read_table(path, columns=list(_COLUMNS)).sort_by([("created_at", "descending")])
    return aligned(_HEADINGS, [_cells(row) for row in rows.to_pylist()])


def aligned(headings: Sequence[str], rows: Sequence[Sequence[str]]) -> list[str]:
    """Return headings, a rule and rows, with every column as wide as its widest cell.

    :param headings: the names of the columns.
    :param rows: their cells.
    """
    widths = [max(map(len, column)) for column in zip(headings, *rows, strict=True)]

    def line(cells: Sequence[str]) -> str:
        padded = (
            cell.rjust(width) if heading in _RIGHT else cell.ljust(width)
            for heading, cell, width in zip(headings, cells, widths, strict=True)
        )
        return "  ".join(padded).rstrip()

    return [line(headings), "  ".join("─" * width for width in widths), *map(line, rows)]


def _cells(row: dict[str, Any]) -> list[str]:
    return [
        row["id"],
        row["dataset_type"] or "",
        row["validation_status"] or "",
        _total_rows(row["dataset_parts"]),
        _moment(row["created_at"], "%Y-%m-%d %H:%M"),
        _moment(row["_expires_at"], "%Y-%m-%d"),
    ]


def _total_rows(parts: list[dict[str, Any]] | None) -> str:
    counts = [part["num_rows"] for part in parts or () if part["num_rows"] is not None]
    return f"{sum(counts):,}" if counts else ""


def _moment(moment: datetime | None, form: str) -> str:
    return moment.strftime(form) if moment else ""
