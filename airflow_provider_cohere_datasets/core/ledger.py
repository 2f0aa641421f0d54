"""Which rows were read, and in which order; tells whether a server's order holds still."""

from __future__ import annotations

from bisect import bisect_left
from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Sequence, Set

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
        #: How many rows have a rank: how far into the list the reading got.
        self.ranked = 0

    def __len__(self) -> int:
        """Return the number of different ids that were read."""
        return len(self._rank)

    def ids(self) -> Set[str | None]:
        """Return the ids that were read."""
        return self._rank.keys()

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

    def is_last(self, row_id: str | None) -> bool:
        """Return whether a row is the last of the list as far as it was read."""
        return row_id is not None and self._rank.get(row_id) == self.ranked - 1

    def add(self, ids: Sequence[str | None], sighting: Sighting) -> None:
        """Enter a page's fresh rows.

        They get a rank if they stand behind the last row read so far, or if no row with a rank is on the page. Rows
        between those that were read came in meanwhile; what place they have is not needed.
        """
        fresh = set(sighting.fresh)
        ranked = [
            (p, rank) for p, i in enumerate(ids) if p not in fresh and i and (rank := self._rank.get(i)) is not None
        ]
        at_the_edge = not ranked or max(rank for _, rank in ranked) == self.ranked - 1
        last = max((p for p, _ in ranked), default=-1)
        for position, row_id in enumerate(ids):
            if row_id is not None and position in fresh:
                behind = at_the_edge and position > last
                self._rank[row_id] = self.ranked if behind else None
                self.ranked += behind


def _longest_rise(ranks: Sequence[int]) -> int:
    """Return the length of the longest increasing subsequence."""
    tails: list[int] = []
    for rank in ranks:
        place = bisect_left(tails, rank)
        tails[place : place + 1] = [rank]
    return len(tails)
