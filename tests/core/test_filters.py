"""Filters: what users write, what is sent, and what is kept."""

from __future__ import annotations

import math
import time
from datetime import UTC, date, datetime, timedelta, timezone
from typing import Any, cast

import numpy as np
import pandas as pd
import pendulum
import pytest

from airflow_provider_cohere_datasets.core.dataset_page import DatasetPage
from airflow_provider_cohere_datasets.core.errors import CohereInputError
from airflow_provider_cohere_datasets.core.filters import (
    VALIDATION_STATUSES,
    ListFilters,
    checked_count,
    given,
    microseconds,
    moment,
    number_in,
    on_the_wire,
    seconds_in,
)
from airflow_provider_cohere_datasets.core.models import Dataset

DAY = datetime(2026, 3, 1, tzinfo=UTC)
BERLIN = timezone(timedelta(hours=1))


@pytest.mark.parametrize(
    ("value", "wire"),
    [
        ("2026-03-01", "2026-03-01T00:00:00.000000Z"),
        ("2026-03-01T12:30:00", "2026-03-01T12:30:00.000000Z"),
        ("2026-03-01T12:30:00Z", "2026-03-01T12:30:00.000000Z"),
        (" 2026-03-01 12:30:00+01:00 ", "2026-03-01T11:30:00.000000Z"),
        ("2026-03-01T12:30:00.123456-05:30", "2026-03-01T18:00:00.123456Z"),
        ("2026-03-01T12:30:00.123456789Z", "2026-03-01T12:30:00.123456Z"),
        (datetime(2026, 3, 1, 12), "2026-03-01T12:00:00.000000Z"),
        (datetime(2026, 3, 1, 12, tzinfo=BERLIN), "2026-03-01T11:00:00.000000Z"),
        (pendulum.datetime(2026, 3, 1, 12, tz="Europe/Berlin"), "2026-03-01T11:00:00.000000Z"),
        (pendulum.naive(2026, 3, 1, 12), "2026-03-01T12:00:00.000000Z"),
        ("0001-01-01T00:00:00Z", "0001-01-01T00:00:00.000000Z"),
    ],
)
def test_times_are_utc_with_a_zone(value: str | datetime, wire: str) -> None:
    result = moment("after", value)
    assert result is not None
    assert on_the_wire(result) == wire
    assert type(result) is datetime
    assert isinstance(microseconds(result), int)
    assert microseconds(result) == round((result - datetime(1970, 1, 1, tzinfo=UTC)) / timedelta(microseconds=1))


def test_the_zone_of_the_machine_does_not_matter(monkeypatch: pytest.MonkeyPatch) -> None:
    values = ("2026-03-01T12:30", "2026-03-01T13:30+01:00", datetime(2026, 3, 1, 12, 30))
    with monkeypatch.context() as patch:
        patch.setenv("TZ", "Asia/Tokyo")
        time.tzset()
        moments = [moment("after", value) for value in values]
    time.tzset()
    assert moments == [datetime(2026, 3, 1, 12, 30, tzinfo=UTC)] * 3


@pytest.mark.parametrize("value", [None, "", "  ", "\n"])
def test_empty_means_not_set(value: str | None) -> None:
    assert moment("after", value) is None
    assert given("name", value) is None
    assert ListFilters.of(dataset_type=value, validation_status=value, after=value, before=value) == ListFilters()
    assert ListFilters().query() == []
    assert ListFilters().description() == {}


@pytest.mark.parametrize("name", ["after", "before", "dataset_type", "validation_status"])
def test_the_text_none_is_a_mistake(name: str) -> None:
    with pytest.raises(CohereInputError, match=f'^{name} is the text "None": a template gave no value'):
        ListFilters.of(**{name: " None "})


@pytest.mark.parametrize("name", ["after", "before", "dataset_type", "validation_status"])
@pytest.mark.parametrize("value", [5, 1.5, ["validated"], date(2026, 3, 1), b"x"])
def test_other_types_are_refused(name: str, value: object) -> None:
    with pytest.raises(CohereInputError, match=f"^{name} must be a text, not {type(value).__name__}"):
        ListFilters.of(**{name: value})  # type: ignore[arg-type]


@pytest.mark.parametrize("value", ["yesterday", "2026-13-01", "2026-02-30", "12:00", "{{ ds }}", "1767225600"])
def test_what_is_no_time(value: str) -> None:
    with pytest.raises(CohereInputError, match=r"^before .* is not an ISO 8601 time"):
        ListFilters.of(before=value)


@pytest.mark.parametrize(
    "value", [datetime.min.replace(tzinfo=timezone(timedelta(hours=14))), "9999-12-31T23:59:59-01:00"]
)
def test_a_time_out_of_range(value: str | datetime) -> None:
    with pytest.raises(CohereInputError, match="out of range"):
        moment("after", value)


def test_the_ends_of_time_can_be_sent() -> None:
    filters = ListFilters.of(after=datetime.min, before=datetime.max)
    assert filters.query() == [("before", "9999-12-31T23:59:59.999999Z"), ("after", "0001-01-01T00:00:00.000000Z")]


@pytest.mark.parametrize("status", VALIDATION_STATUSES)
def test_the_six_statuses(status: str) -> None:
    assert ListFilters.of(validation_status=status).query() == [("validationStatus", status)]


