"""Names that several uploads share, and names that are made unique."""

from __future__ import annotations

from datetime import UTC, datetime
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from airflow.providers.common.compat.sdk import DAG, AirflowFailException, task, task_group

from airflow_provider_cohere_datasets.core.errors import (
    CohereInputError,
    CohereUploadAmbiguousError,
    CohereUploadUnsettledError,
)
from airflow_provider_cohere_datasets.operators.datasets import CohereCreateDatasetOperator
from tests.adversary import AdversarialServer, Close, Lost
from tests.operators.creating import LIST, POLICY, Task, made

# -- Mapped tasks -----------------------------------------------------------------------------------------------------


def mapped(data: list[Path], **partial: Any) -> list[Task]:
    """Return the instances of a task that is mapped over its data."""
    with DAG("d", schedule=None) as dag:
        operator = CohereCreateDatasetOperator.partial(
            task_id="create", dataset_type="embed-input", retries=2, request_policy=POLICY, **partial
        ).expand(data=[str(path) for path in data])
    tasks = [Task(path, map_index=index) for index, path in enumerate(data)]
    for each in tasks:
        each.dag = dag
        arguments = {"data": each.arguments["data"]}
        each.make = lambda arguments=arguments: operator.unmap(arguments)  # type: ignore[misc]
    return tasks


@pytest.fixture
def both(data: Path, tmp_path: Path) -> list[Path]:
    other = tmp_path / "other.jsonl"
    other.write_text('{"text": "hallo"}\n')
    return [data, other]


def test_instances_that_share_a_name_are_not_taken_for_each_other(
    server: AdversarialServer, both: list[Path], waits: list[float]
) -> None:
    first, second = mapped(both, name="news")
    first.run()
    server.script("POST", LIST, [Close()])
    with pytest.raises(CohereUploadAmbiguousError) as caught:
        second.run()
    assert isinstance(caught.value, AirflowFailException)
    assert server.count("POST") == 2
    assert first.run()["adopted"]  # whose id is known


def test_a_shared_name_is_no_trouble_without_candidates(
    server: AdversarialServer, both: list[Path], waits: list[float]
) -> None:
    first, second = mapped(both, name="news")
    server.script("POST", LIST, [Close()])
    with pytest.raises(CohereUploadUnsettledError):
        second.run()
    assert not second.run()["adopted"]
    assert first.run()["id"] != second.run()["id"]
    assert len(made(server)) == 2


def test_with_unique_names_each_instance_finds_its_own(
    server: AdversarialServer, both: list[Path], waits: list[float]
) -> None:
    first, second = mapped(both, name="news", unique_name=True)
    server.script("POST", LIST, [Lost(Close()), Lost(Close())])
    results = [first.run(), second.run()]
    assert [result["id"] for result in results] == made(server)
    assert len({result["name"] for result in results}) == 2


def test_an_index_that_gets_other_data_is_another_upload(
    server: AdversarialServer, both: list[Path], waits: list[float]
) -> None:
    first, other = mapped(both, name="news")
    before = first.run()["id"]
    first.make = other.make
    result = first.run()
    assert not result["adopted"]
    assert made(server) == [before, result["id"]]


SHARED = {"news": True, "news-{{ ds }}": True, "news-{{ ti.map_index }}": False, "{{ task.data }}": False}


@pytest.mark.parametrize(("name", "shared"), SHARED.items())
def test_which_names_are_shared(both: list[Path], name: str, shared: bool) -> None:
    (instance, _) = mapped(both, name=name)
    instance.try_number = 1
    assert instance.make()._name_is_shared(instance.context()) is shared
    instance.map_index = -1
    assert instance.make()._name_is_shared(instance.context()) is False


