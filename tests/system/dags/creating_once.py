"""Uploads of the file in the run's conf, each under the name of its task."""

from __future__ import annotations

from datetime import datetime, timedelta
from typing import Any

from airflow.providers.common.compat.sdk import DAG

from airflow_provider_cohere_datasets.operators.datasets import CohereCreateDatasetOperator

DEFERRED: dict[str, Any] = {"wait_for_validation": True, "deferrable": True, "poke_interval": 1}
TASKS: dict[str, dict[str, Any]] = {
    "in_the_body": {},
    "before_the_answer": {},
    "after_the_answer": {},
    "while_it_waits": {"wait_for_validation": True, "deferrable": False, "poke_interval": 1},
    "deferred": DEFERRED,
    "given_up": {**DEFERRED, "delete_on_kill": True},
    "kept": {"reuse_on_clear": True},
}

with DAG(
    "creating_once",
    schedule=None,
    start_date=datetime(2026, 1, 1),
    default_args={"retries": 1, "retry_delay": timedelta(seconds=1)},
):
    for task_id, options in TASKS.items():
        CohereCreateDatasetOperator(
            task_id=task_id,
            name=task_id,
            dataset_type="embed-input",
            data="{{ dag_run.conf['data'] }}",
            check_usage=False,
            **options,
        )
