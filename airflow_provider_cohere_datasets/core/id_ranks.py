"""Ranks by id in 12 bytes of memory a slot, for lists of millions."""

from __future__ import annotations

from array import array
from itertools import compress
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

#: What :meth:`IdRanks.find` says of an id that was not entered, and of one that was, without a rank.
UNKNOWN: Final = -2
UNRANKED: Final = -1


class IdRanks:
    """A mapping from ids to ranks that grows and never shrinks; a page of ids at a time, because that is quick.

    A dict takes some 150 bytes an id. Here an id is known by the 64 bits of its hash alone, which is keyed anew in each
    process: two ids of a million share one in one of 40 million readings.
    """

    def __init__(self) -> None:
        self._count = 0
        self._make(1 << 14)

    def _make(self, slots: int) -> None:
        # Open addressing with linear probing; a key of 0 is a free slot.
        self._mask = slots - 1
        self._keys = array("q", [0]) * slots
        self._ranks = array("i", [UNKNOWN]) * slots

    def __len__(self) -> int:
        """Return the number of ids."""
        return self._count

    def find(self, ids: Iterable[str]) -> list[int]:
        """Return the rank of each id, :data:`UNRANKED` or :data:`UNKNOWN`."""
        keys, ranks, mask = self._keys, self._ranks, self._mask
        found = []
        for key in map(hash, ids):
            slot = key & mask
            while (there := keys[slot]) and there != (key or 1):
                slot = (slot + 1) & mask
            found.append(ranks[slot])
        return found

    def enter(self, ids: Sequence[str], ranked: Iterable[int]) -> None:
        """Enter ids with their ranks or :data:`UNRANKED`.

        :param ranked: at least as many as ids.
        """
        while 3 * (self._count + len(ids)) > 2 * self._mask:
            keys, ranks = self._keys, self._ranks
            self._count = 0
            self._make(2 * len(keys))
            self._put(compress(zip(keys, ranks, strict=True), keys))
        self._put(zip(map(hash, ids), ranked, strict=False))

    def _put(self, entries: Iterable[tuple[int, int]]) -> None:
        keys, ranks, mask, new = self._keys, self._ranks, self._mask, 0
        for key, rank in entries:
            slot = key & mask
            while (there := keys[slot]) and there != (key or 1):
                slot = (slot + 1) & mask
            new += not there
            keys[slot], ranks[slot] = key or 1, rank
        self._count += new
