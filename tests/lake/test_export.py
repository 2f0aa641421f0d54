"""Whole exports over HTTP, from a server that misbehaves."""

from __future__ import annotations

import hashlib
import json
import logging
import random
import resource
import signal
import threading
from collections.abc import Callable
from datetime import timedelta
from itertools import count, pairwise
from pathlib import Path
from typing import Any

import duckdb
import pandas
import polars
import pyarrow.parquet as pq
import pytest

from airflow_provider_cohere_datasets.core.errors import (
    CohereAuthenticationError,
    CohereInputError,
    CohereTaskStoppedError,
    CohereUnexpectedAnswerError,
)
from airflow_provider_cohere_datasets.hooks.datasets import CohereDatasetsHook
from airflow_provider_cohere_datasets.lake.decode import Decoder
from airflow_provider_cohere_datasets.lake.errors import (
    CohereBadRowError,
    CohereEmptyExportError,
    CohereStorageError,
)
from airflow_provider_cohere_datasets.lake.export import Export, Scope
from airflow_provider_cohere_datasets.lake.files import LocalFile
from airflow_provider_cohere_datasets.lake.publish import Place
from airflow_provider_cohere_datasets.lake.writer import RowGroupWriter
from tests.adversary import (
    AdversarialServer,
    Answer,
    Churn,
    CutBody,
    Listing,
    Reset,
    Through,
    bom,
    broken_json,
    error,
    html,
    make_dataset,
    make_datasets,
)
from tests.adversary.rows import EPOCH
from tests.lake.conftest import STAMP

Run = Callable[..., Any]
LOGGER = "lake test"
TYPED = {"dataset_type": "embed-input"}


def said(caplog: pytest.LogCaptureFixture) -> list[str]:
    """Return what the export logged; Airflow has words of its own."""
    return [record.getMessage() for record in caplog.records if record.name == LOGGER]


def ids_in(path: Path) -> list[str]:
    ids: list[str] = pq.read_table(path, columns=["id"]).column("id").to_pylist()
    return ids


def test_every_row_lands_once_and_all_readers_agree(server: AdversarialServer, export: Run, tmp_path: Path) -> None:
    datasets = list(make_datasets(1230))
    datasets[7]["dataset_parts"] = [{"id": "p", "size_bytes": "5"}]
    server.reset(datasets, Listing(cap=100, repeat_ids=0.05))
    result = export(page_size=250)
    path = tmp_path / "datasets.parquet"
    wanted = sorted(row["id"] for row in datasets)
    assert sorted(ids_in(path)) == wanted
    assert sorted(row[0] for row in duckdb.sql(f"select id from '{path}'").fetchall()) == wanted
    assert sorted(polars.read_parquet(path)["id"].to_list()) == wanted
    assert sorted(pandas.read_parquet(path)["id"]) == wanted
    newest = duckdb.sql(f"select max(created_at) from '{path}'").fetchall()[0][0]
    assert newest == max(polars.read_parquet(path)["created_at"])
    assert result["rows"] == 1230
    assert result["bad_rows"] == 0
    assert result["bytes"] == path.stat().st_size
    assert result["sha256"] == hashlib.sha256(path.read_bytes()).hexdigest()
    assert result["newest_created_at"] == "2026-01-01T12:20:29.123456Z"
    assert result["requests"] == len(server.requests)
    assert len(json.dumps(result)) < 1000
    assert list(tmp_path.iterdir()) == [path]


def test_nothing_is_lost_through_faults_and_churn(server: AdversarialServer, export: Run, tmp_path: Path) -> None:
    server.reset(make_datasets(400), Listing(cap=50, between=Churn(random.Random(1))))
    server.script("GET", "/v1/datasets", [Reset(), Through(), CutBody(), broken_json(), html(), bom(), error(503)])
    export()
    found = ids_in(tmp_path / "datasets.parquet")
    assert len(found) == len(set(found))
    assert server.model.survivors() <= set(found) <= server.model.ever()


