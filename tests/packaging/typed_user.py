"""What the documentation shows, in the eyes of a type checker; it is only read, by mypy."""

from __future__ import annotations

from datetime import datetime
from typing import Any

import pyarrow as pa
from airflow.providers.common.compat.sdk import DAG, task

from airflow_provider_cohere_datasets.assets.events import emit
from airflow_provider_cohere_datasets.operators.datasets import (
    CohereCreateDatasetOperator,
    CohereDatasetGateOperator,
    CohereDeleteDatasetOperator,
    CohereGetDatasetOperator,
    CohereListDatasetsOperator,
)
from airflow_provider_cohere_datasets.sensors.datasets import CohereDatasetValidationSensor
from airflow_provider_cohere_datasets.transfers.parquet import CohereDatasetsToParquetOperator


@task
def new_questions() -> pa.Table:
    """Return a table."""
    return pa.table({"text": ["a"]})


def tell(**context: Any) -> None:
    """Tell an event from a task of one's own."""
    emit(context, context["outlets"], datasets={"a": {"id": "a"}})


with DAG("typed", schedule="@daily", start_date=datetime(2026, 1, 1), catchup=False):
    upload = CohereCreateDatasetOperator(task_id="a", name="n", dataset_type="embed-input", data=new_questions())
    listed = CohereListDatasetsOperator(task_id="b")
    wait = CohereDatasetValidationSensor(task_id="c", dataset_id=upload.output)
    CohereDatasetValidationSensor(task_id="d", dataset_ids=[upload.output, "b", {"id": "c"}])
    CohereDatasetValidationSensor(task_id="e", dataset_ids="{{ params.ids }}")
    gate = CohereDatasetGateOperator(task_id="f", dataset_ids=listed.output)
    CohereDatasetGateOperator(task_id="g", dataset_id={"id": "a"})
    CohereGetDatasetOperator(task_id="h", dataset_id=upload.output)
    CohereDeleteDatasetOperator(task_id="i", dataset_id=upload.output)
    CohereDeleteDatasetOperator(task_id="j", dataset_ids=[upload.output])
    export = CohereDatasetsToParquetOperator(task_id="k", output_path="s3://lake/datasets.parquet")
    wait >> gate >> export
