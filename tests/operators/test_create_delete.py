"""The operators that write."""

from __future__ import annotations

import json
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any, cast

import fastavro
import pytest
from airflow.providers.common.compat.sdk import AirflowFailException, ObjectStoragePath

from airflow_provider_cohere_datasets.core.errors import (
    CohereDatasetNotFoundError,
    CohereInputError,
    CohereServerError,
)
from airflow_provider_cohere_datasets.core.models import Dataset
from airflow_provider_cohere_datasets.emulator import Emulator
from airflow_provider_cohere_datasets.hooks.datasets import CohereDatasetsHook
from airflow_provider_cohere_datasets.lake.source import MAX_BYTES
from airflow_provider_cohere_datasets.operators.datasets import (
    CohereCreateDatasetOperator,
    CohereDeleteDatasetOperator,
    CohereGetDatasetOperator,
)
from tests.adversary import AdversarialServer, Lost, error, per_minute
from tests.versions import use_operators_in_this_thread

ROWS = [{"text": "hällo", "lang": "de"}, {"text": "world", "lang": "en"}]


def jsonl(path: Path, rows: list[dict[str, Any]] = ROWS) -> Path:
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    return path


def create(data: Any, **arguments: Any) -> str:
    arguments = {"name": "news", "dataset_type": "embed-input", **arguments}
    created = CohereCreateDatasetOperator(task_id="create", data=data, **arguments).execute({})
    assert json.loads(json.dumps(created)) == created
    return str(created["id"])


def stored(emulator: Emulator, dataset_id: str) -> tuple[Dataset, list[list[dict[str, Any]]]]:
    """Return what the server has, and the records of each part."""
    dataset = CohereDatasetsHook().get_dataset(dataset_id)
    parts = []
    for file in sorted(emulator.store.folder(dataset_id).glob("*.avro")):
        with file.open("rb") as stream:
            parts.append([cast("dict[str, Any]", record) for record in fastavro.reader(stream)])
    return dataset, parts


