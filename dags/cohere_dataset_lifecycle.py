"""The main job from end to end: upload a file, wait for its validation, gate, start a job, export, read the export.

Runs as it is with the emulator. With Cohere itself, set the connection ``cohere_default``; with your own file and lake,
set the parameters.
"""

from __future__ import annotations

import os
import tempfile
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

from airflow.providers.common.compat.sdk import ObjectStoragePath, Param, dag, task

from airflow_provider_cohere_datasets.hooks.datasets import CohereDatasetsHook
from airflow_provider_cohere_datasets.operators.datasets import CohereCreateDatasetOperator, CohereDatasetGateOperator
from airflow_provider_cohere_datasets.sensors.datasets import CohereDatasetValidationSensor
from airflow_provider_cohere_datasets.transfers.parquet import CohereDatasetsToParquetOperator

SAMPLE = Path(__file__).parent / "data" / "support_questions.jsonl"
LAKE = os.environ.get("COHERE_EXAMPLE_LAKE") or (Path(tempfile.gettempdir()) / "cohere-lake").as_uri()

SNAPSHOT = (
    "{{ params.lake }}/snapshot_date={{ (dag_run.logical_date or dag_run.run_after).strftime('%Y-%m-%d') }}"
    "/datasets.parquet"
)


@dag(
    schedule=None,
    start_date=datetime(2026, 1, 1),
    catchup=False,
    default_args={"retries": 2, "retry_delay": timedelta(seconds=30)},
    doc_md=__doc__,
    tags=["cohere", "example"],
    params={
        "source": Param(str(SAMPLE), type="string", description="The file to upload"),
        "lake": Param(LAKE, type="string", description="Where the record of all datasets is kept"),
    },
)
def cohere_dataset_lifecycle() -> None:
    """Upload, wait, gate, start a job, export and read the export."""
    upload = CohereCreateDatasetOperator(
        task_id="upload",
        name="support-questions-{{ (dag_run.logical_date or dag_run.run_after).strftime('%Y%m%dT%H%M%S') }}",
        dataset_type="embed-input",
        data="{{ params.source }}",
        keep_fields=["topic"],
    )

    wait = CohereDatasetValidationSensor(
        task_id="wait",
        dataset_id=upload.output,
        poke_interval=2,
        timeout=600,
        deferrable=True,
    )

    gate = CohereDatasetGateOperator(
        task_id="gate",
        dataset_id=upload.output,
        min_total_examples=10,
        max_warnings=0,
        allowed_types=["embed-input"],
    )

    @task
    def start_job(dataset: dict[str, Any]) -> dict[str, int]:
        """Count the topics of the validated records; put your embed, batch or fine-tuning job here."""
        import fastavro
        import requests

        topics: dict[str, int] = {}
        for part in CohereDatasetsHook().get_dataset(dataset["id"]).dataset_parts or ():
            # A part's URL is signed: it needs no API key and must never get it.
            with requests.get(str(part.url), stream=True, timeout=60) as answer:
                answer.raise_for_status()
                for record in fastavro.reader(answer.raw):
                    topic = str(record.get("topic"))
                    topics[topic] = topics.get(topic, 0) + 1
        return topics

    export = CohereDatasetsToParquetOperator(task_id="export", output_path=SNAPSHOT)

    @task
    def read(path: str) -> list[dict[str, str]]:
        """Read the record back, as a consumer of the lake would."""
        import pyarrow.parquet

        columns = ["id", "name", "dataset_type", "validation_status", "created_at"]
        with ObjectStoragePath(path).open("rb") as file:
            rows = pyarrow.parquet.read_table(file, columns=columns).to_pylist()
        return [{name: str(value) for name, value in row.items()} for row in rows]

    upload >> wait >> gate
    job = start_job(gate.output)  # type: ignore[arg-type]
    job >> export >> read(SNAPSHOT)


cohere_dataset_lifecycle()
