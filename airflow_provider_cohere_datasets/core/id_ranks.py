"""Ranks by id in 12 bytes of memory a slot, for lists of millions."""

from __future__ import annotations

from array import array
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from collections.abc import Hashable, Iterable, Sequence

#: What :meth:`IdRanks.find` says of an id that was not entered, and of one that was, without a rank.
UNKNOWN: Final = -2
UNRANKED: Final = -1
#: The one number that is no hash in Python.
_FREE: Final = -1
#: Slots of the first table, for the many short lists, and of the second, so that long ones grow rarely: 3 MB.
_SMALL, _LARGE = 1 << 14, 1 << 18


class IdRanks:
    """A mapping from ids to ranks that grows and never shrinks; a page of ids at a time, because that is quick.

    A dict takes some 150 bytes an id. Here an id is known by the 64 bits of its hash alone, which is keyed anew in each
    process: two ids of a million share one in one of 40 million readings.
    """

    def __init__(self) -> None:
        self._count = 0
        self._make(_SMALL)

    def _make(self, slots: int) -> None:
        # Open addressing with linear probing.
        self._mask = slots - 1
        self._keys = array("q", [_FREE]) * slots
        self._ranks = array("i", [UNKNOWN]) * slots

    def __len__(self) -> int:
        """Return the number of ids."""
        return self._count

    def find(self, ids: Iterable[Hashable]) -> list[int]:
        """Return the rank of each id, :data:`UNRANKED` or :data:`UNKNOWN`."""
        keys, ranks, mask = self._keys, self._ranks, self._mask
        found = []
        for key in map(hash, ids):
            slot = key & mask
            while (there := keys[slot]) != key and there != _FREE:
                slot = (slot + 1) & mask
            found.append(ranks[slot])
        return found

    def enter(self, ids: Sequence[Hashable], ranked: Iterable[int]) -> None:
        """Enter ids with their ranks or :data:`UNRANKED`.

        :param ids: different ids, all of them unknown.
        :param ranked: at least as many as ids.
        """
        self._count += len(ids)
        while 3 * self._count > 2 * self._mask:
            keys, ranks = self._keys, self._ranks
            self._make(max(2 * len(keys), _LARGE))
            self._put(entry for entry in zip(keys, ranks, strict=True) if entry[0] != _FREE)
        self._put(zip(map(hash, ids), ranked, strict=False))

    def _put(self, entries: Iterable[tuple[int, int]]) -> None:
        keys, ranks, mask = self._keys, self._ranks, self._mask
        for key, rank in entries:
            slot = key & mask
            while keys[slot] != _FREE:
                slot = (slot + 1) & mask
            keys[slot] = key
            ranks[slot] = rank
