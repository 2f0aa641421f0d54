"""Leaves the system tests out unless they are asked for."""

from __future__ import annotations

import pytest


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """Keep tests with the marker ``system`` only if the marker expression names it."""
    if "system" in config.option.markexpr:
        return
    left_out = [item for item in items if item.get_closest_marker("system")]
    if left_out:
        config.hook.pytest_deselected(items=left_out)
        items[:] = [item for item in items if item not in left_out]
