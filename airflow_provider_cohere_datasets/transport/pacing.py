"""Spaces the requests that one process sends with one API key."""

from __future__ import annotations

import hashlib
import threading
import time
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable

    from airflow_provider_cohere_datasets.core.account import Account

_paces: dict[tuple[str, str, float], Pace] = {}
_lock = threading.Lock()


class Pace:
    """Gives each request its turn, at even distances.

    :param per_minute: turns a minute.
    :param clock: tells a monotonic time in seconds.
    """

    def __init__(self, per_minute: float, clock: Callable[[], float] = time.monotonic) -> None:
        self._distance = 60.0 / per_minute
        self._clock = clock
        self._next = 0.0
        self._lock = threading.Lock()

    def turn(self) -> float:
        """Take the next turn; return the seconds until it comes."""
        with self._lock:
            now = self._clock()
            at = max(now, self._next)
            self._next = at + self._distance
            return at - now

    def give_back(self) -> None:
        """Give a turn back that is not needed any more; the next one comes earlier."""
        with self._lock:
            self._next -= self._distance


def pace_of(account: Account) -> Pace | None:
    """Return the pace that all transports of this process share for an account, ``None`` if it has no limit."""
    per_minute = account.policy.requests_per_minute
    if per_minute is None:
        return None
    # The key itself shall stand in no table that outlives its account.
    key = (account.base_url, hashlib.sha256(account.api_key.encode()).hexdigest(), per_minute)
    with _lock:
        return _paces.setdefault(key, Pace(per_minute))
