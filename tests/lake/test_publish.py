"""Places in object stores, with a server that speaks S3."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import fsspec
import pyarrow.parquet as pq
import pytest
from airflow.providers.common.compat.sdk import AirflowException, ObjectStoragePath
from fsspec.implementations.memory import MemoryFile, MemoryFileSystem
from s3fs import S3File, S3FileSystem

from airflow_provider_cohere_datasets.core.errors import CohereInputError, CohereTaskStoppedError
from airflow_provider_cohere_datasets.lake.errors import CohereStorageError
from airflow_provider_cohere_datasets.lake.publish import Place
from tests.adversary import AdversarialServer, error, make_datasets
from tests.versions import attach, stores

KEY = "lake/cohere/ds=2026-01-01/datasets.parquet"


def uploads_left(fs: Any) -> list[Any]:
    found: list[Any] = fs.call_s3("list_multipart_uploads", Bucket="lake").get("Uploads", [])
    return found


@pytest.mark.parametrize("path", [str, ObjectStoragePath])
def test_the_connection_that_is_given_wins_over_that_in_the_url(
    s3: Any, server: AdversarialServer, export: Callable[..., dict[str, Any] | None], path: Any
) -> None:
    server.reset(make_datasets(3))
    result = export(path(f"s3://nowhere@{KEY}"), conn_id="lake_s3")
    assert result is not None
    assert result["path"] == f"s3://{KEY}"
    assert s3.find("lake") == [KEY]


@pytest.mark.parametrize("url", [f"s3://lake_s3@{KEY}", f"s3://{KEY}"])
def test_an_export_to_s3_is_one_object(
    s3: Any, server: AdversarialServer, export: Callable[..., dict[str, Any] | None], url: str
) -> None:
    server.reset(make_datasets(230))
    result = export(url, conn_id=None if "@" in url else "lake_s3")
    assert result is not None
    assert result["path"] == f"s3://{KEY}"
    assert s3.find("lake") == [KEY]
    with s3.open(KEY) as file:
        assert pq.read_table(file).num_rows == 230
    assert s3.info(KEY)["size"] == result["bytes"]
    assert uploads_left(s3) == []


def test_an_object_larger_than_a_block_is_completed_only_at_the_end(s3: Any) -> None:
    s3.pipe(KEY, b"old")
    file = Place(f"s3://lake_s3@{KEY}").create()
    block = b"0123456789abcdef" * (1 << 20)
    for _ in range(8):
        file.write(block)
    assert uploads_left(s3)
    assert s3.cat(KEY) == b"old"
    file.publish()
    assert s3.info(KEY)["size"] == 8 * len(block)
    assert uploads_left(s3) == []


def test_who_may_write_need_not_be_able_to_list(
    s3: Any, server: AdversarialServer, export: Callable[..., dict[str, Any] | None], monkeypatch: pytest.MonkeyPatch
) -> None:
    async def refused(*_: Any, **__: Any) -> None:
        raise PermissionError("Access Denied")

    server.reset(make_datasets(30))
    with monkeypatch.context() as patched:
        for name in ("_lsdir", "_info", "_ls", "_isdir"):
            patched.setattr(S3FileSystem, name, refused)
        assert export(f"s3://lake_s3@{KEY}") is not None
    with s3.open(KEY) as file:
        assert pq.read_table(file).num_rows == 30


def test_an_upload_that_the_storage_loses_may_be_tried_again(s3: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    def lost(_: S3File) -> None:
        raise FileNotFoundError("The specified upload does not exist.")

    place = Place(f"s3://lake_s3@{KEY}")
    file = place.create()
    file.write(b"PAR1")
    monkeypatch.setattr(S3File, "commit", lost)
    with pytest.raises(CohereStorageError, match="does not know the upload any more"), place.failures():
        file.publish()
    file.abandon()
    assert s3.find("lake") == []


def test_an_export_to_s3_that_fails_leaves_the_old_object_and_no_upload(
    s3: Any, server: AdversarialServer, export: Callable[..., dict[str, Any] | None]
) -> None:
    s3.pipe(KEY, b"old")
    server.script("GET", "/v1/datasets", [error(401)])
    with pytest.raises(Exception, match="refuses the API key"):
        export(f"s3://lake_s3@{KEY}")
    assert s3.find("lake") == [KEY]
    assert s3.cat(KEY) == b"old"
    assert uploads_left(s3) == []


@pytest.mark.parametrize(
    ("url", "message"),
    [
        ("s3://lake_s3@missing/datasets.parquet", "bucket does not exist"),
        ("s3://lake_s3@lake/folder", "Is a directory"),
        ("nowhere://lake/datasets.parquet", "cannot be used"),
    ],
)
def test_a_place_that_is_not_there_costs_no_request(
    s3: Any, server: AdversarialServer, export: Callable[..., dict[str, Any] | None], url: str, message: str
) -> None:
    s3.pipe("lake/folder/file", b"theirs")
    with pytest.raises(CohereInputError, match=message) as raised:
        export(url)
    assert "\n" not in str(raised.value)
    assert not server.requests
    assert s3.find("lake") == ["lake/folder/file"]


def test_a_storage_out_of_reach_is_an_error_that_may_pass(monkeypatch: pytest.MonkeyPatch) -> None:
    extra = {
        "endpoint_url": "http://127.0.0.1:9",
        "config_kwargs": {"retries": {"max_attempts": 0}, "connect_timeout": 1},
    }
    connection = {
        "conn_type": "aws",
        "login": "key",
        "password": "secret",
        "extra": {**extra, "region_name": "us-east-1"},
    }
    monkeypatch.setenv("AIRFLOW_CONN_LAKE_GONE", json.dumps(connection))
    with pytest.raises(CohereStorageError, match="cannot be written"):
        Place("s3://lake_gone@lake/x.parquet").create()


@pytest.mark.parametrize(
    "stopped", [CohereTaskStoppedError("The export was told to stop."), AirflowException("Task received SIGTERM.")]
)
def test_that_a_task_is_stopped_while_it_writes_is_no_fault_of_the_storage(tmp_path: Path, stopped: Exception) -> None:
    with pytest.raises(type(stopped)) as raised, Place(tmp_path / "x.parquet").failures():
        raise stopped
    assert raised.value is stopped


@pytest.fixture
def memory(monkeypatch: pytest.MonkeyPatch) -> Iterator[Any]:
    """A storage of which nothing special is known."""
    monkeypatch.setattr(stores, "_STORE_CACHE", {})
    fs = fsspec.filesystem("memory")
    attach("memory", fs=fs)
    fs.pipe("/lake/x.parquet", b"old")
    yield fs
    fs.rm("/lake", recursive=True)


@pytest.mark.parametrize(
    ("ended", "told"), [(KeyboardInterrupt(), KeyboardInterrupt), (OSError("lost"), CohereStorageError)]
)
def test_what_ends_the_check_of_a_place_leaves_nothing(
    memory: Any, monkeypatch: pytest.MonkeyPatch, ended: BaseException, told: type[BaseException]
) -> None:
    def end(*_: object) -> bool:
        assert len(memory.find("/lake")) == 2
        raise ended

    place = Place("memory://lake/x.parquet")
    with monkeypatch.context() as patched:
        patched.setattr(MemoryFileSystem, "isdir", end)
        with pytest.raises(told):
            place.create()
    assert memory.find("/lake") == ["/lake/x.parquet"]


def test_a_hidden_file_that_cannot_be_closed_is_removed_all_the_same(
    memory: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(_: MemoryFile) -> None:
        raise OSError(28, "No space left on device")

    place = Place("memory://lake/x.parquet")
    file = place.create()
    file.write(b"new")
    with monkeypatch.context() as patched:
        patched.setattr(MemoryFile, "close", full)
        with pytest.raises(CohereStorageError, match="No space left"), place.failures():
            file.publish()
        file.abandon()
    assert memory.find("/lake") == ["/lake/x.parquet"]
    assert memory.cat("/lake/x.parquet") == b"old"


def test_other_storages_get_a_hidden_file_that_is_renamed(
    server: AdversarialServer, export: Callable[..., dict[str, Any] | None], monkeypatch: pytest.MonkeyPatch
) -> None:
    # Airflow keeps the first store of a name for ever, and other tests have one of this name.
    monkeypatch.setattr(stores, "_STORE_CACHE", {})
    fs = fsspec.filesystem("memory")
    attach("memory", fs=fs)
    fs.pipe("/lake/x.parquet", b"old")
    place = Place("memory://lake/x.parquet")
    first, second = place.create(), place.create()
    first.write(b"first")
    second.write(b"second")
    assert fs.cat("/lake/x.parquet") == b"old"
    second.abandon()
    second.abandon()
    assert fs.cat("/lake/x.parquet") == b"old"
    first.publish()
    assert fs.cat("/lake/x.parquet") == b"first"
    server.reset(make_datasets(3))
    assert export("memory://lake/x.parquet")
    with fs.open("/lake/x.parquet") as file:
        assert pq.read_table(file).num_rows == 3
    assert fs.find("/lake") == ["/lake/x.parquet"]
    fs.rm("/lake", recursive=True)
