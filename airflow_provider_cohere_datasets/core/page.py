"""A decoded page of the list, as far as reading the list needs to know it."""

from __future__ import annotations

from typing import TYPE_CHECKING, Protocol, TypeAlias, TypeVar

if TYPE_CHECKING:
    from collections.abc import Generator, Sequence

    from airflow_provider_cohere_datasets.core.calls import Call, Outcome, Pause
    from airflow_provider_cohere_datasets.core.ledger import RowId


class Page(Protocol):
    """What the pager needs to know of a decoded page; the rest is the business of whoever decoded it."""

    @property
    def ids(self) -> Sequence[RowId]:
        """The ids of the rows, in the server's order."""

    @property
    def created(self) -> Sequence[int | None]:
        """The creation times in microseconds since 1970; ``None`` for one that cannot be read."""

    def texts(self, name: str) -> Sequence[str | None]:
        """Return the values of ``dataset_type`` or ``validation_status``."""

    def take(self: P, positions: Sequence[int]) -> P:
        """Return a page of only these rows."""


T = TypeVar("T")
P = TypeVar("P", bound=Page)
if TYPE_CHECKING:
    Steps: TypeAlias = Generator[Call | Pause | P, Outcome, T]
