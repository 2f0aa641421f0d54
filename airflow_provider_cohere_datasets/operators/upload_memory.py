"""What the earlier tries of a task instance did about its upload."""

from __future__ import annotations

import hashlib
import time
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from airflow.providers.common.compat.sdk import Context

_KEY = "cohere_datasets_upload"
_MOST_OTHERS = 20


def number_of(ti: object, name: str, default: int) -> int:
    """Return a number that a task instance has; in a user's unit test, one may have anything, or nothing."""
    value = getattr(ti, name, None)
    return value if isinstance(value, int) else default


@dataclass(frozen=True, slots=True)
class Earlier:
    """An upload that an earlier try began.

    :param since: seconds since 1970 when the first one began.
    :param dataset_id: the dataset, if the answer came.
    """

    since: float
    dataset_id: str | None = None


class UploadMemory:
    """Remembers an upload from try to try: in the task's state store, where there is one (Airflow 3.3).

    Below, XCom is no help, because Airflow clears it when a try begins. So all that is known there is that there was a
    try before, and when the run began.

    :param context: Airflow's context.
    :param retries: the task's retries.
    :param reuse_on_clear: whether what was uploaded before a user cleared the task counts.
    """

    def __init__(self, context: Context, *, retries: int, reuse_on_clear: bool) -> None:
        ti: Any = context.get("ti")
        self._store: Any = context.get("task_state_store")
        self._dag_run: Any = context.get("dag_run")
        self._reuse_on_clear = reuse_on_clear
        # Each time a user clears a task, Airflow sets max_tries to the tries so far plus its retries.
        self._cleared_after = max(0, number_of(ti, "max_tries", 0) - retries)
        self._tries = max(1, number_of(ti, "try_number", 1)) - self._cleared_after
        self._instance = [getattr(ti, name, None) for name in ("dag_id", "task_id", "run_id", "map_index")]
        self._since = 0.0
        #: The datasets of this task instance from before it was cleared, or of other data.
        self.others: list[str] = []

    @property
    def token(self) -> str:
        """Eight hexadecimal digits that are the same in each try of this task instance and no other."""
        facts = [*self._instance, None if self._reuse_on_clear else self._cleared_after]
        return hashlib.sha256(repr(facts).encode()).hexdigest()[:8]

    def recall(self, fingerprint: str) -> Earlier | None:
        """Return what an earlier try did with the same data, ``None`` if it did nothing.

        :param fingerprint: of the data and the arguments; a mapped task may get other data under the same index.
        """
        if self._store is None:
            begun = getattr(self._dag_run, "start_date", None)
            return Earlier(begun.timestamp() if begun else time.time()) if self._tries > 1 else None
        stored = self._store.get(_KEY)
        if not isinstance(stored, dict):
            return None
        dataset_id, self.others = stored.get("dataset_id"), stored.get("others", [])
        cleared = stored.get("cleared_after") != self._cleared_after and not self._reuse_on_clear
        if cleared or stored.get("fingerprint") != fingerprint:
            self.others = [*self.others, *([dataset_id] if dataset_id else [])][-_MOST_OTHERS:]
            return None
        self._since = stored["since"]
        return Earlier(self._since, dataset_id)

    def sending(self, fingerprint: str, since: float) -> None:
        """Remember that an upload begins."""
        self._since = since
        self._set(fingerprint)

    def created(self, fingerprint: str, dataset_id: str) -> None:
        """Remember the dataset that there is."""
        self._set(fingerprint, dataset_id=dataset_id)

    def _set(self, fingerprint: str, **more: str) -> None:
        if self._store is not None:
            facts = {"fingerprint": fingerprint, "cleared_after": self._cleared_after, "since": self._since}
            self._store.set(_KEY, {**facts, "others": self.others, **more})
