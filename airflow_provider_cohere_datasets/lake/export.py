"""One export: from the pages of the list to one file in its place."""

from __future__ import annotations

import contextlib
import json
import logging
import threading
import time
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any, NamedTuple

import pyarrow as pa
import pyarrow.parquet as pq

from airflow_provider_cohere_datasets.core.errors import CohereTaskStoppedError
from airflow_provider_cohere_datasets.core.filters import ListFilters, checked_count, on_the_wire, optional_count
from airflow_provider_cohere_datasets.core.paging import MAX_PAGE_SIZE
from airflow_provider_cohere_datasets.core.untrusted import shareable
from airflow_provider_cohere_datasets.lake.errors import CohereBadRowError, CohereEmptyExportError
from airflow_provider_cohere_datasets.lake.publish import Checked
from airflow_provider_cohere_datasets.lake.schema import SCHEMA_VERSION, file_schema
from airflow_provider_cohere_datasets.lake.writer import RowGroupWriter

if TYPE_CHECKING:
    from collections.abc import Callable, Generator, Sequence

    from airflow_provider_cohere_datasets.core.paging import ListReport
    from airflow_provider_cohere_datasets.lake.decode import Decoder
    from airflow_provider_cohere_datasets.lake.pages import DecodedPage
    from airflow_provider_cohere_datasets.lake.publish import Place
    from airflow_provider_cohere_datasets.lake.schema import Stamp

    #: As ``CohereDatasetsHook.stream_pages``.
    StreamPages = Callable[..., Generator[DecodedPage, None, ListReport]]

MAX_LIMIT = 100_000_000
_PROGRESS_SECONDS = 10.0
#: After so many pages, what making rows took goes back to the system. With the allocator mimalloc, never is a tenth
#: more memory, always a tenth more time.
_PAGES_PER_RELEASE = 5
#: More bad rows than this are only counted.
_MAX_WARNINGS = 100
#: What goes to XCom stays small.
_MAX_TEXT = 100


class Scope(NamedTuple):
    """What is exported, and how it is read.

    :param filters: which datasets.
    :param page_size: rows to ask for at a time.
    :param limit: rows at the most; ``None`` for all.
    """

    filters: ListFilters
    page_size: int
    limit: int | None = None

    @classmethod
    def of(cls, *, page_size: Any, limit: Any = None, **filters: Any) -> Scope:
        """Check what the user gave, after templating.

        :raises CohereInputError: for what cannot be meant.
        """
        most = optional_count("limit", limit, MAX_LIMIT)
        return cls(ListFilters.of(**filters), checked_count("page_size", page_size, MAX_PAGE_SIZE), most)


