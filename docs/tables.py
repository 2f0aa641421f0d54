"""Directives that show what the code says, so that the pages cannot say anything else."""

from __future__ import annotations

import inspect
from collections.abc import Iterable, Iterator, Sequence
from functools import cache
from pathlib import Path

import pyarrow
from docutils import nodes
from docutils.statemachine import StringList
from sphinx.application import Sphinx
from sphinx.util.docutils import SphinxDirective
from sphinx.util.logging import getLogger

from airflow_provider_cohere_datasets.core import errors
from airflow_provider_cohere_datasets.lake import errors as lake_errors
from airflow_provider_cohere_datasets.lake.schema import DESCRIPTIONS, file_schema

PACKAGE = Path(errors.__file__).parents[1]


class Table(SphinxDirective):
    """A table out of rows of plain texts; what the page says goes beside what the code says."""

    has_content = True

    def run(self) -> list[nodes.Node]:
        lines = ["| " + " | ".join(row) + " |" for row in self.rows()]
        lines.insert(1, "| --- " * lines[0].count(" | ") + "| --- |")
        holder = nodes.Element()
        self.state.nested_parse(StringList(lines, source="tables.py"), self.content_offset, holder)
        return holder.children

    def rows(self) -> Iterator[Sequence[str]]:
        """Yield the rows, the heading first."""
        raise NotImplementedError

    def entries(self, mark: str) -> dict[str, str]:
        """Return what the page says: ``key<mark>text``, and lines that go on with a text are indented."""
        found: dict[str, str] = {}
        key = ""
        for line in self.content:
            if line.startswith(" "):
                found[key] += f" {line.strip()}"
            elif line:
                key, _, text = line.partition(mark)
                found[key] = text.strip()
        return found

    def complain(self, what: str) -> None:
        """Warn, which fails the build."""
        getLogger(__name__).warning(what, location=self.get_location())


class Errors(Table):
    """The errors, whether they are permanent, and what to do, which the page says of each."""

    def rows(self) -> Iterator[Sequence[str]]:
        advice = self.entries(":")
        yield "Error", "Permanent", "Meaning", "What to do"
        for module in (errors, lake_errors):
            for name, kind in vars(module).items():
                if inspect.isclass(kind) and kind.__module__ == module.__name__:
                    meaning = (inspect.getdoc(kind) or "").splitlines()[0]
                    if name not in advice:
                        self.complain(f"nothing is said about {name}")
                    permanent, what = "yes" if kind.permanent else "no", advice.pop(name, "")
                    yield f"{{py:class}}`~{module.__name__}.{name}`", permanent, meaning, what
        if advice:
            self.complain(f"there are no errors {', '.join(advice)}")


class Messages(Table):
    """Parts of messages and what to do; each must be in the code as it stands here."""

    def rows(self) -> Iterator[Sequence[str]]:
        yield "The message has", "What to do"
        for fragment, what in self.entries(" => ").items():
            if fragment not in sources():
                self.complain(f"no message has {fragment!r} in it")
            yield f"*{fragment}*", what


@cache
def sources() -> str:
    """Return the text of the whole package."""
    return "\n".join(path.read_text() for path in sorted(PACKAGE.rglob("*.py")))


class Columns(Table):
    """The columns of the export, and the fields within them."""

    def rows(self) -> Iterator[Sequence[str]]:
        yield "Column", "Type", "Meaning"
        for name, kind in fields(file_schema(keep_raw=True)):
            yield f"`{name}`", f"`{short(kind)}`", DESCRIPTIONS[name]


def fields(inside: Iterable[pyarrow.Field], prefix: str = "") -> Iterator[tuple[str, pyarrow.DataType]]:
    """Return fields and those within them, with their paths."""
    for field in inside:
        yield f"{prefix}{field.name}", field.type
        kind = field.type.value_type if pyarrow.types.is_list(field.type) else field.type
        if pyarrow.types.is_struct(kind):
            yield from fields(kind, f"{prefix}{field.name}.")


def short(kind: pyarrow.DataType) -> str:
    """Return a type without the fields of its structs."""
    if pyarrow.types.is_list(kind):
        return f"list<{short(kind.value_type)}>"
    return "struct" if pyarrow.types.is_struct(kind) else str(kind)


def setup(app: Sphinx) -> dict[str, bool]:
    """Register the directives."""
    app.add_directive("errors", Errors)
    app.add_directive("messages", Messages)
    app.add_directive("columns", Columns)
    return {"parallel_read_safe": True}
