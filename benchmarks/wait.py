"""What it costs to wait for many datasets at once.

Run it as ``python -m benchmarks.wait [--quick]`` with Airflow 3.3 or later; it ends with 1 if a target is missed.
"""

from __future__ import annotations

import argparse
import asyncio
import gc
import json
import os
import platform
import resource
import ssl
import statistics
import sys
import tempfile
import time
from contextlib import suppress
from dataclasses import dataclass
from datetime import UTC, datetime
from functools import cache
from importlib.metadata import version
from typing import TYPE_CHECKING, Any

from benchmarks.wait_server import VALIDATED, WaitServer, dataset_id

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable, Sequence

CONN_ID = "cohere_benchmark"
#: The interval that requests a minute are given for; the measurement looks more often.
USUAL_INTERVAL = 30.0
SHARED, UNSHARED, USUAL = "ours, shared", "ours, not shared", "one GET each"
#: What must hold for so many waiting tasks.
LARGE = 1000
MIN_RATIO, MAX_CPU_MS, MAX_BLOCK_MS = 50.0, 25.0, 50.0
_PULSE = 0.001


@dataclass(frozen=True)
class Plan:
    """One measurement.

    :param cap: the largest page of the list.
    :param interval: seconds between two looks.
    :param ticks: looks to measure over.
    """

    way: str
    tasks: int
    cap: int
    interval: float
    ticks: int


@dataclass(frozen=True)
class Figures:
    """What one measurement gave, for each tick: in which every waiting task had one look.

    :param requests: on average.
    :param cpu_ms: of the whole process; the median of the ticks.
    :param block_ms: the longest time for which the loop's thread worked and let nobody else run, without full garbage
        collections, which take as long as the whole process is large.
    :param lag_ms: the same by the clock on the wall, with those, and with what else the machine did meanwhile.
    :param collections: how many full garbage collections there were in as many ticks.
    """

    plan: Plan
    requests: float
    cpu_ms: float
    block_ms: float
    lag_ms: float
    collections: int

    @property
    def cells(self) -> list[str]:
        pages = f", pages of {self.plan.cap}" if self.plan.way == SHARED else ""
        a_minute = self.requests * 60 / USUAL_INTERVAL
        numbers = (a_minute, self.requests, self.cpu_ms, self.block_ms, self.lag_ms, self.collections)
        return [str(self.plan.tasks), f"{self.plan.way}{pages}", *(_short(number) for number in numbers)]


class Waiters:
    """Tasks that wait as the triggerer lets them wait.

    :param plan: how many of them, and how.
    """

    def __init__(self, plan: Plan) -> None:
        from airflow.triggers.shared_stream import SharedStreamManager

        self._plan = plan
        self._streams = SharedStreamManager()
        self.events: list[Any] = []
        self._tasks = [asyncio.create_task(self._wait(number)) for number in range(plan.tasks)]

    async def stop(self) -> None:
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        await self._streams.stop_all()

    async def _wait(self, number: int) -> None:
        events = self._shared(number) if self._plan.way == SHARED else self._alone(number)
        async for event in events:
            self.events.append(event.payload)

    def _alone(self, number: int) -> AsyncIterator[Any]:
        trigger = usual_trigger() if self._plan.way == USUAL else our_trigger(shared=False)
        return trigger(dataset_id(number), self._plan.interval).run()

    def _shared(self, number: int) -> AsyncIterator[Any]:
        trigger = our_trigger(shared=True)(dataset_id(number), self._plan.interval)
        key = trigger.shared_stream_key()
        return trigger.filter_shared_stream(self._streams.subscribe(trigger_id=number, trigger=trigger, key=key))


def our_trigger(*, shared: bool) -> Callable[[str, float], Any]:
    """Return what makes our trigger for a dataset and an interval."""
    from airflow_provider_cohere_datasets.triggers.datasets import CohereDatasetValidationTrigger

    return lambda dataset, interval: CohereDatasetValidationTrigger(
        dataset_id=dataset, conn_id=CONN_ID, poke_interval=interval, shared=shared
    )


