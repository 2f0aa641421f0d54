from __future__ import annotations

import json
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import jinja2
import pyarrow.parquet as pq
import pytest
from airflow.providers.common.compat.sdk import (
    AirflowFailException,
    AirflowSkipException,
    Asset,
    AssetAlias,
    ObjectStoragePath,
)

from airflow_provider_cohere_datasets.core.errors import CohereInputError, CohereTaskStoppedError
from airflow_provider_cohere_datasets.lake.errors import CohereBadRowError, CohereEmptyExportError
from airflow_provider_cohere_datasets.transfers.parquet import CohereDatasetsToParquetOperator
from tests.adversary import AdversarialServer, Listing, error, make_dataset, make_datasets
from tests.versions import OutletEventAccessors


@pytest.fixture
def server(monkeypatch: pytest.MonkeyPatch) -> Iterator[AdversarialServer]:
    with AdversarialServer(make_datasets(30)) as running:
        connection = {"conn_type": "cohere_datasets", "host": running.url, "password": "test-key"}
        monkeypatch.setenv("AIRFLOW_CONN_COHERE_DEFAULT", json.dumps(connection))
        yield running


def context(**values: Any) -> Any:
    """What Airflow hands to a task, as far as it is used here."""
    return {
        "run_id": "scheduled__2026-01-02",
        "logical_date": datetime(2026, 1, 2, tzinfo=UTC),
        "outlet_events": OutletEventAccessors(),
        **values,
    }


def operator(path: Any, **options: Any) -> CohereDatasetsToParquetOperator:
    policy = {"backoff_base": 0}
    return CohereDatasetsToParquetOperator(task_id="export", output_path=path, request_policy=policy, **options)


@pytest.mark.parametrize("kind", [str, Path, ObjectStoragePath])
def test_the_file_is_written_and_xcom_tells_about_it(server: AdversarialServer, tmp_path: Path, kind: Any) -> None:
    path = tmp_path / "datasets.parquet"
    result = operator(kind(str(path))).execute(context())
    table = pq.read_table(path)
    assert result["path"] == str(path)
    assert result["rows"] == table.num_rows == 30
    assert set(table.column("_run_id").to_pylist()) == {"scheduled__2026-01-02"}
    assert set(table.column("_logical_date").to_pylist()) == {datetime(2026, 1, 2, tzinfo=UTC)}
    assert len(json.dumps(result)) < 1000


@pytest.mark.usefixtures("server")
def test_assets_in_outlets_are_told_the_same(tmp_path: Path) -> None:
    asset, alias = Asset("s3://lake/datasets"), AssetAlias("alias")
    given = context()
    result = operator(str(tmp_path / "x.parquet"), outlets=[asset, alias]).execute(given)
    assert given["outlet_events"][asset].extra == result


def test_options_reach_the_file(server: AdversarialServer, tmp_path: Path) -> None:
    path = tmp_path / "x.parquet"
    exporting = operator(
        str(path), part_urls="drop", include_samples=False, keep_raw=True, page_size="7", limit="9", before="2099-01-01"
    )
    result = exporting.execute(context())
    parts = pq.read_table(path).column("dataset_parts").to_pylist()
    assert all(part["url"] is None and part["samples"] == [] for row in parts for part in row)
    assert all(
        "url" not in json.loads(raw)["dataset_parts"][0] for raw in pq.read_table(path).column("_raw").to_pylist()
    )
    assert result["rows"] == 9
    assert result["filters"] == {"before": "2099-01-01T00:00:00.000000Z"}
    assert dict(server.requests[0].query)["limit"] == "7"


def test_who_wants_no_bad_row_gets_no_file(server: AdversarialServer, tmp_path: Path) -> None:
    server.reset([make_dataset(1, created_at="yesterday")])
    path = tmp_path / "x.parquet"
    with pytest.raises(CohereBadRowError, match="created_at"):
        operator(str(path), on_bad_row="fail").execute(context())
    assert not path.exists()
    assert operator(str(path)).execute(context())["bad_rows"] == 1


