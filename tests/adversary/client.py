"""The plainest possible client: bytes out, bytes in. It hides nothing the server does."""

from __future__ import annotations

import json
import socket
from collections.abc import Iterable
from dataclasses import dataclass
from types import TracebackType
from typing import Any

from tests.adversary.server import AdversarialServer


@dataclass(frozen=True)
class Got:
    """What came back.

    :param raw: every byte
    :param end: how it ended: ``"length"`` (or last chunk) reached, ``"closed"``, ``"reset"``, ``"timeout"``
    """

    raw: bytes
    end: str

    @property
    def status(self) -> int:
        """Status code."""
        return int(self.raw.split(b" ", 2)[1])

    @property
    def head(self) -> dict[str, str]:
        """Headers, names in lower case."""
        lines = self.raw.partition(b"\r\n\r\n")[0].decode("latin-1").split("\r\n")[1:]
        return {name.lower(): value.strip() for name, _, value in (line.partition(":") for line in lines)}

    @property
    def body(self) -> bytes:
        """All behind the headers, as it came."""
        return self.raw.partition(b"\r\n\r\n")[2]

    @property
    def json(self) -> Any:
        """The body as JSON."""
        return json.loads(self.body)


class Client:
    """One connection to the server."""

    def __init__(self, server: AdversarialServer, key: str | None = "test-key", timeout: float = 5) -> None:
        self.key = key
        self.socket = socket.create_connection(("127.0.0.1", server.port), timeout=timeout)

    def __enter__(self) -> Client:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, value: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.socket.close()

    def head(self, method: str, target: str, headers: Iterable[str] = ()) -> bytes:
        """Make the bytes of a request's head."""
        lines = [f"{method} {target} HTTP/1.1", "Host: x", *headers]
        if self.key is not None:
            lines.append(f"Authorization: Bearer {self.key}")
        return ("\r\n".join(lines) + "\r\n\r\n").encode()

    def ask(self, method: str, target: str, body: bytes = b"", headers: Iterable[str] = ()) -> Got:
        """Send a request and receive its answer."""
        headers = [*headers, f"Content-Length: {len(body)}"] if body else headers
        self.socket.sendall(self.head(method, target, headers) + body)
        return self.receive()

    def receive(self, most: int | None = None) -> Got:
        """Receive one answer, or until there are ``most`` bytes."""
        raw = b""
        while True:
            head, gap, body = raw.partition(b"\r\n\r\n")
            length = head.lower().partition(b"\r\ncontent-length: ")[2].partition(b"\r\n")[0]
            if (gap and length and len(body) >= int(length)) or (most and len(raw) >= most):
                return Got(raw, "length")
            if b"chunked" in head and body.endswith(b"\r\n0\r\n\r\n"):
                return Got(raw, "length")
            try:
                piece = self.socket.recv(65536)
            except ConnectionResetError:
                return Got(raw, "reset")
            except TimeoutError:
                return Got(raw, "timeout")
            if not piece:
                return Got(raw, "closed")
            raw += piece
