"""Everything that can go wrong on the wire. One small value per fault, to be put in a script.

A fault whose ``answer`` is ``None`` spoils the model's own, right answer; the request is then carried out.
"""

from __future__ import annotations

from dataclasses import dataclass
from itertools import chain, repeat
from typing import ClassVar

from tests.adversary.answers import Answer, Exchange
from tests.adversary.spoil import Fault, Spoil

# The answer breaks off.


@dataclass(frozen=True)
class CutBody(Spoil):
    """``Content-Length`` promises the whole body; the connection ends before it is sent.

    :param keep: bytes of body sent; half of them by default
    :param chunked: announce no length, send a chunk and never the last one
    :param reset: end with a reset instead of an orderly close
    """

    keep: int | None = None
    chunked: bool = False
    reset: bool = False

    def play(self, exchange: Exchange) -> None:
        answer = self.given(exchange)
        payload = answer.payload()
        part = payload[: len(payload) // 2 if self.keep is None else self.keep]
        if self.chunked:
            chunk = b"%x\r\n%b\r\n" % (len(part), part) if part else b""
            exchange.wire.send(answer.head(("Transfer-Encoding", "chunked")) + chunk)
        else:
            exchange.wire.send(answer.head(("Content-Length", str(max(len(payload), len(part) + 1)))) + part)
        exchange.wire.close(self.reset)


@dataclass(frozen=True)
class CutHead(Spoil):
    """Send the first ``lines`` lines of the right answer's head; the connection ends among them."""

    lines: int = 1

    def play(self, exchange: Exchange) -> None:
        head = self.given(exchange).head(("Content-Length", "0"))
        exchange.wire.send(b"".join(head.splitlines(keepends=True)[: self.lines]))
        exchange.wire.close()


@dataclass(frozen=True)
class Chunked(Spoil):
    """The right answer in chunks of ``size`` bytes."""

    size: int = 7

    def play(self, exchange: Exchange) -> None:
        answer = self.given(exchange)
        payload = answer.payload()
        pieces = [payload[at : at + self.size] for at in range(0, len(payload), self.size)]
        chunks = b"".join(b"%x\r\n%b\r\n" % (len(piece), piece) for piece in pieces)
        exchange.wire.send(answer.head(("Transfer-Encoding", "chunked")) + chunks + b"0\r\n\r\n")


@dataclass(frozen=True)
class EarlyHints(Spoil):
    """Announce the right answer by two that are none, ``seconds`` before it."""

    seconds: float = 0.0

    def play(self, exchange: Exchange) -> None:
        answer = self.given(exchange)
        exchange.wire.send(b"HTTP/1.1 102 Processing\r\n\r\nHTTP/1.1 103 Early Hints\r\nLink: </x>\r\n\r\n")
        exchange.wire.wait(self.seconds)
        answer.play(exchange)


@dataclass(frozen=True)
class StaleKeepAlive(Spoil):
    """The right answer, after which the connection is closed though nobody announced it."""

    def play(self, exchange: Exchange) -> None:
        self.given(exchange).play(exchange)
        exchange.wire.close()


# No answer at all.


@dataclass(frozen=True)
class Close:
    """Receive the request, then close the connection without an answer."""

    needs_body: ClassVar[int | None] = None

    def play(self, exchange: Exchange) -> None:
        exchange.wire.close()


@dataclass(frozen=True)
class Reset:
    """Receive the request, then reset the connection (TCP RST) without an answer."""

    needs_body: ClassVar[int | None] = None

    def play(self, exchange: Exchange) -> None:
        exchange.wire.close(reset=True)


@dataclass(frozen=True)
class BreakUpload:
    """End the connection in the middle of the request's body.

    :param needs_body: bytes of body received before that
    :param reset: with a reset, not an orderly close (which an unread upload turns into a reset all the same)
    """

    needs_body: int | None = 0
    reset: bool = False

    def play(self, exchange: Exchange) -> None:
        exchange.wire.close(self.reset)


@dataclass(frozen=True)
class AnswerEarly:
    """Answer and close before the request's body is read, as servers do with an upload they refuse."""

    needs_body: ClassVar[int | None] = 0

    answer: Answer

    def play(self, exchange: Exchange) -> None:
        self.answer.play(exchange)
        exchange.wire.close()


@dataclass(frozen=True)
class Lost:
    """Carry the request out, then play another fault: a create that succeeds unseen."""

    needs_body: ClassVar[int | None] = None

    fault: Fault

    def play(self, exchange: Exchange) -> None:
        exchange.model()
        self.fault.play(exchange)


# No end.


@dataclass(frozen=True)
class Hang:
    """Never answer. With ``needs_body=0`` the request's body is not read either."""

    needs_body: int | None = None

    def play(self, exchange: Exchange) -> None:
        exchange.wire.wait(None)


@dataclass(frozen=True)
class DripHeaders:
    """Send a status line, then one header, one byte every ``interval`` seconds, for ever."""

    needs_body: ClassVar[int | None] = None

    interval: float = 0.01

    def play(self, exchange: Exchange) -> None:
        exchange.wire.send(b"HTTP/1.1 200 OK\r\nX-Drip: ")
        _drip(exchange, b"", self.interval)


@dataclass(frozen=True)
class DripBody(Spoil):
    """Send the right headers, then the right body, one byte every ``interval`` seconds.

    :param forever: follow with blanks without end, which keeps it valid JSON
    """

    interval: float = 0.01
    forever: bool = True

    def play(self, exchange: Exchange) -> None:
        answer = self.given(exchange)
        payload = answer.payload()
        exchange.wire.send(answer.head(("Content-Length", str(10**12 if self.forever else len(payload)))))
        _drip(exchange, payload, self.interval, self.forever)


@dataclass(frozen=True)
class EndlessBody(Spoil):
    """Send the right body, then ``fill`` as fast as it goes, chunked and without end."""

    fill: bytes = b" " * 65536

    def play(self, exchange: Exchange) -> None:
        answer = self.given(exchange)
        exchange.wire.send(answer.head(("Transfer-Encoding", "chunked")))
        exchange.wire.stuck = True
        for part in chain([answer.payload()], repeat(self.fill)):
            exchange.wire.send(b"%x\r\n%b\r\n" % (len(part), part))


def _drip(exchange: Exchange, payload: bytes, interval: float, forever: bool = True) -> None:
    exchange.wire.stuck = True
    for byte in payload:
        exchange.wire.send(bytes((byte,)))
        exchange.wire.wait(interval)
    while forever:
        exchange.wire.send(b" ")
        exchange.wire.wait(interval)
    exchange.wire.stuck = False
