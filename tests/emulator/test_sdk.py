"""The official SDK as an independent client, over real HTTP."""

from __future__ import annotations

import io
from collections.abc import Iterator
from datetime import timedelta
from typing import Any

import cohere
import fastavro
import httpx
import pytest
from cohere.base_client import BaseCohere

from airflow_provider_cohere_datasets.emulator import Emulator, EmulatorSettings, running_emulator

# The SDK takes `unknown` for a failure, so its `wait` must never see it; by default it does not.
SETTINGS = EmulatorSettings(validation_seconds=0.05, api_keys=("sdk-key",))


@pytest.fixture
def emulator() -> Iterator[Emulator]:
    with running_emulator(SETTINGS) as emulator:
        yield emulator


@pytest.fixture
def sdk(emulator: Emulator) -> Iterator[cohere.Client]:
    with httpx.Client(trust_env=False) as transport:
        yield cohere.Client("sdk-key", base_url=emulator.base_url, client_name="sdk", httpx_client=transport)


def rows_of(part: Any) -> list[Any]:
    return list(fastavro.reader(io.BytesIO(httpx.get(part.url, trust_env=False).raise_for_status().content)))


@pytest.mark.parametrize(
    ("file_name", "content", "options"),
    [
        ("rows.jsonl", b'{"text": "one", "author": "a"}\n{"text": "two", "author": "b"}\n', {}),
        ("rows.csv", b"text;author\none;a\ntwo;b\n", {"csv_delimiter": ";"}),
    ],
)
def test_the_whole_life_of_a_dataset(
    sdk: cohere.Client, emulator: Emulator, file_name: str, content: bytes, options: dict[str, Any]
) -> None:
    created = sdk.datasets.create(
        name="My rows",
        type="embed-input",
        data=(file_name, content),
        eval_data=(file_name, content),
        keep_fields=["author"],
        keep_original_file=True,
        **options,
    )
    ready = sdk.wait(created, timeout=30, interval=0.02)

    assert ready.dataset.id == created.id
    assert ready.dataset.validation_status == "validated"
    assert ready.dataset.required_fields == ["text"]
    assert ready.dataset.preserve_fields == ["author"]
    parts = ready.dataset.dataset_parts
    assert [part.index for part in parts] == [None, 1]
    for part in parts:
        assert part.num_rows == 2
        assert rows_of(part) == [{"text": "one", "author": "a"}, {"text": "two", "author": "b"}]
        original = httpx.get(part.original_url, trust_env=False)
        assert original.content == content

    got = sdk.datasets.get(created.id).dataset
    assert (got.id, got.name, got.dataset_type, got.validation_status) == (
        created.id,
        "My rows",
        "embed-input",
        "validated",
    )

    listed = sdk.datasets.list(dataset_type="embed-input", validation_status="validated", limit=10, offset=0)
    assert [dataset.id for dataset in listed.datasets] == [created.id]
    second = timedelta(seconds=1)
    window = {"after": got.created_at - second, "before": got.created_at + second}
    assert [dataset.id for dataset in sdk.datasets.list(**window).datasets] == [created.id]
    for none in (
        {"before": got.created_at - second},
        {"after": got.created_at + second},
        {"dataset_type": "embed-result"},
        {"validation_status": "failed"},
        {"offset": 1},
    ):
        assert sdk.datasets.list(**none).datasets == []
    stored = sum(part.size_bytes for part in parts) + 2 * len(content)
    assert sdk.datasets.get_usage().organization_usage == stored

    sdk.datasets.delete(created.id)
    assert sdk.datasets.list().datasets == []
    assert sdk.datasets.get_usage().organization_usage is None
    with pytest.raises(cohere.NotFoundError):
        sdk.datasets.delete(created.id)
    assert {request.client_name for request in emulator.requests if request.authorized} == {"sdk"}


def test_a_failed_validation_reaches_the_caller(sdk: cohere.Client) -> None:
    created = sdk.datasets.create(name="bad", type="embed-input", data=("rows.jsonl", b'{"text": "a"}\n{}\n'))
    with pytest.raises(Exception, match="line 2"):
        sdk.wait(created, timeout=30, interval=0.02)


def test_the_key_check(sdk: cohere.Client, emulator: Emulator) -> None:
    answer = BaseCohere.check_api_key(sdk)  # `Client` calls it deprecated, the API does not
    assert answer.valid
    assert answer.organization_id == emulator.store.organization_id
    assert answer.owner_id == emulator.store.user_id
    with httpx.Client(trust_env=False) as transport:
        stranger = cohere.Client("wrong", base_url=emulator.base_url, httpx_client=transport)
        with pytest.raises(cohere.UnauthorizedError):
            stranger.datasets.list()


def test_the_sdk_waits_on_an_emulator_as_it_is() -> None:
    settings = EmulatorSettings(validation_seconds=0.3, api_keys=("sdk-key",))
    with running_emulator(settings) as emulator, httpx.Client(trust_env=False) as transport:
        client = cohere.Client("sdk-key", base_url=emulator.base_url, httpx_client=transport)
        made = client.datasets.create(name="now", type="embed-input", data=("a.jsonl", io.BytesIO(b'{"text": "a"}\n')))
        assert client.wait(made, interval=0.05).dataset.validation_status == "validated"
