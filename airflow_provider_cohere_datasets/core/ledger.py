"""Which rows were read, and in which order; tells whether a server's order holds still."""

from __future__ import annotations

from bisect import bisect_left
from dataclasses import dataclass
from typing import TYPE_CHECKING, cast

from airflow_provider_cohere_datasets.core.id_ranks import UNKNOWN, UNRANKED, IdRanks

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
        self._ranks = IdRanks()
        #: How many rows have a rank: how far into the list the reading got.
        self.ranked = 0

    def __len__(self) -> int:
        """Return the number of different ids that were read."""
        return len(self._ranks)

    def knows(self, row_id: str | None) -> bool:
        """Return whether a row was read."""
        return row_id is not None and self._ranks.find([row_id])[0] != UNKNOWN

    def look(self, ids: Sequence[str | None]) -> Sighting:
        """Compare a page with what was read; changes nothing."""
        # The places of the first of each id; a row without one is nobody's.
        places = {row_id: position for position, row_id in reversed(list(enumerate(ids))) if row_id is not None}
        positions = sorted(places.values())
        ranks = self._ranks.find([row_id for position in positions if (row_id := ids[position]) is not None])
        fresh = [position for position, rank in zip(positions, ranks, strict=True) if rank == UNKNOWN]
        known = [rank for rank in ranks if rank >= 0]
        outliers = len(known) - _longest_rise(known)
        in_order = outliers <= (1 if len(known) >= _ENOUGH_TO_JUDGE else 0)
        return Sighting(fresh, len(ranks) - len(fresh), in_order)

    def is_last(self, row_id: str | None) -> bool:
        """Return whether a row is the last of the list as far as it was read."""
        return row_id is not None and self._ranks.find([row_id])[0] == self.ranked - 1 >= 0

    def add(self, ids: Sequence[str | None], sighting: Sighting) -> None:
        """Enter a page's fresh rows.

        They get a rank if they stand behind the last row read so far, or if no row with a rank is on the page. Rows
        between those that were read came in meanwhile; what place they have is not needed.
        """
        fresh = set(sighting.fresh)
        others = [(p, row_id) for p, row_id in enumerate(ids) if row_id is not None and p not in fresh]
        ranks = self._ranks.find([row_id for _, row_id in others])
        ranked = [(p, rank) for (p, _), rank in zip(others, ranks, strict=True) if rank >= 0]
        at_the_edge = not ranked or max(rank for _, rank in ranked) == self.ranked - 1
        last = max((p for p, _ in ranked), default=-1)
        entries = []
        for position in sighting.fresh:
            behind = at_the_edge and position > last
            # A fresh row has an id, or nobody could tell that it is fresh.
            entries.append((cast("str", ids[position]), self.ranked if behind else UNRANKED))
            self.ranked += behind
        self._ranks.enter(entries)


def _longest_rise(ranks: Sequence[int]) -> int:
    """Return the length of the longest increasing subsequence."""
    tails: list[int] = []
    for rank in ranks:
        place = bisect_left(tails, rank)
        tails[place : place + 1] = [rank]
    return len(tails)
