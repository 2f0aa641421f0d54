"""Requests that are sent before they are asked for, while the answers before them are awaited and read."""

from __future__ import annotations

import threading
from typing import TYPE_CHECKING

from airflow_provider_cohere_datasets.core.calls import Reply

if TYPE_CHECKING:
    from collections.abc import Callable

    from airflow_provider_cohere_datasets.core.calls import Call, TransportFailure

#: Requests that are under way beside the one that is awaited, those that nobody wants any more included.
_MOST = 2


class Ahead:
    """Sends what a flow will probably ask for next, each request in a thread of its own.

    :param send: sends a call; must be usable from several threads at once.
    :param prepare: called with each answer that came ahead, in the request's thread.
    """

    def __init__(
        self, send: Callable[[Call], Reply | TransportFailure], prepare: Callable[[Reply], None] | None = None
    ) -> None:
        self._send = send
        self._prepare = prepare
        self._flights: list[_Flight] = []

    def send(self, call: Call) -> Reply | TransportFailure:
        """Return the outcome of a call, which may have been sent already, and send those that it announces.

        An answer that is not asked for after all is thrown away.
        """
        wanted = next((flight for flight in self._flights if flight.call == call), None)
        self._flights = [f for f in self._flights if f is not wanted and (f.is_alive() or f.call in call.ahead)]
        for ahead in call.ahead:
            if len(self._flights) < _MOST and all(flight.call != ahead for flight in self._flights):
                self._flights.append(_Flight(ahead, self._send, self._prepare))
                self._flights[-1].start()
        if wanted is not None:
            wanted.join()
            if wanted.outcome is not None:
                return wanted.outcome
        return self._send(call)


class _Flight(threading.Thread):
    """One request under way."""

    def __init__(
        self, call: Call, send: Callable[[Call], Reply | TransportFailure], prepare: Callable[[Reply], None] | None
    ) -> None:
        # A daemon, so that a task that ends does not wait for an answer that nobody wants.
        super().__init__(name="page-ahead", daemon=True)
        self.call = call
        self._send = send
        self._prepare = prepare
        self.outcome: Reply | TransportFailure | None = None

    def run(self) -> None:
        outcome = self._send(self.call)
        if self._prepare is not None and isinstance(outcome, Reply):
            self._prepare(outcome)
        self.outcome = outcome
