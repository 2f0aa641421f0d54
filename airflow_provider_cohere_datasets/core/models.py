"""The objects of the API, as its reference describes them.

The models are lenient, because nothing in the API promises the opposite: unknown fields are kept, both
enumerations are open, 64-bit integers may come as strings, and a value that cannot be read is ``None`` and noted
instead of costing the whole dataset. Zero values are left out of answers, so a part without an ``index`` is part 0
and a dataset without a status is ``unknown``.
"""

from __future__ import annotations

import re
from datetime import UTC, datetime
from typing import Annotated, Any

from pydantic import (
    AwareDatetime,
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    ValidationError,
    ValidationInfo,
    ValidatorFunctionWrapHandler,
    field_validator,
)

from airflow_provider_cohere_datasets.core.untrusted import INT64, total


def _int64(value: Any) -> Any:
    """Read an integer that may come as a string or as a float without a fraction; refuse what would be cut."""
    if isinstance(value, bool):
        raise ValueError("is not a number")
    if isinstance(value, str):
        value = int(value)
    if isinstance(value, float):
        if not value.is_integer():
            raise ValueError("has a fraction")
        value = int(value)
    if isinstance(value, int) and not -INT64 <= value < INT64:
        raise ValueError("does not fit into 64 bits")
    return value


#: RFC 3339, and what pyarrow takes beside it. Python takes rubbish too, each of its versions another.
_MOMENT = re.compile(
    r"\d{4}-\d\d-\d\d([T ]\d\d(:\d\d(:\d\d([.,]\d+)?)?)?(Z|[+-]\d\d(:?[0-5]\d)?)?)?", re.ASCII | re.IGNORECASE
)


def _moment(value: Any) -> Any:
    """Read an RFC 3339 time; one without a zone is UTC. Numbers are refused: their unit is not known."""
    if isinstance(value, datetime):
        return value
    if not isinstance(value, str):
        raise ValueError("is not a time")
    if not _MOMENT.fullmatch(value):
        raise ValueError("is not an RFC 3339 time")
    moment = datetime.fromisoformat(value.upper())
    return moment.replace(tzinfo=UTC) if moment.tzinfo is None else moment.astimezone(UTC)


Int64 = Annotated[int | None, BeforeValidator(_int64)]
Moment = Annotated[AwareDatetime | None, BeforeValidator(_moment)]
Texts = list[str] | None


class ApiObject(BaseModel):
    """The base: unknown fields are kept, unreadable optional ones are ``None`` and noted.

    Pass ``context={"problems": []}`` to :meth:`~pydantic.BaseModel.model_validate` to receive the notes.
    """

    model_config = ConfigDict(extra="allow", frozen=True, protected_namespaces=())

    @field_validator("*", mode="wrap")
    @classmethod
    def _lenient(cls, value: Any, handler: ValidatorFunctionWrapHandler, info: ValidationInfo) -> Any:
        field = cls.model_fields[str(info.field_name)]
        try:
            if value is None and not field.is_required():
                return field.default
            return handler(value)
        except (ValidationError, ValueError, OverflowError) as error:
            if field.is_required():
                raise
            if isinstance(info.context, dict):
                reason = error.errors()[0]["msg"] if isinstance(error, ValidationError) else str(error)
                info.context.setdefault("problems", []).append(f"{cls.__name__}.{info.field_name}: {reason}")
                if info.context.get("nulls"):  # The default would say that the API left it out.
                    return None
            return field.default


class DatasetPart(ApiObject):
    """One file of a dataset.

    ``url`` and ``original_url`` are signed storage URLs: secrets for about 12 hours, never to be logged or stored.
    """

    id: str | None = None
    name: str | None = None
    url: str | None = Field(default=None, repr=False)
    index: Int64 = 0
    size_bytes: Int64 = None
    num_rows: Int64 = None
    original_url: str | None = Field(default=None, repr=False)
    samples: Texts = Field(default=None, repr=False)


class ParseInfo(ApiObject):
    """How the uploaded file was split."""

    separator: str | None = None
    delimiter: str | None = None


class RerankerDataMetrics(ApiObject):
    """Counts of a dataset for fine-tuning a reranker."""

    num_train_queries: Int64 = None
    num_train_relevant_passages: Int64 = None
    num_train_hard_negatives: Int64 = None
    num_eval_queries: Int64 = None
    num_eval_relevant_passages: Int64 = None
    num_eval_hard_negatives: Int64 = None


class ChatDataMetrics(ApiObject):
    """Counts of a dataset for fine-tuning a chat model."""

    num_train_turns: Int64 = None
    num_eval_turns: Int64 = None
    preamble: str | None = None


class LabelMetric(ApiObject):
    """Counts of one label."""

    total_examples: Int64 = None
    label: str | None = None
    samples: Texts = None


class ClassifyDataMetrics(ApiObject):
    """Counts of a dataset for fine-tuning a classifier."""

    label_metrics: list[LabelMetric] | None = None


class FinetuneDatasetMetrics(ApiObject):
    """Counts (examples, tokens) and sizes (bytes) of a dataset for fine-tuning."""

    trainable_token_count: Int64 = None
    total_examples: Int64 = None
    train_examples: Int64 = None
    train_size_bytes: Int64 = None
    eval_examples: Int64 = None
    eval_size_bytes: Int64 = None
    reranker_data_metrics: RerankerDataMetrics | None = None
    chat_data_metrics: ChatDataMetrics | None = None
    classify_data_metrics: ClassifyDataMetrics | None = None


class Metrics(ApiObject):
    """What Cohere counted in a dataset."""

    finetune_dataset_metrics: FinetuneDatasetMetrics | None = None


class Dataset(ApiObject):
    """A dataset, as ``GET /v1/datasets/{id}`` and ``GET /v1/datasets`` return it."""

    # The API's field is called "schema", a name that pydantic keeps for itself.
    model_config = ConfigDict(populate_by_name=True)

    id: str = Field(min_length=1)
    name: str | None = None
    created_at: Moment = None
    updated_at: Moment = None
    dataset_type: str | None = None
    validation_status: str = "unknown"
    validation_error: str | None = None
    schema_: str | None = Field(default=None, alias="schema")
    required_fields: Texts = None
    preserve_fields: Texts = None
    dataset_parts: list[DatasetPart] | None = None
    validation_warnings: Texts = None
    parse_info: ParseInfo | None = None
    metrics: Metrics | None = None

    @property
    def num_rows(self) -> int:
        """Rows in all parts."""
        return total(part.num_rows or 0 for part in self.dataset_parts or ())

    @property
    def size_bytes(self) -> int:
        """Bytes in all parts."""
        return total(part.size_bytes or 0 for part in self.dataset_parts or ())

    def summary(self) -> dict[str, Any]:
        """Return what XCom and events carry: small JSON without rows, samples or URLs."""
        return {
            "id": self.id,
            "name": self.name,
            "dataset_type": self.dataset_type,
            "validation_status": self.validation_status,
            "created_at": self.created_at.isoformat() if self.created_at else None,
            "num_rows": self.num_rows,
            "size_bytes": self.size_bytes,
            "warnings": len(self.validation_warnings or ()),
        }
