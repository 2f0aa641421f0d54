"""A page of the list as models, for whoever wants Python objects; the lake has its own decoder."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from pydantic import ValidationError

from airflow_provider_cohere_datasets.core.calls import read_rows
from airflow_provider_cohere_datasets.core.filters import microseconds
from airflow_provider_cohere_datasets.core.ledger import nameless
from airflow_provider_cohere_datasets.core.models import Dataset

if TYPE_CHECKING:
    from collections.abc import Sequence

    from airflow_provider_cohere_datasets.core.calls import Call, Reply
    from airflow_provider_cohere_datasets.core.ledger import RowId


@dataclass(frozen=True, slots=True)
class DatasetPage:
    """Datasets in the server's order; what the pager asks of a page (see :class:`~.page.Page`).

    :param rows: the rows; a number holds the place of one that is not a dataset with an id.
    """

    rows: Sequence[Dataset | int]

    @property
    def datasets(self) -> list[Dataset]:
        """The rows that are datasets."""
        return [row for row in self.rows if isinstance(row, Dataset)]

    @property
    def ids(self) -> Sequence[RowId]:
        """The ids."""
        return [row.id if isinstance(row, Dataset) else row for row in self.rows]

    @property
    def created(self) -> Sequence[int | None]:
        """The creation times in microseconds since 1970."""
        times = [getattr(row, "created_at", None) for row in self.rows]
        return [time and microseconds(time) for time in times]

    def texts(self, name: str) -> Sequence[str | None]:
        """Return the values of a text field, an empty one where there is none: no filter selects that."""
        return [getattr(row, name, None) or "" for row in self.rows]

    def take(self, positions: Sequence[int]) -> DatasetPage:
        """Return a page of only these rows."""
        return DatasetPage([self.rows[position] for position in positions])


def read_page(call: Call, reply: Reply) -> DatasetPage:
    """Read the answer to ``GET /v1/datasets``."""
    return DatasetPage([_read_row(row) for row in read_rows(call, reply)])


def _read_row(row: object) -> Dataset | int:
    try:
        return Dataset.model_validate(row)
    except ValidationError:
        return nameless(row)
