"""Makes Airflow understand core's errors: a permanent one ends its retries, in every version."""

from __future__ import annotations

from contextlib import contextmanager
from functools import cache
from typing import TYPE_CHECKING, Any

from airflow.providers.common.compat.sdk import AirflowException, AirflowFailException

from airflow_provider_cohere_datasets.core.errors import CohereDatasetsError

if TYPE_CHECKING:
    from collections.abc import Iterator


@cache
def _airflow_kind(kind: type[CohereDatasetsError]) -> type[CohereDatasetsError]:
    base = AirflowFailException if kind.permanent else AirflowException
    names = {"__module__": kind.__module__, "__doc__": kind.__doc__, "__reduce__": _reduced}
    return type(kind.__name__, (kind, base), names)


def _reduced(error: CohereDatasetsError) -> tuple[Any, ...]:
    # The class is made at runtime, so pickle cannot find it by its name.
    return _rebuilt, (type(error).__mro__[1], error.message, error.__dict__)


def _rebuilt(kind: type[CohereDatasetsError], message: str, state: dict[str, Any]) -> CohereDatasetsError:
    error = kind(message)
    error.__dict__.update(state)
    return for_airflow(error, error.conn_id)


def for_airflow(error: CohereDatasetsError, conn_id: str | None = None) -> CohereDatasetsError:
    """Return the same error as an exception that Airflow knows how to treat.

    It is still an instance of its class in :mod:`airflow_provider_cohere_datasets.core.errors`, so users catch those.

    :param error: the error.
    :param conn_id: the connection that was used, named in the message.
    """
    if isinstance(error, AirflowException):
        return error
    kind = _airflow_kind(type(error))  # type: ignore[arg-type]  # a class is hashable
    twin = kind(error.message)
    twin.__dict__.update(error.__dict__)
    twin.conn_id = conn_id
    return twin


@contextmanager
def airflow_errors(conn_id: str | None = None) -> Iterator[None]:
    """Raise core's errors as Airflow's.

    :param conn_id: the connection that is used, named in the message.
    """
    try:
        yield
    except CohereDatasetsError as error:
        raise for_airflow(error, conn_id) from error.__cause__
