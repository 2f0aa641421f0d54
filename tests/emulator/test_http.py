"""Keys, errors, the list, downloads, capacity and the record of requests."""

from __future__ import annotations

import asyncio
import io
import shutil
import sqlite3
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any
from uuid import UUID

import fastavro
import httpx
import pytest

from airflow_provider_cohere_datasets.emulator import (
    Emulator,
    EmulatorSettings,
    ReceivedRequest,
    running_emulator,
)
from airflow_provider_cohere_datasets.emulator.received import RequestRecorder
from airflow_provider_cohere_datasets.emulator.store import StoredDataset
from tests.emulator.conftest import KEY, Upload, VirtualClock, client_of, jsonl

ENDPOINTS = [
    ("GET", "/v1/datasets"),
    ("POST", "/v1/datasets"),
    ("GET", "/v1/datasets/usage"),
    ("GET", "/v1/datasets/some-id"),
    ("DELETE", "/v1/datasets/some-id"),
    ("POST", "/v1/check-api-key"),
]


def scope_of(method: str, path: str) -> dict[str, Any]:
    scope = {"type": "http", "method": method, "path": path, "headers": [], "query_string": b""}
    return scope | {"http_version": "1.1", "scheme": "http"}


def assert_error(response: httpx.Response, status: int, text: str = "") -> None:
    assert response.status_code == status
    body = response.json()
    assert set(body) == {"id", "message"}
    UUID(body["id"])
    assert text in body["message"]


