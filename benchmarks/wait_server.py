"""A Datasets API that only serves looks, fast, in a process of its own so that its work is not counted."""

from __future__ import annotations

import asyncio
import json
import multiprocessing
from typing import TYPE_CHECKING, Any
from urllib.parse import parse_qs, urlsplit

if TYPE_CHECKING:
    from multiprocessing.connection import Connection
    from types import TracebackType

#: Cells of the array that both processes see.
DATASETS, CAP, VALIDATED, REQUESTS, LOOKS, ASKED_FOR = range(6)
_SCHEMA = {
    "type": "record",
    "name": "EmbedInput",
    "fields": [
        {"name": name, "type": ["null", "string"], "doc": "a column of the upload"} for name in ("text", "topic")
    ],
}


def dataset_id(number: int) -> str:
    return f"support-questions-{number:06d}"


def row(number: int, status: str) -> bytes:
    """Return a dataset as the API sends it: about 2.3 kB, parts and samples included."""
    name = dataset_id(number)
    sample = json.dumps(
        {"text": "Where do I find the invoice of last month, and who can see it? " * 4, "topic": "billing"}
    )
    path = "7d5d7e3c-5a1b-4a9e-a6f1-2f6f2a6d9c11/0d3a2c54-1b66-4d2f-9b8e-6a0f6c1f4e77"
    dataset = {
        "id": name,
        "name": "support-questions",
        "created_at": "2026-11-20T10:11:12.131415Z",
        "updated_at": "2026-11-20T10:11:12.131415Z",
        "dataset_type": "embed-input",
        "validation_status": status,
        "schema": json.dumps(_SCHEMA),
        "required_fields": ["text"],
        "preserve_fields": ["topic"],
        "dataset_parts": [
            {
                "id": f"{name}-part-0",
                "name": "data.avro",
                "url": f"https://storage.googleapis.com/cohere-user-data/{path}/{name}/000.avro"
                "?X-Goog-Algorithm=GOOG4-RSA-SHA256&X-Goog-Date=20261120T101112Z&X-Goog-Expires=43199"
                f"&X-Goog-SignedHeaders=host&X-Goog-Signature={'0123456789abcdef' * 32}",
                "size_bytes": 48211,
                "num_rows": 350,
                "samples": [sample] * 3,
            }
        ],
    }
    return json.dumps(dataset, separators=(",", ":")).encode()


class WaitServer:
    """The server as its parent sees it.

    :param most: the most datasets that it will ever have to serve.
    """

    def __init__(self, most: int) -> None:
        context = multiprocessing.get_context("spawn")
        #: What both processes see. There is one writer to each cell at a time, so nobody needs a lock.
        self.cells: Any = context.RawArray("q", 6)
        self._ready, ready = context.Pipe(duplex=False)
        self._process = context.Process(target=_serve, args=(most, self.cells, ready), daemon=True)
        self.url = ""

    def __enter__(self) -> WaitServer:
        self._process.start()
        self.url = f"http://127.0.0.1:{self._ready.recv()}"
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._process.terminate()
        self._process.join()

    def reset(self, datasets: int, cap: int) -> None:
        """Serve so many datasets, none of them validated, on pages of at most ``cap`` rows; count from 0 again."""
        for cell, value in enumerate((datasets, cap, 0, 0, 0, 0)):
            self.cells[cell] = value

    @property
    def requests(self) -> int:
        """The requests since the last reset."""
        return int(self.cells[REQUESTS])

    @property
    def ticks(self) -> int:
        """How often the first dataset was asked for, by its id or with the first page of the list."""
        return int(self.cells[LOOKS])

    @property
    def asked_for(self) -> int:
        """How many datasets were asked for by their id."""
        return int(self.cells[ASKED_FOR])


def _serve(most: int, cells: Any, ready: Connection) -> None:
    asyncio.run(_run(most, cells, ready))


async def _run(most: int, cells: Any, ready: Connection) -> None:
    rows = [[row(number, status) for number in range(most)] for status in ("processing", "validated")]
    places = {dataset_id(number): number for number in range(most)}
    met: set[int] = set()

    def answer(target: str) -> bytes:
        if not cells[REQUESTS]:
            met.clear()
        cells[REQUESTS] += 1
        url = urlsplit(target)
        of_now = rows[cells[VALIDATED]]
        name = url.path.removeprefix("/v1/datasets").strip("/")
        if name:
            number = places[name]
            met.add(number)
            cells[LOOKS] += number == 0
            cells[ASKED_FOR] = len(met)
            return b'{"dataset":%b}' % of_now[number]
        query = parse_qs(url.query)
        offset = int(query.get("offset", ["0"])[0])
        size = min(int(query.get("limit", ["50"])[0]), cells[CAP])
        cells[LOOKS] += offset == 0
        return b'{"datasets":[%b]}' % b",".join(of_now[offset : min(offset + size, cells[DATASETS])])

    class Http(asyncio.Protocol):
        def connection_made(self, transport: Any) -> None:
            self.transport = transport
            self.received = b""

        def data_received(self, data: bytes) -> None:
            self.received += data
            while b"\r\n\r\n" in self.received:
                head, _, self.received = self.received.partition(b"\r\n\r\n")
                body = answer(head.split(b" ", 2)[1].decode())
                self.transport.write(
                    b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: %d\r\n\r\n%b"
                    % (len(body), body)
                )

    server = await asyncio.get_running_loop().create_server(Http, "127.0.0.1", 0, backlog=1024)
    ready.send(server.sockets[0].getsockname()[1])
    await server.serve_forever()
