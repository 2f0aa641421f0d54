"""What datasets must be before the next job may start on them."""

from __future__ import annotations

from datetime import timedelta
from fractions import Fraction
from math import ceil, floor
from typing import TYPE_CHECKING, Any, NamedTuple

from airflow_provider_cohere_datasets.core.errors import CohereInputError
from airflow_provider_cohere_datasets.core.filters import given, number_in, seconds_in
from airflow_provider_cohere_datasets.core.limits import RETENTION
from airflow_provider_cohere_datasets.core.selection import is_listed
from airflow_provider_cohere_datasets.core.urls import without_queries

if TYPE_CHECKING:
    from collections.abc import Iterable
    from datetime import datetime

    from airflow_provider_cohere_datasets.core.models import Dataset, FinetuneDatasetMetrics

#: Datasets whose violations a message and a result spell out.
MAX_SHOWN = 20

_MINIMA = ("total_examples", "train_examples", "eval_examples", "trainable_token_count")
_MAX_MESSAGE = 3600
_MAX_TEXT = 300
_MAX_NAME = 100


class Requirements(NamedTuple):
    """What a dataset must be; what is ``None`` is not checked.

    Build them with :meth:`of`, which takes what users write.

    :param required_status: the validation status.
    :param min_total_examples: examples at least.
    :param min_train_examples: examples for training at least.
    :param min_eval_examples: examples for evaluation at least.
    :param min_trainable_token_count: trainable tokens at least.
    :param max_warnings: validation warnings at the most.
    :param max_age: time since the creation at the most.
    :param allowed_types: dataset types that are fine.
    """

    required_status: str = "validated"
    min_total_examples: int | None = None
    min_train_examples: int | None = None
    min_eval_examples: int | None = None
    min_trainable_token_count: int | None = None
    max_warnings: int | None = None
    max_age: timedelta | None = None
    allowed_types: tuple[str, ...] | None = None

    @classmethod
    def of(
        cls, *, required_status: Any = None, max_age: Any = None, allowed_types: Any = None, **counts: Any
    ) -> Requirements:
        """Check and normalise the requirements; an empty text means "not set", but for ``allowed_types``.

        :param required_status: any text, because the set of statuses is open; ``validated`` if it is not set.
        :param max_age: a duration, or seconds as a number or as a text of one.
        :param allowed_types: a list of types, not a text.
        :param counts: the whole numbers, or texts of them.
        :raises CohereInputError: with one sentence that names the argument.
        """
        return cls(
            required_status=given("required_status", required_status) or "validated",
            max_age=seconds_in("max_age", max_age),
            allowed_types=_types(allowed_types),
            **{name: _count(name, value) for name, value in counts.items()},
        )

    def violations(self, dataset: Dataset, now: datetime) -> list[str]:
        """Return one sentence for each requirement that a dataset does not meet, with both figures.

        :param dataset: the dataset.
        :param now: the time, with its zone.
        """
        found = []
        if dataset.validation_status != self.required_status:
            error = _short(without_queries(dataset.validation_error or ""), _MAX_TEXT)
            reason = f" ({error})" if error else ""
            found.append(f"its status is {_quoted(dataset.validation_status)}{reason}, not {self.required_status!r}")
        if self.allowed_types is not None and dataset.dataset_type not in self.allowed_types:
            allowed = _short(", ".join(self.allowed_types), _MAX_TEXT)
            found.append(f"its type is {_quoted(dataset.dataset_type)}, not one of {allowed}")
        for name in _MINIMA:
            least: int | None = getattr(self, f"min_{name}")
            actual = _figure(dataset, name)
            if least is not None and (actual or 0) < least:
                shown = "not given" if actual is None else actual
                found.append(f"{name} is {shown}, below the minimum of {least}")
        warnings = len(dataset.validation_warnings or ())
        if self.max_warnings is not None and warnings > self.max_warnings:
            found.append(f"it has {warnings} validation warnings, above the maximum of {self.max_warnings}")
        if self.max_age is not None:
            found += _too_old(dataset.created_at, now, self.max_age)
        return found


def _too_old(created_at: datetime | None, now: datetime, max_age: timedelta) -> list[str]:
    if created_at is None:
        return [f"its age is not known, and the maximum is {max_age}"]
    age = now - created_at
    if age <= max_age:
        return []
    # Rounded away from the limit, so that an age above the maximum is never shown as equal to it.
    shown, left = timedelta(seconds=ceil(age.total_seconds())), floor((RETENTION - age).total_seconds())
    end = f"deletes it in {timedelta(seconds=left)}" if left > 0 else "deletes it now"
    return [f"it is {shown} old, above the maximum of {max_age} (Cohere {end})"]


