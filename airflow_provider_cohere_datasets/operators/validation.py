"""The wait of a task on its worker until Cohere has validated the dataset that the task made."""

from __future__ import annotations

import math
import time
from typing import TYPE_CHECKING, Any, Literal

from airflow.providers.common.compat.sdk import AirflowNotFoundException

from airflow_provider_cohere_datasets.core.errors import (
    CohereAuthenticationError,
    CoherePermissionError,
    error_from_details,
)
from airflow_provider_cohere_datasets.core.looking import Looker
from airflow_provider_cohere_datasets.core.waiting import Goal, Watch, wait_for

if TYPE_CHECKING:
    from airflow_provider_cohere_datasets.core.poll_policy import PollPolicy
    from airflow_provider_cohere_datasets.core.wait_event import WaitEvent
    from airflow_provider_cohere_datasets.hooks.datasets import CohereDatasetsHook


class Validation:
    """One wait, also with a key that is replaced meanwhile.

    :param hook: the connection.
    :param dataset_id: the dataset.
    :param skipped_as: whether a validation that Cohere skipped is a failure or a success.
    :param poll: how often to look.
    """

    def __init__(
        self, hook: CohereDatasetsHook, dataset_id: str, skipped_as: Literal["fail", "success"], poll: PollPolicy
    ) -> None:
        self._hook = hook
        self._poll = poll
        self._looker = Looker()
        self._watch = Watch(
            [dataset_id],
            Goal(skipped_as),
            max_failures=poll.max_failures,
            tell=hook.log.info,
            warn=hook.log.warning,
        )

    def memory(self) -> dict[str, Any]:
        """Return what another process must know to go on, as small JSON."""
        return {**self._watch.memory(), **self._looker.memory()}

    def recall(self, memory: object) -> None:
        """Go on with a wait that another process began."""
        self._watch.recall(memory)
        self._looker.recall(memory)

    def last_seen(self) -> str:
        """Return the last status in words."""
        return self._watch.last_seen()

    def wait(self, timeout: float) -> WaitEvent:
        """Look until the wait is over or the time is up, once at least.

        :param timeout: seconds.
        """
        now = time.monotonic()
        ends, renewed = now + timeout, -math.inf
        while True:
            policy = self._hook.get_conn().account.policy
            over = self._hook.run(wait_for(self._watch, self._looker, policy, self._poll, timeout=ends - now))
            now, error = time.monotonic(), error_from_details(over.error or {})
            refused = isinstance(error, CohereAuthenticationError | CoherePermissionError)
            # The key may have been replaced since the wait began, as for the sensor; but not again just now.
            if not refused or now - renewed < self._poll.interval or not self._has_another_key():
                return over
            renewed = now

    def _has_another_key(self) -> bool:
        try:
            return self._hook.has_another_key()
        except AirflowNotFoundException:  # What the server said of the key is what counts.
            return False
