"""A decoded page: what the pager asks of it, and the rows that it carries."""

from __future__ import annotations

from dataclasses import dataclass, field
from functools import cached_property
from typing import TYPE_CHECKING, cast

import pyarrow as pa

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from airflow_provider_cohere_datasets.core.ledger import RowId


@dataclass(frozen=True, eq=False)
class DecodedPage:
    """One answer to a list call, decoded once.

    :param rows: one row for each dataset, in the server's order; the columns of the API, and ``_raw`` if wanted.
    :param problems: what could not be read, by the position of the row.
    :param nameless: what stands for the ids of rows that have none, by the position of the row.
    """

    rows: pa.RecordBatch
    problems: Mapping[int, Sequence[str]] = field(default_factory=dict)
    nameless: Mapping[int, int] = field(default_factory=dict)

    @cached_property
    def ids(self) -> list[RowId]:
        """The ids."""
        ids = self.rows.column("id").to_pylist()
        for position, row_id in self.nameless.items():
            ids[position] = row_id
        return cast("list[RowId]", ids)

    @cached_property
    def created(self) -> list[int | None]:
        """The creation times in microseconds since 1970; ``None`` for one that could not be read."""
        return cast("list[int | None]", self.rows.column("created_at").cast(pa.int64()).to_pylist())

    def texts(self, name: str) -> list[str | None]:
        """Return the values of a text column; ``None`` where one is left out, or could not be read."""
        values = cast("list[str | None]", self.rows.column(name).to_pylist())
        for position, problems in self.problems.items():
            if any(problem.startswith(f"Dataset.{name}:") for problem in problems):
                values[position] = None
        return values

    def take(self, positions: Sequence[int]) -> DecodedPage:
        """Return a page of only these rows."""
        problems = {new: self.problems[old] for new, old in enumerate(positions) if old in self.problems}
        nameless = {new: self.nameless[old] for new, old in enumerate(positions) if old in self.nameless}
        first = positions[0] if positions else 0
        if list(positions) == list(range(first, first + len(positions))):
            # Windows overlap, so this is what nearly every page is asked for; nothing is copied.
            return DecodedPage(self.rows.slice(first, len(positions)), problems, nameless)
        return DecodedPage(self.rows.take(pa.array(positions, pa.int64())), problems, nameless)
