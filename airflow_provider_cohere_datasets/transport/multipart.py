"""The body of an upload, read from its files while it is sent."""

from __future__ import annotations

import io
import logging
import os
import time
from typing import IO, TYPE_CHECKING, Any

from requests_toolbelt import MultipartEncoder

from airflow_provider_cohere_datasets.core.errors import CohereInputError

if TYPE_CHECKING:
    import contextlib
    from collections.abc import Callable

    from airflow_provider_cohere_datasets.core.calls import Call, Upload

_log = logging.getLogger(__name__)
#: Seconds of an upload before its progress is logged, and between two lines about it.
_EVERY = 10.0
_MB = 1_000_000


#: Why a file is not sent to its end that is not what it was when it was opened.
CHANGED = "the file was changed while it was sent"


class UnreadableFileError(OSError):
    """A file that is being sent cannot be read to its end."""


class SizedFile:
    """What requests-toolbelt wants of a file.

    Its own wrapper takes the size from a file descriptor, which the files of object stores do not have, and copies
    what is in memory already.

    :param file: the file, at its beginning.
    :param progress: told how many bytes were read.
    """

    def __init__(self, file: IO[bytes], progress: Progress) -> None:
        self._file = file
        self._progress = progress
        self._version = _version(file)
        #: Bytes that are still to be read.
        self.len = file.seek(0, io.SEEK_END)
        file.seek(0)

    def read(self, size: int) -> bytes:
        """Return the next bytes; never more than the file had at first, because that is what was announced.

        :raises UnreadableFileError: if it cannot be read, or was changed. That is told before the last bytes, so that
            no server takes the upload for complete.
        """
        try:
            data = self._file.read(min(size, self.len))
        except Exception as error:  # Every storage has exceptions of its own.
            raise UnreadableFileError(str(error)) from error
        self.len -= len(data)
        if (not data or self.len == 0) and self._version != _version(self._file):
            raise UnreadableFileError(CHANGED)
        if not data:
            raise UnreadableFileError("it ended before its size was read")
        self._progress.add(len(data))
        return data


def _version(file: IO[bytes]) -> object:
    """Return what changes with the content of a local file; files of object stores never change while they are open."""
    try:
        status = os.fstat(file.fileno())
    except (AttributeError, OSError):
        return None
    return status.st_size, status.st_mtime_ns


class Progress:
    """Logs how far an upload is, every ten seconds, so that a long one does not look like one that hangs.

    :param clock: tells a monotonic time in seconds.
    """

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        #: Bytes of all files together; what else is in the body does not count.
        self.total = 0
        self._clock = clock
        self._started = clock()
        self._due = self._started + _EVERY
        self._sent = 0

    def add(self, size: int) -> None:
        """Count bytes that are being sent."""
        self._sent += size
        now = self._clock()
        # The last bytes are news soon enough: the answer comes, or an error.
        if now < self._due or self._sent >= self.total:
            return
        self._due = now + _EVERY
        _log.info(
            "Uploading: %.1f of %.1f MB (%d %%), %.1f MB/s.",
            self._sent / _MB,
            self.total / _MB,
            100 * self._sent // self.total,
            self._sent / _MB / (now - self._started),
        )


def multipart(call: Call, stack: contextlib.ExitStack, *, clock: Callable[[], float] = time.monotonic) -> Any:
    """Return the body of a call with files, which are closed with the stack.

    :param call: the call.
    :param stack: closes the files.
    :param clock: tells a monotonic time in seconds.
    :raises CohereDatasetsError: if a file cannot be opened; its class tells whether that may pass.
    """
    progress = Progress(clock)
    fields = []
    for upload in call.uploads:
        file = _open(upload, stack, progress)
        progress.total += file.len
        fields.append((upload.field, (upload.filename, file, upload.content_type)))
    return MultipartEncoder(fields=fields)


def _open(upload: Upload, stack: contextlib.ExitStack, progress: Progress) -> SizedFile:
    try:
        return SizedFile(stack.enter_context(upload.open()), progress)
    except OSError as error:
        raise CohereInputError(
            f"{upload.field} {upload.filename!r} cannot be opened: {error.strerror or error}."
        ) from error
