"""The store: every dataset in one SQLite file, its parts in a folder beside it."""

from __future__ import annotations

import json
import re
import secrets
import shutil
import sqlite3
import string
import threading
import time
import uuid
from collections.abc import Collection, Iterable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import asdict, dataclass, field, fields
from pathlib import Path
from typing import Any

from airflow_provider_cohere_datasets.emulator.settings import EmulatorSettings

_TABLES = """
CREATE TABLE IF NOT EXISTS datasets (
    seq INTEGER PRIMARY KEY AUTOINCREMENT,
    id TEXT NOT NULL UNIQUE,
    name TEXT NOT NULL,
    dataset_type TEXT NOT NULL,
    created_us INTEGER NOT NULL,
    queued_us INTEGER NOT NULL,
    processing_us INTEGER NOT NULL,
    settled_us INTEGER NOT NULL,
    outcome TEXT NOT NULL,
    stored_bytes INTEGER NOT NULL,
    contents TEXT NOT NULL,
    findings TEXT NOT NULL,
    overrides TEXT NOT NULL
);
CREATE INDEX IF NOT EXISTS datasets_newest_first ON datasets (created_us DESC, seq DESC);
CREATE TABLE IF NOT EXISTS identity (name TEXT PRIMARY KEY, value TEXT NOT NULL);
"""
_JSON_COLUMNS = ("contents", "findings", "overrides")
# The only place that knows the life of a dataset: what is shown and what is filtered can never disagree.
_STATUS = """CASE WHEN :now < queued_us THEN 'unknown' WHEN :now < processing_us THEN 'queued'
    WHEN :now < settled_us THEN 'processing' ELSE outcome END"""
# The files of an upload, and how long it may take: another process may be at it, in the same folder.
_WRITTEN = re.compile(r"(part|original)-\d\.\w+")
_UPLOAD_SECONDS = 3600
_SUFFIX_ALPHABET = string.ascii_lowercase + string.digits


@dataclass(frozen=True)
class StoredDataset:
    """
    One dataset. Times are microseconds since the epoch.

    :param outcome: the status from ``settled_us`` on.
    :param contents: what the API shows from ``processing_us`` on.
    :param findings: what it shows from ``settled_us`` on.
    :param overrides: fields that it shows at all times, in place of its own.
    :param status: the status when the dataset was read; derived from its age, never stored.
    """

    id: str
    name: str
    dataset_type: str
    created_us: int
    queued_us: int
    processing_us: int
    settled_us: int
    outcome: str
    stored_bytes: int = 0
    contents: dict[str, Any] = field(default_factory=dict)
    findings: dict[str, Any] = field(default_factory=dict)
    overrides: dict[str, Any] = field(default_factory=dict)
    status: str = ""


#: What is stored: all but the status.
_COLUMNS = tuple(column.name for column in fields(StoredDataset))[:-1]


@dataclass(frozen=True)
class ListFilter:
    """Which datasets a list shows: unset means all. ``after_us`` is inclusive, ``before_us`` exclusive."""

    dataset_type: str | None = None
    validation_status: str | None = None
    before_us: int | None = None
    after_us: int | None = None


