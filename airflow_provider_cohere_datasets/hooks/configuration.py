"""Defaults from the section ``[cohere_datasets]`` of Airflow's configuration."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, TypeVar

from airflow.providers.common.compat.sdk import conf

from airflow_provider_cohere_datasets.core.errors import CohereInputError
from airflow_provider_cohere_datasets.core.limits import DEFAULT_PAGE_SIZE
from airflow_provider_cohere_datasets.core.poll_policy import PollPolicy

if TYPE_CHECKING:
    from datetime import timedelta

SECTION = "cohere_datasets"

F = TypeVar("F")


def configured(name: str, fallback: F) -> float | F:
    """Return a number from the configuration.

    :param name: the option.
    :param fallback: what counts where it is not set; Airflow's own conversions refuse an empty text.
    :raises CohereInputError: if it is not a number.
    """
    value = conf.get(SECTION, name, fallback=None)
    if value is None or not str(value).strip():
        return fallback
    try:
        return float(value)
    except ValueError:
        raise CohereInputError(
            f"[{SECTION}] {name} in Airflow's configuration is not a number: {value!r:.40}."
        ) from None


def page_size(given: Any) -> Any:
    """Return the rows to ask for at a time: what the user gave, or the configured number."""
    if given is not None and given != "":
        return given
    size = configured("page_size", DEFAULT_PAGE_SIZE)
    # Before Python 3.12 only a float can tell whether it is whole.
    return int(size) if float(size).is_integer() else size


def poll_interval(given: float | timedelta | None) -> float | timedelta:
    """Return the seconds between two looks: what the user gave, or the configured number."""
    return configured("poll_interval", PollPolicy().interval) if given is None else given
