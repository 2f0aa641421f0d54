"""Which datasets a list is asked for; checked again on the client, so a server cannot leak rows."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from math import nan
from numbers import Integral, Real
from typing import TYPE_CHECKING, Any, NamedTuple

from airflow_provider_cohere_datasets.core.errors import CohereInputError

if TYPE_CHECKING:
    from airflow_provider_cohere_datasets.core.page import Page

#: The statuses that the reference lists. The API may know more, so answers are not held to this.
VALIDATION_STATUSES = ("unknown", "queued", "processing", "failed", "validated", "skipped")

#: Whether the server includes the ends of a window is not documented. We ask for this much more on both sides and
#: cut exactly on the client.
_MARGIN = timedelta(seconds=1)
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)


def given(name: str, value: Any) -> str | None:
    """Return a text argument without surrounding space, or ``None`` for one that is not set.

    A template that renders to an empty string means "not set"; one that renders to ``None`` is a mistake.

    :param name: the argument's name, for the error.
    :param value: what the user gave.
    :raises CohereInputError: if it is not a text that can be stored, or the text is "None".
    """
    if value is None:
        return None
    value = checked_text(name, value).strip()
    if value == "None":
        raise CohereInputError(f'{name} is the text "None": a template gave no value.')
    return value or None


def checked_text(name: str, value: object) -> str:
    """Return a text that can be sent.

    :raises CohereInputError: if it is not a text, or half a character that takes two, as a text that was cut may have.
    """
    if not isinstance(value, str):
        raise CohereInputError(f"{name} must be a text, not {type(value).__name__}.")
    try:
        value.encode()
    except UnicodeEncodeError:
        raise CohereInputError(f"{name} {value[:60]!r} has half a character in it, which cannot be sent.") from None
    return value


def check_choice(name: str, value: object, *choices: str | bool) -> None:
    """Check an argument that has a fixed set of values.

    Where these are True and False, no text is one of them: any, "False" too, would count as true.

    :raises CohereInputError: for any other value.
    """
    # Neither 0 nor 1 is meant by who asks for True or False.
    if not any(value is choice or (isinstance(value, str) and value == choice) for choice in choices):
        allowed = ", ".join(map(repr, choices[:-1]))
        raise CohereInputError(f"{name} must be {allowed} or {choices[-1]!r}, not {value!r:.40}.")


def check_flags(**flags: object) -> None:
    """Refuse what is neither True nor False; the text "false" would be taken for True.

    :param flags: the values by the names of the arguments.
    :raises CohereInputError: for anything else.
    """
    for name, flag in flags.items():
        check_choice(name, flag, True, False)


def number_in(name: str, value: Any) -> int | float | None:
    """Return a number, which may come as a text; ``None`` if it is not set, NaN if it is none."""
    if isinstance(value, str):
        value = given(name, value)
        for kind in (int, float):
            try:
                return None if value is None else kind(value)
            except ValueError:
                continue
    if isinstance(value, bool):
        return nan
    # Also one of NumPy's, but not its durations, which count as numbers there.
    if isinstance(value, Real) and getattr(getattr(value, "dtype", None), "kind", "i") in "iuf":
        return int(value) if isinstance(value, Integral) else float(value)
    return None if value is None else nan


def checked_count(name: str, value: object, most: int | None = None) -> int:
    """Return a whole number from 1 up, which may come as a text, because templates render to text.

    :raises CohereInputError: for anything else.
    """
    number = number_in(name, value)
    if not isinstance(number, int) or number < 1 or (most is not None and number > most):
        upto = f" to {most}" if most is not None else " up"
        raise CohereInputError(f"{name} must be a whole number from 1{upto}, not {value!r:.40}.")
    return number


def optional_count(name: str, value: object, most: int | None = None) -> int | None:
    """Return what :func:`checked_count` does; ``None`` for ``None`` and a blank text, which mean "not set"."""
    return None if number_in(name, value) is None else checked_count(name, value, most)


def seconds_in(name: str, value: Any, *, zero: bool = False) -> timedelta | None:
    """Return a duration, which may come as a number of seconds; ``None`` if it is not set.

    :raises CohereInputError: if it is none, negative, or 0 where ``zero`` is not allowed.
    """
    # Durations of other libraries are timedeltas, but they write themselves differently.
    seconds = value.total_seconds() if isinstance(value, timedelta) else number_in(name, value)
    if seconds is None:
        return None
    if 0 < seconds < 1e9 or (zero and seconds == 0):
        return timedelta(seconds=seconds)
    least = "from 0 up" if zero else "above 0"
    raise CohereInputError(f"{name} must be a duration, or a number of seconds, {least}, not {value!r:.40}.")


def moment(name: str, value: str | datetime | None) -> datetime | None:
    """Return a point in time in UTC, or ``None`` for one that is not set; a time without a zone is UTC.

    :param name: the argument's name, for the error.
    :param value: a time, or an ISO 8601 text of one.
    :raises CohereInputError: if the text is not a time.
    """
    if not isinstance(value, datetime):
        text = given(name, value)
        if text is None:
            return None
        try:
            value = datetime.fromisoformat(text)
        except ValueError:
            raise CohereInputError(f"{name} {text[:60]!r} is not an ISO 8601 time.") from None
    try:
        utc = value.replace(tzinfo=UTC) if value.tzinfo is None else value.astimezone(UTC)
        # Airflow hands out pendulum's times, whose differences do not divide by a timedelta.
        return datetime.combine(utc.date(), utc.time(), UTC)
    except (OverflowError, ValueError):  # The latter from what is not a time in pandas.
        raise CohereInputError(f"{name} {value.isoformat()!r} is out of range.") from None


def microseconds(value: datetime) -> int:
    """Return a time as whole microseconds since 1970 in UTC."""
    return (value - _EPOCH) // timedelta(microseconds=1)


def on_the_wire(value: datetime) -> str:
    """Return a time as RFC 3339 with microseconds and ``Z``."""
    return value.strftime("%Y-%m-%dT%H:%M:%S.%fZ").rjust(27, "0")


class ListFilters(NamedTuple):
    """A selection of datasets. Windows are half-open: ``after <= created_at < before``.

    Build one with :meth:`of`, which takes what users write.
    """

    dataset_type: str | None = None
    validation_status: str | None = None
    after: datetime | None = None
    before: datetime | None = None

    @classmethod
    def of(
        cls,
        *,
        dataset_type: str | None = None,
        validation_status: str | None = None,
        after: str | datetime | None = None,
        before: str | datetime | None = None,
    ) -> ListFilters:
        """Check and normalise the filters.

        :param dataset_type: a dataset type; any text, because the set is open.
        :param validation_status: one of :data:`VALIDATION_STATUSES`.
        :param after: the earliest creation time that is included.
        :param before: the first creation time that is not included any more.
        :raises CohereInputError: for an unknown status, a time that is none, or a reversed window.
        """
        status = given("validation_status", validation_status)
        if status is not None and status not in VALIDATION_STATUSES:
            allowed = ", ".join(VALIDATION_STATUSES)
            raise CohereInputError(f"validation_status {status[:60]!r} is not one of: {allowed}.")
        start, end = moment("after", after), moment("before", before)
        if start is not None and end is not None and start > end:
            raise CohereInputError(
                f"after {on_the_wire(start)} is later than before {on_the_wire(end)}: the window is reversed."
            )
        return cls(given("dataset_type", dataset_type), status, start, end)

    @property
    def empty_window(self) -> bool:
        """Whether the window cannot contain anything, so that no request is needed."""
        return self.after is not None and self.after == self.before

    def query(self) -> list[tuple[str, str]]:
        """Return the query parameters, spelt as the API wants them; only those that are set."""
        values = {
            "datasetType": self.dataset_type,
            "before": self.before and on_the_wire(_shifted(self.before, _MARGIN)),
            "after": self.after and on_the_wire(_shifted(self.after, -_MARGIN)),
            "validationStatus": self.validation_status,
        }
        return [(name, value) for name, value in values.items() if value]

    def select(self, page: Page) -> list[int] | None:
        """Return the positions of a page's rows that match, or ``None`` if all do.

        A row whose time cannot be read stays, because dropping it would lose it for good; so does one of which the page
        says that its type or status cannot be told.
        """
        keep = [True] * len(page.ids)
        for name, wanted in (("dataset_type", self.dataset_type), ("validation_status", self.validation_status)):
            if wanted is not None:
                keep = [
                    k and (value is None or value == wanted) for k, value in zip(keep, page.texts(name), strict=True)
                ]
        if self.after is not None:
            start = microseconds(self.after)
            keep = [k and (at is None or at >= start) for k, at in zip(keep, page.created, strict=True)]
        if self.before is not None:
            end = microseconds(self.before)
            keep = [k and (at is None or at < end) for k, at in zip(keep, page.created, strict=True)]
        return None if all(keep) else [position for position, k in enumerate(keep) if k]

    def description(self) -> dict[str, str]:
        """Return the filters that are set, as small JSON."""
        values = {
            "dataset_type": self.dataset_type,
            "validation_status": self.validation_status,
            "after": self.after and on_the_wire(self.after),
            "before": self.before and on_the_wire(self.before),
        }
        return {name: value for name, value in values.items() if value}


def _shifted(value: datetime, by: timedelta) -> datetime:
    try:
        return value + by
    except OverflowError:
        return value
