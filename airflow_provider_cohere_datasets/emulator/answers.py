"""What the API says: of a dataset, and of an error."""

from __future__ import annotations

import uuid
from collections.abc import Callable
from datetime import datetime, timedelta
from typing import Any

from fastapi.responses import JSONResponse

from airflow_provider_cohere_datasets.emulator.store import StoredDataset

_EPOCH = datetime.fromisoformat("1970-01-01T00:00:00+00:00")
_WITHOUT_CONTENTS = ("unknown", "queued")


def dataset_answer(dataset: StoredDataset, sign: Callable[[str, str], str]) -> dict[str, Any]:
    """
    Word a dataset as the API does.

    Schema and parts come out with ``processing``, before the verdict; ``updated_at`` never moves; zero values
    are left out.

    :param dataset: the dataset, with the status it has now.
    :param sign: makes the download URL of a dataset id and a file name.
    """
    created_at = timestamp(dataset.created_us)
    answer: dict[str, Any] = {
        "id": dataset.id,
        "name": dataset.name,
        "created_at": created_at,
        "updated_at": created_at,
        "dataset_type": dataset.dataset_type,
        "validation_status": dataset.status,
    }
    if dataset.status not in _WITHOUT_CONTENTS:
        answer |= dataset.contents
        if parts := dataset.contents.get("dataset_parts"):
            answer["dataset_parts"] = [_part(dataset.id, part, sign) for part in parts]
    if dataset.status == dataset.outcome:
        answer |= dataset.findings
    return {**without_zero_values(answer), **dataset.overrides}


def error_answer(status: int, message: str, headers: Any = None) -> JSONResponse:
    """
    Word an error as the API does.

    :param status: the HTTP status.
    :param message: what is wrong.
    :param headers: headers that go with it.
    """
    return JSONResponse({"id": str(uuid.uuid4()), "message": message}, status, headers)


def _part(dataset_id: str, part: dict[str, Any], sign: Callable[[str, str], str]) -> dict[str, Any]:
    answer = dict(part)
    answer["url"] = sign(dataset_id, answer.pop("file"))
    if original := answer.pop("original_file", ""):
        answer["original_url"] = sign(dataset_id, original)
    return answer


def without_zero_values(value: Any) -> Any:
    """
    Leave zeros, empty texts and empty lists out of objects at any depth, as the gateway in production does.

    :param value: any JSON value.
    :returns: the same, without them; what stands in a list stays.
    """
    if isinstance(value, list):
        return [without_zero_values(item) for item in value]
    if not isinstance(value, dict):
        return value
    slim = {key: without_zero_values(item) for key, item in value.items()}
    return {key: item for key, item in slim.items() if item}


def timestamp(microseconds: int) -> str:
    """
    Write a time as RFC 3339 with microseconds and ``Z``.

    :param microseconds: since the epoch.
    """
    moment = _EPOCH + timedelta(microseconds=microseconds)
    return moment.isoformat(timespec="microseconds").replace("+00:00", "Z")


def microseconds(moment: datetime) -> int:
    """
    Count the microseconds from the epoch to a moment, without a rounding error.

    :param moment: a time with a zone.
    """
    return (moment - _EPOCH) // timedelta(microseconds=1)
