"""How often somebody who waits looks."""

from __future__ import annotations

import random
from typing import TYPE_CHECKING

from airflow_provider_cohere_datasets.core.errors import CohereInputError

if TYPE_CHECKING:
    from collections.abc import Callable

#: Seconds that Airflow's own limit on a trigger comes after ours, so that the trigger can tell the last status.
TRIGGER_MARGIN = 60


class PollPolicy:
    """How often to look.

    :param interval: seconds between two looks.
    :param exponential: whether the interval doubles after each look.
    :param max_interval: seconds; the interval grows no further.
    :param jitter: share of the interval that is random, from 0 to 1; it is taken off.
    :param max_failures: looks in a row that may fail for reasons that pass before the wait ends; ``None`` for any
        number.
    :raises CohereInputError: for what is no time, no share or no number.
    """

    def __init__(
        self,
        interval: float = 30.0,
        exponential: bool = False,
        max_interval: float | None = None,
        jitter: float = 0.1,
        max_failures: int | None = 5,
    ) -> None:
        for name, value in (("interval", interval), ("max_interval", max_interval)):
            if not (name == "max_interval" and value is None) and not _is_number(value, 1e9):
                raise CohereInputError(f"The poll {name} must be a number of seconds, not {value!r:.40}.")
        if not _is_number(jitter, 1.0):
            raise CohereInputError(f"jitter must be a share from 0 to 1, not {jitter!r:.40}.")
        if max_failures is not None and not (isinstance(max_failures, int) and max_failures >= 0):
            raise CohereInputError(f"max_failures must be a whole number from 0 up, or None, not {max_failures!r:.40}.")
        self.interval = interval
        self.exponential = exponential
        self.max_interval = max_interval
        self.jitter = jitter
        self.max_failures = max_failures

    def delay(self, elapsed: float, uniform: Callable[[float, float], float] = random.uniform) -> float:
        """Return the seconds until the next look.

        It depends on the time alone, so it is the same in a task that keeps running, in one that is scheduled anew for
        each look, and in a triggerer that was restarted.

        :param elapsed: seconds since the wait began.
        :param uniform: where the jitter comes from.
        """
        seconds = self.interval
        if self.exponential:
            # Looks after 1, 3, 7, 15 … intervals: the next one comes one interval after twice the time. Counted so,
            # and not by planned times, a look that jitter made early is not made once more when its time comes.
            seconds = max(elapsed, 0.0) + max(self.interval, 1.0)
        if self.max_interval is not None:
            seconds = min(seconds, self.max_interval)
        return seconds * (1.0 - uniform(0.0, self.jitter))


def _is_number(value: object, most: float) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool) and 0 <= value <= most
