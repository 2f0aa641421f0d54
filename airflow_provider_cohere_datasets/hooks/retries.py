"""Airflow's retries, told what the server asked for (Airflow 3.3 and later)."""

from __future__ import annotations

from datetime import timedelta
from typing import TYPE_CHECKING, Any

from airflow_provider_cohere_datasets.core.errors import CohereDatasetsError

if TYPE_CHECKING:
    from airflow.providers.common.compat.sdk import Context, RetryDecision, RetryPolicy

#: The longest wait that Airflow chooses itself.
_MOST = timedelta(days=1)

try:
    from airflow.providers.common.compat.sdk import RetryDecision, RetryPolicy
except (ImportError, AttributeError):  # Airflow below 3.3 has no retry policies; the task's retry_delay rules there.
    CohereRetryPolicy: Any = None
else:

    class CohereRetryPolicy(RetryPolicy):  # type: ignore[no-redef]
        """Waits for the next try as long as the server asked to, a day at the most.

        Everything else is left to the task's settings.

        Permanent errors never get here: they are ``AirflowFailException`` and end the retries by themselves.
        """

        def evaluate(
            self, exception: BaseException, try_number: int, max_tries: int, context: Context | None = None
        ) -> RetryDecision:
            """Return a retry after ``retry_after`` seconds, if the error carries that, else the default."""
            if isinstance(exception, CohereDatasetsError) and exception.retry_after is not None:
                reason = f"the server asked to wait {exception.retry_after:g} s"
                # Airflow adds the delay to a date, and its scheduler does not survive one beyond the year 9999.
                return RetryDecision.retry(delay=min(timedelta(seconds=exception.retry_after), _MOST), reason=reason)
            return RetryDecision.default()


def with_retry_policy(kwargs: dict[str, Any]) -> dict[str, Any]:
    """Return an operator's keyword arguments with our policy in them, unless the user gave one.

    ``None`` counts as not given: Airflow passes it to every mapped task whose user said nothing.
    """
    given = kwargs.get("retry_policy") is not None or "retry_policy" in kwargs.get("default_args", {})
    if CohereRetryPolicy is not None and not given:
        kwargs["retry_policy"] = CohereRetryPolicy()
    return kwargs
