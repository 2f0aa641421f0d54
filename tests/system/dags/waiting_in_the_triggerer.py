"""Sensors that begin to wait in the triggerer, and one that somebody gives up on."""

from __future__ import annotations

from datetime import datetime
from typing import Any

from airflow.providers.common.compat.sdk import DAG, task

from airflow_provider_cohere_datasets.sensors.datasets import CohereDatasetValidationSensor

WAIT: dict[str, Any] = {"deferrable": True, "poke_interval": 1, "timeout": 600}

with DAG("waiting_in_the_triggerer", schedule=None, start_date=datetime(2026, 1, 1)):
    CohereDatasetValidationSensor(
        task_id="single", dataset_id="{{ dag_run.conf['single'] }}", start_from_trigger=True, **WAIT
    )

    @task
    def ids(**context: Any) -> list[str]:
        """Return the datasets to wait for."""
        found: list[str] = context["dag_run"].conf["mapped"]
        return found

    CohereDatasetValidationSensor.partial(task_id="mapped", start_from_trigger=True, **WAIT).expand(dataset_id=ids())

    CohereDatasetValidationSensor(task_id="given_up", dataset_id="{{ dag_run.conf['given_up'] }}", **WAIT)
