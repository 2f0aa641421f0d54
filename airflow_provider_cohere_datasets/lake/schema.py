"""The one schema of the export: versioned, and independent of the data.

The columns of the API come first, under the API's names; then the columns of the export itself, whose names begin
with an underscore, as none of the API's does. Every column may be null: a value that the API left out, or one that
could not be read. ``null``, ``""`` and ``[]`` stay apart.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta

import pyarrow as pa
import pyarrow.compute as pc

from airflow_provider_cohere_datasets.core.limits import RETENTION
from airflow_provider_cohere_datasets.lake.values import scalars

#: Goes up whenever a column is added. Columns are never removed, renamed or given another type.
SCHEMA_VERSION = 1

TIME = pa.timestamp("us", tz="UTC")
_TEXT, _COUNT, _TEXTS = pa.string(), pa.int64(), pa.list_(pa.string())

_PART = pa.struct(
    {
        "id": _TEXT,
        "name": _TEXT,
        "url": _TEXT,
        "index": _COUNT,
        "size_bytes": _COUNT,
        "num_rows": _COUNT,
        "original_url": _TEXT,
        "samples": _TEXTS,
    }
)
_RERANKER = pa.struct(
    {
        "num_train_queries": _COUNT,
        "num_train_relevant_passages": _COUNT,
        "num_train_hard_negatives": _COUNT,
        "num_eval_queries": _COUNT,
        "num_eval_relevant_passages": _COUNT,
        "num_eval_hard_negatives": _COUNT,
    }
)
_CHAT = pa.struct({"num_train_turns": _COUNT, "num_eval_turns": _COUNT, "preamble": _TEXT})
_LABEL = pa.struct({"total_examples": _COUNT, "label": _TEXT, "samples": _TEXTS})
_FINETUNE = pa.struct(
    {
        "trainable_token_count": _COUNT,
        "total_examples": _COUNT,
        "train_examples": _COUNT,
        "train_size_bytes": _COUNT,
        "eval_examples": _COUNT,
        "eval_size_bytes": _COUNT,
        "reranker_data_metrics": _RERANKER,
        "chat_data_metrics": _CHAT,
        "classify_data_metrics": pa.struct({"label_metrics": pa.list_(_LABEL)}),
    }
)

#: A dataset as the API describes it.
DATASET = pa.struct(
    {
        "id": _TEXT,
        "name": _TEXT,
        "created_at": TIME,
        "updated_at": TIME,
        "dataset_type": _TEXT,
        "validation_status": _TEXT,
        "validation_error": _TEXT,
        "schema": _TEXT,
        "required_fields": _TEXTS,
        "preserve_fields": _TEXTS,
        "dataset_parts": pa.list_(_PART),
        "validation_warnings": _TEXTS,
        "parse_info": pa.struct({"separator": _TEXT, "delimiter": _TEXT}),
        "metrics": pa.struct({"finetune_dataset_metrics": _FINETUNE}),
    }
)

_METRICS = "metrics.finetune_dataset_metrics"
#: What the columns and the fields within them mean; in the metadata of every file.
DESCRIPTIONS = {
    "id": "The dataset ID",
    "name": "The name of the dataset; names may repeat",
    "created_at": "The creation date; digits below a microsecond are cut",
    "updated_at": "The last update date; does not move when the status changes",
    "dataset_type": "The type of the dataset, an open set",
    "validation_status": 'The validation status, an open set; left out by the API it is "unknown"',
    "validation_error": "Errors found during validation",
    "schema": "The Avro schema of the dataset",
    "required_fields": "The fields that the dataset's type requires",
    "preserve_fields": "The fields that were kept beside the required ones",
    "dataset_parts": "The underlying files that make up the dataset",
    "dataset_parts.id": "The dataset part ID",
    "dataset_parts.name": "The name of the dataset part",
    "dataset_parts.url": "The download URL of the file, without its signature unless that was asked for",
    "dataset_parts.index": "The index of the file; left out by the API it is 0",
    "dataset_parts.size_bytes": "The size of the file in bytes",
    "dataset_parts.num_rows": "The number of rows in the file",
    "dataset_parts.original_url": "The download URL of the original file, treated as url",
    "dataset_parts.samples": "The first few rows of the parsed file",
    "validation_warnings": "Warnings found during validation",
    "parse_info": "How the uploaded file was split",
    "parse_info.separator": "The separator that was given with the upload",
    "parse_info.delimiter": "The delimiter that was given with the upload",
    "metrics": "What Cohere counted in a dataset",
    _METRICS: "What Cohere counted in a dataset for fine-tuning",
    f"{_METRICS}.trainable_token_count": "The number of tokens of valid examples that can be used for training",
    f"{_METRICS}.total_examples": "The overall number of examples",
    f"{_METRICS}.train_examples": "The number of training examples",
    f"{_METRICS}.train_size_bytes": "The size in bytes of all training examples",
    f"{_METRICS}.eval_examples": "The number of evaluation examples",
    f"{_METRICS}.eval_size_bytes": "The size in bytes of all evaluation examples",
    f"{_METRICS}.reranker_data_metrics": "Counts of a dataset for fine-tuning a reranker",
    f"{_METRICS}.reranker_data_metrics.num_train_queries": "The number of training queries",
    f"{_METRICS}.reranker_data_metrics.num_train_relevant_passages": "Relevant passages of valid training examples",
    f"{_METRICS}.reranker_data_metrics.num_train_hard_negatives": "Hard negatives of valid training examples",
    f"{_METRICS}.reranker_data_metrics.num_eval_queries": "The number of evaluation queries",
    f"{_METRICS}.reranker_data_metrics.num_eval_relevant_passages": "Relevant passages of valid evaluation examples",
    f"{_METRICS}.reranker_data_metrics.num_eval_hard_negatives": "Hard negatives of valid evaluation examples",
    f"{_METRICS}.chat_data_metrics": "Counts of a dataset for fine-tuning a chat model",
    f"{_METRICS}.chat_data_metrics.num_train_turns": "The sum of all turns of valid training examples",
    f"{_METRICS}.chat_data_metrics.num_eval_turns": "The sum of all turns of valid evaluation examples",
    f"{_METRICS}.chat_data_metrics.preamble": "The preamble of the dataset",
    f"{_METRICS}.classify_data_metrics": "Counts of a dataset for fine-tuning a classifier",
    f"{_METRICS}.classify_data_metrics.label_metrics": "Counts of each label",
    f"{_METRICS}.classify_data_metrics.label_metrics.total_examples": "The number of examples for the label",
    f"{_METRICS}.classify_data_metrics.label_metrics.label": "The value of the label",
    f"{_METRICS}.classify_data_metrics.label_metrics.samples": "Samples for the label",
    "_expires_at": "When Cohere deletes the dataset: 30 days after its creation",
    "_exported_at": "When the export that wrote this row began",
    "_run_id": "The Airflow run that wrote this row",
    "_logical_date": "The logical date of that run; null if the run has none",
    "_schema_version": "The version of this schema",
    "_raw": "The row as it came, as JSON",
}


@dataclass(frozen=True, slots=True)
class Stamp:
    """What an export writes into each of its rows.

    :param exported_at: when it began.
    :param run_id: the Airflow run.
    :param logical_date: the run's logical date, if it has one.
    """

    exported_at: datetime
    run_id: str | None = None
    logical_date: datetime | None = None

    def columns(self, created_at: pa.Array) -> dict[str, pa.Array]:
        """Return the columns of the export for rows that were created then."""
        values = (self.exported_at, self.run_id, self.logical_date, SCHEMA_VERSION)
        stamp = scalars(dict(zip(_STAMP, values, strict=True)), _STAMP)
        columns = {name: pa.repeat(scalar, len(created_at)) for name, scalar in stamp.items()}
        return {"_expires_at": expires_at(created_at), **columns}


#: The columns that have one value in a whole file.
_STAMP = {"_exported_at": TIME, "_run_id": _TEXT, "_logical_date": TIME, "_schema_version": _COUNT}
RAW_FIELD = pa.field("_raw", _TEXT)
#: The retention in microseconds, and the last creation time whose end Python can tell.
_RETENTION = scalars(
    {"retention": RETENTION // timedelta(microseconds=1), "last": datetime.max.replace(tzinfo=UTC) - RETENTION},
    {"retention": _COUNT, "last": TIME},
)


def file_schema(*, keep_raw: bool = False) -> pa.Schema:
    """Return the schema of a file, with the descriptions and the version in its metadata.

    :param keep_raw: whether the file has the column ``_raw``.
    """
    metadata: dict[str, str] = {
        "cohere_datasets.schema_version": str(SCHEMA_VERSION),
        "cohere_datasets.field_descriptions": json.dumps(DESCRIPTIONS),
    }
    own = pa.schema({"_expires_at": TIME, **_STAMP})
    return pa.schema([*DATASET, *own, *([RAW_FIELD] if keep_raw else [])], metadata=metadata)


def stamped(rows: pa.Table, stamp: Stamp, schema: pa.Schema) -> pa.Table:
    """Return decoded rows with the columns of the export, in the order of the file.

    :param rows: columns of :data:`DATASET`, and ``_raw`` if the file has it.
    :param stamp: what the export writes into each row.
    :param schema: what :func:`file_schema` returned.
    """
    added = stamp.columns(rows.column("created_at").combine_chunks())
    columns = [added[name] if name in added else rows.column(name) for name in schema.names]
    return pa.Table.from_arrays(columns, schema=schema)


def expires_at(created_at: pa.Array) -> pa.Array:
    """Return creation times plus the retention; null where that is beyond the year 9999."""
    usable = pc.if_else(pc.less_equal(created_at, _RETENTION["last"]), created_at, pa.nulls(1, TIME)[0])
    return pc.add(usable, _RETENTION["retention"].cast(pa.duration("us")))