@pytest.mark.filterwarnings("ignore")  # of Airflow, for tasks that are made outside a file of DAGs
def test_which_names_are_shared_in_other_ways_of_mapping() -> None:
    with DAG("d", schedule=None) as dag:

        @task
        def names() -> str:
            return "news"

        kind = {"dataset_type": "embed-input"}
        make = CohereCreateDatasetOperator
        make.partial(task_id="one", name=names(), **kind).expand(data=["a", "b"])
        make.partial(task_id="each", data="a", **kind).expand(name=["a", "b"])
        make.partial(task_id="both", **kind).expand_kwargs([{"data": "a", "name": "a"}])
        make.partial(task_id="given", **kind).expand_kwargs(names())
        make.partial(task_id="twice", data="a", **kind).expand(name=["x", "b", "x"])
        make.partial(task_id="crossed", **kind).expand(name=["x", "b"], data=["a", "b"])
        make.partial(task_id="one_file", **kind).expand(name=["x", "b"], data=["a"])
        make.partial(task_id="some_files", **kind).expand(name=["x", "b"], data=names())
        make.partial(task_id="same", **kind).expand_kwargs([{"data": "a", "name": "x"}, {"data": "b", "name": "x"}])

        @task_group
        def group(path: str) -> None:
            make(task_id="plain", name="news", data=path, **kind)
            make(task_id="dated", name="news-{{ ds }}", data=path, **kind)
            make(task_id="own", name=path, data="a", **kind)

        group.expand(path=["a", "b"])
    expected = {"one": True, "each": False, "both": False, "given": False, "twice": True, "same": True}
    expected |= {"crossed": True, "one_file": False, "some_files": True}
    expected |= {"group.plain": True, "group.dated": True, "group.own": False}
    context: Any = {"ti": SimpleNamespace(map_index=0), "dag": dag}
    found = {}
    for task_id in expected:
        known = dag.get_task(task_id)
        operator = known if isinstance(known, make) else make(task_id="x", name="x", data="x", **kind)
        operator.task_id = task_id
        found[task_id] = operator._name_is_shared(context)
    assert found == expected


# -- Unique names -----------------------------------------------------------------------------------------------------


def test_a_unique_name_is_that_of_the_task_instance(server: AdversarialServer, data: Path) -> None:
    task = Task(data, unique_name=True, name=" news ")
    name = task.run()["name"]
    assert name.startswith("news-")
    assert len(name) == len("news-") + 8
    assert int(name[5:], 16) >= 0
    assert task.run()["name"] == name
    task.clear()
    cleared = task.run()["name"]
    assert cleared not in {name, "news"}
    assert Task(data, unique_name=True, map_index=3).run()["name"] not in {name, cleared}
    assert [row["name"] for row in server.model.datasets[3:]][:2] == [name, cleared]


def test_a_task_that_keeps_its_dataset_keeps_its_name(server: AdversarialServer, data: Path) -> None:
    task = Task(data, unique_name=True, reuse_on_clear=True)
    first = task.run()
    task.clear()
    assert task.run() == {**first, "adopted": True}


def test_a_unique_name_makes_the_lookup_safe_below_airflow_33(
    server: AdversarialServer, data: Path, waits: list[float]
) -> None:
    server.model.fresh(name="news", created_at=datetime.now(UTC))
    task = Task(data, store=False, unique_name=True)
    first = task.run()
    assert task.run() == {**first, "adopted": True}


@pytest.mark.parametrize(
    ("name", "says"),
    [
        ("x" * 41, "has 50 characters; Cohere takes at most 49"),
        ("", "name is empty"),
        (" ", "name is empty"),
        (None, "name is empty"),
        ("None", "a template gave no value"),
        (5, "must be a text"),
    ],
)
def test_names_that_cannot_be_made_unique(server: AdversarialServer, data: Path, name: Any, says: str) -> None:
    with pytest.raises(CohereInputError, match=says):
        Task(data, name=name, unique_name=True).run()
    assert server.requests == []


def test_the_longest_name_that_can(server: AdversarialServer, data: Path) -> None:
    assert len(Task(data, name="x" * 40, unique_name=True).run()["name"]) == 49