def _figure(dataset: Dataset, name: str) -> int | None:
    metrics: FinetuneDatasetMetrics | None = dataset.metrics.finetune_dataset_metrics if dataset.metrics else None
    value: int | None = getattr(metrics, name, None)
    if value is None and name == "total_examples" and dataset.dataset_parts:
        # Only datasets for fine-tuning have metrics; for the others the rows are the examples.
        return dataset.num_rows
    return value


class Tolerance(NamedTuple):
    """How many of several datasets may miss the requirements. Build it with :meth:`of`.

    :param most: a number of datasets, or a share of them.
    """

    most: int | Fraction = 0

    @classmethod
    def of(cls, value: Any) -> Tolerance:
        """Check ``max_failed``.

        :param value: a whole number from 0 up, a share below 1, or a text of one of them.
        :raises CohereInputError: for anything else; 1.0 could mean one dataset or all.
        """
        number = number_in("max_failed", value)
        if number is None:
            return cls()
        if isinstance(number, int) and number >= 0:
            return cls(number)
        if isinstance(number, float) and 0 <= number < 1:
            return cls(Fraction(str(number)))  # As it was written: 0.29 of 100 are 29, not 28.999….
        raise CohereInputError(
            f"max_failed must be a whole number from 0 up or a share from 0 to below 1, not {value!r:.40}."
        )

    def of_them(self, checked: int) -> int:
        """Return how many of so many may fail."""
        return self.most if isinstance(self.most, int) else floor(self.most * checked)


class Findings(NamedTuple):
    """What came of the check of several datasets.

    :param passed: the ids of those that meet the requirements.
    :param failed: the violations of the others, by id.
    """

    passed: list[str]
    failed: dict[str, list[str]]

    @property
    def checked(self) -> int:
        """How many there are."""
        return len(self.passed) + len(self.failed)

    def result(self) -> dict[str, Any]:
        """Return small JSON for XCom: all ids that passed, and the violations of the first that did not."""
        shown = dict(list(self.failed.items())[:MAX_SHOWN])
        return {"passed": self.passed, "failed": shown, "checked": self.checked}

    def message(self, tolerance: Tolerance) -> str:
        """Return what is wrong: each dataset with its violations, as far as fits into some 4,000 characters."""
        share = "" if isinstance(tolerance.most, int) else f" ({float(tolerance.most)} of {self.checked})"
        head = (
            f"{len(self.failed)} of {self.checked} datasets may not be used, "
            f"above the max_failed of {tolerance.of_them(self.checked)}{share}:"
        )
        lines = [head]
        for dataset_id, violations in list(self.failed.items())[:MAX_SHOWN]:
            line = f"- {_quoted(dataset_id)}: {'; '.join(violations)}."
            if len(lines) > 1 and sum(map(len, lines)) + len(line) > _MAX_MESSAGE:
                break
            lines.append(line)
        more = len(self.failed) - len(lines) + 1
        return "\n".join([*lines, f"- and {more} more."] if more else lines)


def check(datasets: Iterable[tuple[str, Dataset | None]], requirements: Requirements, now: datetime) -> Findings:
    """Check several datasets.

    :param datasets: each with its id; ``None`` for one that does not exist.
    :param requirements: what each must be.
    :param now: the time, with its zone.
    """
    findings = Findings([], {})
    for dataset_id, dataset in datasets:
        violations = ["it does not exist"] if dataset is None else requirements.violations(dataset, now)
        if violations:
            findings.failed[dataset_id] = violations
        else:
            findings.passed.append(dataset_id)
    return findings


def _count(name: str, value: Any) -> int | None:
    number = number_in(name, value)
    if number is None or (isinstance(number, int) and number >= 0):
        return number
    raise CohereInputError(f"{name} must be a whole number from 0 up, not {value!r:.40}.")


def _types(value: Any) -> tuple[str, ...] | None:
    if value is None:
        return None
    # A text would be searched for parts of itself: "embed-input" allows "embed".
    types = tuple(value) if is_listed(value) else ()
    if not types or not all(isinstance(kind, str) and given("allowed_types", kind) for kind in types):
        raise CohereInputError(f"allowed_types must be a list of types with at least one in it, not {value!r:.60}.")
    return tuple(kind.strip() for kind in types)


def _short(text: str, most: int) -> str:
    """Return a text on one line, cut."""
    from airflow_provider_cohere_datasets.core.untrusted import printable  # Not where a DAG file is only parsed.

    line = " ".join(printable(text).split())
    return line if len(line) <= most else f"{line[:most]}…"


def _quoted(text: str | None) -> str:
    return repr(text if text is None else _short(text, _MAX_NAME))
