"""The datasets the server holds, and the API's routes over them."""

from __future__ import annotations

import random
import threading
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import Any, Literal
from urllib.parse import unquote

from tests.adversary.answers import Answer, error, oversized
from tests.adversary.listing import Listing, Refused
from tests.adversary.rows import DATASET_TYPES, Row, make_dataset, moment_of
from tests.adversary.uploads import Upload, read_uploads
from tests.adversary.wire import Body, Request


@dataclass
class Model:
    """Datasets, and what happened to them. Hold ``lock`` to change ``datasets`` by hand while requests run.

    :param datasets: as the API sends them, in the order of their creation
    :param listing: how the list endpoint behaves
    :param key: the only key accepted; ``None`` accepts any
    :param create_status: status of a dataset just created
    :param organization_usage: bytes; ``None`` adds up the parts
    :param uploads: what was uploaded, by dataset id, then by field name (``data``, ``eval_data``)
    :param deleted: ids deleted, in order
    :param served: ids sent in list answers
    """

    datasets: list[Row] = field(default_factory=list)
    listing: Listing = field(default_factory=Listing)
    key: str | None = "test-key"
    create_status: str = "unknown"
    organization_usage: int | None = None
    uploads: dict[str, dict[str, Upload]] = field(default_factory=dict)
    deleted: list[str] = field(default_factory=list)
    served: set[str] = field(default_factory=set)
    lock: threading.RLock = field(default_factory=threading.RLock, repr=False)
    _first: set[str] | None = field(default=None, repr=False)
    _number: int = field(default=1_000_000, repr=False)

    def add(self, *rows: Row) -> None:
        """Add copies of these datasets."""
        with self.lock:
            self.datasets += [dict(row) for row in rows]

    def fresh(self, **options: Any) -> Row:
        """Add a dataset nobody has seen before; the options are those of ``make_dataset``."""
        with self.lock:
            self._number += 1
            row = make_dataset(self._number, **options)
            self.datasets.append(row)
            return row

    def get(self, dataset_id: str) -> Row | None:
        """Give a dataset."""
        with self.lock:
            return next((row for row in self.datasets if row.get("id") == dataset_id), None)

    def update(self, dataset_id: str, **changes: Any) -> None:
        """Change a dataset, most often its ``validation_status``. ``updated_at`` stays, as in production."""
        with self.lock:
            row = self.get(dataset_id)
            if row is None:
                raise KeyError(dataset_id)
            row.update(changes)

    def delete(self, dataset_id: str) -> bool:
        """Delete a dataset; say whether there was one."""
        with self.lock:
            row = self.get(dataset_id)
            if row is None:
                return False
            self.datasets.remove(row)
            self.deleted.append(dataset_id)
            if self._first is not None:
                self._first.discard(dataset_id)  # also when one of the same id comes back
            return True

    def ids(self) -> set[str]:
        """Give the ids of all datasets there are."""
        with self.lock:
            return {row["id"] for row in self.datasets if "id" in row}

    def start_run(self) -> None:
        """Let :meth:`survivors` count from now, instead of from the first list request."""
        with self.lock:
            self._first = self.ids()
            self.served.clear()

    def survivors(self) -> set[str]:
        """Give the ids that were there at the first list request and ever since."""
        with self.lock:
            return self.ids() if self._first is None else self._first & self.ids()

    def ever(self) -> set[str]:
        """Give the ids of all datasets there are or were: what a client may have seen."""
        with self.lock:
            return (self._first or set()) | self.ids() | set(self.deleted)

    def answer(self, request: Request, body: Body) -> Answer:
        """Carry a request out."""
        authorization = request.headers.get("authorization", "")
        if not authorization:
            return error(401, "no api key supplied")
        scheme, _, key = authorization.partition(" ")
        if scheme.lower() != "bearer" or not key or self.key not in (None, key):
            return error(401, "invalid api token")
        # Encoded slashes belong to an id, so split before decoding.
        segments = [unquote(part) for part in request.raw_target.partition("?")[0].split("/")[1:]]
        query = dict(reversed(request.query))  # the first of several wins
        with self.lock:
            match (request.method, *segments):
                case ("POST", "v1", "check-api-key"):
                    return Answer(json={"valid": True, "organization_id": "org-1", "owner_id": "user-1"})
                case ("GET", "v1", "datasets"):
                    return self._list(query)
                case ("POST", "v1", "datasets"):
                    return self._create(query, request, body)
                case ("GET", "v1", "datasets", "usage"):
                    return self._usage()
                case ("GET", "v1", "datasets", dataset_id) if row := self.get(dataset_id):
                    return Answer(json={"dataset": dict(row)})
                case ("DELETE", "v1", "datasets", dataset_id) if self.delete(dataset_id):
                    return Answer(json={})
                case ("GET" | "DELETE", "v1", "datasets", dataset_id):
                    return error(404, f"dataset with id {dataset_id} not found")
        return error(404, f"no route for {request.method} {request.path}")

    def _list(self, query: Mapping[str, str]) -> Answer:
        if self._first is None:
            self.start_run()
        try:
            page = self.listing.page(self.datasets, query)
        except Refused as refused:
            return refused.answer
        # Encoded here, under the lock: rows may change as soon as it is let go.
        body = Answer(json=self.listing.envelope(page)).payload()
        most = self.listing.max_bytes
        if most is not None and len(body) > most:
            return oversized(len(body), most)
        self.served.update(row["id"] for row in page if "id" in row)
        if self.listing.between is not None:
            self.listing.between(self)
        return Answer(body=body)

    def _usage(self) -> Answer:
        usage = self.organization_usage
        if usage is None:
            parts = [part for row in self.datasets for part in row.get("dataset_parts") or ()]
            usage = sum(part.get("size_bytes", 0) for part in parts)
        return Answer(json={"organization_usage": usage} if usage else {})

    def _create(self, query: Mapping[str, str], request: Request, body: Body) -> Answer:
        name, kind = query.get("name", ""), query.get("type", "")
        if not name:
            return error(400, "name is required")
        if len(name) >= 50:
            return error(400, "name must be shorter than 50 characters")
        if kind not in DATASET_TYPES:
            return error(400, f"unknown dataset type {kind!r}")
        if len(query.get("csv_delimiter") or ",") != 1:
            return error(400, "csv_delimiter must be one character")
        uploads = read_uploads(request.headers.get("content-type", ""), body)
        if uploads is None or "data" not in uploads:
            return error(400, "no file in form field data")
        row = self.fresh(name=name, type=kind, status=self.create_status, created_at=datetime.now(UTC))
        self.uploads[row["id"]] = uploads
        return Answer(json={"id": row["id"]})


