"""What is uploaded: files of the local disk or of an object store, opened as streams, and tables made into such."""

from __future__ import annotations

import contextlib
import hashlib
import os
import re
import tempfile
from typing import TYPE_CHECKING, Any

from airflow.providers.common.compat.sdk import AirflowException, ObjectStoragePath

from airflow_provider_cohere_datasets.core.calls import Upload
from airflow_provider_cohere_datasets.core.errors import CohereDatasetsError, CohereInputError
from airflow_provider_cohere_datasets.core.filters import checked_text, given
from airflow_provider_cohere_datasets.lake.errors import CohereStorageError
from airflow_provider_cohere_datasets.lake.failures import is_permanent, sentence
from airflow_provider_cohere_datasets.lake.paths import absolute

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Mapping
    from typing import IO, Protocol, TypeAlias

    from airflow.providers.common.compat.sdk import XComArg

    from airflow_provider_cohere_datasets.lake.conversion import Rows

    class ArrowTable(Protocol):
        """A ``pyarrow.Table`` or ``RecordBatchReader``, a data frame of pandas or polars, and the like."""

        def __arrow_c_stream__(self, requested_schema: object = None) -> object:
            """Return the rows by the Arrow PyCapsule interface."""

    Source: TypeAlias = str | os.PathLike[str] | ObjectStoragePath | ArrowTable | XComArg

#: Formats by the ending of the file's name; Cohere tells them by it too.
CONTENT_TYPES = {".csv": "text/csv", ".jsonl": "application/jsonl", ".txt": "text/plain"}
#: A file of this format is converted to JSON Lines.
_PARQUET = ".parquet"
#: A dataset may have 1.5 GB (Cohere's documentation), all its files together.
MAX_BYTES = 1_500_000_000
#: What Python's parser of URLs leaves out without a word, so that a path would lead to another file.
_LEFT_OUT = re.compile(r"[\t\r\n]|\?#")
#: Where storages tell the version of a file, the best first; not all tell one.
_VERSIONS = ("ETag", "etag", "mtime", "LastModified", "last_modified", "updated", "modified", "created")
#: What differs where another file has taken the place of one.
_CHANGES = ("size", "ino", "mtime", "ETag", "etag")


@contextlib.contextmanager
def uploads_of(data: Source, eval_data: Source | None = None) -> Iterator[tuple[Upload, ...]]:
    """Yield the files of one dataset, checked, as the parts of its upload.

    ``.csv``, ``.jsonl`` and ``.txt`` are streamed as they are. ``.parquet`` and tables are converted to JSON Lines
    (see :mod:`~airflow_provider_cohere_datasets.lake.conversion`) before this yields, a few rows at a time, in
    temporary files that need up to 1.5 GB each where :mod:`tempfile` puts them. Those have no name, so they are gone
    when the context ends, or when the process does, however that comes; until then the uploads can be opened.

    :param data: a local path, the path or URL of an object store, or a table; a stream of batches is used up.
    :param eval_data: the same for evaluation; ``None`` or an empty text if there is none.
    :raises CohereInputError: if one is missing, a folder, empty, of another format or holds what JSON cannot; or if
        all together have more than :data:`MAX_BYTES` bytes.
    :raises CohereStorageError: if the storage fails, or there is no room to convert; trying again may help.
    """
    sources = {"data": data}
    if eval_data is not None and not (isinstance(eval_data, str) and eval_data == ""):
        sources["eval_data"] = eval_data
    with contextlib.ExitStack() as stack:
        # All are checked before the first is converted, which may take minutes.
        found = [_find(argument, source, stack) for argument, source in sources.items()]
        uploads = tuple(make() for make in found)
        total = sum(upload.size for upload in uploads)
        if total > MAX_BYTES:
            raise CohereInputError(
                f"{' and '.join(sources)} have {total} bytes together; Cohere takes at most {MAX_BYTES}."
            )
        yield uploads


