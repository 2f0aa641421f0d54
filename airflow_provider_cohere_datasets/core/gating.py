"""What a dataset must be before the next job may start on it."""

from __future__ import annotations

from dataclasses import dataclass, fields
from typing import TYPE_CHECKING, Any

from airflow_provider_cohere_datasets.core.errors import CohereInputError
from airflow_provider_cohere_datasets.core.filters import given

if TYPE_CHECKING:
    from collections.abc import Sequence

    from airflow_provider_cohere_datasets.core.models import Dataset, FinetuneDatasetMetrics

_MINIMA = ("total_examples", "train_examples", "eval_examples", "trainable_token_count")


@dataclass(frozen=True, slots=True)
class Requirements:
    """The requirements; those that are ``None`` are not checked.

    :param required_status: the validation status.
    :param min_total_examples: examples at least.
    :param min_train_examples: examples for training at least.
    :param min_eval_examples: examples for evaluation at least.
    :param min_trainable_token_count: trainable tokens at least.
    :param max_warnings: validation warnings at the most.
    :param allowed_types: dataset types that are fine; a text is one type, an empty one sets nothing.
    """

    required_status: str = "validated"
    min_total_examples: int | None = None
    min_train_examples: int | None = None
    min_eval_examples: int | None = None
    min_trainable_token_count: int | None = None
    max_warnings: int | None = None
    allowed_types: Sequence[str] | None = None

    def __post_init__(self) -> None:
        """Refuse numbers that are none."""
        for name in (f.name for f in fields(self) if f.name.startswith(("min_", "max_"))):
            value = getattr(self, name)
            if value is not None and (isinstance(value, bool) or not isinstance(value, int) or value < 0):
                raise CohereInputError(f"{name} must be a whole number from 0 up, not {value!r:.40}.")

    def violations(self, dataset: Dataset) -> list[str]:
        """Return one sentence for each requirement that a dataset does not meet, with both figures."""
        found = []
        if dataset.validation_status != self.required_status:
            reason = f" ({dataset.validation_error[:300]})" if dataset.validation_error else ""
            found.append(f"its status is {dataset.validation_status!r}{reason}, not {self.required_status!r}")
        allowed: Sequence[str] | None = self.allowed_types
        if isinstance(allowed, str):  # A rendered template; "in" would look for a part of it.
            one = given("allowed_types", allowed)
            allowed = None if one is None else [one]
        if allowed is not None and dataset.dataset_type not in allowed:
            found.append(f"its type is {dataset.dataset_type!r}, not one of {', '.join(allowed)}")
        for name in _MINIMA:
            least: int | None = getattr(self, f"min_{name}")
            actual = _figure(dataset, name)
            if least is not None and (actual or 0) < least:
                shown = "not given" if actual is None else actual
                found.append(f"{name} is {shown}, below the minimum of {least}")
        warnings = len(dataset.validation_warnings or ())
        if self.max_warnings is not None and warnings > self.max_warnings:
            found.append(f"it has {warnings} validation warnings, above the maximum of {self.max_warnings}")
        return found


def _figure(dataset: Dataset, name: str) -> int | None:
    metrics: FinetuneDatasetMetrics | None = dataset.metrics.finetune_dataset_metrics if dataset.metrics else None
    value: Any = getattr(metrics, name, None)
    if value is None and name == "total_examples" and dataset.dataset_parts:
        # Only datasets for fine-tuning have metrics; for the others the rows are the examples.
        return dataset.num_rows
    return None if value is None else int(value)
