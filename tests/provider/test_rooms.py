"""Imports point one way: Airflow's rooms, then lake and transport, then core."""

from __future__ import annotations

import ast
from pathlib import Path

import pytest

import airflow_provider_cohere_datasets

PACKAGE = "airflow_provider_cohere_datasets"
ROOT = Path(airflow_provider_cohere_datasets.__file__).parent
#: What each room may import of the package beside itself. The emulator stands alone.
ALLOWED: dict[str, set[str]] = {
    "core": set(),
    "transport": {"core"},
    "lake": {"core"},
    "emulator": set(),
    "links": set(),
    "assets": set(),
    "lineage": {"assets"},
    "hooks": {"core", "transport", "lake", "lineage"},
    "operators": {"core", "hooks", "lake", "triggers", "assets", "lineage", "links"},
    "triggers": {"core", "hooks", "transport"},
    "sensors": {"core", "hooks", "triggers", "assets", "lineage", "links"},
    "transfers": {"core", "hooks", "lake", "operators", "assets", "lineage"},
}
#: What core must not import: Airflow, HTTP libraries and pyarrow.
NOT_IN_CORE = {"airflow", "requests", "httpx", "pyarrow", "fastapi", "urllib3", "time"}


def imported(path: Path) -> set[str]:
    """Return the modules that a file imports, wherever in the file."""
    names: set[str] = set()
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            names |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and node.module:
            names |= {f"{node.module}.{alias.name}" for alias in node.names}
    return names


def test_every_room_is_known() -> None:
    rooms = {path.name for path in ROOT.iterdir() if path.is_dir() and path.name != "__pycache__"}
    assert rooms == set(ALLOWED)


@pytest.mark.parametrize("room", sorted(ALLOWED))
def test_a_room_imports_only_what_lies_further_in(room: str) -> None:
    for path in sorted((ROOT / room).rglob("*.py")):
        ours = [name.split(".") for name in imported(path) if name.startswith(f"{PACKAGE}.")]
        rooms = {parts[1] for parts in ours if parts[1] in ALLOWED}
        assert rooms <= ALLOWED[room] | {room}, path.name


def test_core_knows_no_airflow_no_http_no_pyarrow_and_no_clock() -> None:
    for path in sorted((ROOT / "core").rglob("*.py")):
        assert not {name.partition(".")[0] for name in imported(path)} & NOT_IN_CORE, path.name
