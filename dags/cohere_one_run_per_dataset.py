"""Two DAGs: one uploads several files at once, and the other runs once for each dataset that became validated.

With Airflow 3.3 the wait of the first DAG makes one partition of an asset of each dataset, and each partition starts a
run of the second. Before, set its parameter ``dataset_id`` by hand.

Runs as it is with the emulator. With Cohere itself, set the connection ``cohere_default``.
"""

from __future__ import annotations

from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

from airflow.providers.common.compat.sdk import Asset, Param, dag, task

from airflow_provider_cohere_datasets.operators.datasets import CohereCreateDatasetOperator, CohereGetDatasetOperator
from airflow_provider_cohere_datasets.sensors.datasets import CohereDatasetValidationSensor

DATA = Path(__file__).parent / "data"
VALIDATED = Asset("cohere://api.cohere.com/datasets")

try:
    from airflow.sdk import PartitionedAssetTimetable
except ImportError:  # Airflow before 3.3 has no partitions of assets.
    SCHEDULE = None
else:
    SCHEDULE = PartitionedAssetTimetable(assets=VALIDATED)


@dag(
    schedule=None,
    start_date=datetime(2026, 1, 1),
    catchup=False,
    default_args={"retries": 2, "retry_delay": timedelta(seconds=30)},
    doc_md=__doc__,
    tags=["cohere", "example"],
)
def cohere_upload_several() -> None:
    """Upload each file in a mapped task of its own, and wait for all of them in one."""
    upload = CohereCreateDatasetOperator.partial(task_id="upload").expand_kwargs(
        [
            {
                "name": "support-questions",
                "dataset_type": "embed-input",
                "data": str(DATA / "support_questions.jsonl"),
            },
            {
                "name": "support-chats",
                "dataset_type": "chat-finetune-input",
                "data": str(DATA / "support_chats.jsonl"),
                "eval_data": str(DATA / "support_chats_eval.jsonl"),
            },
        ]
    )
    CohereDatasetValidationSensor(
        task_id="wait",
        dataset_ids=upload.output,  # type: ignore[arg-type]
        poke_interval=2,
        timeout=600,
        deferrable=True,
        outlets=[VALIDATED],
        partition_outlets=True,
    )


@dag(
    schedule=SCHEDULE,
    start_date=datetime(2026, 1, 1),
    catchup=False,
    default_args={"retries": 2, "retry_delay": timedelta(seconds=30)},
    doc_md=__doc__,
    tags=["cohere", "example"],
    params={"dataset_id": Param("", type="string", description="The dataset of a run that no event started")},
)
def cohere_one_run_per_dataset() -> None:
    """Handle one dataset."""

    @task.short_circuit
    def is_given(dag_run: Any = None, params: Any = None) -> bool:
        """Skip a run by hand that has no dataset."""
        return bool(getattr(dag_run, "partition_key", None) or params["dataset_id"])

    get = CohereGetDatasetOperator(
        task_id="get", dataset_id="{{ (dag_run.partition_key | default('', true)) or params.dataset_id }}"
    )

    @task
    def start_job(dataset: dict[str, Any]) -> str:
        """Name the dataset and its type; start the job that fits here."""
        return f"{dataset['dataset_type']}: {dataset['id']}"

    is_given() >> get
    start_job(get.output)  # type: ignore[arg-type]


cohere_upload_several()
cohere_one_run_per_dataset()