@pytest.mark.usefixtures("cohere_connection")
class TestCreate:
    @pytest.mark.parametrize("kind", [str, ObjectStoragePath, lambda path: f"file://{path}"])
    def test_the_server_holds_the_records(self, emulator: Emulator, tmp_path: Path, kind: Callable[[str], Any]) -> None:
        path = jsonl(tmp_path / "rows.jsonl")
        created = create(kind(str(path)))
        dataset, parts = stored(emulator, created)
        assert (dataset.id, dataset.name, dataset.dataset_type) == (created, "news", "embed-input")
        assert dataset.validation_status == "validated"
        assert [[record["text"] for record in part] for part in parts] == [["hällo", "world"]]
        asked = [(request.method, request.path.removesuffix(created)) for request in emulator.requests]
        assert asked == [("GET", "/v1/datasets/usage"), ("POST", "/v1/datasets"), ("GET", "/v1/datasets/")]

    def test_only_fields_that_are_kept_are_kept(self, emulator: Emulator, tmp_path: Path) -> None:
        path = jsonl(tmp_path / "rows.jsonl")
        kept = stored(emulator, create(str(path), keep_fields=["lang"]))[1]
        assert [record["lang"] for record in kept[0]] == ["de", "en"]
        without = stored(emulator, create(str(path)))[1]
        assert "lang" not in without[0][0]
        optional = stored(emulator, create(str(path), optional_fields=["lang", "author"]))[0]
        assert optional.validation_status == "validated"
        missing = stored(emulator, create(str(path), keep_fields=["author"]))[0]
        assert missing.validation_status == "failed"

    def test_csv_with_its_delimiter(self, emulator: Emulator, tmp_path: Path) -> None:
        path = tmp_path / "rows.csv"
        path.write_text("text;lang\nhello, all;en\n")
        _, parts = stored(emulator, create(str(path), csv_delimiter=";", keep_fields=["lang"]))
        assert [(record["text"], record["lang"]) for record in parts[0]] == [("hello, all", "en")]

    def test_text_with_its_separator(self, emulator: Emulator, tmp_path: Path) -> None:
        path = tmp_path / "rows.txt"
        path.write_text("one\ntwo###three")
        _, parts = stored(emulator, create(str(path), text_separator="###"))
        assert [record["text"].strip() for record in parts[0]] == ["one\ntwo", "three"]

    def test_a_second_file_for_evaluation(self, emulator: Emulator, tmp_path: Path) -> None:
        def chat(path: Path, count: int) -> str:
            messages = [{"role": "User", "content": "hi"}, {"role": "Chatbot", "content": "hello"}]
            return str(jsonl(path, [{"messages": messages}] * count))

        created = create(
            chat(tmp_path / "train.jsonl", 5),
            eval_data=chat(tmp_path / "eval.jsonl", 2),
            dataset_type="chat-finetune-input",
        )
        dataset, parts = stored(emulator, created)
        assert sorted(len(part) for part in parts) == [2, 5]
        assert dataset.metrics is not None
        assert dataset.metrics.finetune_dataset_metrics is not None
        assert dataset.metrics.finetune_dataset_metrics.train_examples == 5
        assert dataset.metrics.finetune_dataset_metrics.eval_examples == 2

    def test_bad_rows_fail_the_dataset_or_are_dropped(self, emulator: Emulator, tmp_path: Path) -> None:
        path = tmp_path / "rows.jsonl"
        path.write_text('{"text": "hello"}\n{"text":\n')
        assert stored(emulator, create(str(path)))[0].validation_status == "failed"
        dataset, parts = stored(emulator, create(str(path), skip_malformed_input=True))
        assert dataset.validation_status == "validated"
        assert dataset.validation_warnings
        assert len(parts[0]) == 1

    def test_the_original_is_kept_on_request(self, emulator: Emulator, tmp_path: Path) -> None:
        path = jsonl(tmp_path / "rows.jsonl")
        original = CohereDatasetsHook().get_dataset(create(str(path), keep_original_file=True)).dataset_parts
        assert original is not None
        assert original[0].original_url
        query = next(request.query for request in emulator.requests if request.method == "POST")
        assert "keep_original_file=true" in query
        assert "skip_malformed_input" not in query

    def test_what_was_created_can_be_handed_on(self, emulator: Emulator, tmp_path: Path) -> None:
        path = jsonl(tmp_path / "rows.jsonl")
        operator = CohereCreateDatasetOperator(
            task_id="create", name="news", dataset_type="embed-input", data=str(path)
        )
        created: Any = operator.execute({})
        assert created == {
            "id": created["id"],
            "name": "news",
            "dataset_type": "embed-input",
            "bytes": path.stat().st_size,
            "adopted": False,
        }
        # The next task may take the whole result, so nobody has to pick the id out of it.
        assert CohereGetDatasetOperator(task_id="get", dataset_id=created).execute({})["id"] == created["id"]
        CohereDeleteDatasetOperator(task_id="delete", dataset_id=created).execute({})
        assert CohereDatasetsHook().list_datasets() == []


