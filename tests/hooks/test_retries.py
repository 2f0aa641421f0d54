"""What Airflow's retries hear from the server's wish to be left alone."""

from __future__ import annotations

import subprocess
import sys
from datetime import timedelta
from types import ModuleType
from typing import Any

import pytest

from airflow_provider_cohere_datasets import hooks
from airflow_provider_cohere_datasets.core.errors import CohereDatasetsError, CohereRateLimitError, CohereServerError
from airflow_provider_cohere_datasets.hooks import retry_policy
from airflow_provider_cohere_datasets.hooks.datasets import CohereDatasetsHook
from airflow_provider_cohere_datasets.hooks.errors import for_airflow
from airflow_provider_cohere_datasets.operators.datasets import CohereGetDatasetUsageOperator
from tests.adversary import AdversarialServer, Fault, error, per_minute, retry_after_date
from tests.versions import needs_retry_policies


def policy() -> Any:
    return retry_policy.CohereRetryPolicy()


@needs_retry_policies
@pytest.mark.parametrize(
    ("fault", "seconds"),
    [
        (per_minute(retry_after="300"), 300),
        (error(503, retry_after_ms="150500"), 150.5),
        (retry_after_date(503, 600), 600),
    ],
)
def test_the_next_try_comes_when_the_server_said(server: AdversarialServer, fault: Fault, seconds: float) -> None:
    server.script("GET", None, [fault], repeat=True)
    with pytest.raises(CohereDatasetsError) as caught:
        CohereDatasetsHook(request_policy={"max_tries": 1}).get_usage()
    decision = policy().evaluate(caught.value, 1, 3)
    assert decision.action.name == "RETRY"
    assert decision.retry_delay == timedelta(seconds=seconds)
    assert f"{seconds:g} s" in decision.reason


@needs_retry_policies
def test_a_wish_beyond_the_policy_ends_the_call_at_once_and_is_left_to_airflow(server: AdversarialServer) -> None:
    server.script("GET", None, [per_minute(retry_after="3600")], repeat=True)
    with pytest.raises(CohereRateLimitError, match="3600 s, more than the 120 s") as caught:
        CohereDatasetsHook().get_usage()
    assert server.count() == 1
    assert policy().evaluate(caught.value, 1, 3).retry_delay == timedelta(hours=1)


@needs_retry_policies
def test_a_server_cannot_put_a_task_off_for_ever(server: AdversarialServer) -> None:
    server.script("GET", None, [per_minute(retry_after="999999999999")], repeat=True)
    with pytest.raises(CohereRateLimitError) as caught:
        CohereDatasetsHook().get_usage()
    assert policy().evaluate(caught.value, 1, 3).retry_delay == timedelta(days=1)


@needs_retry_policies
@pytest.mark.parametrize(
    ("options", "try_number", "asked", "longer"),
    [
        ({"retry_delay": timedelta(minutes=10)}, 1, 1, False),
        ({"retry_delay": timedelta(minutes=10)}, 1, 600, False),
        ({"retry_delay": timedelta(minutes=10)}, 1, 601, True),
        ({"retry_delay": timedelta(minutes=10)}, 9, 601, True),
        ({"retry_delay": timedelta(days=2)}, 1, 3 * 86_400, False),
        ({"retry_delay": timedelta(0)}, 1, 0, False),
        ({"retry_delay": timedelta(0)}, 1, 0.5, True),
        ({"retry_delay": 60, "retry_exponential_backoff": 2}, 1, 61, True),
        ({"retry_delay": 60, "retry_exponential_backoff": 2}, 3, 240, False),
        ({"retry_delay": 60, "retry_exponential_backoff": 2}, 3, 241, True),
        ({"retry_delay": 60, "retry_exponential_backoff": True}, 3, 240, False),
        ({"retry_delay": 60, "retry_exponential_backoff": True}, 3, 241, True),
        ({"retry_delay": 60, "retry_exponential_backoff": 2}, 5000, 86_400, False),
        ({"retry_delay": 60, "retry_exponential_backoff": 2, "max_retry_delay": 100}, 3, 101, True),
        ({"retry_delay": 60, "max_retry_delay": 10}, 3, 30, False),
    ],
)
def test_the_server_only_makes_the_wait_longer(
    options: dict[str, Any], try_number: int, asked: float, longer: bool
) -> None:
    task = CohereGetDatasetUsageOperator(task_id="usage", **options)
    failed = CohereServerError("It broke.", retry_after=asked)
    decision = task.retry_policy.evaluate(failed, try_number, 3, {"task": task})
    assert decision.action.name == ("RETRY" if longer else "DEFAULT")
    assert decision.retry_delay == (timedelta(seconds=asked) if longer else None)


@needs_retry_policies
@pytest.mark.parametrize("exception", [for_airflow(CohereServerError("It broke.")), KeyError("x"), SystemExit()])
def test_everything_else_is_the_tasks_own_business(exception: BaseException) -> None:
    decision = policy().evaluate(exception, 1, 3)
    assert decision.action.name == "DEFAULT"
    assert decision.retry_delay is None


@needs_retry_policies
def test_a_task_that_does_not_fail_does_without_airflows_policies() -> None:
    script = (
        "import sys\n"
        "from airflow_provider_cohere_datasets.operators.datasets import CohereGetDatasetUsageOperator\n"
        "from airflow_provider_cohere_datasets.sensors.datasets import CohereDatasetValidationSensor\n"
        "task = CohereGetDatasetUsageOperator(task_id='usage')\n"
        "print('airflow.sdk.definitions.retry_policy' in sys.modules, task.has_retry_policy)\n"
    )
    ran = subprocess.run([sys.executable, "-W", "ignore", "-c", script], capture_output=True, text=True, check=True)
    assert ran.stdout.splitlines()[-1] == "False True"


def test_airflow_below_3_3_has_no_policies(monkeypatch: pytest.MonkeyPatch) -> None:
    name = "airflow.providers.common.compat.sdk"
    monkeypatch.setitem(sys.modules, name, ModuleType(name))
    monkeypatch.delitem(sys.modules, retry_policy.__name__)
    monkeypatch.setattr(hooks, "retry_policy", retry_policy)  # to have it back afterwards
    assert CohereGetDatasetUsageOperator(task_id="usage").retry_policy is None
