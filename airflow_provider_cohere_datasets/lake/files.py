"""New files that nobody sees until they are whole, one kind for each way in which storages can do that."""

from __future__ import annotations

import contextlib
import errno
import io
import os
import stat
from pathlib import Path
from typing import Any, Protocol
from uuid import uuid4

from fsspec.asyn import sync  # type: ignore[import-untyped]

#: What a file system says that has no files without a name.
_NO_NAMELESS_FILES = frozenset({errno.EOPNOTSUPP, errno.EISDIR, errno.EINVAL, errno.ENOENT})
_DESCRIPTORS = Path("/proc/self/fd")


class NewFile(Protocol):
    """A file that nobody sees yet."""

    def write(self, data: bytes) -> object:
        """Append bytes."""

    def publish(self) -> None:
        """Put it in place, in one step."""

    def abandon(self) -> None:
        """Throw it away; what stood in its place stays."""


class LocalFile:
    """A file on a local disk.

    It is written in the folder where it shall stand, because only within a file system is a rename one step. It has no
    name until it is whole, so that even ``kill -9`` leaves nothing behind, unless it comes between the last two system
    calls; where the file system or the platform has no such files, it has a hidden name.

    :param path: where it shall stand; missing folders are made, and removed again if it is abandoned.
    :raises OSError: if it cannot be written there.
    """

    def __init__(self, path: str) -> None:
        with contextlib.suppress(FileNotFoundError, NotADirectoryError):
            Path(path).stat()  # Path.exists() does not tell a link that leads to itself from nothing.
        self._path = Path(os.path.realpath(path))
        if self._path.is_dir():
            raise IsADirectoryError(errno.EISDIR, os.strerror(errno.EISDIR))
        if self._path.exists() and not self._path.is_file():
            raise FileExistsError(errno.EEXIST, "it is a device, a pipe or a socket, not a file")
        self._parent = self._path.parent
        self._hidden = self._parent / f".{uuid4().hex}.tmp"
        self._has_name = False
        self._made = _make_folders(self._parent)
        try:
            _check_rename(self._path)
            self._stream = os.fdopen(self._open(), "wb")
        except BaseException:
            self._clean()
            raise

    def _open(self) -> int:
        if hasattr(os, "O_TMPFILE") and _DESCRIPTORS.is_dir():
            try:
                return os.open(self._parent, os.O_TMPFILE | os.O_WRONLY, 0o666)
            except OSError as error:
                if error.errno not in _NO_NAMELESS_FILES:
                    raise
        self._has_name = True
        return os.open(self._hidden, os.O_CREAT | os.O_EXCL | os.O_WRONLY, 0o666)

    def write(self, data: bytes) -> object:
        """Append bytes."""
        return self._stream.write(data)

    def publish(self) -> None:
        """Make it durable and rename it; it has the permissions of what it replaces, and its group if it may."""
        self._stream.flush()
        with contextlib.suppress(FileNotFoundError):
            replaced = self._path.stat()
            with contextlib.suppress(PermissionError):
                os.fchown(self._stream.fileno(), -1, replaced.st_gid)
            os.fchmod(self._stream.fileno(), stat.S_IMODE(replaced.st_mode))
        os.fsync(self._stream.fileno())
        # Another run that made the folder and failed may have removed it.
        self._parent.mkdir(parents=True, exist_ok=True)
        folder = os.open(self._parent, os.O_RDONLY)
        try:
            if not self._has_name:
                # Only with a dir_fd does Python follow the link to the file without a name.
                source = _DESCRIPTORS / str(self._stream.fileno())
                self._has_name = True  # Before it has: a signal handler that raises runs as soon as it has.
                os.link(source, self._hidden, src_dir_fd=folder, follow_symlinks=True)
            self._hidden.replace(self._path)
            self._made.clear()
            # It is in place: what fails from here on must not say that it is not. Not every file system can do this.
            with contextlib.suppress(OSError):
                os.fsync(folder)
        finally:
            os.close(folder)
        with contextlib.suppress(OSError):
            self._stream.close()

    def abandon(self) -> None:
        """Remove it, and the folders that were made for it."""
        with contextlib.suppress(OSError):  # Closing writes what is buffered, for which there may be no room.
            self._stream.close()
        self._clean()

    def _clean(self) -> None:
        if self._has_name:
            self._hidden.unlink(missing_ok=True)
        _remove_folders(self._made)


def _check_rename(path: Path) -> None:
    """Find out now what would else be found out only when the file is whole.

    :raises OSError: if a file cannot be renamed to this, or its folder cannot be made durable.
    """
    os.close(os.open(path.parent, os.O_RDONLY))
    if path.is_mount():
        raise PermissionError(errno.EBUSY, "the file is mounted by itself, so that no other can take its place")
    folder = path.parent.stat()
    sticky = folder.st_mode & stat.S_ISVTX and path.exists()
    if sticky and os.geteuid() not in {0, folder.st_uid, path.stat().st_uid}:
        raise PermissionError(errno.EPERM, "the file is another user's, and its folder lets nobody else replace it")


