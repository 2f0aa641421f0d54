"""Directives that show what the code says, so that the pages cannot say anything else."""

from __future__ import annotations

import inspect
from collections.abc import Iterator, Sequence

import pyarrow
from docutils import nodes
from docutils.statemachine import StringList
from sphinx.application import Sphinx
from sphinx.util.docutils import SphinxDirective

from airflow_provider_cohere_datasets.core import errors
from airflow_provider_cohere_datasets.lake import errors as lake_errors
from airflow_provider_cohere_datasets.lake.schema import DESCRIPTIONS, file_schema


class Table(SphinxDirective):
    """A table out of rows of plain texts."""

    def run(self) -> list[nodes.Node]:
        lines = ["| " + " | ".join(row) + " |" for row in self.rows()]
        lines.insert(1, "| --- " * lines[0].count(" | ") + "| --- |")
        holder = nodes.Element()
        self.state.nested_parse(StringList(lines, source="tables.py"), self.content_offset, holder)
        return holder.children

    def rows(self) -> Iterator[Sequence[str]]:
        """Yield the rows, the heading first."""
        raise NotImplementedError


class Errors(Table):
    """The errors, and whether they are permanent."""

    def rows(self) -> Iterator[Sequence[str]]:
        yield "Error", "Permanent", "Meaning"
        for module in (errors, lake_errors):
            for name, kind in vars(module).items():
                if inspect.isclass(kind) and kind.__module__ == module.__name__:
                    meaning = (inspect.getdoc(kind) or "").splitlines()[0]
                    yield f"{{py:class}}`~{module.__name__}.{name}`", "yes" if kind.permanent else "no", meaning


class Columns(Table):
    """The columns of the export."""

    def rows(self) -> Iterator[Sequence[str]]:
        yield "Column", "Type", "Meaning"
        for field in file_schema(keep_raw=True):
            yield f"`{field.name}`", f"`{short(field.type)}`", DESCRIPTIONS[field.name]


def short(kind: pyarrow.DataType) -> str:
    """Return a type without the fields of its structs."""
    if pyarrow.types.is_list(kind):
        return f"list<{short(kind.value_type)}>"
    return "struct" if pyarrow.types.is_struct(kind) else str(kind)


def setup(app: Sphinx) -> dict[str, bool]:
    """Register the directives."""
    app.add_directive("errors", Errors)
    app.add_directive("columns", Columns)
    return {"parallel_read_safe": True}
