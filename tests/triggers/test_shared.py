"""Waits that share a poll loop, in Airflow's own manager of shared streams."""

from __future__ import annotations

import asyncio
import itertools
import time
from typing import Any

import httpx
import pytest

from airflow_provider_cohere_datasets.triggers.datasets import CohereDatasetValidationTrigger
from tests.adversary import AdversarialServer, Listing, Slow, Through, error, make_datasets, per_minute
from tests.hooks.conftest import Connect
from tests.real_time import real_time
from tests.triggers.triggerer import Triggerer, trigger
from tests.versions import needs_shared_streams

pytestmark = needs_shared_streams


async def until(condition: Any) -> None:
    """Wait until something is so."""
    async with asyncio.timeout(20):
        while not condition():
            await asyncio.sleep(0.005)


def seed(server: AdversarialServer, count: int, cap: int | None = None) -> list[str]:
    server.reset(make_datasets(count, status="queued"), Listing(cap=cap))
    return [row["id"] for row in server.model.datasets]


def validate(server: AdversarialServer, ids: list[str], status: str = "validated") -> None:
    with server.model.lock:
        for dataset_id in ids:
            server.model.update(dataset_id, validation_status=status)


@pytest.mark.parametrize("count", [50, 200])
def test_one_snapshot_a_tick_whatever_the_number(
    count: int, server: AdversarialServer, clients: list[httpx.AsyncClient]
) -> None:
    ids = seed(server, count)

    async def main() -> list[Any]:
        triggerer = Triggerer()
        tasks = triggerer.start(*(trigger(each, poke_interval=0.05) for each in ids))
        await until(lambda: server.count() >= 6)
        validate(server, ids)
        events = await asyncio.gather(*tasks)
        triggerer.assert_clean(clients)
        return events

    events = asyncio.run(main())
    assert [event["outcome"] for event in events] == ["ready"] * count
    assert [event["observations"][0]["id"] for event in events] == ids
    # Each tick is one request for one page of the list, and there is one client.
    assert {(request.path, request.param("offset")) for request in server.requests} == {("/v1/datasets", "0")}
    times = [request.at for request in server.requests]
    assert min(later - earlier for earlier, later in itertools.pairwise(times)) > 0.04
    assert len(clients) == 1
    assert len({request.connection for request in server.requests}) == 1


def test_few_are_asked_for_one_by_one(server: AdversarialServer) -> None:
    ids = seed(server, 30)

    async def main() -> None:
        triggerer = Triggerer()
        tasks = triggerer.start(*(trigger(each) for each in ids[:2]))
        await until(lambda: server.count() >= 6)
        validate(server, ids)
        await asyncio.gather(*tasks)

    asyncio.run(main())
    assert server.count("GET", "/v1/datasets") == 0


def test_a_bad_key_costs_one_request(server: AdversarialServer, clients: list[httpx.AsyncClient]) -> None:
    ids = seed(server, 50)
    server.model.key = "another"

    async def main() -> list[Any]:
        triggerer = Triggerer()
        events = await asyncio.gather(*triggerer.start(*(trigger(each) for each in ids)))
        triggerer.assert_clean(clients)
        return events

    events = asyncio.run(main())
    assert server.count() == 1
    assert {event["error"]["type"] for event in events} == {"CohereAuthenticationError"}
    assert {event["error"]["status"] for event in events} == {401}


def test_one_request_that_is_refused_is_one_wait_that_fails(server: AdversarialServer) -> None:
    """What concerns one dataset is no business of the others, whether it passes or not."""
    ids = seed(server, 4)
    server.script("GET", f"/v1/datasets/{ids[0]}", [error(400)], repeat=True)
    server.script("GET", f"/v1/datasets/{ids[1]}", [error(500)], repeat=True)
    options = {"request_policy": {"max_tries": 1}}

    async def main() -> list[Any]:
        triggerer = Triggerer()
        tasks = triggerer.start(*(trigger(each, **options) for each in ids))
        await asyncio.wait(tasks[:2], timeout=20)
        assert not tasks[2].done()
        assert not tasks[3].done()
        validate(server, ids)
        return await asyncio.gather(*tasks)

    refused, broken, *others = asyncio.run(main())
    assert (refused["error"]["type"], broken["error"]["type"]) == ("CohereInvalidRequestError", "CohereServerError")
    assert [event["outcome"] for event in others] == ["ready", "ready"]


