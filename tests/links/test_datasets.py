"""The link on a task's page."""

from __future__ import annotations

from datetime import datetime
from typing import Any

from airflow.providers.common.compat.sdk import DAG, BaseOperator, Context

from airflow_provider_cohere_datasets.links.datasets import CohereDatasetsLink
from tests.versions import AIRFLOW, stored_and_read


class Upload(BaseOperator):
    """Has the link."""

    operator_extra_links = (CohereDatasetsLink(),)

    def execute(self, context: Context) -> None:
        """Do nothing."""


def dag() -> DAG:
    with DAG("linked", schedule=None, start_date=datetime(2026, 1, 1)) as made:
        Upload(task_id="upload")
    return made


def test_the_link_needs_neither_an_operator_nor_a_database() -> None:
    no_one: Any = None
    assert CohereDatasetsLink().get_link(no_one, ti_key=no_one) == "https://dashboard.cohere.com/datasets"


def test_the_link_survives_serialization() -> None:
    (link,) = stored_and_read(dag()).get_task("upload").operator_extra_links
    assert link.name == "Cohere dashboard"


def test_the_link_is_there_after_the_run() -> None:
    from tests.operators.running import run

    made = dag()
    task = run(made)["upload", -1]
    assert task.state == "success"
    if AIRFLOW < (3, 0):  # asks the link itself when it shows a task
        found = made.get_task("upload").get_extra_links(task, "Cohere dashboard")
    else:
        found = task.xcom_pull(task_ids="upload", key=CohereDatasetsLink().xcom_key)
    assert found == "https://dashboard.cohere.com/datasets"
