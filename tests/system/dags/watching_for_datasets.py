"""Runs when a dataset becomes validated, and returns which."""

from __future__ import annotations

from datetime import datetime
from typing import Any

from airflow.providers.common.compat.sdk import DAG, Asset, task
from airflow.sdk import AssetWatcher

from airflow_provider_cohere_datasets.triggers.datasets import CohereDatasetEventTrigger

TRIGGER = CohereDatasetEventTrigger(dataset_type="batch-chat-input", name_pattern="watched*", poke_interval=2.0)
VALIDATED = Asset("cohere-watched-datasets", watchers=[AssetWatcher(name="validated", trigger=TRIGGER)])

with DAG("watching_for_datasets", schedule=[VALIDATED], start_date=datetime(2026, 1, 1), catchup=False):

    @task
    def arrived(**context: Any) -> list[dict[str, Any]]:
        """Return what the events of this run tell."""
        return [event.extra["payload"] for event in context["triggering_asset_events"][VALIDATED]]

    arrived()
