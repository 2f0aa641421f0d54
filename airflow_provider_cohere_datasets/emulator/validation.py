"""The validation of an upload: from the files as they came to the parts that are served."""

from __future__ import annotations

import json
import shutil
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, BinaryIO

import fastavro

from airflow_provider_cohere_datasets.emulator.dataset_types import RecordShape
from airflow_provider_cohere_datasets.emulator.metrics import SPLITS, FinetuneTally
from airflow_provider_cohere_datasets.emulator.queries import CreateQuery
from airflow_provider_cohere_datasets.emulator.rows import CELL_LIMIT, BadFile, BadRow, read_rows

_SAMPLE_ROWS = 3
_WARNINGS_SPELT_OUT = 100


@dataclass(frozen=True)
class UploadedFile:
    """
    One file of an upload.

    :param name: the file name that the client gave.
    :param suffix: one of :data:`rows.FORMATS`.
    :param file: its content, spooled to disk.
    :param size_bytes: its length in bytes.
    """

    name: str
    suffix: str
    file: BinaryIO
    size_bytes: int


@dataclass(frozen=True)
class Verdict:
    """
    What came of a validation.

    :param outcome: ``validated`` or ``failed``.
    :param contents: what the API shows from ``processing`` on: schema, fields, parts.
    :param findings: what it shows from the verdict on: error, warnings, metrics.
    :param stored_bytes: what the dataset takes up.
    """

    outcome: str
    contents: dict[str, Any] = field(default_factory=dict)
    findings: dict[str, Any] = field(default_factory=dict)
    stored_bytes: int = 0


class _Intake:
    """Hands the good rows of one file on, as records, and keeps account of them."""

    def __init__(
        self, split: str, upload: UploadedFile, query: CreateQuery, shape: RecordShape, tally: FinetuneTally
    ) -> None:
        self._split = split
        self._upload = upload
        self._query = query
        self._shape = shape
        self._tally = tally
        self._place = "" if split == "train" else "eval_data "
        self.num_rows = 0
        self.num_dropped = 0
        self.samples: list[str] = []
        self.warnings: list[str] = []

    def __iter__(self) -> Iterator[dict[str, Any]]:
        rows = read_rows(
            self._upload.file,
            self._upload.suffix,
            csv_delimiter=self._query.csv_delimiter,
            text_separator=self._query.text_separator or "\n",
        )
        for line, row in rows:
            try:
                if isinstance(row, BadRow):
                    raise row
                record = self._shape.record(row)
            except (BadRow, RecursionError) as error:
                self._drop(f"{self._place}line {line}: {error}")
                continue
            self.num_rows += 1
            self._tally.add(self._split, record)
            if len(self.samples) < _SAMPLE_ROWS:
                self.samples.append(json.dumps(record, ensure_ascii=False))
            yield record
        if not self.num_rows:
            first = f"; {self.warnings[0]}" if self.warnings else ""
            raise BadFile(f"{self._place}line 1: the file has no valid rows{first}")
        if self.num_dropped > len(self.warnings):
            self.warnings.append(f"{self._place}{self.num_dropped - len(self.warnings)} more rows were dropped")

    def _drop(self, message: str) -> None:
        if not self._query.skip_malformed_input:
            raise BadFile(message)
        self.num_dropped += 1
        if len(self.warnings) < _WARNINGS_SPELT_OUT:
            self.warnings.append(message)


@CELL_LIMIT.lifted()
def validate(dataset_id: str, query: CreateQuery, uploads: Sequence[UploadedFile], folder: Path) -> Verdict:
    """
    Check every row of an upload and write what is kept of it to Avro files.

    :param dataset_id: the dataset, which the ids of its parts are derived from.
    :param query: its type, how to read it, and what to keep of it.
    :param uploads: the training file and, if there is one, the evaluation file.
    :param folder: where the parts are written to; it is removed when the upload is not valid.
    :returns: the verdict; a failure names the line.
    """
    shape = RecordShape(query.type, query.keep_fields, query.optional_fields)
    schema = fastavro.parse_schema(shape.schema)
    tally = FinetuneTally(query.type)
    parts: list[dict[str, Any]] = []
    warnings: list[str] = []
    stored_bytes = 0
    try:
        for index, (split, upload) in enumerate(zip(SPLITS, uploads, strict=False)):
            intake = _Intake(split, upload, query, shape, tally)
            path = folder / f"part-{index}.avro"
            with path.open("wb") as target:
                fastavro.writer(target, schema, intake)
            part: dict[str, Any] = {
                "id": f"{dataset_id}-part-{index}",
                "name": upload.name,
                "file": path.name,
                "index": index,
                "size_bytes": path.stat().st_size,
                "num_rows": intake.num_rows,
                "samples": intake.samples,
            }
            stored_bytes += part["size_bytes"]
            if query.keep_original_file:
                part["original_file"] = f"original-{index}{upload.suffix}"
                upload.file.seek(0)
                with (folder / part["original_file"]).open("wb") as target:
                    shutil.copyfileobj(upload.file, target)
                stored_bytes += upload.size_bytes
            parts.append(part)
            warnings += intake.warnings
    except BadFile as error:
        shutil.rmtree(folder)
        return Verdict("failed", findings={"validation_error": str(error)})
    contents = {
        "schema": json.dumps(shape.schema),
        "required_fields": shape.required_fields,
        "preserve_fields": shape.preserve_fields,
        "dataset_parts": parts,
    }
    findings = {"validation_warnings": warnings, "metrics": tally.answer()}
    return Verdict("validated", contents, findings, stored_bytes)
