"""The choices of an export, checked without touching anything."""

from __future__ import annotations

from typing import Any

from airflow_provider_cohere_datasets.core.errors import CohereInputError

CHOICES = {
    "if_empty": ("write", "skip", "fail"),
    "on_bad_row": ("keep", "fail"),
    "part_urls": ("strip", "drop", "keep"),
    "include_samples": (True, False),
    "keep_raw": (True, False),
}


def check_choices(**given: Any) -> None:
    """Check arguments that have a fixed set of values.

    :param given: the arguments by name.
    :raises CohereInputError: if one has another value.
    """
    for name, value in given.items():
        allowed = CHOICES[name]
        if not any(value is choice or (isinstance(value, str) and value == choice) for choice in allowed):
            options = ", ".join(repr(choice) for choice in allowed)
            raise CohereInputError(f"{name} must be one of {options}, not {value!r:.40}.")
