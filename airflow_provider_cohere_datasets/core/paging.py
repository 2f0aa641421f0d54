"""Every dataset once, whatever the server does.

The API has no cursor, no total and no ``has_more``; its page cap and its order are not documented, and rows come and
go while we read. So nothing is believed that an answer does not show:

* We advance by rows received, never by rows asked for.
* Windows overlap. A page is trusted only if it shares an id with what was already read, because then, in any order
  that holds still, all rows in front of the page were read too. If it shares none, rows vanished in front of us, and
  we step back, doubling, until it joins.
* The end is a page that joins, brings nothing new and had room for more, together with an empty page behind it. A
  short page alone is not.
* If the order does not hold still, positions mean nothing. Then whole passes are made until nothing new comes; if
  that never happens, the list is reported as not proved complete, never passed off as complete.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from operator import gt, lt
from typing import TYPE_CHECKING, Generic

from airflow_provider_cohere_datasets.core.errors import CohereListingError
from airflow_provider_cohere_datasets.core.filters import checked_count
from airflow_provider_cohere_datasets.core.ledger import Ledger
from airflow_provider_cohere_datasets.core.limits import DEFAULT_PAGE_SIZE
from airflow_provider_cohere_datasets.core.page import P
from airflow_provider_cohere_datasets.core.page_requests import PageRequests

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from airflow_provider_cohere_datasets.core.account import RequestPolicy
    from airflow_provider_cohere_datasets.core.calls import Call, Reply
    from airflow_provider_cohere_datasets.core.filters import ListFilters
    from airflow_provider_cohere_datasets.core.ledger import RowId, Sighting
    from airflow_provider_cohere_datasets.core.page import Steps

MAX_PAGE_SIZE = 10_000
#: How many signs of the end in a row make the end: an empty page, or a page that joins, brings nothing new and had
#: room for more. More are wanted of a server that has returned short pages with rows behind them.
_SIGNS, _SIGNS_IF_RAGGED = 2, 8
#: Pages smaller than asked for, each with something new, after which we look how far away the end is.
_CHASE = 20
#: Whole passes without anything new after which nobody is missing, even if the order is random: a row that is missed
#: by one random pass in three is missed by all of them once in 500,000 times.
_QUIET_PASSES = 12
#: Whole passes in which something new may come every time before we give up.
_BUSY_PASSES = 25
#: How many rows two windows share: one of so many, and so many at the most. More rows may vanish between two requests;
#: then we step back.
_OVERLAP, _WIDEST_OVERLAP = 10, 25
#: A list of so few pages or rows is read once more rather than reasoned about.
_FEW_PAGES, _FEW_ROWS = 10, 100
#: How often the head of a list is read while rows move there: at the most, and in a row without finding a new one.
_HEADS, _QUIET_HEADS = 8, 2
_MOVED = (
    "The list is not in the order of creation and changed while it was read again; a dataset that changed its "
    "place each time may be missing."
)


@dataclass
class ListReport:
    """How the reading of a list went.

    :param rows: rows that matched the filters and were handed on.
    :param pages: answers that were read.
    :param limited: whether reading stopped at the user's limit.
    :param requests: requests that were sent, also those whose answer was of no use; the hook fills it in.
    :param complete: whether every dataset that lived through the run was proved to be read.
    :param notes: what could not be proved or was odd, one sentence each.
    """

    rows: int = 0
    pages: int = 0
    limited: bool = False
    requests: int = 0
    complete: bool = True
    notes: list[str] = field(default_factory=list)

    def note(self, text: str) -> None:
        """Add a note, once."""
        if text not in self.notes:
            self.notes.append(text)


def list_pages(
    read: Callable[[Call, Reply], P],
    *,
    filters: ListFilters,
    policy: RequestPolicy,
    page_size: int = DEFAULT_PAGE_SIZE,
    limit: int | None = None,
    require_complete: bool = True,
) -> Steps[P, ListReport]:
    """Read the list of datasets: yields calls, pauses, and pages in which every matching row stands once.

    :param read: decodes one answer.
    :param filters: the selection; sent with every page and checked on every row.
    :param policy: tries and deadlines of each request.
    :param page_size: rows to ask for at a time; fewer for a while where the server finds a page too large.
    :param limit: rows to hand on at the most; ``None`` for all.
    :param require_complete: whether a list that cannot be proved complete is an error. If not, the report says so.
    :raises CohereListingError: if the list cannot be proved complete, the server ignores ``offset``, or the list
        changes faster than it can be read.
    """
    size = checked_count("page_size", page_size, MAX_PAGE_SIZE)
    most = None if limit is None else checked_count("limit", limit)
    if filters.empty_window:
        return ListReport(notes=["after and before are the same time, so no dataset can match and nothing was asked."])
    reading = _Reading(read, filters, policy, size if most is None else min(size, most), most)
    yield from reading.read_all()
    report = reading.report
    if not report.complete and require_complete:
        raise CohereListingError(
            f"The list of datasets could not be proved complete after {report.rows} rows. {' '.join(report.notes)}"
        )
    return report


class _Reading(Generic[P]):
    """The state of one reading of the list."""

    def __init__(
        self,
        read: Callable[[Call, Reply], P],
        filters: ListFilters,
        policy: RequestPolicy,
        size: int,
        limit: int | None,
    ) -> None:
        self.filters = filters
        self.limit = limit
        self.report = ListReport()
        self.ledger = Ledger()
        self.pages = PageRequests(read, filters, policy, size, limit, self.report, self.ledger)
        self.stretch = 1  # how much wider than usual windows overlap, because rows vanish quickly
        self.loose: set[RowId] = set()  # ids of pages that shared nothing with what was read
        self.short = False  # whether the last page that joined was shorter than the widest
        self.steady = True  # whether rows keep their order
        self.unpaged = False  # whether the server does not page, so that its one answer is the whole list
        self.chase = 0  # pages in a row that were smaller than asked for and yet brought something new
        self.finish: int | None = None  # how many rows to read before the rest must have come in meanwhile
        self.rising = self.falling = True  # whether creation times are monotone
        self.last_created: int | None = None

    def read_all(self) -> Steps[P, None]:
        length = yield from self._walk()
        if self.report.limited or self.unpaged:
            return
        few = length <= max(_FEW_PAGES * self.pages.widest, _FEW_ROWS)
        # More positions than rows, or rows that were met but not read: they came and went meanwhile, or we missed some.
        missed = few and (length > len(self.ledger) or not all(map(self.ledger.knows, self.loose)))
        if self.steady and (missed or not (self.rising or self.falling)):
            # In an order by anything else than time, as by status, rows may move from what we have not read to what we
            # have. So the list is read again; a short one twice, which also shows whether its order holds still.
            yield from self._reread(Ledger() if few else None)
        elif self.steady and self.falling and (not few or length < len(self.ledger)):
            yield from self._read_head()
        if self.pages.narrow and len(self.ledger) > 1:
            self.steady = False  # Pages of one row share none, so they cannot show that the order holds still.
        if not self.steady and not self.report.limited:
            yield from self._exhaust()

    def _hand_on(self, page: P, seen: Sighting | None = None) -> Steps[P, bool]:
        """Hand on the rows of a page that are new and match; return whether there were new ones that have an id.

        :param seen: what the ledger says of the page, if it was asked already.
        """
        seen = seen or self.ledger.look(page.ids)
        self.steady = self.steady and seen.in_order
        positions = self.ledger.add(page.ids, seen)
        if len(positions) < len(seen.fresh):
            self.report.note("Rows without an id were left out.")
        if not positions:
            return False
        created = page.created
        self._watch_time([created[position] for position in positions])
        fresh = page if len(positions) == len(page.ids) else page.take(positions)
        chosen = self.filters.select(fresh)
        if chosen is not None:
            fresh = fresh.take(chosen)
        if self.limit is not None and self.report.rows + len(fresh.ids) >= self.limit:
            fresh = fresh.take(range(self.limit - self.report.rows))
            self.report.limited = True
        self.report.rows += len(fresh.ids)
        if fresh.ids:
            yield fresh
        return True

    def _watch_time(self, created: Sequence[int | None]) -> None:
        """Note whether creation times still rise or fall; equal ones tell no order."""
        times = [time for time in (self.last_created, *created) if time is not None]
        self.rising = self.rising and all(map(lt, times, times[1:]))
        self.falling = self.falling and all(map(gt, times, times[1:]))
        self.last_created = times[-1] if times else None

    def _walk(self) -> Steps[P, int]:
        """Walk from window to window to the end; return the length of the list as it was then."""
        edge = back = 0  # where the rows read so far end, and how far in front of that the next window begins
        empty_at: int | None = None  # the offset of the last answer, if that was empty
        pending: tuple[int, P] | None = None  # the last page, if that shared nothing with what was read
        last: tuple[int, Sequence[RowId]] = (0, ())  # offset and ids of the last page that joined
        offset_checked = False
        signs = 0  # signs of the end since something new came
        while True:
            offset = max(0, edge - back)
            page = yield from self.pages.ask(offset, overlap=self._overlap(self.pages.widest))
            count = len(page.ids)
            end = offset + count
            if count == 0:
                signs += empty_at is None  # Stepping back through emptiness shows nothing more.
                # One answer may be false; in front of the first row there is nothing else to ask for than that again.
                if offset == empty_at == 0 or signs >= self._needed():
                    return offset
                edge, back = offset, max(1, 2 * back, self._overlap(self.pages.widest))
                empty_at, pending = offset, None
                continue
            seen = self.ledger.look(page.ids)
            if offset > 0 and not seen.known:
                pending, empty_at, signs = (offset, page), None, 0
                self.loose.update(page.ids)
                self.pages.ragged = (
                    self.pages.ragged or self.short
                )  # Rows do follow that short page, or vanished before it.
                self.stretch = min(2 * self.stretch, 8) if back else self.stretch
                back = max(1, 2 * back)
                continue
            fresh = yield from self._hand_on(page, seen)
            if self.report.limited or not self.steady:
                return end
            self.pages.ragged |= fresh and self.short
            self.short = count < self.pages.widest
            if fresh:
                edge, back, signs = end, self._overlap(count), 0
                if (yield from self._chased(end, count)):
                    return end
            elif pending is not None and pending[0] == end:
                # The page in front of it joins and ends where it begins, so it joins too.
                yield from self._hand_on(pending[1])
                edge, back, signs = end + len(pending[1].ids), 0, 0
            else:
                if page.ids == last[1] and offset != last[0] and not offset_checked:
                    offset_checked = True
                    self.unpaged = yield from self._offset_is_ignored(page)
                    if self.unpaged:
                        return count
                    self.pages.ragged = True  # A row stands there twice, or the list grows as we go: look more often.
                at_the_edge = self.ledger.is_last(page.ids[-1])
                # The server had room for more and did not show any.
                signs += self.short and (at_the_edge or not self.pages.ragged)
                if signs >= self._needed():
                    return end
                # Look behind a page that may be the last; from any other go on with an overlap.
                edge, back = end, 0 if self.short or at_the_edge else self._overlap(count)
            empty_at = pending = None
            last = offset, page.ids

    def _chased(self, edge: int, count: int) -> Steps[P, bool]:
        """Return whether to stop because rows come in behind us as fast as we read.

        After many pages smaller than asked for, look far ahead. If nothing is there, all that is left to read now lies
        in between; once more rows than that were read, the rest came in later.
        """
        self.chase = self.chase + 1 if count < self.pages.size.rows else 0
        if self.finish is None and self.chase >= _CHASE:
            self.chase = 0
            far = edge + 2 * count
            if not (yield from self.pages.ask(far)).ids and not (yield from self.pages.ask(far)).ids:
                self.finish = len(self.ledger) + 2 * count
        if self.finish is None or len(self.ledger) <= self.finish:
            return False
        if not self.rising:
            self.report.complete = False
            self.report.note("The list grew as fast as it was read, and not only at its end.")
        return True

    def _needed(self) -> int:
        return _SIGNS_IF_RAGGED if self.pages.ragged else _SIGNS

    def _overlap(self, count: int) -> int:
        """Return how many rows of a page of ``count`` the next window shows again; always leaves room for progress."""
        usual = min(max(1, count // _OVERLAP), _WIDEST_OVERLAP)
        return min(self.stretch * usual, max(count // 2, 1), count - 1) if count else 1

    def _offset_is_ignored(self, page: P) -> Steps[P, bool]:
        """Find out why two offsets gave the same page.

        :returns: whether the server does not page at all, so that this page is the whole list.
        :raises CohereListingError: if it pages by ``limit`` but not by ``offset``.
        """
        far = yield from self.pages.ask(2 * len(self.ledger) + 1000)
        if far.ids != page.ids:
            return False  # Rows came in at the head just as fast as we advanced.
        # Asked for another number of rows, a server that heeds limit answers with that many.
        single = len(page.ids) == 1
        other = yield from self.pages.ask(0, size=DEFAULT_PAGE_SIZE if single else 1)
        if (len(other.ids) == 1) == single:
            self.report.note("The server ignores limit and offset; its one answer was taken as the whole list.")
            return True
        raise CohereListingError(
            f"The server ignores offset: it repeats its first page of {len(page.ids)} datasets, so what comes "
            "behind that page cannot be read."
        )

    def _read_head(self) -> Steps[P, None]:
        """Read what came in at the head meanwhile: where new rows come in front, so may those that move, behind us."""
        quiet = 0
        self.ledger.ended = True
        for _ in range(_HEADS):
            offset, fresh, more = 0, False, True
            while more and not self.report.limited:
                page = yield from self.pages.ask(offset)
                seen = self.ledger.look(page.ids)
                new = yield from self._hand_on(page, seen)
                fresh = fresh or new
                # Until most of a page is what was read before, in that order; it may also repeat what just came in.
                more = new or not seen.in_order or 2 * seen.ranked < len(page.ids)
                offset += len(page.ids)
            # What moved to the head was read elsewhere before; the order of all behind it holds still.
            moved, self.steady = not self.steady, True
            quiet = 0 if fresh else quiet + 1
            if not moved or quiet == _QUIET_HEADS:
                return
        self.report.note(_MOVED)

    def _reread(self, order: Ledger | None) -> Steps[P, None]:
        """Read the whole list again; with an ``order``, twice, and watch whether that holds still."""
        changed = False
        for _ in range(1 if order is None else 2):
            offset, known, last = 0, self.pages.longest, False
            while not last:
                page = yield from self.pages.ask(offset, overlap=0)
                offset += len(page.ids)
                # A list that grows with every request never shows an empty page; behind what is known, a page that
                # had room for more is the end too.
                last = not page.ids or (len(page.ids) < self.pages.widest and offset >= known)
                changed |= yield from self._hand_on(page)
                if order is not None:
                    seen = order.look(page.ids)
                    self.steady = self.steady and seen.in_order
                    order.add(page.ids, seen)
                if self.report.limited or not self.steady:
                    return
        if changed and order is None:
            self.report.note(_MOVED)

    def _exhaust(self) -> Steps[P, None]:
        """Make whole passes until nothing new comes."""
        passes = quiet = 0
        first_length = last_length = 0
        while True:
            passes += 1
            ids: set[RowId] = set()
            length = news = beyond = self.pages.effort = 0
            known = self.pages.longest
            while True:
                page = yield from self.pages.ask(length, overlap=0)
                if not page.ids:
                    break
                length += len(page.ids)
                beyond += length > known and len(page.ids) < self.pages.widest
                ids.update(page.ids)
                news += yield from self._hand_on(page)
                if self.report.limited:
                    return
                if beyond >= _CHASE:
                    # A list that grows with every request never shows an empty page; one of ragged pages does go on.
                    beyond, far = 0, length + 2 * self.pages.widest
                    if not (yield from self.pages.ask(far)).ids and not (yield from self.pages.ask(far)).ids:
                        break
            quiet = 0 if news else quiet + 1
            # As many different rows as positions, twice, and none of them new: nobody can be missing.
            if quiet and ((length == len(ids) and length == last_length) or quiet >= _QUIET_PASSES):
                return
            first_length, last_length = first_length or length, length
            if not quiet and (passes >= _BUSY_PASSES or length > 3 * first_length):
                break
        self.report.complete = False
        self.report.note(
            f"The order of the list changed from page to page, and {passes} readings of the whole list still brought "
            "new rows."
        )
