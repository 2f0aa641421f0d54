"""Rows in the shape the Datasets API sends, and its timestamps."""

from __future__ import annotations

import zlib
from datetime import UTC, datetime, timedelta
from functools import lru_cache
from typing import Any

Row = dict[str, Any]

#: ``created_at`` of row 0. Every further row is one second younger.
EPOCH = datetime(2026, 1, 1, 12, 0, 0, 123456, tzinfo=UTC)

DATASET_TYPES = frozenset(
    {
        "embed-input",
        "embed-result",
        "cluster-result",
        "cluster-outliers",
        "reranker-finetune-input",
        "single-label-classification-finetune-input",
        "chat-finetune-input",
        "multi-label-classification-finetune-input",
        "batch-chat-input",
        "batch-openai-chat-input",
        "batch-embed-v2-input",
        "batch-chat-v2-input",
    }
)

_DIGITS = "abcdefghijklmnopqrstuvwxyz0123456789"
_SCHEMA = '{"type":"record","name":"EmbedInput","fields":[{"name":"text","type":"string"}]}'
_STORAGE = "https://storage.googleapis.com/cohere-datasets/org-1/user-1"


def timestamp(moment: datetime) -> str:
    """Write a moment as the API does: RFC 3339, microseconds, ``Z``."""
    return moment.astimezone(UTC).strftime("%Y-%m-%dT%H:%M:%S.%fZ")


@lru_cache(maxsize=8192)
def parse_timestamp(text: str) -> datetime | None:
    """Read an RFC 3339 timestamp; ``None`` when it is none or names no zone."""
    head, dot, rest = text.replace("Z", "+00:00").partition(".")
    if dot:  # Python 3.10 reads only three or six digits
        digits = rest[: len(rest) - len(rest.lstrip("0123456789"))]
        head += f".{digits[:6].ljust(6, '0')}{rest[len(digits) :]}"
    try:
        moment = datetime.fromisoformat(head)
    except ValueError:
        return None
    return moment if moment.tzinfo else None


def moment_of(row: Row) -> datetime:
    """Give ``created_at`` of a row; a rotten one counts as the oldest possible."""
    return parse_timestamp(str(row.get("created_at"))) or datetime.min.replace(tzinfo=UTC)


def dataset_id(name: str, number: int) -> str:
    """Make an id as the API does: slug of the name, ``-``, six of ``[a-z0-9]``."""
    slug = "".join(letter if letter.isalnum() else "-" for letter in name.lower()).strip("-")
    value = zlib.crc32(f"{name}:{number}".encode())
    tail = ""
    for _ in range(6):
        value, digit = divmod(value, len(_DIGITS))
        tail += _DIGITS[digit]
    return f"{slug}-{tail}"


def make_dataset(
    n: int,
    created_at: datetime | str | None = None,
    status: str = "validated",
    type: str = "embed-input",  # noqa: A002  as the API calls it
    **extra: Any,
) -> Row:
    """Make one dataset as the API sends it. Zero values are left out, as in production.

    :param n: number of the row; it decides id, name, rows and size
    :param created_at: a moment, or the text to send as it is; one second after row ``n - 1`` by default
    :param status: validation status, known or not
    :param type: dataset type, known or not
    :param extra: further fields, or other values for those made here; sent as they are
    """
    name = str(extra.get("name", f"dataset {n}"))
    if created_at is None:
        created_at = EPOCH + timedelta(seconds=n)
    created = created_at if isinstance(created_at, str) else timestamp(created_at)
    identifier = dataset_id(name, n)
    row: Row = {
        "id": identifier,
        "name": name,
        "created_at": created,
        "updated_at": created,
        "dataset_type": type,
        "validation_status": status,
    }
    if status == "failed":
        row["validation_error"] = "the dataset has no valid rows"
    elif status not in ("unknown", "queued"):
        row["schema"] = _SCHEMA
        row["required_fields"] = ["text"]
        row["dataset_parts"] = [
            {
                "id": f"{identifier}-part-0",
                "name": "data.avro",
                "url": f"{_STORAGE}/{identifier}/000.avro?X-Goog-Expires=43199&X-Goog-Signature=secret{n}",
                "size_bytes": 100 + n,
                "num_rows": 1 + n,
                "samples": [f'{{"text":"row of dataset {n}"}}'],
            }
        ]
    row.update(extra)
    return row


def make_datasets(count: int, ties: int = 1, first: int = 0, **options: Any) -> list[Row]:
    """Make many datasets, oldest first.

    :param count: how many
    :param ties: how many rows in a row share one ``created_at``
    :param first: number of the first row
    :param options: passed to :func:`make_dataset`
    """
    rows = []
    for n in range(first, first + count):
        moment = EPOCH + timedelta(seconds=n // ties * ties)
        rows.append(make_dataset(n, **{"created_at": moment, **options}))
    return rows
