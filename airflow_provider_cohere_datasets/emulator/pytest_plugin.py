"""
A fixture for the tests of your own DAGs; pytest finds it wherever the provider is installed.

.. code-block:: python

    def test_my_dag(cohere_datasets_emulator):
        cohere_datasets_emulator.seed(250, dataset_type="embed-input")
        ...  # run the DAG, then look at cohere_datasets_emulator.requests

Pytest imports this module at every start, so it imports nothing that is not there already. Where no test asks for
the fixture, ``-p no:cohere_datasets`` leaves it out altogether.
"""

from __future__ import annotations

import os
from importlib.util import find_spec
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from collections.abc import Iterator

    from airflow_provider_cohere_datasets.emulator import Emulator


@pytest.fixture
def cohere_datasets_emulator(monkeypatch: pytest.MonkeyPatch) -> Iterator[Emulator]:
    """
    Run an emulator of the Datasets API, to which the connection ``cohere_default`` leads during the test.

    Nothing on the way there goes through a proxy. The emulator is new and empty for each test. Uploads have their
    verdict at once; ``seed(status="processing")`` puts a dataset in place that has none yet. It needs the extra
    ``airflow-provider-cohere-datasets[emulator]``.

    :returns: the running emulator: ``base_url``, ``api_key``, ``connection_json()``, ``seed()``, ``requests``.
    """
    from airflow_provider_cohere_datasets.emulator.__main__ import NEEDED

    if missing := [module for module in NEEDED if find_spec(module) is None]:
        pytest.fail(
            f"The fixture cohere_datasets_emulator needs {', '.join(missing)}: "
            "install airflow-provider-cohere-datasets[emulator].",
            pytrace=False,
        )
    from airflow_provider_cohere_datasets.emulator import EmulatorSettings, running_emulator

    with running_emulator(EmulatorSettings(validation_seconds=0)) as emulator:
        monkeypatch.setenv("AIRFLOW_CONN_COHERE_DEFAULT", emulator.connection_json())
        # Of the two spellings the HTTP libraries prefer this one.
        others = os.environ.get("no_proxy") or os.environ.get("NO_PROXY")
        if others != "*":  # which means every host, but only where it stands alone
            others = ",".join(filter(None, (emulator.settings.host, others)))
        monkeypatch.setenv("no_proxy", others)
        yield emulator
