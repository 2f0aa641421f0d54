"""A long upload says how far it is; a short one says nothing."""

from __future__ import annotations

import io
import itertools
from contextlib import ExitStack

import pytest

from airflow_provider_cohere_datasets.core.calls import Upload, create_dataset
from airflow_provider_cohere_datasets.transport.multipart import Progress, SizedFile, multipart

MODULE = "airflow_provider_cohere_datasets.transport.multipart"
MB = 1_000_000


def sent(caplog: pytest.LogCaptureFixture, chunks: int, seconds: float, *, files: int = 1) -> list[str]:
    """Read files in chunks of a megabyte, each of which takes some seconds; return what was logged."""
    now = 0.0
    progress = Progress(lambda: now)
    content = b"x" * (chunks * MB)
    opened = [SizedFile(io.BytesIO(content), progress) for _ in range(files)]
    progress.total = sum(file.len for file in opened)
    caplog.clear()
    with caplog.at_level("INFO", MODULE):
        for file in opened:
            while file.len:
                now += seconds
                assert len(file.read(MB)) == MB
    return caplog.messages


def test_a_short_upload_says_nothing(caplog: pytest.LogCaptureFixture) -> None:
    assert sent(caplog, 9, 1.0) == []
    assert sent(caplog, 1, 1000.0) == []


def test_a_long_one_says_how_far_it_is(caplog: pytest.LogCaptureFixture) -> None:
    assert sent(caplog, 100, 0.5) == [
        "Uploading: 20.0 of 100.0 MB (20 %), 2.0 MB/s.",
        "Uploading: 40.0 of 100.0 MB (40 %), 2.0 MB/s.",
        "Uploading: 60.0 of 100.0 MB (60 %), 2.0 MB/s.",
        "Uploading: 80.0 of 100.0 MB (80 %), 2.0 MB/s.",
    ]


def test_several_files_are_one_upload(caplog: pytest.LogCaptureFixture) -> None:
    lines = sent(caplog, 10, 2.0, files=2)
    assert [line.partition(" (")[2] for line in lines] == [f"{share} %), 0.5 MB/s." for share in (25, 50, 75)]


def test_chunks_that_take_long_are_told_one_by_one(caplog: pytest.LogCaptureFixture) -> None:
    assert len(sent(caplog, 5, 25.0)) == 4


def test_the_body_of_a_call_tells_its_progress(caplog: pytest.LogCaptureFixture) -> None:
    ticks = itertools.count(step=4)
    uploads = [Upload(field, "x.csv", lambda: io.BytesIO(b"x" * 5 * MB)) for field in ("data", "eval_data")]
    with ExitStack() as stack, caplog.at_level("INFO", MODULE):
        body = multipart(create_dataset([("name", "n")], uploads), stack, clock=lambda: float(next(ticks)))
        while body.read(MB):
            pass
    assert len(caplog.messages) == 3
    assert all(" of 10.0 MB (" in line for line in caplog.messages)
