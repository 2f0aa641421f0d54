"""Writes row groups in a thread of its own, while the next pages are fetched and decoded."""

from __future__ import annotations

import threading
from queue import SimpleQueue
from typing import TYPE_CHECKING

import pyarrow as pa
import pyarrow.parquet as pq

from airflow_provider_cohere_datasets.lake.schema import stamped

if TYPE_CHECKING:
    from airflow_provider_cohere_datasets.lake.publish import Checked
    from airflow_provider_cohere_datasets.lake.schema import Stamp

ROWS_PER_GROUP = 10_000
#: Rows with many samples are large: a row group ends early rather than hold more than this.
BYTES_PER_GROUP = 64 * 1024 * 1024
#: Columns of few different values. For any other a dictionary only costs time, and room: zstd finds what repeats.
_DICTIONARIES = [
    *("dataset_type", "validation_status", "schema", "required_fields.list.element", "preserve_fields.list.element"),
    *("_exported_at", "_run_id", "_logical_date", "_schema_version"),
]
#: How many pages may wait to be written.
PAGES_AHEAD = 3


class RowGroupWriter:
    """Collects decoded rows into row groups and writes them.

    :param stream: where the file goes.
    :param schema: the schema of the file.
    :param stamp: what is written into each row.
    """

    def __init__(self, stream: Checked, schema: pa.Schema, stamp: Stamp) -> None:
        self._stream = stream
        self._schema = schema
        self._stamp = stamp
        # A Queue has a lock that a signal handler which raises can leave taken: a task that is to stop would hang.
        self._queue: SimpleQueue[pa.RecordBatch | None] = SimpleQueue()
        self._room: SimpleQueue[None] = SimpleQueue()
        for _ in range(PAGES_AHEAD):
            self._room.put(None)
        self._ended = False
        self._error: BaseException | None = None
        self._thread = threading.Thread(target=self._work, name="parquet-writer", daemon=True)

    def start(self) -> None:
        """Start the thread; whatever interrupts this, :meth:`stop` ends it."""
        self._thread.start()

    def put(self, rows: pa.RecordBatch) -> None:
        """Hand over rows; waits while too many pages wait to be written.

        :raises BaseException: what writing earlier rows raised.
        """
        self._raise()
        self._room.get()
        self._queue.put(rows)

    def finish(self) -> None:
        """Write what is left, and the footer.

        :raises BaseException: what writing raised.
        """
        self._end()
        self._raise()

    def stop(self) -> None:
        """Give up: nothing more is written."""
        self._stream.deaden()
        self._end()

    def _end(self) -> None:
        if self._thread.is_alive():
            self._queue.put(None)
            self._thread.join()

    def _raise(self) -> None:
        if self._error is not None:
            raise self._error

    def _next(self) -> pa.RecordBatch | None:
        rows = self._queue.get()
        self._room.put(None)
        self._ended = rows is None
        return rows

    def _work(self) -> None:
        try:
            with pq.ParquetWriter(
                self._stream, self._schema, compression="zstd", use_dictionary=_DICTIONARIES, write_statistics=True
            ) as file:
                try:
                    self._write_groups(file)
                except BaseException:
                    self._stream.deaden()
                    raise
        except BaseException as error:
            self._error = error
            # Nobody shall wait for room in the queue.
            while not self._ended:
                self._next()

    def _write_groups(self, file: pq.ParquetWriter) -> None:
        batches: list[pa.RecordBatch] = []
        rows = size = 0
        while (batch := self._next()) is not None:
            batches.append(batch)
            rows += batch.num_rows
            size += batch.nbytes
            if rows >= ROWS_PER_GROUP or size >= BYTES_PER_GROUP:
                table = pa.Table.from_batches(batches)
                # What is over begins the next group, so that groups are equal whatever the size of pages.
                whole = rows if size >= BYTES_PER_GROUP else rows - rows % ROWS_PER_GROUP
                self._write(file, table.slice(0, whole))
                batches = table.slice(whole).to_batches()
                del table  # Or its memory would stay until the next group is whole.
                rows, size = rows - whole, sum(batch.nbytes for batch in batches)
        if batches:
            self._write(file, pa.Table.from_batches(batches))

    def _write(self, file: pq.ParquetWriter, rows: pa.Table) -> None:
        file.write_table(stamped(rows, self._stamp, self._schema), row_group_size=ROWS_PER_GROUP)
        pa.default_memory_pool().release_unused()  # What writing took; each thread keeps its share.
