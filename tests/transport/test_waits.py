"""How long is waited between two tries, and who decides that."""

from __future__ import annotations

import random

import pytest

from airflow_provider_cohere_datasets.core import calls
from airflow_provider_cohere_datasets.core.account import Account
from airflow_provider_cohere_datasets.core.errors import (
    CohereDatasetsError,
    CohereRateLimitError,
    CohereServerError,
)
from airflow_provider_cohere_datasets.core.retries import exchange
from tests import adversary
from tests.adversary import AdversarialServer, Answer, error
from tests.transport.conftest import ID, ONE, Connect
from tests.transport.harness import DRIVERS, Client


def test_waits_double_up_to_a_ceiling(server: AdversarialServer, connect: Connect) -> None:
    client = connect(max_tries=8, backoff_base=0.5, backoff_max=10)
    server.script("GET", ONE, [error(503)], repeat=True)
    with pytest.raises(CohereServerError, match=r"Gave up after 8 tries\."):
        client.get(ID)
    assert server.count() == 8
    assert client.pauses == [0.5, 1, 2, 4, 8, 10, 10]


def test_the_whole_wait_is_jitter(server: AdversarialServer, connect: Connect) -> None:
    client = connect(max_tries=60, backoff_base=8, backoff_max=8)
    server.script("GET", ONE, [error(503)], repeat=True)
    generator = random.Random(7)
    flow = exchange(calls.get_dataset(ID), calls.read_dataset, client.account.policy, uniform=generator.uniform)
    with pytest.raises(CohereServerError):
        client.driver.run(flow)
    assert all(0 <= pause <= 8 for pause in client.pauses)
    # Full jitter reaches from nothing to the ceiling.
    assert min(client.pauses) < 1
    assert max(client.pauses) > 7


@pytest.mark.parametrize(
    ("answer", "seconds"),
    [
        (adversary.per_minute(retry_after="7"), 7),
        (adversary.per_minute(retry_after="1.5"), 1.5),
        (adversary.per_minute(retry_after="0"), 0),
        (adversary.per_minute(retry_after_ms="250"), 0.25),
        (adversary.per_minute(retry_after_ms="250", retry_after="7"), 0.25),
        (adversary.per_minute(retry_after_ms="soon", retry_after="7"), 7),
        (error(503, retry_after=" 7 "), 7),
        (error(408, retry_after="7"), 7),
        (adversary.retry_after_date(503, 42), 42),
        (adversary.retry_after_date(429, -42), 0),
        (Answer(503, headers={"Retry-After": "Mon, 03 Feb 2020 04:05:06 GMT"}), 0),
    ],
)
def test_the_server_is_obeyed(server: AdversarialServer, connect: Connect, answer: Answer, seconds: float) -> None:
    client = connect(backoff_base=0.5)
    server.script("GET", ONE, [answer])
    assert client.get(ID).id == ID
    assert server.count() == 2
    assert client.pauses == [pytest.approx(seconds + 0.5)], "the server's wait, and our jitter on top"


@pytest.mark.parametrize(
    "value", ["", "soon", "-5", "1e3", "inf", "nan", "x, 5", "Mon, 99 Foo 2020 04:05:06 GMT", "\xb2"]
)
def test_nonsense_is_no_wait(server: AdversarialServer, client: Client, value: str) -> None:
    server.script("GET", ONE, [error(503, retry_after=value)])
    client.get(ID)
    assert (server.count(), client.pauses) == (2, [1.0])


@pytest.mark.parametrize(
    "answer",
    [
        adversary.per_minute(retry_after="121"),
        adversary.per_minute(retry_after_ms="121000"),
        adversary.retry_after_date(503, 121),
    ],
)
def test_a_wait_that_is_too_long_fails_at_once(server: AdversarialServer, client: Client, answer: Answer) -> None:
    server.script("GET", ONE, [answer], repeat=True)
    with pytest.raises(
        CohereDatasetsError, match=r"asked to wait 121 s, more than the 120 s of max_retry_after"
    ) as got:
        client.get(ID)
    assert (server.count(), client.pauses) == (1, [])
    assert got.value.retry_after == 121
    assert not got.value.permanent, "Airflow may well come back after that time"


def test_jitter_on_top_of_a_long_wait_is_short(server: AdversarialServer, connect: Connect) -> None:
    client = connect(backoff_base=30)
    server.script("GET", ONE, [adversary.per_minute(retry_after="100")])
    client.get(ID)
    assert client.pauses == [101]


def test_one_try_means_no_wait(server: AdversarialServer, connect: Connect) -> None:
    client = connect(max_tries=1)
    server.script("GET", ONE, [adversary.per_minute(retry_after="3")], repeat=True)
    with pytest.raises(CohereRateLimitError) as got:
        client.get(ID)
    assert (server.count(), client.pauses, got.value.retry_after) == (1, [], 3)


@pytest.mark.parametrize("kind", list(DRIVERS))
@pytest.mark.parametrize(
    ("extra", "overrides", "tries"),
    [
        (None, None, 5),
        ({"max_tries": 2}, None, 2),
        ({"max_tries": "2", "backoff_base": ""}, None, 2),
        ({"max_tries": 2}, {"max_tries": 4}, 4),
        (None, {"max_tries": 1}, 1),
    ],
)
def test_tries_are_set_on_the_connection_or_the_hook(
    server: AdversarialServer, kind: str, extra: dict[str, object], overrides: dict[str, object], tries: int
) -> None:
    account = Account.of(conn_id="c", host=server.url, password="test-key", extra=extra, overrides=overrides)
    client = Client(kind, account)
    server.script("GET", ONE, [error(500)], repeat=True)
    try:
        with pytest.raises(CohereServerError):
            client.get(ID)
    finally:
        client.close()
    assert server.count() == tries


@pytest.mark.parametrize("delete", [True, False])
def test_deletes_and_key_checks_are_repeated(server: AdversarialServer, client: Client, delete: bool) -> None:
    server.script(None, None, [error(500), error(502)])
    if delete:
        client.delete(ID)
        assert server.model.deleted == [ID]
    else:
        assert client.check_key()["valid"] is True
    assert server.count() == 3
