"""Which datasets are looked at: one, several, or those that a filter finds."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any, NamedTuple

from airflow_provider_cohere_datasets.core.errors import CohereInputError
from airflow_provider_cohere_datasets.core.filters import ListFilters

if TYPE_CHECKING:
    from collections.abc import Collection
    from typing import Protocol, TypeAlias

    class Later(Protocol):
        """What a task will return, as Airflow's ``XComArg``."""

        def resolve(self, context: Any) -> Any:
            """Return what it returned."""

    #: A dataset: its id, what another task returned of it, or what one will return.
    DatasetRef: TypeAlias = str | Mapping[str, Any] | Later
    #: Several of them; a text is a template that becomes their list.
    DatasetRefs: TypeAlias = Sequence[DatasetRef] | str | Later

#: More datasets than this are not selected at once, because their ids would not belong into XCom.
MAX_SELECTED = 1000
#: Names of the arguments that make a filter.
FILTERS = ListFilters._fields

_CONTROL = r"[\x00-\x1f\x7f-\x9f\ud800-\udfff]"


class Selection(NamedTuple):
    """A selection. Build it with :meth:`of`, which takes what users write.

    :param dataset_id: the one.
    :param dataset_ids: the several, each once; there may be none.
    :param filters: the filter.
    """

    dataset_id: str | None = None
    dataset_ids: tuple[str, ...] | None = None
    filters: ListFilters | None = None

    @classmethod
    def of(cls, values: Mapping[str, Any], unknown: Collection[str] = ()) -> Selection:
        """Check and normalise a selection, which must be made in exactly one way.

        :param values: ``dataset_id``, ``dataset_ids`` and :data:`FILTERS`; ``None`` and an empty text mean "not set".
        :param unknown: names of arguments whose values are not known yet, and may turn out not to be set.
        :raises CohereInputError: with one sentence that names the argument.
        """
        dataset_id = None if is_unset(values.get("dataset_id")) else checked_id(values["dataset_id"])
        dataset_ids = checked_ids(values.get("dataset_ids"))
        filters = ListFilters.of(**{name: values.get(name) for name in FILTERS})
        chosen = cls(dataset_id, dataset_ids, None if filters == ListFilters() else filters)
        ways = [name for name in cls._fields if getattr(chosen, name) is not None]
        if len(ways) > 1 or not (ways or unknown):
            empty = "".join(f"; {name} is empty" for name, value in values.items() if is_empty(value))
            what = " and ".join("a filter" if name == "filters" else name for name in ways) or f"none of them{empty}"
            raise CohereInputError(
                f"Give either dataset_id, dataset_ids or a filter ({', '.join(FILTERS)}), not {what}."
            )
        return chosen

    def __str__(self) -> str:
        """Name what was asked for, for the case that there is none of it."""
        if self.filters is None:
            return "dataset_ids is an empty list"
        described = ", ".join(f"{name} {value!r:.100}" for name, value in self.filters.description().items())
        return f"no dataset has {described}"


def checked_ids(value: Any) -> tuple[str, ...] | None:
    """Return ``dataset_ids``, each once, ``None`` if they are not set.

    :raises CohereInputError: for what is no list, has what cannot be an id, or more than :data:`MAX_SELECTED`.
    """
    if is_unset(value):
        return None
    if not is_listed(value):
        raise CohereInputError(f"dataset_ids must be a list of ids, not {value!r:.60}.")
    ids = tuple(dict.fromkeys(checked_id(each, f"dataset_ids[{place}]") for place, each in enumerate(value)))
    if len(ids) > MAX_SELECTED:
        raise CohereInputError(f"dataset_ids has {len(ids)} ids, more than the {MAX_SELECTED} that can be given.")
    return ids


def waited_for(dataset_id: object, dataset_ids: object) -> list[str]:
    """Return the ids to wait for, each once, in the user's order.

    :param dataset_id: the dataset, where ``dataset_ids`` is ``None``.
    :param dataset_ids: several of them.
    :raises CohereInputError: if one cannot be an id, or there is none.
    """
    if dataset_ids is None:
        return [checked_id(dataset_id)]
    # What mapped tasks returned is a sequence of Airflow's own, which fetches its items one by one.
    if not isinstance(dataset_ids, Sequence) or isinstance(dataset_ids, str | bytes) or not dataset_ids:
        raise CohereInputError("dataset_ids must be a list of ids with at least one in it.")
    return list(dict.fromkeys(checked_id(each, f"dataset_ids[{place}]") for place, each in enumerate(dataset_ids)))


def checked_id(dataset_id: object, argument: str = "dataset_id") -> str:
    """Return a dataset id that can be one segment of a path.

    :param dataset_id: what the user gave: the id, or what an operator returned of one dataset, with the id in it.
    :param argument: the argument's name, for the error.
    :raises CohereInputError: for anything that cannot be the id of a dataset.
    """
    if isinstance(dataset_id, Mapping) and "id" in dataset_id:
        dataset_id = dataset_id["id"]
    if dataset_id is None:
        raise CohereInputError(f"{argument} is None: what should give the id, as another task, gave nothing.")
    if not isinstance(dataset_id, str):
        raise CohereInputError(f"{argument} must be a text, not {type(dataset_id).__name__}.")
    if not dataset_id.strip():
        raise CohereInputError(f"{argument} is empty.")
    if dataset_id in {".", "..", "usage", "None"}:
        raise CohereInputError(f"{argument} {dataset_id!r} cannot be the id of a dataset.")
    if re.search(_CONTROL, dataset_id) or len(dataset_id) > 500:
        raise CohereInputError(f"{argument} {dataset_id[:60]!r} has a control character or is far too long.")
    return dataset_id


def is_empty(value: object) -> bool:
    """Return whether a value is an empty text.

    The results of a task that was mapped over nothing equal ``""`` as well, but they are a list without anything in it.
    """
    return isinstance(value, str) and not value


def is_unset(value: object) -> bool:
    """Return whether an argument is not set: it is ``None``, or a template rendered it to an empty text."""
    return value is None or is_empty(value)


def is_listed(value: object) -> bool:
    """Return whether a value is a collection of values, which a text and a mapping are not meant to be.

    What can be read only once is none: it is read before the task runs, and in each try.
    """
    return isinstance(value, Iterable) and not isinstance(value, str | bytes | Mapping | Iterator)
