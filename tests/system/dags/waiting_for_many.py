"""One deferrable sensor for each dataset id in the run's conf."""

from __future__ import annotations

from datetime import datetime
from typing import Any

from airflow.providers.common.compat.sdk import DAG, task

from airflow_provider_cohere_datasets.sensors.datasets import CohereDatasetValidationSensor

with DAG("waiting_for_many", schedule=None, start_date=datetime(2026, 1, 1)):

    @task
    def ids(**context: Any) -> list[str]:
        """Return the datasets to wait for."""
        found: list[str] = context["dag_run"].conf["dataset_ids"]
        return found

    CohereDatasetValidationSensor.partial(task_id="wait", deferrable=True, poke_interval=2, timeout=600).expand(
        dataset_id=ids()
    )
