"""Gates: which datasets the next job may start on."""

from __future__ import annotations

import json
from datetime import UTC, datetime, timedelta
from fractions import Fraction
from typing import Any

import pytest

from airflow_provider_cohere_datasets.core.errors import CohereInputError
from airflow_provider_cohere_datasets.core.gating import Findings, Requirements, Tolerance, check
from airflow_provider_cohere_datasets.core.models import Dataset

NOW = datetime(2026, 3, 1, 12, 0, 0, tzinfo=UTC)


def dataset(**values: object) -> Dataset:
    row = {"id": "reviews-abc123", "dataset_type": "chat-finetune-input", "validation_status": "validated", **values}
    return Dataset.model_validate(row)


def counted(**metrics: object) -> Dataset:
    return dataset(metrics={"finetune_dataset_metrics": metrics})


def aged(**time: float) -> Dataset:
    return dataset(created_at=(NOW - timedelta(**time)).isoformat())


PARTS = dataset(dataset_parts=[{"num_rows": 4}, {"num_rows": "6"}, {}])
CASES: list[tuple[dict[str, Any], Dataset, list[str]]] = [
    ({}, dataset(), []),
    ({}, dataset(validation_status="queued"), ["its status is 'queued', not 'validated'"]),
    (
        {},
        dataset(validation_status="failed", validation_error="no\nrows"),
        ["its status is 'failed' (no rows), not 'validated'"],
    ),
    (
        {},
        dataset(validation_status="failed", validation_error="cannot read https://x.invalid/o?X-Signature=leak now"),
        ["its status is 'failed' (cannot read https://x.invalid/o now), not 'validated'"],
    ),
    ({"required_status": "skipped"}, dataset(validation_status="skipped"), []),
    ({"required_status": " "}, dataset(), []),
    ({"min_train_examples": 10}, counted(train_examples="10"), []),
    (
        {"min_train_examples": 10, "min_eval_examples": 1},
        counted(train_examples=9),
        ["train_examples is 9, below the minimum of 10", "eval_examples is not given, below the minimum of 1"],
    ),
    ({"min_eval_examples": 0}, dataset(), []),
    ({"min_trainable_token_count": 999}, counted(trainable_token_count=999), []),
    (
        {"min_trainable_token_count": "1000"},
        counted(trainable_token_count=999),
        ["trainable_token_count is 999, below the minimum of 1000"],
    ),
    ({"min_total_examples": 10}, counted(total_examples=10), []),
    ({"min_total_examples": "10"}, PARTS, []),
    ({"min_total_examples": " 11 "}, PARTS, ["total_examples is 10, below the minimum of 11"]),
    ({"min_total_examples": 1}, dataset(), ["total_examples is not given, below the minimum of 1"]),
    ({"min_total_examples": ""}, dataset(), []),
    ({"max_warnings": 0}, dataset(), []),
    ({"max_warnings": 1}, dataset(validation_warnings=["a"]), []),
    (
        {"max_warnings": 1},
        dataset(validation_warnings=["a", "b"]),
        ["it has 2 validation warnings, above the maximum of 1"],
    ),
    ({"allowed_types": [" chat-finetune-input"]}, dataset(), []),
    ({"allowed_types": ("a", "b")}, dataset(), ["its type is 'chat-finetune-input', not one of a, b"]),
    (
        {"allowed_types": ["chat-finetune-input-2"]},
        dataset(),
        ["its type is 'chat-finetune-input', not one of chat-finetune-input-2"],
    ),
    ({"allowed_types": ["a"]}, dataset(dataset_type=None), ["its type is None, not one of a"]),
    ({"max_age": timedelta(days=20)}, aged(days=20), []),
    ({"max_age": 3600}, aged(seconds=3599.9), []),
    ({"max_age": "3600.5"}, aged(hours=-1), []),
    ({"max_age": " "}, aged(days=29), []),
    (
        {"max_age": timedelta(days=20)},
        aged(days=20, milliseconds=1),
        ["it is 20 days, 0:00:01 old, above the maximum of 20 days, 0:00:00 (Cohere deletes it in 9 days, 23:59:59)"],
    ),
    (
        {"max_age": 60},
        aged(days=31),
        ["it is 31 days, 0:00:00 old, above the maximum of 0:01:00 (Cohere deletes it now)"],
    ),
    (
        {"max_age": 60},
        aged(days=30),
        ["it is 30 days, 0:00:00 old, above the maximum of 0:01:00 (Cohere deletes it now)"],
    ),
    (
        {"max_age": 60},
        aged(days=30, seconds=-1),
        ["it is 29 days, 23:59:59 old, above the maximum of 0:01:00 (Cohere deletes it in 0:00:01)"],
    ),
    ({"max_age": 60}, dataset(), ["its age is not known, and the maximum is 0:01:00"]),
]


@pytest.mark.parametrize(("requirements", "given", "violations"), CASES)
def test_violations(requirements: dict[str, Any], given: Dataset, violations: list[str]) -> None:
    assert Requirements.of(**requirements).violations(given, NOW) == violations


def test_all_violations_are_named_at_once() -> None:
    requirements = Requirements.of(min_total_examples=1, max_warnings=0, max_age=1, allowed_types=["a"])
    assert len(requirements.violations(dataset(validation_status="new", validation_warnings=["w"]), NOW)) == 5


