"""One hierarchy of errors, keyed on what went wrong and on whether trying again can help."""

from __future__ import annotations

from typing import TYPE_CHECKING, ClassVar

if TYPE_CHECKING:
    from collections.abc import Mapping

__all__ = [
    "CohereApiError",
    "CohereAuthenticationError",
    "CohereConnectionError",
    "CohereDatasetFailedError",
    "CohereDatasetNotFoundError",
    "CohereDatasetSkippedError",
    "CohereDatasetsError",
    "CohereEventError",
    "CohereGateError",
    "CohereInputError",
    "CohereInvalidRequestError",
    "CohereListingError",
    "CoherePageTooLargeError",
    "CoherePermissionError",
    "CohereQuotaError",
    "CohereRateLimitError",
    "CohereRedirectError",
    "CohereServerError",
    "CohereTaskStoppedError",
    "CohereTransportError",
    "CohereUnexpectedAnswerError",
    "CohereUploadAmbiguousError",
    "CohereUploadUnknownError",
    "CohereUploadUnsettledError",
    "CohereUsageError",
    "CohereValidationTimeoutError",
]


#: What an error may know besides its sentence.
_FACTS = ("dataset_id", "status", "method", "path", "error_id", "retry_after")


class CohereDatasetsError(Exception):
    """The base of every error of this provider.

    :param message: one sentence that says what went wrong.
    :param dataset_id: the dataset it is about.
    :param status: the HTTP status of the answer, ``None`` if there was none.
    :param method: the HTTP method of the request.
    :param path: the path of the request, without its query.
    :param error_id: the id that the server gave to the error.
    :param retry_after: seconds that the server asked to wait.
    """

    #: Whether trying again is pointless. A request that met a permanent error is not sent again, and Airflow's retries
    #: end.
    permanent: ClassVar[bool] = True

    def __init__(
        self,
        message: str,
        *,
        dataset_id: str | None = None,
        status: int | None = None,
        method: str | None = None,
        path: str | None = None,
        error_id: str | None = None,
        retry_after: float | None = None,
    ) -> None:
        super().__init__(message)
        self.message = message
        self.dataset_id = dataset_id
        self.status = status
        self.method = method
        self.path = path
        self.error_id = error_id
        self.retry_after = retry_after
        #: Requests made for the call that failed; 0 if it never came to one.
        self.tries = 0
        #: The Airflow connection, filled in where one is known.
        self.conn_id: str | None = None

    def __str__(self) -> str:
        """Return the sentence, with the number of tries and the connection when they matter."""
        text = self.message
        if self.tries > 1:
            text = f"{text} Gave up after {self.tries} tries."
        if self.conn_id:
            text = f"{text} (connection {self.conn_id!r})"
        return text

    def details(self) -> dict[str, object]:
        """Return what is needed to build the same error in another process, as small JSON."""
        facts = {name: getattr(self, name) for name in _FACTS}
        return {"type": type(self).__name__, "message": self.message, **facts, "tries": self.tries}


class CohereInputError(CohereDatasetsError, ValueError):
    """An argument, a connection or a file is not usable; found before any request, where that is possible."""


class CohereApiError(CohereDatasetsError):
    """The API answered with an error."""


class CohereAuthenticationError(CohereApiError):
    """The API key is missing, wrong or deny-listed (401, 498)."""


class CoherePermissionError(CohereApiError):
    """The key may not do this (402, 403)."""


class CohereDatasetNotFoundError(CohereApiError):
    """The dataset does not exist, or not any more (404)."""


class CohereInvalidRequestError(CohereApiError):
    """The API refuses the request as it is (400, 422, 501 and other 4xx)."""


class CoherePageTooLargeError(CohereInvalidRequestError):
    """A page of the list is too large for the server; a smaller one works."""


class CohereQuotaError(CohereApiError):
    """The monthly quota of calls is used up (429 that names the month); waiting does not help."""


class CohereRateLimitError(CohereApiError):
    """Too many requests a minute (429)."""

    permanent = False


class CohereServerError(CohereApiError):
    """The server failed or was too slow (408, 499, 5xx except 501, and any status below 200)."""

    permanent = False


class CohereUnexpectedAnswerError(CohereApiError):
    """An answer that is not the API's: a success with another body, as a proxy or a cut body gives, or a web page."""

    permanent = False


class CohereRedirectError(CohereApiError):
    """A redirect that is not followed: to another origin, of an upload, or in a loop."""


class CohereTransportError(CohereDatasetsError):
    """No complete answer came: the connection failed, broke off or took too long."""

    permanent = False


class CohereConnectionError(CohereDatasetsError):
    """The connection in Airflow cannot be read: there is none, or what stores it does not answer just now."""

    permanent = False


class CohereUploadUnknownError(CohereDatasetsError):
    """An upload broke off where nobody can tell whether the dataset was created.

    It is permanent, because another try by Airflow would repeat the upload blindly and might make a second dataset.
    """


class CohereUploadAmbiguousError(CohereUploadUnknownError):
    """Several datasets may be what an upload became, or one whose name proves nothing: a person has to look."""


class CohereUploadUnsettledError(CohereUploadUnknownError):
    """The same in an operator, whose next try looks for the dataset before it uploads again."""

    permanent = False


class CohereListingError(CohereDatasetsError):
    """The list of datasets could not be proved complete."""

    permanent = False


class CohereEventError(CohereDatasetsError):
    """A trigger's event is not one that this version of the provider knows."""


class CohereDatasetFailedError(CohereDatasetsError):
    """The validation of a dataset failed."""


class CohereDatasetSkippedError(CohereDatasetsError):
    """The validation of a dataset was skipped."""


class CohereValidationTimeoutError(CohereDatasetsError):
    """A dataset was not validated in time."""

    permanent = False


class CohereGateError(CohereDatasetsError):
    """A dataset does not meet the requirements of a gate."""


class CohereUsageError(CohereDatasetsError):
    """The organisation stores more than a task allows."""


class CohereTaskStoppedError(CohereDatasetsError):
    """The task was told to stop while it exported, deleted, uploaded, or waited for what it had uploaded."""

    permanent = False


def error_from_details(details: Mapping[str, object]) -> CohereDatasetsError:
    """Build the error that :meth:`CohereDatasetsError.details` described.

    :param details: the description; unknown types and keys give the base class and are left out.
    """
    kinds = {name: globals()[name] for name in __all__}
    kind = kinds.get(str(details.get("type")), CohereDatasetsError)
    error: CohereDatasetsError = kind(str(details.get("message")), **{name: details.get(name) for name in _FACTS})
    tries = details.get("tries")
    error.tries = tries if isinstance(tries, int) else 0
    return error
