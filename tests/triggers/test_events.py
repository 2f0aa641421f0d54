"""The trigger behind an asset watcher: each dataset once, at least once over restarts, for ever."""

from __future__ import annotations

import asyncio
import itertools
import json
import re
from contextlib import aclosing
from datetime import timedelta
from typing import Any

import httpx
import pytest
from airflow.providers.common.compat.sdk import DAG

from airflow_provider_cohere_datasets.core import looking, paging
from airflow_provider_cohere_datasets.core.errors import CohereInputError
from airflow_provider_cohere_datasets.core.looking import Listed, Observation
from airflow_provider_cohere_datasets.triggers.datasets import CohereDatasetEventTrigger
from tests.adversary import AdversarialServer, Listing, make_dataset, per_minute
from tests.adversary import error as http_error
from tests.hooks.conftest import Connect
from tests.sensors.clock import VirtualClock
from tests.sensors.modes import rebuilt
from tests.sensors.stage import ALL, stage
from tests.triggers.triggerer import Triggerer
from tests.versions import AIRFLOW, stored_and_read

needs_watchers = pytest.mark.skipif(AIRFLOW < (3, 0), reason="Airflow has asset watchers since 3.0")
needs_asset_state = pytest.mark.skipif(AIRFLOW < (3, 3), reason="Airflow has state stores of assets since 3.3")

#: What is kept for a watcher of everything on the default connection; it must stay the same over versions.
KEY = "cohere_datasets_fired_60cf5777a535bf0f"


class Store(dict[str, Any]):
    """The state store of the asset; what it holds went through JSON."""

    async def aget(self, key: str) -> Any:
        return self.get(key)

    async def aset(self, key: str, value: Any) -> None:
        self[key] = json.loads(json.dumps(value))


class BlockingStore(dict[str, Any]):
    """The store of Airflow 3.3.0 and 3.3.1, which calls the supervisor and must not hold up the event loop."""

    def _check(self) -> None:
        with pytest.raises(RuntimeError):
            asyncio.get_running_loop()

    def get(self, key: str, default: Any = None) -> Any:
        self._check()
        return super().get(key, default)

    def set(self, key: str, value: Any) -> None:
        self._check()
        self[key] = json.loads(json.dumps(value))


class StoreOfSeveral:
    """What Airflow gives to a trigger that watches several assets."""

    def __init__(self) -> None:
        self.asked = 0

    async def aget(self, key: str) -> Any:
        self.asked += 1
        raise ValueError("Task has 2 concrete inlets and outlets")

    aset: Any = None


def watcher(store: Any | None = None, **options: Any) -> CohereDatasetEventTrigger:
    made = CohereDatasetEventTrigger(**{"poke_interval": 60, **options})
    if store is not None:
        made.asset_state_store = store
    return made


async def fired(trigger: CohereDatasetEventTrigger, clock: VirtualClock, seconds: float) -> list[dict[str, Any]]:
    """Run a trigger until so many seconds are over; return the payloads of its events."""
    payloads: list[dict[str, Any]] = []

    async def run() -> None:
        async with aclosing(trigger.run()) as events:
            async for event in events:
                payloads.append(json.loads(json.dumps(event.payload)))

    task = asyncio.create_task(run())
    until = clock.now + seconds
    while clock.now < until:
        await asyncio.sleep(0.001)
        if task.done():
            task.result()
    task.cancel()
    await asyncio.gather(task, return_exceptions=True)
    return payloads


def ids(payloads: list[dict[str, Any]]) -> list[str]:
    return [payload["dataset_id"] for payload in payloads]


