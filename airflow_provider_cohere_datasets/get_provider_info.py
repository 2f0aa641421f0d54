"""What Airflow reads of this provider; it runs in every Airflow process, so it imports nothing."""

from __future__ import annotations

from typing import Any

_PACKAGE = "airflow_provider_cohere_datasets"
_REFERENCE = "https://docs.cohere.com/reference/list-datasets"

UI_FIELD_BEHAVIOUR: dict[str, Any] = {
    "hidden-fields": ["schema", "login", "port"],
    "relabeling": {"password": "API key", "host": "Base URL"},
    "placeholders": {"host": "https://api.cohere.com", "password": "API key from the Cohere dashboard"},
}


def get_provider_info() -> dict[str, Any]:
    """Return the provider's metadata, in the form of Airflow's ``provider_info.schema.json``."""
    return {
        "package-name": "airflow-provider-cohere-datasets",
        "name": "Cohere Datasets",
        "description": "`Cohere <https://docs.cohere.com/docs/datasets>`__ Datasets API: upload, wait, gate, export.",
        "integrations": [
            {
                "integration-name": "Cohere Datasets",
                "external-doc-url": _REFERENCE,
                "tags": ["service", "ai"],
            }
        ],
        "hooks": [{"integration-name": "Cohere Datasets", "python-modules": [f"{_PACKAGE}.hooks.datasets"]}],
        "operators": [{"integration-name": "Cohere Datasets", "python-modules": [f"{_PACKAGE}.operators.datasets"]}],
        "sensors": [{"integration-name": "Cohere Datasets", "python-modules": [f"{_PACKAGE}.sensors.datasets"]}],
        "triggers": [{"integration-name": "Cohere Datasets", "python-modules": [f"{_PACKAGE}.triggers.datasets"]}],
        "transfers": [
            {
                "source-integration-name": "Cohere Datasets",
                "target-integration-name": "Parquet",
                "python-module": f"{_PACKAGE}.transfers.parquet",
            }
        ],
        "connection-types": [
            {
                "connection-type": "cohere_datasets",
                "hook-class-name": f"{_PACKAGE}.hooks.datasets.CohereDatasetsHook",
                "hook-name": "Cohere Datasets",
                "ui-field-behaviour": UI_FIELD_BEHAVIOUR,
            }
        ],
    }
