"""Ending a process of Airflow at an exact point: while it waits for an answer of one of the test's servers."""

from __future__ import annotations

import contextlib
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass

import psutil  # type: ignore[import-untyped]

from tests.adversary.answers import Exchange
from tests.system.processes import process_at


@dataclass
class Kill:
    """Kill the process at the other end of the connection, as a machine does that runs out of memory.

    :param needs_body: bytes of the request's body to receive before that; ``None`` means all of it.
    :param before: what to do first; by default, nothing.
    :param after: what to do then.
    """

    needs_body: int | None = None
    before: Callable[[Exchange], object] = lambda _: None
    after: Callable[[Exchange], object] = lambda _: None

    def play(self, exchange: Exchange) -> None:
        with killed(client_of(exchange)):
            self.before(exchange)
        self.after(exchange)
        exchange.wire.close()


@dataclass
class With:
    """Do something with the process at the other end of the connection, which gets no answer.

    :param act: what to do.
    """

    act: Callable[[psutil.Process], object]
    needs_body: int | None = None

    def play(self, exchange: Exchange) -> None:
        self.act(client_of(exchange))
        exchange.wire.close()


@contextlib.contextmanager
def killed(*processes: psutil.Process) -> Iterator[None]:
    """Stop processes, so that they get no further while the block runs, and kill them at its end."""
    for process in processes:
        process.suspend()
    try:
        yield
    finally:
        for process in processes:
            process.kill()
    for process in processes:
        until_gone(process)


def until_gone(process: psutil.Process) -> None:
    """Wait until a process has ended, whether or not its parent knows."""

    def gone() -> bool:
        try:
            return not process.is_running() or process.status() == psutil.STATUS_ZOMBIE
        except psutil.NoSuchProcess:
            return True

    until(f"process {process.pid} has ended", gone)


def client_of(exchange: Exchange) -> psutil.Process:
    """Return the process at the other end of a connection."""
    return psutil.Process(process_at(exchange.wire._socket))


def until(
    what: str,
    condition: Callable[[], object],
    seconds: float = 60.0,
    *,
    every: float = 0.25,
    found: Callable[[], object] = lambda: "",
) -> None:
    """Wait for something; fail if it does not come about.

    :param what: what is waited for, in words.
    :param every: seconds between two looks.
    :param found: what there is instead, asked for if it fails.
    """
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline, f"not within {seconds:g} s: {what}. {found()}"
        time.sleep(every)
