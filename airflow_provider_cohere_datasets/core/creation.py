"""Creates a dataset, and finds it again where nobody can tell whether that worked.

The API has no idempotency key, and names may repeat. So an upload whose fate is unknown is looked for in the list: a
dataset of the same name and type that was created after the upload began is this one, unless several fit.
"""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING

from airflow_provider_cohere_datasets.core import calls
from airflow_provider_cohere_datasets.core.calls import Pause
from airflow_provider_cohere_datasets.core.errors import (
    CohereDatasetsError,
    CohereUploadAmbiguousError,
    CohereUploadUnknownError,
)
from airflow_provider_cohere_datasets.core.filters import ListFilters
from airflow_provider_cohere_datasets.core.paging import list_pages
from airflow_provider_cohere_datasets.core.retries import exchange, http_date

if TYPE_CHECKING:
    from airflow_provider_cohere_datasets.core.account import RequestPolicy
    from airflow_provider_cohere_datasets.core.calls import Call, Flow, Outcome, Reply, Upload
    from airflow_provider_cohere_datasets.core.dataset_page import DatasetPage
    from airflow_provider_cohere_datasets.core.models import Dataset
    from airflow_provider_cohere_datasets.core.new_dataset import NewDataset

#: Seconds before each look for the dataset: a server that lost us may still be at work.
_LOOKS = (0.0, 2.0, 5.0)
#: Clocks that differ by more than this are beyond us; the list is not read further back.
_FURTHEST = timedelta(days=1)
#: Seconds by which a creation time may seem to lie before the upload: not all clocks show the same ...
_SLACK = 1.0
#: ... and where a server sends no ``Date``, or another worker told the time, they may differ by more.
_SLACK_OF_CLOCKS = 60.0
_MAX_NAMED = 5


@dataclass(frozen=True, slots=True)
class Creation:
    """A dataset that is to be created.

    :param new: what it shall be.
    :param uploads: its files, checked.
    """

    new: NewDataset
    uploads: tuple[Upload, ...]

    @property
    def call(self) -> Call:
        """The call that uploads it."""
        return calls.create_dataset(self.new.query(), self.uploads)

    @property
    def size(self) -> int:
        """The bytes of all files."""
        return sum(upload.size for upload in self.uploads)

    @property
    def fingerprint(self) -> str:
        """What tells the same data with the same arguments again in another process."""
        facts = (self.new.query(), [(upload.field, upload.fingerprint, upload.size) for upload in self.uploads])
        return hashlib.sha256(repr(facts).encode()).hexdigest()[:32]


@dataclass(frozen=True, slots=True)
class Attempt:
    """What tells the dataset that an upload made from others of its name.

    :param since: seconds since 1970 when the upload began.
    :param others: ids that are known to be other uploads.
    :param shared_name: whether others may upload under the same name at the same time, so that a name proves nothing.
    :param elsewhere: whether another process told the time, whose clock may differ from ours.
    """

    since: float
    others: frozenset[str] = frozenset()
    shared_name: bool = False
    elsewhere: bool = False


def create(creation: Creation, policy: RequestPolicy, attempt: Attempt) -> Flow[str]:
    """Upload once and return the dataset's id, also if the answer was lost.

    :param creation: the dataset.
    :param policy: tries and deadlines.
    :param attempt: what tells it from others.
    :raises CohereUploadUnknownError: if nobody can tell whether the dataset was created.
    """
    try:
        return (yield from exchange(creation.call, calls.read_created, policy))
    except CohereUploadUnknownError as unknown:
        try:
            found = yield from find(creation, policy, attempt)
        except CohereUploadAmbiguousError as error:
            raise error from unknown
        except CohereDatasetsError:
            raise unknown from unknown.__cause__
        if found is None:
            raise
        return found


def find(creation: Creation, policy: RequestPolicy, attempt: Attempt) -> Flow[str | None]:
    """Look for a dataset that an earlier upload may have created; ``None`` if there is none after 7 seconds.

    :param creation: what was to be created.
    :param policy: tries and deadlines of each request.
    :param attempt: what tells it from others.
    :raises CohereUploadAmbiguousError: if several datasets fit, or one whose name proves nothing.
    """
    for pause in _LOOKS:
        if pause:
            yield Pause(pause)
        found, doubtful = yield from _candidates(creation.new, policy, attempt)
        if len(found) > 1:
            # Before validation and for some types, this is the size of the file.
            found = [dataset for dataset in found if dataset.size_bytes == creation.size] or found
        if len(found) == 1 and not (attempt.shared_name or doubtful):
            return found[0].id
        if found:
            ids = ", ".join(repr(dataset.id) for dataset in found[:_MAX_NAMED])
            raise CohereUploadAmbiguousError(
                f"Nobody can tell whether the upload of {creation.new.name!r} became one of the datasets {ids} of the "
                "same name: delete what is not needed and clear the task; names that do not repeat avoid this."
            )
    return None


def _candidates(new: NewDataset, policy: RequestPolicy, attempt: Attempt) -> Flow[tuple[list[Dataset], bool]]:
    """Return the datasets of the name and type that were created since then, by the server's clock.

    And whether that is in doubt: they are older, unless the process that began had another clock than ours.
    """
    from airflow_provider_cohere_datasets.core.dataset_page import read_page

    ahead: list[float] = []  # how far the server's clock is ahead of ours, in seconds

    def read(call: Call, reply: Reply) -> DatasetPage:
        date = http_date(reply.headers.get("date"))
        if date is not None:
            ahead.append(date.timestamp() - reply.received_at)
        return read_page(call, reply)

    begun = datetime.fromtimestamp(attempt.since, UTC)
    filters = ListFilters.of(after=begun - _FURTHEST)
    steps = list_pages(read, filters=filters, policy=policy, require_complete=False)
    found: list[Dataset] = []
    outcome: Outcome = None
    while True:
        try:
            step = steps.send(outcome)
        except StopIteration:
            break
        outcome = None
        if isinstance(step, calls.Call | Pause):
            outcome = yield step
        else:
            found += [row for row in step.datasets if row.name == new.name and row.id not in attempt.others]
    # ``Date`` has whole seconds and comes late, so the latest that it may be is nearest to the truth.
    early = max(ahead) - _SLACK if ahead else -_SLACK_OF_CLOCKS
    earliest = begun + timedelta(seconds=min(early, -_SLACK_OF_CLOCKS) if attempt.elsewhere else early)
    # What the server leaves out rules no dataset out: that would upload it again.
    fit = [
        dataset
        for dataset in found
        if dataset.dataset_type in {None, new.dataset_type}
        and (dataset.created_at is None or dataset.created_at >= earliest)
    ]
    surely = max(earliest, begun + timedelta(seconds=early - _SLACK_OF_CLOCKS))
    sure = [dataset for dataset in fit if dataset.created_at is None or dataset.created_at >= surely]
    return sure or fit, bool(fit) and not sure