def test_each_that_becomes_validated_fires_once(server: AdversarialServer, clock: VirtualClock) -> None:
    stories = {
        "old": [(0, "validated")],
        "new": [(0, "queued"), (100, "validated")],
        "newer": [(0, None), (200, "processing"), (300, "validated")],
        "bad": [(0, "queued"), (100, "failed")],
        "again": [(0, "queued"), (100, "validated"), (200, "processing"), (300, "validated")],
        "waiting": [(0, "queued")],
    }
    stage(server, clock, stories)
    payloads = asyncio.run(fired(watcher(), clock, 600))
    assert sorted(ids(payloads)) == ["again", "new", "newer"]
    (newer,) = [payload for payload in payloads if payload["dataset_id"] == "newer"]
    assert newer == {
        "dataset_id": "newer",
        "name": "newer",
        "dataset_type": "embed-input",
        "validation_status": "validated",
        "num_rows": 6,
        "size_bytes": 105,
        "warnings": 0,
    }


@pytest.mark.parametrize(
    ("options", "expected"),
    [
        ({}, ["support-1", "support-2", "sales", "chat"]),
        ({"include_existing": True}, ["old", "support-1", "support-2", "sales", "chat"]),
        ({"name_pattern": "support-*"}, ["support-1", "support-2"]),
        ({"name_pattern": "s[au]*[!1]"}, ["support-2", "sales"]),
        ({"dataset_type": "chat-finetune-input"}, ["chat"]),
        ({"statuses": ["failed"]}, ["broken"]),
        ({"statuses": "failed"}, ["broken"]),
        ({"statuses": ("failed", "validated"), "name_pattern": "*r*"}, ["support-1", "support-2", "broken"]),
    ],
    ids=str,
)
def test_filters(options: dict[str, Any], expected: list[str], server: AdversarialServer, clock: VirtualClock) -> None:
    names = ("support-1", "support-2", "sales")
    stories: dict[str, Any] = {name: [(0, "queued"), (100, "validated")] for name in names}
    stories["chat"] = [
        (0, {"validation_status": "queued", "dataset_type": "chat-finetune-input"}),
        (100, "validated"),
    ]
    stage(server, clock, {"old": [(0, "validated")], **stories, "broken": [(0, "queued"), (100, "failed")]})
    assert sorted(ids(asyncio.run(fired(watcher(**options), clock, 300)))) == sorted(expected)


def test_over_restarts_each_fires_and_only_once(server: AdversarialServer, clock: VirtualClock) -> None:
    stage(
        server,
        clock,
        {"old": [(0, "validated")], "a": [(0, "queued"), (100, "validated")], "b": [(0, "queued"), (700, "validated")]},
    )
    store = Store()
    assert ids(asyncio.run(fired(watcher(store), clock, 300))) == ["a"]
    assert store[KEY] == ["a", "old"]
    clock.now += 600  # Nobody runs while b becomes validated.
    assert ids(asyncio.run(fired(watcher(store), clock, 300))) == ["b"]
    assert ids(asyncio.run(fired(watcher(store), clock, 300))) == []


def test_over_restarts_with_a_store_that_blocks(server: AdversarialServer, clock: VirtualClock) -> None:
    stage(server, clock, {"a": [(0, "queued"), (100, "validated")], "b": [(0, "queued"), (700, "validated")]})
    store = BlockingStore()
    assert ids(asyncio.run(fired(watcher(store), clock, 300))) == ["a"]
    clock.now += 600
    assert ids(asyncio.run(fired(watcher(store), clock, 300))) == ["b"]


def test_a_store_that_cannot_tell_which_asset_is_done_without(server: AdversarialServer, clock: VirtualClock) -> None:
    stage(server, clock, {"old": [(0, "validated")], "a": [(0, "queued"), (100, "validated")]})
    store = StoreOfSeveral()
    assert ids(asyncio.run(fired(watcher(store), clock, 300))) == ["a"]
    assert store.asked == 1


def test_a_store_that_only_refuses_to_keep(server: AdversarialServer, clock: VirtualClock) -> None:
    asked: list[Any] = []

    class Full(Store):
        async def aset(self, key: str, value: Any) -> None:
            asked.append(value)
            raise ValueError("too long")

    stage(server, clock, {"a": [(0, "queued"), (100, "validated")], "b": [(0, "queued"), (200, "validated")]})
    assert ids(asyncio.run(fired(watcher(Full()), clock, 300))) == ["a", "b"]
    assert len(asked) == 1, "nobody wants that warning with each look"


