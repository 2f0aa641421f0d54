"""The same connections and the same server as for the hook; and what uploads need."""

from __future__ import annotations

import logging
from collections.abc import Callable
from pathlib import Path

import pytest

from airflow_provider_cohere_datasets.transport.blocking import BlockingTransport
from tests.hooks.conftest import connect, server

__all__ = ["connect", "server"]


@pytest.fixture
def waits(monkeypatch: pytest.MonkeyPatch) -> list[float]:
    """The seconds that tasks waited between requests; nobody really waits, but the clock moves."""
    slept: list[float] = []
    defaults = BlockingTransport.__init__.__kwdefaults__
    monkeypatch.setitem(defaults, "sleep", slept.append)
    monkeypatch.setitem(defaults, "clock", lambda: float(sum(slept)))
    return slept


@pytest.fixture
def data(tmp_path: Path) -> Path:
    path = tmp_path / "rows.jsonl"
    path.write_text('{"text": "hello"}\n')
    return path


@pytest.fixture
def heard(caplog: pytest.LogCaptureFixture, capsys: pytest.CaptureFixture[str]) -> Callable[[], str]:
    """All that was logged; whether Airflow's loggers are the standard ones or print depends on what it has loaded."""
    caplog.set_level(logging.INFO)
    return lambda: "\n".join([*caplog.messages, capsys.readouterr().out])