@dataclass
class Churn:
    """Rows that come and go between the pages of a listing; give it to ``Listing(between=...)``.

    :param rng: decides which rows
    :param inserts_per_request: rows added after every page
    :param deletes_per_request: rows deleted after every page
    :param where: anywhere; at the newest end; or among the rows the client was sent already, which moves
        the rows it has not seen yet
    :param stop_after: leave the rows alone after so many pages
    """

    rng: random.Random
    inserts_per_request: int = 1
    deletes_per_request: int = 1
    where: Literal["any", "head", "read"] = "any"
    stop_after: int | None = None
    pages: int = field(default=0, init=False)

    def __call__(self, model: Model) -> None:
        """Add and delete rows."""
        self.pages += 1
        if self.stop_after is not None and self.pages > self.stop_after:
            return
        for _ in range(self.deletes_per_request):
            if rows := self._candidates(model):
                model.delete(self.rng.choice(rows)["id"])
        for _ in range(self.inserts_per_request):
            rows = self._candidates(model)
            base = moment_of(self.rng.choice(rows)) if rows else moment_of(make_dataset(0))
            model.fresh(created_at=base + timedelta(microseconds=self.rng.randrange(1_000_000)))

    def _candidates(self, model: Model) -> list[Row]:
        if self.where == "read":
            return [row for row in model.datasets if row["id"] in model.served]
        if self.where == "head":
            return [max(model.datasets, key=moment_of)] if model.datasets else []
        return model.datasets
