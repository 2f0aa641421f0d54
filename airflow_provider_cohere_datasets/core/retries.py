"""Which outcome is worth another try, and how long to wait before it."""

from __future__ import annotations

import json
import math
import random
import re
from dataclasses import replace
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from typing import TYPE_CHECKING, TypeVar
from urllib.parse import parse_qsl, urljoin, urlsplit

from airflow_provider_cohere_datasets.core import errors
from airflow_provider_cohere_datasets.core.calls import Call, Flow, Pause, Reply, TransportFailure, about
from airflow_provider_cohere_datasets.core.untrusted import printable, shareable

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from airflow_provider_cohere_datasets.core.account import RequestPolicy

T = TypeVar("T")

_MAX_REDIRECTS = 5
_MAX_MESSAGE = 1000
#: gRPC's words behind the gateway: "received message larger than max (5242880 vs. 4194304)".
_TOO_LARGE = re.compile(r"message (is )?(larger|too large|exceeds|size)|larger than max|response too large", re.I)
_MONTH = re.compile(r"\bmonth", re.I)
_LIMIT = re.compile(r"(?<!rate )\blimit\b|\bpage.?size\b|\btoo many (rows|datasets|items|results)\b", re.I)
#: Names in a JSON text: they tell what there is, not what is wrong.
_NAMES = re.compile(r'"[^"]*":')
_WEB_PAGE = re.compile(rb"(\xef\xbb\xbf)?\s*<")


def exchange(
    call: Call,
    read: Callable[[Call, Reply], T],
    policy: RequestPolicy,
    *,
    tries: int | None = None,
    patience: float = math.inf,
    uniform: Callable[[float, float], float] = random.uniform,
) -> Flow[T]:
    """Send a call until its answer can be read, or until trying again is pointless.

    :param call: the call.
    :param read: reads the answer; may raise :class:`~.errors.CohereUnexpectedAnswerError`, which is transient.
    :param policy: how often to try and how long to wait.
    :param tries: how often to try instead. A rate limit, which is no fault of this call, has the policy's tries.
    :param patience: seconds; a longer wait that the server asks for is the caller's. Not so that of a rate limit.
    :param uniform: where the jitter comes from.
    :raises CohereDatasetsError: the last error, with the number of tries in it.
    """
    sent = redirects = 0
    while True:
        outcome = yield call
        sent += 1
        try:
            reply = answered(call, outcome)
            if not 300 <= reply.status < 400:
                return read(call, reply)
            redirects += 1
            call = redirected(call, reply, redirects)
            continue
        except errors.CohereDatasetsError as error:
            error.tries = sent
            unknown = None if call.repeatable else _unknown_fate(outcome, error)
            if unknown is not None:
                raise unknown from error
            limited = isinstance(error, errors.CohereRateLimitError)
            most = policy.max_tries if tries is None or limited else tries
            too_long = not limited and (error.retry_after or 0.0) > patience
            # A web page with 404 may pass, but not within seconds.
            if error.permanent or too_long or sent - redirects >= most or error.status == 404:
                raise
            delay = _delay(error, sent - redirects, policy, uniform)
        yield Pause(delay)


def answered(call: Call, outcome: object) -> Reply:
    """Return the reply if it is a success or a redirect, and raise what it means if not."""
    if isinstance(outcome, TransportFailure):
        raise errors.CohereTransportError(
            f"Could not {call.operation}: {call.method} {call.path}: {outcome.reason}.", **about(call)
        )
    if not isinstance(outcome, Reply):
        raise TypeError(f"a driver must answer a call with a reply or a failure, not {outcome!r:.60}")
    if not 200 <= outcome.status < 400:
        raise error_for(call, outcome)
    return outcome


