"""The poll loop: when it reads the connection again, and how long a server may put it off."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator
from contextlib import aclosing
from typing import Any

import httpx
import pytest

from airflow_provider_cohere_datasets.core.errors import (
    CohereAuthenticationError,
    CohereConnectionError,
    CohereQuotaError,
    CohereRateLimitError,
    CohereServerError,
)
from airflow_provider_cohere_datasets.core.looking import Listed, Looker, list_observations
from airflow_provider_cohere_datasets.core.poll_policy import PollPolicy
from airflow_provider_cohere_datasets.hooks.datasets import CohereDatasetsHook
from airflow_provider_cohere_datasets.triggers.polling import polled
from tests.adversary import AdversarialServer, error, per_month
from tests.hooks.conftest import KEY, Connect
from tests.sensors.clock import VirtualClock


def loop(**options: Any) -> AsyncGenerator[Any, None]:
    """Poll the list of datasets without a pause."""
    hook = CohereDatasetsHook(request_policy={"max_tries": 1})
    return polled(hook, lambda policy: list_observations(None, policy), PollPolicy(0), **options)


def keys(server: AdversarialServer) -> list[str]:
    """Return the key of each request since the last call."""
    used = [request.headers["authorization"].removeprefix("Bearer ") for request in server.requests]
    server.requests.clear()
    return used


def test_a_replaced_key_is_read_before_anybody_hears_of_it(server: AdversarialServer, connect: Connect) -> None:
    async def main() -> None:
        async with aclosing(loop()) as looks:
            assert isinstance(await anext(looks), Listed)
            connect(host=server.url, password="new-key")
            server.model.key = "new-key"
            keys(server)
            assert isinstance(await anext(looks), Listed)
            assert keys(server)[:2] == [KEY, "new-key"]

    asyncio.run(main())


def test_a_moved_api_is_found(server: AdversarialServer, connect: Connect) -> None:
    async def main() -> None:
        async with aclosing(loop()) as looks:
            await anext(looks)
            with AdversarialServer() as other:
                connect(host=other.url)
                server.script(None, None, [error(403)], repeat=True)
                assert (await anext(looks)).rows == []
                assert other.count()

    asyncio.run(main())


def test_a_refused_key_costs_one_request_and_is_read_again_for_the_next_look(
    server: AdversarialServer, connect: Connect, clients: list[httpx.AsyncClient]
) -> None:
    async def main() -> None:
        async with aclosing(loop()) as looks:
            await anext(looks)
            server.model.key = "new-key"
            keys(server)
            for _ in range(2):
                assert isinstance(await anext(looks), CohereAuthenticationError)
                assert keys(server) == [KEY]
            connect(host=server.url, password="new-key")
            assert isinstance(await anext(looks), Listed)
            assert set(keys(server)) == {"new-key"}
            # A connection that has another key each time must not make the loop ask without end.
            connect(host=server.url, password="wrong-key")
            server.model.key = "another-key"
            assert isinstance(await anext(looks), CohereAuthenticationError)
            assert keys(server) == ["new-key", "wrong-key"]

    asyncio.run(main())
    assert all(client.is_closed for client in clients)


def test_a_connection_that_is_gone_when_the_key_is_refused_may_come_back(
    server: AdversarialServer, connect: Connect, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def main() -> None:
        async with aclosing(loop()) as looks:
            await anext(looks)
            server.model.key = "new-key"
            monkeypatch.delenv("AIRFLOW_CONN_COHERE_DEFAULT")
            for _ in range(2):
                assert isinstance(await anext(looks), CohereConnectionError)
            connect(host=server.url, password="new-key")
            assert isinstance(await anext(looks), Listed)

    asyncio.run(main())


def test_a_server_that_is_down_for_months_ends_no_watch(connect: Connect, clock: VirtualClock) -> None:
    connect(host="http://127.0.0.1:9")

    def down() -> Any:
        yield from ()
        raise CohereServerError("no")

    async def main() -> None:
        looks = polled(CohereDatasetsHook(), lambda _: down(), PollPolicy(60), slowest=3600)
        async with aclosing(looks):
            for _ in range(1100):
                assert isinstance(await anext(looks), CohereServerError)

    asyncio.run(main())


def test_the_connection_is_read_again_only_after_what_does_not_pass(
    server: AdversarialServer, connect: Connect
) -> None:
    async def main() -> None:
        async with aclosing(loop()) as looks:
            await anext(looks)
            connect(host=server.url, password="new-key")
            server.model.key = None
            keys(server)
            server.script("GET", None, [error(503), per_month()])
            assert isinstance(await anext(looks), CohereServerError)
            assert isinstance(await anext(looks), CohereQuotaError)
            assert keys(server) == [KEY, KEY]
            await anext(looks)
            assert set(keys(server)) == {"new-key"}

    asyncio.run(main())


def test_nobody_is_put_off_for_more_than_a_day(server: AdversarialServer, clock: VirtualClock) -> None:
    async def main() -> None:
        server.script("GET", None, [error(503, retry_after="999999999")])
        async with aclosing(loop(started_at=clock.now, pause=1e12)) as looks:
            assert isinstance(await anext(looks), CohereServerError)
            assert isinstance(await anext(looks), Listed)

    asyncio.run(main())
    assert clock.slept[0] == 86_400
    assert clock.elapsed == 2 * 86_400


def test_a_rate_limit_in_the_middle_of_a_look_puts_the_next_one_off(
    server: AdversarialServer, clock: VirtualClock
) -> None:
    first, second = (row["id"] for row in server.model.datasets[:2])
    server.script("GET", f"/v1/datasets/{second}", [error(429, retry_after="300")])
    hook, looker = CohereDatasetsHook(request_policy={"max_tries": 1}), Looker()

    async def main() -> None:
        looks = polled(hook, lambda policy: looker.look([first, second], policy), PollPolicy(10, jitter=0))
        async with aclosing(looks):
            looked = await anext(looks)
            assert isinstance(looked, dict)
            assert isinstance(looked[second], CohereRateLimitError)
            for _ in range(2):
                assert set(await anext(looks)) == {first, second}

    asyncio.run(main())
    assert [seconds for seconds in clock.slept if seconds] == [300, 10]


@pytest.mark.parametrize(("shared", "expected"), [(True, [10, 10]), (False, [300, 10])])
def test_who_shares_a_loop_rests_by_himself(
    server: AdversarialServer, clock: VirtualClock, shared: bool, expected: list[float]
) -> None:
    first, second = (row["id"] for row in server.model.datasets[:2])
    server.script("GET", f"/v1/datasets/{second}", [error(503, retry_after="300")])
    hook, looker = CohereDatasetsHook(request_policy={"max_tries": 1}), Looker()

    async def main() -> None:
        looks = polled(
            hook, lambda policy: looker.look([first, second], policy), PollPolicy(10, jitter=0), shared=shared
        )
        async with aclosing(looks):
            for _ in range(3):
                assert set(await anext(looks)) == {first, second}

    asyncio.run(main())
    assert [seconds for seconds in clock.slept if seconds] == expected


def test_a_pause_has_passed_while_nobody_looked(server: AdversarialServer, clock: VirtualClock) -> None:
    async def main() -> None:
        async with aclosing(loop(started_at=clock.now - 300, pause=310)) as looks:
            assert isinstance(await anext(looks), Listed)

    asyncio.run(main())
    assert clock.elapsed == 10


def test_a_worker_whose_clock_is_ahead_puts_nobody_off(server: AdversarialServer, clock: VirtualClock) -> None:
    async def main() -> None:
        async with aclosing(loop(started_at=clock.now + 300, pause=10)) as looks:
            assert isinstance(await anext(looks), Listed)

    asyncio.run(main())
    assert clock.elapsed == 10
