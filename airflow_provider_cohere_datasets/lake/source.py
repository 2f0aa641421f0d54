"""What is uploaded: a file of the local disk or of an object store, opened as a stream."""

from __future__ import annotations

import errno
import os
from typing import TYPE_CHECKING, Any

from airflow.providers.common.compat.sdk import ObjectStoragePath

from airflow_provider_cohere_datasets.core.calls import Upload
from airflow_provider_cohere_datasets.core.errors import CohereInputError
from airflow_provider_cohere_datasets.core.filters import given
from airflow_provider_cohere_datasets.lake.errors import CohereStorageError

if TYPE_CHECKING:
    from typing import IO

#: Formats by the ending of the file's name; Cohere tells them by it too.
CONTENT_TYPES = {".csv": "text/csv", ".jsonl": "application/jsonl", ".txt": "text/plain"}
#: A dataset may have 1.5 GB (Cohere's documentation).
MAX_BYTES = 1_500_000_000
#: What the file system says of a path that will never do; anything else may pass.
_HOPELESS = {errno.EACCES, errno.EINVAL, errno.EISDIR, errno.ELOOP, errno.ENAMETOOLONG, errno.ENOTDIR, errno.EPERM}


def upload_of(argument: str, source: str | os.PathLike[str] | ObjectStoragePath) -> Upload:
    """Return a checked file as the part of an upload.

    :param argument: the argument's name, which is also the name of the form field.
    :param source: a local path, or the URL or path of an object store.
    :raises CohereInputError: if it is missing, a folder, empty, too large (bytes) or of another format.
    :raises CohereStorageError: if the storage fails; trying again may help.
    """
    path = _path_of(argument, source)
    kind = CONTENT_TYPES.get(path.suffix.lower())
    if kind is None:
        raise CohereInputError(
            f"{argument} {path.name!r} has an unsupported format: its name must end in {', '.join(CONTENT_TYPES)}."
        )
    _check(argument, path)

    def open_file() -> IO[bytes]:
        stream: IO[bytes] = path.open("rb")
        return stream

    return Upload(argument, path.name, open_file, kind)


def _check(argument: str, path: Any) -> None:
    what = f"{argument} {str(path)!r}"
    try:
        folder = path.is_dir()
        size = 0 if folder else path.stat().st_size
        if size:  # What is empty may be a pipe, and opening that waits for a writer.
            path.open("rb").close()
    except FileNotFoundError:
        raise CohereInputError(f"{what} does not exist.") from None
    except OSError as error:
        hopeless = error.errno in _HOPELESS or isinstance(error, PermissionError)
        kind = CohereInputError if hopeless else CohereStorageError
        raise kind(f"{what} cannot be read: {error.strerror or error}.") from error
    except (ValueError, ImportError) as error:  # A path that cannot be one, or a storage without its library.
        raise CohereInputError(f"{what} cannot be read: {error}.") from error
    if folder:
        raise CohereInputError(f"{what} is a folder, not a file.")
    if size is None:
        raise CohereInputError(f"{what} cannot be uploaded: its storage does not tell its size.")
    if size == 0:
        raise CohereInputError(f"{what} is empty.")
    if size > MAX_BYTES:
        raise CohereInputError(f"{what} has {size} bytes; Cohere takes at most {MAX_BYTES}.")


def _path_of(argument: str, source: Any) -> Any:
    if isinstance(source, ObjectStoragePath):
        return source
    text = given(argument, os.fspath(source) if isinstance(source, os.PathLike) else source)
    if text is None:
        raise CohereInputError(f"{argument} is empty: it must be the path of a file.")
    try:
        return ObjectStoragePath(text)
    except (ValueError, ImportError) as error:
        raise CohereInputError(f"{argument} {text[:100]!r} is not a path or URL that can be read: {error}.") from error