@needs_asset_state
def test_watchers_of_two_assets_in_airflows_own_store(server: AdversarialServer, clock: VirtualClock) -> None:
    from airflow.sdk import Asset
    from airflow.sdk.execution_time.context import AssetStateStoreAccessors

    stage(server, clock, {"a": [(0, "queued"), (100, "validated")]})
    store = AssetStateStoreAccessors(inlets=[Asset(name="x", uri="x"), Asset(name="y", uri="y")])
    assert ids(asyncio.run(fired(watcher(store), clock, 300))) == ["a"]


def test_watchers_of_one_asset_do_not_disturb_each_other(server: AdversarialServer, clock: VirtualClock) -> None:
    chat = {"dataset_type": "chat-finetune-input"}
    stage(
        server,
        clock,
        {
            "embed": [(0, "validated")],
            "chat": [(0, {"validation_status": "validated", **chat}), (10_000, "validated")],
            "new": [(0, "queued"), (1000, "validated")],
        },
    )
    store = Store()
    for options in ({}, chat, {"name_pattern": "c*"}, {"statuses": ["validated", "failed"]}, {"poke_interval": 30}):
        assert ids(asyncio.run(fired(watcher(store, **options), clock, 100))) == []
    assert sorted(map(len, store.values())) == [1, 1, 2, 2]
    clock.now = clock.start + 1000
    assert ids(asyncio.run(fired(watcher(store, **chat), clock, 100))) == []
    assert ids(asyncio.run(fired(watcher(store, statuses=("failed", "validated")), clock, 100))) == ["new"]
    assert ids(asyncio.run(fired(watcher(store), clock, 100))) == ["new"]


def test_who_dies_between_the_event_and_the_store_fires_again(server: AdversarialServer, clock: VirtualClock) -> None:
    stage(server, clock, {"a": [(0, "queued"), (100, "validated")]})
    store = Store()

    async def die() -> str:
        async with aclosing(watcher(store).run()) as events:
            return str((await anext(events)).payload["dataset_id"])

    assert asyncio.run(die()) == "a"
    assert ids(asyncio.run(fired(watcher(store), clock, 300))) == ["a"]


@pytest.mark.parametrize("interval", [2, 10, 60])
def test_what_fires_at_each_look_is_noted_too(
    connect: Connect, clock: VirtualClock, monkeypatch: pytest.MonkeyPatch, interval: float
) -> None:
    connect(host="http://127.0.0.1:9")
    names = [f"{n:03}" for n in range(100)]
    looks_of(monkeypatch, *[listed(*names[:count]) for count in range(101)])
    store = Store()
    assert len(asyncio.run(fired(watcher(store, poke_interval=interval), clock, 50 * interval))) >= 45
    assert len(store[KEY]) >= 40


@pytest.mark.parametrize("interval", [60, 1])
def test_an_event_is_noted_only_when_airflow_has_it(
    server: AdversarialServer, clock: VirtualClock, interval: float
) -> None:
    """The triggerer hands events on once a second; one that is noted before that is lost if it dies."""
    stage(server, clock, {"a": [(0, "queued"), (100, "validated")]})
    told: list[float] = []

    class Watched(Store):
        async def aset(self, key: str, value: Any) -> None:
            if value:
                told.append(clock.now)
            await super().aset(key, value)

    async def run() -> None:
        async with aclosing(watcher(Watched(), poke_interval=interval).run()) as events:
            await anext(events)
            told.append(clock.now)
            following = asyncio.ensure_future(anext(events))
            while len(told) < 2:
                await asyncio.sleep(0.001)
            following.cancel()
            await asyncio.gather(following, return_exceptions=True)

    asyncio.run(run())
    yielded, noted = told
    assert 10 <= noted - yielded <= 10 + interval / 10 + 1


