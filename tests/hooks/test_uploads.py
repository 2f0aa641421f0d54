"""What is uploaded, from where, and what is refused before anything is sent."""

from __future__ import annotations

import hashlib
import os
from itertools import count
from pathlib import Path
from typing import IO, Any

import pytest
from airflow.providers.common.compat.sdk import AirflowFailException, ObjectStoragePath
from fsspec.spec import AbstractBufferedFile, AbstractFileSystem

from airflow_provider_cohere_datasets.core import creation
from airflow_provider_cohere_datasets.core.errors import (
    CohereInputError,
    CohereInvalidRequestError,
    CohereRateLimitError,
    CohereUploadUnknownError,
)
from airflow_provider_cohere_datasets.emulator import Emulator
from airflow_provider_cohere_datasets.hooks.datasets import CohereDatasetsHook
from airflow_provider_cohere_datasets.lake.errors import CohereStorageError
from airflow_provider_cohere_datasets.lake.source import MAX_BYTES, uploads_of
from tests.adversary import (
    AdversarialServer,
    Answer,
    AnswerEarly,
    BreakUpload,
    Close,
    Fault,
    Lost,
    empty_502,
    error,
    html,
    per_minute,
)
from tests.versions import AIRFLOW, attach

NUMBERS = count()
ROWS = b'{"text": "hello"}\n{"text": "world"}\n'


@pytest.fixture
def rows(tmp_path: Path) -> Path:
    path = tmp_path / "rows.jsonl"
    path.write_bytes(ROWS)
    return path


def create(**arguments: Any) -> str:
    return CohereDatasetsHook().create_dataset(**{"name": "news", "dataset_type": "embed-input", **arguments})


class RemoteFile(AbstractBufferedFile):  # type: ignore[misc]
    """A file as the object stores' libraries give it: without a file descriptor, read by ranges."""

    def _fetch_range(self, start: int, end: int) -> bytes:
        content: bytes = self.fs.content
        return content[start:end]


class Remote(AbstractFileSystem):  # type: ignore[misc]
    """An object store with one content under every name.

    :param content: what every file holds
    :param size: what it says of the size
    :param fault: what it raises when it is asked about a file
    """

    protocol = "s3"
    cachable = False

    def __init__(self, content: bytes = ROWS, size: Any = ..., fault: Exception | None = None) -> None:
        super().__init__()
        self.content = content
        self.size = len(content) if size is ... else size
        self.fault = fault

    def info(self, path: str, **_: Any) -> dict[str, Any]:
        if self.fault:
            raise self.fault
        return {"name": path, "size": self.size, "type": "file"}

    def ls(self, path: str, detail: bool = True, **_: Any) -> list[Any]:
        return [self.info(path) if detail else path]

    def _open(self, path: str, mode: str = "rb", **_: Any) -> IO[bytes]:
        file: IO[bytes] = RemoteFile(self, path, mode, block_size=1000, size=self.size)
        return file


def attached(fs: AbstractFileSystem) -> str:
    """Return the connection of a storage that Airflow knows from now on."""
    conn_id = f"store_{next(NUMBERS)}"  # Airflow never forgets a store.
    attach(protocol="s3", conn_id=conn_id, fs=fs)
    return conn_id


def stored(fs: AbstractFileSystem, name: str = "rows.jsonl") -> ObjectStoragePath:
    return ObjectStoragePath(f"s3://{attached(fs)}@bucket/{name}")


@pytest.mark.parametrize("kind", [str, Path, ObjectStoragePath, lambda path: f"file://{path}", lambda p: f"  {p}\n"])
def test_a_local_file_arrives_whole(server: AdversarialServer, rows: Path, kind: Any) -> None:
    created = create(data=kind(str(rows)))
    upload = server.model.uploads[created]["data"]
    assert (upload.filename, upload.content_type) == ("rows.jsonl", "application/jsonl")
    assert (upload.length, upload.sha256) == (len(ROWS), hashlib.sha256(ROWS).hexdigest())


def test_a_file_of_an_object_store_arrives_whole(server: AdversarialServer) -> None:
    content = b"".join(b'{"text": "row %d"}\n' % number for number in range(20_000))
    conn_id = attached(Remote(content))
    data = ObjectStoragePath(f"s3://{conn_id}@bucket/rows.jsonl")
    created = create(data=data, eval_data=f"s3://{conn_id}@bucket/eval.csv")
    uploads = server.model.uploads[created]
    assert uploads["data"].sha256 == uploads["eval_data"].sha256 == hashlib.sha256(content).hexdigest()
    assert (uploads["eval_data"].filename, uploads["eval_data"].content_type) == ("eval.csv", "text/csv")


