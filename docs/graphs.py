"""Draws the graph of an example DAG: ``python docs/graphs.py`` renews the pictures in ``docs/images``.

As an extension of Sphinx it warns of a picture that does not show the DAG any longer, and warnings are errors.
"""

from __future__ import annotations

import os
import runpy
import tempfile
from html import escape
from pathlib import Path
from typing import Any

from sphinx.application import Sphinx
from sphinx.util.logging import getLogger

DOCS = Path(__file__).parent
#: The pictures, by the DAG that they show.
PICTURES = {"cohere_dataset_lifecycle": DOCS / "images" / "cohere_dataset_lifecycle.svg"}

_WIDTH, _HEIGHT, _GAP, _ROW, _MARGIN, _ARC = 150, 50, 28, 74, 12, 30
_STYLE = (
    "text{font:13px system-ui,sans-serif;text-anchor:middle;fill:#1d1d1f}.kind{font-size:10px;fill:#5b5b66}"
    ".box{fill:#f5f0ea;stroke:#b9ab9c}.edge{fill:none;stroke:#5b5b66;stroke-width:1.4}"
)


def dag_of(dag_id: str) -> Any:
    """Return an example DAG; no database is needed."""
    return runpy.run_path(str(DOCS.parent / "dags" / f"{dag_id}.py"))[dag_id]()


def picture(dag: Any) -> str:
    """Return a DAG's tasks, each right of those that it follows, as SVG."""
    columns: dict[str, int] = {}
    rows: dict[str, int] = {}
    taken: dict[int, int] = {}
    for task in dag.topological_sort():
        column = max((columns[before] + 1 for before in task.upstream_task_ids), default=0)
        columns[task.task_id], rows[task.task_id] = column, taken.get(column, 0)
        taken[column] = rows[task.task_id] + 1

    width = len(taken) * (_WIDTH + _GAP) - _GAP + 2 * _MARGIN
    height = max(taken.values()) * _ROW - (_ROW - _HEIGHT) + 2 * _MARGIN + _ARC

    def corner(task_id: str) -> tuple[int, int]:
        return _MARGIN + columns[task_id] * (_WIDTH + _GAP), _MARGIN + _ARC + rows[task_id] * _ROW

    shapes = []
    for task_id in columns:
        x, y = corner(task_id)
        for after in sorted(dag.get_task(task_id).downstream_task_ids):
            to_x, to_y = corner(after)
            if columns[after] == columns[task_id] + 1:
                path = f"M{x + _WIDTH},{y + _HEIGHT // 2} L{to_x - 7},{to_y + _HEIGHT // 2}"
            else:  # Over the tasks in between.
                top = y - _ARC
                path = f"M{x + _WIDTH // 2},{y} C{x + _WIDTH},{top} {to_x},{top} {to_x + _WIDTH // 2},{to_y - 7}"
            shapes.append(f'<path class="edge" marker-end="url(#head)" d="{path}"/>')
    for task_id in columns:
        x, y = corner(task_id)
        middle, task = x + _WIDTH // 2, dag.get_task(task_id)
        kind = getattr(task, "custom_operator_name", task.task_type)
        shapes += [
            f'<rect class="box" x="{x}" y="{y}" width="{_WIDTH}" height="{_HEIGHT}" rx="6"/>',
            f'<text x="{middle}" y="{y + 21}">{escape(task_id)}</text>',
            f'<text class="kind" x="{middle}" y="{y + 38}">{escape(short(kind))}</text>',
        ]
    head = '<marker id="head" markerWidth="8" markerHeight="8" refX="1" refY="4" orient="auto">'
    size = f'width="{width}" height="{height}"'
    return "\n".join(
        [
            f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {width} {height}" {size}>',
            f"<title>The DAG {escape(dag.dag_id)}</title>",
            f'<style>{_STYLE}</style><defs>{head}<path d="M0,0 L8,4 L0,8 z" fill="#5b5b66"/></marker></defs>',
            f'<rect width="{width}" height="{height}" fill="#ffffff"/>',
            *shapes,
            "</svg>\n",
        ]
    )


def short(kind: str) -> str:
    """Return a class's name without what all have in common."""
    return kind.removeprefix("Cohere").removesuffix("Operator")


def check(_: Sphinx) -> None:
    """Warn of pictures that are not what the DAGs are."""
    for dag_id, file in PICTURES.items():
        if not file.exists() or file.read_text() != picture(dag_of(dag_id)):
            getLogger(__name__).warning("%s does not show the DAG: run python docs/graphs.py", file.name)


def setup(app: Sphinx) -> dict[str, bool]:
    """Check the pictures before the pages are read."""
    app.connect("builder-inited", check)
    return {"parallel_read_safe": True}


if __name__ == "__main__":
    with tempfile.TemporaryDirectory() as home:  # As in conf.py: not into the user's.
        os.environ |= {"AIRFLOW_HOME": home, "AIRFLOW__LOGGING__LOGGING_LEVEL": "WARNING"}
        for name, target in PICTURES.items():
            target.parent.mkdir(exist_ok=True)
            target.write_text(picture(dag_of(name)))
