"""Two gates: one before a fine-tuning job, one before an embed job.

A gate is what keeps an expensive job from starting on a dataset that is too small, too old or full of warnings. Cohere
has deprecated fine-tuning, so the second half shows the same for an embed job.

Runs as it is with the emulator. With Cohere itself, set the connection ``cohere_default``; with your own files, set the
parameters. The last tasks build the requests and return them; the provider itself covers datasets only.
"""

from __future__ import annotations

from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

from airflow.providers.common.compat.sdk import Param, dag, task

from airflow_provider_cohere_datasets.operators.datasets import CohereCreateDatasetOperator, CohereDatasetGateOperator
from airflow_provider_cohere_datasets.sensors.datasets import CohereDatasetValidationSensor

DATA = Path(__file__).parent / "data"
NAMED = "{{ (dag_run.logical_date or dag_run.run_after).strftime('%Y%m%dT%H%M%S') }}"


@dag(
    schedule=None,
    start_date=datetime(2026, 1, 1),
    catchup=False,
    default_args={"retries": 2, "retry_delay": timedelta(seconds=30)},
    doc_md=__doc__,
    tags=["cohere", "example"],
    params={
        "chats": Param(str(DATA / "support_chats.jsonl"), type="string", description="Chats to train on"),
        "eval_chats": Param(str(DATA / "support_chats_eval.jsonl"), type="string", description="Chats to evaluate on"),
        "questions": Param(str(DATA / "support_questions.jsonl"), type="string", description="Texts to embed"),
        "min_questions": Param(10, type="integer", minimum=1, description="Fewer texts are not worth a job"),
    },
)
def cohere_gated_fine_tune() -> None:
    """Upload, wait and gate, once for each of two jobs."""
    upload_chats = CohereCreateDatasetOperator(
        task_id="upload_chats",
        name=f"support-chats-{NAMED}",
        dataset_type="chat-finetune-input",
        data="{{ params.chats }}",
        eval_data="{{ params.eval_chats }}",
    )

    wait_for_chats = CohereDatasetValidationSensor(
        task_id="wait_for_chats",
        dataset_id=upload_chats.output,
        poke_interval=2,
        timeout=600,
        deferrable=True,
    )

    gate_fine_tune = CohereDatasetGateOperator(
        task_id="gate_fine_tune",
        dataset_id=upload_chats.output,
        allowed_types=["chat-finetune-input"],
        min_train_examples=8,
        min_eval_examples=2,
        min_trainable_token_count=250,
        max_warnings=0,
        max_age=timedelta(days=25),
    )

    @task
    def fine_tune_request(dataset: dict[str, Any]) -> dict[str, Any]:
        """Build the body of ``POST /v1/finetuning/finetuned-models``; send it with the HTTP client of your choice."""
        return {
            "name": dataset["name"],
            "settings": {"base_model": {"base_type": "BASE_TYPE_CHAT"}, "dataset_id": dataset["id"]},
        }

    upload_questions = CohereCreateDatasetOperator(
        task_id="upload_questions",
        name=f"support-questions-{NAMED}",
        dataset_type="embed-input",
        data="{{ params.questions }}",
    )

    wait_for_questions = CohereDatasetValidationSensor(
        task_id="wait_for_questions",
        dataset_id=upload_questions.output,
        poke_interval=2,
        timeout=600,
        deferrable=True,
    )

    # Too few new texts are no mistake: the run is fine, and the job is skipped.
    gate_embed_job = CohereDatasetGateOperator(
        task_id="gate_embed_job",
        dataset_id=upload_questions.output,
        allowed_types=["embed-input"],
        min_total_examples="{{ params.min_questions }}",
        on_violation="skip",
    )

    @task
    def embed_job_request(dataset: dict[str, Any]) -> dict[str, Any]:
        """Build the body of ``POST /v1/embed-jobs``; send it with the HTTP client of your choice."""
        return {
            "name": dataset["name"],
            "dataset_id": dataset["id"],
            "model": "embed-multilingual-v3.0",
            "input_type": "search_document",
        }

    upload_chats >> wait_for_chats >> gate_fine_tune
    fine_tune_request(gate_fine_tune.output)  # type: ignore[arg-type]

    upload_questions >> wait_for_questions >> gate_embed_job
    embed_job_request(gate_embed_job.output)  # type: ignore[arg-type]


cohere_gated_fine_tune()