@cache
def usual_trigger() -> Callable[[str, float], Any]:
    """Return the trigger as most providers have it: each asks for its own object, with a client of its own."""
    import httpx
    from airflow.providers.common.compat.connection import get_async_connection
    from airflow.triggers.base import BaseTrigger, TriggerEvent

    # Others read the certificates for every client, which takes the loop 20 ms each; that is not counted here.
    certificates = ssl.create_default_context()

    class OneGetTrigger(BaseTrigger):
        def __init__(self, dataset: str, interval: float) -> None:
            super().__init__()
            self.dataset, self.interval = dataset, interval

        def serialize(self) -> tuple[str, dict[str, Any]]:
            return ("benchmarks.wait.OneGetTrigger", {"dataset": self.dataset, "interval": self.interval})

        async def run(self) -> AsyncIterator[TriggerEvent]:
            connection = await get_async_connection(CONN_ID)
            headers = {"Authorization": f"Bearer {connection.password}"}
            async with httpx.AsyncClient(base_url=connection.host, headers=headers, verify=certificates) as client:
                while True:
                    answer = await client.get(f"/v1/datasets/{self.dataset}")
                    answer.raise_for_status()
                    status = answer.json()["dataset"]["validation_status"]
                    if status in {"validated", "failed", "skipped"}:
                        yield TriggerEvent({"status": status})
                        return
                    await asyncio.sleep(self.interval)

    return OneGetTrigger


class LoopMonitor:
    """Measures for how long the event loop lets nobody else run, in milliseconds."""

    def __init__(self) -> None:
        self.block = self.lag = 0.0
        self.collections = 0
        self._collecting = self._began = 0.0
        self._task = asyncio.create_task(self._watch())
        gc.callbacks.append(self._collect)

    async def stop(self) -> None:
        gc.callbacks.remove(self._collect)
        self._task.cancel()
        with suppress(asyncio.CancelledError):
            await self._task

    def _collect(self, phase: str, info: dict[str, int]) -> None:
        if info["generation"] < 2:
            return
        if phase == "start":
            self._began = time.thread_time()
        else:
            self._collecting += time.thread_time() - self._began
            self.collections += 1

    async def _watch(self) -> None:
        while True:
            began, worked = time.perf_counter(), time.thread_time() - self._collecting
            await asyncio.sleep(_PULSE)
            self.block = max(self.block, 1000 * (time.thread_time() - self._collecting - worked))
            self.lag = max(self.lag, 1000 * (time.perf_counter() - began - _PULSE))


async def measure(plan: Plan, server: WaitServer) -> Figures:
    """Let tasks wait, measure for some ticks each CPU time and the loop's blocks, and see that all waits end well."""
    server.reset(plan.tasks, plan.cap)
    waiters = Waiters(plan)
    try:
        await _until(lambda: server.ticks >= 3 and (plan.way == SHARED or server.asked_for == plan.tasks))
        await _until_tick(server, server.ticks + 1)
        requests, first, spent = server.requests, server.ticks, []
        for tick in range(first + 1, first + 1 + plan.ticks):
            cpu = time.process_time()
            await _until_tick(server, tick)
            spent.append(1000 * (time.process_time() - cpu))
        per_tick = (server.requests - requests) / (server.ticks - first)
        # The monitor costs CPU itself, so it comes afterwards.
        monitor = LoopMonitor()
        await _until_tick(server, server.ticks + plan.ticks)
        await monitor.stop()
        server.cells[VALIDATED] = 1
        await _until(lambda: len(waiters.events) == plan.tasks)
        if any(event.get("outcome", event.get("status")) not in {"ready", "validated"} for event in waiters.events):
            raise RuntimeError(f"a wait did not end well: {waiters.events[0]}")
    finally:
        await waiters.stop()
    return Figures(plan, per_tick, statistics.median(spent), monitor.block, monitor.lag, monitor.collections)


async def _until_tick(server: WaitServer, tick: int) -> None:
    await _until(lambda: server.ticks >= tick)


async def _until(condition: Callable[[], bool]) -> None:
    deadline = time.monotonic() + 240
    while not condition():
        if time.monotonic() > deadline:
            raise RuntimeError("the waits do not get on")
        await asyncio.sleep(0.05)


