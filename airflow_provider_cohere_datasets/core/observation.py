"""What an answer shows of a dataset to whoever waits for it, read with as little work as possible."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cache
from typing import TYPE_CHECKING, Any

from airflow_provider_cohere_datasets.core.calls import read_object, read_rows, unexpected
from airflow_provider_cohere_datasets.core.ledger import nameless
from airflow_provider_cohere_datasets.core.untrusted import printable, shareable, storable, total

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

    from pydantic_core import CoreSchema, SchemaValidator

    from airflow_provider_cohere_datasets.core.calls import Call, Reply
    from airflow_provider_cohere_datasets.core.ledger import RowId

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
            reason = shareable(error if isinstance(error, str) else "", _MAX_TEXT) or "no reason given"
            if warnings:  # Cut by themselves, or a long error would leave none.
                shown = shareable("; ".join(w[:_MAX_TEXT] for w in warnings[:_MAX_WARNINGS]), _MAX_TEXT)
                reason = f"{reason} (warnings: {shown})"
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
class RawPage:
    """A page of the list as it came; what the pager asks of a page (see :class:`~.page.Page`)."""

    rows: Sequence[Any]
    ids: Sequence[RowId]

    @classmethod
    def of(cls, rows: Sequence[Any]) -> RawPage:
        """Take the rows; the ids are read once, because the pager asks for them many times."""
        ids = [row.get("id") if isinstance(row, dict) else None for row in rows]
        return cls(rows, [i if isinstance(i, str) else nameless(row) for i, row in zip(ids, rows, strict=True)])

    @property
    def created(self) -> Sequence[int | None]:
        """Nothing: whoever waits does not select by time."""
        return [None] * len(self.rows)

    def texts(self, name: str) -> Sequence[str | None]:
        """Return the values of a text field, an empty one where there is none: no filter selects that."""
        values = [row.get(name) if isinstance(row, dict) else None for row in self.rows]
        return [value if isinstance(value, str) else "" for value in values]

    def take(self, positions: Sequence[int]) -> RawPage:
        """Return a page of only these rows."""
        return RawPage([self.rows[p] for p in positions], [self.ids[p] for p in positions])


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


def read_raw_page(call: Call, reply: Reply) -> RawPage:
    """Read the answer to ``GET /v1/datasets``."""
    try:
        rows = _page_decoder().validate_json(reply.body)["datasets"]
    except ValueError:
        rows = []
    # What is not quite as usual is read as anything, to say what is wrong with it; beside no rows, an error may stand.
    return RawPage.of(rows or read_rows(call, reply))


def read_observation(call: Call, reply: Reply) -> Observation:
    """Read the answer to ``GET /v1/datasets/{id}``.

    :raises CohereUnexpectedAnswerError: if it is not the dataset that was asked for.
    """
    dataset = read_object(call, reply).get("dataset")
    if not isinstance(dataset, dict) or not isinstance(dataset.get("id"), str):
        raise unexpected(call, reply, "no dataset in it")
    if dataset["id"] != call.dataset_id:
        raise unexpected(call, reply, f"another dataset, {dataset['id'][:60]!r}")
    return Observation.of(dataset)
