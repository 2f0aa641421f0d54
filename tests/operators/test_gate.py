"""The gate: every requirement, and all violations in one message."""

from __future__ import annotations

import json
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from airflow.providers.common.compat.sdk import AirflowFailException, AirflowSkipException

from airflow_provider_cohere_datasets.core.errors import (
    CohereDatasetNotFoundError,
    CohereGateError,
    CohereInputError,
)
from airflow_provider_cohere_datasets.operators.datasets import CohereDatasetGateOperator
from tests.adversary import AdversarialServer, make_dataset

COUNTS = {"total_examples": "100", "train_examples": 80, "eval_examples": 20, "trainable_token_count": 5000}


@pytest.fixture
def dataset(server: AdversarialServer) -> str:
    """A validated dataset for fine-tuning, with metrics and two warnings."""
    metrics = {"finetune_dataset_metrics": COUNTS}
    row = make_dataset(
        1,
        datetime.now(UTC) - timedelta(hours=1),
        type="chat-finetune-input",
        id="the-dataset",
        metrics=metrics,
        validation_warnings=["one", "two"],
    )
    server.reset([row, make_dataset(2, id="embed", status="validated"), make_dataset(3, id="bad", status="failed")])
    return "the-dataset"


def gate(dataset_id: str = "the-dataset", **arguments: Any) -> dict[str, Any]:
    result = CohereDatasetGateOperator(task_id="gate", dataset_id=dataset_id, **arguments).execute({})
    assert json.loads(json.dumps(result)) == result
    return result


MET: list[dict[str, Any]] = [
    {},
    {"required_status": "validated"},
    {"required_status": ""},
    {"min_total_examples": 100},
    {"min_train_examples": 80},
    {"min_eval_examples": 20},
    {"min_trainable_token_count": 5000},
    {"min_eval_examples": 0},
    {"max_warnings": 2},
    {"allowed_types": ["embed-input", "chat-finetune-input"]},
    {"allowed_types": ("chat-finetune-input",)},
    {"min_total_examples": "100", "max_warnings": " 2 ", "min_eval_examples": ""},
    {"max_age": timedelta(hours=2)},
    {"max_age": "7200"},
]
VIOLATED: list[tuple[dict[str, Any], str]] = [
    ({"required_status": "queued"}, "its status is 'validated', not 'queued'"),
    ({"min_total_examples": 101}, "total_examples is 100, below the minimum of 101"),
    ({"min_train_examples": 81}, "train_examples is 80, below the minimum of 81"),
    ({"min_eval_examples": 21}, "eval_examples is 20, below the minimum of 21"),
    ({"min_trainable_token_count": 5001}, "trainable_token_count is 5000, below the minimum of 5001"),
    ({"max_warnings": 1}, "it has 2 validation warnings, above the maximum of 1"),
    ({"max_warnings": 0}, "above the maximum of 0"),
    ({"allowed_types": ["embed-input"]}, "its type is 'chat-finetune-input', not one of embed-input"),
    ({"max_age": 1800}, "old, above the maximum of 0:30:00 (Cohere deletes it in 29 days, 22:"),
]


@pytest.mark.usefixtures("dataset")
@pytest.mark.parametrize("arguments", MET)
def test_a_dataset_that_fits_passes(server: AdversarialServer, arguments: dict[str, Any]) -> None:
    summary = gate(**arguments)
    assert (summary["id"], summary["validation_status"], summary["warnings"]) == ("the-dataset", "validated", 2)
    assert "url" not in json.dumps(summary)
    assert server.count() == 1


@pytest.mark.usefixtures("dataset")
@pytest.mark.parametrize(("arguments", "says"), VIOLATED)
def test_a_dataset_that_does_not_fit_fails_for_good(
    server: AdversarialServer, arguments: dict[str, Any], says: str
) -> None:
    with pytest.raises(CohereGateError) as caught:
        gate(**arguments)
    assert says in str(caught.value)
    assert "'the-dataset'" in str(caught.value)
    assert str(caught.value).endswith("(connection 'cohere_default')")
    assert caught.value.dataset_id == "the-dataset"
    assert isinstance(caught.value, AirflowFailException)
    assert server.count() == 1


@pytest.mark.usefixtures("dataset")
@pytest.mark.parametrize(("arguments", "says"), VIOLATED)
def test_or_is_skipped(arguments: dict[str, Any], says: str) -> None:
    with pytest.raises(AirflowSkipException) as caught:
        gate(on_violation="skip", **arguments)
    assert says in str(caught.value)


