"""The drivers themselves: what they send into a flow, and that they leave nothing open."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Generator
from dataclasses import replace

import pytest

from airflow_provider_cohere_datasets.core import calls
from airflow_provider_cohere_datasets.core.account import Account
from airflow_provider_cohere_datasets.core.calls import Call, Outcome, Pause, Reply
from airflow_provider_cohere_datasets.core.errors import CohereTransportError
from airflow_provider_cohere_datasets.transport.blocking import BlockingTransport
from airflow_provider_cohere_datasets.transport.nonblocking import NonblockingTransport
from airflow_provider_cohere_datasets.transport.pacing import pace_of
from tests.adversary import AdversarialServer, DripBody
from tests.real_time import real_time
from tests.transport.conftest import ID, ONE, Connect
from tests.transport.harness import KEY, POLICY, Client


def test_a_pause_tells_the_time(client: Client) -> None:
    def flow() -> Generator[Call | Pause, Outcome, list[Outcome]]:
        return [(yield Pause(0.0)), (yield Pause(90.0)), (yield Pause(0.0))]

    before = time.monotonic()
    clocks = client.driver.run(flow())
    assert all(isinstance(clock, float) for clock in clocks)
    assert clocks == sorted(clocks, key=lambda clock: float(str(clock)))
    assert before <= float(str(clocks[0])) <= time.monotonic()
    assert client.pauses == [90.0], "a pause of no seconds only asks for the time"


def test_what_a_flow_hands_on_is_not_needed_for_its_result(server: AdversarialServer, client: Client) -> None:
    def flow() -> Generator[Call | Pause | str, Outcome, list[bool]]:
        return [(yield "a page") is None, isinstance((yield calls.get_dataset(ID)), Reply)]

    assert client.driver.run(flow()) == [True, True]  # type: ignore[arg-type]
    assert server.count() == 1


def test_a_reply_is_what_came(server: AdversarialServer, client: Client) -> None:
    def flow() -> Generator[Call | Pause, Outcome, Outcome]:
        return (yield calls.get_dataset(ID))

    reply = client.driver.run(flow())
    assert isinstance(reply, Reply)
    assert (reply.url, reply.status) == (f"{server.url}{ONE}", 200)
    assert reply.headers["content-type"] == "application/json"
    assert abs(reply.received_at - time.time()) < 60


def test_an_error_of_a_flow_comes_out_and_ends_it(client: Client) -> None:
    ended = []

    def flow() -> Generator[Call | Pause, Outcome, None]:
        try:
            yield Pause(1)
            raise LookupError("from the flow")
        finally:
            ended.append(True)

    with pytest.raises(LookupError, match="from the flow"):
        client.driver.run(flow())
    assert ended == [True]


def test_pages_are_handed_on_and_an_abandoned_flow_is_closed(server: AdversarialServer) -> None:
    ended = []

    def flow() -> Generator[Call | Pause | str, Outcome, str]:
        try:
            assert (yield "first") is None
            assert isinstance((yield calls.get_dataset(ID)), Reply)
            yield "second"
            return "result"
        finally:
            ended.append(True)

    with BlockingTransport(Account(server.url, KEY, policy=POLICY)) as transport:
        stream = transport.stream(flow())
        assert [next(stream), next(stream)] == ["first", "second"]
        with pytest.raises(StopIteration) as stop:
            next(stream)
        assert stop.value.value == "result"
        abandoned = transport.stream(flow())
        next(abandoned)
        abandoned.close()
    assert len(ended) == 2
    assert server.count() == 1


def test_a_cancelled_request_gives_its_turn_back(server: AdversarialServer) -> None:
    account = Account(server.url, KEY, policy=replace(POLICY, requests_per_minute=0.5))

    async def main() -> float:
        async with NonblockingTransport(account) as transport:
            waiting = [asyncio.create_task(transport.send(calls.get_dataset(ID))) for _ in range(5)]
            while not server.count():
                await asyncio.sleep(0.005)
            for task in waiting[1:]:
                task.cancel()
            await asyncio.gather(*waiting, return_exceptions=True)
        pace = pace_of(account)
        assert pace is not None
        return pace.turn()

    assert 100 < asyncio.run(main()) <= 120
    assert server.count() == 1


@real_time
def test_many_flows_share_one_event_loop(server: AdversarialServer) -> None:
    server.latency = 0.1

    async def main() -> float:
        async with NonblockingTransport(Account(server.url, KEY, policy=POLICY)) as transport:
            started = time.monotonic()
            await asyncio.gather(*(transport.send(calls.get_dataset(ID)) for _ in range(20)))
            return time.monotonic() - started

    assert asyncio.run(main()) < 1.5, "20 requests of 0.1 s do not wait for each other"
    assert server.count() == 20


def test_a_cancelled_flow_ends_at_once(server: AdversarialServer) -> None:
    """A trigger is cancelled when its task is; that must not look like a failed try."""
    server.script("GET", ONE, [DripBody()])

    def flow() -> Generator[Call | Pause, Outcome, Outcome]:
        return (yield calls.get_dataset(ID))

    async def main() -> None:
        async with NonblockingTransport(Account(server.url, KEY, policy=POLICY)) as transport:
            task = asyncio.create_task(transport.run(flow()))
            while not server.count():
                await asyncio.sleep(0.005)
            task.cancel()
            with pytest.raises(asyncio.CancelledError):
                await task

    asyncio.run(main())
    assert server.count() == 1


@real_time
def test_transports_of_two_threads_do_not_mix(server: AdversarialServer, connect: Connect) -> None:
    """One deadline must not cut another request off."""
    hurried, patient = connect(total_timeout=0.2, max_tries=1), connect()
    server.script("GET", ONE, [DripBody()])
    with pytest.raises(CohereTransportError, match=r"within 0\.2 s"):
        hurried.get(ID)
    assert patient.get(ID).id == ID
