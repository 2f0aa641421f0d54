"""One look at datasets that somebody waits for: what it showed, and how to make it with few requests."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cache
from typing import TYPE_CHECKING, Any, TypeAlias

from airflow_provider_cohere_datasets.core import calls
from airflow_provider_cohere_datasets.core.calls import Pause, read_object, read_result, unexpected
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
from airflow_provider_cohere_datasets.core.paging import list_pages
from airflow_provider_cohere_datasets.core.retries import exchange
from airflow_provider_cohere_datasets.core.untrusted import printable, storable, total
from airflow_provider_cohere_datasets.core.urls import without_queries

if TYPE_CHECKING:
    from collections.abc import Collection, Iterable, Mapping, Sequence

    from pydantic_core import CoreSchema, SchemaValidator

    from airflow_provider_cohere_datasets.core.account import RequestPolicy
    from airflow_provider_cohere_datasets.core.calls import Call, Flow, Reply

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
#: What of a dataset's fields waiting needs, besides its parts.
_NEEDED = ("id", "name", "dataset_type", "validation_status", "validation_error", "validation_warnings")
_MAX_TEXT = 500
_MAX_WARNINGS = 5


@dataclass(frozen=True, slots=True)
class Observation:
    """What one look at a dataset showed; small enough for XCom, without samples and URLs.

    :param id: the dataset.
    :param status: its validation status, ``None`` if it does not exist.
    :param num_rows: rows in all its parts.
    :param size_bytes: bytes in all its parts.
    :param warnings: the number of validation warnings.
    :param reason: why the validation failed, cut.
    :param name: its name.
    :param dataset_type: its type.
    """

    id: str
    status: str | None
    num_rows: int = 0
    size_bytes: int = 0
    warnings: int = 0
    reason: str | None = None
    name: str | None = None
    dataset_type: str | None = None

    @classmethod
    def of(cls, dataset: Mapping[str, Any]) -> Observation:
        """Take what waiting needs from a dataset as it came, without believing more than that.

        The models would do as well but take several times longer, and the event loop of a triggerer is shared.
        """
        status = printable(str(dataset.get("validation_status") or "unknown")[:_MAX_TEXT])
        warnings = [w for w in _list(dataset.get("validation_warnings")) if isinstance(w, str)]
        parts = [part for part in _list(dataset.get("dataset_parts")) if isinstance(part, dict)]
        reason = None
        if status == "failed":
            error = dataset.get("validation_error")
            reason = error.strip() if isinstance(error, str) and error.strip() else "no reason given"
            if warnings:
                reason = f"{reason} (warnings: {'; '.join(w[:_MAX_TEXT] for w in warnings[:_MAX_WARNINGS])})"
            reason = printable(without_queries(reason))
            if len(reason) > _MAX_TEXT:
                reason = f"{reason[:_MAX_TEXT]}…"
        return cls(
            storable(str(dataset["id"])),
            status,
            total(_whole(part.get("num_rows")) for part in parts),
            total(_whole(part.get("size_bytes")) for part in parts),
            len(warnings),
            reason,
            _text(dataset.get("name")),
            _text(dataset.get("dataset_type")),
        )


def _list(value: object) -> list[Any]:
    return value if isinstance(value, list) else []


def _text(value: object) -> str | None:
    return storable(value[:_MAX_TEXT]) if isinstance(value, str) else None


def _whole(value: object) -> int:
    try:
        return int(value)  # type: ignore[call-overload, no-any-return]
    except (TypeError, ValueError, OverflowError):
        return 0


@dataclass(frozen=True, slots=True)
class _RawPage:
    """A page of the list as it came; what the pager asks of a page (see :class:`~.paging.Page`)."""

    rows: Sequence[Any]
    ids: Sequence[str | None]

    @classmethod
    def of(cls, rows: Sequence[Any]) -> _RawPage:
        """Take the rows; the ids are read once, because the pager asks for them many times."""
        ids = [row.get("id") if isinstance(row, dict) else None for row in rows]
        return cls(rows, [row_id if isinstance(row_id, str) else None for row_id in ids])

    @property
    def created(self) -> Sequence[int | None]:
        return [None] * len(self.rows)

    def texts(self, name: str) -> Sequence[str | None]:
        return [row.get(name) if isinstance(row, dict) else None for row in self.rows]

    def take(self, positions: Sequence[int]) -> _RawPage:
        return _RawPage([self.rows[p] for p in positions], [self.ids[p] for p in positions])


@cache
def _page_decoder() -> SchemaValidator:
    """Return a decoder of pages that leaves out at once what waiting does not need.

    Samples, schemas and URLs are nine tenths of a page. To make Python objects of them takes time, and they are so many
    that Python would look for garbage in the triggerer's whole memory every few looks.
    """
    from pydantic_core import SchemaValidator, core_schema

    def fields(names: Iterable[str], **others: CoreSchema) -> CoreSchema:
        kinds = {**{name: core_schema.any_schema() for name in names}, **others}
        known = {name: core_schema.typed_dict_field(kind, required=False) for name, kind in kinds.items()}
        return core_schema.typed_dict_schema(known, extra_behavior="ignore")

    parts = core_schema.list_schema(fields(("num_rows", "size_bytes")), strict=True)
    row = fields(_NEEDED, dataset_parts=core_schema.nullable_schema(parts))
    page = {"datasets": core_schema.typed_dict_field(core_schema.list_schema(row, strict=True))}
    return SchemaValidator(core_schema.typed_dict_schema(page, extra_behavior="ignore"))


def _read_raw_page(call: Call, reply: Reply) -> _RawPage:
    try:
        return _RawPage.of(_page_decoder().validate_json(reply.body)["datasets"])
    except ValueError:
        pass  # It is not quite as usual: read it as anything, and say what is wrong with it.
    rows = read_result(call, reply, "datasets")
    if rows is not None and not isinstance(rows, list):
        raise unexpected(call, reply, "something else than a list of datasets")
    return _RawPage.of(rows or ())


def _read_observation(call: Call, reply: Reply) -> Observation:
    dataset = read_object(call, reply).get("dataset")
    if not isinstance(dataset, dict) or not isinstance(dataset.get("id"), str):
        raise unexpected(call, reply, "no dataset in it")
    if dataset["id"] != call.dataset_id:
        raise unexpected(call, reply, f"another dataset, {dataset['id'][:60]!r}")
    return Observation.of(dataset)


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

    def look(self, ids: Collection[str], policy: RequestPolicy) -> Flow[dict[str, Looked]]:
        """Look once at all of them.

        A dataset that is said not to exist is asked for again after 1 and after 2 more seconds. An error that one
        dataset meets is the result for this one, so that others who look at the same time do not suffer. Where only the
        list is refused, it is not asked for again. Where no answer comes any more, or the server's limit is reached,
        what was seen until then is the result.

        :param ids: the datasets.
        :param policy: tries and deadlines of each request.
        :returns: an observation or an error for each id that was asked for and has an answer that can be relied on.
        :raises CohereDatasetsError: if the server does not answer for any of them, or refuses all.
        """
        seen: dict[str, Looked] = {}
        if len(ids) > max(_FEW, self._list_cost):
            seen |= yield from self._through_the_list(set(ids), policy)
        # Suspects come last, and the one that failed last behind them all: nobody stands in front of others for ever.
        missing = sorted((i for i in ids if i not in seen), key=self._turn)
        failed = False
        for pause in (0.0, *_GRACE):
            if missing and pause:
                yield Pause(pause)
            for position, dataset_id in enumerate(missing):
                try:
                    call = calls.get_dataset(dataset_id)
                    # Behind one that failed, and for one that failed in the last look, one try must do, so that nobody
                    # waits for long.
                    once = _answered(seen) and (failed or dataset_id in self._suspects)
                    seen[dataset_id] = yield from exchange(call, _read_observation, policy, tries=1 if once else None)
                    self._suspects = [each for each in self._suspects if each != dataset_id]
                except CohereDatasetNotFoundError:
                    seen[dataset_id] = Observation(dataset_id, None)
                except CohereInvalidRequestError as error:
                    seen[dataset_id] = error
                except CoherePermissionError as error:
                    seen[dataset_id] = error
                    # One may be somebody else's. If so many are refused and nothing else came, or all, it is the key.
                    if not _answered(seen) and (len(seen) >= _REFUSED_KEY or dataset_id == missing[-1]):
                        raise
                except (
                    CohereRateLimitError,
                    CohereServerError,
                    CohereTransportError,
                    CohereUnexpectedAnswerError,
                ) as error:
                    failed = True
                    self._suspects = [*(each for each in self._suspects if each != dataset_id), dataset_id]
                    if not _answered(seen):
                        raise
                    seen[dataset_id] = error
                    if isinstance(error, (CohereRateLimitError, CohereTransportError)):
                        # The others may take as long to fail. The next look asks for them first, and again for what
                        # may only be unknown yet.
                        for other in missing[position + 1 :]:
                            seen.pop(other, None)
                        break
            missing = [i for i in missing if i in seen and _is_missing(seen[i])]
        return seen

    def _turn(self, dataset_id: str) -> int:
        return self._suspects.index(dataset_id) if dataset_id in self._suspects else -1

    def _through_the_list(self, wanted: set[str], policy: RequestPolicy) -> Flow[dict[str, Observation]]:
        """Read the list until all that is wanted was found."""
        seen: dict[str, Observation] = {}
        steps = list_pages(
            _read_raw_page, filters=ListFilters(), policy=policy, page_size=_PAGE, require_complete=False
        )
        self._list_cost = 0
        answer = None
        try:
            while len(seen) < len(wanted):
                step = steps.send(answer)
                answer = None
                if isinstance(step, _RawPage):
                    for row, row_id in zip(step.rows, step.ids, strict=True):
                        if row_id in wanted:
                            seen[row_id] = Observation.of(row)
                else:
                    self._list_cost += isinstance(step, calls.Call)
                    answer = yield step
        except (StopIteration, CohereListingError, CohereServerError, CohereUnexpectedAnswerError):
            pass  # Whatever the list did not show is asked for by its id.
        except (CohereInvalidRequestError, CohereDatasetNotFoundError, CoherePermissionError):
            self._list_cost = _REFUSED  # That says nothing about the datasets themselves.
        finally:
            steps.close()
        return seen


def _is_missing(looked: Looked) -> bool:
    return isinstance(looked, Observation) and looked.status is None


def _answered(seen: Mapping[str, Looked]) -> bool:
    """Return whether anything came but refusals."""
    return any(not isinstance(each, CoherePermissionError) for each in seen.values())


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
    steps = list_pages(_read_raw_page, filters=filters, policy=policy, page_size=_PAGE, require_complete=False)
    rows: list[Observation] = []
    answer = None
    while True:
        try:
            step = steps.send(answer)
        except StopIteration as stop:
            return Listed(rows, stop.value.complete)
        answer = None
        if isinstance(step, _RawPage):
            rows += [Observation.of(row) for row in step.rows]
        else:
            answer = yield step
