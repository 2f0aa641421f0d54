"""The operators and the sensor tell what they did: to assets, to aliases of assets, and to lineage."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest
from airflow.providers.common.compat.sdk import Asset, AssetAlias, ObjectStoragePath

from airflow_provider_cohere_datasets.core.errors import CohereGateError
from airflow_provider_cohere_datasets.emulator import Emulator
from airflow_provider_cohere_datasets.operators.datasets import (
    CohereCreateDatasetOperator,
    CohereDatasetGateOperator,
    CohereGetDatasetOperator,
)
from airflow_provider_cohere_datasets.sensors.datasets import CohereDatasetValidationSensor
from airflow_provider_cohere_datasets.transfers.parquet import CohereDatasetsToParquetOperator
from tests.versions import OutletEventAccessors

pytestmark = pytest.mark.usefixtures("cohere_connection")
ASSET, ALIAS = Asset("s3://lake/x"), AssetAlias("datasets")


@pytest.fixture
def context() -> Any:
    return {"outlet_events": OutletEventAccessors(), "run_id": "r", "logical_date": None}


def uri(emulator: Emulator, dataset_id: str | None = None) -> str:
    everything = f"cohere://{emulator.base_url.removeprefix('http://')}/datasets"
    return everything if dataset_id is None else f"{everything}/{dataset_id}"


def alias_uris(context: Any) -> list[str]:
    accessor = context["outlet_events"][ALIAS]
    if hasattr(accessor, "asset_alias_events"):
        return [event.dest_asset_key.uri for event in accessor.asset_alias_events]
    return [event["dest_dataset_uri"] for event in accessor.dataset_alias_events]


@pytest.mark.parametrize("kind", [str, Path, ObjectStoragePath])
def test_an_upload(emulator: Emulator, context: Any, tmp_path: Path, kind: type[Any]) -> None:
    file = tmp_path / "rows.jsonl"
    file.write_text('{"text": "a"}\n')
    task = CohereCreateDatasetOperator(
        task_id="t", name="n", dataset_type="embed-input", data=kind(str(file)), outlets=[ASSET, ALIAS]
    )
    result = task.execute(context)
    dataset_id = result["id"]
    assert context["outlet_events"][ASSET].extra == result
    assert alias_uris(context) == [uri(emulator, dataset_id)]
    assert task._lineage is not None
    assert (task._lineage.inputs, task._lineage.outputs) == ((file.as_uri(),), (uri(emulator, dataset_id),))


def test_an_upload_of_a_table(emulator: Emulator, context: Any) -> None:
    table = pa.table({"text": ["a secret of the user"]})
    task = CohereCreateDatasetOperator(task_id="t", name="n", dataset_type="embed-input", data=table, eval_data="")
    dataset_id = task.execute(context)["id"]
    assert task._lineage is not None
    assert (task._lineage.inputs, task._lineage.outputs) == ((), (uri(emulator, dataset_id),))


def test_a_get(emulator: Emulator, context: Any) -> None:
    (dataset_id,) = emulator.seed(1)
    task = CohereGetDatasetOperator(task_id="t", dataset_id=dataset_id)
    task.execute(context)
    assert task._lineage is not None
    assert task._lineage.inputs == (uri(emulator, dataset_id),)


@pytest.mark.parametrize("kind", [CohereDatasetGateOperator, CohereDatasetValidationSensor])
@pytest.mark.parametrize("several", [False, True])
def test_a_gate_and_a_sensor(emulator: Emulator, context: Any, kind: type[Any], several: bool) -> None:
    ids = emulator.seed(2)
    chosen = ids if several else ids[:1]
    given = {"dataset_ids": ids} if several else {"dataset_id": ids[0]}
    task = kind(task_id="t", **given, outlets=[ASSET, ALIAS], partition_outlets=True)
    result = task.execute(context)
    event = context["outlet_events"][ASSET]
    told = ({},) if several and hasattr(event, "partition_keys") else (result, {"datasets": result})
    assert event.extra in told
    assert sorted(getattr(event, "partition_keys", chosen)) == sorted(chosen)
    assert alias_uris(context) == [uri(emulator, dataset_id) for dataset_id in chosen]
    assert task._lineage.inputs == tuple(uri(emulator, dataset_id) for dataset_id in chosen)


def test_a_gate_tells_only_of_what_passed(emulator: Emulator, context: Any) -> None:
    (good,), (bad,) = emulator.seed(1), emulator.seed(1, status="failed")
    task = CohereDatasetGateOperator(
        task_id="t", dataset_ids=[bad, good], max_failed=1, outlets=[ASSET, ALIAS], partition_outlets=True
    )
    assert task.execute(context)["passed"] == [good]
    assert alias_uris(context) == [uri(emulator, good)]
    assert list(getattr(context["outlet_events"][ASSET], "partition_keys", [good])) == [good]
    assert task._lineage is not None
    assert sorted(task._lineage.inputs) == sorted([uri(emulator, good), uri(emulator, bad)])


def test_a_gate_that_is_shut_still_has_its_lineage(emulator: Emulator, context: Any) -> None:
    (dataset_id,) = emulator.seed(1)
    task = CohereDatasetGateOperator(task_id="t", dataset_id=dataset_id, min_total_examples=10**9, outlets=[ALIAS])
    with pytest.raises(CohereGateError):
        task.execute(context)
    assert task._lineage is not None
    assert task._lineage.inputs == (uri(emulator, dataset_id),)
    assert alias_uris(context) == []


def test_an_export(emulator: Emulator, context: Any, tmp_path: Path) -> None:
    emulator.seed(3)
    task = CohereDatasetsToParquetOperator(task_id="t", output_path=str(tmp_path / "x.parquet"), outlets=[ASSET, ALIAS])
    result = task.execute(context)
    assert context["outlet_events"][ASSET].extra == result
    assert alias_uris(context) == []
    assert task._lineage is not None
    assert (task._lineage.inputs, task._lineage.outputs) == ((uri(emulator),), ((tmp_path / "x.parquet").as_uri(),))
    assert (task._lineage.rows, task._lineage.size) == (3, result["bytes"])


@pytest.mark.parametrize(
    "kind",
    [CohereCreateDatasetOperator, CohereGetDatasetOperator, CohereDatasetGateOperator, CohereDatasetValidationSensor],
)
def test_the_link_to_the_dashboard_is_there(kind: type[Any]) -> None:
    assert [link.name for link in kind.operator_extra_links] == ["Cohere dashboard"]
