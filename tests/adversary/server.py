"""The server: a thread per connection, raw sockets, and a record of every request."""

from __future__ import annotations

import contextlib
import socket
import threading
import time
from collections import deque
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, replace
from types import TracebackType
from urllib.parse import parse_qsl, unquote

from tests.adversary.answers import Answer
from tests.adversary.chaos import Chaos
from tests.adversary.listing import Listing
from tests.adversary.model import Model
from tests.adversary.rows import Row
from tests.adversary.spoil import Fault, Through
from tests.adversary.wire import Body, Request, Wire

_BODY_KEPT = 65536


@dataclass
class _Script:
    method: str | None
    path: str | None
    faults: deque[Fault]
    repeat: bool

    def next(self) -> Fault:
        return self.faults[0] if self.repeat and len(self.faults) == 1 else self.faults.popleft()


@dataclass
class _Exchange:
    wire: Wire
    request: Request
    body: Body
    _model: Model
    _answer: Answer | None = field(default=None)

    def model(self) -> Answer:
        if self._answer is None:
            self._answer = self._model.answer(self.request, self.body)
        return self._answer


class AdversarialServer:
    """An HTTP/1.1 server with the routes of the Datasets API, which misbehaves as it is told.

    Each request is answered by the first script that matches and is not used up, else by chaos if that is on,
    else by the model.

    :param datasets: what the model holds at first (copies of these rows)
    :param listing: how its list endpoint behaves
    :param key: the only API key accepted; ``None`` accepts any
    :param latency: seconds every request takes longer
    """

    def __init__(
        self,
        datasets: Iterable[Row] = (),
        listing: Listing | None = None,
        *,
        key: str | None = "test-key",
        latency: float = 0.0,
    ) -> None:
        self.requests: list[Request] = []
        #: what went wrong inside the server itself: a bad script, a callback that raised
        self.errors: list[BaseException] = []
        self.connections = 0
        self._lock = threading.Lock()
        self._wires: dict[Wire, threading.Thread] = {}
        self._stopping = False
        self._listener = socket.create_server(("127.0.0.1", 0), backlog=512)
        self.port: int = self._listener.getsockname()[1]
        #: origin of the server, without a slash at the end
        self.url = f"http://127.0.0.1:{self.port}"
        self._acceptor = threading.Thread(target=self._accept, name="adversary", daemon=True)
        self.reset(datasets, listing, key=key, latency=latency)

    def __enter__(self) -> AdversarialServer:
        self._acceptor.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, value: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.stop()
        if value is None:
            self.check()

    def stop(self) -> None:
        """Stop, and cut off every connection, whatever it is doing."""
        if self._stopping:
            return
        self._stopping = True
        with contextlib.suppress(OSError), socket.create_connection(("127.0.0.1", self.port), timeout=1):
            pass  # wakes the acceptor
        if self._acceptor.is_alive():
            self._acceptor.join(1)
        self._listener.close()
        with self._lock:
            wires = dict(self._wires)
        for wire in wires:
            wire.cut()
        for thread in wires.values():
            thread.join(1)

    def reset(
        self,
        datasets: Iterable[Row] = (),
        listing: Listing | None = None,
        *,
        key: str | None = "test-key",
        latency: float = 0.0,
    ) -> None:
        """Forget everything and start over, with a new model; the parameters are the constructor's.

        Connections that a fault holds for ever are cut off. The others stay open.
        """
        self.check()
        with self._lock:
            for wire in self._wires:
                if wire.stuck:
                    wire.cut()
            self._scripts: list[_Script] = []
            self._chaos: Chaos | None = None
            self.latency = latency
            self.model = Model([dict(row) for row in datasets], listing or Listing(), key)
            self.requests.clear()

    def check(self) -> None:
        """Raise what went wrong inside the server itself."""
        if self.errors:
            raise self.errors.pop(0)

    def script(self, method: str | None, path: str | None, faults: Iterable[Fault], *, repeat: bool = False) -> None:
        """Say what to do with the next requests, one after the other.

        :param method: of the requests meant; ``None`` means any
        :param path: of the requests meant: decoded, as sent, or a glob; ``None`` means any
        :param faults: answers and faults, in order
        :param repeat: repeat the last one for ever
        """
        with self._lock:
            self._scripts.append(_Script(method, path, deque(faults), repeat))

    def chaos(self, share: float = 0.25, seed: int = 0, *, in_a_row: int | None = None) -> None:
        """Give a share of the requests one of eight faults at random; see :class:`Chaos`."""
        with self._lock:
            self._chaos = Chaos(share, seed, in_a_row)

    def matching(self, method: str | None = None, path: str | None = None) -> list[Request]:
        """Give the requests for a method and path, matched as in :meth:`script`."""
        return [request for request in list(self.requests) if request.matches(method, path)]

    def count(self, method: str | None = None, path: str | None = None) -> int:
        """Count the requests for a method and path, matched as in :meth:`script`."""
        return len(self.matching(method, path))

    def _accept(self) -> None:
        while True:
            try:
                sock, _ = self._listener.accept()
            except OSError:
                return
            if self._stopping:
                sock.close()
                return
            with self._lock:
                self.connections += 1
                wire = Wire(sock, self.connections)
                thread = threading.Thread(target=self._serve, args=(wire,), name="adversary", daemon=True)
                self._wires[wire] = thread
            thread.start()

    def _serve(self, wire: Wire) -> None:
        try:
            while wire.keep:
                self._one(wire)
        except OSError:
            pass  # the client went, or we were stopped
        except Exception as exception:
            self.errors.append(exception)
        finally:
            wire.close()
            with self._lock:
                self._wires.pop(wire, None)

    def _one(self, wire: Wire) -> None:
        line, headers = wire.read_head()
        parts = line.split(" ")
        if len(parts) != 3:
            wire.send(Answer(400, close=True).head(("Content-Length", "0")))
            wire.keep = False
            return
        wire.keep = parts[2] == "HTTP/1.1" and headers.get("connection", "").lower() != "close"
        head = _parse(parts[0], parts[1], headers, wire.number)
        body = Body()
        try:
            fate, fault, model = self._decide(head)
            try:
                wire.receive(headers, body, fault.needs_body)
            finally:
                request = replace(
                    head,
                    body=b"" if body.length > _BODY_KEPT else bytes(body.data()),
                    length=body.length,
                    sha256=body.sha256,
                    complete=body.complete,
                    fate=fate,
                )
                with self._lock:
                    self.requests.append(request)
            if self.latency:
                wire.wait(self.latency)
            fault.play(_Exchange(wire, request, body, model))
            wire.keep = wire.keep and body.complete
        finally:
            body.close()

    def _decide(self, request: Request) -> tuple[str, Fault, Model]:
        with self._lock:
            for script in self._scripts:
                if script.faults and request.matches(script.method, script.path):
                    fault = script.next()
                    return f"script:{type(fault).__name__}", fault, self.model
            if self._chaos is not None and (chosen := self._chaos.choose()):
                return f"chaos:{chosen[0]}", chosen[1], self.model
            return "model", Through(), self.model


def _parse(method: str, target: str, headers: Mapping[str, str], connection: int) -> Request:
    path, _, query = target.partition("?")
    return Request(
        method=method,
        path=unquote(path),
        query=parse_qsl(query, keep_blank_values=True),
        raw_target=target,
        headers=headers,
        connection=connection,
        at=time.monotonic(),
    )
