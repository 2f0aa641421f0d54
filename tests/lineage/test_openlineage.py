"""What the OpenLineage provider itself sends of our tasks."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any, TypeAlias

import pytest

from airflow_provider_cohere_datasets.assets.datasets import create_asset
from airflow_provider_cohere_datasets.lineage.datasets import Lineage, LineageMixin, created

REPOSITORY = Path(__file__).parents[2]
#: The events of tasks that ended, by task.
Events: TypeAlias = Mapping[str, Any]


@pytest.fixture(scope="module")
def events(tmp_path_factory: pytest.TempPathFactory) -> Events:
    """Run the DAG with OpenLineage on, and return what it wrote."""
    pytest.importorskip("airflow.providers.openlineage", reason="apache-airflow-providers-openlineage is not installed")
    home = tmp_path_factory.mktemp("openlineage")
    (home / "dags").mkdir()
    written = home / "events.jsonl"
    environment = {
        **os.environ,
        "AIRFLOW_HOME": str(home),
        "AIRFLOW__CORE__DAGS_FOLDER": str(home / "dags"),
        "AIRFLOW__DATABASE__SQL_ALCHEMY_CONN": f"sqlite:///{home / 'airflow.db'}",
        "AIRFLOW__OPENLINEAGE__TRANSPORT": json.dumps({"type": "file", "log_file_path": str(written), "append": True}),
    }
    command = [sys.executable, "-m", "tests.lineage.openlineage_run"]
    ran = subprocess.run(command, cwd=REPOSITORY, env=environment, capture_output=True, text=True, timeout=300)
    assert ran.returncode == 0, ran.stdout[-3000:] + ran.stderr[-3000:]
    found = [json.loads(line) for line in written.read_text().splitlines()]
    return {
        event["job"]["name"].removeprefix("lineage."): event
        for event in found
        if event["eventType"] == "COMPLETE" and event["job"]["name"] != "lineage"
    }


def names(datasets: list[dict[str, Any]]) -> list[tuple[str, str]]:
    return [(dataset["namespace"], dataset["name"]) for dataset in datasets]


def test_an_upload_goes_from_files_to_a_dataset(events: Events) -> None:
    assert names(events["create"]["inputs"]) == [("file", "/data/rows.csv"), ("s3://bucket", "eval.csv")]
    assert names(events["create"]["outputs"]) == [("cohere://localhost:8080", "datasets/a b")]


def test_a_wait_reads_its_datasets(events: Events) -> None:
    both = [("cohere://localhost:8080", "datasets/a"), ("cohere://localhost:8080", "datasets/b")]
    assert names(events["wait"]["inputs"]) == both
    assert events["wait"]["outputs"] == []


def test_an_export_goes_from_all_datasets_to_a_file_with_its_size(events: Events) -> None:
    assert names(events["export"]["inputs"]) == [("cohere://localhost:8080", "datasets")]
    (file,) = events["export"]["outputs"]
    assert names([file]) == [("file", "/lake/datasets.parquet")]
    statistics = file["outputFacets"]["outputStatistics"]
    assert (statistics["rowCount"], statistics["size"]) == (3, 99)


def test_a_task_of_users_own_is_known_by_its_hook(events: Events) -> None:
    assert names(events["hook"]["inputs"]) == [("file", "/data/rows.csv")]
    assert names(events["hook"]["outputs"]) == [("cohere://localhost:8080", "datasets/by-hook")]


def test_a_task_that_recorded_nothing_is_still_an_event(events: Events) -> None:
    assert (events["nothing"]["inputs"], events["nothing"]["outputs"]) == ([], [])


def test_a_file_has_the_name_that_it_has_on_the_disk() -> None:
    pytest.importorskip("airflow.providers.openlineage", reason="apache-airflow-providers-openlineage is not installed")
    lineage = created("x", ["/data/a b=c.csv"]).for_openlineage()
    assert lineage is not None
    assert [(file.namespace, file.name) for file in lineage.inputs] == [("file", "/data/a b=c.csv")]


def test_without_openlineage_there_is_nothing_to_tell(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "airflow.providers.openlineage.extractors", None)
    assert Lineage(("cohere://api.cohere.com/datasets/a",)).for_openlineage() is None
    assert LineageMixin().get_openlineage_facets_on_complete(None) is None


def test_an_asset_has_the_same_name_as_in_the_lineage_of_tasks() -> None:
    pytest.importorskip("openlineage.client", reason="openlineage-python is not installed")
    from airflow_provider_cohere_datasets.assets.datasets import convert_asset_to_openlineage

    dataset = convert_asset_to_openlineage(create_asset(dataset_id="a b", host="localhost:8080"))
    assert (dataset.namespace, dataset.name) == ("cohere://localhost:8080", "datasets/a b")
