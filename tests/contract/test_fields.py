"""Models and Parquet files have a place for everything that the public description tells of a dataset."""

from __future__ import annotations

from typing import Any, get_args

import pyarrow as pa
import pytest
from pydantic import AwareDatetime, BaseModel

from airflow_provider_cohere_datasets.core.models import Dataset
from airflow_provider_cohere_datasets.lake.schema import DATASET
from tests.contract.description import description, documented, missing

DOCUMENTED = documented(description()["components"]["schemas"]["Dataset"])


def modelled(annotation: Any) -> Any:
    """Give the fields of a model by the API's names."""
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        fields = annotation.model_fields.items()
        return {field.alias or name: modelled(field.annotation) for name, field in fields}
    if kinds := [kind for kind in get_args(annotation) if kind is not type(None)]:
        return [modelled(kinds[0])] if getattr(annotation, "__origin__", None) is list else modelled(kinds[0])
    return {str: "text", int: "count", AwareDatetime: "time"}[annotation]


def columns(kind: pa.DataType) -> Any:
    """Give the fields of an Arrow type."""
    if pa.types.is_struct(kind):
        return {field.name: columns(field.type) for field in kind}
    if pa.types.is_list(kind):
        return [columns(kind.value_type)]
    return {pa.string(): "text", pa.int64(): "count", pa.timestamp("us", tz="UTC"): "time"}[kind]


def test_the_description_was_read_to_its_depth() -> None:
    metrics = DOCUMENTED["metrics"]["finetune_dataset_metrics"]
    assert metrics["classify_data_metrics"]["label_metrics"] == [
        {"total_examples": "count", "label": "text", "samples": ["text"]}
    ]
    assert DOCUMENTED["created_at"] == "time"


@pytest.mark.parametrize("there", [modelled(Dataset), columns(DATASET)], ids=["models", "Parquet"])
def test_every_documented_property_has_its_place(there: Any) -> None:
    assert missing(DOCUMENTED, there) == []


def test_what_is_missing_is_named() -> None:
    there = columns(DATASET)
    del there["dataset_parts"][0]["num_rows"]
    there["metrics"]["finetune_dataset_metrics"]["chat_data_metrics"]["preamble"] = "count"
    del there["parse_info"]
    assert missing(DOCUMENTED, there) == [
        ".dataset_parts[].num_rows: count, not None",
        ".parse_info: {'separator': 'text', 'delimiter': 'text'}, not None",
        ".metrics.finetune_dataset_metrics.chat_data_metrics.preamble: text, not count",
    ]