def test_bad_input_is_one_sentence_and_no_request(server: AdversarialServer, tmp_path: Path) -> None:
    path = str(jsonl(tmp_path / "rows.jsonl"))
    large = tmp_path / "large.jsonl"
    with large.open("wb") as file:
        file.truncate(MAX_BYTES + 1)  # sparse: takes no room on the disk
    (tmp_path / "empty.csv").touch()
    matrix: list[tuple[dict[str, Any], str]] = [
        ({"data": f"{tmp_path}/missing.jsonl"}, "does not exist"),
        ({"data": f"{tmp_path}/missing/"}, "must end in"),
        ({"data": str(tmp_path / "empty.csv")}, "is empty"),
        ({"data": str(tmp_path / "rows.xlsx")}, "must end in .csv, .jsonl, .txt, .parquet"),
        ({"data": str(tmp_path / "rows.parquet")}, "does not exist"),
        ({"data": str(large)}, "has 1500000001 bytes"),
        ({"data": ""}, "data is empty"),
        ({"data": path, "eval_data": f"{tmp_path}/missing.jsonl"}, "eval_data"),
        ({"data": path, "name": " "}, "name is empty"),
        ({"data": path, "name": "x" * 50}, "has 50 characters"),
        ({"data": path, "name": "None"}, "a template gave no value"),
        ({"data": path, "dataset_type": ""}, "dataset_type is empty"),
        ({"data": path, "csv_delimiter": "||"}, "csv_delimiter must be one character"),
        ({"data": path, "keep_fields": "lang"}, "keep_fields must be a list"),
    ]
    for arguments, says in matrix:
        with pytest.raises(CohereInputError) as caught:
            create(**arguments)
        assert says in str(caught.value)
        assert str(caught.value).count(". ") == 0
        assert isinstance(caught.value, AirflowFailException)
    assert server.requests == []


def delete(dataset_id: str, **arguments: Any) -> dict[str, Any]:
    result = CohereDeleteDatasetOperator(task_id="delete", dataset_id=dataset_id, **arguments).execute({})
    assert json.loads(json.dumps(result)) == result
    return result


@pytest.mark.usefixtures("cohere_connection")
def test_delete_and_delete_again(emulator: Emulator) -> None:
    doomed, kept = emulator.seed(2)
    assert delete(doomed) == {"deleted": [doomed], "count": 1, "missing": 0, "dry_run": False}
    assert delete(doomed) == {"deleted": [], "count": 0, "missing": 1, "dry_run": False}
    with pytest.raises(CohereDatasetNotFoundError, match=doomed) as caught:
        delete(doomed, ignore_missing=False)
    assert isinstance(caught.value, AirflowFailException)
    assert [dataset.id for dataset in CohereDatasetsHook().list_datasets()] == [kept]


def test_a_delete_whose_answer_is_lost_is_done(server: AdversarialServer) -> None:
    doomed = server.model.datasets[0]["id"]
    server.script("DELETE", None, [Lost(error(504))])
    assert delete(doomed, ignore_missing=False)["deleted"] == [doomed]
    assert server.model.deleted == [doomed]
    assert server.count() == 2


def test_the_next_try_of_a_delete_whose_answer_was_lost_is_done(server: AdversarialServer) -> None:
    doomed = server.model.datasets[0]["id"]
    server.script("DELETE", None, [Lost(error(504))])
    with pytest.raises(CohereServerError, match=doomed) as caught:
        delete(doomed, request_policy={"max_tries": 1})
    assert not isinstance(caught.value, AirflowFailException)
    assert delete(doomed) == {"deleted": [], "count": 0, "missing": 1, "dry_run": False}


@pytest.mark.parametrize("dataset_id", ["", " ", ".", "..", "usage", "None", "a\nb"])
def test_what_cannot_be_an_id_costs_no_request(server: AdversarialServer, dataset_id: str) -> None:
    with pytest.raises(CohereInputError, match="dataset_id") as caught:
        delete(dataset_id)
    assert isinstance(caught.value, AirflowFailException)
    assert server.requests == []


def test_a_delete_that_has_to_wait_is_still_missing_its_dataset(server: AdversarialServer) -> None:
    server.script("DELETE", None, [per_minute()])
    with pytest.raises(CohereDatasetNotFoundError):
        delete("gone-123456", ignore_missing=False)


def test_two_deletes_at_once_both_succeed(server: AdversarialServer) -> None:
    doomed = server.model.datasets[0]["id"]

    def delete_it() -> None:
        use_operators_in_this_thread()
        delete(doomed)

    tasks = [threading.Thread(target=delete_it) for _ in range(2)]
    for task in tasks:
        task.start()
    for task in tasks:
        task.join()
    assert server.model.deleted == [doomed]
