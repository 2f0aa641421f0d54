"""Tasks that no retry can help: they must end at the first try."""

from __future__ import annotations

from datetime import datetime, timedelta

from airflow.providers.common.compat.sdk import DAG

from airflow_provider_cohere_datasets.operators.datasets import CohereListDatasetsOperator
from airflow_provider_cohere_datasets.sensors.datasets import CohereDatasetValidationSensor

with DAG(
    "permanent_errors",
    schedule=None,
    start_date=datetime(2026, 1, 1),
    default_args={"retries": 2, "retry_delay": timedelta(seconds=1)},
):
    CohereListDatasetsOperator(task_id="wrong_key", conn_id="cohere_wrong_key")
    CohereDatasetValidationSensor(task_id="unknown_dataset", dataset_id="no-such-dataset-000000", deferrable=True)
