"""Which rows were read, and in which order; tells whether a server's order holds still."""

from __future__ import annotations

from bisect import bisect_left
from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Sequence

#: From so many rows met again on one page, a single one in the wrong place is a repeated row, not another order.
_ENOUGH_TO_JUDGE = 8


@dataclass(frozen=True, slots=True)
class Sighting:
    """What one page shows, compared with what was read before.

    :param fresh: positions of rows not read before, each id once.
    :param known: how many rows were read before.
    :param in_order: whether those stand in the order in which they were read.
    """

    fresh: list[int]
    known: int
    in_order: bool


class Ledger:
    """The ids that were read, with their rank in the server's order."""

    def __init__(self) -> None:
        self._rank: dict[str, int | None] = {}

    def __len__(self) -> int:
        """Return the number of different ids that were read."""
        return len(self._rank)

    def look(self, ids: Sequence[str | None]) -> Sighting:
        """Compare a page with what was read; changes nothing."""
        fresh: list[int] = []
        known: list[int] = []
        met: set[str] = set()
        count = 0
        for position, row_id in enumerate(ids):
            if row_id is None or row_id in met:
                continue
            met.add(row_id)
            if row_id not in self._rank:
                fresh.append(position)
                continue
            count += 1
            rank = self._rank[row_id]
            if rank is not None:
                known.append(rank)
        outliers = len(known) - _longest_rise(known)
        return Sighting(fresh, count, outliers <= (1 if len(known) >= _ENOUGH_TO_JUDGE else 0))

    def add(self, ids: Sequence[str | None], sighting: Sighting) -> None:
        """Enter a page's fresh rows.

        Only those behind the last row read before get a rank: rows between known ones came in while we read, and
        what rank they have among them is not needed.
        """
        fresh = set(sighting.fresh)
        last_known = max((p for p, i in enumerate(ids) if p not in fresh and i in self._rank), default=-1)
        for position in sighting.fresh:
            row_id = ids[position]
            if row_id is not None:
                self._rank[row_id] = len(self._rank) if position > last_known else None


def _longest_rise(ranks: Sequence[int]) -> int:
    """Return the length of the longest increasing subsequence."""
    tails: list[int] = []
    for rank in ranks:
        place = bisect_left(tails, rank)
        tails[place : place + 1] = [rank]
    return len(tails)