def test_the_same_export_again_replaces_the_file(server: AdversarialServer, export: Run, tmp_path: Path) -> None:
    server.reset(make_datasets(30))
    export()
    server.reset(make_datasets(20))
    export()
    assert len(ids_in(tmp_path / "datasets.parquet")) == 20


def test_each_dataset_falls_into_exactly_one_interval(server: AdversarialServer, export: Run, tmp_path: Path) -> None:
    hour = timedelta(hours=1)
    bounds = [EPOCH.replace(minute=0, second=0, microsecond=0) + number * hour for number in range(4)]
    edges = [make_dataset(1000 + number, created_at=bound) for number, bound in enumerate(bounds[:3])]
    server.reset([*make_datasets(100), *edges], Listing(ignore_filters={"before"}, after_inclusive=True))
    found: list[str] = []
    for number, (start, end) in enumerate(pairwise(bounds)):
        path = tmp_path / f"{number}.parquet"
        result = export(path, after=start.isoformat(), before=end.isoformat())
        assert result["filters"].keys() == {"after", "before"}
        found += ids_in(path)
    assert sorted(found) == sorted(row["id"] for row in [*make_datasets(100), *edges])


def test_filters_and_limit(server: AdversarialServer, export: Run, tmp_path: Path) -> None:
    rows = [make_dataset(number, status="failed" if number % 2 else "validated") for number in range(40)]
    server.reset(rows, Listing(ignore_filters={"validationStatus"}))
    assert export(validation_status="failed", dataset_type="embed-input", limit="7")["rows"] == 7
    statuses = pq.read_table(tmp_path / "datasets.parquet").column("validation_status").to_pylist()
    assert statuses == ["failed"] * 7


def test_a_blank_limit_is_none(server: AdversarialServer, export: Run) -> None:
    server.reset(make_datasets(5))
    assert export(limit="  ")["rows"] == 5


@pytest.mark.parametrize("count", [0, -1, 1.5, "abc", 10**9, True])
@pytest.mark.parametrize("name", ["limit", "page_size"])
def test_a_count_that_cannot_be_meant_costs_no_request(
    server: AdversarialServer, export: Run, tmp_path: Path, name: str, count: Any
) -> None:
    with pytest.raises(CohereInputError, match=name) as raised:
        export(**{name: count})
    assert "\n" not in str(raised.value)
    assert not server.requests
    assert list(tmp_path.iterdir()) == []


def test_a_reversed_window_costs_no_request(server: AdversarialServer, export: Run, tmp_path: Path) -> None:
    with pytest.raises(CohereInputError, match="reversed"):
        export(after="2026-01-02", before="2026-01-01")
    assert not server.requests
    assert list(tmp_path.iterdir()) == []


def test_no_datasets(server: AdversarialServer, export: Run, tmp_path: Path) -> None:
    path = tmp_path / "sub" / "x.parquet"
    with pytest.raises(CohereEmptyExportError):
        export(path, if_empty="fail")
    assert export(path, if_empty="skip") is None
    assert list(tmp_path.iterdir()) == []
    result = export(path)
    assert (result["rows"], result["newest_created_at"]) == (0, None)
    assert pq.read_table(path).column_names[0] == "id"
    assert server.requests


def test_an_empty_window_needs_no_request(server: AdversarialServer, export: Run) -> None:
    assert export(after="2026-01-01", before="2026-01-01")["rows"] == 0
    assert not server.requests


@pytest.mark.parametrize(("empty_as", "warned"), [("missing", True), ("null", True), ("list", False)])
def test_an_answer_without_the_list_over_a_file_with_rows_is_told(
    server: AdversarialServer, export: Run, caplog: pytest.LogCaptureFixture, empty_as: Any, warned: bool
) -> None:
    log = logging.getLogger(LOGGER)
    server.reset([], Listing(empty_as=empty_as))
    export(log=log)
    assert not said(caplog)
    server.reset(make_datasets(12), Listing(empty_as=empty_as))
    export(log=log)
    assert not said(caplog)
    server.reset([], Listing(empty_as=empty_as))
    assert export(log=log, if_empty="skip") is None
    assert not said(caplog)
    assert export(log=log)["rows"] == 0
    assert any("had 12 rows" in message for message in said(caplog)) is warned


