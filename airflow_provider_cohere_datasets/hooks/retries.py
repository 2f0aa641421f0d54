"""What tasks do about a server's wish to be left alone, once their own tries are used up."""

from __future__ import annotations

from datetime import timedelta
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from airflow.providers.common.compat.sdk import RetryPolicy

#: The longest that a server may put anybody off; with exponential backoff Airflow itself waits no longer by default.
LONGEST = timedelta(days=1)


class RetryPolicyMixin:
    """Gives a task ``CohereRetryPolicy``, unless the user gave a policy (Airflow 3.3 and later).

    It is made when Airflow asks for it: who only reads the DAG file, as each worker does, need not load policies.
    """

    _own_policy: RetryPolicy | None = None

    @property
    def retry_policy(self) -> Any:
        """Who decides about the next try; ``None`` where Airflow has no policies."""
        if self._own_policy is None:
            from airflow_provider_cohere_datasets.hooks.retry_policy import CohereRetryPolicy

            if CohereRetryPolicy is not None:
                self._own_policy = CohereRetryPolicy()
        return self._own_policy

    @retry_policy.setter
    def retry_policy(self, policy: RetryPolicy | None) -> None:
        self._own_policy = policy
