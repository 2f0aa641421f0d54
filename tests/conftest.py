"""What all tests share: an Airflow of their own, the emulator, and a connection to it."""

from __future__ import annotations

import os
import shutil
import tempfile
from collections.abc import Iterator
from importlib.metadata import version
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from airflow_provider_cohere_datasets.emulator import Emulator

HOME = Path(tempfile.mkdtemp(prefix="cohere-datasets-tests-"))


def _isolate() -> None:
    """Give the tests an Airflow of their own, whatever the caller's environment holds; none is imported yet.

    Proxies go too, because tests talk to this machine only.
    """
    for name in list(os.environ):
        if name.startswith(("AIRFLOW", "CO_API_", "COHERE_")) or name.lower().endswith("_proxy"):
            del os.environ[name]
    dags = HOME / "dags"
    dags.mkdir()
    os.environ |= {
        "AIRFLOW_HOME": str(HOME),
        "AIRFLOW__CORE__DAGS_FOLDER": str(dags),
        "AIRFLOW__CORE__LOAD_EXAMPLES": "False",
        "AIRFLOW__DATABASE__SQL_ALCHEMY_CONN": f"sqlite:///{HOME / 'airflow.db'}",
        "AIRFLOW__USAGE_DATA_COLLECTION__ENABLED": "False",
    }


_isolate()

#: What Airflow and its libraries say when Airflow imports them, by its version; every other warning is an error.
WARNINGS = {
    "2.11": [
        "ignore:Timer and timing metrics publish in seconds were deprecated:DeprecationWarning",
        "ignore::DeprecationWarning:(connexion|flask_appbuilder|flask_babel|flask_sqlalchemy|marshmallow_sqlalchemy)",
    ],
    "3.1": [
        "ignore:The `airflow.operators.branch.BaseBranchOperator` attribute is deprecated:FutureWarning",
        "ignore:'HTTP_422_UNPROCESSABLE_ENTITY' is deprecated:DeprecationWarning:airflow[.]api_fastapi",
        "ignore:Using Connection.from_json from `airflow.models` is deprecated:DeprecationWarning:airflow[.]models",
    ],
}


def pytest_configure(config: pytest.Config) -> None:
    """Let Airflow's own warnings pass."""
    for warning in WARNINGS.get(version("apache-airflow").rpartition(".")[0], ()):
        config.addinivalue_line("filterwarnings", warning)


def pytest_unconfigure() -> None:
    """Remove the home of the tests' Airflow."""
    shutil.rmtree(HOME, ignore_errors=True)


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """Keep tests with the marker ``system`` only if the marker expression names it."""
    if "system" in config.option.markexpr:
        return
    left_out = [item for item in items if item.get_closest_marker("system")]
    if left_out:
        config.hook.pytest_deselected(items=left_out)
        items[:] = [item for item in items if item not in left_out]


@pytest.fixture(scope="session")
def running_emulator() -> Iterator[Emulator]:
    """One emulator for the session, where validation takes no time."""
    from airflow_provider_cohere_datasets.emulator import EmulatorSettings, running_emulator

    with running_emulator(EmulatorSettings(validation_seconds=0)) as emulator:
        yield emulator


@pytest.fixture
def emulator(running_emulator: Emulator) -> Emulator:
    """The emulator of the session, as good as new."""
    running_emulator.clear()
    return running_emulator


@pytest.fixture
def cohere_connection(emulator: Emulator, monkeypatch: pytest.MonkeyPatch) -> str:
    """The id of a connection to the emulator: the one that is used by default."""
    monkeypatch.setenv("AIRFLOW_CONN_COHERE_DEFAULT", emulator.connection_json())
    return "cohere_default"
