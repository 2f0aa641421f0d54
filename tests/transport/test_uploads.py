"""Uploads: what arrives, how much memory that takes, and what happens when they break off."""

from __future__ import annotations

import hashlib
import io
import os
import resource
import time
import tracemalloc
from pathlib import Path
from typing import IO

import pytest
from fsspec.spec import AbstractBufferedFile, AbstractFileSystem

from airflow_provider_cohere_datasets.core.calls import Upload
from airflow_provider_cohere_datasets.core.errors import (
    CohereAuthenticationError,
    CohereInputError,
    CohereRateLimitError,
    CohereRedirectError,
    CohereTransportError,
    CohereUploadUnknownError,
)
from airflow_provider_cohere_datasets.transport.nonblocking import NonblockingTransport
from tests import adversary
from tests.adversary import AdversarialServer, AnswerEarly, BreakUpload, Close, Hang, Lost, Reset, error
from tests.real_time import real_time
from tests.transport.conftest import LIST, ROWS
from tests.transport.harness import Client, Nonblocking

MIB = 1 << 20


@pytest.fixture
def client(connector: type[Client]) -> Client:
    """Only the blocking transport uploads files."""
    return connector("blocking")


def upload(content: bytes, field: str = "data", filename: str = "reviews.jsonl") -> Upload:
    return Upload(field, filename, lambda: io.BytesIO(content), "application/jsonl")


def digest(content: bytes) -> str:
    return hashlib.sha256(content).hexdigest()


