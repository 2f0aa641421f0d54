"""What tests need of Airflow: names that its versions keep in different places, and what only newer ones have.

A test that needs a feature carries its marker, so each skip says which one is missing.
"""

from __future__ import annotations

from importlib.util import find_spec
from typing import Any

import airflow
import pytest

#: The version of Airflow, as far as features go.
AIRFLOW = tuple(int(number) for number in airflow.__version__.split(".")[:2])

try:
    from airflow.sdk.exceptions import AirflowRescheduleException, TaskDeferralError
except ImportError:  # Airflow below 3.2
    from airflow.exceptions import AirflowRescheduleException, TaskDeferralError

if AIRFLOW >= (3, 0):
    from airflow.sdk.execution_time.context import OutletEventAccessors
    from airflow.sdk.io import attach
    from airflow.sdk.io import store as stores
else:
    from airflow.io import store as stores
    from airflow.io.store import attach
    from airflow.utils.context import OutletEventAccessors

__all__ = ["AirflowRescheduleException", "OutletEventAccessors", "TaskDeferralError", "attach", "stores"]

#: Whether triggers can share one stream. Where they cannot, each runs by itself.
SHARED_STREAMS = find_spec("airflow.triggers.shared_stream") is not None

#: Whether the command line shows how the form of a connection behaves. 3.0 and 3.1 ask a library of Flask for that.
SHOWS_FORMS = not (3, 0) <= AIRFLOW < (3, 2) or find_spec("wtforms") is not None


def stored_and_read(dag: Any) -> Any:
    """Return a DAG as the scheduler has it, which reads it from the database."""
    from airflow.serialization import serialized_objects

    # Airflow 3.2 split the one class in two.
    name = "DagSerialization" if AIRFLOW >= (3, 2) else "SerializedDAG"
    serializer = getattr(serialized_objects, name)
    return serializer.from_dict(serializer.to_dict(dag))


def use_operators_in_this_thread() -> None:
    """Let operators run outside the main thread, where Airflow 2 does not expect them."""
    if AIRFLOW < (3, 0):
        from airflow.models.baseoperator import ExecutorSafeguard

        ExecutorSafeguard._sentinel.callers = {}


def _needs(version: tuple[int, int], feature: str) -> pytest.MarkDecorator:
    reason = f"Airflow has {feature} since {version[0]}.{version[1]}"
    return pytest.mark.skipif(version > AIRFLOW, reason=reason)


needs_shared_streams = _needs((3, 3), "shared streams of triggers")
needs_tasks_in_triggers = _needs((3, 3), "the task in its trigger")
needs_retry_policies = _needs((3, 3), "retry policies")