def test_each_wait_gets_what_is_its_own(server: AdversarialServer, clients: list[httpx.AsyncClient]) -> None:
    ids = seed(server, 12)
    validate(server, ids[:1], "validated")
    validate(server, ids[1:2], "failed")
    validate(server, ids[2:4], "skipped")
    server.model.delete(ids[4])

    async def main() -> list[Any]:
        triggerer = Triggerer()
        options: list[dict[str, Any]] = [{} for _ in ids]
        options[3] = {"skipped_as": "success"}
        options[5] = {"timeout": 0.1}
        options[6] = {"dataset_id": " "}
        options[7] = {"dataset_id": None, "dataset_ids": [ids[0], ids[1]], "fail_fast": False}
        tasks = triggerer.start(
            *(trigger(**{"dataset_id": each, **more}) for each, more in zip(ids, options, strict=True))
        )
        await until(lambda: sum(task.done() for task in tasks) == 8)
        validate(server, ids[8:])
        events = await asyncio.gather(*tasks)
        triggerer.assert_clean(clients)
        return events

    events = asyncio.run(main())
    told = [event["error"]["type"] if event["error"] else event["outcome"] for event in events]
    assert told == [
        "ready",
        "CohereDatasetFailedError",
        "CohereDatasetSkippedError",
        "ready",
        "CohereDatasetNotFoundError",
        "timeout",
        "CohereInputError",
        "CohereDatasetFailedError",
        *["ready"] * 4,
    ]


def test_who_leaves_disturbs_nobody(server: AdversarialServer, clients: list[httpx.AsyncClient]) -> None:
    ids = seed(server, 3)

    async def main() -> list[Any]:
        triggerer = Triggerer()
        first, second, third = triggerer.start(*(trigger(each) for each in ids))
        await until(lambda: server.count() >= 6)
        await triggerer.kill(first)
        await asyncio.sleep(0.05)
        asked = server.count("GET", f"/v1/datasets/{ids[0]}")
        before = server.count()
        await until(lambda: server.count() >= before + 4)
        assert server.count("GET", f"/v1/datasets/{ids[0]}") <= asked + 1
        validate(server, ids)
        events = await asyncio.gather(second, third)
        triggerer.assert_clean(clients)
        return events

    assert [event["outcome"] for event in asyncio.run(main())] == ["ready", "ready"]
    assert server.model.deleted == []
    assert {request.method for request in server.requests} == {"GET"}


def test_all_killed(server: AdversarialServer, clients: list[httpx.AsyncClient]) -> None:
    ids = seed(server, 10)

    async def main() -> None:
        triggerer = Triggerer()
        tasks = triggerer.start(*(trigger(each) for each in ids), trigger(ids[0], shared=False))
        await until(lambda: server.count() >= 3 and len(clients) == 2)
        await triggerer.kill(*tasks)
        triggerer.assert_clean(clients)
        # Killed before they ever ran.
        await triggerer.kill(*triggerer.start(*(trigger(each) for each in ids)))
        triggerer.assert_clean(clients)

    asyncio.run(main())
    assert server.model.deleted == []
    assert {request.method for request in server.requests} == {"GET"}


def test_a_wait_that_comes_while_the_last_one_goes(server: AdversarialServer) -> None:
    """Between its event and its leaving, a wait still holds the loop: whoever comes then is looked for too."""
    ids = seed(server, 2)
    validate(server, ids[:1])

    async def main() -> Any:
        triggerer = Triggerer()
        first, key = trigger(ids[0]), trigger().shared_stream_key()
        assert key is not None
        events = first.filter_shared_stream(triggerer.streams.subscribe(trigger_id=100, trigger=first, key=key))
        assert (await anext(events)).payload["outcome"] == "ready"
        (second,) = triggerer.start(trigger(ids[1]))
        await asyncio.sleep(0.05)
        await events.aclose()
        await triggerer.streams.unsubscribe(100, key)
        validate(server, ids)
        return await asyncio.wait_for(second, 10)

    assert asyncio.run(main())["outcome"] == "ready"