class Store:
    """
    Keeps the datasets of the one organisation that the emulator serves.

    Every method may be called from any thread. What has outlived its retention is dropped before each read.
    """

    def __init__(self, settings: EmulatorSettings, database: Path, data_folder: Path) -> None:
        """
        Open the SQLite file, or make it, and clear away what uploads left that were killed.

        :param settings: clock and retention.
        :param database: the SQLite file.
        :param data_folder: where the parts are, one folder a dataset.
        :raises OSError: when one of the folders cannot be made.
        :raises sqlite3.Error: when the file is not SQLite's.
        """
        self._settings = settings
        self._data_folder = data_folder
        self._lock = threading.RLock()
        self._unfinished: set[str] = set()
        database.parent.mkdir(parents=True, exist_ok=True)
        self._db = sqlite3.connect(database, check_same_thread=False)
        self._db.row_factory = sqlite3.Row
        try:
            # A crash of the process loses nothing; one of the machine may, which is fair for an emulator.
            self._db.execute("PRAGMA synchronous = OFF")
            self._db.executescript(_TABLES)
            self.organization_id = self._identity("organization_id", str(uuid.uuid4()))
            self.user_id = self._identity("user_id", str(uuid.uuid4()))
            self.signing_secret = self._identity("signing_secret", secrets.token_hex(32))
            # Last, so that no folder is left beside a file that SQLite refuses.
            data_folder.mkdir(exist_ok=True)
            self._remove_orphans()
        except (OSError, sqlite3.Error):
            self._db.close()
            raise

    def close(self) -> None:
        """Close the database, and remove what unfinished uploads have written: they cannot be added any more."""
        with self._lock:
            for dataset_id in self._unfinished:
                if not self._knows(dataset_id):
                    shutil.rmtree(self.folder(dataset_id), ignore_errors=True)
            self._db.close()

    def _identity(self, name: str, value: str) -> str:
        with self._lock, self._db:
            self._db.execute("INSERT OR IGNORE INTO identity VALUES (?, ?)", (name, value))
            row = self._db.execute("SELECT value FROM identity WHERE name = ?", (name,)).fetchone()
            return str(row["value"])

    def now_us(self) -> int:
        """Tell the time in microseconds since the epoch."""
        return round(self._settings.clock() * 1_000_000)

    def folder(self, dataset_id: str) -> Path:
        """Tell where the files of a dataset are."""
        return self._data_folder / dataset_id

    @contextmanager
    def new_folder(self, dataset_id: str) -> Iterator[Path]:
        """Make the folder of a dataset that the body adds; it is gone again when the body fails."""
        folder = self.folder(dataset_id)
        folder.mkdir(parents=True)
        with self._lock:
            self._unfinished.add(dataset_id)
        try:
            yield folder
        except BaseException:
            shutil.rmtree(folder, ignore_errors=True)
            raise
        finally:
            with self._lock:
                self._unfinished.remove(dataset_id)

    def _remove_orphans(self) -> None:
        # Not the clock of the settings: the file system has its own.
        latest = time.time() - _UPLOAD_SECONDS
        for folder in self._data_folder.iterdir():
            with suppress(OSError):  # another process may be removing it
                orphaned = folder.stat().st_mtime < latest and not self._knows(folder.name)
                # Whatever else somebody keeps there is not ours to remove.
                if orphaned and all(_WRITTEN.fullmatch(file.name) for file in folder.iterdir()):
                    shutil.rmtree(folder)

    def new_id(self, name: str, taken: Collection[str] = ()) -> str:
        """
        Make an id as production does: the slug of the name, a dash, six random letters or digits.

        :param name: the name of the dataset.
        :param taken: ids given out but not yet added.
        :returns: an id that no dataset has.
        """
        slug = re.sub(r"[^a-z0-9]+", "-", name.lower()).strip("-") or "dataset"
        while True:
            dataset_id = f"{slug}-{''.join(secrets.choice(_SUFFIX_ALPHABET) for _ in range(6))}"
            if dataset_id not in taken and not self._knows(dataset_id):
                return dataset_id

    def _knows(self, dataset_id: str) -> bool:
        with self._lock:
            return bool(self._db.execute("SELECT 1 FROM datasets WHERE id = ?", (dataset_id,)).fetchone())

    def add(self, datasets: Iterable[StoredDataset]) -> None:
        """
        Add datasets, all of them or none.

        :raises sqlite3.IntegrityError: when an id is taken.
        """
        marks = ", ".join("?" * len(_COLUMNS))
        statement = f"INSERT INTO datasets ({', '.join(_COLUMNS)}) VALUES ({marks})"  # noqa: S608 - constants
        with self._lock, self._db:
            self._db.executemany(statement, map(_to_row, datasets))

    def find(self, dataset_id: str) -> StoredDataset | None:
        """Find a living dataset by its id."""
        found = self._select("id = :id", "", {"id": dataset_id})
        return found[0] if found else None

    def page(self, wanted: ListFilter, limit: int, offset: int) -> list[StoredDataset]:
        """
        Read one page of the list, newest first; of the same microsecond, the one added last comes first.

        :param wanted: which datasets to show.
        :param limit: how many at most.
        :param offset: how many to pass over.
        """
        conditions = {
            "dataset_type": "dataset_type = :dataset_type",
            "validation_status": f"{_STATUS} = :validation_status",
            "before_us": "created_us < :before_us",
            "after_us": "created_us >= :after_us",
        }
        values = {**asdict(wanted), "limit": limit, "offset": offset}
        where = " AND ".join(sql for name, sql in conditions.items() if values[name] is not None) or "1"
        return self._select(where, "ORDER BY created_us DESC, seq DESC LIMIT :limit OFFSET :offset", values)

    def usage_bytes(self) -> int:
        """Add up what all living datasets take up, in bytes."""
        with self._lock:
            self._drop_expired(self.now_us())
            row = self._db.execute("SELECT coalesce(sum(stored_bytes), 0) AS total FROM datasets").fetchone()
        return int(row["total"])

    def remove(self, dataset_id: str) -> bool:
        """
        Remove a dataset and its files.

        :returns: whether there was a living one.
        """
        with self._lock:
            self._drop_expired(self.now_us())
            return bool(self._delete("id = ?", dataset_id))

    def clear(self) -> None:
        """Remove every dataset and its files."""
        with self._lock:
            self._delete("1")

    def _select(self, where: str, tail: str, values: dict[str, Any]) -> list[StoredDataset]:
        statement = f"SELECT *, {_STATUS} AS status FROM datasets WHERE {where} {tail}"  # noqa: S608 - constants
        with self._lock:
            now = self.now_us()
            self._drop_expired(now)
            rows = self._db.execute(statement, {**values, "now": now}).fetchall()
        return [_from_row(row) for row in rows]

    def _drop_expired(self, now_us: int) -> None:
        self._delete("created_us <= ?", now_us - round(self._settings.retention_seconds * 1_000_000))

    def _delete(self, where: str, *values: Any) -> int:
        with self._db:
            doomed = self._db.execute(f"SELECT id FROM datasets WHERE {where}", values).fetchall()  # noqa: S608
            if doomed:
                self._db.execute(f"DELETE FROM datasets WHERE {where}", values)  # noqa: S608
        for row in doomed:
            shutil.rmtree(self.folder(row["id"]), ignore_errors=True)
        return len(doomed)


def _to_row(dataset: StoredDataset) -> list[Any]:
    values = (getattr(dataset, column) for column in _COLUMNS)
    return [json.dumps(value) if isinstance(value, dict) else value for value in values]


def _from_row(row: sqlite3.Row) -> StoredDataset:
    values = {column: row[column] for column in (*_COLUMNS, "status")}
    return StoredDataset(**{**values, **{column: json.loads(row[column]) for column in _JSON_COLUMNS}})
