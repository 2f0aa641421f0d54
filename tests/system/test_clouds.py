"""Exports to Azure and GCS with Airflow's own file systems, on servers of this machine.

They need ``apache-airflow-providers-microsoft-azure`` and Azurite's ``azurite-blob`` on the path, or
``apache-airflow-providers-google``; what is missing is skipped. GCS is a server in this file, which does what Google
documents of the requests that gcsfs makes.
"""

from __future__ import annotations

import base64
import functools
import hashlib
import http.server
import json
import logging
import os
import re
import resource
import shutil
import signal
import socket
import subprocess
import sys
import threading
import time
from abc import ABC, abstractmethod
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from importlib.util import find_spec
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, quote, unquote, urlsplit

import duckdb
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import requests
from airflow.providers.common.compat.sdk import AirflowFailException, ObjectStoragePath

from airflow_provider_cohere_datasets.core.errors import CohereInputError
from airflow_provider_cohere_datasets.lake.errors import CohereStorageError
from airflow_provider_cohere_datasets.lake.publish import Place
from airflow_provider_cohere_datasets.operators.create import CohereCreateDatasetOperator
from airflow_provider_cohere_datasets.transfers.parquet import CohereDatasetsToParquetOperator
from tests.adversary import AdversarialServer, Listing, Through, error, make_datasets
from tests.versions import OutletEventAccessors, stores

pytestmark = [
    pytest.mark.system,
    # What the libraries of the clouds do is theirs.
    pytest.mark.filterwarnings("ignore"),
]

KEY = "cohere/ds=2026-01-01/datasets.parquet"
BUCKET = "lake"
OLD = b"the file of yesterday"
MEGABYTE = 1 << 20


class Cloud(ABC):
    """A server with one bucket."""

    scheme: str
    #: What must stand in no log, no error and no XCom.
    secrets: tuple[str, ...]
    #: Connections by what is wrong with them.
    connections: dict[str, dict[str, Any]]

    @abstractmethod
    def put(self, key: str, data: bytes) -> None:
        """Write an object."""

    @abstractmethod
    def look(self, key: str) -> tuple[bytes, str] | None:
        """Return what an object holds and its etag, if there is one."""

    @abstractmethod
    def keys(self) -> list[str]:
        """Return what a listing shows."""

    def url(self, key: str = KEY, conn_id: str = "cloud", bucket: str = BUCKET) -> str:
        """Return the URL of an object, with a connection in it."""
        return f"{self.scheme}://{conn_id}@{bucket}/{key}"


class Azure(Cloud):
    """Azurite, by the connection string that everybody knows."""

    scheme = "abfs"
    account = "devstoreaccount1"
    key = "Eby8vdM02xNOcqFlqUwJPLlmEtlCDXJ1OUzFT50uSRZ6IFsuFq2UVErCz4I6tq/K1SZFPTOtr/KBHBeksoGMGw=="

    def __init__(self, port: int) -> None:
        from azure.storage.blob import AccountSasPermissions, BlobServiceClient, ResourceTypes, generate_account_sas

        endpoint = f"http://127.0.0.1:{port}/{self.account}"
        whole = f"BlobEndpoint={endpoint};AccountName={self.account};AccountKey={self.key};"
        self.client = BlobServiceClient.from_connection_string(whole)
        self.lake = self.client.get_container_client(BUCKET)
        self.lake.create_container()
        signature = generate_account_sas(
            self.account,
            self.key,
            ResourceTypes(service=True, container=True, object=True),
            AccountSasPermissions(read=True, list=True),
            datetime.now(UTC) + timedelta(hours=1),
        )
        self.secrets = (self.key, signature, parse_qs(signature)["sig"][0], quote(parse_qs(signature)["sig"][0]))
        wrong = whole.replace(self.key, base64.b64encode(b"wrong" * 12).decode())
        self.connections = {
            "cloud": self._connection(whole),
            "wrong": self._connection(wrong),
            "reader": self._connection(f"BlobEndpoint={endpoint};SharedAccessSignature={signature}"),
            "gone": self._connection(whole.replace(f":{port}/", ":9/")),
        }

    @staticmethod
    def _connection(text: str) -> dict[str, Any]:
        return {"conn_type": "azure_data_lake", "extra": {"connection_string": text}}

    def put(self, key: str, data: bytes) -> None:
        self.lake.upload_blob(key, data, overwrite=True)

    def look(self, key: str) -> tuple[bytes, str] | None:
        blob = self.lake.get_blob_client(key)
        if not blob.exists():
            return None
        stream = blob.download_blob()
        return stream.readall(), str(stream.properties.etag)

    def keys(self) -> list[str]:
        return [blob.name for blob in self.lake.list_blobs()]


