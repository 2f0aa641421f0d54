"""The dataset types: which fields a row must have, and how they are kept."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

from airflow_provider_cohere_datasets.emulator.rows import BadRow

_TEXTS = {"type": "array", "items": "string"}
_MESSAGES = {
    "type": "array",
    "items": {
        "type": "record",
        "name": "message",
        "fields": [{"name": "role", "type": "string"}, {"name": "content", "type": "string"}],
    },
}
# Fields that the dataset type does not know may hold any JSON value, another one in each row.
_ANYTHING = ["null", "boolean", "long", "double", "string"]
_LONG = range(-(2**63), 2**63)


class _BadValue(ValueError):
    """What is wrong with a value; the caller knows the field and the line."""


def _text(value: Any) -> str:
    if not isinstance(value, str):
        raise _BadValue("must be a string")
    if not value.strip():
        raise _BadValue("is empty")
    return value


def _some_texts(value: Any) -> list[str]:
    texts = _texts(value)
    if not texts:
        raise _BadValue("is empty")
    return texts


def _texts(value: Any) -> list[str]:
    if not isinstance(value, list) or not all(isinstance(item, str) for item in value):
        raise _BadValue("must be a list of strings")
    return value


#: Cohere documents the first three; the last is what others call a chatbot.
_ROLES = frozenset({"system", "user", "chatbot", "assistant"})


def _messages(value: Any) -> list[dict[str, str]]:
    if not isinstance(value, list) or not all(isinstance(message, dict) for message in value):
        raise _BadValue("must be a list of messages")
    messages = []
    for number, message in enumerate(value, start=1):
        for key in ("role", "content"):
            if not isinstance(message.get(key), str) or not message[key].strip():
                raise _BadValue(f'must have a string "{key}" in message {number}')
        if message["role"].lower() not in _ROLES:
            raise _BadValue(f'must have the "role" System, User or Chatbot in message {number}')
        messages.append({"role": message["role"], "content": message["content"]})
    roles = {message["role"].lower() for message in messages}
    if "user" not in roles or not roles & {"chatbot", "assistant"}:
        raise _BadValue("must have at least one turn of the user and one of the chatbot")
    return messages


def _object(value: Any) -> str:
    if not isinstance(value, dict):
        raise _BadValue("must be an object")
    return json.dumps(value, ensure_ascii=False)


def _anything(value: Any) -> Any:
    # Avro has no type for arbitrary JSON, nor integers beyond 64 bits: those are kept as JSON text.
    if isinstance(value, dict | list) or (isinstance(value, int) and value not in _LONG):
        return json.dumps(value, ensure_ascii=False)
    return value


@dataclass(frozen=True)
class Field:
    """
    One field of a dataset type.

    :param name: the name of the field.
    :param avro: its Avro type.
    :param convert: makes the value that is kept of the value that was uploaded, or complains.
    :param required: whether every row must have it.
    """

    name: str
    avro: Any
    convert: Callable[[Any], Any]
    required: bool = True

    def avro_field(self) -> dict[str, Any]:
        """Describe the field in an Avro schema."""
        if self.required:
            return {"name": self.name, "type": self.avro}
        nullable = self.avro if isinstance(self.avro, list) else ["null", self.avro]
        return {"name": self.name, "type": nullable, "default": None}


_BATCH = (Field("custom_id", "string", _text), Field("body", "string", _object))

UPLOAD_TYPES: Mapping[str, tuple[Field, ...]] = {
    "embed-input": (Field("text", "string", _text),),
    "chat-finetune-input": (Field("messages", _MESSAGES, _messages),),
    "reranker-finetune-input": (
        Field("query", "string", _text),
        Field("relevant_passages", _TEXTS, _some_texts),
        Field("hard_negatives", _TEXTS, _texts, required=False),
    ),
    "single-label-classification-finetune-input": (
        Field("text", "string", _text),
        Field("label", "string", _text),
    ),
    "multi-label-classification-finetune-input": (
        Field("text", "string", _text),
        Field("label", _TEXTS, _texts),
    ),
    "batch-chat-input": _BATCH,
    "batch-openai-chat-input": _BATCH,
    "batch-chat-v2-input": _BATCH,
    "batch-embed-v2-input": _BATCH,
}

RESULT_TYPES = frozenset({"embed-result", "cluster-result", "cluster-outliers"})


class RecordShape:
    """What the records of one dataset look like: the fields of its type, and those that the caller wants."""

    def __init__(self, dataset_type: str, keep_fields: Sequence[str] = (), optional_fields: Sequence[str] = ()) -> None:
        """
        Put the fields together.

        :param dataset_type: one of :data:`UPLOAD_TYPES`.
        :param keep_fields: further fields that every row must have.
        :param optional_fields: further fields that a row may have.
        """
        fields = {field.name: field for field in UPLOAD_TYPES[dataset_type]}
        self.required_fields = [field.name for field in fields.values() if field.required]
        for name in keep_fields:
            known = fields.get(name)
            fields[name] = replace(known, required=True) if known else Field(name, _ANYTHING, _anything)
        for name in optional_fields:
            fields.setdefault(name, Field(name, _ANYTHING, _anything, required=False))
        self.preserve_fields = list(dict.fromkeys([*keep_fields, *optional_fields]))
        self.schema = {
            "type": "record",
            "name": dataset_type.replace("-", "_"),
            "fields": [field.avro_field() for field in fields.values()],
        }
        self._fields = tuple(fields.values())

    def record(self, row: Mapping[str, Any]) -> dict[str, Any]:
        """
        Make the record that is kept of an uploaded row.

        :param row: the row as uploaded.
        :returns: the fields of this shape, and no others.
        :raises BadRow: when a field is missing or has the wrong type.
        """
        record: dict[str, Any] = {}
        for field in self._fields:
            if field.name not in row and field.required:
                raise BadRow(f'required field "{field.name}" is missing')
            value = row.get(field.name)
            if value is None and not field.required:
                record[field.name] = None
                continue
            try:
                record[field.name] = field.convert(value)
            except _BadValue as complaint:
                raise BadRow(f'field "{field.name}" {complaint}') from None
        return record
