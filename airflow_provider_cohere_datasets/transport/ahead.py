"""Requests that are sent before they are asked for, while the answers before them are awaited and read."""

from __future__ import annotations

import contextlib
import threading
from queue import Empty, SimpleQueue
from typing import TYPE_CHECKING, TypeGuard

from airflow_provider_cohere_datasets.core.calls import Reply

if TYPE_CHECKING:
    from collections.abc import Callable

    from airflow_provider_cohere_datasets.core.calls import Call, TransportFailure

#: Requests ahead that are under way, and threads for them, those that nobody wants any more included. With a third
#: thread, lists over slow lines are read a fifth faster, and each export takes 12 MB more.
_MOST = 2


class Ahead:
    """Sends what a flow will probably ask for next, in threads of its own.

    The threads stay until :meth:`close`: allocators keep memory for each thread, and for new ones more and more.

    :param send: sends a call; must be usable from several threads at once.
    :param prepare: called with each success that came ahead, in the request's thread; returns what stands for it.
    """

    def __init__(
        self, send: Callable[[Call], Reply | TransportFailure], prepare: Callable[[Reply], Reply] | None = None
    ) -> None:
        self._send = send
        self._prepare = prepare
        self._flights: list[_Flight] = []
        self._waiting: SimpleQueue[_Flight | None] = SimpleQueue()
        self._threads = 0

    def send(self, call: Call) -> Reply | TransportFailure:
        """Return the outcome of a call, which may have been sent already, and send those that it announces.

        An answer that is not asked for after all is thrown away. So is one that failed before this call was sent: the
        flow has waited since then, as it was told to, and would do so again for each.
        """
        wanted = next((flight for flight in self._flights if flight.call == call), None)
        self._flights = [
            flight
            for flight in self._flights
            if flight is not wanted
            and (not flight.ended.is_set() or (flight.call in call.ahead and (wanted or _succeeded(flight.outcome))))
        ]
        for ahead in call.ahead:
            if len(self._flights) < _MOST and all(flight.call != ahead for flight in self._flights):
                self._flights.append(_Flight(ahead))
                self._start(self._flights[-1])
        if wanted is not None:
            wanted.ended.wait()
            if wanted.outcome is not None:
                return wanted.outcome
        return self._send(call)

    def close(self) -> None:
        """Let the threads end; waits for none, because nobody wants the answers that are still to come."""
        with contextlib.suppress(Empty):
            while True:  # Nor those to what was not sent yet.
                self._waiting.get_nowait()
        for _ in range(self._threads):
            self._waiting.put(None)

    def _start(self, flight: _Flight) -> None:
        if self._threads < _MOST:
            self._threads += 1
            # A daemon, so that a task that ends does not wait either.
            threading.Thread(target=self._work, name="pages-ahead", daemon=True).start()
        self._waiting.put(flight)

    def _work(self) -> None:
        # Nothing of a flight is held here while the next one is waited for: pages are large.
        while self._fly(self._waiting.get()):
            pass

    def _fly(self, flight: _Flight | None) -> bool:
        if flight is None:
            return False
        # Whoever asks for what fails here does it again, and meets the error where it can be handled.
        with contextlib.suppress(Exception):
            outcome = self._send(flight.call)
            if self._prepare is not None and _succeeded(outcome):
                outcome = self._prepare(outcome)
            flight.outcome = outcome
        flight.ended.set()
        return True


class _Flight:
    """One request under way."""

    def __init__(self, call: Call) -> None:
        self.call = call
        self.ended = threading.Event()
        self.outcome: Reply | TransportFailure | None = None


def _succeeded(outcome: Reply | TransportFailure | None) -> TypeGuard[Reply]:
    return isinstance(outcome, Reply) and outcome.status < 400