def test_who_comes_late_gets_an_answer(server: AdversarialServer) -> None:
    ids = seed(server, 2)

    async def main() -> Any:
        triggerer = Triggerer()
        (first,) = triggerer.start(trigger(ids[0]))
        await until(lambda: server.count() >= 3)
        validate(server, ids[1:])
        (second,) = triggerer.start(trigger(ids[1]))
        event = await second
        assert not first.done()
        await triggerer.kill(first)
        return event

    assert asyncio.run(main())["outcome"] == "ready"


def test_what_shares_and_what_does_not(server: AdversarialServer, connect: Connect) -> None:
    key = trigger().shared_stream_key()
    for same in (
        {"timeout": 5},
        {"skipped_as": "success"},
        {"max_failures": 0},
        {"started_at": 1.0},
        {"dataset_id": "b"},
    ):
        assert trigger(**same).shared_stream_key() == key
    policies: list[dict[str, Any]] = [{"request_policy": {"max_tries": 1}}, {"request_policy": {"max_tries": 2}}]
    others = [{"poke_interval": 7}, {"conn_id": "other"}, {"jitter": 0.5}, {"max_wait": 5}, *policies]
    assert len({trigger(**other).shared_stream_key() for other in others} | {key}) == len(others) + 1
    assert trigger(shared=False).shared_stream_key() is None
    assert trigger(exponential_backoff=True).shared_stream_key() is None
    connect("other", host=server.url)
    ids = seed(server, 1)

    async def main() -> int:
        triggerer = Triggerer()
        tasks = triggerer.start(
            *(trigger(ids[0], **other) for other in ({}, {}, {"poke_interval": 0.03}, *policies, {"conn_id": "other"}))
        )
        await until(lambda: len({request.connection for request in server.requests}) == 5)
        groups = len(triggerer.streams._groups)
        await triggerer.kill(*tasks)
        return groups

    assert asyncio.run(main()) == 5


def test_a_busy_server_is_waited_for(server: AdversarialServer) -> None:
    """One answer says for all waits when to come back; nobody fails, and nobody asks before."""
    ids = seed(server, 50)
    validate(server, ids)
    server.script("GET", None, [per_minute(retry_after="0.3"), Through()], repeat=True)
    options = {"request_policy": {"max_tries": 1}}

    async def main() -> list[Any]:
        return await asyncio.gather(*Triggerer().start(*(trigger(each, **options) for each in ids)))

    assert {event["outcome"] for event in asyncio.run(main())} == {"ready"}
    first, second = server.requests
    assert second.at - first.at >= 0.3


