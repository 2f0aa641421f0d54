"""What a task read and wrote, as URIs, and what Airflow's collector is told of it."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any
from unittest import mock

import pytest
from airflow.providers.common.compat.lineage import hook as compat
from airflow.providers.common.compat.sdk import ObjectStoragePath

from airflow_provider_cohere_datasets.hooks.datasets import CohereDatasetsHook
from airflow_provider_cohere_datasets.lineage.datasets import Lineage, created, exported, file_uri, read


@pytest.mark.parametrize(
    ("path", "uri"),
    [
        ("/data/rows.jsonl", "file:///data/rows.jsonl"),
        ("/data/a b#1.jsonl", "file:///data/a%20b%231.jsonl"),
        ("/lake/snapshot_date=2026-01-02/x.parquet", "file:///lake/snapshot_date=2026-01-02/x.parquet"),
        (Path("/data/rows.jsonl"), "file:///data/rows.jsonl"),
        (ObjectStoragePath("file:///data/rows.jsonl"), "file:///data/rows.jsonl"),
        ("file:///data/rows.jsonl", "file:///data/rows.jsonl"),
        ("s3://bucket/a b.csv", "s3://bucket/a b.csv"),
        ("s3://aws_default@bucket/rows.csv", "s3://bucket/rows.csv"),
        ("https://files.example.com/rows.csv?X-Amz-Signature=secret#x", "https://files.example.com/rows.csv"),
    ],
)
def test_a_file_is_named_without_connection_and_signature(path: Any, uri: str) -> None:
    assert file_uri(path) == uri


def test_a_relative_path_is_named_from_the_root() -> None:
    assert file_uri("rows.csv") == Path("rows.csv").absolute().as_uri()


def test_what_each_kind_of_task_reads_and_writes() -> None:
    host = "http://localhost:8080"
    upload = created("a", ["/data/rows.csv", None, ""], host)
    assert upload == Lineage(("file:///data/rows.csv",), ("cohere://localhost:8080/datasets/a",))
    assert read(["a", "b c"]).inputs == (
        "cohere://api.cohere.com/datasets/a",
        "cohere://api.cohere.com/datasets/b%20c",
    )
    export = exported({"path": "s3://lake/x.parquet", "rows": 3, "bytes": 99, "pages": 1}, host)
    assert export == Lineage(("cohere://localhost:8080/datasets",), ("s3://lake/x.parquet",), rows=3, size=99)


def test_many_datasets_are_told_as_all() -> None:
    assert len(read(map(str, range(50))).inputs) == 50
    assert read(map(str, range(51))).inputs == ("cohere://api.cohere.com/datasets",)


@pytest.fixture
def collector() -> Iterator[Any]:
    """Airflow's own collector, which a plugin would have switched on."""
    try:
        from airflow.sdk import lineage
    except ImportError:
        from airflow.lineage import hook as lineage
    found = lineage.HookLineageCollector()
    # The function is replaced where it is defined, so that the layers for older Airflows stay in use.
    with mock.patch.object(lineage, "get_hook_lineage_collector", autospec=True, return_value=found):
        yield compat.get_hook_lineage_collector()


def test_airflows_collector_learns_what_was_read_and_written(collector: Any) -> None:
    created("a", ["/data/rows.csv"]).report(CohereDatasetsHook())
    collected = collector.collected_assets
    assert [info.asset.uri for info in collected.inputs] == ["file:///data/rows.csv"]
    assert [info.asset.uri for info in collected.outputs] == ["cohere://api.cohere.com/datasets/a"]


# What Airflow 3 refuses, Airflow 2 warns of.
@pytest.mark.filterwarnings("ignore:The dataset URI cohere.//nowhere is not AIP-60 compliant:UserWarning")
def test_a_place_that_cannot_be_an_asset_does_not_fail_the_task(collector: Any) -> None:
    Lineage((), ("cohere://nowhere", "cohere://api.cohere.com/datasets/a")).report(CohereDatasetsHook())
    uris = [info.asset.uri for info in collector.collected_assets.outputs]
    assert "cohere://api.cohere.com/datasets/a" in uris
