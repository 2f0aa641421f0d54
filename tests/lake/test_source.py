"""The files of an upload: what they are, how large, and how they are told again in another process."""

from __future__ import annotations

import io
import os
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import fastavro
import fsspec
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from airflow.providers.common.compat.sdk import AirflowFailException, ObjectStoragePath

from airflow_provider_cohere_datasets.core.calls import Upload
from airflow_provider_cohere_datasets.core.errors import CohereInputError
from airflow_provider_cohere_datasets.emulator import Emulator
from airflow_provider_cohere_datasets.hooks.datasets import CohereDatasetsHook
from airflow_provider_cohere_datasets.lake import source
from airflow_provider_cohere_datasets.lake.errors import CohereStorageError
from airflow_provider_cohere_datasets.lake.source import uploads_of
from tests.lake.conftest import connection_to
from tests.versions import attach, stores

TABLE = pa.table({"text": ["grüß\u2028dich", "b", "c"], "n": [1, None, 3]})
LINES = '{"text":"grüß\u2028dich","n":1}\n{"text":"b","n":null}\n{"text":"c","n":3}\n'.encode()


@pytest.fixture
def parquet(tmp_path: Path) -> Path:
    pq.write_table(TABLE, tmp_path / "rows.snappy.parquet")
    return tmp_path / "rows.snappy.parquet"


