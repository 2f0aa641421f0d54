from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import fsspec
import pytest
from moto.server import ThreadedMotoServer

from airflow_provider_cohere_datasets.core.calls import Call, Reply
from airflow_provider_cohere_datasets.hooks.datasets import CohereDatasetsHook
from airflow_provider_cohere_datasets.lake.decode import Decoder
from airflow_provider_cohere_datasets.lake.export import Export, Scope
from airflow_provider_cohere_datasets.lake.pages import DecodedPage
from airflow_provider_cohere_datasets.lake.publish import Place
from airflow_provider_cohere_datasets.lake.schema import Stamp
from tests.adversary import AdversarialServer

CALL = Call("list datasets", "GET", "/v1/datasets")
STAMP = Stamp(datetime(2026, 2, 3, 4, 5, 6, 7, tzinfo=UTC), "run 1", datetime(2026, 2, 2, tzinfo=UTC))


def decode(body: bytes | str | Sequence[Any], **options: Any) -> DecodedPage:
    """Decode the body of an answer, or one with these rows."""
    if not isinstance(body, (bytes, str)):
        body = json.dumps({"datasets": list(body)})
    body = body if isinstance(body, bytes) else body.encode()
    return Decoder(**options)(CALL, Reply("http://localhost/v1/datasets", 200, body=body))


@pytest.fixture
def server() -> Iterator[AdversarialServer]:
    with AdversarialServer() as running:
        yield running


@pytest.fixture
def hook(server: AdversarialServer, monkeypatch: pytest.MonkeyPatch) -> Iterator[CohereDatasetsHook]:
    connection = {"conn_type": "cohere_datasets", "host": server.url, "password": "test-key"}
    monkeypatch.setenv("AIRFLOW_CONN_COHERE_DEFAULT", json.dumps(connection))
    hook = CohereDatasetsHook(request_policy={"backoff_base": 0, "total_timeout": 20})
    yield hook
    hook.get_conn().close()


@pytest.fixture
def export(hook: CohereDatasetsHook, tmp_path: Path) -> Callable[..., dict[str, Any] | None]:
    """Export what the server has; to ``tmp_path/datasets.parquet`` unless told otherwise."""

    def run(
        path: Any = None, *, conn_id: str | None = None, if_empty: str = "write", log: Any = None, **options: Any
    ) -> dict[str, Any] | None:
        chosen = {name: options.pop(name) for name in list(options) if name in SELECTION}
        scope = Scope.of(**{"page_size": 100, **chosen})
        place = Place(path or tmp_path / "datasets.parquet", conn_id)
        exporting = Export(place, scope, Decoder(**options), STAMP, if_empty=if_empty, log=log)
        return exporting.run(hook.stream_pages)

    return run


def connection_to(url: str) -> str:
    """Return an Airflow connection to an S3 server."""
    extra = {"endpoint_url": url, "region_name": "us-east-1"}
    return json.dumps({"conn_type": "aws", "login": "key", "password": "secret", "extra": extra})


@pytest.fixture(scope="session")
def moto() -> Iterator[str]:
    server = ThreadedMotoServer("127.0.0.1", 0, verbose=False)
    server.start()
    host, port = server.get_host_and_port()
    yield f"http://{host}:{port}"
    server.stop()


@pytest.fixture
def s3(moto: str, monkeypatch: pytest.MonkeyPatch) -> Iterator[Any]:
    """A bucket "lake" that Airflow reaches by the connection "lake_s3"."""
    monkeypatch.setenv("AIRFLOW_CONN_LAKE_S3", connection_to(moto))
    fs = fsspec.filesystem(
        "s3",
        key="key",
        secret="secret",
        endpoint_url=moto,
        client_kwargs={"region_name": "us-east-1"},
        use_listings_cache=False,
    )
    fs.call_s3("create_bucket", Bucket="lake")
    yield fs
    fs.rm("lake", recursive=True)


SELECTION = ("page_size", "limit", "dataset_type", "validation_status", "before", "after")
