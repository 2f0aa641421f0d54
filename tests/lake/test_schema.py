from __future__ import annotations

import json
from collections.abc import Iterable, Iterator
from datetime import UTC, datetime, timedelta, timezone
from pathlib import Path
from typing import Any, get_args

import duckdb
import polars
import pyarrow as pa
import pyarrow.dataset as ds
import pyarrow.parquet as pq
from pydantic import BaseModel

from airflow_provider_cohere_datasets.core.models import Dataset
from airflow_provider_cohere_datasets.lake.schema import (
    DATASET,
    DESCRIPTIONS,
    SCHEMA_VERSION,
    Stamp,
    expires_at,
    file_schema,
    stamped,
)
from tests.adversary import make_datasets
from tests.lake.conftest import STAMP, decode


def models_in(annotation: Any) -> list[type[BaseModel]]:
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        return [annotation]
    return [model for inner in get_args(annotation) for model in models_in(inner)]


def assert_same_fields(model: type[BaseModel], kind: Any) -> None:
    names = [field.alias or name for name, field in model.model_fields.items()]
    assert names == [field.name for field in kind]
    for field, arrow in zip(model.model_fields.values(), kind, strict=True):
        for inner in models_in(field.annotation):
            assert_same_fields(inner, arrow.type.value_type if pa.types.is_list(arrow.type) else arrow.type)


def test_the_schema_has_every_field_of_the_models() -> None:
    assert_same_fields(Dataset, DATASET)


def paths(fields: Iterable[pa.Field], prefix: str = "") -> Iterator[str]:
    for field in fields:
        yield prefix + field.name
        kind = field.type.value_type if pa.types.is_list(field.type) else field.type
        if pa.types.is_struct(kind):
            yield from paths(kind, f"{prefix}{field.name}.")


def test_every_field_is_described_and_the_version_stands_in_the_file(tmp_path: Path) -> None:
    schema = file_schema(keep_raw=True)
    # In the same order, too, so that no description can be left behind.
    assert list(paths(schema)) == list(DESCRIPTIONS)
    pq.write_table(schema.empty_table(), tmp_path / "empty.parquet")
    metadata = pq.read_metadata(tmp_path / "empty.parquet").metadata
    assert metadata[b"cohere_datasets.schema_version"] == str(SCHEMA_VERSION).encode()
    assert json.loads(metadata[b"cohere_datasets.field_descriptions"]) == DESCRIPTIONS


def test_columns_of_the_export_cannot_collide_with_those_of_the_api() -> None:
    own = [name for name in file_schema(keep_raw=True).names if name.startswith("_")]
    assert own == ["_expires_at", "_exported_at", "_run_id", "_logical_date", "_schema_version", "_raw"]
    assert not any(field.name.startswith("_") for field in DATASET)


def test_rows_are_stamped() -> None:
    rows = pa.Table.from_batches([decode(list(make_datasets(2))).rows])
    east = Stamp(STAMP.exported_at, "run", datetime(2026, 1, 1, 2, tzinfo=timezone(timedelta(hours=2))))
    row = stamped(rows, east, file_schema()).to_pylist()[1]
    assert row["_exported_at"] == STAMP.exported_at
    assert row["_run_id"] == "run"
    assert row["_logical_date"] == datetime(2026, 1, 1, tzinfo=UTC)
    assert row["_schema_version"] == SCHEMA_VERSION
    assert row["_expires_at"] == row["created_at"] + timedelta(days=30)
    assert stamped(rows, Stamp(STAMP.exported_at), file_schema()).to_pylist()[0]["_logical_date"] is None


def test_what_would_expire_after_the_year_9999_has_no_expiry() -> None:
    times = [datetime(9999, 12, 1, 23, 59, 59, 999999, tzinfo=UTC), datetime(9999, 12, 2, tzinfo=UTC), None]
    expiry = expires_at(pa.array(times, pa.timestamp("us", "UTC"))).to_pylist()
    assert expiry == [datetime(9999, 12, 31, 23, 59, 59, 999999, tzinfo=UTC), None, None]


def test_old_files_are_read_together_with_new_ones(tmp_path: Path) -> None:
    """A column may be added; whoever reads both gets null for it from the old file."""
    old_rows = stamped(pa.Table.from_batches([decode(list(make_datasets(2))).rows]), STAMP, file_schema())
    new_schema = file_schema(keep_raw=True)
    new_page = decode(list(make_datasets(3)), keep_raw=True)
    new_rows = stamped(pa.Table.from_batches([new_page.rows]), STAMP, new_schema)
    pq.write_table(old_rows, tmp_path / "a.parquet")
    pq.write_table(new_rows, tmp_path / "b.parquet")

    together = ds.dataset(tmp_path, schema=new_schema).to_table()
    assert together.num_rows == 5
    assert together.column("_raw").null_count == 2
    counts = duckdb.sql(
        f"select count(*), count(_raw), max(created_at) from read_parquet('{tmp_path}/*.parquet', union_by_name=true)"
    ).fetchall()
    assert counts[0][:2] == (5, 3)
    frame = polars.scan_parquet(tmp_path / "*.parquet", missing_columns="insert", extra_columns="ignore").collect()
    assert frame.shape == (5, len(file_schema().names))
