"""Airflow's retries, told what the server asked for (Airflow 3.3 and later)."""

from __future__ import annotations

from datetime import timedelta
from typing import TYPE_CHECKING, Any

from airflow_provider_cohere_datasets.core.errors import CohereDatasetsError
from airflow_provider_cohere_datasets.hooks.retries import LONGEST

if TYPE_CHECKING:
    from airflow.providers.common.compat.sdk import Context, RetryDecision, RetryPolicy

try:
    from airflow.providers.common.compat.sdk import RetryDecision, RetryPolicy
except (ImportError, AttributeError):  # Airflow below 3.3 has no retry policies; the task's retry_delay rules there.
    if not TYPE_CHECKING:  # To a type checker it is the class, or it would be Any there too.
        CohereRetryPolicy = None
else:

    class CohereRetryPolicy(RetryPolicy):
        """Waits for the next try as long as the server asked to, a day at the most.

        It only makes the wait longer: a task whose own ``retry_delay`` is longer than that waits as it always does, and
        everything else is left to its settings, too.

        Permanent errors never get here: they are ``AirflowFailException`` and end the retries by themselves.
        """

        def evaluate(
            self, exception: BaseException, try_number: int, max_tries: int, context: Context | None = None
        ) -> RetryDecision:
            """Return a retry after ``retry_after`` seconds, if the task's own delay is shorter, else the default."""
            asked = exception.retry_after if isinstance(exception, CohereDatasetsError) else None
            # Airflow adds the delay to a date, and its scheduler does not survive one beyond the year 9999.
            seconds = min(asked or 0.0, LONGEST.total_seconds())
            if asked is None or seconds <= _own_delay(context, try_number):
                return RetryDecision.default()
            return RetryDecision.retry(delay=timedelta(seconds=seconds), reason=f"the server asked to wait {asked:g} s")


def _own_delay(context: Context | None, try_number: int) -> float:
    """Return the seconds that the task would wait at least by its own settings."""
    task: Any = (context or {}).get("task")
    if task is None:
        return 0.0
    seconds: float = task.retry_delay.total_seconds()
    backoff = task.retry_exponential_backoff
    factor = 2.0 if backoff is True else backoff  # As the scheduler reads it.
    if factor not in (0, 1):
        # Airflow adds a share of it that differs from task to task. The exponent is limited so that no float overflows.
        seconds *= factor ** min(try_number - 1, 30)
        if task.max_retry_delay:
            seconds = min(seconds, task.max_retry_delay.total_seconds())
    return seconds