def _make_folders(path: Path) -> list[Path]:
    """Make a folder and those above it; return those that were not there."""
    missing: list[Path] = []
    while not path.exists():
        missing.append(path)
        path = path.parent
    made: list[Path] = []
    try:
        for folder in reversed(missing):
            made.append(folder)  # Before it is there: a signal handler that raises runs as soon as it is.
            try:
                folder.mkdir()
            except FileExistsError:  # Another run was faster.
                made.pop()
    except BaseException:
        _remove_folders(made)
        raise
    return made


def _remove_folders(folders: list[Path]) -> None:
    while folders:
        with contextlib.suppress(OSError):  # Not empty: somebody else uses it by now.
            folders.pop().rmdir()


class BucketObject:
    """An object in S3 or GCS: it becomes visible when its upload is closed, so a failed one is never closed.

    :param fs: the file system.
    :param key: where it shall stand.
    :raises Exception: what the storage raises if it cannot be written there.
    """

    def __init__(self, fs: Any, key: str) -> None:
        probe = fs.open(key, "wb")
        try:
            if hasattr(probe, "aaow"):  # What gcsfs appends to an object there is seen at once.
                raise io.UnsupportedOperation("in a zonal bucket, others see a file while it is written")
            # With blocks of one byte, this begins an upload: nothing else shows whether we may.
            probe.blocksize = 1
            probe.write(b"PAR1")
        finally:
            _throw_away(probe)
        self._stream = fs.open(key, "wb")

    def write(self, data: bytes) -> object:
        """Append bytes."""
        return self._stream.write(data)

    def publish(self) -> None:
        """Complete the upload."""
        try:
            self._stream.close()
        except FileNotFoundError as error:
            raise OSError(
                "the storage does not know the upload any more: it is lost, or it was completed and the answer was lost"
            ) from error

    def abandon(self) -> None:
        """Abort the upload."""
        _throw_away(self._stream)


def _throw_away(stream: Any) -> None:
    """Drop an upload without closing it, which would complete it, and let the storage free what it holds of it."""
    stream.closed = True
    with contextlib.suppress(Exception):  # The storage may be out of reach; that it failed is known already.
        stream.discard()


class Blob:
    """A blob in Azure: blocks belong to nothing until a list of them is committed, which replaces the old blob.

    Files of adlfs are no use for that: before 2024.12 they delete the old blob first, and before 2025.8 two writers
    give their blocks the same names, so that one commits what the other wrote.

    Azure itself drops the blocks of an abandoned blob, at the latest after a week; until then nobody sees them.

    :param fs: the file system.
    :param key: where it shall stand.
    :raises Exception: what the storage raises if it cannot be written there.
    """

    #: A blob may have 50,000 blocks.
    BLOCK_SIZE = 8 << 20

    def __init__(self, fs: Any, key: str) -> None:
        self._fs = fs
        container, _, name = key.lstrip("/").partition("/")
        self._blob = fs.service_client.get_blob_client(container, name)
        self._blocks: list[str] = []
        self._buffer = bytearray()
        # Nothing else shows whether we may. That nobody answers is told at once, not after Azure's three retries.
        self._call("stage_block", uuid4().hex, b"PAR1", retry_total=0)

    def _call(self, name: str, *args: object, **options: object) -> None:
        sync(self._fs.loop, getattr(self._blob, name), *args, **options)

    def write(self, data: bytes) -> object:
        """Append bytes."""
        self._buffer += data
        while len(self._buffer) >= self.BLOCK_SIZE:
            self._stage(self.BLOCK_SIZE)
        return len(data)

    def _stage(self, size: int) -> None:
        name = uuid4().hex
        self._call("stage_block", name, bytes(self._buffer[:size]))
        del self._buffer[:size]
        self._blocks.append(name)

    def publish(self) -> None:
        """Commit the blocks."""
        if self._buffer:
            self._stage(len(self._buffer))
        try:
            self._call("commit_block_list", self._blocks)
        except Exception as error:
            if getattr(error, "error_code", None) == "InvalidBlockList":
                raise OSError("another writer replaced it, and Azure dropped what was written here") from error
            raise
        self._fs.invalidate_cache()

    def abandon(self) -> None:
        """Forget the blocks."""
        self._buffer.clear()


class MovedFile:
    """A file that is written under a hidden name beside its place, and renamed.

    :param fs: the file system.
    :param key: where it shall stand.
    :raises Exception: what the storage raises if it cannot be written there.
    """

    def __init__(self, fs: Any, key: str) -> None:
        folder = key.rpartition("/")[0]
        self._fs = fs
        self._key = key
        self._hidden = f"{folder}/.{uuid4().hex}.tmp"
        fs.makedirs(folder, exist_ok=True)
        self._stream = fs.open(self._hidden, "wb")

    def write(self, data: bytes) -> object:
        """Append bytes."""
        return self._stream.write(data)

    def publish(self) -> None:
        """Rename it."""
        self._stream.close()
        self._fs.mv(self._hidden, self._key)

    def abandon(self) -> None:
        """Remove it."""
        with contextlib.suppress(Exception):  # The storage may be out of reach.
            self._stream.close()
        with contextlib.suppress(Exception):
            self._fs.rm_file(self._hidden)
