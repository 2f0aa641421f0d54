"""The hook's methods, against the emulator and the server that misbehaves."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from airflow_provider_cohere_datasets.core import calls
from airflow_provider_cohere_datasets.core.errors import (
    CohereDatasetNotFoundError,
    CohereInputError,
    CohereListingError,
    CohereUnexpectedAnswerError,
)
from airflow_provider_cohere_datasets.core.models import Dataset
from airflow_provider_cohere_datasets.core.retries import exchange
from airflow_provider_cohere_datasets.emulator import Emulator
from airflow_provider_cohere_datasets.hooks.datasets import CohereDatasetsHook
from tests.adversary import (
    AdversarialServer,
    Answer,
    Close,
    CutBody,
    Fault,
    Listing,
    Lost,
    Reset,
    broken_json,
    empty_502,
    error,
    make_dataset,
    make_datasets,
    per_minute,
    redirect,
)

START = datetime(2026, 11, 1, 12, tzinfo=UTC)


def ids(datasets: list[Dataset]) -> list[str]:
    return [dataset.id for dataset in datasets]


@pytest.fixture
def hook(cohere_connection: str) -> CohereDatasetsHook:
    """A hook on the emulator."""
    return CohereDatasetsHook(cohere_connection)


def test_the_list_has_every_dataset_once_though_pages_are_capped(emulator: Emulator, hook: CohereDatasetsHook) -> None:
    seeded = emulator.seed(230)
    found = hook.list_datasets(page_size=1000)
    assert sorted(ids(found)) == sorted(seeded)
    assert len(emulator.requests) >= 3
    assert {(request.method, request.path) for request in emulator.requests} == {("GET", "/v1/datasets")}


def test_an_organisation_without_datasets(hook: CohereDatasetsHook) -> None:
    assert hook.list_datasets() == []


def test_filters_by_type_and_status(emulator: Emulator, hook: CohereDatasetsHook) -> None:
    wanted = emulator.seed(2, dataset_type="chat-finetune-input", status="failed")
    emulator.seed(2, dataset_type="chat-finetune-input")
    emulator.seed(2, status="failed")
    found = hook.list_datasets(dataset_type="chat-finetune-input", validation_status="failed")
    assert sorted(ids(found)) == sorted(wanted)


@pytest.mark.parametrize("write", [str, datetime.isoformat, lambda moment: moment])
def test_the_window_includes_its_start_and_not_its_end(
    emulator: Emulator, hook: CohereDatasetsHook, write: Callable[[datetime], Any]
) -> None:
    start = datetime.now(UTC) - timedelta(days=1)
    seeded = emulator.seed(10, created_at=start, spacing_seconds=60)
    found = hook.list_datasets(
        after=write(start + timedelta(minutes=2)), before=write(start.replace(tzinfo=None) + timedelta(minutes=5))
    )
    assert sorted(ids(found)) == sorted(seeded[2:5])


def test_a_limit_saves_requests(emulator: Emulator, hook: CohereDatasetsHook) -> None:
    emulator.seed(100)
    assert len(hook.list_datasets(limit=7)) == 7
    assert len(emulator.requests) == 1


@pytest.mark.parametrize(
    ("arguments", "names"),
    [
        ({"page_size": 0}, "page_size"),
        ({"limit": 0}, "limit"),
        ({"limit": "many"}, "limit"),
        ({"validation_status": "fine"}, "validation_status"),
        ({"dataset_type": "None"}, "dataset_type"),
        ({"after": "yesterday"}, "after"),
        ({"after": START, "before": START - timedelta(days=1)}, "window"),
    ],
)
def test_bad_filters_cost_no_request(
    emulator: Emulator, hook: CohereDatasetsHook, arguments: dict[str, Any], names: str
) -> None:
    with pytest.raises(CohereInputError, match=names):
        hook.list_datasets(**arguments)
    assert emulator.requests == []


def test_a_list_that_cannot_be_proved_complete(
    server: AdversarialServer, caplog: pytest.LogCaptureFixture, capsys: pytest.CaptureFixture[str]
) -> None:
    server.reset(make_datasets(30), Listing(cap=10, ignore_offset=True))
    hook = CohereDatasetsHook()
    with pytest.raises(CohereListingError, match="ignores offset"):
        hook.list_datasets(page_size=10)
    server.reset(make_datasets(3), Listing(ignore_limit=True, ignore_offset=True))
    assert len(hook.list_datasets(page_size=2)) == 3
    assert "ignores limit and offset" in caplog.text + capsys.readouterr().out


def test_get_reads_one_dataset(emulator: Emulator, hook: CohereDatasetsHook) -> None:
    wanted, _ = emulator.seed(2, name="wanted", dataset_type="a-type-of-tomorrow", status="archived")
    dataset = hook.get_dataset(wanted)
    assert (dataset.id, dataset.name) == (wanted, "wanted")
    assert (dataset.dataset_type, dataset.validation_status) == ("a-type-of-tomorrow", "archived")
    assert dataset.created_at is not None
    assert [(request.method, request.path) for request in emulator.requests] == [("GET", f"/v1/datasets/{wanted}")]


def test_get_names_the_dataset_that_is_not_there(emulator: Emulator, hook: CohereDatasetsHook) -> None:
    with pytest.raises(CohereDatasetNotFoundError, match="gone-123456") as caught:
        hook.get_dataset("gone-123456")
    assert (caught.value.dataset_id, caught.value.status) == ("gone-123456", 404)
    assert len(emulator.requests) == 1


@pytest.mark.parametrize("dataset_id", ["a/b", "a?limit=1", "a#b", "a b", "ünï", "%2e%2e"])
def test_an_id_is_one_segment_of_the_path_whatever_is_in_it(server: AdversarialServer, dataset_id: str) -> None:
    server.reset([make_dataset(1, id=dataset_id)])
    hook = CohereDatasetsHook()
    assert hook.get_dataset(dataset_id).id == dataset_id
    assert hook.delete_dataset(dataset_id)
    assert server.model.deleted == [dataset_id]


@pytest.mark.parametrize("dataset_id", ["", "  ", ".", "..", "usage", "None", "a\nb", "x" * 501, None, 7])
@pytest.mark.parametrize("method", ["get_dataset", "delete_dataset"])
def test_what_cannot_be_an_id_costs_no_request(server: AdversarialServer, method: str, dataset_id: Any) -> None:
    with pytest.raises(CohereInputError, match="dataset_id"):
        getattr(CohereDatasetsHook(), method)(dataset_id)
    assert server.requests == []


def test_usage_in_bytes(emulator: Emulator, hook: CohereDatasetsHook) -> None:
    assert hook.get_usage() == 0
    emulator.seed(3, size_bytes=3_000_000_000)
    assert hook.get_usage() == 9_000_000_000


def test_usage_that_cannot_be_read_is_not_taken_for_zero(server: AdversarialServer) -> None:
    server.script("GET", "/v1/datasets/usage", [Answer(json={"organization_usage": "much"})], repeat=True)
    with pytest.raises(CohereUnexpectedAnswerError, match="usage"):
        CohereDatasetsHook(request_policy={"max_tries": 2}).get_usage()
    assert server.count() == 2


def test_delete_removes_the_dataset(emulator: Emulator, hook: CohereDatasetsHook) -> None:
    doomed, kept = emulator.seed(2)
    assert hook.delete_dataset(doomed) is True
    assert ids(hook.list_datasets()) == [kept]


def test_delete_of_what_is_gone(emulator: Emulator, hook: CohereDatasetsHook) -> None:
    assert hook.delete_dataset("gone-123456") is False
    with pytest.raises(CohereDatasetNotFoundError, match="gone-123456"):
        hook.delete_dataset("gone-123456", ignore_missing=False)
    assert [request.method for request in emulator.requests] == ["DELETE", "DELETE"]


@pytest.mark.parametrize(
    "fault",
    [Lost(Close()), Lost(Reset()), Lost(empty_502()), Lost(error(504)), Lost(error(499)), CutBody(), broken_json()],
)
def test_a_delete_whose_answer_is_lost_counts_as_done(server: AdversarialServer, fault: Fault) -> None:
    doomed = server.model.datasets[0]["id"]
    server.script("DELETE", None, [fault])
    assert CohereDatasetsHook().delete_dataset(doomed, ignore_missing=False) is True
    assert server.model.deleted == [doomed]
    assert server.count("DELETE") == 2


@pytest.mark.parametrize("fault", [per_minute(), redirect("/v1/datasets/gone-123456", 307)])
def test_a_delete_that_was_turned_away_first_does_not_count_as_done(server: AdversarialServer, fault: Fault) -> None:
    server.script("DELETE", None, [fault])
    hook = CohereDatasetsHook()
    with pytest.raises(CohereDatasetNotFoundError):
        hook.delete_dataset("gone-123456", ignore_missing=False)
    server.script("DELETE", None, [fault])
    assert hook.delete_dataset("gone-123456") is False
    assert server.count("DELETE") == 4


def test_a_busy_server_is_asked_again(server: AdversarialServer) -> None:
    wanted = server.model.datasets[0]["id"]
    server.script("GET", None, [error(503), Close(), per_minute(retry_after="0")])
    assert CohereDatasetsHook(request_policy={"backoff_base": 0}).get_dataset(wanted).id == wanted
    assert server.count() == 4


def test_calls_say_who_calls(emulator: Emulator, hook: CohereDatasetsHook) -> None:
    hook.get_usage()
    request = emulator.requests[0]
    assert (request.client_name, request.authorized) == ("airflow-provider-cohere-datasets", True)


def test_calls_share_a_connection(server: AdversarialServer) -> None:
    hook = CohereDatasetsHook()
    for _ in range(3):
        hook.get_usage()
    assert len({request.connection for request in server.requests}) == 1


def test_triggers_get_a_transport_for_their_loop(server: AdversarialServer) -> None:
    wanted = server.model.datasets[0]["id"]
    hook = CohereDatasetsHook()

    async def get() -> Dataset:
        async with await hook.get_async_conn() as transport:
            flow = exchange(calls.get_dataset(wanted), calls.read_dataset, transport.account.policy)
            return await transport.run(flow)

    assert asyncio.run(get()).id == wanted
    assert server.requests[0].headers["authorization"] == "Bearer test-key"


def test_triggers_hear_of_a_bad_connection_too(connect: Callable[..., str]) -> None:
    connect(password="")
    with pytest.raises(CohereInputError, match=r"API key is missing.*'cohere_default'"):
        asyncio.run(CohereDatasetsHook().get_async_conn())
