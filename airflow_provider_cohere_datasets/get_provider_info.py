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

#: The form knows only "minimum", and its arrows stop there.
_POSITIVE = {"type": ["number", "null"], "minimum": 0, "exclusiveMinimum": 0}

#: What the form of Airflow 3.2 and later shows of the connection's extra. It stores a field that is left empty with its
#: default, so none has one here: the defaults of RequestPolicy would be frozen into every connection.
CONN_FIELDS: dict[str, Any] = {
    "client_name": {
        "label": "Client name",
        "description": "Sent as X-Client-Name, so that Cohere can tell who calls.",
        "schema": {"type": ["string", "null"]},
    },
    "allow_insecure_http": {
        "label": "Allow plain http",
        "description": "For a base URL with http:// on another machine. The network can read the API key then.",
        "schema": {"type": ["boolean", "null"]},
    },
    "max_tries": {
        "label": "Tries per call",
        "description": "The most requests that are made for one call; 5 if empty.",
        "schema": {"type": ["integer", "null"], "minimum": 1},
    },
    "connect_timeout": {
        "label": "Connect timeout (s)",
        "description": "Seconds to connect; 10 if empty.",
        "schema": _POSITIVE,
    },
    "read_timeout": {
        "label": "Read timeout (s)",
        "description": "Seconds of silence while an answer is awaited and read; 60 if empty.",
        "schema": _POSITIVE,
    },
    "total_timeout": {
        "label": "Request timeout (s)",
        "description": "Seconds for one request as a whole; 120 if empty.",
        "schema": _POSITIVE,
    },
    "upload_timeout": {
        "label": "Upload timeout (s)",
        "description": "Seconds for one upload as a whole; 3600 if empty.",
        "schema": _POSITIVE,
    },
    "requests_per_minute": {
        "label": "Requests per minute",
        "description": "The most that one task or triggerer sends; if empty, as [cohere_datasets] in airflow.cfg says.",
        "schema": _POSITIVE,
    },
}

#: ``cohere://api.cohere.com/datasets/<id>``.
ASSET_URIS: list[dict[str, Any]] = [
    {
        "schemes": ["cohere"],
        "handler": f"{_PACKAGE}.assets.datasets.sanitize_uri",
        "factory": f"{_PACKAGE}.assets.datasets.create_asset",
        "to_openlineage_converter": f"{_PACKAGE}.assets.datasets.convert_asset_to_openlineage",
    }
]

CONFIG: dict[str, Any] = {
    "cohere_datasets": {
        "description": "Defaults of the operators and sensors for Cohere's Datasets API.",
        "options": {
            "poll_interval": {
                "description": "Seconds between two looks at a dataset, where a sensor has no poke_interval.",
                "version_added": "0.1.0",
                "type": "float",
                "example": "60",
                "default": "30",
            },
            "page_size": {
                "description": "Datasets to ask for at a time when they are listed, where a task has no page_size.",
                "version_added": "0.1.0",
                "type": "integer",
                "example": "500",
                "default": "100",
            },
            "requests_per_minute": {
                "description": (
                    "Requests that one task or triggerer sends at the most, where the connection has no such value. "
                    "Empty for no limit."
                ),
                "version_added": "0.1.0",
                "type": "float",
                "example": "100",
                "default": "",
            },
        },
    }
}


def get_provider_info() -> dict[str, Any]:
    """Return the provider's metadata, in the form of Airflow's ``provider_info.schema.json``."""
    return {
        "package-name": "airflow-provider-cohere-datasets",
        "name": "Cohere Datasets",
        "description": "Upload, await, gate and export datasets at `Cohere <https://docs.cohere.com/docs/datasets>`__",
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
                "conn-fields": CONN_FIELDS,
            }
        ],
        "extra-links": [f"{_PACKAGE}.links.datasets.CohereDatasetsLink"],
        "asset-uris": ASSET_URIS,
        # Airflow 2's name for the same.
        "dataset-uris": ASSET_URIS,
        "config": CONFIG,
    }
