"""
A local Datasets API server, for tests, demos and work without a network.

Run it with ``python -m airflow_provider_cohere_datasets.emulator --port 8089``, or embed it::

    from airflow_provider_cohere_datasets.emulator import EmulatorSettings, running_emulator

    with running_emulator(EmulatorSettings(validation_seconds=0)) as emulator:
        emulator.seed(250, dataset_type="embed-input")
        ...  # talk to emulator.base_url with emulator.api_key, then count emulator.requests

It needs the extra ``airflow-provider-cohere-datasets[emulator]``. Importing this package does not: FastAPI,
uvicorn and fastavro are loaded when one of the names below is first used.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from airflow_provider_cohere_datasets.emulator.received import ReceivedRequest
    from airflow_provider_cohere_datasets.emulator.server import Emulator, running_emulator
    from airflow_provider_cohere_datasets.emulator.settings import EmulatorSettings

__all__ = ["Emulator", "EmulatorSettings", "ReceivedRequest", "running_emulator"]

_HOMES = {
    "Emulator": "server",
    "EmulatorSettings": "settings",
    "ReceivedRequest": "received",
    "running_emulator": "server",
}


def __getattr__(name: str) -> Any:
    if name not in _HOMES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    try:
        return getattr(import_module(f"{__name__}.{_HOMES[name]}"), name)
    except ModuleNotFoundError as error:
        what = f"{error.name} is missing: install airflow-provider-cohere-datasets[emulator]"
        raise ModuleNotFoundError(what, name=error.name) from None