def test_one_that_shall_be_asked_later_keeps_no_other(
    server: AdversarialServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("airflow_provider_cohere_datasets.triggers.datasets._PATIENCE", 0.1)
    ids = seed(server, 3)
    path = f"/v1/datasets/{ids[0]}"
    server.script("GET", path, [error(503, retry_after="0.5")] * 3)

    async def main() -> list[Any]:
        triggerer = Triggerer()
        busy, *others = triggerer.start(*(trigger(each) for each in ids))
        await until(lambda: server.count("GET", path) == 2)
        assert server.count("GET", f"/v1/datasets/{ids[1]}") > 3
        validate(server, ids[1:])
        await asyncio.gather(*others)
        assert not busy.done()
        validate(server, ids)
        return await asyncio.gather(busy, *others)

    assert {event["outcome"] for event in asyncio.run(main())} == {"ready"}
    times = [request.at for request in server.matching("GET", path)]
    assert min(later - earlier for earlier, later in itertools.pairwise(times)) >= 0.5


def test_who_rests_does_not_hear_how_a_look_at_others_ended(
    server: AdversarialServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("airflow_provider_cohere_datasets.triggers.datasets._PATIENCE", 0.1)
    ids = seed(server, 2)
    paths = [f"/v1/datasets/{each}" for each in ids]
    server.script("GET", paths[0], [error(503, retry_after="1")])

    async def main() -> list[Any]:
        triggerer = Triggerer()
        rests, refused = triggerer.start(*(trigger(each) for each in ids))
        await until(lambda: server.count("GET", paths[1]) > 2)
        server.script("GET", paths[1], [error(403)], repeat=True)
        events = [await refused]
        assert server.count("GET", paths[0]) == 1
        assert not rests.done()
        validate(server, ids)
        return [*events, await rests]

    refused, rested = asyncio.run(main())
    assert (refused["error"]["type"], rested["outcome"]) == ("CoherePermissionError", "ready")


def test_looks_of_others_do_not_prolong_a_rest(server: AdversarialServer, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("airflow_provider_cohere_datasets.triggers.datasets._PATIENCE", 0.1)
    ids = seed(server, 3)
    path = f"/v1/datasets/{ids[0]}"
    server.script("GET", path, [error(503, retry_after="0.5")])
    server.script("GET", f"/v1/datasets/{ids[2]}", [error(500)], repeat=True)
    options = {"request_policy": {"max_tries": 1}, "max_failures": None}

    async def main() -> None:
        triggerer = Triggerer()
        both = trigger(**{"dataset_id": None, "dataset_ids": ids[:2], **options})
        tasks = triggerer.start(both, *(trigger(each, **options) for each in ids[1:]))
        await until(lambda: server.count("GET", path) > 1)
        await triggerer.kill(*tasks)

    asyncio.run(main())


@pytest.mark.parametrize("passed", [0.0, 200.0])
def test_what_the_server_asked_of_who_opens_the_loop_is_nobody_elses(server: AdversarialServer, passed: float) -> None:
    ids = seed(server, 2)
    validate(server, ids)
    asked = {"memory": {"pause": 150.0}, "started_at": time.time() - passed, "timeout": 1000}

    async def main() -> None:
        triggerer = Triggerer()
        first, second = triggerer.start(trigger(ids[0], **asked), trigger(ids[1]))
        assert (await asyncio.wait_for(second, 20))["outcome"] == "ready"
        if passed:
            assert (await asyncio.wait_for(first, 20))["outcome"] == "ready"
        else:
            assert server.count("GET", f"/v1/datasets/{ids[0]}") == 0
            await triggerer.kill(first)

    asyncio.run(main())


@real_time
@pytest.mark.parametrize("shared", [True, False])
def test_a_heartbeat_never_stalls(shared: bool, server: AdversarialServer) -> None:
    seed(server, 20)
    server.script("GET", None, [Slow(seconds=0.3)], repeat=True)

    async def heart(stalls: list[tuple[float, float]]) -> None:
        while True:
            before, computed = time.monotonic(), time.thread_time()
            await asyncio.sleep(0.01)
            stalls.append((time.monotonic() - before, time.thread_time() - computed))

    async def main() -> list[tuple[float, float]]:
        ids = [row["id"] for row in server.model.datasets]
        validate(server, ids, "queued")
        stalls: list[tuple[float, float]] = []
        triggerer, start = Triggerer(), server.count()
        tasks = triggerer.start(*(trigger(each, shared=shared) for each in (ids if shared else ids[:3])))
        # The HTTP clients are made in threads, which share Python's lock with whatever else this machine does.
        await until(lambda: server.count() >= start + (1 if shared else 3))
        beating = asyncio.create_task(heart(stalls))
        before = server.count()
        await until(lambda: server.count() >= before + 3)
        validate(server, ids)
        await asyncio.gather(*tasks)
        await triggerer.kill(beating)
        return stalls

    stalls = asyncio.run(main())
    # Each answer takes 0.3 s. A machine that stands still does so now and then, and computes nothing meanwhile.
    assert sum(lasted > 0.25 for lasted, _ in stalls) < 3
    assert max(computed for _, computed in stalls) < 0.1


def test_a_registry_without_waits_is_empty() -> None:
    assert CohereDatasetValidationTrigger._watches == {}
