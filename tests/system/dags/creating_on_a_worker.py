"""An upload of the file in the run's conf, to a server of its own."""

from __future__ import annotations

from datetime import datetime, timedelta

from airflow.providers.common.compat.sdk import DAG

from airflow_provider_cohere_datasets.operators.datasets import CohereCreateDatasetOperator

with DAG("creating_on_a_worker", schedule=None, start_date=datetime(2026, 1, 1)):
    CohereCreateDatasetOperator(
        task_id="upload",
        name="upload",
        dataset_type="embed-input",
        data="{{ dag_run.conf['data'] }}",
        conn_id="cohere_killing",
        check_usage=False,
        retries=1,
        retry_delay=timedelta(seconds=1),
    )