class Gcs(Cloud):
    """A server for the requests that gcsfs makes."""

    scheme = "gs"

    def __init__(self, server: GcsServer) -> None:
        self.server = server
        self.secrets = (self._private_key(),)
        self.connections = {
            "cloud": self._connection(server.url),
            "wrong": self._connection(f"{server.url}/as/nobody"),
            "reader": self._connection(f"{server.url}/as/reader"),
            "gone": self._connection("http://127.0.0.1:9"),
            "revoked": self._connection(server.url, is_anonymous=False, keyfile_dict=self._key_file()),
        }

    @staticmethod
    @functools.cache
    def _private_key() -> str:
        from cryptography.hazmat.primitives import serialization
        from cryptography.hazmat.primitives.asymmetric import rsa

        key = rsa.generate_private_key(65537, 2048)
        pem = serialization.PrivateFormat.PKCS8
        return key.private_bytes(serialization.Encoding.PEM, pem, serialization.NoEncryption()).decode()

    def _key_file(self) -> str:
        return json.dumps(
            {
                "type": "service_account",
                "project_id": "project",
                "private_key_id": "1",
                "private_key": self._private_key(),
                "client_email": "robot@project.iam.gserviceaccount.com",
                "client_id": "1",
                "token_uri": f"{self.server.url}/token",
            }
        )

    @staticmethod
    def _connection(url: str, **extra: Any) -> dict[str, Any]:
        extra = {"project": "project", "is_anonymous": True, "gcs.endpoint": url, **extra}
        return {"conn_type": "google_cloud_platform", "extra": extra}

    def put(self, key: str, data: bytes) -> None:
        self.server.store(key, data)

    def look(self, key: str) -> tuple[bytes, str] | None:
        return self.server.objects.get(key)

    def keys(self) -> list[str]:
        return sorted(self.server.objects)


class GcsServer(http.server.ThreadingHTTPServer):
    """A bucket of GCS; under ``/as/reader`` it may only be read, and under ``/as/nobody`` not even that."""

    daemon_threads = True

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), _GcsRequest)
        self.url = f"http://127.0.0.1:{self.server_port}"
        self.objects: dict[str, tuple[bytes, str]] = {}
        self.uploads: dict[str, tuple[str, bytearray]] = {}
        self._generation = 0
        threading.Thread(target=self.serve_forever, name="gcs", daemon=True).start()

    def store(self, key: str, data: bytes) -> dict[str, Any]:
        """Write an object."""
        self._generation += 1
        self.objects[key] = data, str(self._generation)
        return self.describe(key)

    def describe(self, key: str) -> dict[str, Any]:
        """Return what GCS tells of an object."""
        data, generation = self.objects[key]
        return {
            "kind": "storage#object",
            "name": key,
            "bucket": BUCKET,
            "size": str(len(data)),
            "generation": generation,
            "etag": generation,
            "md5Hash": base64.b64encode(hashlib.md5(data).digest()).decode(),
            "updated": "2026-01-01T00:00:00.000Z",
            "mediaLink": f"{self.url}/download/storage/v1/b/{BUCKET}/o/{quote(key, safe='')}?alt=media",
        }


