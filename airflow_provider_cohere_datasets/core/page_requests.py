"""The requests for the pages of one list: how large, how far ahead, and how many are too many."""

from __future__ import annotations

from typing import TYPE_CHECKING, Generic

from airflow_provider_cohere_datasets.core import calls
from airflow_provider_cohere_datasets.core.errors import CohereListingError, CoherePageTooLargeError
from airflow_provider_cohere_datasets.core.page import P
from airflow_provider_cohere_datasets.core.page_size import PageSize
from airflow_provider_cohere_datasets.core.retries import exchange

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from airflow_provider_cohere_datasets.core.account import RequestPolicy
    from airflow_provider_cohere_datasets.core.calls import Call, Reply
    from airflow_provider_cohere_datasets.core.filters import ListFilters
    from airflow_provider_cohere_datasets.core.ledger import Ledger, RowId
    from airflow_provider_cohere_datasets.core.page import Steps
    from airflow_provider_cohere_datasets.core.paging import ListReport

#: A server that invents new rows for ever must not hold us for ever: 20,000 pages of 100 are 2 million datasets.
MAX_REQUESTS = 20_000
#: A list changes faster than it can be read if each row had to be received so many times, or if it showed so many
#: times more rows than it has places ...
_MAX_EFFORT = 8
#: ... once this many pages went beyond that.
_PATIENCE = 100
#: Rows read, and full pages in a row, after which the next pages are asked for ahead. Each may be a request too many
#: where the list ends, which shall not happen to a short list.
_LONG, _FULL_PAGES, _PAGES_AHEAD = 5_000, 4, 2


class PageRequests(Generic[P]):
    """Asks for pages, and notes what their sizes show of the server.

    :param read: decodes one answer.
    :param filters: sent with every page.
    :param policy: tries and deadlines of each request.
    :param size: rows to ask for at a time.
    :param limit: rows that are wanted at the most.
    :param report: how the reading goes.
    :param ledger: the rows that were read.
    """

    def __init__(
        self,
        read: Callable[[Call, Reply], P],
        filters: ListFilters,
        policy: RequestPolicy,
        size: int,
        limit: int | None,
        report: ListReport,
        ledger: Ledger,
    ) -> None:
        self.size = PageSize(size)
        #: Rows received, an empty page counting as one.
        self.effort = 0
        #: How long the list was at the least.
        self.longest = 0
        #: Whether pages of one row were read.
        self.narrow = False
        #: Rows of the widest page at the present size: what the server can return.
        self.widest = 0
        #: Whether a page was short although rows followed.
        self.ragged = False
        self._read = read
        self._filters = filters
        self._policy = policy
        self._limit = limit
        self._report = report
        self._ledger = ledger
        self._requests = 0
        self._full = 0  # full pages in a row

    def ask(self, offset: int, size: int | None = None, overlap: int | None = None) -> Steps[P, P]:
        """Ask for one page; halve the page as long as the server finds it too large.

        :param size: rows to ask for, if this page is no part of a reading.
        :param overlap: how many rows the next page will probably show again, if it may be asked for ahead.
        """
        while True:
            if self._requests >= MAX_REQUESTS:
                raise CohereListingError(f"The list of datasets did not end after {MAX_REQUESTS} pages.")
            self._requests += 1
            if size is None and self.size.grow():
                self.widest = self._full = 0
            call = self._call(offset, size or self.size.rows, overlap)
            try:
                page = yield from exchange(call, self._read, self._policy)
            except CoherePageTooLargeError:
                if not self.size.shrink():
                    raise
                self.widest = self._full = 0
                continue
            if len(set(page.ids)) < len(page.ids):
                # A row that a page repeats takes no place of its own: counted, it would hide the one that has it.
                page = page.take(_without_repeats(page.ids))
            self._report.pages += 1
            self.effort += max(1, len(page.ids))
            if page.ids:
                self.longest = max(self.longest, offset + len(page.ids))
            if size is None:
                self.size.fits()
                # A page can be wider than one before it only if that one was short although rows followed.
                self.ragged |= 0 < self.widest < len(page.ids)
                self._full = self._full + 1 if 0 < self.widest == len(page.ids) else 0
                self.widest = max(self.widest, len(page.ids))
                self.narrow |= self.widest == 1 and offset > 0
            spare = _PATIENCE * max(1, self.widest)
            if (
                self.effort > spare + _MAX_EFFORT * self._ledger.ranked
                or len(self._ledger) > spare + _MAX_EFFORT * self.longest
            ):
                raise CohereListingError(
                    f"The list of datasets changes faster than it can be read: {self._requests} requests found "
                    f"{len(self._ledger)} datasets, and yet the end did not come."
                )
            return page

    def _call(self, offset: int, size: int, overlap: int | None) -> Call:
        """Return the call for a page; it announces the next ones if they are as good as certain."""
        ahead: list[Call] = []
        if overlap is not None and self._full >= _FULL_PAGES and self._report.rows >= _LONG:
            pages = _PAGES_AHEAD
            if self._limit is not None:
                pages = min(pages, (self._limit - self._report.rows) // self.widest - 1)
            step = self.widest - overlap
            ahead = [
                calls.list_datasets(self._filters, limit=size, offset=offset + step * number)
                for number in range(1, pages + 1)
            ]
        return calls.list_datasets(self._filters, limit=size, offset=offset, ahead=ahead)


def _without_repeats(ids: Sequence[RowId]) -> list[int]:
    """Return the positions of all rows but those with the id of an earlier one; what has none is taken for itself."""
    first: dict[RowId, int] = {}
    return [
        position for position, i in enumerate(ids) if first.setdefault(i, position) == position or isinstance(i, int)
    ]
