"""Complete HTTP answers, right and wrong. What goes wrong below HTTP is in ``faults``."""

from __future__ import annotations

import http
import json as json_module
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from email.utils import format_datetime
from typing import Any, ClassVar, Protocol

from tests.adversary.wire import Request, Wire

JSON = "application/json"
_NOTHING: Any = object()


class Exchange(Protocol):
    """What a fault gets to play with: one request, its connection, and the model's answer to it."""

    @property
    def wire(self) -> Wire:
        """The connection."""

    @property
    def request(self) -> Request:
        """The request."""

    def model(self) -> Answer:
        """Carry the request out on the model, and give the right answer."""


@dataclass(frozen=True)
class Answer:
    """One well-framed answer.

    :param status: any status, known to HTTP or not
    :param json: the body as a JSON value (``None`` is ``null``)
    :param body: the body as it goes over the wire, when ``json`` is not given
    :param headers: further headers; they may name ``Content-Length`` and so replace it
    :param content_type: ``None`` sends no ``Content-Type``
    :param close: announce ``Connection: close``, and close
    """

    needs_body: ClassVar[int | None] = None

    status: int = 200
    json: Any = _NOTHING
    body: bytes = b""
    headers: Mapping[str, str] = field(default_factory=dict)
    content_type: str | None = JSON
    close: bool = False

    def payload(self) -> bytes:
        """Give the body as it goes over the wire."""
        return self.body if self.json is _NOTHING else json_module.dumps(self.json).encode()

    def head(self, *framing: tuple[str, str]) -> bytes:
        """Give status line and headers, the empty line included.

        :param framing: the headers which say where the body ends
        """
        try:
            phrase = http.HTTPStatus(self.status).phrase
        except ValueError:
            phrase = ""
        given = {name.lower() for name in self.headers}
        lines = [f"HTTP/1.1 {self.status} {phrase}"]
        if self.content_type is not None and "content-type" not in given:
            lines.append(f"Content-Type: {self.content_type}")
        lines += [f"{name}: {value}" for name, value in framing if name.lower() not in given]
        lines += [f"{name}: {value}" for name, value in self.headers.items()]
        if self.close:
            lines.append("Connection: close")
        return ("\r\n".join(lines) + "\r\n\r\n").encode("latin-1")

    def play(self, exchange: Exchange) -> None:
        """Send the answer."""
        payload = self.payload()
        bodiless = self.status in (204, 304) or exchange.request.method == "HEAD"
        framing = () if self.status == 204 else (("Content-Length", str(len(payload))),)
        exchange.wire.send(self.head(*framing) + (b"" if bodiless else payload))
        exchange.wire.keep = exchange.wire.keep and not self.close


def error(status: int, message: str = "something went wrong", **headers: str) -> Answer:
    """Give an error as the API words it. ``retry_after="0"`` becomes the header ``retry-after``."""
    named = {name.replace("_", "-"): value for name, value in headers.items()}
    body = {"id": "00000000-0000-4000-8000-000000000000", "message": message}
    return Answer(status, json=body, headers=named)


def per_minute(**headers: str) -> Answer:
    """Give the 429 that waiting cures."""
    return error(429, "you are past the per minute request limit, please try again later", **headers)


def per_month() -> Answer:
    """Give the 429 that no waiting cures."""
    return error(429, "You are using a Trial key, which is limited to 1000 API calls / month.")


def oversized(size: int = 5242880, most: int = 4194304) -> Answer:
    """Give the 429 that only a smaller page cures. Sizes in bytes."""
    return error(429, f"received message larger than max ({size} vs. {most})")


def empty_502() -> Answer:
    """Give the gateway's own 502: no body, no content type."""
    return Answer(502, content_type=None)


def retry_after_date(status: int, seconds: float, now: datetime | None = None) -> Answer:
    """Give an error whose ``Retry-After`` is an HTTP date, to be read against its ``Date`` header.

    :param seconds: how long after ``now`` to come back; may be negative
    :param now: the server's clock, sent as ``Date``; by default 2020, so a client's own clock is of no use
    """
    now = now or datetime(2020, 2, 3, 4, 5, 6, tzinfo=UTC)
    later = format_datetime(now + timedelta(seconds=seconds), usegmt=True)
    return error(status, "come back later", Date=format_datetime(now, usegmt=True), Retry_After=later)


def html(status: int = 200) -> Answer:
    """Give a web page, as a proxy or a login portal does."""
    page = b"<!DOCTYPE html><html><head><title>Sign in</title></head><body>Please sign in</body></html>"
    return Answer(status, body=page, content_type="text/html; charset=utf-8")


def long_message(status: int = 500, size: int = 100_000) -> Answer:
    """Give an error with a message of ``size`` characters."""
    return error(status, ("all work and no play " * (size // 21 + 1))[:size])


def control_message(status: int = 500) -> Answer:
    """Give an error whose message holds line breaks, terminal escapes, NUL and a bidirectional override."""
    text = "bad\r\nX-Injected: 1\n[2026-01-01] INFO all is well\x1b[31m\x00\x07\x7f\u202e\ud800"
    return error(status, text)


def redirect(to: str | None, status: int = 307) -> Answer:
    """Send the client elsewhere.

    :param to: the ``Location`` as it is sent (absolute, another origin, relative); ``None`` leaves it out
    """
    return Answer(status, content_type=None, headers={} if to is None else {"Location": to})
