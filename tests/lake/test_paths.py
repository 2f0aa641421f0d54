from __future__ import annotations

from hashlib import sha256
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from airflow_provider_cohere_datasets.core.errors import CohereInputError
from airflow_provider_cohere_datasets.lake.paths import checked_path, path_segment


@pytest.mark.parametrize(
    ("name", "segment"),
    [
        ("my data", "my%20data"),
        ("../../etc", "..%2F..%2Fetc"),
        ("..", "%2E%2E"),
        ("a?b#c", "a%3Fb%23c"),
        ("v1.2", "v1.2"),
        ("None", "%4Eone"),
        ("", "%empty"),
        ("a" * 180, "a" * 180),
        ("a" * 181, f"{'a' * 180}-{sha256(b'a' * 181).hexdigest()[:16]}"),
        ("aя" * 40, f"{'a%D1%8F' * 25}a%D1-{sha256(('aя' * 40).encode()).hexdigest()[:16]}"),
    ],
)
def test_any_name_becomes_one_segment(name: str, segment: str) -> None:
    assert path_segment(name) == segment


@given(st.text())
def test_a_path_with_a_segment_of_any_name_is_taken(name: str) -> None:
    assert len(path_segment(name)) <= 200
    checked_path("output_path", f"s3://lake/name={path_segment(name)}/{path_segment(name)}.parquet")


@pytest.mark.parametrize(
    "path",
    [
        "/lake/x.parquet",
        "x.parquet",
        "file:///lake/x",
        "file://conn@/lake/x",
        "a:b/x.parquet",
        "s3://lake/a b/ds=2026-01-01/x.parquet",
        Path("/lake/..x.parquet"),
    ],
)
def test_usual_paths_are_taken(path: Any) -> None:
    assert checked_path("output_path", path) == str(path)


@pytest.mark.parametrize(
    ("path", "message"),
    [
        (None, "is empty"),
        (" ", "is empty"),
        (5, "must be a text"),
        ("None", "gave no value"),
        ("s3://lake/snapshot_date=None/x.parquet", "gave no value"),
        ("s3://lake/None/x.parquet", "gave no value"),
        ("s3://lake/../x.parquet", "leads to another folder"),
        ("/lake/./x.parquet", "leads to another folder"),
        ("~/x.parquet", "does not expand"),
        ("s3://lake/folder/", "names a folder"),
        ("s3://lake", "names a bucket"),
        ("abfss://conn@container", "names a bucket"),
        ("gs://", "names no bucket"),
        ("s3:///x.parquet", "names no bucket"),
        ("s3://conn@/x.parquet", "names no bucket"),
        ("s3:lake/x.parquet", "it must begin with s3://"),
        ("S3:/lake/x.parquet", "it must begin with s3://"),
        ("file:x.parquet", "it must begin with file://"),
        ("file://lake/x.parquet", "must have three slashes"),
        ("file:////lake/x.parquet", "must have three slashes"),
        ("file://x.parquet", "must have three slashes"),
        ("s3://lake/x.parquet?versionId=1", "cannot stand in a path"),
        ("/lake/*.parquet", "cannot stand in a path"),
        ("/lake/a\nb.parquet", "cannot stand in a path"),
        ("/lake/\x00.parquet", "cannot stand in a path"),
        ("simplecache::s3://lake/x.parquet", "cannot stand in a path"),
        ("C:\\lake\\x.parquet", "cannot stand in a path"),
    ],
)
def test_paths_that_lead_elsewhere_are_refused_in_one_sentence(path: Any, message: str) -> None:
    with pytest.raises(CohereInputError, match=message) as raised:
        checked_path("output_path", path)
    assert str(raised.value).startswith("output_path ")
    assert "\n" not in str(raised.value)
