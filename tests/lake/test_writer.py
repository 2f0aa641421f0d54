from __future__ import annotations

import io
import sys
import threading
from itertools import count
from queue import SimpleQueue

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from airflow_provider_cohere_datasets.lake import writer
from airflow_provider_cohere_datasets.lake.publish import Checked
from airflow_provider_cohere_datasets.lake.schema import file_schema
from airflow_provider_cohere_datasets.lake.writer import PAGES_AHEAD, RowGroupWriter
from tests.lake.conftest import STAMP, decode


class Sink:
    """A file in memory that fails once it has so many bytes."""

    def __init__(self, room: float = float("inf")) -> None:
        self.data = io.BytesIO()
        self.room = room

    def write(self, data: bytes) -> object:
        if self.data.tell() + len(data) > self.room:
            raise OSError(28, "No space left on device")
        return self.data.write(data)

    def publish(self) -> None:
        raise NotImplementedError

    def abandon(self) -> None:
        raise NotImplementedError


def page_of(count: int, text: str = "") -> pa.RecordBatch:
    return decode([{"id": f"id {number}", "schema": text} for number in range(count)]).rows


def written(pages: list[pa.RecordBatch]) -> pq.FileMetaData:
    sink = Sink()
    stream = Checked(sink)
    writing = RowGroupWriter(stream, file_schema(), STAMP)
    writing.start()
    for page in pages:
        writing.put(page)
    writing.finish()
    assert stream.size == sink.data.tell()
    return pq.read_metadata(io.BytesIO(sink.data.getvalue()))


@pytest.mark.parametrize(
    ("sizes", "groups"),
    [
        ([], []),
        ([1], [1]),
        ([5000, 5000], [10_000]),
        ([7000, 7000, 7000], [10_000, 10_000, 1000]),
        ([25_000, 1], [10_000, 10_000, 5001]),
    ],
)
def test_row_groups_have_10_000_rows_whatever_the_size_of_pages(sizes: list[int], groups: list[int]) -> None:
    metadata = written([page_of(size) for size in sizes])
    assert [metadata.row_group(index).num_rows for index in range(metadata.num_row_groups)] == groups


def test_a_row_group_of_large_rows_ends_early() -> None:
    large = page_of(3, "x" * (writer.BYTES_PER_GROUP // 5))
    metadata = written([large, large, page_of(1)])
    assert [metadata.row_group(index).num_rows for index in range(metadata.num_row_groups)] == [6, 1]


def test_columns_are_compressed_with_zstd_and_have_statistics() -> None:
    group = written([page_of(10)]).row_group(0)
    columns = [group.column(index) for index in range(group.num_columns)]
    assert {column.compression for column in columns} == {"ZSTD"}
    assert columns[0].statistics.min == "id 0"


def test_only_columns_of_few_values_have_a_dictionary() -> None:
    group = written([page_of(100)]).row_group(0)
    columns = [group.column(index) for index in range(group.num_columns)]
    having = {column.path_in_schema for column in columns if column.has_dictionary_page}
    assert having == set(writer._DICTIONARIES)


@pytest.mark.parametrize("room", [0, 100, 12_000])
def test_a_full_disk_is_told_to_whoever_hands_over_and_never_blocks(room: int) -> None:
    """At the header, in a row group, in the footer; with more pages than may wait."""

    def fill(writing: RowGroupWriter) -> None:
        for _ in range(10 * PAGES_AHEAD):
            writing.put(page_of(10))
        writing.finish()

    writing = RowGroupWriter(Checked(Sink(room)), file_schema(), STAMP)
    writing.start()
    with pytest.raises(OSError, match="No space"):
        fill(writing)
    writing.stop()
    assert not any(thread.name == "parquet-writer" for thread in threading.enumerate())


def test_who_waits_for_room_hears_of_a_full_disk(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(writer, "ROWS_PER_GROUP", 1)
    waiting = threading.Event()

    class Room:
        def __init__(self, room: SimpleQueue[None]) -> None:
            self._room = room
            self.put = room.put

        def get(self) -> None:
            handed.append(len(handed))
            if len(handed) == PAGES_AHEAD + 2:  # One is being written.
                waiting.set()
            self._room.get()

    class Full(Sink):
        def write(self, data: bytes) -> object:
            if len(data) > 4:  # Not the magic number at the start.
                waiting.wait()
                raise OSError(28, "No space left on device")
            return super().write(data)

    handed: list[int] = []
    told: list[str | None] = []

    def fill() -> None:
        writing = RowGroupWriter(Checked(Full()), file_schema(), STAMP)
        writing._room = Room(writing._room)  # type: ignore[assignment]
        writing.start()
        try:
            for _ in range(3 * PAGES_AHEAD):
                writing.put(page_of(1))
            writing.finish()
        except OSError as error:
            told.append(error.strerror)
        writing.stop()

    filling = threading.Thread(target=fill, daemon=True)
    filling.start()
    filling.join(10)
    assert told == ["No space left on device"]
    assert len(handed) == PAGES_AHEAD + 2


def test_a_stopped_writer_writes_nothing_more_and_its_thread_ends() -> None:
    sink = Sink()
    writing = RowGroupWriter(Checked(sink), file_schema(), STAMP)
    writing.start()
    writing.put(page_of(10))
    writing.stop()
    assert sink.data.getvalue() in {b"", b"PAR1"}
    assert not any(thread.name == "parquet-writer" for thread in threading.enumerate())


@pytest.mark.parametrize("at", range(12))
def test_a_handler_that_raises_at_any_moment_leaves_a_writer_that_can_be_stopped(at: int) -> None:
    class Stopped(BaseException):
        pass

    moments = count()

    def trace(*_: object) -> object:
        if next(moments) == at:
            raise Stopped
        return trace

    writing = RowGroupWriter(Checked(Sink()), file_schema(), STAMP)
    writing.start()
    page, before = page_of(10), sys.gettrace()
    sys.settrace(trace)  # type: ignore[arg-type]
    try:
        writing.put(page)
    except Stopped:
        pass
    finally:
        sys.settrace(before)
    stopping = threading.Thread(target=writing.stop, daemon=True)
    stopping.start()
    stopping.join(10)
    assert not stopping.is_alive()


def test_fetching_is_ahead_of_writing_by_a_bounded_number_of_pages(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(writer, "ROWS_PER_GROUP", 1)
    handed: list[int] = []
    written_groups: list[int] = []
    as_far_as_it_goes = threading.Event()

    class Watching(Sink):
        def write(self, data: bytes) -> object:
            if len(data) > 4:  # Not the magic number at the start.
                as_far_as_it_goes.wait()
                written_groups.append(len(handed))
            return super().write(data)

    writing = RowGroupWriter(Checked(Watching()), file_schema(), STAMP)
    writing.start()
    for number in range(5 * PAGES_AHEAD):
        if number == PAGES_AHEAD:
            as_far_as_it_goes.set()
        writing.put(page_of(1))
        handed.append(number)
    writing.finish()
    assert PAGES_AHEAD <= written_groups[0] <= PAGES_AHEAD + 2