@pytest.mark.parametrize("status", ["done", "VALIDATED", "validated,failed", "x" * 500])
def test_another_status_is_refused_with_those_that_are_not(status: str) -> None:
    allowed = "unknown, queued, processing, failed, validated, skipped"
    with pytest.raises(CohereInputError, match=rf"is not one of: {allowed}\.$") as got:
        ListFilters.of(validation_status=status)
    assert len(str(got.value)) < 250


def test_the_type_is_open() -> None:
    assert ListFilters.of(dataset_type="made-tomorrow").query() == [("datasetType", "made-tomorrow")]


def test_a_reversed_window_is_refused() -> None:
    with pytest.raises(CohereInputError, match="the window is reversed"):
        ListFilters.of(after="2026-03-02", before="2026-03-01T23:59:59.999999")
    with pytest.raises(CohereInputError, match="the window is reversed"):
        ListFilters.of(after=datetime(2026, 3, 1, 12, tzinfo=BERLIN), before="2026-03-01T10:59:59Z")


def test_a_window_of_one_moment_is_empty() -> None:
    assert ListFilters.of(after=DAY, before="2026-03-01").empty_window
    assert not ListFilters.of(after=DAY).empty_window
    assert not ListFilters().empty_window


def test_the_description_is_what_was_asked_for() -> None:
    filters = ListFilters.of(
        dataset_type="embed-input", validation_status="failed", after=DAY, before=DAY + timedelta(days=1)
    )
    assert filters.description() == {
        "dataset_type": "embed-input",
        "validation_status": "failed",
        "after": "2026-03-01T00:00:00.000000Z",
        "before": "2026-03-02T00:00:00.000000Z",
    }


def page(*rows: dict[str, object]) -> DatasetPage:
    return DatasetPage([Dataset.model_validate({"id": str(n), **row}) for n, row in enumerate(rows)])


def test_what_is_kept() -> None:
    micro = timedelta(microseconds=1)
    rows = page(
        {"created_at": (DAY - micro).isoformat(), "dataset_type": "a", "validation_status": "failed"},
        {"created_at": DAY.isoformat(), "dataset_type": "a", "validation_status": "failed"},
        {"created_at": (DAY + timedelta(days=1) - micro).isoformat(), "dataset_type": "b"},
        {"created_at": (DAY + timedelta(days=1)).isoformat(), "dataset_type": "a", "validation_status": "failed"},
        {"created_at": "rotten", "dataset_type": "a", "validation_status": "failed"},
    )
    tomorrow = pendulum.datetime(2026, 3, 2)
    assert ListFilters().select(rows) is None
    assert ListFilters.of(after=DAY).select(rows) == [1, 2, 3, 4]
    assert ListFilters.of(before=tomorrow).select(rows) == [0, 1, 2, 4], "a time that cannot be read stays"
    assert ListFilters.of(after=DAY, before=tomorrow).select(rows) == [1, 2, 4]
    assert ListFilters.of(dataset_type="b").select(rows) == [2]
    assert ListFilters.of(validation_status="unknown").select(rows) == [2], "no status is unknown"
    assert ListFilters.of(dataset_type="a", validation_status="failed", after=DAY).select(rows) == [1, 3, 4]
    assert ListFilters.of(after="2020-01-01").select(rows) is None


@pytest.mark.parametrize(("value", "count"), [(1, 1), (10, 10), ("7", 7), (" 10 ", 10)])
def test_counts(value: object, count: int) -> None:
    assert checked_count("limit", value) == checked_count("limit", value, 10) == count


@pytest.mark.parametrize("value", [0, -1, True, 1.0, None, "", "ten", "-1", "1.5", 11, "11"])
def test_what_is_no_count(value: object) -> None:
    with pytest.raises(CohereInputError, match="limit must be a whole number from 1 to 10, not "):
        checked_count("limit", value, 10)


def test_a_count_without_an_upper_end() -> None:
    assert checked_count("limit", 10**12) == 10**12
    with pytest.raises(CohereInputError, match="limit must be a whole number from 1 up, not 0"):
        checked_count("limit", 0)


@pytest.mark.parametrize(
    ("value", "number"),
    [
        (None, None),
        ("", None),
        (3, 3),
        (" 3 ", 3),
        ("0.5", 0.5),
        (np.int64(3), 3),
        (np.float32(0.5), 0.5),
        (np.timedelta64(1, "M"), math.nan),
        (np.timedelta64("NaT"), math.nan),
        (True, math.nan),
        ("many", math.nan),
        ([3], math.nan),
    ],
)
def test_a_number_may_come_as_a_text(value: Any, number: float | None) -> None:
    found = number_in("n", value)
    assert type(found) is type(number)
    assert found == number or (number is not None and math.isnan(number) and math.isnan(cast("float", found)))


def test_no_time_of_pandas_is_none() -> None:
    with pytest.raises(CohereInputError, match=r"^after 'NaT' is out of range"):
        moment("after", pd.NaT)


@pytest.mark.parametrize("value", [timedelta(minutes=1), pd.Timedelta("1min"), 60, "60", np.int64(60)])
def test_a_duration_may_come_in_many_ways(value: Any) -> None:
    assert seconds_in("age", value) == timedelta(minutes=1)
