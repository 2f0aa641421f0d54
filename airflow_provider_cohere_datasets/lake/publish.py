"""Places in a data lake, and putting a file into one in a single step.

Readers see the old file until the new one is whole. A run that fails or is told to stop leaves the old file and nothing
else, one that is killed leaves the old file, and of two runs at once one whole file stays.
:mod:`~airflow_provider_cohere_datasets.lake.files` has the ways in which storages do that.
"""

from __future__ import annotations

import contextlib
import errno
import hashlib
import os
import re
from typing import IO, TYPE_CHECKING, Any

from airflow.providers.common.compat.sdk import AirflowException, ObjectStoragePath

from airflow_provider_cohere_datasets.core.errors import CohereDatasetsError, CohereInputError
from airflow_provider_cohere_datasets.core.filters import given
from airflow_provider_cohere_datasets.lake.errors import CohereStorageError
from airflow_provider_cohere_datasets.lake.failures import is_forbidden, is_permanent, sentence
from airflow_provider_cohere_datasets.lake.files import Blob, BucketObject, LocalFile, MovedFile
from airflow_provider_cohere_datasets.lake.paths import absolute, checked_path

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from airflow_provider_cohere_datasets.lake.files import NewFile

#: How new files are made in storages that can keep one unseen by themselves.
_KINDS: dict[str, Callable[[Any, str], NewFile]] = {
    **dict.fromkeys(("s3", "s3a", "gs", "gcs"), BucketObject),
    **dict.fromkeys(("abfs", "abfss", "adl", "az"), Blob),
}


class Place:
    """Where a file shall stand.

    :param path: a path or URL of any storage that Airflow knows: ``file``, ``s3``, ``gs``, ``abfs`` …
    :param conn_id: the Airflow connection to the storage; the one in the URL, or the environment's, if ``None``.
    :raises CohereInputError: if it cannot be a place.
    """

    def __init__(self, path: str | os.PathLike[str] | ObjectStoragePath, conn_id: str | None = None) -> None:
        # Not fspath(), which only some object store paths have.
        text = absolute(checked_path("output_path", str(path) if isinstance(path, ObjectStoragePath) else path))
        conn_id = given("storage_conn_id", conn_id) or getattr(path, "conn_id", None)
        if conn_id:  # From Airflow 3.2 on, the one in the URL would win.
            text = re.sub(r"^(\w+://)[^/@]*@", r"\1", text)
        try:
            # Below Airflow 3.2, None would win over the connection in the URL.
            located = ObjectStoragePath(text, **({"conn_id": conn_id} if conn_id else {}))
            self._fs = located.fs
        except (ValueError, ImportError, AirflowException) as error:
            raise CohereInputError(f"output_path {text[:200]!r} cannot be used: {sentence(error)}.") from error
        self._protocol = located.protocol or "file"
        self._key = located.path
        is_local = self._protocol == "file"
        self._url = self._key if is_local else f"{self._protocol}://{self._key.lstrip('/')}"

    def __str__(self) -> str:
        """Return the path or URL, without a connection."""
        return self._url

    def create(self) -> NewFile:
        """Begin a new file, which finds out whether it can be written.

        :raises CohereInputError: if it cannot.
        :raises CohereStorageError: if the storage fails for a reason that may pass.
        """
        with self.failures():
            if self._protocol == "file":
                return LocalFile(self._key)
            file = _KINDS.get(self._protocol, MovedFile)(self._fs, self._key)
            try:
                # Only now: a storage that cannot be reached or refuses us says so sooner when it is written to.
                if self._is_folder():
                    raise IsADirectoryError(errno.EISDIR, os.strerror(errno.EISDIR))
            except BaseException:
                file.abandon()
                raise
            return file

    def _is_folder(self) -> bool:
        try:
            return bool(self._fs.isdir(self._key))
        except Exception as error:
            if is_forbidden(error):  # Who may only write need not be able to list.
                return False
            raise

    def open(self) -> IO[bytes]:
        """Open the file that stands there now for reading."""
        stream: IO[bytes] = self._fs.open(self._key, "rb")
        return stream

    @contextlib.contextmanager
    def failures(self) -> Iterator[None]:
        """Raise whatever a storage raises as an error of this provider, in one sentence."""
        try:
            yield
        except (CohereDatasetsError, AirflowException):  # For example that the task is killed.
            raise
        except Exception as error:  # Every storage has exceptions of its own.
            kind = CohereInputError if is_permanent(error) else CohereStorageError
            raise kind(f"output_path {self._url[:200]!r} cannot be written: {sentence(error)}.") from error


class Checked:
    """A stream into a new file that counts and hashes what goes through.

    :param file: the new file.
    """

    def __init__(self, file: NewFile) -> None:
        self._file = file
        self._sha256 = hashlib.sha256()
        self._is_dead = False
        #: Bytes so far.
        self.size = 0
        #: pyarrow asks for it; the stream ends with its file.
        self.closed = False

    @property
    def sha256(self) -> str:
        """The digest of what went through, in hexadecimal digits."""
        return self._sha256.hexdigest()

    def write(self, data: bytes) -> None:
        """Append bytes."""
        if not self._is_dead:
            self._file.write(data)
            self._sha256.update(data)
            self.size += len(data)

    def deaden(self) -> None:
        """Ignore all that comes from now on: pyarrow writes a footer even into a file that failed."""
        self._is_dead = True
