"""The endpoints: one function each builds the call, one reads the reply. Nothing here sends anything."""

from __future__ import annotations

import json
from collections.abc import Generator, Mapping
from dataclasses import dataclass, field
from typing import IO, TYPE_CHECKING, Any, TypeAlias, TypeVar
from urllib.parse import quote, urlencode

from airflow_provider_cohere_datasets.core.errors import CohereInputError, CohereUnexpectedAnswerError
from airflow_provider_cohere_datasets.core.selection import checked_id
from airflow_provider_cohere_datasets.core.untrusted import INT64, is_doubtful, printable, storable

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from airflow_provider_cohere_datasets.core.filters import ListFilters
    from airflow_provider_cohere_datasets.core.models import Dataset

T = TypeVar("T")

#: What an answer has in it only if something went wrong, whatever its status says.
_ERRORS = frozenset({"message", "error", "errors", "detail"})


@dataclass(frozen=True, slots=True)
class Upload:
    """One file of a multipart upload.

    :param field: the form field, ``data`` or ``eval_data``.
    :param filename: the name that Cohere sees; its ending tells the format.
    :param open: opens the file for reading bytes, anew for every try.
    :param content_type: the media type.
    :param size: bytes to be sent, known before the request; 0 if nobody looked.
    :param fingerprint: tells the same content again in another process, without credentials; empty if nobody looked.
    """

    field: str
    filename: str
    open: Callable[[], IO[bytes]]
    content_type: str = "application/octet-stream"
    size: int = 0
    fingerprint: str = ""


@dataclass(frozen=True, slots=True)
class Call:
    """A request that a flow asks its driver to send.

    :param operation: what it does, in words, for errors.
    :param method: the HTTP method.
    :param path: the path below the base URL, already encoded.
    :param query: the query parameters, in order.
    :param dataset_id: the dataset it is about, if it is about one.
    :param repeatable: whether sending it twice does no harm.
    :param uploads: the files to send.
    :param ahead: what will probably be asked for next; a driver may send these already while this one is under way.
    """

    operation: str
    method: str
    path: str
    query: tuple[tuple[str, str], ...] = ()
    dataset_id: str | None = None
    repeatable: bool = True
    uploads: tuple[Upload, ...] = ()
    ahead: tuple[Call, ...] = field(default=(), compare=False)

    @property
    def target(self) -> str:
        """The path with the query."""
        return f"{self.path}?{urlencode(self.query, quote_via=quote, safe='')}" if self.query else self.path


@dataclass(frozen=True, slots=True)
class Reply:
    """What the server answered.

    :param url: the whole URL that was asked.
    :param status: the HTTP status.
    :param headers: the headers, names in lower case.
    :param body: the decoded body; the API key in it, if a server echoes it, is replaced by asterisks. In a success, a
        key below 16 characters is not: it may be a word.
    :param received_at: seconds since 1970 when it came.
    :param decoded: what its reader made of the body before the answer was asked for.
    """

    url: str
    status: int
    headers: Mapping[str, str] = field(default_factory=dict)
    body: bytes = b""
    received_at: float = 0.0
    decoded: Any = None


@dataclass(frozen=True, slots=True)
class TransportFailure:
    """No complete answer came.

    :param reason: what happened, without URL and without key.
    :param sent: whether the server may have received the request.
    """

    reason: str
    sent: bool = True


@dataclass(frozen=True, slots=True)
class Pause:
    """A wait that a flow asks its driver for, in seconds.

    The driver sends back what its monotonic clock says afterwards, so a pause of 0 seconds tells the time.
    """

    seconds: float


#: What a driver sends into a flow: the outcome of a call, the time after a pause, or nothing after a page.
Outcome: TypeAlias = Reply | TransportFailure | float | None
#: An operation: it yields what it needs and is sent what came of it. See the drivers in ``transport``.
Flow: TypeAlias = Generator[Call | Pause, Outcome, T]


def _one(method: str, operation: str, dataset_id: object) -> Call:
    checked = checked_id(dataset_id)
    return Call(operation, method, f"/v1/datasets/{quote(checked, safe='')}", dataset_id=checked)


def list_datasets(filters: ListFilters, *, limit: int, offset: int, ahead: Sequence[Call] = ()) -> Call:
    """``GET /v1/datasets``: one page of the list."""
    window = [("limit", str(limit)), ("offset", str(offset))]
    return Call("list datasets", "GET", "/v1/datasets", (*filters.query(), *window), ahead=tuple(ahead))


def get_dataset(dataset_id: str) -> Call:
    """``GET /v1/datasets/{id}``: one dataset."""
    return _one("GET", "get the dataset", dataset_id)


def delete_dataset(dataset_id: str) -> Call:
    """``DELETE /v1/datasets/{id}``: delete one dataset. Twice does no harm."""
    return _one("DELETE", "delete the dataset", dataset_id)


def get_usage() -> Call:
    """``GET /v1/datasets/usage``: bytes that the organisation stores."""
    return Call("get the usage", "GET", "/v1/datasets/usage")


def check_api_key() -> Call:
    """``POST /v1/check-api-key``: costs nothing and changes nothing."""
    return Call("check the API key", "POST", "/v1/check-api-key")