@pytest.mark.parametrize("empty", [None, ""])
def test_without_a_file_for_evaluation(server: AdversarialServer, rows: Path, empty: str | None) -> None:
    assert server.model.uploads[create(data=rows, eval_data=empty)].keys() == {"data"}


@pytest.mark.parametrize(
    ("name", "content_type"), [("a.jsonl", "application/jsonl"), ("A.CSV", "text/csv"), ("a b.txt", "text/plain")]
)
def test_the_name_tells_the_format(server: AdversarialServer, tmp_path: Path, name: str, content_type: str) -> None:
    (tmp_path / name).write_text("text\nhello\n")
    upload = server.model.uploads[create(data=tmp_path / name)]["data"]
    assert (upload.filename, upload.content_type) == (name, content_type)


def refused(argument: str = "data", **arguments: Any) -> str:
    with pytest.raises(CohereInputError) as caught:
        create(**arguments)
    message = str(caught.value)
    assert isinstance(caught.value, AirflowFailException)
    assert message.startswith(argument)
    assert message.endswith(".")
    assert "\n" not in message
    assert message.count(". ") == 0
    return message


def test_files_that_cannot_be_uploaded_cost_no_request(server: AdversarialServer, rows: Path, tmp_path: Path) -> None:
    (tmp_path / "empty.jsonl").touch()
    (tmp_path / "folder.jsonl").mkdir()
    (tmp_path / "rows.parquet").write_bytes(ROWS)
    (tmp_path / "loop.jsonl").symlink_to(tmp_path / "loop.jsonl")
    os.mkfifo(tmp_path / "pipe.jsonl")
    matrix = {
        "missing.jsonl": "does not exist",
        "empty.jsonl": "is empty",
        "folder.jsonl": "is a folder",
        "rows.parquet": "is not a Parquet file",
        "rows": "must end in .csv, .jsonl, .txt, .parquet",
        "loop.jsonl": "cannot be read",
        "pipe.jsonl": "is empty",
        "rows.jsonl/below.jsonl": "cannot be read",
        f"{'x' * 300}.jsonl": "File name too long",
        "nul\0.jsonl": "cannot be read",
    }
    for name, says in matrix.items():
        assert says in refused(data=f"{tmp_path}/{name}")
        assert says in refused("eval_data", data=rows, eval_data=f"{tmp_path}/{name}")
    assert server.requests == []


@pytest.mark.parametrize(
    ("data", "says"),
    [
        ("", "is empty: it must be the path of a file"),
        ("  ", "is empty"),
        (None, "is empty"),
        ("None", "a template gave no value"),
        (7, "must be a text, not int"),
        # Airflow says so when it reads the URL or, below 3.2, when it looks for the storage.
        ("nope://bucket/rows.jsonl", "scheme nope" if AIRFLOW < (3, 2) else "not a path or URL"),
        ("http://[bad/rows.jsonl", "not a path or URL"),
        ("memory://bucket/rows.jsonl", "No filesystem registered for scheme memory"),
    ],
)
def test_what_is_no_path_costs_no_request(server: AdversarialServer, data: Any, says: str) -> None:
    assert says in refused(data=data)
    assert server.requests == []


def test_a_file_that_may_not_be_read(server: AdversarialServer) -> None:
    assert "cannot be read: Access Denied" in refused(data=stored(Remote(fault=PermissionError("Access Denied"))))
    assert server.requests == []


def test_a_storage_without_its_library(server: AdversarialServer) -> None:
    assert "install gcsfs" in refused(data=stored(Remote(fault=ImportError("Please install gcsfs"))))
    assert server.requests == []


def test_a_storage_that_does_not_tell_the_size(server: AdversarialServer) -> None:
    assert "does not tell its size" in refused(data=stored(Remote(size=None)))
    assert server.requests == []


@pytest.mark.parametrize("fault", [ConnectionResetError("reset"), TimeoutError("timed out"), OSError(5, "I/O error")])
def test_a_storage_that_fails_is_worth_another_try(server: AdversarialServer, fault: OSError) -> None:
    with pytest.raises(CohereStorageError, match=r"data '.*rows.jsonl' cannot be read") as caught:
        create(data=stored(Remote(fault=fault)))
    assert not isinstance(caught.value, AirflowFailException)
    assert caught.value.__cause__ is fault
    assert server.requests == []