@pytest.mark.usefixtures("dataset")
def test_one_message_has_all_violations() -> None:
    arguments: dict[str, Any] = {}
    for violated, _ in VIOLATED:
        arguments |= violated
    with pytest.raises(CohereGateError) as caught:
        gate(**arguments)
    for violated, says in VIOLATED:
        assert violated == {"max_warnings": 1} or says in str(caught.value)


@pytest.mark.usefixtures("dataset")
def test_a_failed_dataset_says_why() -> None:
    with pytest.raises(CohereGateError, match=r"its status is 'failed' \(the dataset has no valid rows\)"):
        gate("bad")
    assert gate("bad", required_status="failed")["validation_status"] == "failed"


@pytest.mark.usefixtures("dataset")
def test_rows_count_as_examples_where_there_are_no_metrics() -> None:
    assert gate("embed", min_total_examples=3)["num_rows"] == 3
    with pytest.raises(CohereGateError, match="total_examples is 3, below the minimum of 4"):
        gate("embed", min_total_examples=4)
    with pytest.raises(CohereGateError, match="train_examples is not given, below the minimum of 1"):
        gate("embed", min_train_examples=1)


@pytest.mark.parametrize(
    "name",
    ["min_total_examples", "min_train_examples", "min_eval_examples", "min_trainable_token_count", "max_warnings"],
)
@pytest.mark.parametrize("value", [-1, 1.5, "ten", True])
def test_bad_numbers_are_refused_when_the_dag_is_read(name: str, value: Any) -> None:
    with pytest.raises(CohereInputError, match=f"{name} must be a whole number"):
        CohereDatasetGateOperator(task_id="gate", dataset_id="x", **{name: value})


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        ({"max_age": 0}, "max_age must be a duration"),
        ({"max_failed": 1}, "max_failed is for several datasets"),
        ({"max_failed": 1.0, "dataset_ids": ["x"], "dataset_id": None}, "max_failed must be a whole number"),
        ({"allow_empty": "yes"}, "allow_empty must be True or False"),
        ({"partition_outlets": "false"}, "partition_outlets must be True or False"),
        ({"allowed_types": "embed-input"}, "allowed_types must be a list of types"),
        ({"dataset_ids": ["x"]}, "not dataset_id and dataset_ids"),
        ({"dataset_type": "embed-input"}, "not dataset_id and a filter"),
        ({"dataset_id": None}, "not none of them"),
        ({"dataset_id": ""}, "not none of them; dataset_id is empty"),
        ({"dataset_id": None, "dataset_ids": "a, b"}, "dataset_ids must be a list of ids"),
        ({"dataset_id": None, "validation_status": "ready"}, "validation_status 'ready' is not one of"),
        ({"dataset_id": None, "after": "2026-02-01", "before": "2026-01-01"}, "the window is reversed"),
    ],
)
def test_bad_arguments_are_refused_when_the_dag_is_read(arguments: dict[str, Any], says: str) -> None:
    with pytest.raises(CohereInputError, match=says) as caught:
        CohereDatasetGateOperator(task_id="gate", **{"dataset_id": "x", **arguments})
    assert isinstance(caught.value, AirflowFailException)


@pytest.mark.parametrize("value", ["ignore", "", None])
def test_a_bad_reaction_is_refused_when_the_dag_is_read(value: Any) -> None:
    with pytest.raises(CohereInputError, match="on_violation must be 'fail' or 'skip'"):
        CohereDatasetGateOperator(task_id="gate", dataset_id="x", on_violation=value)


@pytest.mark.usefixtures("dataset")
@pytest.mark.parametrize("value", ["chat-finetune-input", "chat-finetune-input-2", "", [7]])
def test_a_text_is_not_a_list_of_types(server: AdversarialServer, value: Any) -> None:
    with pytest.raises(CohereInputError, match="allowed_types must be a list of types"):
        gate(allowed_types=value)
    assert server.requests == []


@pytest.mark.parametrize("on_violation", ["fail", "skip"])
def test_an_unknown_dataset_is_an_error_either_way(server: AdversarialServer, on_violation: str) -> None:
    with pytest.raises(CohereDatasetNotFoundError, match="gone-123456"):
        gate("gone-123456", on_violation=on_violation)
    assert server.count() == 1
