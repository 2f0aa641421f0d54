"""Defaults from Airflow's configuration, and the pace that they may set."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from datetime import timedelta
from types import SimpleNamespace
from typing import Any

import pytest

from airflow_provider_cohere_datasets.core.account import Account, RequestPolicy
from airflow_provider_cohere_datasets.core.calls import get_usage
from airflow_provider_cohere_datasets.core.errors import CohereInputError
from airflow_provider_cohere_datasets.hooks.configuration import configured, page_size, poll_interval
from airflow_provider_cohere_datasets.hooks.datasets import CohereDatasetsHook
from airflow_provider_cohere_datasets.operators.datasets import CohereDatasetGateOperator, CohereListDatasetsOperator
from airflow_provider_cohere_datasets.sensors.datasets import CohereDatasetValidationSensor
from airflow_provider_cohere_datasets.transport.blocking import BlockingTransport
from airflow_provider_cohere_datasets.transport.nonblocking import NonblockingTransport
from airflow_provider_cohere_datasets.transport.pacing import Pace, pace_of
from tests.adversary import AdversarialServer, make_datasets

Set = Callable[[str, str], None]


@pytest.fixture
def option(monkeypatch: pytest.MonkeyPatch) -> Set:
    return lambda name, value: monkeypatch.setenv(f"AIRFLOW__COHERE_DATASETS__{name.upper()}", value)


def test_defaults_where_nothing_is_configured() -> None:
    assert configured("requests_per_minute", None) is None
    assert (page_size(None), page_size(""), page_size(7), page_size("7")) == (100, 100, 7, "7")
    assert (poll_interval(None), poll_interval(0), poll_interval(timedelta(1))) == (30.0, 0, timedelta(1))


def test_a_configuration_without_defaults_of_ours(monkeypatch: pytest.MonkeyPatch) -> None:
    """Airflow 2 does not know the defaults of providers everywhere."""
    monkeypatch.setattr(
        "airflow_provider_cohere_datasets.hooks.configuration.conf", SimpleNamespace(get=lambda *_, **__: None)
    )
    assert (page_size(None), poll_interval(None)) == (100, 30.0)


def test_configured_numbers_count_where_the_task_has_none(option: Set, server: AdversarialServer) -> None:
    option("poll_interval", "7.5")
    option("page_size", "20")
    assert CohereDatasetValidationSensor(task_id="t", dataset_id="a").poke_interval == 7.5
    assert CohereDatasetValidationSensor(task_id="t", dataset_id="a", poke_interval=3).poke_interval == 3
    server.reset(make_datasets(3))
    for given, sent in ((None, "20"), (50, "50")):
        server.requests.clear()
        assert len(CohereListDatasetsOperator(task_id="t", page_size=given).execute({})) == 3
        assert dict(server.requests[0].query)["limit"] == sent
    server.requests.clear()
    CohereDatasetGateOperator(task_id="t", dataset_type="embed-input").execute({})
    assert dict(server.requests[0].query)["limit"] == "20"


@pytest.mark.parametrize("value", ["1.5", "0", "-1", "many"])
def test_a_bad_number_is_one_sentence(option: Set, server: AdversarialServer, value: str) -> None:
    option("page_size", value)
    with pytest.raises(CohereInputError, match="page_size"):
        CohereListDatasetsOperator(task_id="t").execute({})
    assert not server.requests


def test_no_pause_between_looks_may_be_configured(option: Set) -> None:
    option("poll_interval", "0")
    assert poll_interval(None) == 0


def test_an_empty_text_is_no_number(option: Set) -> None:
    option("requests_per_minute", " ")
    assert configured("requests_per_minute", 5) == 5


@pytest.mark.usefixtures("server")
def test_the_connection_wins_over_the_configuration(option: Set, connect: Any) -> None:
    option("requests_per_minute", "120")
    assert CohereDatasetsHook().account.policy.requests_per_minute == 120
    assert CohereDatasetsHook(request_policy={"requests_per_minute": 60}).account.policy.requests_per_minute == 60


@pytest.mark.parametrize("value", [0, -1, "x", True, float("nan")])
def test_a_bad_pace_is_one_sentence(value: Any) -> None:
    with pytest.raises(CohereInputError, match="requests_per_minute in here must be a number above 0"):
        RequestPolicy().with_values({"requests_per_minute": value}, "here")


def test_turns_come_at_even_distances() -> None:
    now = [100.0]
    pace = Pace(120, clock=lambda: now[0])
    assert [pace.turn() for _ in range(4)] == [0.0, 0.5, 1.0, 1.5]
    now[0] = 101.75
    assert [pace.turn(), pace.turn()] == [0.25, 0.75]
    now[0] = 200.0
    assert [pace.turn(), pace.turn()] == [0.0, 0.5]


def test_a_turn_that_is_given_back_is_free() -> None:
    pace = Pace(60, clock=lambda: 100.0)
    assert [pace.turn() for _ in range(3)] == [0.0, 1.0, 2.0]
    pace.give_back()
    assert pace.turn() == 2.0


def account(url: str, key: str = "test-key", per_minute: float | None = 60_000) -> Account:
    return Account(url, key, policy=RequestPolicy(requests_per_minute=per_minute))


def test_one_pace_for_each_key_and_server() -> None:
    first = pace_of(account("http://a"))
    assert first is pace_of(account("http://a"))
    assert first is not None
    assert first is not pace_of(account("http://b"))
    assert first is not pace_of(account("http://a", key="other"))
    assert first is not pace_of(account("http://a", per_minute=5))
    assert pace_of(account("http://a", per_minute=None)) is None


def test_both_transports_take_turns(server: AdversarialServer) -> None:
    pauses: list[float] = []

    async def sleep(seconds: float) -> None:
        pauses.append(seconds)

    async def look() -> None:
        async with NonblockingTransport(account(server.url, per_minute=1), sleep=sleep) as nonblocking:
            await nonblocking.send(get_usage())

    with BlockingTransport(account(server.url, per_minute=1), sleep=pauses.append) as blocking:
        blocking.send(get_usage())
        blocking.send(get_usage())
    asyncio.run(look())
    assert len(server.requests) == 3
    assert [round(pause / 60) for pause in pauses if pause] == [1, 2]
