"""Events as they reach Airflow's database."""

from __future__ import annotations

from datetime import datetime
from typing import Any

from airflow.providers.common.compat.sdk import DAG, Asset, AssetAlias, BaseOperator, Context

from airflow_provider_cohere_datasets.assets.events import emit


class Gate(BaseOperator):
    """Finds two datasets."""

    def execute(self, context: Context) -> None:
        emit(context, self.outlets, extra={"checked": 2}, datasets={"a": {"rows": 1}, "b c": {"rows": 2}})


def uri_of(event: Any) -> str:
    """Return the URI of an event's asset, which Airflow 2 called a dataset."""
    return str(event.asset.uri if hasattr(event, "asset") else event.uri)


def test_consumers_see_an_event_for_each_dataset() -> None:
    from airflow.utils.session import create_session
    from sqlalchemy import select

    from tests.operators.running import run

    try:
        from airflow.models.asset import AssetEvent
    except ImportError:  # Airflow 2
        from airflow.models.dataset import DatasetEvent as AssetEvent

    with DAG("asset_events", schedule=None, start_date=datetime(2026, 1, 1)) as dag:
        Gate(task_id="gate", outlets=[Asset("cohere://api.cohere.com/datasets"), AssetAlias("gated")])
    tasks = run(dag)
    assert {task.state for task in tasks.values()} == {"success"}
    with create_session() as session:
        found = session.scalars(select(AssetEvent).where(AssetEvent.source_dag_id == "asset_events"))
        events: dict[str, Any] = {uri_of(event): (event.extra, len(event.source_aliases)) for event in found}
    assert events == {
        "cohere://api.cohere.com/datasets": ({"checked": 2}, 0),
        "cohere://api.cohere.com/datasets/a": ({"rows": 1}, 1),
        "cohere://api.cohere.com/datasets/b%20c": ({"rows": 2}, 1),
    }
