"""A Datasets API that only serves the list, fast, in a process of its own so that its work is not counted."""

from __future__ import annotations

import multiprocessing
import re
import time
from socketserver import StreamRequestHandler, ThreadingTCPServer
from typing import TYPE_CHECKING, Any
from urllib.parse import parse_qs, urlsplit

import numpy as np

from benchmarks.wait_server import row

if TYPE_CHECKING:
    from collections.abc import Callable
    from multiprocessing.connection import Connection
    from types import TracebackType

#: A number has six digits, which are also the microseconds of the creation time.
MAX_ROWS = 1_000_000
#: Cells of the array that both processes see.
ROWS, CAP, LATENCY, REQUESTS = range(4)
#: Stands for the number in the template; nothing else in a row looks like it.
_NUMBER = 987654


def page_renderer() -> Callable[[int, int], bytes]:
    """Return what renders the datasets with the numbers from one down to above another, newest first.

    A row is what the other benchmarks serve, but its creation time and its samples differ from row to row: if they did
    not, a Parquet file would hold them once.
    """
    digits = b"%d" % _NUMBER
    template = row(_NUMBER, "validated").replace(b"131415Z", digits + b"Z").replace(b"last month", digits)
    places = [found.start() for found in re.finditer(digits, template)]
    pattern = np.frombuffer(template + b",", np.uint8)
    powers = 10 ** np.arange(len(digits) - 1, -1, -1)

    def render(first: int, end: int) -> bytes:
        numbers = np.arange(first, end, -1).reshape(-1, 1)
        rows = np.tile(pattern, (len(numbers), 1))
        spelt = numbers // powers % 10 + ord("0")
        for place in places:
            rows[:, place : place + len(digits)] = spelt
        return b'{"datasets":[%b]}' % rows.tobytes()[:-1]

    return render


class ExportServer:
    """The server as its parent sees it."""

    def __init__(self) -> None:
        context = multiprocessing.get_context("spawn")
        #: What both processes see. There is one writer to each cell at a time, so nobody needs a lock.
        self._cells: Any = context.RawArray("q", 4)
        self._ready, ready = context.Pipe(duplex=False)
        self._process = context.Process(target=_serve, args=(self._cells, ready), daemon=True)
        self.url = ""

    def __enter__(self) -> ExportServer:
        self._process.start()
        self.url = f"http://127.0.0.1:{self._ready.recv()}"
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._process.terminate()
        self._process.join()

    def reset(self, rows: int, cap: int, latency_ms: int) -> None:
        """Serve so many datasets on pages of at most ``cap``, each answer so much later; count from 0 again."""
        if rows > MAX_ROWS:
            raise ValueError(f"at most {MAX_ROWS:,} rows can be served")
        for cell, value in ((ROWS, rows), (CAP, cap), (LATENCY, latency_ms), (REQUESTS, 0)):
            self._cells[cell] = value

    @property
    def requests(self) -> int:
        """The requests since the last reset."""
        return int(self._cells[REQUESTS])


def _serve(cells: Any, ready: Connection) -> None:
    render = page_renderer()

    def answer(target: str) -> tuple[bytes, bytes]:
        url = urlsplit(target)
        if url.path != "/v1/datasets":
            return b"404 Not Found", b'{"message":"not found"}'
        query = parse_qs(url.query)
        offset = int(query.get("offset", ["0"])[0])
        size = min(int(query.get("limit", ["50"])[0]), cells[CAP])
        newest = cells[ROWS] - 1
        return b"200 OK", render(newest - offset, max(newest - offset - size, -1))

    class Http(StreamRequestHandler):
        def handle(self) -> None:
            # No client sends a request before it has the answer to the one before.
            while line := self.rfile.readline():
                while self.rfile.readline().strip():
                    pass
                cells[REQUESTS] += 1
                time.sleep(cells[LATENCY] / 1000)
                status, body = answer(line.split(b" ", 2)[1].decode())
                self.connection.sendall(
                    b"HTTP/1.1 %b\r\nContent-Type: application/json\r\nContent-Length: %d\r\n\r\n%b"
                    % (status, len(body), body)
                )

    class Server(ThreadingTCPServer):
        daemon_threads = True

    with Server(("127.0.0.1", 0), Http) as server:
        ready.send(server.server_address[1])
        server.serve_forever()
