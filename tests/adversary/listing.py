"""How the list endpoint behaves: one value with a knob for everything that is not documented."""

from __future__ import annotations

import operator
import random
import zlib
from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass, field
from datetime import datetime
from typing import TYPE_CHECKING, Any, Literal

from tests.adversary.answers import Answer, error, oversized
from tests.adversary.rows import Row, moment_of, parse_timestamp

if TYPE_CHECKING:
    from tests.adversary.model import Model

Order = Literal["newest", "oldest", "name", "id", "status", "shuffled-once", "random-each-request"]


class Refused(Exception):
    """The list request gets an error instead of a page."""

    def __init__(self, answer: Answer) -> None:
        super().__init__(answer.status)
        self.answer = answer


@dataclass
class Listing:
    """The behaviour of ``GET /v1/datasets``. Every knob may be combined with every other.

    :param cap: the largest page; a larger ``limit`` is clamped in silence
    :param default_size: the page size when no ``limit`` (or 0) is asked for; ``None`` gives everything
    :param reject_limit_above: refuse pages larger than this ...
    :param reject_with: ... with a 422 that names ``limit``, a 413, or a 429 about the message's size
    :param max_bytes: refuse a page whose JSON is larger than this with the 429 about the message's size
    :param empty_as: what no rows look like: ``[]``, ``null``, or no ``datasets`` at all
    :param short_pages: share of the pages that come shorter than they could, though never empty
    :param order: the order of rows; ``status`` sorts by status, then newest first
    :param unstable_ties: rows equal under the order come in another order in every answer
    :param ignore_offset: always give the first page
    :param ignore_limit: always give ``default_size`` rows
    :param ignore_filters: names of query parameters without effect
    :param repeat_ids: share of the rows that come twice, up to 20 places apart, in the same places every time
    :param after_inclusive: whether ``after`` includes the moment itself
    :param before_inclusive: whether ``before`` includes the moment itself
    :param between: called with the model after every page, so that rows come and go between pages
    :param seed: decides everything random here
    """

    cap: int | None = None
    default_size: int | None = 100
    reject_limit_above: int | None = None
    reject_with: Literal["422", "413", "429"] = "422"
    max_bytes: int | None = None
    empty_as: Literal["list", "null", "missing"] = "list"
    short_pages: float = 0.0
    order: Order = "newest"
    unstable_ties: bool = False
    ignore_offset: bool = False
    ignore_limit: bool = False
    ignore_filters: Collection[str] = ()
    repeat_ids: float = 0.0
    after_inclusive: bool = False
    before_inclusive: bool = False
    between: Callable[[Model], None] | None = None
    seed: int = 0
    rng: random.Random = field(init=False, repr=False)

    def __post_init__(self) -> None:
        self.rng = random.Random(self.seed)

    def page(self, rows: list[Row], query: Mapping[str, str]) -> list[Row]:
        """Give one page.

        :param rows: all there are
        :param query: the request's parameters, decoded
        :raises Refused: when the request gets an error instead
        """
        limit, offset = _count(query, "limit"), _count(query, "offset")
        size = limit or self.default_size
        if self.reject_limit_above is not None and (size is None or size > self.reject_limit_above):
            raise Refused(self._rejection())
        if self.ignore_limit:
            size = self.default_size
        if self.cap is not None:
            size = self.cap if size is None else min(size, self.cap)
        start = 0 if self.ignore_offset else offset
        found = self._repeated(self._ordered(self._filtered(rows, query)))
        page = found[start : None if size is None else start + size]
        if len(page) > 1 and self.short_pages and self.rng.random() < self.short_pages:
            del page[self.rng.randrange(1, len(page)) :]
        return page

    def envelope(self, page: list[Row]) -> dict[str, Any]:
        """Wrap a page as the API does."""
        if page or self.empty_as == "list":
            return {"datasets": page}
        return {"datasets": None} if self.empty_as == "null" else {}

    def _rejection(self) -> Answer:
        if self.reject_with == "422":
            return error(422, f"invalid request: limit must not be greater than {self.reject_limit_above}")
        return error(413, "request entity too large") if self.reject_with == "413" else oversized()

    def _filtered(self, rows: list[Row], query: Mapping[str, str]) -> list[Row]:
        used = {name: value for name, value in query.items() if value and name not in self.ignore_filters}
        if kind := used.get("datasetType"):
            rows = [row for row in rows if row.get("dataset_type") == kind]
        if status := used.get("validationStatus"):
            rows = [row for row in rows if row.get("validation_status", "unknown") == status]
        if after := _moment(used, "after"):
            keep = operator.ge if self.after_inclusive else operator.gt
            rows = [row for row in rows if keep(moment_of(row), after)]
        if before := _moment(used, "before"):
            keep = operator.le if self.before_inclusive else operator.lt
            rows = [row for row in rows if keep(moment_of(row), before)]
        return rows

    def _ordered(self, rows: list[Row]) -> list[Row]:
        rows = list(rows)
        if self.unstable_ties or self.order == "random-each-request":
            self.rng.shuffle(rows)
        if self.order in ("newest", "status"):
            rows.sort(key=moment_of, reverse=True)
        if self.order == "oldest":
            rows.sort(key=moment_of)
        elif self.order == "shuffled-once":
            rows.sort(key=lambda row: self._hash(row, "order"))
        elif self.order != "random-each-request" and self.order != "newest":
            field_name = "validation_status" if self.order == "status" else self.order
            rows.sort(key=lambda row: str(row.get(field_name, "")))
        return rows

    def _repeated(self, rows: list[Row]) -> list[Row]:
        if not self.repeat_ids:
            return rows
        places: list[tuple[float, int, Row]] = [(place, 0, row) for place, row in enumerate(rows)]
        for place, row in enumerate(rows):
            if self._hash(row, "repeat") < self.repeat_ids:
                places.append((place + 0.5 + int(20 * self._hash(row, "distance")), place, row))
        places.sort(key=lambda item: item[:2])
        return [row for _, _, row in places]

    def _hash(self, row: Row, purpose: str) -> float:
        return zlib.crc32(f"{purpose}:{self.seed}:{row.get('id')}".encode()) / 2**32


def _count(query: Mapping[str, str], name: str) -> int:
    text = query.get(name) or "0"
    if not (text.isascii() and text.isdigit()):
        raise Refused(error(400, f"invalid value {text!r} for parameter {name}"))
    return int(text)


def _moment(used: Mapping[str, str], name: str) -> datetime | None:
    if name not in used:
        return None
    if (moment := parse_timestamp(used[name])) is None:
        raise Refused(error(400, f"invalid value {used[name]!r} for parameter {name}: not a date-time"))
    return moment
