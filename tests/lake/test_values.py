"""Arrow values from Python values; and that no export imports pandas, which happens to be installed in many places."""

from __future__ import annotations

import os
import subprocess
import sys
from datetime import UTC, datetime, timedelta, timezone
from pathlib import Path

import pyarrow as pa

from airflow_provider_cohere_datasets.lake.schema import TIME
from airflow_provider_cohere_datasets.lake.values import scalars

EXPORT = """
import io
import pyarrow as pa
from tests.lake.conftest import STAMP, decode
from airflow_provider_cohere_datasets.lake.publish import Checked
from airflow_provider_cohere_datasets.lake.schema import file_schema
from airflow_provider_cohere_datasets.lake.writer import RowGroupWriter
from tests.lake.test_writer import Sink

for include_samples in (True, False):
    sink = Sink()
    writing = RowGroupWriter(Checked(sink), file_schema(), STAMP)
    writing.start()
    part = {"id": "p", "url": "https://storage/p?signature", "samples": ["{}"]}
    page = decode([{"id": "a", "created_at": "2026-01-02T03:04:05Z", "dataset_parts": [part]}])
    writing.put(page.take([0]).rows)
    writing.finish()
    assert page.ids == ["a"] and page.created
    assert decode('{"datasets":[]}').ids == []  # As the last page is.
"""


def test_each_value_has_its_type() -> None:
    types = {"text": pa.string(), "count": pa.int64(), "time": TIME, "nothing": TIME}
    east = datetime(2026, 1, 1, 2, 0, 0, 7, tzinfo=timezone(timedelta(hours=2)))
    values = scalars({"text": 'a "text" \u2028 \U0001f600', "count": 2**63 - 1, "time": east, "nothing": None}, types)
    assert {name: value.type for name, value in values.items()} == types
    assert [value.as_py() for value in values.values()] == [
        'a "text" \u2028 \U0001f600',
        2**63 - 1,
        datetime(2026, 1, 1, 0, 0, 0, 7, tzinfo=UTC),
        None,
    ]


def test_no_export_imports_pandas(tmp_path: Path) -> None:
    (tmp_path / "pandas.py").write_text("raise SystemExit('pandas was imported')")
    environment = {**os.environ, "PYTHONPATH": f"{tmp_path}{os.pathsep}{Path.cwd()}"}
    command = [sys.executable, "-c", EXPORT]
    ran = subprocess.run(command, env=environment, capture_output=True, text=True, check=False)
    assert ran.returncode == 0, ran.stderr