def looks_of(monkeypatch: pytest.MonkeyPatch, *looks: Listed) -> None:
    """Let the trigger see these, the last one for ever."""
    left = list(looks)

    def look(*_: object) -> Any:
        yield from ()
        return left.pop(0) if len(left) > 1 else left[0]

    monkeypatch.setattr(looking, "list_observations", look)


def listed(*names: str, complete: bool = True) -> Listed:
    return Listed([Observation(name, "validated") for name in names], complete)


@pytest.mark.parametrize("interval", [3, 60])
def test_the_last_of_several_comes_when_the_first_has_its_run(
    connect: Connect, clock: VirtualClock, monkeypatch: pytest.MonkeyPatch, interval: float
) -> None:
    """Airflow leaves those that come close behind another until there is one more event."""
    connect(host="http://127.0.0.1:9")
    looks_of(monkeypatch, listed(), listed("a", "b", "c"), listed("a", "b", "c"), listed("a", "b", "c", "d"))
    told: dict[str, float] = {}

    async def run() -> None:
        async with aclosing(watcher(poke_interval=interval).run()) as events:
            async for event in events:
                told[event.payload["dataset_id"]] = clock.elapsed
                if len(told) == 4:
                    return

    asyncio.run(asyncio.wait_for(run(), 60))
    assert list(told) == ["a", "b", "c", "d"]
    assert told["a"] == told["b"] < told["d"]
    before = max(at for name, at in told.items() if name != "d")
    assert told["d"] - before >= 10
    if interval == 60:
        assert 10 <= told["c"] - told["a"] < 20


def test_what_an_incomplete_list_left_out_at_first_is_no_news(
    connect: Connect, clock: VirtualClock, monkeypatch: pytest.MonkeyPatch
) -> None:
    connect(host="http://127.0.0.1:9")
    whole = ("old-1", "old-2", "old-3")
    looks_of(monkeypatch, listed("old-1", complete=False), listed(*whole), listed(*whole, "new"))
    assert ids(asyncio.run(fired(watcher(), clock, 300))) == ["new"]
    never = [listed(*(f"{n}" for n in range(count)), complete=False) for count in range(1, 6)]
    looks_of(monkeypatch, *never)
    assert ids(asyncio.run(fired(watcher(), clock, 600))) == ["3", "4"], "three looks must do"