@pytest.mark.parametrize("rows", [[], None])
@pytest.mark.parametrize("words", ["the backend is gone", "half a character: \ud800"])
def test_an_error_beside_no_datasets_leaves_the_old_file(
    server: AdversarialServer, export: Run, tmp_path: Path, rows: Any, words: str
) -> None:
    server.reset(make_datasets(3))
    export()
    server.script("GET", None, [Answer(json={"datasets": rows, "message": words})], repeat=True)
    with pytest.raises(CohereUnexpectedAnswerError):
        export()
    assert len(ids_in(tmp_path / "datasets.parquet")) == 3


SIGNED = "https://storage.example/x?X-Goog-Signature=S3CR3T"
ROTTEN = [
    make_dataset(0),
    {
        "id": "rotten",
        "name": 5,
        "created_at": "\x1b[31m",
        "updated_at": SIGNED,
        "dataset_parts": [{"size_bytes": SIGNED}],
    },
    {"name": "nameless"},
    make_dataset(3),
]


def test_bad_rows_are_kept_counted_and_named(
    server: AdversarialServer, export: Run, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    server.reset(ROTTEN)
    result = export(log=logging.getLogger(LOGGER))
    assert sorted(ids_in(tmp_path / "datasets.parquet")) == sorted(
        [make_dataset(0)["id"], make_dataset(3)["id"], "rotten"]
    )
    assert (result["rows"], result["bad_rows"]) == (3, 2)
    messages = said(caplog)
    assert sum("'rotten'" in message for message in messages) == 1
    assert not any("\x1b" in message or "S3CR3T" in message for message in messages)


@pytest.mark.parametrize("index", [1.5, 2**63, "one", [1]])
def test_what_cannot_be_read_is_not_taken_for_left_out(
    server: AdversarialServer, export: Run, tmp_path: Path, index: Any
) -> None:
    """What is left out is a zero; the other is unknown, and counted."""
    parts = [{"id": "first", "index": index}, {"id": "second"}]
    server.reset([{**make_dataset(0), "validation_status": 5, "dataset_parts": parts}])
    assert export()["bad_rows"] == 1
    (row,) = pq.read_table(tmp_path / "datasets.parquet").to_pylist()
    assert row["validation_status"] is None
    assert [part["index"] for part in row["dataset_parts"]] == [None, 0]


@pytest.mark.parametrize(
    ("wrong", "filters"),
    [
        ({"dataset_type": 7}, {"dataset_type": "embed-input"}),
        ({"validation_status": 5}, {"validation_status": "failed"}),
    ],
)
def test_a_filter_does_not_hide_bad_rows(
    server: AdversarialServer, export: Run, tmp_path: Path, wrong: dict[str, Any], filters: dict[str, str]
) -> None:
    """Nobody can tell whether they match, so they are kept and counted, or fail the export."""
    name = next(iter(wrong))
    wanted = make_dataset(0, type="embed-input", status="failed")
    others = make_dataset(1, type="embed-result", status="queued")
    server.reset(
        [wanted, {**make_dataset(2), **wrong}, others], Listing(ignore_filters={"datasetType", "validationStatus"})
    )
    result = export(**filters)
    assert (result["rows"], result["bad_rows"]) == (2, 1)
    assert sorted(ids_in(tmp_path / "datasets.parquet")) == sorted([wanted["id"], make_dataset(2)["id"]])
    with pytest.raises(CohereBadRowError, match=f"Dataset.{name}: "):
        export(**filters, on_bad_row="fail")


@pytest.mark.parametrize(
    ("missing", "filters"),
    [("created_at", {"after": "2026-01-01"}), ("created_at", {"before": "2030-01-01"}), ("dataset_type", TYPED)],
)
def test_what_matches_because_nobody_can_tell_is_told(
    server: AdversarialServer, export: Run, caplog: pytest.LogCaptureFixture, missing: str, filters: dict[str, str]
) -> None:
    rows = [make_dataset(number, type="embed-input") for number in range(3)]
    del rows[1][missing]
    server.reset(rows, Listing(ignore_filters={"datasetType", "after", "before"}))
    result = export(**filters, log=logging.getLogger(LOGGER))
    assert (result["rows"], result["bad_rows"]) == (3, 1)
    assert any(rows[1]["id"] in message and f"it has no {missing}" in message for message in said(caplog))
    with pytest.raises(CohereBadRowError, match=f"it has no {missing}"):
        export(**filters, on_bad_row="fail")
    assert export()["bad_rows"] == 0


def test_a_flood_of_bad_rows_is_only_counted(
    server: AdversarialServer, export: Run, caplog: pytest.LogCaptureFixture
) -> None:
    server.reset([make_dataset(number, name=number) for number in range(300)])
    assert export(log=logging.getLogger(LOGGER))["bad_rows"] == 300
    assert len(said(caplog)) == 101


@pytest.mark.parametrize("rows", [ROTTEN[:2], ROTTEN[2:]])
def test_bad_rows_may_fail_the_export(server: AdversarialServer, export: Run, tmp_path: Path, rows: list[Any]) -> None:
    server.reset(rows)
    with pytest.raises(CohereBadRowError):
        export(on_bad_row="fail")
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    ("answer", "kind"),
    [(error(401), CohereAuthenticationError), (Answer(json={"message": "no"}), CohereUnexpectedAnswerError)],
)
def test_an_export_that_fails_half_way_leaves_the_old_file_and_nothing_else(
    server: AdversarialServer, export: Run, tmp_path: Path, answer: Answer, kind: type[Exception]
) -> None:
    server.reset(make_datasets(300))
    export()
    old = (tmp_path / "datasets.parquet").read_bytes()
    server.script("GET", "/v1/datasets", [Through(), Through(), answer], repeat=True)
    with pytest.raises(kind):
        export()
    assert (tmp_path / "datasets.parquet").read_bytes() == old
    assert len(list(tmp_path.iterdir())) == 1


