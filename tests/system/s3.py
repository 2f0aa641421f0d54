"""An S3 server for all processes of an Airflow, with the test between a request and what comes of it."""

from __future__ import annotations

import json
import threading
from collections.abc import Callable, Iterable
from types import TracebackType
from typing import Any

import boto3  # type: ignore[import-untyped]
import psutil  # type: ignore[import-untyped]
from botocore.exceptions import ClientError  # type: ignore[import-untyped]
from moto.moto_server.werkzeug_app import DomainDispatcherApplication, create_backend_app
from werkzeug.serving import WSGIRequestHandler, make_server

from tests.system.processes import process_at

#: Gets the process that made a request, and a way to carry the request out.
Act = Callable[[psutil.Process, Callable[[], object]], object]


class _Quiet(WSGIRequestHandler):
    def log_request(self, code: int | str = "-", size: int | str = "-") -> None:
        """Say nothing."""


class S3:
    """Runs an S3 server with one bucket for as long as the context lasts.

    :param bucket: the name of the bucket.
    """

    def __init__(self, bucket: str) -> None:
        self.bucket = bucket
        #: What went wrong in an act.
        self.errors: list[BaseException] = []
        self._acts: dict[tuple[str, str, str], Act] = {}
        self._app = DomainDispatcherApplication(create_backend_app)
        self._server = make_server("127.0.0.1", 0, self._serve, threaded=True, request_handler=_Quiet)
        self.url = f"http://127.0.0.1:{self._server.server_port}"
        self._thread = threading.Thread(target=self._server.serve_forever, name="s3", daemon=True)

    def __enter__(self) -> S3:
        self._thread.start()
        self._client = boto3.client(
            "s3",
            endpoint_url=self.url,
            region_name="us-east-1",
            aws_access_key_id="key",
            aws_secret_access_key="secret",
        )
        self._client.create_bucket(Bucket=self.bucket)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._client.close()
        self._server.shutdown()
        self._thread.join()
        self._server.server_close()
        if error is None and self.errors:
            raise self.errors[0]

    def connection_json(self) -> str:
        """Return an Airflow connection to the server."""
        extra = {"endpoint_url": self.url, "region_name": "us-east-1"}
        return json.dumps({"conn_type": "aws", "login": "key", "password": "secret", "extra": extra})

    def on(self, method: str, key: str, query: str, act: Act) -> None:
        """Act at the next request of a kind, instead of carrying it out; its client gets no answer that is of use.

        :param method: of the request.
        :param key: of the object.
        :param query: how one of the parameters begins.
        """
        self._acts[method, key, query] = act

    def put(self, key: str, data: bytes) -> None:
        """Write an object."""
        self._client.put_object(Bucket=self.bucket, Key=key, Body=data)

    def get(self, key: str) -> bytes | None:
        """Read an object, if there is one."""
        try:
            data: bytes = self._client.get_object(Bucket=self.bucket, Key=key)["Body"].read()
        except ClientError:
            return None
        return data

    def version(self, key: str) -> str | None:
        """Tell the versions of an object apart."""
        try:
            return str(self._client.head_object(Bucket=self.bucket, Key=key)["ETag"])
        except ClientError:
            return None

    def unfinished(self, key: str) -> list[int]:
        """Return how many parts each unfinished upload of an object has."""
        uploads = self._client.list_multipart_uploads(Bucket=self.bucket).get("Uploads", [])
        place = {"Bucket": self.bucket, "Key": key}
        ids = [upload["UploadId"] for upload in uploads if upload["Key"] == key]
        return [len(self._client.list_parts(**place, UploadId=each).get("Parts", [])) for each in ids]

    def _serve(self, environ: dict[str, Any], start_response: Callable[..., Any]) -> Iterable[bytes]:
        act = self._acts.pop(kind, None) if (kind := self._kind_of(environ)) else None
        if act is None:
            answer: Iterable[bytes] = self._app(environ, start_response)
            return answer
        try:
            act(
                psutil.Process(process_at(environ["werkzeug.socket"])),
                lambda: list(self._app(environ, lambda *_: None)),
            )
        except BaseException as error:
            self.errors.append(error)
        start_response("503 Service Unavailable", [("Content-Length", "0"), ("Connection", "close")])
        return []

    def _kind_of(self, environ: dict[str, Any]) -> tuple[str, str, str] | None:
        method, path, query = environ["REQUEST_METHOD"], environ["PATH_INFO"], environ["QUERY_STRING"].split("&")
        for kind in list(self._acts):
            if (method, path) == (kind[0], f"/{self.bucket}/{kind[1]}") and any(q.startswith(kind[2]) for q in query):
                return kind
        return None
