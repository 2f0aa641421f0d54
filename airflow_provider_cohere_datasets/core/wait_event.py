"""The one message from a trigger to its task: how a wait ended."""

from __future__ import annotations

from dataclasses import asdict, dataclass, fields
from typing import TYPE_CHECKING, Any, Literal

from airflow_provider_cohere_datasets.core.errors import CohereEventError
from airflow_provider_cohere_datasets.core.observation import Observation

if TYPE_CHECKING:
    from collections.abc import Collection, Mapping

#: The version of :class:`WaitEvent` as it crosses from the trigger to the task through Airflow's database.
EVENT_VERSION = 1


@dataclass(frozen=True, slots=True)
class WaitEvent:
    """How a wait ended; the one message from a trigger to its task.

    :param outcome: ``ready``, ``error`` or ``timeout``.
    :param observations: what was seen last of each dataset.
    :param error: for ``error``, what to raise; see :meth:`~.errors.CohereDatasetsError.details`.
    :param memory: for ``timeout``, what the last look goes on from; see :meth:`~.waiting.Watch.memory`.
    """

    outcome: Literal["ready", "error", "timeout"]
    observations: tuple[Observation, ...] = ()
    error: Mapping[str, object] | None = None
    version: int = EVENT_VERSION
    memory: Mapping[str, Any] | None = None

    def to_json(self) -> dict[str, Any]:
        """Return the event as plain JSON."""
        event = asdict(self)
        event["observations"] = list(event["observations"])
        if self.memory is None:
            del event["memory"]
        return event

    def recollection(self) -> dict[str, Any]:
        """Return what a last look goes on from; see :meth:`~.waiting.Watch.recall`."""
        return {**(self.memory or {}), "seen": self.to_json()["observations"]}

    def results(self) -> list[dict[str, Any]]:
        """Return what a task that waited returns of each dataset, as small JSON."""
        names = ("id", "status", "num_rows", "size_bytes", "warnings")
        return [{name: getattr(seen, name) for name in names} for seen in self.observations]

    @classmethod
    def from_json(cls, payload: object, ids: Collection[object], done: Collection[str]) -> WaitEvent:
        """Read an event, and refuse everything that is not exactly one.

        :param payload: what the trigger yielded.
        :param ids: the datasets that are waited for; an event about others is none for this task.
        :param done: the statuses of success.
        :raises CohereEventError: so that no unknown event is ever taken for success.
        """
        if not isinstance(payload, dict):
            raise CohereEventError(f"The trigger's event is not known: {payload!r:.100}.")
        if payload.get("version") != EVENT_VERSION:
            raise CohereEventError(
                f"The trigger's event has version {payload.get('version')!r:.20}, this worker knows {EVENT_VERSION}: "
                "the triggerer and the worker run different versions of the provider."
            )
        rows, error, outcome, memory = (
            observations_in(payload.get("observations")),
            payload.get("error"),
            payload.get("outcome"),
            payload.get("memory"),
        )
        if (
            not isinstance(outcome, str)
            or outcome not in {"ready", "error", "timeout"}
            or rows is None
            or isinstance(error, dict) != (outcome == "error")
            or not {row.id for row in rows} <= set(ids)
            or (outcome == "ready" and not {row.id for row in rows if row.status in done} == set(ids))
        ):
            raise CohereEventError(f"The trigger's event is not known: {payload!r:.100}.")
        # The outcome is one of the three.
        return cls(outcome, rows, error, memory=memory if isinstance(memory, dict) else None)  # type: ignore[arg-type]


def observations_in(rows: object) -> tuple[Observation, ...] | None:
    """Read observations that went through a database; ``None`` if they are not."""
    known = {f.name for f in fields(Observation)}
    if not isinstance(rows, list | tuple) or not all(
        isinstance(row, dict)
        and {"id", "status"} <= row.keys() <= known
        and isinstance(row["id"], str)
        and (row["status"] is None or isinstance(row["status"], str))
        and all(isinstance(row.get(name, 0), int) for name in ("num_rows", "size_bytes", "warnings"))
        for row in rows
    ):
        return None
    return tuple(Observation(**row) for row in rows)
