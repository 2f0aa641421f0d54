"""A server on which datasets change with the clock."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, ClassVar

from tests.adversary import AdversarialServer, Fault, Through, make_dataset
from tests.adversary.answers import Exchange
from tests.sensors.clock import VirtualClock

#: What holds from a time on: a status, no dataset at all (``None``), further fields, or a fault.
State = str | None | Mapping[str, Any] | Fault
Story = Sequence[tuple[float, State]]
ALL = "*"


@dataclass(frozen=True)
class Staged:
    """Answers each request as the stories of the datasets have it at this time.

    :param stories: by the dataset's id; that of ``"*"`` holds for every request.
    :param seconds: how long each answer takes, which tells what was so when the request came.
    """

    needs_body: ClassVar[int | None] = None

    server: AdversarialServer
    clock: VirtualClock
    stories: Mapping[str, Story]
    seconds: float = 0.0

    def play(self, exchange: Exchange) -> None:
        fault: Fault = Through()
        for dataset_id, story in self.stories.items():
            state = [state for since, state in story if since <= self.clock.elapsed][-1]
            if isinstance(state, str | Mapping):
                self._set(dataset_id, {"validation_status": state} if isinstance(state, str) else state)
            elif state is None:
                self.server.model.delete(dataset_id)
            elif dataset_id == ALL or exchange.request.path.endswith(f"/{dataset_id}"):
                fault = state
        self.clock.now += self.seconds
        fault.play(exchange)

    def _set(self, dataset_id: str, fields: Mapping[str, Any]) -> None:
        if dataset_id == ALL:
            return
        if self.server.model.get(dataset_id) is None:
            self.server.model.add(make_dataset(len(self.server.model.datasets), id=dataset_id, name=dataset_id))
        self.server.model.update(dataset_id, **fields)


def stage(
    server: AdversarialServer, clock: VirtualClock, stories: Mapping[str, Story], *, seconds: float = 0.0
) -> None:
    """Let a server tell these stories."""
    server.model.datasets.clear()
    for dataset_id, story in stories.items():
        if dataset_id != ALL and story[0][1] is not None:
            server.model.add(make_dataset(len(server.model.datasets), id=dataset_id, name=dataset_id, status="queued"))
    server._scripts.clear()
    server.script(None, None, [Staged(server, clock, stories, seconds)], repeat=True)
