"""A running emulator on a clock that only the test moves, and clients for it."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from typing import Any

import httpx
import pytest

from airflow_provider_cohere_datasets.emulator import Emulator, EmulatorSettings, running_emulator

KEY = "test-key"
Upload = Callable[..., httpx.Response]


class VirtualClock:
    """Time stands still until the test moves it."""

    START = 1_790_000_000.25

    def __init__(self) -> None:
        self.now = self.START

    def __call__(self) -> float:
        return self.now

    def advance(self, seconds: float) -> None:
        self.now += seconds


@pytest.fixture(scope="module")
def shared() -> Iterator[tuple[Emulator, VirtualClock]]:
    """One server for many tests: stopping one takes uvicorn a fifth of a second."""
    clock = VirtualClock()
    with running_emulator(EmulatorSettings(clock=clock, api_keys=(KEY,))) as emulator:
        yield emulator, clock


@pytest.fixture
def clock(shared: tuple[Emulator, VirtualClock]) -> VirtualClock:
    clock = shared[1]
    clock.now = clock.START
    return clock


@pytest.fixture
def emulator(shared: tuple[Emulator, VirtualClock], clock: VirtualClock) -> Emulator:
    """The shared server, as good as new."""
    emulator = shared[0]
    emulator.clear()
    return emulator


def client_of(emulator: Emulator, key: str = KEY) -> httpx.Client:
    headers = {"Authorization": f"Bearer {key}", "X-Client-Name": "emulator-tests"}
    return httpx.Client(base_url=emulator.base_url, headers=headers, trust_env=False)


@pytest.fixture
def http(emulator: Emulator) -> Iterator[httpx.Client]:
    with client_of(emulator) as client:
        yield client


@pytest.fixture
def upload(http: httpx.Client) -> Upload:
    """Upload text or bytes under a file name; keyword arguments become query parameters."""

    def send(
        content: str | bytes = '{"text": "hello"}\n',
        file_name: str = "rows.jsonl",
        *,
        eval_data: str | None = None,
        **params: Any,
    ) -> httpx.Response:
        files: dict[str, Any] = {"data": (file_name, content)}
        if eval_data is not None:
            files["eval_data"] = (f"eval-{file_name}", eval_data)
        params = {"name": "Test set", "type": "embed-input", **params}
        return http.post("/v1/datasets", params=params, files=files)

    return send


@pytest.fixture
def settled(http: httpx.Client, upload: Upload, clock: VirtualClock) -> Callable[..., dict[str, Any]]:
    """Upload, let the time of validation pass, and get the dataset."""

    def run(*args: Any, **params: Any) -> dict[str, Any]:
        response = upload(*args, **params)
        assert response.status_code == 200, response.text
        clock.advance(2)
        dataset: dict[str, Any] = http.get(f"/v1/datasets/{response.json()['id']}").json()["dataset"]
        return dataset

    return run


def jsonl(*rows: Any) -> str:
    return "".join(json.dumps(row) + "\n" for row in rows)
