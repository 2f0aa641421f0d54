"""A DAG that runs whenever Cohere has validated a dataset, whoever uploaded it.

A watcher in the triggerer looks for datasets that become validated (Airflow 3). Each is an event of the asset, and an
event starts a run; several may share one. With Airflow 2, or by hand, set the parameter ``dataset_ids``.

Runs as it is with the emulator. With Cohere itself, set the connection ``cohere_default``.
"""

from __future__ import annotations

from datetime import datetime, timedelta
from typing import Any

from airflow.providers.common.compat.sdk import Asset, Param, dag, task

from airflow_provider_cohere_datasets.operators.datasets import CohereDatasetGateOperator
from airflow_provider_cohere_datasets.triggers.datasets import CohereDatasetEventTrigger

try:
    from airflow.sdk import AssetWatcher
except ImportError:  # Airflow 2 has no watchers.
    SCHEDULE = None
else:
    trigger = CohereDatasetEventTrigger(dataset_type="embed-input", poke_interval=30)
    watcher = AssetWatcher(name="cohere_validated_datasets", trigger=trigger)
    SCHEDULE = [Asset(name="cohere_validated_datasets", watchers=[watcher])]


@dag(
    schedule=SCHEDULE,
    start_date=datetime(2026, 1, 1),
    catchup=False,
    default_args={"retries": 2, "retry_delay": timedelta(seconds=30)},
    doc_md=__doc__,
    tags=["cohere", "example"],
    params={"dataset_ids": Param([], type="array", description="Datasets to handle in a run that no event started")},
)
def cohere_on_dataset_validated() -> None:
    """Read the events, gate their datasets, and hand on those that passed."""

    @task
    def read_events(triggering_asset_events: Any = None, params: Any = None) -> list[str]:
        """Return the ids of the datasets that the run is about."""
        events = [event for several in (triggering_asset_events or {}).values() for event in several]
        # A payload has dataset_id, name, dataset_type, validation_status, num_rows, size_bytes and warnings. An event
        # that somebody made by hand has none.
        payloads = [event.extra["payload"] for event in events if event.extra.get("from_trigger")]
        return [payload["dataset_id"] for payload in payloads] or list(params["dataset_ids"])

    # A dataset may be gone by now, or too small: up to half of those of one run may be left out.
    gate = CohereDatasetGateOperator(
        task_id="gate",
        dataset_ids=read_events(),  # type: ignore[arg-type]
        min_total_examples=5,
        max_warnings=10,
        max_failed=0.5,
        # A run by hand without the parameter has nothing to do.
        allow_empty=True,
    )

    @task
    def embed_job_requests(gated: dict[str, Any]) -> list[dict[str, str]]:
        """Build a body of ``POST /v1/embed-jobs`` for each dataset that passed."""
        job = {"model": "embed-multilingual-v3.0", "input_type": "search_document"}
        return [{"dataset_id": dataset_id, **job} for dataset_id in gated["passed"]]

    embed_job_requests(gate.output)  # type: ignore[arg-type]


cohere_on_dataset_validated()
