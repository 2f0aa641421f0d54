"""Runs a DAG in this process, through Airflow's own task runner and, from Airflow 3 on, its execution API."""

from __future__ import annotations

import os
from datetime import UTC, datetime
from functools import cache
from pathlib import Path
from typing import Any

from airflow.providers.common.compat.sdk import DAG

from tests.versions import AIRFLOW

BUNDLE = "dags-folder"


@cache
def make_database() -> None:
    """Make the metadata database, once."""
    from airflow.utils.db import initdb

    initdb()


def new_bag(folder: Path) -> Any:
    """Return a bag that reads DAGs as this Airflow's DAG processor does, and has read none yet."""
    if AIRFLOW < (3, 0):
        from airflow.models.dagbag import DagBag

        return DagBag(dag_folder=folder, include_examples=False, collect_dags=False)
    if AIRFLOW < (3, 2):
        from airflow.models.dagbag import BundleDagBag

        return BundleDagBag(dag_folder=folder, bundle_path=folder, collect_dags=False)
    from airflow.dag_processing.dagbag import BundleDagBag

    return BundleDagBag(dag_folder=folder, bundle_path=folder, bundle_name=BUNDLE, collect_dags=False)


def _store(dag: DAG) -> None:
    """Put a DAG into the database, as the DAG processor does."""
    from airflow.dag_processing.bundles.manager import DagBundlesManager

    if AIRFLOW < (3, 2):
        from airflow.models.dagbag import sync_bag_to_db
    else:
        from airflow.dag_processing.dagbag import sync_bag_to_db

    DagBundlesManager().sync_bundles_to_db()  # type: ignore[no-untyped-call]
    bag = new_bag(Path(os.environ["AIRFLOW_HOME"]) / "dags")
    bag.bag_dag(dag)
    sync_bag_to_db(bag, BUNDLE, None)


def run(dag: DAG, conf: dict[str, Any] | None = None) -> dict[tuple[str, int], Any]:
    """Run a DAG once, without waiting between tries; return its task instances by task and map index."""
    make_database()
    if AIRFLOW < (3, 0):
        dag.sync_to_db()
        result = dag.test(execution_date=datetime.now(UTC), run_conf=conf)
    else:
        _store(dag)
        result = dag.test(logical_date=datetime.now(UTC), run_conf=conf)
    return {(task.task_id, task.map_index): task for task in result.get_task_instances()}
