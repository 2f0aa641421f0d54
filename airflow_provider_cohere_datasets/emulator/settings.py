"""What can be set about an emulator."""

from __future__ import annotations

import math
import os
import re
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

API_KEY_VARIABLE = "COHERE_EMULATOR_API_KEY"
DEFAULT_API_KEY = "emulator-key"

_CENTURY_SECONDS = 100 * 365 * 24 * 3600
_MAX_INT64 = 2**63 - 1
#: The least and the greatest value of each number; beyond, SQLite or the calendar would fail at each call.
_BOUNDS = {
    "port": (0, 2**16 - 1),
    "validation_seconds": (0, _CENTURY_SECONDS),
    "page_size": (1, _MAX_INT64),
    "page_cap": (1, _MAX_INT64),
    "retention_seconds": (0.001, _CENTURY_SECONDS),
    "url_lifetime_seconds": (0, _CENTURY_SECONDS),
}


def _default_api_keys() -> tuple[str, ...]:
    # Secret files often end with a line break.
    return (os.environ.get(API_KEY_VARIABLE, "").strip() or DEFAULT_API_KEY,)


@dataclass(frozen=True)
class EmulatorSettings:
    """
    The settings of one emulator; the defaults are what is known of production, only quicker.

    :param host: the address to listen on.
    :param port: the port to listen on; 0 takes a free one.
    :param api_keys: the keys that are accepted; the first is the one that :attr:`Emulator.api_key` gives out.
    :param state: a SQLite file that keeps the datasets across restarts, with a folder ``<state>-data`` beside
        it. Without it everything lives in a temporary folder that is removed at the end.
    :param clock: tells the time in epoch seconds; every age and every expiry is read from it.
    :param validation_seconds: how long a dataset takes from its creation to its verdict.
    :param phase_weights: how that time is shared among ``unknown``, ``queued`` and ``processing``. Usually nothing is
        ``unknown``, because the official SDK's ``wait`` takes that for a failure.
    :param page_size: datasets on a page of the list when the client sets no ``limit``.
    :param page_cap: the largest page; a greater ``limit`` is clamped without a word.
    :param max_dataset_bytes: the largest upload, training and evaluation file together.
    :param max_organization_bytes: what all datasets together may take up.
    :param retention_seconds: the age at which a dataset is gone.
    :param url_lifetime_seconds: how long a signed download URL is valid.
    :raises ValueError: when a value makes no sense.
    """

    host: str = "127.0.0.1"
    port: int = 0
    api_keys: tuple[str, ...] = field(default_factory=_default_api_keys, repr=False)
    state: Path | None = None
    clock: Callable[[], float] = time.time
    validation_seconds: float = 2.0
    phase_weights: tuple[float, float, float] = (0.0, 3.0, 7.0)
    page_size: int = 50
    page_cap: int = 100
    max_dataset_bytes: int = 1_500_000_000
    max_organization_bytes: int = 10_000_000_000
    retention_seconds: float = 30 * 24 * 3600.0
    url_lifetime_seconds: float = 12 * 3600.0

    def __post_init__(self) -> None:
        """Refuse values that make no sense."""
        if not self.api_keys or not all(re.fullmatch(r"[!-~]+", key) for key in self.api_keys):
            raise ValueError("at least one API key is needed, each of printable ASCII characters without blanks")
        if self.state is not None and not Path(self.state).name:
            raise ValueError("state must be a file")
        total = sum(self.phase_weights)
        if len(self.phase_weights) != 3 or min(self.phase_weights) < 0 or not 0 < total < math.inf:
            raise ValueError("phase_weights must be three finite numbers, none negative and not all zero")
        for name, (least, greatest) in _BOUNDS.items():
            if not least <= getattr(self, name) <= greatest:
                raise ValueError(f"{name} must be from {least} to {greatest}")

    def phases_us(self, created_us: int) -> tuple[int, int, int]:
        """
        Tell when a dataset is queued, when its processing begins, and when its verdict is due.

        :param created_us: when it was created. All times are microseconds since the epoch.
        :returns: three times, in order.
        """
        total_us = round(self.validation_seconds * 1_000_000)
        unknown, queued, processing = self.phase_weights
        total = unknown + queued + processing
        return (
            created_us + round(unknown / total * total_us),
            created_us + round((unknown + queued) / total * total_us),
            created_us + total_us,
        )
