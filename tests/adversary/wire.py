"""One connection, below HTTP semantics: heads, bodies, waiting, closing and resetting."""

from __future__ import annotations

import contextlib
import hashlib
import mmap
import socket
import struct
import tempfile
import threading
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from fnmatch import fnmatchcase
from typing import IO

_PIECE = 65536
_IN_MEMORY = 1 << 20


@dataclass(frozen=True)
class Request:
    """One request as it came over the wire.

    :param method: as sent
    :param path: without the query, percent-decoded
    :param query: names and values in the order sent, decoded
    :param raw_target: the request target as sent
    :param headers: names in lower case; values of repeated names joined with ``", "``
    :param connection: number of the connection, from 1
    :param at: ``time.monotonic()`` of arrival
    :param body: what came of the body; empty when that is over 64 KiB
    :param length: bytes of body received
    :param sha256: of the body received, in hexadecimal
    :param complete: whether all of the body was received
    :param fate: who answered: ``"model"``, ``"script:Reset"``, ``"chaos:slow"``
    """

    method: str
    path: str
    query: list[tuple[str, str]]
    raw_target: str
    headers: Mapping[str, str]
    connection: int
    at: float
    body: bytes = b""
    length: int = 0
    sha256: str = ""
    complete: bool = False
    fate: str = ""

    def param(self, name: str) -> str | None:
        """Give the first value of a query parameter."""
        return next((value for key, value in self.query if key == name), None)

    def matches(self, method: str | None, path: str | None) -> bool:
        """Say whether this is a request for ``path``: decoded, as sent, or a glob; ``None`` matches all."""
        if method is not None and method != self.method:
            return False
        raw = self.raw_target.partition("?")[0]
        return path is None or path in (self.path, raw) or fnmatchcase(self.path, path)


class Body:
    """A request body being received. Over 1 MiB it goes to a temporary file, not to memory."""

    def __init__(self) -> None:
        self.length = 0
        self.complete = False
        self._digest = hashlib.sha256()
        self._memory = bytearray()
        self._file: IO[bytes] | None = None

    def add(self, piece: bytes) -> None:
        """Take one more piece."""
        self.length += len(piece)
        self._digest.update(piece)
        if self._file is None and self.length > _IN_MEMORY:
            self._file = tempfile.TemporaryFile()  # noqa: SIM115 (lives as long as the body)
            self._file.write(self._memory)
            self._memory.clear()
        if self._file is None:
            self._memory += piece
        else:
            self._file.write(piece)

    @property
    def sha256(self) -> str:
        """Digest of what was received, in hexadecimal."""
        return self._digest.hexdigest()

    def data(self) -> bytes | mmap.mmap:
        """Give what was received, as something to search and slice."""
        if self._file is None:
            return bytes(self._memory)
        self._file.flush()
        return mmap.mmap(self._file.fileno(), 0, access=mmap.ACCESS_READ)

    def close(self) -> None:
        """Let the temporary file go."""
        if self._file is not None:
            self._file.close()


class Wire:
    """One accepted connection. Everything it raises when the client is gone is an :class:`OSError`."""

    def __init__(self, sock: socket.socket, number: int) -> None:
        self.number = number
        self.keep = True
        #: set while a fault holds the connection for ever
        self.stuck = False
        self._socket = sock
        self._buffer = bytearray()
        self._cut = threading.Event()
        sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)

    def _fill(self) -> None:
        piece = self._socket.recv(_PIECE)
        if not piece:
            raise ConnectionError("the client closed the connection")
        self._buffer += piece

    def _until(self, mark: bytes) -> bytes:
        while (end := self._buffer.find(mark)) < 0:
            self._fill()
        found = bytes(self._buffer[:end])
        del self._buffer[: end + len(mark)]
        return found

    def _take(self, most: int) -> bytes:
        if not self._buffer:
            self._fill()
        piece = bytes(self._buffer[:most])
        del self._buffer[:most]
        return piece

    def read_head(self) -> tuple[str, dict[str, str]]:
        """Receive request line and headers (names in lower case)."""
        line, *rest = self._until(b"\r\n\r\n").decode("latin-1").lstrip("\r\n").split("\r\n")
        headers: dict[str, str] = {}
        for text in rest:
            name, _, value = text.partition(":")
            name, value = name.strip().lower(), value.strip()
            headers[name] = f"{headers[name]}, {value}" if name in headers else value
        return line, headers

    def receive(self, headers: Mapping[str, str], body: Body, most: int | None) -> None:
        """Receive the request's body.

        :param headers: of the request, which say where the body ends
        :param body: takes what comes, also when the client breaks off
        :param most: stop after so many bytes; ``None`` takes all
        """
        if most is None and headers.get("expect", "").lower() == "100-continue":
            self.send(b"HTTP/1.1 100 Continue\r\n\r\n")
        if most == 0 and ("transfer-encoding" in headers or headers.get("content-length", "0") != "0"):
            return
        for piece in self._pieces(headers):
            body.add(piece if most is None else piece[: most - body.length])
            if body.length == most:
                return
        body.complete = True

    def _pieces(self, headers: Mapping[str, str]) -> Iterator[bytes]:
        if headers.get("transfer-encoding", "").lower() == "chunked":
            while size := int(self._until(b"\r\n").partition(b";")[0], 16):
                yield from self._exactly(size)
                self._until(b"\r\n")
            while self._until(b"\r\n"):
                pass  # trailers
        else:
            yield from self._exactly(int(headers.get("content-length", 0)))

    def _exactly(self, size: int) -> Iterator[bytes]:
        while size:
            piece = self._take(min(size, _PIECE))
            size -= len(piece)
            yield piece

    def send(self, data: bytes) -> None:
        """Send all of ``data``."""
        self._socket.sendall(data)

    def wait(self, seconds: float | None) -> None:
        """Do nothing for some seconds, or (``None``) until the client goes or the server cuts us off."""
        if seconds is not None:
            if self._cut.wait(seconds):
                raise ConnectionError("cut off")
            return
        self.stuck = True
        while not self._cut.wait(0.05):
            with contextlib.suppress(BlockingIOError):
                if not self._socket.recv(1, socket.MSG_PEEK | socket.MSG_DONTWAIT):
                    break
        raise ConnectionError("cut off")

    def close(self, reset: bool = False) -> None:
        """Close the connection: in order, or with a TCP reset."""
        self.keep = False
        with contextlib.suppress(OSError):
            if reset:
                self._socket.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
            self._socket.close()

    def cut(self) -> None:
        """Cut the connection off from another thread, whatever it is doing."""
        self._cut.set()
        with contextlib.suppress(OSError):
            self._socket.shutdown(socket.SHUT_RDWR)
