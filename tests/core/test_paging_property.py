"""A server with random size, cap, order, inserts and deletes: every dataset that stays is read once, or it is reported.

``HYPOTHESIS_PROFILE=thorough`` tries 25 times as many servers.
"""

from __future__ import annotations

import os
import random
from collections.abc import Iterator
from dataclasses import dataclass, replace
from typing import Any

import pytest
from hypothesis import HealthCheck, event, given, note, settings
from hypothesis import strategies as st

from airflow_provider_cohere_datasets.core import page_requests
from airflow_provider_cohere_datasets.core.errors import CohereListingError
from tests.adversary import Churn, Listing, make_datasets
from tests.core.paging_tools import Lister, running_lister

THOROUGH = os.environ.get("HYPOTHESIS_PROFILE") == "thorough"
#: No reading of so few rows may make more requests, or it counts as endless.
MOST_REQUESTS = 800

lister = pytest.fixture(scope="module")(running_lister)


@pytest.fixture(scope="module", autouse=True)
def bounded() -> Iterator[None]:
    """Make an endless loop an error soon."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(page_requests, "MAX_REQUESTS", MOST_REQUESTS)
        yield


@dataclass(frozen=True)
class Case:
    """One server and one reader.

    :param listing: arguments of ``Listing``
    :param churn: inserts and deletes after every page, and where
    """

    size: int
    ties: int
    page_size: int
    listing: dict[str, Any]
    churn: tuple[int, int, str] | None
    seed: int

    @property
    def page(self) -> int:
        """Rows of the widest page that the reader can get."""
        asked = self.page_size
        while asked > (self.listing["reject_limit_above"] or asked):
            asked //= 2
        return min(asked, self.listing["cap"] or asked)

    @property
    def deterministic(self) -> bool:
        """Whether the list holds still, in one order, with every id once."""
        unstable = self.listing["unstable_ties"] and self.ties > 1
        ordered = self.listing["order"] != "random-each-request" and not unstable
        return ordered and self.churn is None and not self.listing["repeat_ids"]

    def server(self) -> Listing:
        """Make the behaviour of the server."""
        between = None if self.churn is None else Churn(random.Random(self.seed), *self.churn)  # type: ignore[arg-type]
        return Listing(**self.listing, between=between, seed=self.seed)


@st.composite
def cases(draw: st.DrawFn) -> Case:
    """Draw a server and a reader; a server adds fewer rows between two pages than a quarter of a page."""
    listing = {
        "cap": draw(st.none() | st.integers(1, 100)),
        "reject_limit_above": draw(st.none() | st.none() | st.integers(1, 60)),
        "reject_with": draw(st.sampled_from(["422", "413", "429"])),
        "empty_as": draw(st.sampled_from(["list", "null", "missing"])),
        "short_pages": draw(st.sampled_from([0.0, 0.0, 0.2, 0.6])),
        "order": draw(
            st.sampled_from(["newest", "oldest", "name", "id", "status", "shuffled-once", "random-each-request"])
        ),
        "unstable_ties": draw(st.sampled_from([False, False, False, True])),
        "repeat_ids": draw(st.sampled_from([0.0, 0.0, 0.05, 0.3])),
    }
    case = Case(
        size=0,
        ties=draw(st.sampled_from([1, 1, 2, 10, 200])),
        page_size=draw(st.sampled_from([1, 2, 3, 7, 20, 50, 100, 100, 1000])),
        listing=listing,
        churn=None,
        seed=draw(st.integers(0, 10_000)),
    )
    case = replace(case, size=draw(st.integers(0, min(120, 40 * case.page))))
    if not draw(st.booleans()):
        return case
    inserts = draw(st.integers(0, min(10, (case.page - 1) // 4)))
    churn = inserts, draw(st.integers(0, 12)), draw(st.sampled_from(["any", "head", "read"]))
    return replace(case, churn=churn)


@settings(
    max_examples=1500 if THOROUGH else 60,
    deadline=None,
    derandomize=not THOROUGH,
    database=None,
    print_blob=True,
    suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow, HealthCheck.data_too_large],
)
@given(case=cases())
def test_every_survivor_once_or_a_report(lister: Lister, case: Case) -> None:
    rows = make_datasets(case.size, ties=case.ties)
    error: CohereListingError | None = None
    try:
        lister.read(rows, case.server(), page_size=case.page_size)
    except CohereListingError as raised:
        error = raised
    ids, model, requests = lister.reading.ids, lister.server.model, lister.requests
    note(f"{requests} requests, {len(ids)} rows: {error or lister.reading.report}")
    event(f"{'still' if case.churn is None else 'changing'}: {'error' if error else 'all read'}")
    assert len(ids) == len(set(ids)), "a dataset was handed on twice"
    assert set(ids) <= model.ever(), "a dataset was made up"
    assert requests <= MOST_REQUESTS
    if error is None:
        assert not model.survivors() - set(ids), "a dataset was lost in silence"
    if case.deterministic:
        assert error is None, "a list that holds still was not read"
        assert lister.reading.report.complete
        assert not lister.reading.report.notes
        # Halving, then at the worst: pages of half the width and half of that new, three readings, and the signs.
        assert requests <= 10 + 10 + 12 * -(-case.size // case.page)