@pytest.fixture
def scratch(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """Where temporary files go; nothing may be left there, nor open."""
    folder = tmp_path / "scratch"
    folder.mkdir()
    monkeypatch.setattr(tempfile, "tempdir", str(folder))
    yield folder
    assert list(folder.iterdir()) == []
    assert open_in(folder) == []


def open_in(folder: Path) -> list[str]:
    descriptors = Path("/proc/self/fd")
    found = []
    for descriptor in descriptors.iterdir():
        try:
            target = str(descriptor.readlink())
        except OSError:  # The one that lists them.
            continue
        if target.startswith(str(folder)):
            found.append(target)
    return found


def content(upload: Upload) -> bytes:
    with upload.open() as file:
        return file.read()


def only(data: Any) -> Upload:
    with uploads_of(data) as (upload,):
        return upload


def refused(data: Any, eval_data: Any = None) -> str:
    with pytest.raises(CohereInputError) as caught, uploads_of(data, eval_data):
        pass
    message = str(caught.value)
    assert message.endswith(".")
    assert "\n" not in message
    assert message.count(". ") == 0
    return message


@pytest.mark.parametrize("kind", [str, Path, ObjectStoragePath, lambda path: f"file://{path}"])
def test_a_parquet_file_becomes_json_lines(parquet: Path, scratch: Path, kind: Any) -> None:
    with uploads_of(kind(str(parquet))) as (upload,):
        assert (upload.field, upload.filename, upload.content_type) == (
            "data",
            "rows.snappy.jsonl",
            "application/jsonl",
        )
        assert content(upload) == content(upload) == LINES
        assert upload.size == len(LINES)
        assert len(open_in(scratch)) == 1
        assert list(scratch.iterdir()) == []  # Even a process that is killed leaves nothing.


@pytest.mark.parametrize("kind", [str, Path])
def test_a_relative_path_begins_in_the_current_folder(
    parquet: Path, scratch: Path, monkeypatch: pytest.MonkeyPatch, kind: Any
) -> None:
    monkeypatch.chdir(parquet.parent)
    with uploads_of(kind(parquet.name)) as (upload,):
        assert content(upload) == LINES


@pytest.mark.parametrize("table", [TABLE, TABLE.to_batches()[0], TABLE.to_reader()])
def test_a_table_becomes_json_lines(scratch: Path, table: Any) -> None:
    with uploads_of(TABLE, table) as uploads:
        assert [(upload.field, upload.filename) for upload in uploads] == [
            ("data", "data.jsonl"),
            ("eval_data", "eval_data.jsonl"),
        ]
        for upload in uploads:
            assert content(upload) == LINES
            assert upload.size == len(LINES)


def test_other_files_are_sent_as_they_are(tmp_path: Path, scratch: Path) -> None:
    for name in ("a.csv", "a.jsonl", "a.TXT"):
        (tmp_path / name).write_bytes(b"text\nhello\n")
        upload = only(tmp_path / name)
        assert (upload.filename, upload.size, content(upload)) == (name, 11, b"text\nhello\n")


@pytest.mark.parametrize("eval_data", [None, ""])
def test_without_a_file_for_evaluation(parquet: Path, eval_data: Any) -> None:
    with uploads_of(parquet, eval_data) as uploads:
        assert [upload.field for upload in uploads] == ["data"]


def test_a_data_frame_for_evaluation() -> None:
    with uploads_of(TABLE, pd.DataFrame({"text": ["a"]})) as uploads:
        assert [content(upload) for upload in uploads][1] == b'{"text":"a"}\n'


def test_nothing_is_left_when_the_upload_fails(parquet: Path, scratch: Path) -> None:
    def fail() -> None:
        with uploads_of(parquet, TABLE) as uploads:
            for upload in uploads:
                with upload.open():
                    assert len(open_in(scratch)) == 3
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        fail()


def test_nothing_is_left_when_the_conversion_fails(parquet: Path, scratch: Path) -> None:
    assert refused(parquet, pa.table({"x": [1.0, float("inf")]})) == (
        "eval_data has an infinite number in column 'x', row 2."
    )


def test_all_are_checked_before_one_is_converted(
    parquet: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def no_room() -> None:
        raise AssertionError("converted too early")

    monkeypatch.setattr(tempfile, "TemporaryFile", no_room)
    pq.write_table(pa.table({"raw": [b"\x00"]}), tmp_path / "raw.parquet")
    pq.write_table(TABLE.slice(0, 0), tmp_path / "none.parquet")
    (tmp_path / "text.parquet").write_bytes(LINES)
    (tmp_path / "short.parquet").write_bytes(parquet.read_bytes()[:-20])
    (tmp_path / "empty.parquet").touch()
    (tmp_path / "folder.parquet").mkdir()
    matrix = {
        "raw.parquet": "has a column 'raw' with values of type binary, which JSON cannot hold",
        "none.parquet": "is empty",
        "text.parquet": "is not a Parquet file that can be read",
        "short.parquet": "is not a Parquet file that can be read",
        "empty.parquet": "is empty",
        "folder.parquet": "is a folder, not a file",
        "missing.parquet": "does not exist",
        "rows.orc": "its name must end in .csv, .jsonl, .txt, .parquet",
    }
    for name, says in matrix.items():
        message = refused(parquet, tmp_path / name)
        assert message.startswith("eval_data ")
        assert name in message
        assert says in message


def test_a_file_that_breaks_off_in_the_middle(tmp_path: Path, scratch: Path) -> None:
    table = pa.table({"x": [f"text {number}" for number in range(50_000)]})
    pq.write_table(table, tmp_path / "x.parquet", row_group_size=10_000)
    whole = (tmp_path / "x.parquet").read_bytes()
    (tmp_path / "x.parquet").write_bytes(whole[:100_000] + bytes(100_000) + whole[200_000:])
    with pytest.raises((CohereInputError, CohereStorageError), match=r"^data '.*x.parquet' cannot be read: .*\.$"):
        only(tmp_path / "x.parquet")


class AzureError(Exception):
    """As the library of Azure tells what the storage answered."""

    error_code = None

    def __init__(self, status_code: int) -> None:
        super().__init__("Server failed to authenticate.\nRequestId:7\n<?xml the whole answer")
        self.status_code = status_code


@pytest.mark.parametrize(
    ("status", "kind"), [(401, CohereInputError), (403, CohereInputError), (503, CohereStorageError)]
)
def test_what_a_storage_raises_is_one_sentence(
    parquet: Path, monkeypatch: pytest.MonkeyPatch, status: int, kind: type[Exception]
) -> None:
    def refuse(*_: object, **__: object) -> None:
        raise AzureError(status)

    monkeypatch.setattr(ObjectStoragePath, "stat", refuse)
    with pytest.raises(kind, match=r"^data '.*' cannot be read: Server failed to authenticate\.$"):
        only(parquet)


@pytest.mark.parametrize(
    ("status", "kind"), [(401, CohereInputError), (403, CohereInputError), (503, CohereStorageError)]
)
def test_a_storage_that_fails_when_the_file_is_sent(
    emulator: Emulator,
    cohere_connection: str,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    status: int,
    kind: type[Exception],
) -> None:
    (tmp_path / "rows.jsonl").write_bytes(LINES)
    opened, real = [0], ObjectStoragePath.open

    def open_or_fail(self: Any, *args: Any, **kwargs: Any) -> Any:
        opened[0] += 1
        if opened[0] > 1:
            raise AzureError(status)
        return real(self, *args, **kwargs)

    monkeypatch.setattr(ObjectStoragePath, "open", open_or_fail)
    with pytest.raises(kind, match=r"^data '.*' cannot be read: Server failed to authenticate\.") as caught:
        CohereDatasetsHook(cohere_connection).create_dataset(
            name="news", dataset_type="embed-input", data=tmp_path / "rows.jsonl"
        )
    assert isinstance(caught.value, AirflowFailException) is (kind is CohereInputError)
    assert opened == [2]
    assert emulator.requests == []


@pytest.mark.parametrize("other", [LINES, LINES + LINES])
def test_a_file_that_another_replaced_before_it_is_sent(tmp_path: Path, scratch: Path, other: bytes) -> None:
    path = tmp_path / "rows.jsonl"
    path.write_bytes(LINES)
    with uploads_of(path) as (upload,):
        (tmp_path / "new").write_bytes(other)
        os.utime(tmp_path / "new", (1, 1))
        (tmp_path / "new").replace(path)
        with pytest.raises(CohereStorageError, match=r"^data '.*rows\.jsonl' was changed after it was checked\.$"):
            upload.open()
    assert content(only(path)) == other


def test_a_table_that_cannot_be_read_is_one_sentence(scratch: Path) -> None:
    class Table:
        """What holds rows, and fails as others do."""

        def __init__(self, error: Exception) -> None:
            self.error = error

        def __arrow_c_stream__(self, requested_schema: object = None) -> object:
            raise self.error

    twice = pd.concat([pd.DataFrame({"text": ["a"]})] * 2, axis=1)
    for table, kind, says in (
        (twice, CohereInputError, "text"),
        (Table(ValueError("no such column")), CohereInputError, "no such column"),
        (Table(RuntimeError("the warehouse is closed")), CohereStorageError, "the warehouse is closed"),
    ):
        with pytest.raises(kind, match=rf"^data cannot be read.*{says}"):
            only(table)


@pytest.mark.parametrize("name", ["a\nb.jsonl", "a\tb.jsonl", "a?#b.jsonl", "a\rb/x.jsonl"])
def test_a_name_that_would_lead_to_another_file_is_refused(tmp_path: Path, name: str) -> None:
    for each in (name, "ab.jsonl", "a#b.jsonl", "ab/x.jsonl"):
        (tmp_path / each).parent.mkdir(exist_ok=True)
        (tmp_path / each).write_text('{"text": "a"}')
    with pytest.raises(CohereInputError, match="has characters that paths of Airflow cannot have"):
        only(str(tmp_path / name))


@pytest.mark.parametrize("before", ["", "file:", "file://"])
def test_other_ways_to_write_a_path(tmp_path: Path, before: str) -> None:
    (tmp_path / "ä %41#b.jsonl").write_text('{"text": "a"}')
    assert only(f"{before}{tmp_path}//./ä %41#b.jsonl").filename == "ä %41#b.jsonl"


def test_half_a_character_in_the_name_of_a_file() -> None:
    with pytest.raises(CohereInputError, match="half a character"):
        only(ObjectStoragePath("file:///data/\udcff.jsonl"))


def test_a_number_that_no_column_can_hold() -> None:
    with pytest.raises(CohereInputError, match=r"^data cannot be read"):
        only(pd.DataFrame({"n": [2**70]}))


def test_a_task_that_is_killed_while_it_reads_says_so(parquet: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def kill(*_: object, **__: object) -> None:
        raise AirflowFailException("killed")

    monkeypatch.setattr(ObjectStoragePath, "stat", kill)
    with pytest.raises(AirflowFailException, match="killed"):
        only(parquet)


def test_no_room_for_temporary_files(parquet: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path / "gone"))
    with pytest.raises(CohereStorageError, match="cannot be converted in a temporary file"):
        only(parquet)


def test_the_limit(parquet: Path, tmp_path: Path, scratch: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    rows = tmp_path / "rows.jsonl"
    rows.write_bytes(LINES)
    size = len(LINES)
    monkeypatch.setattr(source, "MAX_BYTES", size - 1)
    assert f"has {size} bytes; Cohere takes at most {size - 1}" in refused(rows)
    assert f"becomes more than {size - 1} bytes" in refused(parquet)
    assert f"becomes more than {size - 1} bytes" in refused(TABLE)
    monkeypatch.setattr(source, "MAX_BYTES", 2 * size - 1)
    for data, eval_data in ((rows, rows), (rows, parquet), (TABLE, rows), (parquet, TABLE)):
        assert refused(data, eval_data) == (
            f"data and eval_data have {2 * size} bytes together; Cohere takes at most {2 * size - 1}."
        )
    monkeypatch.setattr(source, "MAX_BYTES", 2 * size)
    with uploads_of(parquet, rows) as uploads:
        assert sum(upload.size for upload in uploads) == 2 * size


@pytest.mark.parametrize("name", ["x.jsonl", "x.parquet"])
def test_the_fingerprint_of_a_file(tmp_path: Path, name: str) -> None:
    path = tmp_path / name

    def write(table: pa.Table, modified: int) -> str:
        pq.write_table(table, path)
        os.utime(path, (modified, modified))
        return only(path).fingerprint

    first = write(TABLE, 1000)
    assert write(TABLE, 1001) == only(path.as_uri()).fingerprint == first
    assert write(TABLE.slice(1), 1001) != first
    write(TABLE, 1000)
    path.rename(tmp_path / f"y{path.suffix}")
    assert only(tmp_path / f"y{path.suffix}").fingerprint == first


def test_the_same_bytes_in_another_format_are_other_data(tmp_path: Path) -> None:
    for name in ("x.txt", "x.csv"):
        (tmp_path / name).write_text("text\na\n")
    assert only(tmp_path / "x.txt").fingerprint != only(tmp_path / "x.csv").fingerprint


def test_another_version_of_a_file_in_a_store_is_other_data(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(stores, "_STORE_CACHE", {})
    fs = fsspec.filesystem("memory")
    attach("memory", fs=fs)
    prints: set[str] = set()
    for path in ("rows.txt", "rows.txt", "others.txt"):
        fs.pipe(f"/versions/{path}", b"a")
        fs.store[f"/versions/{path}"].created = datetime(2026, 1, 1 + min(len(prints), 1), tzinfo=UTC)
        prints.add(only(f"memory://versions/{path}").fingerprint)
    fs.rm("/versions", recursive=True)
    assert len(prints) == 3


def test_the_fingerprint_of_a_table_is_its_content() -> None:
    chunked = pa.concat_tables([TABLE.slice(0, 1), TABLE.slice(1)])
    assert only(TABLE).fingerprint == only(chunked).fingerprint == only(TABLE.to_reader()).fingerprint
    others = [TABLE.slice(1), TABLE.rename_columns(["text", "m"]), TABLE.select(["n", "text"])]
    assert len({only(table).fingerprint for table in (TABLE, *others)}) == 4


def test_the_fingerprint_is_the_same_in_another_process(parquet: Path) -> None:
    script = (
        "import sys; from airflow_provider_cohere_datasets.lake.source import uploads_of\n"
        "with uploads_of(sys.argv[1]) as (upload,): print(upload.fingerprint)"
    )
    found = subprocess.run([sys.executable, "-c", script, parquet], check=True, capture_output=True, text=True)
    assert found.stdout.splitlines()[-1] == only(parquet).fingerprint


def test_memory_does_not_grow_with_the_file(tmp_path: Path) -> None:
    """A row group larger than what the conversion may take."""
    text = "word " * 200
    rows = 120_000
    table = pa.table({"text": pa.array([f"{number} {text}" for number in range(rows)]), "n": range(rows)})
    pq.write_table(table, tmp_path / "x.parquet", row_group_size=rows, compression="none", use_dictionary=False)
    script = (
        "import resource, sys\n"
        "import pyarrow.parquet\n"
        "from airflow_provider_cohere_datasets.lake import conversion, source\n"
        "before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss\n"
        "with source.uploads_of(sys.argv[1]) as (upload,):\n"
        "    print(upload.size, resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before)\n"
    )
    command = [sys.executable, "-c", script, str(tmp_path / "x.parquet")]
    found = subprocess.run(command, check=True, capture_output=True, text=True)
    size, kibibytes = map(int, found.stdout.splitlines()[-1].split())
    assert size > 120_000_000
    assert kibibytes < 110_000


def test_a_parquet_file_in_s3(moto: str, scratch: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AIRFLOW_CONN_SOURCE_S3", connection_to(moto))
    path = ObjectStoragePath("s3://source_s3@source/in/rows.parquet")
    path.fs.call_s3("create_bucket", Bucket="source")

    def write(table: pa.Table) -> str:
        with path.open("wb") as file:
            pq.write_table(table, pa.PythonFile(file), row_group_size=2)
        path.fs.invalidate_cache()
        return only(path).fingerprint

    fingerprint = write(TABLE)
    with uploads_of(path) as (upload,):
        assert (upload.filename, content(upload)) == ("rows.jsonl", LINES)
        assert upload.fingerprint == fingerprint
    assert write(TABLE.slice(0, 2)) != fingerprint
    path.fs.rm("source", recursive=True)


def test_a_parquet_file_in_another_storage(monkeypatch: pytest.MonkeyPatch) -> None:
    # Airflow keeps the first store of a name for ever, and other tests have one of this name.
    monkeypatch.setattr(stores, "_STORE_CACHE", {})
    fs = fsspec.filesystem("memory")
    attach("memory", fs=fs)
    file = io.BytesIO()
    pq.write_table(TABLE, file)
    fs.pipe("/lake/rows.parquet", file.getvalue())
    with uploads_of("memory://lake/rows.parquet") as (upload,):
        assert content(upload) == LINES
    fs.rm("/lake", recursive=True)


def test_a_parquet_file_and_a_table_become_a_dataset(
    emulator: Emulator, cohere_connection: str, parquet: Path, scratch: Path
) -> None:
    hook = CohereDatasetsHook(cohere_connection)
    created = hook.create_dataset(
        name="news", dataset_type="embed-input", data=str(parquet), eval_data=TABLE.slice(1), optional_fields=["n"]
    )
    dataset = hook.get_dataset(created)
    assert dataset.validation_status == "validated"
    parts = []
    for path in sorted(emulator.store.folder(created).glob("*.avro")):
        with path.open("rb") as stream:
            parts.append(list(fastavro.reader(stream)))
    assert parts == [TABLE.to_pylist(), TABLE.slice(1).to_pylist()]


def test_what_cannot_be_converted_costs_no_request(
    emulator: Emulator, cohere_connection: str, scratch: Path, tmp_path: Path
) -> None:
    pq.write_table(pa.table({"raw": [b"\x00"]}), tmp_path / "raw.parquet")
    with pytest.raises(CohereInputError, match="'raw' with values of type binary") as caught:
        CohereDatasetsHook(cohere_connection).create_dataset(
            name="news", dataset_type="embed-input", data=tmp_path / "raw.parquet"
        )
    assert isinstance(caught.value, AirflowFailException)
    assert emulator.requests == []