def test_a_file_that_is_too_large_costs_no_request(server: AdversarialServer, tmp_path: Path) -> None:
    large = tmp_path / "large.jsonl"
    with large.open("wb") as file:
        file.truncate(MAX_BYTES + 1)  # sparse: takes no room on the disk
    assert "has 1500000001 bytes; Cohere takes at most 1500000000" in refused(data=large)
    assert server.requests == []
    os.truncate(large, MAX_BYTES)
    with uploads_of(large) as (upload,):
        assert upload.size == MAX_BYTES


def test_a_file_that_becomes_shorter_does_not_hang(server: AdversarialServer, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(creation, "_LOOKS", (0.0,))
    with pytest.raises(CohereUploadUnknownError, match="not known whether"):
        create(data=stored(Remote(size=len(ROWS) + 10)))
    assert server.model.uploads == {}


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        ({"name": ""}, "name is empty"),
        ({"name": " "}, "name is empty"),
        ({"name": None}, "name is empty"),
        ({"name": "x" * 50}, "has 50 characters; Cohere takes at most 49"),
        ({"dataset_type": ""}, "dataset_type is empty"),
        ({"csv_delimiter": ";;"}, "csv_delimiter must be one character"),
        ({"keep_fields": "title"}, "keep_fields must be a list"),
        ({"optional_fields": ["a", ""]}, "optional_fields must be a list"),
    ],
)
def test_bad_arguments_cost_no_request(
    server: AdversarialServer, rows: Path, arguments: dict[str, Any], says: str
) -> None:
    assert says in refused(next(iter(arguments)), data=rows, **arguments)
    assert server.requests == []


def test_the_longest_name(server: AdversarialServer, rows: Path) -> None:
    created = create(name="x" * 49, data=rows)
    assert server.model.get(created)


def test_cohere_refuses_what_only_cohere_knows(emulator: Emulator, cohere_connection: str, rows: Path) -> None:
    with pytest.raises(CohereInvalidRequestError, match="a-type-of-tomorrow"):
        CohereDatasetsHook(cohere_connection).create_dataset(name="x", dataset_type="a-type-of-tomorrow", data=rows)
    assert len(emulator.requests) == 1


@pytest.mark.parametrize("fault", [Lost(Close()), Lost(empty_502()), Lost(error(500)), Lost(html())])
def test_an_upload_whose_answer_is_lost_is_found(server: AdversarialServer, rows: Path, fault: Fault) -> None:
    server.script("POST", None, [fault])
    created = create(data=rows)
    assert list(server.model.uploads) == [created]
    assert server.count("POST") == 1


@pytest.mark.parametrize("fault", [Close(), BreakUpload(0), error(503), Answer(json={})])
def test_an_upload_is_never_sent_twice(
    server: AdversarialServer, rows: Path, fault: Fault, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(creation, "_LOOKS", (0.0, 0.0, 0.0))
    server.script("POST", None, [fault])
    with pytest.raises(CohereUploadUnknownError, match=r"not known whether.*so it was not repeated") as caught:
        create(data=rows)
    # There is no next try of a task here that could look.
    assert isinstance(caught.value, AirflowFailException)
    assert server.count("POST") == 1
    assert server.count("GET") == 3 * 2  # No list is empty at the first sign.


@pytest.mark.parametrize("fault", [error(400, "over capacity"), AnswerEarly(error(413, "too large"))])
def test_a_refused_upload_says_why(server: AdversarialServer, rows: Path, fault: Fault) -> None:
    server.script("POST", None, [fault])
    with pytest.raises(CohereInvalidRequestError, match=r"over capacity|too large"):
        create(data=rows)
    assert server.count("POST") == 1


def test_an_upload_that_was_turned_away_is_sent_again(server: AdversarialServer, rows: Path) -> None:
    server.script("POST", None, [per_minute(), per_minute(retry_after="0")])
    created = create(data=rows)
    assert server.model.uploads[created]["data"].length == len(ROWS)
    assert len(server.model.uploads) == 1
    server.script("POST", None, [per_minute()], repeat=True)
    with pytest.raises(CohereRateLimitError):
        create(data=rows)
