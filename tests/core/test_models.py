"""The API's objects: lenient where nothing is promised, strict where a value would be wrong."""

from __future__ import annotations

import time
from datetime import UTC, datetime

import pytest
from pydantic import ValidationError

from airflow_provider_cohere_datasets.core.models import Dataset, DatasetPart
from tests.adversary import make_dataset


def read(**values: object) -> tuple[Dataset, list[str]]:
    problems: list[str] = []
    return Dataset.model_validate({"id": "a", **values}, context={"problems": problems}), problems


def part(**values: object) -> tuple[DatasetPart, list[str]]:
    problems: list[str] = []
    return DatasetPart.model_validate(values, context={"problems": problems}), problems


def test_a_dataset_as_production_sends_it() -> None:
    dataset = Dataset.model_validate(make_dataset(3))
    assert dataset.schema_ is not None
    assert dataset.required_fields == ["text"]
    assert dataset.dataset_parts is not None
    assert (dataset.dataset_parts[0].index, dataset.num_rows, dataset.size_bytes) == (0, 4, 103)
    assert dataset.summary() == {
        "id": dataset.id,
        "name": "dataset 3",
        "dataset_type": "embed-input",
        "validation_status": "validated",
        "created_at": "2026-01-01T12:00:03.123456+00:00",
        "num_rows": 4,
        "size_bytes": 103,
        "warnings": 0,
    }


def test_a_dataset_with_nothing_but_an_id() -> None:
    dataset, problems = read()
    assert (dataset.validation_status, dataset.created_at, dataset.dataset_parts) == ("unknown", None, None)
    assert (dataset.num_rows, dataset.size_bytes, dataset.summary()["created_at"]) == (0, 0, None)
    assert problems == []


def test_null_is_as_good_as_absent() -> None:
    names = ["schema" if name == "schema_" else name for name in Dataset.model_fields if name != "id"]
    dataset, problems = read(**dict.fromkeys(names))
    assert dataset.model_dump() == read()[0].model_dump()
    assert problems == []
    assert part(index=None)[0].index == 0


@pytest.mark.parametrize("bad", [None, "", 5, True, [], {"id": "a"}])
def test_a_dataset_needs_an_id(bad: object) -> None:
    with pytest.raises(ValidationError):
        Dataset.model_validate({"id": bad})
    with pytest.raises(ValidationError):
        Dataset.model_validate({})


@pytest.mark.parametrize(
    ("value", "number"),
    [(7, 7), ("7", 7), (7.0, 7), (10**15, 10**15), (str(2**63 - 1), 2**63 - 1), (-(2**63), -(2**63)), (0, 0)],
)
def test_integers(value: object, number: int) -> None:
    assert part(num_rows=value) == (DatasetPart.model_validate({"num_rows": number}), [])
    assert part(num_rows=value)[0].num_rows == number


@pytest.mark.parametrize(
    ("value", "problem"),
    [
        (1.1, "has a fraction"),
        *((value, "does not fit into 64 bits") for value in (2**63, str(-(2**63) - 1), 1e300)),
        (True, "is not a number"),
        *((value, "") for value in ("1.1", "many", "", [], {}, float("inf"))),
    ],
)
def test_what_is_no_integer_is_noted(value: object, problem: str) -> None:
    got, problems = part(num_rows=value, size_bytes=5)
    assert (got.num_rows, got.size_bytes) == (None, 5)
    assert len(problems) == 1
    assert problems[0].startswith("DatasetPart.num_rows: ")
    assert problem in problems[0]


@pytest.mark.parametrize(
    ("value", "moment"),
    [
        ("2026-01-02T03:04:05.678901Z", datetime(2026, 1, 2, 3, 4, 5, 678901, tzinfo=UTC)),
        ("2026-01-02T03:04:05+02:00", datetime(2026, 1, 2, 1, 4, 5, tzinfo=UTC)),
        ("2026-01-02T03:04:05", datetime(2026, 1, 2, 3, 4, 5, tzinfo=UTC)),
        ("2026-01-02T03:04:05.678901999Z", datetime(2026, 1, 2, 3, 4, 5, 678901, tzinfo=UTC)),
        (datetime(2026, 1, 2, tzinfo=UTC), datetime(2026, 1, 2, tzinfo=UTC)),
    ],
)
def test_times(value: object, moment: datetime, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TZ", "America/New_York")
    time.tzset()
    try:
        dataset, problems = read(created_at=value)
    finally:
        monkeypatch.undo()
        time.tzset()
    assert (dataset.created_at, problems) == (moment, [])
    assert dataset.created_at is not None
    assert dataset.created_at.tzinfo is UTC


@pytest.mark.parametrize(
    "value", [1767225600, "yesterday", "", True, "0001-01-01T00:00:00+14:00", datetime(2026, 1, 1)]
)
def test_what_is_no_time_is_noted(value: object) -> None:
    dataset, problems = read(created_at=value, name="kept")
    assert (dataset.created_at, dataset.name) == (None, "kept")
    assert len(problems) == 1
    assert problems[0].startswith("Dataset.created_at: ")
    assert ("is not a time" in problems[0]) is isinstance(value, int)


def test_bad_values_cost_only_themselves() -> None:
    dataset, problems = read(
        validation_status=5,
        dataset_parts=[{"num_rows": "x"}, {"num_rows": 2}],
        metrics={"finetune_dataset_metrics": {"total_examples": "3", "eval_examples": []}},
        required_fields="text",
    )
    assert dataset.validation_status == "unknown"
    assert dataset.num_rows == 2
    assert dataset.metrics is not None
    assert dataset.metrics.finetune_dataset_metrics is not None
    assert dataset.metrics.finetune_dataset_metrics.total_examples == 3
    assert [problem.partition(":")[0] for problem in sorted(problems)] == [
        "Dataset.required_fields",
        "Dataset.validation_status",
        "DatasetPart.num_rows",
        "FinetuneDatasetMetrics.eval_examples",
    ]
    assert Dataset.model_validate({"id": "a", "name": 5}).name is None, "without a list of problems too"


def test_unknown_fields_and_values_are_kept() -> None:
    dataset, problems = read(validation_status="archived", dataset_type="new", brand_new={"a": 1})
    assert (dataset.validation_status, dataset.dataset_type) == ("archived", "new")
    assert dataset.model_dump()["brand_new"] == {"a": 1}
    assert problems == []


def test_signed_urls_and_samples_are_in_no_representation() -> None:
    dataset = Dataset.model_validate(make_dataset(3))
    assert "X-Goog-Signature" not in repr(dataset)
    assert "row of dataset" not in repr(dataset)
    assert "X-Goog-Signature" not in str(dataset.summary())
