"""Users call ``execute()`` in unit tests of their own, with whatever stands for a context there."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any
from unittest.mock import MagicMock

import pytest

from airflow_provider_cohere_datasets.operators import datasets as operators
from airflow_provider_cohere_datasets.sensors.datasets import CohereDatasetValidationSensor
from airflow_provider_cohere_datasets.transfers.parquet import CohereDatasetsToParquetOperator
from tests.adversary import AdversarialServer, make_datasets
from tests.operators.creating import POLICY

Make = Callable[..., Any]


@pytest.mark.parametrize(
    "context",
    [dict, lambda: {"ti": MagicMock(), "dag": MagicMock(), "dag_run": MagicMock()}, MagicMock],
    ids=["empty", "mocked values", "mock"],
)
@pytest.mark.parametrize(
    ("make", "arguments"),
    [
        (operators.CohereCreateDatasetOperator, {"name": "news", "dataset_type": "embed-input", "unique_name": True}),
        (operators.CohereGetDatasetOperator, {"dataset_id": "one"}),
        (operators.CohereListDatasetsOperator, {}),
        (operators.CohereGetDatasetUsageOperator, {}),
        (operators.CohereDatasetGateOperator, {"dataset_id": "one"}),
        (operators.CohereDeleteDatasetOperator, {"dataset_id": "one"}),
        (CohereDatasetValidationSensor, {"dataset_id": "one", "deferrable": False}),
        (CohereDatasetsToParquetOperator, {}),
    ],
    ids=lambda value: getattr(value, "__name__", ""),
)
def test_any_context_does(
    server: AdversarialServer, data: Path, tmp_path: Path, make: Make, arguments: Any, context: Callable[[], Any]
) -> None:
    server.reset([{**row, "id": row_id} for row, row_id in zip(make_datasets(2), ["one", "two"], strict=True)])
    if make is operators.CohereCreateDatasetOperator:
        arguments = {**arguments, "data": str(data)}
    if make is CohereDatasetsToParquetOperator:
        arguments = {"output_path": str(tmp_path / "datasets.parquet")}
    assert make(task_id="t", request_policy=POLICY, **arguments).execute(context())