CONTENTS = {
    "lines": b'{"text":"one"}\n{"text":"two"}\n',
    "one byte": b"x",
    "every byte": bytes(range(256)) * 300,
    "line ends": b"a\r\nb\rc\n\r\n--\r\n----\n",
    "larger than any buffer": b"0123456789abcdef" * (MIB // 8),
}


@pytest.mark.parametrize("content", CONTENTS.values(), ids=list(CONTENTS))
def test_files_arrive_as_they_are(server: AdversarialServer, client: Client, content: bytes) -> None:
    made = client.create([upload(content), upload(content[::-1], "eval_data", "eval.csv")])
    got = server.model.uploads[made]
    assert {name: (part.sha256, part.length) for name, part in got.items()} == {
        "data": (digest(content), len(content)),
        "eval_data": (digest(content[::-1]), len(content)),
    }
    assert (got["data"].filename, got["data"].content_type) == ("reviews.jsonl", "application/jsonl")
    assert got["eval_data"].filename == "eval.csv"
    assert server.requests[0].query == [("name", "reviews"), ("type", "embed-input")]
    assert server.count() == 1


@pytest.mark.parametrize("filename", ["größe 日本.jsonl", 'a"b.jsonl', "a b;c.jsonl"])
def test_odd_file_names(server: AdversarialServer, client: Client, filename: str) -> None:
    made = client.create([upload(b"x", filename=filename)])
    assert server.model.uploads[made]["data"].sha256 == digest(b"x")


def test_a_large_file_is_streamed(server: AdversarialServer, client: Client, tmp_path: Path) -> None:
    size = 200 * MIB
    path = tmp_path / "large.jsonl"
    with path.open("wb") as file:
        file.write(b"first")
        file.truncate(size - 4)
        file.seek(size - 4)
        file.write(b"last")
    with path.open("rb") as file:
        expected = hashlib.file_digest(file, "sha256").hexdigest()
    largest_before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    tracemalloc.start()
    try:
        made = client.create([Upload("data", path.name, lambda: path.open("rb"))])
        _, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    got = server.model.uploads[made]["data"]
    assert (got.length, got.sha256) == (size, expected)
    assert server.requests[0].headers["content-length"] == str(server.requests[0].length)
    # Client and server share this process; the server keeps the body in a file that it maps.
    assert peak < 16 * MIB
    assert resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - largest_before < (size + 32 * MIB) / 1024


def test_a_refused_upload_starts_again_from_its_beginning(server: AdversarialServer, client: Client) -> None:
    opened: list[IO[bytes]] = []

    def open_file() -> IO[bytes]:
        opened.append(io.BytesIO(CONTENTS["larger than any buffer"]))
        return opened[-1]

    server.script("POST", LIST, [adversary.per_minute(retry_after="2"), adversary.per_minute()])
    made = client.create([Upload("data", "reviews.jsonl", open_file)])
    assert server.model.uploads[made]["data"].sha256 == digest(CONTENTS["larger than any buffer"])
    assert client.pauses == [3, 2]
    assert len({request.length for request in server.requests}) == 1
    assert server.count() == 3
    assert len(server.model.ids()) == len(ROWS) + 1
    assert len(opened) == 3
    assert all(file.closed for file in opened)


def test_an_upload_that_is_never_accepted(server: AdversarialServer, client: Client) -> None:
    server.script("POST", LIST, [adversary.per_minute()], repeat=True)
    with pytest.raises(CohereRateLimitError, match="Gave up after 3 tries"):
        client.create([upload(b"x")])
    assert server.count() == 3


@pytest.mark.parametrize("fault", [Close(), Reset(), error(500), error(503, retry_after="0")], ids=repr)
def test_a_lost_answer_makes_no_second_dataset(server: AdversarialServer, client: Client, fault: Close) -> None:
    server.script("POST", LIST, [Lost(fault)])
    with pytest.raises(CohereUploadUnknownError, match="not known whether this took effect, so it was not repeated"):
        client.create([upload(CONTENTS["lines"])])
    assert server.count("POST", LIST) == 1
    assert client.pauses == []
    assert len(server.model.ids()) == len(ROWS) + 1, "it was created, and only once"


@pytest.mark.parametrize("fault", [BreakUpload(), BreakUpload(MIB), BreakUpload(MIB, reset=True)], ids=repr)
def test_an_upload_that_breaks_off_is_not_repeated(server: AdversarialServer, client: Client, fault: Close) -> None:
    server.script("POST", LIST, [fault], repeat=True)
    with pytest.raises(CohereUploadUnknownError):
        client.create([upload(b"x" * (16 * MIB))])
    assert server.count() == 1
    assert not server.requests[0].complete


def test_a_redirected_upload_is_not_sent_again(
    server: AdversarialServer, elsewhere: AdversarialServer, client: Client
) -> None:
    for place in (LIST, f"{elsewhere.url}{LIST}"):
        server.script("POST", LIST, [adversary.redirect(place, 307)])
        with pytest.raises(CohereRedirectError):
            client.create([upload(CONTENTS["lines"])])
    assert (server.count(), elsewhere.count()) == (2, 0)
    assert len(server.model.ids()) == len(ROWS)


def test_an_early_refusal(server: AdversarialServer, client: Client) -> None:
    """A server may answer and close while the file is still sent; the system may then throw the answer away."""
    server.script("POST", LIST, [AnswerEarly(error(401))], repeat=True)
    with pytest.raises((CohereAuthenticationError, CohereUploadUnknownError)):
        client.create([upload(b"x" * (16 * MIB))])
    assert server.count() == 1


@real_time
@pytest.mark.parametrize("needs_body", [None, 0, MIB])
def test_an_upload_has_its_own_deadline(server: AdversarialServer, connector: type[Client], needs_body: int) -> None:
    """Also where the server stops reading; then neither the time to connect nor that to answer counts."""
    client = connector("blocking", connect_timeout=0.1, total_timeout=0.1, upload_timeout=0.5)
    server.script("POST", LIST, [Hang(needs_body)])
    started = time.monotonic()
    with pytest.raises(CohereUploadUnknownError, match=r"no complete answer within 0\.5 s"):
        client.create([upload(b"x" * (32 * MIB))])
    assert 0.4 < time.monotonic() - started < 5
    assert server.count() == 1


@real_time
def test_a_server_that_stops_reading_is_silent(server: AdversarialServer, connector: type[Client]) -> None:
    client = connector("blocking", connect_timeout=0.1, read_timeout=0.4)
    server.script("POST", LIST, [Hang(0)])
    started = time.monotonic()
    with pytest.raises(CohereUploadUnknownError, match="the server was silent for too long"):
        client.create([upload(b"x" * (32 * MIB))])
    assert 0.3 < time.monotonic() - started < 5


def test_an_upload_may_take_longer_than_other_requests(server: AdversarialServer, connector: type[Client]) -> None:
    client = connector("blocking", total_timeout=0.1)
    server.script("POST", LIST, [adversary.Slow(seconds=0.3)])
    assert client.create([upload(b"x")]) in server.model.ids()


def test_a_file_that_vanished(server: AdversarialServer, client: Client, tmp_path: Path) -> None:
    gone = tmp_path / "gone.jsonl"
    with pytest.raises(CohereInputError, match=r"data 'gone\.jsonl' cannot be opened: No such file"):
        client.create([Upload("data", gone.name, lambda: gone.open("rb"))])
    assert (server.count(), client.pauses) == (0, [])


class Remote(AbstractBufferedFile):
    """A file of an object store: no file descriptor, read in blocks.

    :param breaks_at: the offset from which the store fails, or shows no more bytes
    """

    error: Exception = OSError("the object store went away")

    def __init__(self, content: bytes, breaks_at: int | None = None, empty: bool = False) -> None:
        self.content, self.breaks_at, self.empty = content, breaks_at, empty
        super().__init__(AbstractFileSystem(), "bucket/x.jsonl", block_size=MIB, size=len(content))

    def _fetch_range(self, start: int, end: int) -> bytes:
        if self.breaks_at is not None and start >= self.breaks_at:
            if self.empty:
                return b""
            raise self.error
        return self.content[start:end]


def test_a_file_of_an_object_store(server: AdversarialServer, client: Client) -> None:
    content = CONTENTS["larger than any buffer"] + b"tail"
    made = client.create([Upload("data", "x.jsonl", lambda: Remote(content))])
    assert server.model.uploads[made]["data"].sha256 == digest(content)


@pytest.mark.parametrize("empty", [True, False])
@pytest.mark.parametrize("error", [OSError("the object store went away"), RuntimeError("as botocore's, no OSError")])
def test_a_file_that_cannot_be_read_to_its_end(
    server: AdversarialServer, client: Client, empty: bool, error: Exception, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(Remote, "error", error)
    with pytest.raises(CohereUploadUnknownError, match="the file could not be read to its end"):
        client.create([Upload("data", "x.jsonl", lambda: Remote(b"x" * (4 * MIB), 2 * MIB, empty))])
    assert server.model.ids() == {row["id"] for row in ROWS}
    assert client.pauses == []


@pytest.mark.parametrize("size", [MIB, MIB + 4, MIB - 4], ids=["same size", "longer", "shorter"])
def test_a_file_that_changes_while_it_is_sent(
    server: AdversarialServer, client: Client, tmp_path: Path, size: int
) -> None:
    path = tmp_path / "export.jsonl"
    path.write_bytes(b"x" * MIB)
    os.utime(path, (0, 0))

    class Changing(io.FileIO):
        def read(self, amount: int | None = -1) -> bytes:
            data = super().read(amount) or b""
            path.write_bytes(b"y" * size)
            return data

    with pytest.raises(CohereUploadUnknownError, match="the file was changed while it was sent"):
        client.create([Upload("data", "export.jsonl", lambda: Changing(path))])
    assert server.model.ids() == {row["id"] for row in ROWS}


def test_an_upload_to_nobody_is_tried_again(connector: type[Client]) -> None:
    client = connector("blocking", "http://nowhere.invalid")
    with pytest.raises(CohereTransportError, match=r"host name is not known.*Gave up after 3 tries"):
        client.create([upload(b"x")])


def test_the_nonblocking_transport_refuses_files(server: AdversarialServer, connector: type[Client]) -> None:
    client = connector("nonblocking")
    assert isinstance(client.driver, Nonblocking)
    assert isinstance(client.driver.transport, NonblockingTransport)
    with pytest.raises(TypeError, match="files are sent by the blocking transport"):
        client.create([upload(b"x")])
    assert server.count() == 0
