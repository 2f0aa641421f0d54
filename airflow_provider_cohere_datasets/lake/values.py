"""Arrow values from Python values, without ``pa.scalar`` and ``pa.array``.

Those import pandas wherever it is installed, which would cost each export half a second and 28 MB.
"""

from __future__ import annotations

import json
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

import pyarrow as pa
import pyarrow.json as pj

from airflow_provider_cohere_datasets.core.filters import on_the_wire

if TYPE_CHECKING:
    from collections.abc import Mapping


def scalars(values: Mapping[str, Any], types: Mapping[str, pa.DataType]) -> dict[str, pa.Scalar]:
    """Return values as Arrow scalars.

    :param values: numbers, texts, times and ``None``.
    :param types: the type of each.
    """
    text = json.dumps(values, default=_time).encode()
    options = pj.ParseOptions(explicit_schema=pa.schema(types))
    row = pj.read_json(pa.BufferReader(text), pj.ReadOptions(use_threads=False, block_size=len(text) + 1), options)
    return {name: row.column(name)[0] for name in types}


def _time(value: object) -> str:
    if not isinstance(value, datetime):  # A mock gives another mock for each, without end.
        raise TypeError(f"a {type(value).__name__} is neither a number nor a text nor a time")
    return on_the_wire(value.astimezone(UTC))
