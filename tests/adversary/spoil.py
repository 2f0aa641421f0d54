"""Answers whose framing is right and whose content, time or place is not.

A fault whose ``answer`` is ``None`` spoils the model's own, right answer; the request is then carried out.
"""

from __future__ import annotations

import gzip
from collections.abc import Callable
from dataclasses import dataclass
from typing import ClassVar, Protocol

from tests.adversary.answers import Answer, Exchange, error
from tests.adversary.wire import Request


class Fault(Protocol):
    """What a script is made of: :class:`~tests.adversary.answers.Answer` and the faults."""

    @property
    def needs_body(self) -> int | None:
        """Bytes of request body to receive before playing; ``None`` means all of it."""

    def play(self, exchange: Exchange) -> None:
        """Do to the client what the fault says."""


@dataclass(frozen=True)
class Spoil:
    """Base of the faults that spoil an answer."""

    needs_body: ClassVar[int | None] = None

    answer: Answer | None = None

    def given(self, exchange: Exchange) -> Answer:
        return exchange.model() if self.answer is None else self.answer


@dataclass(frozen=True)
class Through(Spoil):
    """Let the request through to the model: the gap between two faults of a script."""

    def play(self, exchange: Exchange) -> None:
        self.given(exchange).play(exchange)


@dataclass(frozen=True)
class Slow(Spoil):
    """The right answer, ``seconds`` late."""

    seconds: float = 0.05

    def play(self, exchange: Exchange) -> None:
        answer = self.given(exchange)
        exchange.wire.wait(self.seconds)
        answer.play(exchange)


@dataclass(frozen=True)
class Rewritten(Spoil):
    """The right answer, with its body, content type or headers rewritten.

    :param body: makes the body sent from the right one
    :param content_type: the content type sent
    :param encoding: the ``Content-Encoding`` sent
    """

    body: Callable[[bytes], bytes] = bytes
    content_type: str | None = "application/json"
    encoding: str | None = None

    def play(self, exchange: Exchange) -> None:
        answer = self.given(exchange)
        headers = dict(answer.headers)
        if self.encoding is not None:
            headers["Content-Encoding"] = self.encoding
        body = self.body(answer.payload())
        Answer(answer.status, body=body, headers=headers, content_type=self.content_type).play(exchange)


def bom(answer: Answer | None = None) -> Rewritten:
    """Right JSON behind a byte order mark."""
    return Rewritten(answer, lambda body: b"\xef\xbb\xbf" + body)


def wrong_content_type(content_type: str | None = "text/html", answer: Answer | None = None) -> Rewritten:
    """Right JSON under a wrong content type, or under none."""
    return Rewritten(answer, content_type=content_type)


def broken_json(answer: Answer | None = None) -> Rewritten:
    """JSON that stops half way, in a body whose length is right."""
    return Rewritten(answer, lambda body: body[: max(1, len(body) // 2)])


def invalid_utf8(answer: Answer | None = None) -> Rewritten:
    """JSON with a string member that is not UTF-8."""
    return Rewritten(answer, lambda body: b'{"\xff\xfe":"\xc3(",' + body[1:])


def gzipped(answer: Answer | None = None, member: int = 10**9) -> Rewritten:
    """Right JSON, compressed, asked for or not; in members of so many bytes."""

    def compress(body: bytes) -> bytes:
        return b"".join(gzip.compress(body[at : at + member]) for at in range(0, len(body), member))

    return Rewritten(answer, compress, encoding="gzip")


def truncated_gzip(answer: Answer | None = None, missing: int = 12) -> Rewritten:
    """A gzip stream without its last bytes, in a body whose length is right."""
    return Rewritten(answer, lambda body: gzip.compress(body)[:-missing], encoding="gzip")


def not_gzip(answer: Answer | None = None) -> Rewritten:
    """Plain JSON which is announced as gzip."""
    return Rewritten(answer, encoding="gzip")


@dataclass(frozen=True)
class Computed:
    """An answer made from the request."""

    needs_body: ClassVar[int | None] = None

    make: Callable[[Request], Answer]

    def play(self, exchange: Exchange) -> None:
        self.make(exchange.request).play(exchange)


def echo_authorization(status: int = 401) -> Computed:
    """An error whose message repeats the ``Authorization`` header, and so the key."""

    def make(request: Request) -> Answer:
        header = request.headers.get("authorization", "")
        key = header.partition(" ")[2]
        return error(status, f"invalid api token {key!r} in header Authorization: {header}")

    return Computed(make)


def redirect_loop(status: int = 307) -> Computed:
    """A redirect to the very request that was made."""
    return Computed(lambda request: Answer(status, headers={"Location": request.raw_target}))
