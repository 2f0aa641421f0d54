"""What a task tells its outlets, with Airflow's own collection of events."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import pytest
from airflow.providers.common.compat.sdk import Asset, AssetAlias

from airflow_provider_cohere_datasets.assets.events import emit
from tests.versions import AIRFLOW, OutletEventAccessors

LAKE = Asset("s3://lake/datasets.parquet")
ALIAS = AssetAlias("new-datasets")
DATASETS = {"a": {"status": "validated"}, "b/c": {"status": "validated", "rows": 3}}


@pytest.fixture
def context() -> Any:
    return {"outlet_events": OutletEventAccessors()}


def alias_events(context: Any) -> list[tuple[str, Any]]:
    """Return the URI and the extra of each event on the alias, in whatever words this Airflow has."""
    accessor = context["outlet_events"][ALIAS]
    if hasattr(accessor, "asset_alias_events"):
        return [(event.dest_asset_key.uri, event.extra) for event in accessor.asset_alias_events]
    return [(event["dest_dataset_uri"], event["extra"]) for event in accessor.dataset_alias_events]


def test_nobody_is_told_in_a_context_of_a_unit_test() -> None:
    emit({}, [LAKE, ALIAS], extra={"rows": 3}, datasets={"a": {}}, host="https://api.cohere.com")


def test_an_asset_is_told_the_extra(context: Any) -> None:
    told = {"rows": 3}
    emit(context, [LAKE], extra=told, datasets=DATASETS)
    assert context["outlet_events"][LAKE].extra == {"rows": 3}
    told["rows"] = 4
    assert context["outlet_events"][LAKE].extra == {"rows": 3}


def test_an_alias_is_told_each_dataset(context: Any) -> None:
    emit(context, [ALIAS, LAKE], datasets=DATASETS, host="http://localhost:8080/v1")
    assert alias_events(context) == [
        ("cohere://localhost:8080/datasets/a", DATASETS["a"]),
        ("cohere://localhost:8080/datasets/b%2Fc", DATASETS["b/c"]),
    ]
    assert context["outlet_events"][LAKE].extra == {}


def test_without_datasets_an_alias_gets_no_event(context: Any) -> None:
    emit(context, [ALIAS], extra={"rows": 0}, datasets={})
    assert alias_events(context) == []


def test_each_dataset_may_be_a_partition_of_an_asset(context: Any) -> None:
    one, many = LAKE, Asset("s3://lake/others.parquet")
    emit(context, [one], extra={"rows": 3}, datasets={"a": DATASETS["a"]}, partitions=True)
    emit(context, [many, ALIAS], extra={"datasets": [1, 2]}, datasets=DATASETS, partitions=True)
    assert len(alias_events(context)) == 2
    events = [context["outlet_events"][asset] for asset in (one, many)]
    if AIRFLOW >= (3, 3):
        assert [event.partition_keys for event in events] == [{"a"}, {"a", "b/c"}]
        assert [event.extra for event in events] == [{"rows": 3}, {}], "each partition would have the extra of all"
    else:
        assert [event.extra for event in events] == [{"rows": 3}, {"datasets": [1, 2]}]


@pytest.mark.skipif(AIRFLOW < (3,), reason="Airflow 2 has no references to assets")
def test_a_reference_to_an_asset_is_told_too() -> None:
    reference: Any = Asset.ref(uri="s3://lake/datasets.parquet")
    event = SimpleNamespace(extra={})
    emit({"outlet_events": {reference: event}}, [reference], extra={"rows": 3})  # type: ignore[typeddict-item]
    assert event.extra == {"rows": 3}


def test_other_outlets_are_left_alone() -> None:
    emit({}, ["a table", object()], extra={"rows": 1}, datasets=DATASETS)  # type: ignore[typeddict-item]
