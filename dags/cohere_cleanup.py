"""Delete what failed its validation: usage, list, delete.

As long as the parameter ``dry_run`` is set, nothing is deleted. Runs as it is with the emulator. With Cohere itself,
set the connection ``cohere_default``.
"""

from __future__ import annotations

from datetime import datetime, timedelta

from airflow.providers.common.compat.sdk import Param, dag

from airflow_provider_cohere_datasets.operators.datasets import (
    CohereDeleteDatasetOperator,
    CohereGetDatasetUsageOperator,
    CohereListDatasetsOperator,
)


@dag(
    schedule=None,
    start_date=datetime(2026, 1, 1),
    catchup=False,
    default_args={"retries": 2, "retry_delay": timedelta(seconds=30)},
    doc_md=__doc__,
    tags=["cohere", "example"],
    params={"dry_run": Param(True, type="boolean", description="Only tell what would be deleted")},
)
def cohere_cleanup() -> None:
    """Tell the usage and what failed, then delete what failed a week ago."""
    usage = CohereGetDatasetUsageOperator(task_id="usage", fail_above=0.9)

    failed = CohereListDatasetsOperator(task_id="failed", validation_status="failed", limit=100)

    delete = CohereDeleteDatasetOperator(
        task_id="delete",
        older_than=timedelta(days=7),
        validation_status="failed",
        dry_run="{{ params.dry_run }}",
        trigger_rule="all_done",  # Where the storage is nearly full, more than ever.
    )

    [usage, failed] >> delete


cohere_cleanup()