def error_for(call: Call, reply: Reply) -> errors.CohereApiError:
    """Return the error that a reply's status means. The status decides; the body only explains."""
    error_id, message = _explanation(reply)
    listing = call.path == "/v1/datasets" and call.method == "GET"
    kind, what = _kind(reply.status, _NAMES.sub("", message), listing=listing)
    if kind is errors.CohereDatasetNotFoundError and _is_web_page(reply):
        # The API answers with JSON. A gateway without its backend, or another server, does not know what is there.
        kind, what = errors.CohereUnexpectedAnswerError, "A web page came instead of the API's answer."
    subject = f"the dataset {call.dataset_id!r}" if call.dataset_id else "it"
    sentence = what.format(subject=subject, operation=call.operation)
    said = f": {message.rstrip('.')}." if message else "."
    return kind(
        f"{sentence} {call.method} {call.path} answered {reply.status}{said}",
        **about(call, reply),
        error_id=error_id,
        retry_after=retry_after(reply.headers, reply.received_at),
    )


def _is_web_page(reply: Reply) -> bool:
    # Where the body is lost, its type has to do.
    return bool(_WEB_PAGE.match(reply.body)) or (not reply.body and "html" in reply.headers.get("content-type", ""))


def _kind(status: int, message: str, *, listing: bool) -> tuple[type[errors.CohereApiError], str]:
    if status in {401, 498}:
        return errors.CohereAuthenticationError, "Cohere refuses the API key."
    if status == 402:
        return errors.CoherePermissionError, "Cohere asks for payment before it would {operation}."
    if status == 403:
        return errors.CoherePermissionError, "The API key may not {operation}."
    if status == 404:
        return errors.CohereDatasetNotFoundError, "Cohere does not know {subject}."
    if listing and (status == 413 or (status in {400, 422} and _LIMIT.search(message))):
        return errors.CoherePageTooLargeError, "The page of the list is too large."
    if status == 429:
        if listing and _TOO_LARGE.search(message):
            return errors.CoherePageTooLargeError, "The page of the list is too large."
        if _MONTH.search(message):
            return errors.CohereQuotaError, "The monthly quota of the API key is used up."
        return errors.CohereRateLimitError, "Too many requests."
    # An answer below 200 is not the last word, but it is the last that came.
    if status < 200 or status in {408, 499} or (status >= 500 and status != 501):
        return errors.CohereServerError, "Cohere could not {operation} just now."
    return errors.CohereInvalidRequestError, "Cohere refuses to {operation}."


def _explanation(reply: Reply) -> tuple[str | None, str]:
    """Return the server's error id and its message, cut, on one line."""
    text, error_id = reply.body[: 16 * _MAX_MESSAGE].decode("utf-8-sig", "replace"), None
    try:
        value = json.loads(reply.body.decode("utf-8-sig"))
    except (ValueError, RecursionError):
        # A web page explains nothing to a person who reads a log. In UTF-16, a key was not found and taken out.
        if "<" in text[:200] or "\0" in text:
            text = ""
    else:
        if isinstance(value, dict):
            error_id = shareable(value["id"], 100) if isinstance(value.get("id"), str) else None
            texts = [said for key in ("message", "error", "detail") if isinstance(said := value.get(key), str) and said]
            # What explains may also be an object or a list, as FastAPI's. Written anew, no escape hides a URL in it.
            text = texts[0] if texts else json.dumps(value, ensure_ascii=False) if any(value.values()) else ""
    return error_id, shareable(text, _MAX_MESSAGE)  # What a server could not fetch, it names by its signed URL.


def retry_after(headers: Mapping[str, str], received_at: float) -> float | None:
    """Return the seconds that a server asks to wait, or ``None``.

    ``retry-after-ms`` wins over ``Retry-After``, which may be seconds, with or without a fraction, or an HTTP date;
    a date is measured against the server's own ``Date``, so a wrong clock on either side does not matter. Of several
    numbers, as when the header is sent twice, the first counts.

    :param headers: the reply's headers, names in lower case.
    :param received_at: seconds since 1970, for a server that sends no ``Date``.
    """
    for name, unit in (("retry-after-ms", 1000.0), ("retry-after", 1.0)):
        value = headers.get(name, "").partition(",")[0].strip()
        if re.fullmatch(r"\d{1,300}(\.\d{0,9})?", value):  # More would be infinite.
            return float(value) / unit
    until = http_date(headers.get("retry-after"))
    if until is None:
        return None
    now = http_date(headers.get("date"))
    return max(0.0, until.timestamp() - (now.timestamp() if now else received_at))


