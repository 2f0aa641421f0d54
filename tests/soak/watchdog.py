"""Runs things that might hang, and looks after what the process holds."""

from __future__ import annotations

import gc
import sys
import threading
import time
import traceback
from collections.abc import Callable
from dataclasses import dataclass

import psutil

#: Threads and files of the last run need a moment to end.
_GRACE = 5.0


@dataclass(frozen=True)
class Ran:
    """How a run went.

    :param value: what it returned, ``None`` if it did not.
    :param error: what it raised.
    :param hung: where it was when the time was up.
    :param seconds: how long it took.
    """

    value: object
    error: Exception | None
    hung: str | None
    seconds: float


def watched(run: Callable[[], object], seconds: float) -> Ran:
    """Run something in a thread of its own, and leave it there if it takes too long."""
    values: list[object] = []
    errors: list[Exception] = []

    def work() -> None:
        try:
            values.append(run())
        except Exception as error:
            errors.append(error)

    thread = threading.Thread(target=work, name="soak", daemon=True)
    started = time.monotonic()
    thread.start()
    thread.join(seconds)
    hung = None
    if thread.is_alive():
        frame = sys._current_frames().get(thread.ident or 0)
        hung = "".join(traceback.format_stack(frame)) if frame else "at its end"
    return Ran(values[0] if values else None, errors[0] if errors else None, hung, time.monotonic() - started)


@dataclass(frozen=True)
class Holdings:
    """What the process holds."""

    megabytes: float
    threads: frozenset[threading.Thread]
    files: int

    @classmethod
    def now(cls) -> Holdings:
        """Look after what is not needed any more is gone."""
        gc.collect()
        process = psutil.Process()
        return cls(process.memory_info().rss / 1e6, frozenset(threading.enumerate()), process.num_fds())

    @classmethod
    def settled(cls, before: Holdings) -> Holdings:
        """Look, and wait a little for threads and files that were not there before."""
        until = time.monotonic() + _GRACE
        while True:
            now = cls.now()
            if (now.threads <= before.threads and now.files <= before.files) or time.monotonic() > until:
                return now
            time.sleep(0.1)
