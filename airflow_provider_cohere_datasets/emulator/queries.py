"""The query parameters of the API. Names that are not here are ignored without a word, as in production."""

from __future__ import annotations

import re
from datetime import datetime
from typing import Annotated

from fastapi import HTTPException
from pydantic import AwareDatetime, BaseModel, BeforeValidator, Field

from airflow_provider_cohere_datasets.emulator.answers import microseconds
from airflow_provider_cohere_datasets.emulator.dataset_types import RESULT_TYPES, UPLOAD_TYPES
from airflow_provider_cohere_datasets.emulator.store import ListFilter

_NAME_LIMIT = 50
_MAX_INT64 = 2**63 - 1
_RFC_3339 = re.compile(r"\d{4}-\d\d-\d\d[Tt ]\d\d:\d\d:\d\d(\.\d+)?([Zz]|[+-]\d\d:\d\d)")


def _rfc_3339(value: str) -> str:
    # pydantic would also take a bare number or a date without a zone, which production is not known to do.
    if not _RFC_3339.fullmatch(value):
        raise ValueError("must be an RFC 3339 date-time with a zone")
    return value


Moment = Annotated[AwareDatetime, BeforeValidator(_rfc_3339)]


class ListQuery(BaseModel):
    """The parameters of the list, by the names that they have in the API."""

    # No aliases: the FastAPI of some Airflow versions makes pydantic warn of each.
    datasetType: str = ""
    validationStatus: str = ""
    before: Moment | None = None
    after: Moment | None = None
    limit: int = Field(0, ge=0)
    offset: int = Field(0, ge=0, le=_MAX_INT64)

    def filter(self) -> ListFilter:
        """Tell which datasets are wanted; an empty text is as good as none."""
        return ListFilter(
            dataset_type=self.datasetType or None,
            validation_status=self.validationStatus or None,
            before_us=_microseconds(self.before),
            after_us=_microseconds(self.after),
        )


def _microseconds(moment: datetime | None) -> int | None:
    return None if moment is None else microseconds(moment)


class CreateQuery(BaseModel):
    """The parameters of an upload."""

    name: str = ""
    type: str = ""
    keep_original_file: bool = False
    skip_malformed_input: bool = False
    keep_fields: list[str] = []
    optional_fields: list[str] = []
    text_separator: str = ""
    csv_delimiter: str = ","

    def check(self) -> None:
        """
        Refuse what the API refuses at once, before it looks at the file.

        :raises HTTPException: 400 with the reason.
        """
        if not self.name.strip():
            raise HTTPException(400, "name is required")
        if len(self.name) >= _NAME_LIMIT:
            raise HTTPException(400, f"name must be shorter than {_NAME_LIMIT} characters")
        if not self.type:
            raise HTTPException(400, "type is required")
        if self.type in RESULT_TYPES:
            raise HTTPException(400, f'type "{self.type}" is the result of a job: it cannot be uploaded')
        if self.type not in UPLOAD_TYPES:
            raise HTTPException(400, f'unknown type "{self.type}"')
        if len(self.csv_delimiter) != 1 or self.csv_delimiter in '"\r\n':
            raise HTTPException(400, "csv_delimiter must be one character, and no quote or line break")
