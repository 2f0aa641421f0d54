"""Every answer of the emulator is one of the public description, and has nothing in it that is not described."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from typing import Any

import httpx
import pytest

from airflow_provider_cohere_datasets.core.filters import VALIDATION_STATUSES
from airflow_provider_cohere_datasets.core.new_dataset import DATASET_TYPES
from airflow_provider_cohere_datasets.emulator import Emulator, EmulatorSettings, running_emulator
from tests.contract.description import operation_of, operations, problems
from tests.emulator.conftest import VirtualClock

MESSAGES = [{"role": "User", "content": "Hi"}, {"role": "Chatbot", "content": "Hello"}]
#: A row of each type that can be uploaded.
ROWS: dict[str, dict[str, Any]] = {
    "embed-input": {"text": "a"},
    "chat-finetune-input": {"messages": MESSAGES},
    "reranker-finetune-input": {"query": "a", "relevant_passages": ["b"], "hard_negatives": ["c"]},
    "single-label-classification-finetune-input": {"text": "a", "label": "b"},
    "multi-label-classification-finetune-input": {"text": "a", "label": ["b", "c"]},
    "batch-chat-input": {"custom_id": "1", "body": {"a": 1}},
    "batch-openai-chat-input": {"custom_id": "1", "body": {"a": 1}},
    "batch-chat-v2-input": {"custom_id": "1", "body": {"a": 1}},
    "batch-embed-v2-input": {"custom_id": "1", "body": {"a": 1}},
}
LIST = "/v1/datasets"


@pytest.fixture(scope="module")
def shared() -> Iterator[tuple[Emulator, VirtualClock]]:
    clock = VirtualClock()
    settings = EmulatorSettings(
        clock=clock, validation_seconds=10, phase_weights=(1, 2, 7), api_keys=("key",), max_dataset_bytes=5000
    )
    with running_emulator(settings) as emulator:
        yield emulator, clock


@pytest.fixture
def clock(shared: tuple[Emulator, VirtualClock]) -> VirtualClock:
    return shared[1]


@pytest.fixture
def emulator(shared: tuple[Emulator, VirtualClock]) -> Emulator:
    shared[0].clear()
    return shared[0]


@pytest.fixture
def http(emulator: Emulator) -> Iterator[httpx.Client]:
    """A client that takes no answer which is not described."""

    def check(response: httpx.Response) -> None:
        request = response.request
        match = operation_of(request.method, request.url.raw_path.decode())
        assert match is not None
        operation, _ = match
        body = json.loads(response.read())
        assert response.headers["content-type"] == "application/json"
        assert operation.answer_problems(response.status_code, body) == []
        if response.status_code != 200:
            assert body.keys() == {"id", "message"}

    headers = {"Authorization": "Bearer key"}
    hooks: dict[str, list[Callable[..., Any]]] = {"response": [check]}
    with httpx.Client(base_url=emulator.base_url, headers=headers, event_hooks=hooks, trust_env=False) as client:
        yield client


def create(http: httpx.Client, kind: str, *rows: Any, **params: Any) -> httpx.Response:
    content = "".join(json.dumps(row) + "\n" for row in rows)
    files = {"data": ("rows.jsonl", content), "eval_data": ("eval.jsonl", content)}
    return http.post(LIST, params={"name": "rows", "type": kind, **params}, files=files)


@pytest.mark.parametrize("kind", ROWS)
def test_the_whole_life_of_a_dataset(http: httpx.Client, clock: VirtualClock, kind: str) -> None:
    rows = ({**ROWS[kind], "extra": 1}, {**ROWS[kind], "extra": 2}, {})
    options = {"keep_original_file": True, "skip_malformed_input": True, "keep_fields": ["extra"]}
    dataset_id = create(http, kind, *rows, **options).json()["id"]
    statuses = []
    for _ in range(11):
        dataset = http.get(f"{LIST}/{dataset_id}").json()["dataset"]
        (listed,) = http.get(LIST).json()["datasets"]
        assert listed.keys() == dataset.keys()
        statuses.append(dataset["validation_status"])
        clock.advance(1)
    assert list(dict.fromkeys(statuses)) == ["unknown", "queued", "processing", "validated"]
    assert dataset.keys() >= {"schema", "required_fields", "preserve_fields", "dataset_parts", "validation_warnings"}
    http.get(f"{LIST}/usage")
    http.delete(f"{LIST}/{dataset_id}")


def test_every_operation(http: httpx.Client) -> None:
    dataset_id = create(http, "embed-input", ROWS["embed-input"]).json()["id"]
    for operation in operations():
        if operation.name != "create-dataset":
            path = operation.path.replace("{id}", dataset_id)
            assert http.request(operation.method.upper(), path).status_code == 200


def test_a_dataset_that_fails(http: httpx.Client, clock: VirtualClock) -> None:
    dataset_id = create(http, "embed-input", {"text": 5}).json()["id"]
    clock.advance(10)
    dataset = http.get(f"{LIST}/{dataset_id}").json()["dataset"]
    assert dataset["validation_status"] == "failed"
    assert dataset["validation_error"]


def test_every_type_in_every_status(emulator: Emulator, http: httpx.Client) -> None:
    for kind in DATASET_TYPES:
        for status in VALIDATION_STATUSES:
            emulator.seed(dataset_type=kind, status=status, size_bytes=1)
    assert len(http.get(LIST, params={"limit": 100}).json()["datasets"]) == len(DATASET_TYPES) * 6
    for status in VALIDATION_STATUSES:
        assert len(http.get(LIST, params={"validationStatus": status}).json()["datasets"]) == len(DATASET_TYPES)


def test_where_there_is_nothing(http: httpx.Client) -> None:
    assert http.get(LIST).json() == {"datasets": []}
    assert http.get(f"{LIST}/usage").json() == {}


def test_the_key(http: httpx.Client) -> None:
    assert http.post("/v1/check-api-key").json()["valid"] is True
    for headers in ({"Authorization": "Bearer wrong"}, {"Authorization": ""}):
        for operation in operations():
            path = operation.path.replace("{id}", "a")
            assert http.request(operation.method.upper(), path, headers=headers).status_code == 401


@pytest.mark.parametrize(
    "params",
    [
        {"name": ""},
        {"name": "x" * 50},
        {"type": ""},
        {"type": "no-such-type"},
        {"type": "embed-result"},
        {"csv_delimiter": ";;"},
    ],
)
def test_uploads_that_are_refused(http: httpx.Client, params: dict[str, str]) -> None:
    assert create(http, **{"kind": "embed-input", **params}).status_code == 400


def test_files_that_are_refused(http: httpx.Client) -> None:
    params = {"name": "rows", "type": "embed-input"}
    assert http.post(LIST, params=params).status_code == 400
    assert http.post(LIST, params=params, files={"data": ("rows.exe", b"x")}).status_code == 400
    assert http.post(LIST, params=params, files={"data": ("rows.jsonl", b"x" * 5001)}).status_code == 400
    assert http.post(LIST, params={**params, "keep_original_file": "maybe"}).status_code == 422


def test_what_is_not_there(http: httpx.Client) -> None:
    assert http.get(f"{LIST}/gone").status_code == 404
    assert http.delete(f"{LIST}/gone").status_code == 404


@pytest.mark.parametrize("params", [{"limit": "-1"}, {"offset": "x"}, {"before": "yesterday"}, {"after": "5"}])
def test_lists_that_are_refused(http: httpx.Client, params: dict[str, str]) -> None:
    assert http.get(LIST, params=params).status_code == 422


def test_a_server_that_breaks(emulator: Emulator, http: httpx.Client, monkeypatch: pytest.MonkeyPatch) -> None:
    def broken(*_: object) -> None:
        raise RuntimeError("disk full")

    for method in ("usage_bytes", "page", "find", "remove"):
        monkeypatch.setattr(emulator.store, method, broken)
    for way, path in (("GET", f"{LIST}/usage"), ("GET", LIST), ("GET", f"{LIST}/a"), ("DELETE", f"{LIST}/a")):
        # The server hangs up after such an answer.
        assert http.request(way, path, headers={"Connection": "close"}).status_code == 500


def test_the_yardstick_finds_what_is_wrong() -> None:
    schema = ("components", "schemas", "Dataset")
    right = {
        "id": "a",
        "name": "a",
        "created_at": "2026-01-01T00:00:00Z",
        "updated_at": "2026-01-01T00:00:00Z",
        "dataset_type": "embed-input",
        "validation_status": "queued",
    }
    assert problems(right, *schema, closed=True) == []
    part = {"id": "a", "name": "b"}
    for wrong in (
        {"name": 5},
        {"created_at": "yesterday"},
        {"created_at": "2026-01-01T00:00:00"},
        {"dataset_type": "other"},
        {"validation_status": "done"},
        {"more": 1},
        {"dataset_parts": [{**part, "size_bytes": 2**31}]},
        {"dataset_parts": [{**part, "samples": "a"}]},
        {"dataset_parts": [{"id": "a"}]},
        {"dataset_parts": [{**part, "more": 1}]},
        {"metrics": {"finetune_dataset_metrics": {"total_examples": 2**63}}},
        {"metrics": {"finetune_dataset_metrics": {"total_examples": 1.5}}},
    ):
        assert len(problems({**right, **wrong}, *schema, closed=True)) == 1, wrong
    for name in right:
        assert problems({key: value for key, value in right.items() if key != name}, *schema)
