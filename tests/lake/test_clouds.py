"""Places in Azure and GCS, without their libraries.

The fakes do what adlfs 2023.10 to 2026.8 on Azurite and gcsfs 2026.10 were seen to do; ``tests/system/test_clouds.py``
has the same with the libraries themselves.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from fsspec.asyn import get_loop
from fsspec.spec import AbstractBufferedFile

from airflow_provider_cohere_datasets.core.errors import CohereInputError
from airflow_provider_cohere_datasets.lake.errors import CohereStorageError
from airflow_provider_cohere_datasets.lake.files import Blob
from airflow_provider_cohere_datasets.lake.publish import Place
from tests.adversary import AdversarialServer, error, make_datasets
from tests.versions import attach, stores

KEY = "ds=2026-01-01/datasets.parquet"
OLD = b"the file of yesterday"
#: The least that GCS takes, but for the last of an upload.
CHUNK = 256 << 10


class AzureError(Exception):
    """As ``azure.core.exceptions.HttpResponseError``, which tells the whole answer."""

    def __init__(self, status: int, code: str, message: str) -> None:
        super().__init__(f"{message}\nRequestId:1\nErrorCode:{code}\nContent: <?xml version='1.0'?><Error>")
        self.status_code = status
        self.error_code = code


class HttpError(Exception):
    """As that of gcsfs."""

    def __init__(self, code: int, message: str) -> None:
        super().__init__(f"{message}, {code}")
        self.code = code


class Lake:
    """A bucket or container: objects by their names, and what writing answers."""

    def __init__(self, scheme: str) -> None:
        self.scheme = scheme
        self.objects: dict[str, bytes] = {}
        #: What is written, but in no object.
        self.staged: dict[Any, Any] = {}
        self.failure: Exception | None = None
        self.requests: list[tuple[str, dict[str, Any]]] = []

    def url(self, key: str = KEY) -> str:
        return f"{self.scheme}://lake/{key}"

    def refuse(self) -> None:
        if self.failure is not None:
            raise self.failure

    def isdir(self, path: str) -> bool:
        return any(f"lake/{name}".startswith(f"{path}/") for name in self.objects)


class Azure(Lake):
    """The file system of adlfs, as far as its files are not needed."""

    loop = get_loop()

    @property
    def service_client(self) -> Azure:
        return self

    def get_blob_client(self, container: str, blob: str) -> AzureBlob:
        assert container == "lake"
        return AzureBlob(self, blob)

    def invalidate_cache(self, path: str | None = None) -> None:
        self.requests.append(("invalidate_cache", {}))


class AzureBlob:
    """An ``azure.storage.blob.aio.BlobClient``."""

    def __init__(self, lake: Azure, name: str) -> None:
        self._lake = lake
        self._name = name

    async def stage_block(self, block_id: str, data: bytes, **options: Any) -> None:
        self._lake.requests.append(("stage_block", options))
        self._lake.refuse()
        self._lake.staged[self._name, block_id] = bytes(data)

    async def commit_block_list(self, block_list: list[str], **options: Any) -> None:
        self._lake.requests.append(("commit_block_list", options))
        staged = self._lake.staged
        if any((self._name, block) not in staged for block in block_list):
            raise AzureError(400, "InvalidBlockList", "The specified block list is invalid.")
        self._lake.objects[self._name] = b"".join(staged[self._name, block] for block in block_list)
        for key in [key for key in staged if key[0] == self._name]:
            del staged[key]


class Gcs(Lake):
    """The file system of gcsfs."""

    zonal = False

    def open(self, path: str, mode: str) -> Any:
        return (ZonalFile if self.zonal else GcsFile)(self, path, mode)

    def invalidate_cache(self, path: str) -> None:
        """Do nothing."""

    def _parent(self, path: str) -> str:
        return path.rpartition("/")[0]


class GcsFile(AbstractBufferedFile):  # type: ignore[misc]
    """A resumable upload; less than a chunk is kept back until the end."""

    def _initiate_upload(self) -> None:
        self.fs.refuse()
        self.location = object()
        self.fs.staged[self.location] = b""

    def _upload_chunk(self, final: bool = False) -> bool:
        data = self.buffer.getvalue()
        if len(data) < CHUNK and not final:
            return False
        self.fs.staged[self.location] += data
        if final:
            self.fs.objects[self.path.removeprefix("lake/")] = self.fs.staged.pop(self.location)
        return True

    def discard(self) -> None:
        if self.location is not None:
            del self.fs.staged[self.location]
            self.location = None
            self.closed = True


class ZonalFile(GcsFile):
    """A file that is appended to an object, which has replaced the old one by then."""

    aaow = None

    def _initiate_upload(self) -> None:
        super()._initiate_upload()
        self.fs.objects[self.path.removeprefix("lake/")] = b""


@pytest.fixture(params=[Azure, Gcs])
def lake(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> Lake:
    """A lake that Airflow finds by its scheme."""
    kind: type[Lake] = request.param
    lake = kind("abfs" if kind is Azure else "gs")
    monkeypatch.setattr(stores, "_STORE_CACHE", {})
    attach(lake.scheme, fs=lake)  # type: ignore[arg-type]
    return lake


def place(lake: Lake) -> Place:
    return Place(lake.url())


def test_an_export_replaces_the_old_object_in_one_step(
    lake: Lake, server: AdversarialServer, export: Callable[..., dict[str, Any] | None]
) -> None:
    lake.objects[KEY] = OLD
    server.reset(make_datasets(230))
    result = export(lake.url())
    assert result is not None
    assert result["path"] == lake.url()
    assert list(lake.objects) == [KEY]
    assert len(lake.objects[KEY]) == result["bytes"]
    assert pq.read_table(pa.BufferReader(lake.objects[KEY])).num_rows == 230
    assert not lake.staged


@pytest.mark.parametrize(
    ("kind", "scheme"),
    [
        *((Gcs, scheme) for scheme in ("s3", "s3a", "gs", "gcs")),
        *((Azure, scheme) for scheme in ("abfs", "abfss", "az")),
    ],
)
def test_no_name_of_a_storage_makes_a_second_object(
    monkeypatch: pytest.MonkeyPatch, kind: type[Lake], scheme: str
) -> None:
    """A hidden one that is renamed would be copied there, and be seen meanwhile."""
    lake = kind(scheme)
    lake.objects[KEY] = OLD
    monkeypatch.setattr(stores, "_STORE_CACHE", {})
    attach(scheme, fs=lake)  # type: ignore[arg-type]
    file = place(lake).create()
    file.write(b"new" * Blob.BLOCK_SIZE)
    assert lake.objects == {KEY: OLD}
    file.publish()
    assert lake.objects == {KEY: b"new" * Blob.BLOCK_SIZE}


def test_the_old_object_stays_until_the_last_step_whatever_the_size(lake: Lake) -> None:
    lake.objects[KEY] = OLD
    file = place(lake).create()
    assert lake.objects == {KEY: OLD}
    block = bytes(range(256)) * 4096 * 3
    for _ in range(10):
        file.write(block)
    assert sum(len(data) for data in lake.staged.values()) >= 3 * Blob.BLOCK_SIZE
    assert lake.objects == {KEY: OLD}
    file.publish()
    assert lake.objects == {KEY: block * 10}
    assert not lake.staged


def test_an_abandoned_object_leaves_the_old_one(lake: Lake) -> None:
    lake.objects[KEY] = OLD
    file = place(lake).create()
    file.write(b"new" * Blob.BLOCK_SIZE)
    file.abandon()
    file.abandon()
    assert lake.objects == {KEY: OLD}


def test_an_export_that_fails_leaves_the_old_object(
    lake: Lake, server: AdversarialServer, export: Callable[..., dict[str, Any] | None]
) -> None:
    lake.objects[KEY] = OLD
    server.script("GET", "/v1/datasets", [error(401)])
    with pytest.raises(Exception, match="refuses the API key"):
        export(lake.url())
    assert lake.objects == {KEY: OLD}


def test_of_two_at_once_one_whole_object_stays(lake: Lake) -> None:
    contents = [letter * (2 * Blob.BLOCK_SIZE + 1) for letter in (b"a", b"b")]
    first, second = place(lake).create(), place(lake).create()
    for start in range(0, len(contents[0]), CHUNK):
        first.write(contents[0][start : start + CHUNK])
        second.write(contents[1][start : start + CHUNK])
    second.publish()
    assert lake.objects == {KEY: contents[1]}
    if isinstance(lake, Azure):
        with pytest.raises(CohereStorageError, match="another writer replaced it"), place(lake).failures():
            first.publish()
        assert lake.objects == {KEY: contents[1]}
    else:
        first.publish()
        assert lake.objects == {KEY: contents[0]}


NO_BUCKET = "https://storage.example/upload/storage/v1/b/lake/o?name=x"
FAILURES = {
    "azure_container": (
        AzureError(404, "ContainerNotFound", "There is no such container."),
        "There is no such container",
    ),
    "azure_key": (AzureError(403, "AuthenticationFailed", "Server refuses the key."), "Server refuses the key"),
    "azure_reader": (AzureError(403, "AuthorizationPermissionMismatch", "Not authorized."), "Not authorized"),
    "gcs_bucket": (FileNotFoundError(NO_BUCKET), "its bucket does not exist"),
    "gcs_key": (HttpError(401, "Invalid Credentials"), "Invalid Credentials, 401"),
    "gcs_reader": (OSError(f"Forbidden: {NO_BUCKET}\nrobot may not create."), "robot may not create"),
}


@pytest.mark.parametrize("failure", FAILURES)
def test_what_is_wrong_with_a_place_is_said_in_one_sentence_before_any_request(
    lake: Lake, server: AdversarialServer, export: Callable[..., dict[str, Any] | None], failure: str
) -> None:
    lake.objects[KEY] = OLD
    lake.failure, message = FAILURES[failure]
    with pytest.raises(CohereInputError) as raised:
        export(lake.url())
    assert str(raised.value) == f"output_path {lake.url()!r} cannot be written: {message}."
    assert not server.requests
    assert lake.objects == {KEY: OLD}
    assert not lake.staged


@pytest.mark.parametrize(
    "failure", [AzureError(503, "ServerBusy", "Busy."), HttpError(503, "Busy"), OSError("connection lost")]
)
def test_what_may_pass_is_an_error_to_try_again(lake: Lake, failure: Exception) -> None:
    lake.failure = failure
    with pytest.raises(CohereStorageError, match=r"Busy|connection lost") as raised:
        place(lake).create()
    assert "\n" not in str(raised.value)
    assert "<" not in str(raised.value)


def test_a_folder_in_the_way_stays(lake: Lake) -> None:
    lake.objects[f"{KEY}/file"] = OLD
    with pytest.raises(CohereInputError, match="Is a directory"):
        place(lake).create()
    assert lake.objects == {f"{KEY}/file": OLD}


@pytest.mark.parametrize("lake", [Azure], indirect=True)
def test_azure_tells_at_once_that_nobody_answers(lake: Lake) -> None:
    lake.failure = OSError("nobody answers")
    with pytest.raises(CohereStorageError, match="nobody answers"):
        place(lake).create()
    assert lake.requests == [("stage_block", {"retry_total": 0})]


@pytest.mark.parametrize("lake", [Azure], indirect=True)
def test_readers_in_the_same_process_do_not_go_by_what_was_there_before(lake: Lake) -> None:
    file = place(lake).create()
    file.write(b"new")
    file.publish()
    assert [name for name, _ in lake.requests][-2:] == ["commit_block_list", "invalidate_cache"]


@pytest.mark.parametrize("lake", [Azure], indirect=True)
def test_other_errors_of_a_commit_are_told_as_they_are(lake: Lake, monkeypatch: pytest.MonkeyPatch) -> None:
    async def commit(*_: object) -> None:
        raise AzureError(412, "LeaseIdMissing", "There is a lease.")

    monkeypatch.setattr(AzureBlob, "commit_block_list", commit)
    file = place(lake).create()
    with pytest.raises(CohereStorageError, match=r"There is a lease\.$"), place(lake).failures():
        file.publish()


@pytest.mark.parametrize("lake", [Gcs], indirect=True)
def test_a_zonal_bucket_of_gcs_is_refused_before_it_loses_the_old_object(lake: Gcs) -> None:
    lake.objects[KEY] = OLD
    lake.zonal = True
    with pytest.raises(CohereInputError, match="others see a file while it is written"):
        place(lake).create()
    assert lake.objects == {KEY: OLD}