def test_what_fired_is_not_written_once_for_each(
    connect: Connect, clock: VirtualClock, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It is written whole, so on a large account that would hold up the triggerer."""
    connect(host="http://127.0.0.1:9")
    names = [f"{n:05}" for n in range(3000)]
    looks_of(monkeypatch, listed(*names[:2000]), listed(*names))
    written: list[int] = []

    class Counting(Store):
        async def aset(self, key: str, value: Any) -> None:
            written.append(len(value))
            await super().aset(key, value)

    store = Counting()
    assert ids(asyncio.run(fired(watcher(store, include_existing=True), clock, 300))) == names
    assert store[KEY] == names
    assert written == [1999, 2000, 2999, 3000]


def test_a_list_that_lacks_everything_for_a_look_fires_nothing_again(
    server: AdversarialServer, clock: VirtualClock
) -> None:
    stage(server, clock, {each: [(0, "validated"), (40, None), (70, "validated")] for each in "abc"})
    store = Store()
    assert ids(asyncio.run(fired(watcher(store), clock, 200))) == []
    assert store[KEY] == ["a", "b", "c"]


def test_what_is_gone_is_forgotten_only_if_the_list_is_whole(
    server: AdversarialServer, clock: VirtualClock, monkeypatch: pytest.MonkeyPatch
) -> None:
    stage(server, clock, {"a": [(0, "validated"), (100, None)], "b": [(0, "validated")]})
    store = Store()
    asyncio.run(fired(watcher(store), clock, 90))
    assert store[KEY] == ["a", "b"]
    assert ids(asyncio.run(fired(watcher(store), clock, 300))) == []
    assert store[KEY] == ["a", "b"], "one that one list lacks for a while must not fire again"
    asyncio.run(fired(watcher(store), clock, 2 * 3600))
    assert store[KEY] == ["b"]
    # A list in no order that was not read to its end is not proved whole.
    server.reset([make_dataset(n, status="validated") for n in range(20)], Listing(cap=5, order="random-each-request"))
    monkeypatch.setattr(paging, "_BUSY_PASSES", 1)
    store[KEY] = ["kept"]
    asyncio.run(fired(watcher(store), clock, 30))
    assert "kept" in store[KEY]
    looks_of(monkeypatch, listed("b", complete=False))
    store[KEY] = ["b", "kept"]
    assert ids(asyncio.run(fired(watcher(store), clock, 2 * 3600))) == []
    assert store[KEY] == ["b", "kept"]


@pytest.mark.parametrize("stored", [None, "text", 5, {}])
def test_a_store_with_rubbish_in_it(stored: Any, server: AdversarialServer, clock: VirtualClock) -> None:
    stage(server, clock, {"a": [(0, "validated")], "b": [(0, "queued"), (100, "validated")]})
    assert ids(asyncio.run(fired(watcher(Store({KEY: stored})), clock, 300))) == ["b"]


def test_what_has_no_name_matches_no_pattern_and_ends_no_watch(
    connect: Connect, clock: VirtualClock, monkeypatch: pytest.MonkeyPatch
) -> None:
    connect(host="http://127.0.0.1:9")
    rows = [Observation("a", "validated"), Observation("b", "validated", name="support-1")]
    looks_of(monkeypatch, listed(), Listed(rows, True))
    assert ids(asyncio.run(fired(watcher(name_pattern="support-*"), clock, 300))) == ["b"]


def test_rows_that_are_none(server: AdversarialServer, clock: VirtualClock) -> None:
    row = make_dataset(1, status="validated", name=5, dataset_parts=["x", {"num_rows": "nan", "size_bytes": []}])
    del row["validation_status"]
    server.reset([row, {"name": "no id"}, make_dataset(2, validation_status=["validated"])])
    assert asyncio.run(fired(watcher(include_existing=True, statuses=["unknown"]), clock, 100)) == [
        {
            "dataset_id": row["id"],
            "name": None,
            "dataset_type": "embed-input",
            "validation_status": "unknown",
            "num_rows": 0,
            "size_bytes": 0,
            "warnings": 0,
        }
    ]


@pytest.fixture
def looked(clock: VirtualClock, monkeypatch: pytest.MonkeyPatch) -> list[float]:
    """When the trigger looked."""
    times: list[float] = []
    look = looking.list_observations

    def noted(*arguments: Any) -> Any:
        times.append(clock.now)
        return look(*arguments)

    monkeypatch.setattr(looking, "list_observations", noted)
    return times


def waits_between(times: list[float]) -> list[float]:
    return [later - earlier for earlier, later in itertools.pairwise(times)]


def test_it_loops_for_ever_with_backoff(server: AdversarialServer, clock: VirtualClock, looked: list[float]) -> None:
    stage(
        server,
        clock,
        {
            ALL: [(0, http_error(401)), (9000, {})],
            "a": [(0, "queued"), (9000, "validated")],
            "b": [(0, "queued"), (12000, "validated")],
        },
    )
    # The watermark is there, so that what became validated in the meantime fires.
    payloads = asyncio.run(fired(watcher(Store({KEY: []})), clock, 14_000))
    assert ids(payloads) == ["a", "b"]
    waits = waits_between(looked)
    # Up to a tenth is taken off at random.
    expected = [60, 120, 240, 480, 960, 1920, 3600, 3600] + [60] * (len(waits) - 8)
    assert all(0.9 * wait <= slept <= wait + 1 for slept, wait in zip(waits, expected, strict=True))


def test_the_server_may_ask_for_more(server: AdversarialServer, clock: VirtualClock, looked: list[float]) -> None:
    stage(server, clock, {ALL: [(0, per_minute(retry_after="9999")), (500, {})], "a": [(0, "queued")]})
    asyncio.run(fired(watcher(), clock, 11_000))
    assert waits_between(looked)[0] == pytest.approx(9999)


def test_it_leaves_nothing_behind(server: AdversarialServer, clients: list[httpx.AsyncClient]) -> None:
    async def main() -> None:
        triggerer = Triggerer()
        made = watcher(poke_interval=0.02)
        tasks = triggerer.start(made)
        async with asyncio.timeout(10):
            while len(server.requests) < 4:
                await asyncio.sleep(0.005)
        await triggerer.kill(*tasks)
        triggerer.assert_clean(clients)

    asyncio.run(main())
    assert len(clients) == 1
    assert {request.method for request in server.requests} == {"GET"}


def test_every_option_survives() -> None:
    options = {
        "conn_id": "other",
        "dataset_type": "embed-input",
        "name_pattern": "a*",
        "statuses": ["failed"],
        "poke_interval": 7.0,
        "include_existing": True,
        "request_policy": {"max_tries": 2},
    }
    assert CohereDatasetEventTrigger(**options).serialize()[1] == options
    assert CohereDatasetEventTrigger(statuses="failed").serialize()[1]["statuses"] == ["failed"]
    stored = rebuilt(CohereDatasetEventTrigger(poke_interval=timedelta(minutes=5))).serialize()[1]
    assert stored["poke_interval"] == 300.0


BAD: list[dict[str, Any]] = [
    {"statuses": ["Validated"]},
    {"statuses": "done"},
    {"statuses": ["validated", None]},
    {"statuses": []},
    {"include_existing": "false"},
    {"poke_interval": -1},
    {"poke_interval": "60"},
    {"poke_interval": None},
    {"poke_interval": float("nan")},
    {"poke_interval": timedelta(minutes=-5)},
]


@needs_watchers
@pytest.mark.parametrize("options", BAD, ids=str)
def test_bad_values_are_found_when_the_dag_is_stored(options: dict[str, Any]) -> None:
    from airflow.sdk import Asset, AssetWatcher

    made = AssetWatcher(name="w", trigger=CohereDatasetEventTrigger(**options))
    with DAG("bad_watcher", schedule=[Asset(name="a", watchers=[made])]) as dag:
        pass
    with pytest.raises(CohereInputError, match=next(iter(options)).removeprefix("poke_")) as found:
        CohereDatasetEventTrigger(**options).serialize()
    with pytest.raises(Exception, match=re.escape(str(found.value))):
        stored_and_read(dag)


def test_a_store_that_fails_for_a_moment_ends_no_watch(server: AdversarialServer, clock: VirtualClock) -> None:
    class Failing(Store):
        async def aget(self, key: str) -> Any:
            if clock.elapsed < 60:
                raise RuntimeError("API_SERVER_ERROR")
            return await super().aget(key)

        async def aset(self, key: str, value: Any) -> None:
            if clock.elapsed < 500:
                raise RuntimeError("API_SERVER_ERROR")
            await super().aset(key, value)

    stage(server, clock, {"old": [(0, "validated")], "new": [(0, "queued"), (200, "validated")]})
    store = Failing()
    assert ids(asyncio.run(fired(watcher(store), clock, 1000))) == ["new"]
    assert list(store.values()) == [["new", "old"]]


def test_what_a_store_knows_that_fails_at_first_is_waited_for(server: AdversarialServer, clock: VirtualClock) -> None:
    class Failing(Store):
        async def aget(self, key: str) -> Any:
            if clock.elapsed < 60:
                raise RuntimeError("API_SERVER_ERROR")
            return await super().aget(key)

    stage(server, clock, {"old": [(0, "validated")], "missed": [(0, "validated")]})
    assert ids(asyncio.run(fired(watcher(Failing({KEY: ["old"]})), clock, 300))) == ["missed"]
