"""A Datasets API that only serves the list, fast, in a process of its own so that its work is not counted."""

from __future__ import annotations

import json
import multiprocessing
import re
import tempfile
import time
from itertools import accumulate
from socketserver import StreamRequestHandler, ThreadingTCPServer
from typing import IO, TYPE_CHECKING, Any
from urllib.parse import SplitResult, parse_qs, urlsplit

import numpy as np

if TYPE_CHECKING:
    from multiprocessing.connection import Connection
    from types import TracebackType

#: A number has six digits, which are also the microseconds of the creation time.
MAX_ROWS = 1_000_000
#: Cells of the array that both processes see.
ROWS, CAP, LATENCY, REQUESTS = range(4)
#: Stands for the number in the template; nothing else in a row looks like it.
_NUMBER = 987654


class DatasetList:
    """A list of datasets as JSON in a file, newest first: whoever serves it has next to nothing to do.

    :param file: receives the datasets with the numbers below ``rows``, a comma behind each.
    :param rows: how many there are.
    """

    def __init__(self, file: IO[bytes], rows: int) -> None:
        templates = [json.dumps(dataset, separators=(",", ":")).encode() + b"," for dataset in _datasets()]
        self._starts = list(accumulate(map(len, templates), initial=0))
        digits = str(_NUMBER).encode()
        # The places of the number in each row of a block, the first of which has its highest number.
        places = [
            (below, start + found.start())
            for below, (start, template) in enumerate(zip(self._starts, templates, strict=False))
            for found in re.finditer(digits, template)
        ]
        pattern = np.frombuffer(b"".join(templates), np.uint8)
        powers = 10 ** np.arange(len(digits) - 1, -1, -1)
        # The numbers of the last block may go below 0; those are not part of the list.
        for tops in np.array_split(np.arange(rows - 1, -1, -len(templates)).reshape(-1, 1), rows // 10_000 + 1):
            blocks = np.tile(pattern, (len(tops), 1))
            for below, place in places:
                blocks[:, place : place + len(digits)] = (tops - below) % 10**6 // powers % 10 + ord("0")
            file.write(blocks.tobytes())
        file.flush()
        self.file = file
        self.rows = rows

    def span(self, index: int, count: int) -> tuple[int, int]:
        """Return where some datasets begin in the file, and how many bytes they have; at least one."""
        start = self._start(index)
        return start, self._start(index + count) - start - 1

    def _start(self, index: int) -> int:
        block, below = divmod(index, len(self._starts) - 1)
        return block * self._starts[-1] + self._starts[below]


def _datasets() -> list[dict[str, Any]]:
    """Return a dataset of each kind as the emulator serves them, 2.3 kB on average.

    The number is in what differs from dataset to dataset, also in times, texts and counts: if those were all alike, a
    Parquet file would hold them once.
    """
    said = f"Where do I find the invoice of {_NUMBER}, and who can see it?"
    chat = [{"role": "User", "content": said}, {"role": "Chatbot", "content": "Under Billing, as an owner."}]
    fields = {"total_examples": 350, "train_examples": 300, "train_size_bytes": int(f"1{_NUMBER}")}
    chat_metrics = {"num_train_turns": 600, "num_eval_turns": 100, "preamble": "You answer for the shop."}
    labels = [{"total_examples": 150, "label": label, "samples": [said]} for label in ("billing", "shipping")]
    return [
        _dataset(
            "chat-finetune-input",
            [{"messages": chat}] * 3,
            fields | {"eval_examples": 50, "eval_size_bytes": 61234, "chat_data_metrics": chat_metrics},
            parts=2,
        ),
        _dataset("embed-input", [{"text": f"{said} " * 4, "topic": "billing"}] * 3),
        _dataset(
            "single-label-classification-finetune-input",
            [{"text": said, "label": "billing"}] * 3,
            fields | {"classify_data_metrics": {"label_metrics": labels}},
        ),
    ]


def _dataset(
    dataset_type: str, samples: list[dict[str, Any]], metrics: dict[str, Any] | None = None, *, parts: int = 1
) -> dict[str, Any]:
    name = f"support-questions-{_NUMBER}"
    fields = list(samples[0])
    created = f"2026-11-20T10:11:12.{_NUMBER}Z"
    schema = {"type": "record", "name": dataset_type, "fields": [{"name": field, "type": "string"} for field in fields]}
    return {
        "id": name,
        "name": "support-questions",
        "created_at": created,
        "updated_at": created,
        "dataset_type": dataset_type,
        "validation_status": "validated",
        "schema": json.dumps(schema),
        "required_fields": fields,
        "dataset_parts": [_part(name, index, samples) for index in range(parts)],
        **({"metrics": {"finetune_dataset_metrics": metrics}} if metrics else {}),
    }


def _part(dataset_id: str, index: int, samples: list[dict[str, Any]]) -> dict[str, Any]:
    folder = "7d5d7e3c-5a1b-4a9e-a6f1-2f6f2a6d9c11/0d3a2c54-1b66-4d2f-9b8e-6a0f6c1f4e77"
    signature = f"Expires=1795316614&Nonce=57cb7cb1368786d9&Signature={'0123456789abcdef' * 4}"
    url = f"https://storage.googleapis.com/cohere-user-data/{folder}/{dataset_id}"
    return {
        "id": f"{dataset_id}-part-{index}",
        "name": "data.jsonl",
        # Zero is left out, as the API does.
        **({"index": index} if index else {}),
        "size_bytes": int(f"1{_NUMBER}"),
        "num_rows": 350,
        "samples": [json.dumps(sample) for sample in samples],
        "url": f"{url}/part-{index}.avro?{signature}",
        "original_url": f"{url}/original-{index}.jsonl?{signature}",
    }


class ExportServer:
    """The server as its parent sees it.

    :param rows: the most datasets that it can serve; it takes 2.3 kB in the temporary folder for each.
    """

    def __init__(self, rows: int) -> None:
        if rows > MAX_ROWS:
            raise ValueError(f"at most {MAX_ROWS:,} rows can be served")
        self._rows = rows
        context = multiprocessing.get_context("spawn")
        #: What both processes see. There is one writer to each cell at a time, so nobody needs a lock.
        self._cells: Any = context.RawArray("q", 4)
        self._ready, ready = context.Pipe(duplex=False)
        self._process = context.Process(target=_serve, args=(rows, self._cells, ready), daemon=True)
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
        if rows > self._rows:
            raise ValueError(f"only {self._rows:,} rows can be served")
        for cell, value in ((ROWS, rows), (CAP, cap), (LATENCY, latency_ms), (REQUESTS, 0)):
            self._cells[cell] = value

    @property
    def requests(self) -> int:
        """The requests since the last reset."""
        return int(self._cells[REQUESTS])


def _serve(rows: int, cells: Any, ready: Connection) -> None:
    with tempfile.TemporaryFile() as file:
        _serve_list(DatasetList(file, rows), cells, ready)


def _serve_list(datasets: DatasetList, cells: Any, ready: Connection) -> None:
    class Http(StreamRequestHandler):
        disable_nagle_algorithm = True  # The last bytes of an answer go by themselves.

        def handle(self) -> None:
            # No client sends a request before it has the answer to the one before.
            while line := self.rfile.readline():
                while self.rfile.readline().strip():
                    pass
                cells[REQUESTS] += 1
                time.sleep(cells[LATENCY] / 1000)
                self.answer(urlsplit(line.split(b" ", 2)[1].decode()))

        def answer(self, url: SplitResult) -> None:
            if url.path != "/v1/datasets":
                self.begin(b"404 Not Found", 0)
                return
            query = parse_qs(url.query)
            offset = int(query.get("offset", ["0"])[0])
            count = min(int(query.get("limit", ["50"])[0]), cells[CAP], cells[ROWS] - offset)
            head, tail = b'{"datasets":[', b"]}"
            start, size = datasets.span(datasets.rows - cells[ROWS] + offset, count) if count > 0 else (0, 0)
            self.begin(b"200 OK", len(head) + size + len(tail), head)
            if size:
                self.connection.sendfile(datasets.file, start, size)
            self.connection.sendall(tail)

        def begin(self, status: bytes, length: int, body: bytes = b"") -> None:
            head = b"HTTP/1.1 %b\r\nContent-Type: application/json\r\nContent-Length: %d\r\n\r\n%b"
            self.connection.sendall(head % (status, length, body))

    class Server(ThreadingTCPServer):
        daemon_threads = True

    with Server(("127.0.0.1", 0), Http) as server:
        ready.send(server.server_address[1])
        server.serve_forever()