class _GcsRequest(http.server.BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    server: GcsServer

    def do_GET(self) -> None:
        path, query = self._begin()
        if found := re.search(r"/b/([^/]+)(?:/o(?:/(.+))?)?$", path):
            self._read(*found.groups(), query)

    def do_POST(self) -> None:
        path, query = self._begin()
        if path == "/token":
            self._send(400, {"error": "invalid_grant", "error_description": "Invalid JWT Signature."})
        elif path and "upload_id" in query:
            self._continue(query["upload_id"][0])
        elif path and (found := re.search(r"/upload/storage/v1/b/([^/]+)/o$", path)):
            if found[1] != BUCKET:
                self._fail(404, "The specified bucket does not exist.")
            elif query["uploadType"] == ["resumable"]:
                upload = os.urandom(8).hex()
                self.server.uploads[upload] = query["name"][0], bytearray()
                where = f"{self.server.url}{path}?uploadType=resumable&upload_id={upload}"
                self._send(200, None, {"Location": where})
            else:
                _, about, rest = self.body.split(b"--==0==", 2)
                name = json.loads(about.split(b"\n\n", 1)[1])["name"]
                self._send(200, self.server.store(name, rest.split(b"\n\n", 1)[1].rpartition(b"\n--==0==--")[0]))

    do_PUT = do_POST

    def do_DELETE(self) -> None:
        path, query = self._begin()
        if "upload_id" in query:
            del self.server.uploads[query["upload_id"][0]]
            self._send(499, None)
        elif path:
            del self.server.objects[unquote(path.rpartition("/o/")[2])]
            self._send(204, None)

    def log_message(self, format: str, *args: object) -> None:  # noqa: A002
        """Say nothing."""

    def _begin(self) -> tuple[str, dict[str, list[str]]]:
        """Read a request; one without the right to do it is answered here, and has no path then."""
        self.body = self.rfile.read(int(self.headers.get("Content-Length") or 0))
        parts = urlsplit(self.path)
        role, path = found.groups() if (found := re.match("/as/([a-z]+)(/.*)", parts.path)) else ("owner", parts.path)
        if role == "nobody":
            self._fail(401, "Invalid Credentials")
        elif role == "reader" and self.command != "GET":
            self._fail(403, "robot@project.iam.gserviceaccount.com does not have storage.objects.create access.")
        else:
            return path, parse_qs(parts.query)
        return "", {}

    def _read(self, bucket: str, key: str | None, query: dict[str, list[str]]) -> None:
        objects = self.server.objects
        key = None if key is None else unquote(key)
        if bucket != BUCKET or (key is not None and key not in objects):
            self._fail(404, "Not Found")
        elif key is None:
            prefix = query.get("prefix", [""])[0]
            items = [self.server.describe(name) for name in sorted(objects) if name.startswith(prefix)]
            self._send(200, {"kind": "storage#objects", "name": bucket, "items": items})
        elif query.get("alt") == ["media"] or "/download/" in self.path:
            data = objects[key][0]
            start, end = re.match(r"bytes=(\d+)-(\d*)", self.headers.get("Range", "bytes=0-")).groups()  # type: ignore[union-attr]
            self._send(206, data[int(start) : int(end) + 1 if end else None])
        else:
            self._send(200, self.server.describe(key))

    def _continue(self, upload: str) -> None:
        name, data = self.server.uploads[upload]
        span, _, total = self.headers["Content-Range"].removeprefix("bytes ").partition("/")
        assert span == "*" or int(span.partition("-")[0]) == len(data)
        assert total != "*" or len(self.body) % (256 << 10) == 0
        data += self.body
        if total == "*":
            self._send(308, None, {"Range": f"bytes=0-{len(data) - 1}"})
        else:
            assert int(total) == len(data)
            del self.server.uploads[upload]
            self._send(200, self.server.store(name, bytes(data)))

    def _fail(self, status: int, message: str) -> None:
        self._send(status, {"error": {"code": status, "message": message}})

    def _send(self, status: int, body: Any, headers: dict[str, str] | None = None) -> None:
        data = body if isinstance(body, bytes) else b"" if body is None else json.dumps(body).encode()
        self.send_response(status)
        for name, value in {**(headers or {}), "Content-Length": str(len(data))}.items():
            self.send_header(name, value)
        self.end_headers()
        self.wfile.write(data)


@contextmanager
def azurite(folder: Path) -> Iterator[Azure]:
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    command = ["azurite-blob", "--blobHost", "127.0.0.1", "--blobPort", str(port), "--location", str(folder)]
    with subprocess.Popen(
        [*command, "--skipApiVersionCheck", "--disableTelemetry"], stdout=subprocess.PIPE, stderr=subprocess.STDOUT
    ) as server:
        try:
            assert server.stdout is not None
            assert any(b"successfully listens" in line for line in server.stdout)
            yield Azure(port)
        finally:
            server.kill()


NEEDS = {
    "azure": lambda: (
        find_spec("adlfs") and find_spec("airflow.providers.microsoft.azure") and shutil.which("azurite-blob")
    ),
    "gcs": lambda: find_spec("gcsfs") and find_spec("airflow.providers.google"),
}


@pytest.fixture(scope="module", params=["azure", "gcs"])
def running(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Cloud]:
    try:
        found = NEEDS[request.param]()
    except ModuleNotFoundError:
        found = None
    if not found:
        pytest.skip(f"{request.param} or its libraries are not installed")
    if request.param == "azure":
        with azurite(tmp_path_factory.mktemp("azurite")) as azure:
            yield azure
    else:
        server = GcsServer()
        yield Gcs(server)
        server.shutdown()
        server.server_close()


@pytest.fixture
def cloud(running: Cloud, monkeypatch: pytest.MonkeyPatch) -> Cloud:
    """A server without objects, and the connections to it."""
    # It would ask Google itself which kind of bucket this is.
    monkeypatch.setenv("GCSFS_EXPERIMENTAL_ZB_HNS_SUPPORT", "false")
    for name, connection in running.connections.items():
        monkeypatch.setenv(f"AIRFLOW_CONN_{name.upper()}", json.dumps(connection))
    monkeypatch.setattr(stores, "_STORE_CACHE", {})
    if isinstance(running, Azure):
        for blob in running.lake.list_blobs():
            running.lake.delete_blob(blob)
    if isinstance(running, Gcs):
        running.server.objects.clear()
        running.server.uploads.clear()
    return running


@pytest.fixture
def api(monkeypatch: pytest.MonkeyPatch) -> Iterator[AdversarialServer]:
    with AdversarialServer(make_datasets(230), Listing(cap=100)) as server:
        connection = {"conn_type": "cohere_datasets", "host": server.url, "password": "test-key"}
        monkeypatch.setenv("AIRFLOW_CONN_COHERE_DEFAULT", json.dumps(connection))
        yield server


def export(url: str, **options: Any) -> dict[str, Any]:
    operator = CohereDatasetsToParquetOperator(
        task_id="export", output_path=url, request_policy={"backoff_base": 0}, **options
    )
    context: Any = {
        "run_id": "run",
        "logical_date": datetime(2026, 1, 2, tzinfo=UTC),
        "outlet_events": OutletEventAccessors(),
    }
    return operator.execute(context)


def rows(table: pa.Table) -> list[dict[str, Any]]:
    return table.drop_columns(["_exported_at"]).to_pylist()


@pytest.mark.usefixtures("api")
@pytest.mark.parametrize("conn_id", [None, "cloud"])
def test_an_export_has_what_a_local_one_has(cloud: Cloud, tmp_path: Path, conn_id: str | None) -> None:
    cloud.put(KEY, OLD)
    local = tmp_path / "datasets.parquet"
    export(f"file://{local}")
    url = cloud.url() if conn_id is None else f"{cloud.scheme}://{BUCKET}/{KEY}"
    result = export(url, storage_conn_id=conn_id)
    assert result["path"] == f"{cloud.scheme}://{BUCKET}/{KEY}"
    assert cloud.keys() == [KEY]
    found = cloud.look(KEY)
    assert found is not None
    assert (len(found[0]), hashlib.sha256(found[0]).hexdigest()) == (result["bytes"], result["sha256"])
    fs = ObjectStoragePath(cloud.url()).fs
    expected = rows(pq.read_table(local))
    assert rows(pq.read_table(f"{BUCKET}/{KEY}", filesystem=fs, partitioning=None)) == expected
    database = duckdb.connect()
    database.register_filesystem(fs)
    query = f"SELECT id FROM read_parquet('{cloud.scheme}://{BUCKET}/{KEY}') ORDER BY id"
    assert database.sql(query).fetchall() == sorted((row["id"],) for row in expected)


def test_the_old_object_stays_until_the_last_step(cloud: Cloud) -> None:
    cloud.put(KEY, OLD)
    before = cloud.look(KEY)
    file = Place(cloud.url()).create()
    assert cloud.look(KEY) == before
    block = os.urandom(3 * MEGABYTE)
    peaks = []
    for number in range(40):
        file.write(block)
        if number % 10 == 9:
            assert cloud.look(KEY) == before
        peaks.append(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss)
    assert cloud.keys() == [KEY]
    if not isinstance(cloud, Gcs):  # Whose server holds all in this process.
        assert peaks[-1] - peaks[10] < 40 * 1024, "kilobytes"
    file.publish()
    found = cloud.look(KEY)
    assert found is not None
    assert found[0] == block * 40


@pytest.mark.parametrize("old", [OLD, None])
def test_an_export_that_fails_leaves_the_old_object_or_nothing(
    cloud: Cloud, api: AdversarialServer, old: bytes | None
) -> None:
    if old:
        cloud.put(KEY, old)
    before = cloud.look(KEY)
    api.script("GET", "/v1/datasets", [Through(), Through(), error(401)])
    with pytest.raises(AirflowFailException, match="refuses the API key"):
        export(cloud.url())
    assert cloud.look(KEY) == before
    assert cloud.keys() == ([KEY] if old else [])
    if isinstance(cloud, Gcs):
        assert not cloud.server.uploads


_VICTIM = """
import os, sys
from airflow_provider_cohere_datasets.lake.publish import Place
file = Place(sys.argv[1]).create()
for _ in range(8):
    file.write(os.urandom(3 << 20))
print("ready", flush=True)
sys.stdin.read()
"""


@pytest.mark.parametrize(("old", "number"), [(OLD, signal.SIGKILL), (None, signal.SIGTERM)])
def test_a_killed_process_leaves_the_old_object_or_nothing(
    cloud: Cloud, old: bytes | None, number: signal.Signals
) -> None:
    if old:
        cloud.put(KEY, old)
    before = cloud.look(KEY)
    with subprocess.Popen(
        [sys.executable, "-c", _VICTIM, cloud.url()],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        env={**os.environ, "PYTHONPATH": str(Path(__file__).parents[2])},
    ) as victim:
        assert victim.stdout is not None
        assert any(line == b"ready\n" for line in victim.stdout)
        assert cloud.look(KEY) == before
        victim.send_signal(number)
    assert cloud.look(KEY) == before
    assert cloud.keys() == ([KEY] if old else [])


@pytest.mark.parametrize("first_to_publish", [0, 1])
def test_of_two_at_once_one_whole_file_stays(cloud: Cloud, first_to_publish: int) -> None:
    contents = [letter * (20 * MEGABYTE + 5) for letter in (b"a", b"b")]
    files = [Place(cloud.url()).create() for _ in contents]
    for start in range(0, len(contents[0]), MEGABYTE):
        for file, content in zip(files, contents, strict=True):
            file.write(content[start : start + MEGABYTE])
    files[first_to_publish].publish()
    found = cloud.look(KEY)
    assert found is not None
    assert found[0] == contents[first_to_publish]
    last = 1 - first_to_publish
    try:
        with Place(cloud.url()).failures():
            files[last].publish()
    except CohereStorageError:
        # Azure dropped its blocks. Airflow tries the task again, as with any error of a storage.
        assert isinstance(cloud, Azure)
        files[last].abandon()
        last = first_to_publish
    found = cloud.look(KEY)
    assert found is not None
    assert found[0] == contents[last]


@pytest.mark.parametrize(
    ("conn_id", "bucket", "kind", "message"),
    [
        ("cloud", "missing", CohereInputError, "does not exist"),
        ("wrong", BUCKET, CohereInputError, r"authenticate|Invalid Credentials"),
        ("reader", BUCKET, CohereInputError, r"not authorized|does not have storage\.objects\.create access"),
        ("revoked", BUCKET, CohereInputError, "Invalid Credentials"),
        ("gone", BUCKET, CohereStorageError, r"[Cc]onnect"),
        ("nowhere", BUCKET, CohereInputError, "nowhere"),
    ],
)
def test_what_is_wrong_is_said_in_one_sentence_before_any_request(
    cloud: Cloud,
    api: AdversarialServer,
    conn_id: str,
    bucket: str,
    kind: type[Exception],
    message: str,
) -> None:
    if conn_id not in (*cloud.connections, "nowhere"):
        pytest.skip("only GCS has tokens")
    cloud.put(KEY, OLD)
    before = cloud.look(KEY)
    started = time.monotonic()
    with pytest.raises(kind, match=message) as raised:
        export(cloud.url(conn_id=conn_id, bucket=bucket))
    # gcsfs tries again for half a minute, whatever was wrong with the key.
    assert time.monotonic() - started < 60
    assert "\n" not in str(raised.value)
    assert "<" not in str(raised.value)
    assert not api.requests
    assert cloud.look(KEY) == before


def test_a_folder_in_the_way_is_found_before_any_request(cloud: Cloud, api: AdversarialServer) -> None:
    cloud.put("folder/file", b"theirs")
    with pytest.raises(CohereInputError, match="Is a directory"):
        export(cloud.url("folder"))
    assert not api.requests
    assert cloud.keys() == ["folder/file"]


@pytest.mark.parametrize("suffix", ["jsonl", "parquet"])
def test_datasets_are_created_from_there(cloud: Cloud, cohere_connection: str, emulator: Any, suffix: str) -> None:
    lines = b"".join(b'{"text": "row %d"}\n' % number for number in range(3000))
    if suffix == "parquet":
        sink = pa.BufferOutputStream()
        pq.write_table(pa.table({"text": [f"row {number}" for number in range(3000)]}), sink, row_group_size=500)
        cloud.put(f"in/data.{suffix}", sink.getvalue().to_pybytes())
    else:
        cloud.put(f"in/data.{suffix}", lines)
    operator = CohereCreateDatasetOperator(
        task_id="create", name="from a lake", dataset_type="embed-input", data=cloud.url(f"in/data.{suffix}")
    )
    context: Any = {"outlet_events": OutletEventAccessors()}
    created: Any = operator.execute(context)
    identifier = created if isinstance(created, str) else created["id"]
    headers = {"Authorization": f"Bearer {emulator.api_key}"}
    answer = requests.get(f"{emulator.base_url}/v1/datasets/{identifier}", headers=headers, timeout=30).json()
    assert sum(part["num_rows"] for part in answer["dataset"]["dataset_parts"]) == 3000


def test_no_secret_is_told(
    cloud: Cloud, api: AdversarialServer, caplog: pytest.LogCaptureFixture, capfd: pytest.CaptureFixture[str]
) -> None:
    for name in ("", "azure", "adlfs", "gcsfs", "fsspec", "airflow", "airflow.task", "google"):
        caplog.set_level(logging.DEBUG, logger=name)
    told = [json.dumps(export(cloud.url()))]
    for conn_id in set(cloud.connections) - {"cloud", "gone", "revoked"}:
        with pytest.raises(Exception, match="output_path") as raised:
            export(cloud.url(conn_id=conn_id))
        told += [repr(each) for each in (raised.value, raised.value.__cause__, raised.value.__context__)]
    told += [f"{vars(record)}" for record in caplog.records]
    told += list(capfd.readouterr())
    for secret in cloud.secrets:
        assert not any(secret in text or secret.replace("\n", "\\n") in text for text in told)