def plans(*, quick: bool) -> list[Plan]:
    """Return what is measured."""
    ticks = 5 if quick else 20
    found = []
    for tasks in (1, 100, LARGE) if quick else (1, 10, 100, LARGE):
        # So many single GETs as the large case makes take longer than a short interval.
        alone = 1.0 if tasks == LARGE else 0.25
        found.append(Plan(SHARED, tasks, 500, 0.25 if tasks < LARGE else 0.5, ticks))
        if tasks >= 100:
            found.append(Plan(SHARED, tasks, 100, 0.25 if tasks < LARGE else 0.5, ticks))
        found.append(Plan(UNSHARED, tasks, 500, alone, ticks))
        found.append(Plan(USUAL, tasks, 500, alone, ticks))
    return found


def missed(figures: Sequence[Figures]) -> list[str]:
    """Return the targets that were missed, in words; the ratios go to the standard output."""
    large = [figure for figure in figures if figure.plan.tasks == LARGE]
    usual = next(figure for figure in large if figure.plan.way == USUAL)
    complaints = []
    for figure in large:
        if figure.plan.way != SHARED:
            continue
        what = f"{LARGE} tasks, pages of {figure.plan.cap}"
        ratio = usual.requests / figure.requests
        print(
            f"- {what}: {ratio:.0f} times fewer requests than one GET each, {usual.cpu_ms / figure.cpu_ms:.0f} times "
            "less CPU."
        )
        for name, value, target, fine in (
            ("times fewer requests", ratio, MIN_RATIO, ratio >= MIN_RATIO),
            ("ms CPU a tick", figure.cpu_ms, MAX_CPU_MS, figure.cpu_ms < MAX_CPU_MS),
            ("ms longest block", figure.block_ms, MAX_BLOCK_MS, figure.block_ms <= MAX_BLOCK_MS),
        ):
            if not fine:
                complaints.append(f"{what}: {value:.1f} {name}, the target is {target:g}")
    return complaints


def table(figures: Sequence[Figures]) -> str:
    """Return the figures as a Markdown table."""
    heads = [
        "tasks",
        "way",
        f"requests a minute at {USUAL_INTERVAL:g} s",
        "requests a tick",
        "CPU ms a tick",
        "longest block ms",
        "longest lag ms",
        "full garbage collections",
    ]
    rules = ["---:", "---", *["---:"] * 6]
    return "\n".join(f"| {' | '.join(cells)} |" for cells in (heads, rules, *(figure.cells for figure in figures)))


def _short(number: float) -> str:
    return f"{number:,.0f}" if number >= 100 or number == int(number) else f"{number:.1f}"


def main(arguments: Sequence[str] | None = None) -> int:
    """Measure; return the exit code."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.wait", description=__doc__)
    parser.add_argument("--quick", action="store_true", help="measure fewer cases over fewer ticks")
    quick = parser.parse_args(arguments).quick
    # Two files for each of a thousand connections at times.
    hard = resource.getrlimit(resource.RLIMIT_NOFILE)[1]
    resource.setrlimit(resource.RLIMIT_NOFILE, (8192 if hard == resource.RLIM_INFINITY else min(hard, 8192), hard))
    chosen = plans(quick=quick)
    with tempfile.TemporaryDirectory() as home, WaitServer(LARGE) as server:
        # Before Airflow is imported.
        os.environ["AIRFLOW_HOME"] = home
        os.environ["AIRFLOW__LOGGING__LOGGING_LEVEL"] = "ERROR"
        connection = {"conn_type": "cohere_datasets", "host": server.url, "password": "benchmark"}
        os.environ[f"AIRFLOW_CONN_{CONN_ID.upper()}"] = json.dumps(connection)
        figures = []
        for plan in chosen:
            figures.append(asyncio.run(measure(plan, server)))
            print(f"{plan.tasks} {plan.way}: done", file=sys.stderr)
    print(table(figures))
    print(
        f"\nPython {platform.python_version()}, Airflow {version('apache-airflow-core')}, {os.cpu_count()} cores, "
        f"load {os.getloadavg()[0]:.1f}, {datetime.now(UTC):%Y-%m-%d}; {chosen[0].ticks} ticks each.\n"
    )
    complaints = missed(figures)
    for complaint in complaints:
        print(f"MISSED: {complaint}", file=sys.stderr)
    return 1 if complaints else 0


if __name__ == "__main__":
    sys.exit(main())
