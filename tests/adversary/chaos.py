"""Faults at random, for a share of the requests."""

from __future__ import annotations

import random
from dataclasses import dataclass, field

from tests.adversary.answers import error, html, per_minute
from tests.adversary.faults import CutBody, Reset
from tests.adversary.spoil import Fault, Slow, broken_json

#: What chaos chooses from. Cut body, broken JSON and slow spoil or delay the model's answer; the others leave
#: the model alone.
FAULTS: dict[str, Fault] = {
    "500": error(500, "internal server error"),
    "503": error(503, "service unavailable", retry_after="0"),
    "429": per_minute(),
    "html": html(),
    "reset": Reset(),
    "cut body": CutBody(),
    "broken JSON": broken_json(),
    "slow": Slow(),
}


@dataclass
class Chaos:
    """Chooses which requests get a fault, and which one.

    :param share: of the requests
    :param seed: decides which
    :param in_a_row: after so many faults in a row, let one request through; ``None`` is merciless
    """

    share: float = 0.25
    seed: int = 0
    in_a_row: int | None = None
    rng: random.Random = field(init=False, repr=False)
    row: int = field(default=0, init=False)

    def __post_init__(self) -> None:
        self.rng = random.Random(self.seed)

    def choose(self) -> tuple[str, Fault] | None:
        """Give the next request's fault with its name, or ``None``."""
        if self.row == self.in_a_row or self.rng.random() >= self.share:
            self.row = 0
            return None
        name = self.rng.choice(sorted(FAULTS))
        self.row += name != "slow"
        return name, FAULTS[name]
