"""One look at datasets that somebody waits for: what it showed, and how to make it with few requests."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, TypeAlias

from airflow_provider_cohere_datasets.core import calls
from airflow_provider_cohere_datasets.core.calls import Pause
from airflow_provider_cohere_datasets.core.errors import (
    CohereDatasetNotFoundError,
    CohereDatasetsError,
    CohereInvalidRequestError,
    CohereListingError,
    CoherePermissionError,
    CohereRateLimitError,
    CohereServerError,
    CohereTransportError,
    CohereUnexpectedAnswerError,
)
from airflow_provider_cohere_datasets.core.filters import ListFilters
from airflow_provider_cohere_datasets.core.observation import Observation, RawPage, read_observation, read_raw_page
from airflow_provider_cohere_datasets.core.paging import list_pages
from airflow_provider_cohere_datasets.core.retries import exchange

if TYPE_CHECKING:
    from collections.abc import Collection, Mapping, Sequence

    from airflow_provider_cohere_datasets.core.account import RequestPolicy
    from airflow_provider_cohere_datasets.core.calls import Flow

#: Up to so many datasets are asked for one by one; for more, the list may be cheaper.
_FEW = 4
#: Seconds between looks at a dataset that is said not to exist: right after its creation that may be too early.
_GRACE = (1.0, 2.0)
#: Rows of the list to ask for at a time; halved by the pager if that is too large for the server.
_PAGE = 500
#: What a list is taken to cost that the server refuses: more than asking for each dataset by its id.
_REFUSED = 1_000_000_000
#: Datasets that are refused, and nothing else, that show that the key is.
_REFUSED_KEY = 5

#: What a look gives for one dataset: what it showed, or the error that concerns this dataset alone.
Looked: TypeAlias = Observation | CohereDatasetsError


class Looker:
    """Looks at datasets, one by one or through the list, whichever takes fewer requests."""

    def __init__(self) -> None:
        self._list_cost = 0  # requests that the last look through the list took, or _REFUSED
        self._suspects: list[str] = []  # datasets that could not be asked for

    def memory(self) -> dict[str, Any]:
        """Return what another process must know to look with as few requests, as small JSON."""
        return {"list_cost": self._list_cost, "suspects": self._suspects}

    def recall(self, memory: object) -> None:
        """Take over what a looker in another process learnt."""
        if isinstance(memory, dict):
            cost, suspects = memory.get("list_cost"), memory.get("suspects")
            self._list_cost = cost if isinstance(cost, int) else 0
            self._suspects = suspects if isinstance(suspects, list) else []

    def look(
        self, ids: Collection[str], policy: RequestPolicy, *, patience: float = math.inf
    ) -> Flow[dict[str, Looked]]:
        """Look once at all of them.

        A dataset that is said not to exist is asked for again after 1 and after 2 more seconds. An error that one
        dataset meets is the result for this one, so that others who look at the same time do not suffer. Where only the
        list is refused, it is not asked for again. Where no answer comes any more, or the server's limit is reached,
        what was seen until then is the result.

        :param ids: the datasets.
        :param policy: tries and deadlines of each request.
        :param patience: seconds; where the server asks to wait for one dataset longer than that, it has failed.
        :returns: an observation or an error for each id that was asked for and has an answer that can be relied on.
        :raises CohereDatasetsError: if the server does not answer for any of them, or refuses all.
        """
        seen: dict[str, Looked] = {}
        if len(ids) > max(_FEW, self._list_cost):
            ended = yield from self._through_the_list(set(ids), policy, seen)
            if ended is not None:
                if not seen:
                    raise ended
                return {**dict.fromkeys(ids, ended), **seen}
        # Suspects come last, and the one that failed last behind them all: nobody stands in front of others for ever.
        missing = sorted((i for i in ids if i not in seen), key=self._turn)
        failed: CohereDatasetsError | None = None
        for pause in (0.0, *_GRACE):
            if missing and pause:
                yield Pause(pause)
            for position, dataset_id in enumerate(missing):
                try:
                    call = calls.get_dataset(dataset_id)
                    # Where patience ended with one, and nothing else came, it may be the server, which has all tries.
                    last_hope = failed is not None and patience < math.inf and not _answered(seen)
                    # Behind one that failed, and for one that failed in the last look, one try must do, so that nobody
                    # waits for long.
                    once = failed is not None or (_answered(seen) and dataset_id in self._suspects)
                    seen[dataset_id] = yield from exchange(
                        call,
                        read_observation,
                        policy,
                        tries=1 if once and not last_hope else None,
                        patience=math.inf if last_hope else patience,
                    )
                    self._suspects = [each for each in self._suspects if each != dataset_id]
                except CohereDatasetNotFoundError:
                    seen[dataset_id] = Observation(dataset_id, None)
                except CohereInvalidRequestError as error:
                    seen[dataset_id] = error
                except CoherePermissionError as error:
                    seen[dataset_id] = error
                    # One may be somebody else's. If so many are refused and nothing else came, or all, it is the key.
                    if not _answered(seen) and (len(seen) >= _REFUSED_KEY or dataset_id == missing[-1]):
                        raise failed or error from None
                except CohereDatasetsError as error:
                    if error.permanent:
                        raise
                    self._suspects = [*(each for each in self._suspects if each != dataset_id), dataset_id]
                    everybodys = isinstance(error, (CohereRateLimitError, CohereTransportError))
                    # One may be ill by itself. If it is not the only one, and nothing else came, it is the server.
                    if not _answered(seen) and (everybodys or seen or dataset_id == missing[-1]):
                        raise
                    seen[dataset_id] = failed = error
                    if everybodys:
                        # The others may take as long to fail. The next look asks for them first, and again for what
                        # may only be unknown yet.
                        for other in missing[position + 1 :]:
                            seen.pop(other, None)
                        break
            missing = [i for i in missing if i in seen and _is_missing(seen[i])]
        return seen

    def _turn(self, dataset_id: str) -> int:
        return self._suspects.index(dataset_id) if dataset_id in self._suspects else -1

    def _through_the_list(
        self, wanted: set[str], policy: RequestPolicy, seen: dict[str, Looked]
    ) -> Flow[CohereDatasetsError | None]:
        """Note what the list shows until all that is wanted was found; return the error behind which no more comes."""
        steps = list_pages(read_raw_page, filters=ListFilters(), policy=policy, page_size=_PAGE, require_complete=False)
        self._list_cost = 0
        answer = None
        try:
            while len(seen) < len(wanted):
                step = steps.send(answer)
                answer = None
                if isinstance(step, RawPage):
                    for row, row_id in zip(step.rows, step.ids, strict=True):
                        if row_id in wanted:
                            seen[row_id] = Observation.of(row)
                else:
                    self._list_cost += isinstance(step, calls.Call)
                    answer = yield step
        except (StopIteration, CohereListingError, CohereServerError, CohereUnexpectedAnswerError):
            pass  # Whatever the list did not show is asked for by its id.
        except (CohereRateLimitError, CohereTransportError) as error:
            return error
        except (CohereInvalidRequestError, CohereDatasetNotFoundError, CoherePermissionError):
            self._list_cost = _REFUSED  # That says nothing about the datasets themselves.
        finally:
            steps.close()
        return None


def _is_missing(looked: Looked) -> bool:
    return isinstance(looked, Observation) and looked.status is None


def _answered(seen: Mapping[str, Looked]) -> bool:
    """Return whether anything came but refusals and failures."""
    return any(isinstance(each, (Observation, CohereInvalidRequestError)) for each in seen.values())


@dataclass(frozen=True, slots=True)
class Listed:
    """What a look at all datasets showed.

    :param rows: the datasets.
    :param complete: whether these are proved to be all.
    """

    rows: Sequence[Observation]
    complete: bool


def list_observations(dataset_type: str | None, policy: RequestPolicy) -> Flow[Listed]:
    """Look once at all datasets of a type.

    :param dataset_type: the type, ``None`` for every type.
    :param policy: tries and deadlines of each request.
    """
    filters = ListFilters.of(dataset_type=dataset_type)
    steps = list_pages(read_raw_page, filters=filters, policy=policy, page_size=_PAGE, require_complete=False)
    rows: list[Observation] = []
    answer = None
    while True:
        try:
            step = steps.send(answer)
        except StopIteration as stop:
            return Listed(rows, stop.value.complete)
        answer = None
        if isinstance(step, RawPage):
            rows += [Observation.of(row) for row in step.rows]
        else:
            answer = yield step
