"""The body of an upload, read from its files while it is sent."""

from __future__ import annotations

import io
from typing import IO, TYPE_CHECKING, Any

from requests_toolbelt import MultipartEncoder

from airflow_provider_cohere_datasets.core.errors import CohereInputError

if TYPE_CHECKING:
    import contextlib

    from airflow_provider_cohere_datasets.core.calls import Call, Upload


class UnreadableFileError(OSError):
    """A file that is being sent cannot be read to its end."""


class SizedFile:
    """What requests-toolbelt wants of a file.

    Its own wrapper takes the size from a file descriptor, which the files of object stores do not have, and copies
    what is in memory already.

    :param file: the file, at its beginning.
    """

    def __init__(self, file: IO[bytes]) -> None:
        self._file = file
        #: Bytes that are still to be read.
        self.len = file.seek(0, io.SEEK_END)
        file.seek(0)

    def read(self, size: int) -> bytes:
        """Return the next bytes; never more than the file had at first, because that is what was announced.

        :raises UnreadableFileError: if it cannot be read, or has become shorter.
        """
        try:
            data = self._file.read(min(size, self.len))
        except OSError as error:
            raise UnreadableFileError(str(error)) from error
        if not data:
            raise UnreadableFileError("it became shorter while it was sent")
        self.len -= len(data)
        return data


def multipart(call: Call, stack: contextlib.ExitStack) -> Any:
    """Return the body of a call with files, which are closed with the stack.

    :raises CohereInputError: if a file cannot be opened.
    """
    return MultipartEncoder(
        fields=[(upload.field, (upload.filename, _open(upload, stack), upload.content_type)) for upload in call.uploads]
    )


def _open(upload: Upload, stack: contextlib.ExitStack) -> SizedFile:
    try:
        return SizedFile(stack.enter_context(upload.open()))
    except OSError as error:
        raise CohereInputError(
            f"{upload.field} {upload.filename!r} cannot be opened: {error.strerror or error}."
        ) from error
