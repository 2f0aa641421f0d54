"""Runs a DAG in this process, through Airflow's own task runner and execution API."""

from __future__ import annotations

import os
from datetime import UTC, datetime
from functools import cache
from pathlib import Path
from typing import Any

from airflow.providers.common.compat.sdk import DAG


@cache
def make_database() -> None:
    """Make the metadata database, once."""
    from airflow.utils.db import initdb

    initdb()


def run(dag: DAG, conf: dict[str, Any] | None = None) -> dict[tuple[str, int], Any]:
    """Run a DAG once, without waiting between tries; return its task instances by task and map index."""
    from airflow.dag_processing.bundles.manager import DagBundlesManager
    from airflow.dag_processing.dagbag import BundleDagBag, sync_bag_to_db

    make_database()
    DagBundlesManager().sync_bundles_to_db()  # type: ignore[no-untyped-call]
    folder = Path(os.environ["AIRFLOW_HOME"]) / "dags"
    bag = BundleDagBag(dag_folder=folder, bundle_path=folder, bundle_name="dags-folder")
    bag.bag_dag(dag)
    sync_bag_to_db(bag, "dags-folder", None)
    result = dag.test(logical_date=datetime.now(UTC), run_conf=conf)
    return {(task.task_id, task.map_index): task for task in result.get_task_instances()}
