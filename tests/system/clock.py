"""A clock for the emulator that a test can put forward."""

from __future__ import annotations

import time


class Clock:
    """The time of the emulator: that of the machine, and then some."""

    def __init__(self) -> None:
        self.ahead = 0.0

    def __call__(self) -> float:
        return time.time() + self.ahead
