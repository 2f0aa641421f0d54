"""Gates: which datasets the next job may start on."""

from __future__ import annotations

import pytest

from airflow_provider_cohere_datasets.core.errors import CohereInputError
from airflow_provider_cohere_datasets.core.gating import Requirements
from airflow_provider_cohere_datasets.core.models import Dataset


def dataset(**values: object) -> Dataset:
    row = {"id": "reviews-abc123", "dataset_type": "chat-finetune-input", "validation_status": "validated", **values}
    return Dataset.model_validate(row)


def counted(**metrics: object) -> Dataset:
    return dataset(metrics={"finetune_dataset_metrics": metrics})


PARTS = dataset(dataset_parts=[{"num_rows": 4}, {"num_rows": "6"}, {}])


@pytest.mark.parametrize(
    ("requirements", "given", "violations"),
    [
        (Requirements(), dataset(), []),
        (Requirements(), dataset(validation_status="queued"), ["its status is 'queued', not 'validated'"]),
        (
            Requirements(),
            dataset(validation_status="failed", validation_error="no rows"),
            ["its status is 'failed' (no rows), not 'validated'"],
        ),
        (Requirements("skipped"), dataset(validation_status="skipped"), []),
        (Requirements(min_train_examples=10), counted(train_examples="10"), []),
        (
            Requirements(min_train_examples=10, min_eval_examples=1),
            counted(train_examples=9),
            ["train_examples is 9, below the minimum of 10", "eval_examples is not given, below the minimum of 1"],
        ),
        (Requirements(min_eval_examples=0), dataset(), []),
        (
            Requirements(min_trainable_token_count=1000),
            counted(trainable_token_count=999),
            ["trainable_token_count is 999, below the minimum of 1000"],
        ),
        (Requirements(min_total_examples=10), counted(total_examples=10), []),
        (Requirements(min_total_examples=10), PARTS, []),
        (Requirements(min_total_examples=11), PARTS, ["total_examples is 10, below the minimum of 11"]),
        (Requirements(min_total_examples=1), dataset(), ["total_examples is not given, below the minimum of 1"]),
        (Requirements(max_warnings=0), dataset(), []),
        (Requirements(max_warnings=1), dataset(validation_warnings=["a"]), []),
        (
            Requirements(max_warnings=1),
            dataset(validation_warnings=["a", "b"]),
            ["it has 2 validation warnings, above the maximum of 1"],
        ),
        (Requirements(allowed_types=["chat-finetune-input"]), dataset(), []),
        (Requirements(allowed_types=()), dataset(), ["its type is 'chat-finetune-input', not one of "]),
        (
            Requirements(allowed_types=["a", "b"]),
            dataset(),
            ["its type is 'chat-finetune-input', not one of a, b"],
        ),
        (Requirements(allowed_types="chat-finetune-input"), dataset(), []),
        (Requirements(allowed_types=" "), dataset(), []),
        (
            Requirements(allowed_types="chat-finetune-input-2"),
            dataset(),
            ["its type is 'chat-finetune-input', not one of chat-finetune-input-2"],
        ),
        (Requirements(allowed_types="a"), dataset(dataset_type=None), ["its type is None, not one of a"]),
    ],
)
def test_violations(requirements: Requirements, given: Dataset, violations: list[str]) -> None:
    assert requirements.violations(given) == violations


def test_all_violations_are_named_at_once() -> None:
    requirements = Requirements(min_total_examples=1, max_warnings=0, allowed_types=["a"])
    assert len(requirements.violations(dataset(validation_status="new", validation_warnings=["w"]))) == 4


@pytest.mark.parametrize("name", ["min_total_examples", "min_train_examples", "min_eval_examples", "max_warnings"])
@pytest.mark.parametrize("value", [-1, 1.5, "10", True, []])
def test_numbers_that_are_none(name: str, value: object) -> None:
    with pytest.raises(CohereInputError, match=f"^{name} must be a whole number from 0 up"):
        Requirements(**{name: value})  # type: ignore[arg-type]


def test_the_text_none_is_a_mistake() -> None:
    with pytest.raises(CohereInputError, match=r"^allowed_types is the text"):
        Requirements(allowed_types="None").violations(dataset())