def test_a_violation_is_one_short_line_whatever_the_server_sends() -> None:
    long = "word\n" * 10_000
    requirements = Requirements.of(allowed_types=["a" * 80] * 100)
    given = dataset(validation_status=long, validation_error=long, dataset_type=long)
    violations = requirements.violations(given, NOW)
    assert len(violations) == 2
    for violation in violations:
        assert len(violation) < 600
        assert "\n" not in violation
        assert "…" in violation


@pytest.mark.parametrize("name", ["min_total_examples", "min_train_examples", "min_eval_examples", "max_warnings"])
@pytest.mark.parametrize("value", [-1, 1.5, 10.0, "many", "-1", "1.5", "9" * 5000, True, [], float("nan")])
def test_numbers_that_are_none(name: str, value: object) -> None:
    with pytest.raises(CohereInputError, match=f"^{name} must be a whole number from 0 up"):
        Requirements.of(**{name: value})


@pytest.mark.parametrize("name", ["required_status", "min_total_examples", "max_age"])
def test_the_text_none_is_a_mistake(name: str) -> None:
    with pytest.raises(CohereInputError, match=rf"^{name} is the text"):
        Requirements.of(**{name: "None"})


def test_the_text_none_is_a_mistake_in_a_list_and_a_threshold_too() -> None:
    with pytest.raises(CohereInputError, match=r"^allowed_types is the text"):
        Requirements.of(allowed_types=["a", "None"])
    with pytest.raises(CohereInputError, match=r"^max_failed is the text"):
        Tolerance.of("None")


def test_what_just_fits_is_not_cut() -> None:
    given = dataset(validation_status="failed", validation_error="x" * 300, id="y" * 100)
    (violation,) = Requirements().violations(given, NOW)
    assert f"({'x' * 300})" in violation
    assert Findings([], {given.id: [violation]}).message(Tolerance()).endswith(f"- {given.id!r}: {violation}.")


@pytest.mark.parametrize("value", [0, -1, "0", "a day", True, timedelta(0), float("inf"), float("nan"), 1e9, []])
def test_durations_that_are_none(value: object) -> None:
    with pytest.raises(CohereInputError, match=r"^max_age must be a duration, or a number of seconds, above 0"):
        Requirements.of(max_age=value)


@pytest.mark.parametrize("value", ["a", "", [], (), [7], ["a", ""], [None], {"a": 1}, 7])
def test_types_that_are_none(value: object) -> None:
    with pytest.raises(CohereInputError, match=r"^allowed_types must be a list of types"):
        Requirements.of(allowed_types=value)


@pytest.mark.parametrize(
    ("value", "checked", "may_fail"),
    [
        (None, 9, 0),
        ("", 9, 0),
        (0, 9, 0),
        (0.0, 9, 0),
        (1, 9, 1),
        ("3", 2, 3),
        (0.5, 3, 1),
        ("0.25", 4, 1),
        (0.29, 100, 29),  # 28.999… in binary fractions
        (0.1, 30, 3),
        (0.1, 9, 0),
        (1e-9, 1000, 0),
    ],
)
def test_how_many_may_fail(value: object, checked: int, may_fail: int) -> None:
    assert Tolerance.of(value).of_them(checked) == may_fail


@pytest.mark.parametrize("value", [-1, -0.1, 1.0, 1.5, "1.0", "10 %", "half", True, float("nan"), float("inf"), []])
def test_thresholds_that_are_none(value: object) -> None:
    with pytest.raises(CohereInputError, match=r"^max_failed must be a whole number from 0 up or a share"):
        Tolerance.of(value)


def test_several_datasets_are_told_apart() -> None:
    datasets = [("a", dataset()), ("b", None), ("c", dataset(validation_status="queued")), ("d", dataset())]
    found = check(datasets, Requirements(), NOW)
    assert found.passed == ["a", "d"]
    assert found.failed == {"b": ["it does not exist"], "c": ["its status is 'queued', not 'validated'"]}
    assert found.result() == {"passed": found.passed, "failed": found.failed, "checked": 4}
    assert found.message(Tolerance(1)) == (
        "2 of 4 datasets may not be used, above the max_failed of 1:\n"
        "- 'b': it does not exist.\n"
        "- 'c': its status is 'queued', not 'validated'."
    )
    assert "above the max_failed of 1 (0.25 of 4):" in found.message(Tolerance(Fraction(1, 4)))


def test_all_that_is_wrong_with_a_dataset_is_told() -> None:
    requirements = Requirements.of(max_age=60, min_total_examples=1)
    found = check([("a", aged(days=1))], requirements, NOW)
    assert found.message(Tolerance()).endswith(f"- 'a': {'; '.join(requirements.violations(aged(days=1), NOW))}.")
    assert "not given, below the minimum of 1; it is 1 day, 0:00:00 old" in found.message(Tolerance())


def test_none_is_none() -> None:
    assert check([], Requirements(), NOW).result() == {"passed": [], "failed": {}, "checked": 0}


@pytest.mark.parametrize(
    ("count", "each", "shown"), [(20, 1, 20), (21, 1, 20), (500, 1, 20), (500, 1200, 2), (2, 5000, 1)]
)
def test_message_and_result_stay_small(count: int, each: int, shown: int) -> None:
    found = Findings([], {f"dataset-{number}": ["x" * each] for number in range(count)})
    message = found.message(Tolerance())
    assert message.startswith(f"{count} of {count} datasets")
    assert message.count("\n- 'dataset-") == shown
    assert message.endswith(f"- and {count - shown} more.") == (count > shown)
    assert len(message) < max(4000, each + 200)
    result = found.result()
    assert (len(result["failed"]), result["checked"]) == (min(count, 20), count)
    assert json.loads(json.dumps(result)) == result