def test_templates_are_rendered_and_names_cannot_lead_elsewhere(server: AdversarialServer, tmp_path: Path) -> None:
    exporting = operator(
        f"{tmp_path}/ds={{{{ ds }}}}/{{{{ name | path_segment }}}}.parquet", after="{{ start }}", limit="{{ n }}"
    )
    exporting.render_template_fields({"ds": "2026-01-02", "name": "../a b", "start": "2026-01-01", "n": 4})
    assert exporting.after == "2026-01-01"
    assert exporting.execute(context())["rows"] == 4
    assert [path.name for path in (tmp_path / "ds=2026-01-02").iterdir()] == ["..%2Fa%20b.parquet"]
    climbing = operator(f"{tmp_path}/{{{{ name }}}}.parquet")
    climbing.render_template_fields({"name": "../a"}, jinja2.Environment())  # As a running task does it.
    with pytest.raises(CohereInputError, match="path_segment"):
        climbing.execute(context())


def test_a_path_of_pathlib_is_a_template_too(server: AdversarialServer, tmp_path: Path) -> None:
    """Airflow leaves one as it is; each day's file would replace the last one's."""
    exporting = operator(tmp_path / "ds={{ ds }}" / "datasets.parquet")
    exporting.render_template_fields({"ds": "2026-01-02"})
    exporting.execute(context())
    assert [path.name for path in tmp_path.iterdir()] == ["ds=2026-01-02"]
    plain = operator(tmp_path / "datasets.parquet")
    plain.render_template_fields({})
    assert plain.output_path == tmp_path / "datasets.parquet"


@pytest.mark.parametrize(
    "option",
    [
        {"if_empty": "ignore"},
        {"on_bad_row": "drop"},
        {"part_urls": True},
        {"part_urls": None},
        {"include_samples": "yes"},
        {"include_samples": 1},
        {"keep_raw": "no"},
    ],
)
def test_choices_are_checked_when_the_dag_is_parsed(option: dict[str, Any]) -> None:
    name = next(iter(option))
    with pytest.raises(CohereInputError, match=f"^{name} must be ") as raised:
        operator("/lake/x.parquet", **option)
    assert isinstance(raised.value, AirflowFailException)


@pytest.mark.parametrize(
    "option",
    [
        {"after": "2026-01-02", "before": "2026-01-01"},
        {"validation_status": "done"},
        {"page_size": 0},
        {"limit": "abc"},
        {"limit": "None"},
        {"before": "None"},
        {"storage_conn_id": "None"},
        {"storage_conn_id": 5},
    ],
)
def test_templated_arguments_are_checked_before_any_request(
    server: AdversarialServer, tmp_path: Path, option: dict[str, Any]
) -> None:
    with pytest.raises(CohereInputError) as raised:
        operator(str(tmp_path / "sub" / "x.parquet"), **option).execute(context())
    assert isinstance(raised.value, AirflowFailException)
    assert not server.requests
    assert list(tmp_path.iterdir()) == []


def test_an_unwritable_place_costs_no_request(server: AdversarialServer, tmp_path: Path) -> None:
    with pytest.raises(CohereInputError, match="Is a directory") as raised:
        operator(str(tmp_path)).execute(context())
    assert isinstance(raised.value, AirflowFailException)
    assert not server.requests


def test_no_datasets_may_skip_or_fail_the_task(server: AdversarialServer, tmp_path: Path) -> None:
    server.reset([], Listing())
    with pytest.raises(AirflowSkipException):
        operator(str(tmp_path / "x.parquet"), if_empty="skip").execute(context())
    with pytest.raises(CohereEmptyExportError) as raised:
        operator(str(tmp_path / "x.parquet"), if_empty="fail").execute(context())
    assert not isinstance(raised.value, AirflowFailException)
    assert list(tmp_path.iterdir()) == []


def test_errors_of_the_api_name_the_connection(server: AdversarialServer, tmp_path: Path) -> None:
    server.script("GET", "/v1/datasets", [error(401)])
    with pytest.raises(AirflowFailException, match="cohere_default"):
        operator(str(tmp_path / "x.parquet")).execute(context())
    assert list(tmp_path.iterdir()) == []


def test_a_killed_task_leaves_nothing_behind(server: AdversarialServer, tmp_path: Path) -> None:
    exporting = operator(str(tmp_path / "x.parquet"), page_size=5)
    exporting.on_kill()  # Before it runs, there is nothing to stop.
    server.reset(
        make_datasets(30), Listing(between=lambda _: exporting.on_kill() if len(server.requests) == 2 else None)
    )
    with pytest.raises(CohereTaskStoppedError):
        exporting.execute(context())
    exporting.on_kill()
    assert list(tmp_path.iterdir()) == []
