"""What the documentation shows can be read by Python."""

from __future__ import annotations

import ast
import re
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
PAGES = [ROOT / "README.md", *sorted((ROOT / "docs").glob("*.md"))]
_BLOCK = re.compile(r"^```\{?python\}?\n(.*?)^```", re.MULTILINE | re.DOTALL)


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_every_block_is_python(page: Path) -> None:
    for block in _BLOCK.findall(page.read_text()):
        ast.parse(block)


def test_there_are_blocks() -> None:
    assert sum(len(_BLOCK.findall(page.read_text())) for page in PAGES) > 15