def _find(argument: str, source: Any, stack: contextlib.ExitStack) -> Callable[[], Upload]:
    """Check a source as far as that costs little; return what makes it a part of the upload."""
    if hasattr(source, "__arrow_c_stream__"):
        from airflow_provider_cohere_datasets.lake.conversion import table_rows

        with _reading(argument):
            rows = table_rows(argument, source)
        return lambda: _converted(argument, argument, rows, stack)

    path = _path_of(argument, source)
    suffix = path.suffix.lower()
    if suffix != _PARQUET and suffix not in CONTENT_TYPES:
        endings = ", ".join((*CONTENT_TYPES, _PARQUET))
        name = path.name or str(path)
        raise CohereInputError(f"{argument} {name!r} has an unsupported format: its name must end in {endings}.")
    what = f"{argument} {str(path)!r}"
    info = _check(what, path)
    if suffix == _PARQUET:
        from airflow_provider_cohere_datasets.lake.conversion import parquet_rows

        with _reading(what):
            # The parts of Parquet that are read next to each other are not next to each other in the file.
            rows = parquet_rows(what, stack.enter_context(path.open("rb", cache_type="none")))
        return lambda: _converted(argument, path.stem, rows, stack)
    if info["size"] > MAX_BYTES:
        raise CohereInputError(f"{what} has {info['size']} bytes; Cohere takes at most {MAX_BYTES}.")

    def open_file() -> IO[bytes]:
        with _reading(what):
            now = path.stat()
            if any(now.get(name) != info.get(name) for name in _CHANGES):
                # It would be neither what was checked nor what the fingerprint tells.
                raise CohereStorageError(f"{what} was changed after it was checked.")
            stream: IO[bytes] = path.open("rb")
            return stream

    def make() -> Upload:
        fingerprint = _fingerprint(suffix, *_content(what, path, info))
        return Upload(argument, path.name, open_file, CONTENT_TYPES[suffix], info["size"], fingerprint)

    return make


def _content(what: str, path: Any, info: Mapping[str, Any]) -> Iterable[object]:
    """Return what tells the content of a file again: of a local one a digest, else what the storage says of it."""
    if (path.protocol or "file") != "file":
        return path, info["size"], next((info[name] for name in _VERSIONS if info.get(name)), "")
    # Neither its time nor its place: after a worker was lost, another may have fetched it again.
    with _reading(what), path.open("rb") as file:
        return [hashlib.file_digest(file, "sha256").hexdigest()]


def _converted(argument: str, stem: str, rows: Rows, stack: contextlib.ExitStack) -> Upload:
    from airflow_provider_cohere_datasets.lake.conversion import write_json_lines

    try:
        file = stack.enter_context(tempfile.TemporaryFile())  # noqa: SIM115
    except OSError as error:
        raise CohereStorageError(f"{rows.what} cannot be converted in a temporary file: {error.strerror}.") from error
    with _reading(rows.what):
        digest = write_json_lines(rows, file, MAX_BYTES)

    def open_file() -> IO[bytes]:
        stream = os.fdopen(os.dup(file.fileno()), "rb")
        stream.seek(0)  # All that are opened share one position.
        return stream

    return Upload(
        argument,
        f"{stem}.jsonl",
        open_file,
        CONTENT_TYPES[".jsonl"],
        file.tell(),
        _fingerprint(digest),
    )


def _fingerprint(*facts: object) -> str:
    # A digest, because the URL of a file may hold credentials.
    return hashlib.sha256(repr([str(fact) for fact in facts]).encode()).hexdigest()[:32]


@contextlib.contextmanager
def _reading(what: str) -> Iterator[None]:
    """Raise what a storage raises as our own errors."""
    try:
        yield
    except (CohereDatasetsError, AirflowException):  # For example that the task is killed.
        raise
    except FileNotFoundError:
        raise CohereInputError(f"{what} does not exist.") from None
    except (ValueError, OverflowError, ImportError) as error:
        # A path that cannot be one, a number that no column can hold, or a storage without its library.
        raise CohereInputError(f"{what} cannot be read: {error}.") from error
    except Exception as error:  # Every storage has exceptions of its own.
        kind = CohereInputError if is_permanent(error) else CohereStorageError
        raise kind(f"{what} cannot be read: {sentence(error)}.") from error


def _check(what: str, path: Any) -> Mapping[str, Any]:
    """Return what the storage tells of a file that can be opened, its size and more."""
    with _reading(what):
        folder = path.is_dir()
        info: Mapping[str, Any] = {"size": 0} if folder else path.stat()
        size = info.get("size")
        if size:  # What is empty may be a pipe, and opening that waits for a writer.
            path.open("rb").close()
    if folder:
        raise CohereInputError(f"{what} is a folder, not a file.")
    if size is None:
        raise CohereInputError(f"{what} cannot be uploaded: its storage does not tell its size.")
    if size == 0:
        raise CohereInputError(f"{what} is empty.")
    return info


def _path_of(argument: str, source: Any) -> Any:
    if isinstance(source, ObjectStoragePath):
        checked_text(argument, str(source))
        return source
    text = given(argument, os.fspath(source) if isinstance(source, os.PathLike) else source)
    if text is None:
        raise CohereInputError(f"{argument} is empty: it must be the path of a file.")
    if _LEFT_OUT.search(text):
        raise CohereInputError(f"{argument} {text[:100]!r} has characters that paths of Airflow cannot have.")
    try:
        return ObjectStoragePath(absolute(text))
    except (ValueError, ImportError) as error:
        raise CohereInputError(f"{argument} {text[:100]!r} is not a path or URL that can be read: {error}.") from error