def test_a_full_disk_leaves_nothing_behind(server: AdversarialServer, export: Run, tmp_path: Path) -> None:
    server.reset(make_datasets(500))
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    before = signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    resource.setrlimit(resource.RLIMIT_FSIZE, (4096, hard))
    try:
        with pytest.raises(CohereStorageError, match="cannot be written: File too large"):
            export(tmp_path / "sub" / "x.parquet")
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
        signal.signal(signal.SIGXFSZ, before)
    assert list(tmp_path.iterdir()) == []


def exporting(hook: CohereDatasetsHook, path: Path, **options: Any) -> tuple[Export, Callable[[], Any]]:
    export = Export(Place(path), Scope.of(page_size=10), Decoder(), STAMP, **options)
    return export, lambda: export.run(hook.stream_pages)


def test_a_stop_while_the_writer_starts_leaves_no_thread(
    hook: CohereDatasetsHook, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    export, run = exporting(hook, tmp_path / "x.parquet")

    def start_and_stop(writer: RowGroupWriter, start: Callable[[RowGroupWriter], None] = RowGroupWriter.start) -> None:
        start(writer)
        export.stop()

    monkeypatch.setattr(RowGroupWriter, "start", start_and_stop)
    with pytest.raises(CohereTaskStoppedError):
        run()
    assert [thread for thread in threading.enumerate() if thread.name == "parquet-writer"] == []
    assert list(tmp_path.iterdir()) == []


def test_what_is_no_error_leaves_no_thread_either(hook: CohereDatasetsHook, tmp_path: Path) -> None:
    """As Airflow's own timeout of a task, which a handler raises too."""

    def killed(*_: Any, **__: Any) -> Any:
        raise KeyboardInterrupt

    export, _ = exporting(hook, tmp_path / "x.parquet")
    with pytest.raises(KeyboardInterrupt):
        export.run(killed)
    assert [thread for thread in threading.enumerate() if thread.name == "parquet-writer"] == []
    assert list(tmp_path.iterdir()) == []


def test_a_stop_behind_the_last_page_leaves_the_old_file(
    server: AdversarialServer, hook: CohereDatasetsHook, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "x.parquet"
    path.write_bytes(b"old")
    export, run = exporting(hook, path)

    def finish_and_stop(
        writer: RowGroupWriter, finish: Callable[[RowGroupWriter], None] = RowGroupWriter.finish
    ) -> None:
        finish(writer)
        stopping = threading.Thread(target=export.stop)
        stopping.start()
        stopping.join()

    monkeypatch.setattr(RowGroupWriter, "finish", finish_and_stop)
    server.reset(make_datasets(20))
    with pytest.raises(CohereTaskStoppedError, match="nothing was changed"):
        run()
    assert path.read_bytes() == b"old"
    assert list(tmp_path.iterdir()) == [path]


def test_a_stop_that_comes_too_late_does_not_say_that_nothing_was_changed(
    server: AdversarialServer, hook: CohereDatasetsHook, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "x.parquet"
    path.write_bytes(b"old")
    export, run = exporting(hook, path)

    def publish_and_stop(file: LocalFile, publish: Callable[[LocalFile], None] = LocalFile.publish) -> None:
        publish(file)
        export.stop()

    monkeypatch.setattr(LocalFile, "publish", publish_and_stop)
    server.reset(make_datasets(20))
    assert run()["rows"] == len(ids_in(path)) == 20


@pytest.mark.parametrize("from_handler", [True, False])
def test_a_stopped_export_leaves_the_old_file(
    server: AdversarialServer, hook: CohereDatasetsHook, tmp_path: Path, from_handler: bool
) -> None:
    path = tmp_path / "x.parquet"
    path.write_bytes(b"old")
    export, run = exporting(hook, path)

    def stop(_: Any) -> None:
        if from_handler:  # While the export waits for the third page.
            signal.raise_signal(signal.SIGUSR1) if threading.current_thread() is threading.main_thread() else (
                signal.pthread_kill(threading.main_thread().ident or 0, signal.SIGUSR1)
            )
        else:
            export.stop()

    before = signal.signal(signal.SIGUSR1, lambda *_: export.stop())
    server.reset(make_datasets(100), Listing(between=lambda model: stop(model) if len(server.requests) == 3 else None))
    try:
        with pytest.raises(CohereTaskStoppedError):
            run()
    finally:
        signal.signal(signal.SIGUSR1, before)
    assert path.read_bytes() == b"old"
    assert list(tmp_path.iterdir()) == [path]
    export.stop()


def test_progress_is_told_every_ten_seconds(
    server: AdversarialServer, hook: CohereDatasetsHook, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    log = logging.getLogger(LOGGER)
    log.setLevel(logging.INFO)
    ticks = iter(range(0, 10_000, 4))
    server.reset(make_datasets(100))
    _, run = exporting(hook, tmp_path / "x.parquet", log=log, clock=lambda: float(next(ticks)))
    run()
    lines = [record.getMessage() for record in caplog.records if "rows/s" in record.getMessage()]
    assert 2 <= len(lines) <= 5
    assert lines[0].endswith("rows in 3 pages so far, 2 rows/s.")


def test_progress_is_told_where_nothing_new_comes(
    server: AdversarialServer, hook: CohereDatasetsHook, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """A list that is not in the order of creation is read twice, the second time for nothing."""
    log = logging.getLogger(LOGGER)
    log.setLevel(logging.INFO)
    now = count(0, 4)
    server.reset(make_datasets(200), Listing(order="shuffled-once"))
    _, run = exporting(hook, tmp_path / "x.parquet", log=log, clock=lambda: float(next(now)))
    run()
    told = [int(text.split()[0]) for text in said(caplog) if "rows/s" in text]
    assert told.count(200) >= 5


def test_filters_take_little_room_in_xcom(server: AdversarialServer, export: Run) -> None:
    server.reset([])
    result = export(dataset_type="\N{GRINNING FACE}" * 200)
    assert len(json.dumps(result["filters"])) < 150
    assert result["filters"]["dataset_type"].startswith("\N{GRINNING FACE}" * 8)
