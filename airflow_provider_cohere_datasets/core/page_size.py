"""How many rows to ask for at a time."""

from __future__ import annotations

#: Answers in a row after which a size that was reduced is doubled again.
_CALM = 8


class PageSize:
    """The size of the next page: halved while the server finds pages too large, and doubled again after that.

    A few datasets with large samples shall not make hundreds of requests of all that come behind them.

    :param wanted: rows to ask for at the most.
    """

    def __init__(self, wanted: int) -> None:
        #: Rows to ask for.
        self.rows = self._wanted = wanted
        self._calm = 0
        self._patience = _CALM
        self._grew = False

    def fits(self) -> None:
        """Take note that the server returned a page of this size."""
        self._calm += 1

    def shrink(self) -> bool:
        """Halve the size, and return whether that is possible."""
        if self._grew:
            # Where it was too early because all pages of that size are too large, it is tried ever more seldom.
            self._patience = _CALM if self._calm else 2 * self._patience
        return self._become(self.rows // 2, grew=False)

    def grow(self) -> bool:
        """Double the size if pages fitted for a while; return whether it did."""
        return self._calm >= self._patience and self._become(min(2 * self.rows, self._wanted), grew=True)

    def _become(self, rows: int, *, grew: bool) -> bool:
        if rows in {0, self.rows}:
            return False
        self.rows, self._calm, self._grew = rows, 0, grew
        return True