def http_date(value: str | None) -> datetime | None:
    """Return the time in a header, ``None`` if there is none."""
    try:
        moment = parsedate_to_datetime(value) if value else None
    except (ValueError, OverflowError):
        return None
    # HTTP dates are GMT, also those that do not say so.
    return moment and (moment if moment.tzinfo else moment.replace(tzinfo=UTC))


def redirected(call: Call, reply: Reply, count: int) -> Call:
    """Return the call that a redirect asks for: only below the same base URL, and never an upload.

    :param call: the call that was redirected.
    :param reply: the redirect.
    :param count: redirects so far, this one included.
    :raises CohereRedirectError: if it is not followed.
    """
    location = reply.headers.get("location", "")
    base = reply.url[: len(reply.url) - len(call.target)]
    try:
        target = urljoin(reply.url, location)
        same = _origin(target) == _origin(base)
    except ValueError:
        target, same = "", False
    parts = urlsplit(target) if same else urlsplit("")
    prefix = urlsplit(base).path
    if call.method == "GET":
        followed = reply.status in {301, 302, 303, 307, 308}
    else:  # 301 to 303 would turn a DELETE into a GET.
        followed = call.repeatable and reply.status in {307, 308}
    # A redirect that says nothing of the query means the path; one that drops part of it would read something else.
    query = tuple(parse_qsl(parts.query, keep_blank_values=True)) or call.query
    followed = followed and {name for name, _ in call.query} <= {name for name, _ in query}
    if not (location and same and followed and count <= _MAX_REDIRECTS and parts.path.startswith(f"{prefix}/")):
        where = "to another place" if not same else "in a loop" if count > _MAX_REDIRECTS else "in a way"
        raise errors.CohereRedirectError(
            f"Could not {call.operation}: {call.method} {call.path} was redirected {where} that is not followed "
            f"(status {reply.status}, to {_shown(target) if location else 'nowhere'}). "
            "Check the base URL in the connection's host.",
            **about(call, reply),
        )
    return replace(call, path=parts.path.removeprefix(prefix), query=query)


def _origin(url: str) -> tuple[str, str | None, int | None]:
    parts = urlsplit(url)
    return parts.scheme, parts.hostname, parts.port or {"http": 80, "https": 443}.get(parts.scheme)


def _shown(url: str) -> str:
    """Return scheme and host of a URL: its path and query may hold secrets."""
    if not url:
        return "something that is no URL"
    parts = urlsplit(url)
    return printable(f"{parts.scheme}://{parts.netloc.rpartition('@')[2]}")[:100]


def _unknown_fate(outcome: object, error: errors.CohereDatasetsError) -> Exception | None:
    """Return an error if nobody can tell whether a call that must not be repeated took effect."""
    if isinstance(error, errors.CohereRateLimitError) or error.permanent:
        return None  # The server refused it.
    if isinstance(outcome, TransportFailure) and not outcome.sent:
        return None  # It never reached the server.
    unknown = errors.CohereUploadUnknownError(
        f"{error.message} It is not known whether this took effect, so it was not repeated."
    )
    unknown.__dict__.update({**error.__dict__, "message": unknown.message})
    return unknown


def _delay(
    error: errors.CohereDatasetsError,
    tries: int,
    policy: RequestPolicy,
    uniform: Callable[[float, float], float],
) -> float:
    """Return the seconds before the next try: what the server asks for, plus full jitter of our own.

    :raises CohereDatasetsError: the same error, if the server asks for more than the policy allows.
    """
    ceiling = min(policy.backoff_max, policy.backoff_base * 2.0 ** min(tries - 1, 30))
    jitter = uniform(0.0, ceiling)
    if error.retry_after is None:
        return jitter
    if error.retry_after > policy.max_retry_after:
        error.message = (
            f"{error.message.rstrip('.')}. The server asked to wait {error.retry_after:g} s, more than the "
            f"{policy.max_retry_after:g} s of max_retry_after."
        )
        raise error
    # A little jitter on top keeps many tasks that were told the same second from coming back together.
    return error.retry_after + min(jitter, 1.0)