class TestKeys:
    @pytest.mark.parametrize(("method", "path"), ENDPOINTS)
    @pytest.mark.parametrize("value", [None, "Bearer wrong", "Bearer", "Bearer kéy", f"Basic {KEY}"])
    def test_nothing_without_the_right_key(self, emulator: Emulator, method: str, path: str, value: str | None) -> None:
        headers = [] if value is None else [(b"Authorization", value.encode("latin-1"))]
        response = httpx.request(method, emulator.base_url + path, headers=headers, trust_env=False)
        assert_error(response, 401, "api")

    def test_every_configured_key_is_right(self) -> None:
        with running_emulator(EmulatorSettings(api_keys=("one", "two"))) as emulator:
            assert emulator.api_key == "one"
            for key in ("one", "two"):
                with client_of(emulator, key) as client:
                    assert client.get("/v1/datasets").json() == {"datasets": []}

    def test_the_default_key_comes_from_the_environment(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.delenv("COHERE_EMULATOR_API_KEY", raising=False)
        assert EmulatorSettings().api_keys == ("emulator-key",)
        monkeypatch.setenv("COHERE_EMULATOR_API_KEY", "from-env")
        assert EmulatorSettings().api_keys == ("from-env",)
        assert "from-env" not in repr(EmulatorSettings())
        monkeypatch.setenv("COHERE_EMULATOR_API_KEY", "from-file\n")
        assert EmulatorSettings().api_keys == ("from-file",)


class TestErrors:
    @pytest.mark.parametrize(
        ("method", "path", "status"),
        [
            ("GET", "/v2/unknown", 404),
            ("GET", "/v1/datasets/", 404),
            ("GET", "/docs", 404),
            ("GET", "/openapi.json", 404),
            ("PUT", "/v1/datasets", 405),
            ("GET", "/v1/datasets/no-such-id", 404),
            ("DELETE", "/v1/datasets/no-such-id", 404),
            ("DELETE", "/v1/datasets/usage", 404),
        ],
    )
    def test_each_has_the_documented_shape(self, http: httpx.Client, method: str, path: str, status: int) -> None:
        assert_error(http.request(method, path), status)

    def test_an_error_of_the_server_too(self, clock: VirtualClock, emulator: Emulator, http: httpx.Client) -> None:
        clock.now = float("nan")
        assert_error(http.get("/v1/datasets"), 500, "internal")
        assert emulator.requests[-1].status == 500

    @pytest.mark.parametrize(
        "params",
        [
            {"limit": "-1"},
            {"limit": "many"},
            {"limit": "nan"},
            {"limit": "2.5"},
            {"offset": "-1"},
            {"offset": str(2**63)},
            {"before": "yesterday"},
            {"after": "2026-01-01"},
            {"after": "2026-01-01T00:00:00"},
            {"after": "2026-13-01T00:00:00Z"},
            {"after": "1700000000"},
        ],
    )
    def test_a_bad_parameter_is_named(self, http: httpx.Client, params: dict[str, str]) -> None:
        assert_error(http.get("/v1/datasets", params=params), 422, next(iter(params)))

    def test_a_bad_flag(self, upload: Upload) -> None:
        assert_error(upload(keep_original_file="maybe"), 422, "keep_original_file")


class TestList:
    def ids(self, http: httpx.Client, **params: Any) -> list[str]:
        response = http.get("/v1/datasets", params=params)
        assert response.status_code == 200, response.text
        return [dataset["id"] for dataset in response.json()["datasets"]]

    def test_newest_first_and_page_by_page(self, emulator: Emulator, http: httpx.Client) -> None:
        ids = emulator.seed(230, spacing_seconds=1)[::-1]
        assert self.ids(http) == ids[:50]
        assert self.ids(http, limit="10.0") == ids[:10]
        assert self.ids(http, limit=0) == ids[:50]
        assert self.ids(http, limit=1000) == ids[:100]
        assert self.ids(http, limit=10**30) == ids[:100]
        assert self.ids(http, limit=100, offset=200) == ids[200:]
        assert self.ids(http, offset=230) == []

    def test_ties_have_one_order(self, emulator: Emulator, http: httpx.Client) -> None:
        ids = emulator.seed(20, name="Same name")[::-1]
        assert len(set(ids)) == 20
        assert self.ids(http, limit=7) + self.ids(http, limit=7, offset=7) + self.ids(http, offset=14) == ids

    def test_page_size_and_cap_can_be_set(self) -> None:
        with running_emulator(EmulatorSettings(page_size=30, page_cap=3)) as emulator:
            ids = emulator.seed(5, spacing_seconds=-1)
            with client_of(emulator, emulator.api_key) as http:
                assert self.ids(http) == self.ids(http, limit=4) == ids[:3]

    def test_filters(self, emulator: Emulator, http: httpx.Client) -> None:
        start = datetime.fromisoformat("2026-09-10T00:00:00+00:00")
        early, late = emulator.seed(2, created_at=start, spacing_seconds=3600)
        [failed] = emulator.seed(
            created_at=start.timestamp() + 7200, status="failed", dataset_type="chat-finetune-input"
        )
        assert self.ids(http, datasetType="chat-finetune-input") == [failed]
        assert self.ids(http, datasetType="no-such-type") == []
        assert self.ids(http, validationStatus="validated") == [late, early]
        assert self.ids(http, validationStatus="failed", datasetType="embed-input") == []
        assert self.ids(http, validationStatus="", datasetType="") == [failed, late, early]
        middle = start + timedelta(hours=1)
        assert self.ids(http, after=middle.isoformat()) == [failed, late]
        assert self.ids(http, before="2026-09-10T01:00:00Z") == [early]
        assert self.ids(http, before=(middle + timedelta(microseconds=1)).isoformat()) == [late, early]
        assert self.ids(http, after="2026-09-10T03:00:00+02:00", before="2026-09-10T02:00:00Z") == [late]

    def test_misspelt_filters_are_ignored(self, emulator: Emulator, http: httpx.Client) -> None:
        ids = emulator.seed(2)[::-1]
        assert self.ids(http, dataset_type="chat-finetune-input", validation_status="failed") == ids

    def test_the_status_filter_follows_the_clock(
        self, emulator: Emulator, http: httpx.Client, clock: VirtualClock
    ) -> None:
        ids = emulator.seed(lifecycle=True)
        assert self.ids(http, validationStatus="queued") == ids
        assert self.ids(http, validationStatus="validated") == []
        clock.advance(2)
        assert self.ids(http, validationStatus="queued") == []
        assert self.ids(http, validationStatus="validated") == ids


class TestSeed:
    def test_thousands_at_once(self, emulator: Emulator, http: httpx.Client) -> None:
        assert len(set(emulator.seed(5000))) == 5000
        assert len(http.get("/v1/datasets", params={"offset": 4990}).json()["datasets"]) == 10

    def test_a_status_of_choice_at_once_even_from_the_future(
        self, emulator: Emulator, http: httpx.Client, clock: VirtualClock
    ) -> None:
        for status in ("unknown", "queued", "processing", "skipped", "brand-new"):
            [dataset_id] = emulator.seed(status=status, created_at=clock.now + 60)
            dataset = http.get(f"/v1/datasets/{dataset_id}").json()["dataset"]
            assert dataset["validation_status"] == status

    def test_the_verdict_comes_with_the_lifecycle(
        self, emulator: Emulator, http: httpx.Client, clock: VirtualClock
    ) -> None:
        [dataset_id] = emulator.seed(status="failed", validation_error="line 1: no", lifecycle=True)
        assert "validation_error" not in http.get(f"/v1/datasets/{dataset_id}").json()["dataset"]
        clock.advance(2)
        dataset = http.get(f"/v1/datasets/{dataset_id}").json()["dataset"]
        assert (dataset["validation_status"], dataset["validation_error"]) == ("failed", "line 1: no")

    def test_any_field_can_be_overridden(self, emulator: Emulator, http: httpx.Client) -> None:
        odd = {
            "created_at": "not a time",
            "dataset_parts": [{"num_rows": "100"}],
            "validation_warnings": [],
            "new": 0,
        }
        [dataset_id] = emulator.seed(fields=odd)
        dataset = http.get(f"/v1/datasets/{dataset_id}").json()["dataset"]
        assert dataset.items() >= odd.items()

    def test_a_datetime_without_a_zone_is_refused(self, emulator: Emulator) -> None:
        with pytest.raises(TypeError):
            emulator.seed(created_at=datetime(2026, 1, 1))

    def test_ids_never_collide(self, emulator: Emulator, monkeypatch: pytest.MonkeyPatch) -> None:
        letters = iter("aaaaaaaaaaaabbbbbbbbbbbbcccccc")
        monkeypatch.setattr("secrets.choice", lambda alphabet: next(letters))
        assert emulator.seed(2, name="N") == ["n-aaaaaa", "n-bbbbbb"]
        assert emulator.seed(name="N") == ["n-cccccc"]


class TestRetentionAndDeletion:
    def test_a_dataset_is_gone_after_30_days(
        self,
        emulator: Emulator,
        settled: Callable[..., dict[str, Any]],
        http: httpx.Client,
        clock: VirtualClock,
    ) -> None:
        created = clock.now
        dataset = settled(keep_original_file=True)
        part = dataset["dataset_parts"][0]
        assert http.get("/v1/datasets/usage").json() == {"organization_usage": part["size_bytes"] + 18}
        folder = emulator.store.folder(dataset["id"])
        assert {path.name for path in folder.iterdir()} == {"part-0.avro", "original-0.jsonl"}
        clock.now = created + 30 * 86400 - 1
        fresh = http.get(f"/v1/datasets/{dataset['id']}").json()["dataset"]["dataset_parts"][0]["url"]
        clock.now = created + 30 * 86400
        assert_error(http.get(f"/v1/datasets/{dataset['id']}"), 404)
        assert_error(httpx.get(fresh, trust_env=False), 404)
        assert_error(http.delete(f"/v1/datasets/{dataset['id']}"), 404)
        assert http.get("/v1/datasets").json() == {"datasets": []}
        assert http.get("/v1/datasets/usage").json() == {}
        assert not folder.exists()

    def test_delete_works_once(
        self, emulator: Emulator, settled: Callable[..., dict[str, Any]], http: httpx.Client
    ) -> None:
        dataset = settled()
        response = http.delete(f"/v1/datasets/{dataset['id']}")
        assert (response.status_code, response.json()) == (200, {})
        assert_error(http.delete(f"/v1/datasets/{dataset['id']}"), 404)
        assert_error(httpx.get(dataset["dataset_parts"][0]["url"], trust_env=False), 404)
        assert not emulator.store.folder(dataset["id"]).exists()


class TestDownloads:
    def url(self, settled: Callable[..., dict[str, Any]]) -> httpx.URL:
        return httpx.URL(settled()["dataset_parts"][0]["url"])

    def test_the_part_is_avro_and_needs_no_key(self, settled: Callable[..., dict[str, Any]]) -> None:
        response = httpx.get(self.url(settled), trust_env=False)
        assert list(fastavro.reader(io.BytesIO(response.content))) == [{"text": "hello"}]

    def test_a_range_of_it(self, settled: Callable[..., dict[str, Any]]) -> None:
        url = self.url(settled)
        whole = httpx.get(url, trust_env=False)
        assert whole.headers["Content-Length"] == str(len(whole.content))
        part = httpx.get(url, headers={"Range": "bytes=4-9"}, trust_env=False)
        assert (part.status_code, part.content, part.headers["Content-Length"]) == (206, whole.content[4:10], "6")
        assert httpx.get(url, headers={"Range": "bytes=99999-"}, trust_env=False).status_code == 416

    def test_a_file_that_is_gone(self, emulator: Emulator, settled: Callable[..., dict[str, Any]]) -> None:
        dataset = settled()
        shutil.rmtree(emulator.store.folder(dataset["id"]))
        assert_error(httpx.get(dataset["dataset_parts"][0]["url"], trust_env=False), 404, "gone")

    def test_a_deletion_does_not_cut_a_download_short(
        self, emulator: Emulator, settled: Callable[..., dict[str, Any]], http: httpx.Client
    ) -> None:
        content = jsonl(*[{"text": "x" * 100}] * 2000)
        dataset = settled(content, keep_original_file=True)
        url = httpx.URL(dataset["dataset_parts"][0]["original_url"])
        sent: list[Any] = []

        async def receive() -> Any:
            await asyncio.Event().wait()

        async def send(message: Any) -> None:
            if not sent:
                assert emulator.store.remove(dataset["id"])
            sent.append(message)

        scope = scope_of("GET", url.path) | {"query_string": url.query}
        asyncio.run(emulator.app(scope, receive, send))
        assert not emulator.store.folder(dataset["id"]).exists()
        assert sent[0]["status"] == 200
        assert b"".join(message["body"] for message in sent[1:]) == content.encode()

    def test_signed_anew_on_every_get(
        self, emulator: Emulator, settled: Callable[..., dict[str, Any]], http: httpx.Client
    ) -> None:
        dataset = settled()
        first = httpx.URL(dataset["dataset_parts"][0]["url"])
        again = http.get(f"/v1/datasets/{dataset['id']}").json()["dataset"]["dataset_parts"][0]["url"]
        second = httpx.URL(again)
        assert first.copy_with(query=None) == second.copy_with(query=None)
        assert first.query != second.query
        assert emulator.store.organization_id in first.path
        assert emulator.store.user_id in first.path
        assert httpx.get(second, trust_env=False).status_code == 200

    def test_a_wrong_signature(self, settled: Callable[..., dict[str, Any]]) -> None:
        url = self.url(settled)
        for wrong in (
            url.copy_with(query=None),
            url.copy_set_param("Signature", "é"),
            url.copy_set_param("Expires", "99999999999"),
            url.copy_set_param("Nonce", "0"),
            url.copy_with(path=url.path.replace("part-0", "part-1")),
        ):
            assert_error(httpx.get(wrong, trust_env=False), 403, "signature")

    def test_an_expired_signature(self, settled: Callable[..., dict[str, Any]], clock: VirtualClock) -> None:
        url = self.url(settled)
        clock.advance(12 * 3600 - 1)
        assert httpx.get(url, trust_env=False).status_code == 200
        clock.advance(1)
        assert_error(httpx.get(url, trust_env=False), 403, "expired")

    def test_a_leaked_key_is_refused(
        self, emulator: Emulator, settled: Callable[..., dict[str, Any]], http: httpx.Client
    ) -> None:
        assert_error(http.get(self.url(settled)), 400, "Authorization")
        assert emulator.requests[-1].authorized


class TestCapacity:
    def post(self, http: httpx.Client, size: int, **more: Any) -> httpx.Response:
        files = {"data": ("rows.txt", b"a" * size), **more}
        return http.post("/v1/datasets", params={"name": "n", "type": "embed-input"}, files=files)

    def test_limits(self) -> None:
        settings = EmulatorSettings(max_dataset_bytes=500, max_organization_bytes=1000)
        with running_emulator(settings) as emulator, client_of(emulator, emulator.api_key) as http:
            assert_error(self.post(http, 501), 400, "500 bytes")
            assert_error(self.post(http, 400, eval_data=("eval.txt", b"a" * 101)), 400, "500 bytes")
            assert self.post(http, 500).status_code == 200
            assert http.get("/v1/datasets/usage").json()["organization_usage"] > 500
            assert_error(self.post(http, 500), 400, "over capacity")

    @pytest.mark.parametrize("size", [250, 300, 333])
    def test_what_is_stored_stays_within_the_limit(self, size: int) -> None:
        settings = EmulatorSettings(max_organization_bytes=1000)
        with running_emulator(settings) as emulator, client_of(emulator, emulator.api_key) as http:
            with ThreadPoolExecutor() as several:
                codes = list(several.map(lambda _: self.post(http, size).status_code, range(8)))
            assert set(codes) == {200, 400}
            assert http.get("/v1/datasets/usage").json()["organization_usage"] <= 1000

    def test_int64_usage(self, emulator: Emulator, http: httpx.Client) -> None:
        emulator.seed(3, size_bytes=3 * 10**9)
        assert http.get("/v1/datasets/usage").json() == {"organization_usage": 9 * 10**9}


class TestRecord:
    def test_every_request_is_recorded_without_the_key(self, emulator: Emulator, http: httpx.Client) -> None:
        http.get("/v1/datasets", params={"limit": 5})
        http.delete("/v1/datasets/nope")
        httpx.get(f"{emulator.base_url}/v1/datasets", trust_env=False)
        assert emulator.requests == [
            ReceivedRequest("GET", "/v1/datasets", "limit=5", 200, "emulator-tests", True),
            ReceivedRequest("DELETE", "/v1/datasets/nope", "", 404, "emulator-tests", True),
            ReceivedRequest("GET", "/v1/datasets", "", 401, "", False),
        ]
        assert KEY not in repr(emulator.requests)
        emulator.clear_requests()
        assert emulator.requests == []

    def test_an_upload_that_breaks_off_leaves_nothing(self, emulator: Emulator, http: httpx.Client) -> None:
        head = b'--b\r\nContent-Disposition: form-data; name="data"; filename="a.jsonl"\r\n\r\n{"text": '
        messages = iter([{"type": "http.request", "body": head, "more_body": True}, {"type": "http.disconnect"}])
        sent: list[Any] = []

        async def receive() -> Any:
            return next(messages)

        async def send(message: Any) -> None:
            sent.append(message)

        scope = scope_of("POST", "/v1/datasets") | {"query_string": b"name=n&type=embed-input"}
        scope["headers"] = [
            (b"content-type", b"multipart/form-data; boundary=b"),
            (b"authorization", f"Bearer {KEY}".encode()),
        ]
        asyncio.run(emulator.app(scope, receive, send))
        assert sent[0]["status"] == 499
        assert [request.status for request in emulator.requests] == [499]
        assert http.get("/v1/datasets").json() == {"datasets": []}

    def test_an_upload_that_cannot_be_added_leaves_nothing(
        self, emulator: Emulator, upload: Upload, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        folders: list[Path] = []

        def fail(datasets: list[StoredDataset]) -> None:
            folders.extend(emulator.store.folder(dataset.id) for dataset in datasets)
            assert folders[0].is_dir()
            raise sqlite3.OperationalError("database or disk is full")

        monkeypatch.setattr(emulator.store, "add", fail)
        assert_error(upload(), 500, "internal")
        assert not folders[0].exists()

    @pytest.mark.parametrize(("begun", "statuses"), [(False, [503]), (True, [200])])
    def test_what_the_end_of_the_server_cuts_short(self, begun: bool, statuses: list[int]) -> None:
        sent: list[Any] = []

        async def receive() -> Any:
            await asyncio.Event().wait()

        async def send(message: Any) -> None:
            sent.append(message)

        async def app(scope: Any, receive: Any, send: Any) -> None:
            if begun:
                await send({"type": "http.response.start", "status": 200, "headers": []})
            await receive()

        async def run() -> None:
            task = asyncio.ensure_future(recorder(scope_of("GET", "/"), receive, send))
            await asyncio.sleep(0)
            task.cancel()
            await task

        recorder = RequestRecorder(app)
        asyncio.run(run())
        assert [request.status for request in recorder.requests] == statuses
        assert [message["status"] for message in sent if "status" in message] == statuses

    def test_a_body_that_is_not_multipart(self, http: httpx.Client) -> None:
        params = {"name": "n", "type": "embed-input"}
        headers = {"Content-Type": "multipart/form-data"}
        assert_error(http.post("/v1/datasets", params=params, content=b"x", headers=headers), 400)
        assert_error(http.post("/v1/datasets", params=params, json={"text": "x"}), 400, "data")