def create_dataset(query: Sequence[tuple[str, str]], uploads: Sequence[Upload]) -> Call:
    """``POST /v1/datasets``: upload a dataset. Sending it twice makes two datasets, so it is never repeated."""
    return Call("create the dataset", "POST", "/v1/datasets", tuple(query), repeatable=False, uploads=tuple(uploads))


def about(call: Call, reply: Reply | None = None) -> dict[str, Any]:
    """Return what an error knows of the call that failed, and of its answer."""
    status = None if reply is None else reply.status
    return {"dataset_id": call.dataset_id, "status": status, "method": call.method, "path": call.path}


def unexpected(call: Call, reply: Reply, what: str) -> CohereUnexpectedAnswerError:
    """Return the error for an answer that is not what the endpoint sends."""
    return CohereUnexpectedAnswerError(
        f"Could not {call.operation}: {call.method} {call.path} answered {reply.status} with {what}.",
        **about(call, reply),
    )


def read_object(call: Call, reply: Reply) -> dict[str, Any]:
    """Read a JSON object, whatever the content type says; a byte order mark is tolerated.

    What Airflow could not store is replaced, see :func:`~.untrusted.storable`.

    :raises CohereUnexpectedAnswerError: if it is something else.
    """
    try:
        value = json.loads(reply.body.decode("utf-8-sig"))
        if is_doubtful(reply.body):
            value = storable(value)
    except RecursionError:
        raise unexpected(call, reply, "JSON that is nested too deeply") from None
    except ValueError:
        kind = printable(reply.headers.get("content-type", "").partition(";")[0]).strip()[:60] or "no content type"
        what = f"{len(reply.body)} bytes that are not JSON ({kind})" if reply.body else "an empty body"
        raise unexpected(call, reply, what) from None
    if not isinstance(value, dict):
        raise unexpected(call, reply, f"JSON that is not an object but a {type(value).__name__}")
    return value


def _says_error(answer: Mapping[str, Any]) -> bool:
    return any(answer.get(name) for name in _ERRORS)


def read_result(call: Call, reply: Reply, key: str) -> Any:
    """Read one value of an answer that may leave it out when it is zero or empty; ``None`` if it does.

    :raises CohereUnexpectedAnswerError: if it says something else instead, as an error that came with a success status.
    """
    value = read_object(call, reply)
    found = value.get(key)
    # Numbers may go with a list that is left out because it is empty, and ``meta`` is about the API itself.
    others = [name for name, each in value.items() if each and isinstance(each, str | list | dict) and name != "meta"]
    if not found and (_says_error(value) or (key not in value and others)):
        said = printable(", ".join(repr(name) for name, each in value.items() if each))[:100]
        raise unexpected(call, reply, f"{said} instead of {key!r}")
    return found


def read_rows(call: Call, reply: Reply) -> list[Any]:
    """Read the answer to :func:`list_datasets`; an empty list may be ``[]``, ``null`` or left out.

    :raises CohereUnexpectedAnswerError: if it is not a list.
    """
    rows = read_result(call, reply, "datasets")
    if rows is not None and not isinstance(rows, list):
        raise unexpected(call, reply, "something else than a list of datasets")
    return rows or []


def read_dataset(call: Call, reply: Reply) -> Dataset:
    """Read the answer to :func:`get_dataset`, and refuse another dataset than the one asked for."""
    from pydantic import ValidationError

    from airflow_provider_cohere_datasets.core.models import Dataset

    value = read_object(call, reply).get("dataset")
    if not isinstance(value, dict):
        raise unexpected(call, reply, "no dataset in it")
    try:
        dataset = Dataset.model_validate(value)
    except ValidationError:
        raise unexpected(call, reply, "a dataset without a readable id or status") from None
    if dataset.id != call.dataset_id:
        raise unexpected(call, reply, f"another dataset, {dataset.id[:60]!r}")
    return dataset


def read_usage(call: Call, reply: Reply) -> int:
    """Read the answer to :func:`get_usage`, in bytes; zero is left out by the server."""
    value = read_result(call, reply, "organization_usage")
    try:
        usage = int(value or 0)
        if not -INT64 <= usage < INT64:
            raise OverflowError
        return usage
    except (TypeError, ValueError, OverflowError):
        raise unexpected(call, reply, "a usage that is not a number") from None


def read_created(call: Call, reply: Reply) -> str:
    """Read the answer to :func:`create_dataset`: the id."""
    value = read_object(call, reply)
    if _says_error(value):  # Errors have an id, too.
        raise unexpected(call, reply, "an error")
    try:
        return checked_id(value.get("id"), "id")
    except CohereInputError:
        raise unexpected(call, reply, "no usable dataset id in it") from None


def read_deleted(call: Call, reply: Reply) -> None:
    """Read the answer to :func:`delete_dataset`: an empty object, or nothing."""
    if reply.body.strip() and _says_error(read_object(call, reply)):
        raise unexpected(call, reply, "an error")


def read_key_check(call: Call, reply: Reply) -> dict[str, Any]:
    """Read the answer to :func:`check_api_key`."""
    value = read_object(call, reply)
    if not isinstance(value.get("valid"), bool):
        raise unexpected(call, reply, "no word on whether the key is valid")
    return value
