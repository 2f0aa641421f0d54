"""Runs one DAG with lineage in a process of its own: OpenLineage's plugin is read once, when Airflow starts."""

from __future__ import annotations

from datetime import datetime

from airflow.providers.common.compat.sdk import DAG, BaseOperator, Context

from airflow_provider_cohere_datasets.hooks.datasets import CohereDatasetsHook
from airflow_provider_cohere_datasets.lineage.datasets import Lineage, LineageMixin, created, exported, read
from tests.operators.running import run

HOST = "localhost:8080"


class Records(LineageMixin, BaseOperator):
    """Records the lineage that it was given."""

    def __init__(self, *, lineage: Lineage, **kwargs: object) -> None:
        super().__init__(**kwargs)  # type: ignore[arg-type]
        self.told = lineage

    def execute(self, context: Context) -> None:
        self.record_lineage(CohereDatasetsHook(), self.told)


class OnlyHook(BaseOperator):
    """Uses a hook that reports lineage, as a task of a user does."""

    def execute(self, context: Context) -> None:
        created("by-hook", ["/data/rows.csv"], HOST).report(CohereDatasetsHook())


if __name__ == "__main__":
    with DAG("lineage", schedule=None, start_date=datetime(2026, 1, 1)) as dag:
        summary = {"path": "/lake/datasets.parquet", "rows": 3, "bytes": 99}
        # All run in this one process, whose collector is never emptied, so those that depend on it come first.
        (
            Records(task_id="nothing", lineage=Lineage())
            >> OnlyHook(task_id="hook")
            >> Records(task_id="create", lineage=created("a b", ["/data/rows.csv", "s3://c@bucket/eval.csv"], HOST))
            >> Records(task_id="wait", lineage=read(["a", "b"], HOST))
            >> Records(task_id="export", lineage=exported(summary, HOST))
        )
    states = {key[0]: task.state for key, task in run(dag).items()}
    if set(states.values()) != {"success"}:
        raise SystemExit(f"The tasks ended as {states}")