class Export:
    """Exports a selection of datasets into one Parquet file: all of it, or nothing.

    :param place: where the file shall stand.
    :param scope: which datasets.
    :param decoder: how answers are decoded.
    :param stamp: what is written into each row.
    :param if_empty: what to do if there is no dataset: ``write`` a file without rows, ``skip`` (the old file stays),
        or ``fail``.
    :param log: receives the progress, bad rows, and what else should be known.
    :param clock: tells a monotonic time in seconds.
    """

    def __init__(
        self,
        place: Place,
        scope: Scope,
        decoder: Decoder,
        stamp: Stamp,
        *,
        if_empty: str = "write",
        log: Any = None,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._place = place
        self._scope = scope
        self._decoder = decoder
        self._stamp = stamp
        self._if_empty = if_empty
        self._log = log or logging.getLogger(__name__)
        self._clock = clock
        self._rows = self._pages = self._requests = self._bad_rows = self._answers = 0
        self._newest: int | None = None
        self._started = self._shown = 0.0
        self._stopped = False
        self._interruptible: int | None = None

    def stop(self) -> None:
        """Stop as soon as possible; does nothing if no export runs.

        :raises CohereTaskStoppedError: in the thread of the export, where this is called by a signal handler: so it
            stops whatever it waits for.
        """
        self._stopped = True
        if self._interruptible == threading.get_ident():
            self._check_stopped()

    def _check_stopped(self) -> None:
        if self._stopped:
            raise CohereTaskStoppedError(f"The export to {self._place} was told to stop; nothing was changed.")

    def run(self, stream_pages: StreamPages) -> dict[str, Any] | None:
        """Export.

        :param stream_pages: reads the list; as ``CohereDatasetsHook.stream_pages``.
        :returns: what XCom and the asset's event carry; ``None`` if there was no dataset and ``if_empty`` is ``skip``.
        :raises CohereInputError: if the place cannot be written; before any request.
        :raises CohereStorageError: if writing fails.
        :raises CohereBadRowError: if a row cannot be read and the decoder's ``on_bad_row`` is ``fail``.
        :raises CohereEmptyExportError: if there is no dataset and ``if_empty`` is ``fail``.
        :raises CohereTaskStoppedError: if :meth:`stop` was called.
        """
        file = self._place.create()
        stream = Checked(file)
        try:
            self._interruptible = threading.get_ident()
            self._write(stream, stream_pages)
            publish = self._rows > 0 or self._empty_is_fine()
            self._check_stopped()
            self._interruptible = None
            if publish:
                with self._place.failures():
                    file.publish()
                return self._summary(stream)
        except BaseException:
            self._interruptible = None
            file.abandon()
            raise
        file.abandon()
        return None

    def _write(self, stream: Checked, stream_pages: StreamPages) -> None:
        writer = RowGroupWriter(stream, file_schema(keep_raw=self._decoder.keep_raw), self._stamp)
        try:
            writer.start()
            report = self._read(writer, stream_pages)
            with self._place.failures():
                writer.finish()
        except BaseException:
            writer.stop()
            raise
        self._requests = report.requests
        self._bad_rows += self._decoder.rows_without_id
        for note in report.notes:
            self._log.warning(note)
        if self._bad_rows:
            self._log.warning("%d rows could not be read completely.", self._bad_rows)

    def _read(self, writer: RowGroupWriter, stream_pages: StreamPages) -> ListReport:
        """Hand page after page to the writer, while it writes those before."""
        pages = stream_pages(self._decoder, **self._scope._asdict())
        self._started = self._shown = self._clock()
        self._decoder.heard = self._tell_progress
        with contextlib.closing(pages):
            while True:
                self._check_stopped()
                try:
                    page = next(pages)
                except StopIteration as stop:
                    report: ListReport = stop.value
                    return report
                self._take_note_of(page)
                with self._place.failures():
                    writer.put(page.rows)
                del page  # The rows are the writer's now.
                if self._pages % _PAGES_PER_RELEASE == 0:
                    pa.default_memory_pool().release_unused()

    def _tell_progress(self) -> None:
        """Log how far it is; called with each answer, because many may come in a row that bring nothing new."""
        self._answers += 1
        now = self._clock()
        if now - self._shown >= _PROGRESS_SECONDS:
            self._shown = now
            rate = self._rows / (now - self._started)
            self._log.info("%d rows in %d pages so far, %.0f rows/s.", self._rows, self._answers, rate)

    def _take_note_of(self, page: DecodedPage) -> None:
        for position, problems in {**self._doubts(page), **page.problems}.items():
            what = f"Dataset {page.ids[position]!r:.120}: {shareable('; '.join(problems), 500)}"
            if self._decoder.on_bad_row == "fail":
                raise CohereBadRowError(f"{what}.")
            self._bad_rows += 1
            if self._bad_rows <= _MAX_WARNINGS:
                self._log.warning("%s; exported as null.", what)
        self._rows += len(page.ids)
        self._pages += 1
        self._newest = max((at for at in (self._newest, *page.created) if at is not None), default=None)

    def _doubts(self, page: DecodedPage) -> dict[int, list[str]]:
        """Return which rows are exported only because nobody can tell whether they match the filters."""
        filters = self._scope.filters
        values: dict[str, Sequence[object]] = {}
        if filters.after is not None or filters.before is not None:
            values["created_at"] = page.created
        if filters.dataset_type is not None:
            values["dataset_type"] = page.texts("dataset_type")
        return {
            position: [f"it has no {name}, so it matches every filter of that"]
            for name, column in values.items()
            for position, value in enumerate(column)
            if value is None
        }

    def _empty_is_fine(self) -> bool:
        if self._if_empty == "fail":
            raise CohereEmptyExportError(f"There is no dataset to export to {self._place}.")
        if self._if_empty == "write" and self._decoder.listless and (before := self._rows_before()):
            self._log.warning(
                "The answer had no list in it, which is taken as no datasets: the file at %s, which had %d rows, is "
                "replaced by one without rows.",
                self._place,
                before,
            )
        return self._if_empty == "write"

    def _rows_before(self) -> int:
        try:
            with self._place.open() as old:
                count: int = pq.read_metadata(old).num_rows
                return count
        except Exception:  # Only a warning depends on it, so whatever cannot be read counts as no rows.
            return 0

    def _summary(self, stream: Checked) -> dict[str, Any]:
        filters = self._scope.filters.description()
        return {
            "path": str(self._place),
            "rows": self._rows,
            "bytes": stream.size,
            "sha256": stream.sha256,
            "pages": self._pages,
            "requests": self._requests,
            "filters": {name: _short(value) for name, value in filters.items()},
            "schema_version": SCHEMA_VERSION,
            "bad_rows": self._bad_rows,
            "newest_created_at": None if self._newest is None else _text(self._newest),
        }


def _short(text: str) -> str:
    """Return the beginning of a text that takes little room as JSON, where a character may take twelve bytes."""
    room = range(_MAX_TEXT, -1, -1)
    return next(text[:length] for length in room if len(json.dumps(text[:length])) <= _MAX_TEXT + 2)


def _text(microseconds: int) -> str:
    return on_the_wire(datetime.fromtimestamp(0, UTC) + timedelta(microseconds=microseconds))
