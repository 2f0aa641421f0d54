"""Which rows were read, and in which order; tells whether a server's order holds still."""

from __future__ import annotations

from bisect import bisect_left
from dataclasses import dataclass, field
from itertools import chain, count, repeat
from typing import TYPE_CHECKING, TypeAlias

from airflow_provider_cohere_datasets.core.id_ranks import UNKNOWN, UNRANKED, IdRanks

if TYPE_CHECKING:
    from collections.abc import Sequence

#: The id of a row, or what stands for it where a row has none.
RowId: TypeAlias = str | int

#: From so many rows met again on one page, a single one in the wrong place is a repeated row, not another order.
_ENOUGH_TO_JUDGE = 8


def nameless(row: object) -> int:
    """Return what stands for the id of a row that has none: the same for the same content.

    Such a row cannot be handed on, and it may stand in several places or differ each time. But one that was met before
    shows that a page continues what was read.
    """
    return hash(repr(row))


@dataclass(frozen=True, slots=True)
class Sighting:
    """What one page shows, compared with what was read before.

    :param fresh: positions of rows not read before, each id once.
    :param known: how many rows were read before.
    :param in_order: whether those stand in the order in which they were read.
    :param last: the position of the last row that has a rank; -1 if none has.
    :param furthest: the highest rank on the page; -1 if there is none.
    :param ranked: how many rows have a rank.
    """

    fresh: list[int]
    known: int
    in_order: bool
    last: int = field(default=-1, compare=False)
    furthest: int = field(default=-1, compare=False)
    ranked: int = field(default=0, compare=False)


class Ledger:
    """The ids that were read, with their rank in the server's order."""

    def __init__(self) -> None:
        self._ranks = IdRanks()
        #: How many rows have a rank: how far into the list the reading got.
        self.ranked = 0
        #: Whether the reading got to the end: what is met later came in meanwhile, and gets no rank.
        self.ended = False

    def __len__(self) -> int:
        """Return the number of different ids that were read."""
        return len(self._ranks)

    def knows(self, row_id: RowId) -> bool:
        """Return whether a row was read."""
        return self._ranks.find([row_id])[0] != UNKNOWN

    def look(self, ids: Sequence[RowId]) -> Sighting:
        """Compare a page with what was read; changes nothing."""
        # The place of the first of each id.
        places: dict[RowId, int] = {}
        for position, row_id in enumerate(ids):
            places.setdefault(row_id, position)
        ranks = self._ranks.find(places)
        fresh = [position for position, rank in zip(places.values(), ranks, strict=True) if rank == UNKNOWN]
        ranked = [(position, rank) for position, rank in zip(places.values(), ranks, strict=True) if rank >= 0]
        outliers = len(ranked) - _longest_rise([rank for _, rank in ranked])
        in_order = outliers <= (1 if len(ranked) >= _ENOUGH_TO_JUDGE else 0)
        last = ranked[-1][0] if ranked else -1
        furthest = max((rank for _, rank in ranked), default=-1)
        return Sighting(fresh, len(ranks) - len(fresh), in_order, last, furthest, len(ranked))

    def is_last(self, row_id: RowId) -> bool:
        """Return whether a row is the last of the list as far as it was read."""
        return self._ranks.find([row_id])[0] == self.ranked - 1 >= 0

    def add(self, ids: Sequence[RowId], sighting: Sighting) -> list[int]:
        """Enter a page's fresh rows.

        They get a rank if they stand behind the last row read so far, or if no row with a rank is on the page. Rows
        between those that were read came in meanwhile; what place they have is not needed.

        :param sighting: what :meth:`look` said of the page just now.
        :returns: the positions of those that have an id. The others have no rank, because their place shows nothing.
        """
        named = [position for position in sighting.fresh if isinstance(ids[position], str)]
        at_the_edge = not self.ended and sighting.furthest in {-1, self.ranked - 1}
        between = bisect_left(named, sighting.last) if at_the_edge else len(named)
        self._ranks.enter([ids[position] for position in named], chain(repeat(UNRANKED, between), count(self.ranked)))
        self.ranked += len(named) - between
        if len(named) < len(sighting.fresh):
            others = [ids[position] for position in sighting.fresh if not isinstance(ids[position], str)]
            self._ranks.enter(others, repeat(UNRANKED))
        return named


def _longest_rise(ranks: Sequence[int]) -> int:
    """Return the length of the longest increasing subsequence."""
    tails: list[int] = []
    for rank in ranks:
        place = bisect_left(tails, rank)
        tails[place : place + 1] = [rank]
    return len(tails)
