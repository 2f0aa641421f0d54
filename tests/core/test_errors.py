"""Errors know whether trying again helps, and survive the way through Airflow's database."""

from __future__ import annotations

import json
import pickle

import pytest

from airflow_provider_cohere_datasets.core import errors
from airflow_provider_cohere_datasets.core.errors import CohereDatasetsError, error_from_details

CLASSES = [getattr(errors, name) for name in errors.__all__]
TRANSIENT = {
    errors.CohereConnectionError,
    errors.CohereRateLimitError,
    errors.CohereServerError,
    errors.CohereUnexpectedAnswerError,
    errors.CohereTransportError,
    errors.CohereListingError,
    errors.CohereUploadUnsettledError,
    errors.CohereValidationTimeoutError,
    errors.CohereTaskStoppedError,
}


def full(kind: type[CohereDatasetsError]) -> CohereDatasetsError:
    error = kind(
        "Something went wrong.",
        dataset_id="reviews-abc123",
        status=429,
        method="GET",
        path="/v1/datasets/reviews-abc123",
        error_id="e-1",
        retry_after=1.5,
    )
    error.tries = 3
    return error


def test_every_error_is_listed() -> None:
    found = {value for value in vars(errors).values() if isinstance(value, type) and issubclass(value, Exception)}
    assert found == set(CLASSES)


@pytest.mark.parametrize("kind", CLASSES)
def test_errors_survive_json(kind: type[CohereDatasetsError]) -> None:
    for error in (full(kind), kind("Short.")):
        twin = error_from_details(json.loads(json.dumps(error.details())))
        assert type(twin) is kind
        assert twin.__dict__ == error.__dict__
        assert str(twin) == str(error)
        assert twin.details() == error.details()


@pytest.mark.parametrize("kind", CLASSES)
def test_errors_survive_pickle(kind: type[CohereDatasetsError]) -> None:
    error = full(kind)
    twin = pickle.loads(pickle.dumps(error))
    assert (type(twin), twin.__dict__, str(twin)) == (kind, error.__dict__, str(error))


@pytest.mark.parametrize("kind", CLASSES)
def test_what_is_permanent(kind: type[CohereDatasetsError]) -> None:
    assert kind.permanent is (kind not in TRANSIENT)
    assert issubclass(kind, CohereDatasetsError)


@pytest.mark.parametrize("kind", ["", "Exception", "error_from_details", "os", None, ["CohereApiError"]])
def test_an_unknown_type_gives_the_base(kind: object) -> None:
    error = error_from_details({"type": kind, "message": "m", "more": 1, "tries": "many"})
    assert type(error) is CohereDatasetsError
    assert (str(error), error.tries) == ("m", 0)


def test_what_a_person_reads() -> None:
    error = full(errors.CohereRateLimitError)
    assert str(error) == "Something went wrong. Gave up after 3 tries."
    error.conn_id = "my_conn"
    assert str(error) == "Something went wrong. Gave up after 3 tries. (connection 'my_conn')"
    error.tries = 1
    assert str(error) == "Something went wrong. (connection 'my_conn')"
    error.tries = 2
    assert str(error) == "Something went wrong. Gave up after 2 tries. (connection 'my_conn')"


def test_an_error_knows_what_it_is_about() -> None:
    error = full(errors.CohereRateLimitError)
    assert error.args == ("Something went wrong.",)
    assert error.details() == {
        "type": "CohereRateLimitError",
        "message": "Something went wrong.",
        "dataset_id": "reviews-abc123",
        "status": 429,
        "method": "GET",
        "path": "/v1/datasets/reviews-abc123",
        "error_id": "e-1",
        "retry_after": 1.5,
        "tries": 3,
    }
    short = CohereDatasetsError("Short.")
    assert (short.tries, short.conn_id) == (0, None)


def test_bad_input_is_a_value_error() -> None:
    assert isinstance(errors.CohereInputError("x"), ValueError)
