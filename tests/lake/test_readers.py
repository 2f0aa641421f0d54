"""What an export wrote is read back by four engines, each with its own reader, from the disk and from S3."""

from __future__ import annotations

from collections.abc import Callable
from datetime import timedelta
from pathlib import Path
from typing import Any

import duckdb
import pandas
import polars
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from airflow_provider_cohere_datasets.lake.schema import DATASET
from tests.adversary import AdversarialServer, make_datasets
from tests.adversary.rows import parse_timestamp

KEY = "lake/cohere/ds=2026-01-01/datasets.parquet"
METRICS = {
    "trainable_token_count": 2**62,
    "chat_data_metrics": {"num_train_turns": 0, "preamble": ""},
    "classify_data_metrics": {"label_metrics": [{"label": "ü", "samples": ["a", ""]}, {"total_examples": 3}]},
}
#: Values that readers mix up, for the first of many rows.
ODD: list[dict[str, Any]] = [
    {"validation_error": "", "required_fields": [], "dataset_parts": []},
    {"validation_error": None, "required_fields": None, "dataset_parts": None, "updated_at": None},
    {"name": "snow \u2603 \U0001f600 \x00 \u2028", "schema": None, "preserve_fields": ["", "b"]},
    {"parse_info": {"separator": "\t"}, "metrics": {"finetune_dataset_metrics": METRICS}},
    {"parse_info": {}, "metrics": {}, "validation_warnings": ["one", "two"], "future": [1]},
    {"created_at": "1969-12-31T23:59:59.999999Z", "updated_at": "2999-01-01T00:00:00+02:00"},
]


def wanted(row: dict[str, Any]) -> dict[str, Any]:
    """Return a row of the server's as it shall be in the lake."""
    values = {field.name: row.get(field.name) for field in DATASET}
    for name in ("created_at", "updated_at"):
        values[name] = parse_timestamp(values[name]) if values[name] else None
    for part in values["dataset_parts"] or []:
        part["url"] = part["url"].partition("?")[0]
        part.setdefault("index", 0)
    values["_expires_at"] = values["created_at"] + timedelta(days=30)
    return values


def by_pyarrow(url: str, fs: Any) -> pa.Table:
    return pq.read_table(url.partition("://")[2] or url, filesystem=fs, partitioning=None)


def by_duckdb(url: str, fs: Any) -> pa.Table:
    with duckdb.connect() as database:
        database.sql("SET TimeZone = 'UTC'")
        if fs is not None:
            database.register_filesystem(fs)
        return database.sql(f"SELECT * FROM read_parquet('{url}', hive_partitioning = false)").to_arrow_table()


def by_polars(url: str, fs: Any) -> pa.Table:
    options = fs and {
        "aws_access_key_id": fs.key,
        "aws_secret_access_key": fs.secret,
        "aws_region": "us-east-1",
        "aws_endpoint_url": fs.endpoint_url,
        "aws_allow_http": "true",
    }
    return polars.read_parquet(url, storage_options=options, hive_partitioning=False).to_arrow()


def by_pandas(url: str, fs: Any) -> pa.Table:
    frame = pandas.read_parquet(url, filesystem=fs, dtype_backend="pyarrow", partitioning=None)
    return pa.Table.from_pandas(frame, preserve_index=False)


@pytest.mark.parametrize("place", ["file", "s3"])
@pytest.mark.parametrize("read", [by_pyarrow, by_duckdb, by_polars, by_pandas])
def test_every_engine_reads_every_value(
    s3: Any,
    server: AdversarialServer,
    export: Callable[..., dict[str, Any] | None],
    tmp_path: Path,
    read: Callable[[str, Any], pa.Table],
    place: str,
) -> None:
    datasets = make_datasets(2 * len(ODD))
    for row, odd in zip(datasets, ODD, strict=False):
        row.update(odd)
    server.reset(datasets)
    url = f"s3://{KEY}" if place == "s3" else str(tmp_path / "datasets.parquet")
    assert export(url if place == "file" else f"s3://lake_s3@{KEY}") is not None
    found = read(url, s3 if place == "s3" else None)
    schema = pa.schema([*DATASET, ("_expires_at", DATASET.field("created_at").type)])
    expected = pa.Table.from_pylist([wanted(row) for row in datasets], schema)
    assert found.select(schema.names).cast(schema).sort_by("id").to_pylist() == expected.sort_by("id").to_pylist()
