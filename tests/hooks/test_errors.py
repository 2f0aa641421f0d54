"""Core's errors as Airflow sees them."""

from __future__ import annotations

import copy
import pickle
import traceback
from typing import Any

import pytest
from airflow.providers.common.compat.sdk import AirflowException, AirflowFailException

from airflow_provider_cohere_datasets.core import errors
from airflow_provider_cohere_datasets.core.errors import CohereDatasetsError
from airflow_provider_cohere_datasets.hooks.datasets import CohereDatasetsHook
from airflow_provider_cohere_datasets.hooks.errors import airflow_errors, for_airflow
from tests.adversary import (
    AdversarialServer,
    Answer,
    Close,
    CutBody,
    Fault,
    Reset,
    broken_json,
    control_message,
    echo_authorization,
    empty_502,
    error,
    html,
    make_dataset,
    not_gzip,
    per_minute,
    per_month,
    redirect,
    truncated_gzip,
)
from tests.hooks.conftest import KEY, Connect

KINDS = [getattr(errors, name) for name in errors.__all__]

PERMANENT: list[tuple[Fault, str]] = [
    (error(400, "bad request"), "CohereInvalidRequestError"),
    (error(401, "invalid api token"), "CohereAuthenticationError"),
    (error(402, "pay first"), "CoherePermissionError"),
    (error(403, "forbidden"), "CoherePermissionError"),
    (error(404, "not found"), "CohereDatasetNotFoundError"),
    (error(422, "unprocessable"), "CohereInvalidRequestError"),
    (error(498, "deny-listed"), "CohereAuthenticationError"),
    (error(501, "not there"), "CohereInvalidRequestError"),
    (per_month(), "CohereQuotaError"),
    (redirect("https://elsewhere.invalid/"), "CohereRedirectError"),
    (html(403), "CoherePermissionError"),
]
TRANSIENT: list[tuple[Fault, str]] = [
    (error(408), "CohereServerError"),
    (per_minute(), "CohereRateLimitError"),
    (error(499), "CohereServerError"),
    (error(500), "CohereServerError"),
    (empty_502(), "CohereServerError"),
    (error(503), "CohereServerError"),
    (error(504), "CohereServerError"),
    (Close(), "CohereTransportError"),
    (Reset(), "CohereTransportError"),
    (CutBody(), "CohereTransportError"),
    (not_gzip(), "CohereTransportError"),
    (truncated_gzip(), "CohereTransportError"),
    (broken_json(), "CohereUnexpectedAnswerError"),
    (html(), "CohereUnexpectedAnswerError"),
    (Answer(json={"dataset": None}), "CohereUnexpectedAnswerError"),
    (Answer(json={"dataset": {"id": "another"}}), "CohereUnexpectedAnswerError"),
]


def raised(dataset_id: str = "the-dataset") -> CohereDatasetsError:
    """Raise an error on a hook whose connection has a telling name; return it as the user would catch it."""
    hook = CohereDatasetsHook("the_connection", request_policy={"max_tries": 2})
    with pytest.raises(CohereDatasetsError) as caught:
        hook.get_dataset(dataset_id)
    return caught.value


@pytest.fixture(autouse=True)
def telling_name(server: AdversarialServer, connect: Connect) -> None:
    connect("the_connection", host=server.url)
    server.model.add(make_dataset(9, id="the-dataset"))


@pytest.mark.parametrize(("fault", "kind"), PERMANENT)
def test_a_permanent_error_costs_one_request_and_no_retry(server: AdversarialServer, fault: Fault, kind: str) -> None:
    server.script("GET", None, [fault], repeat=True)
    found = raised()
    assert isinstance(found, AirflowFailException)
    assert isinstance(found, getattr(errors, kind))
    assert "Gave up" not in str(found)
    assert server.count() == 1


@pytest.mark.parametrize(("fault", "kind"), TRANSIENT)
def test_a_transient_error_is_tried_again_and_left_to_airflow(
    server: AdversarialServer, fault: Fault, kind: str
) -> None:
    server.script("GET", None, [fault], repeat=True)
    found = raised()
    assert isinstance(found, AirflowException)
    assert not isinstance(found, AirflowFailException)
    assert isinstance(found, getattr(errors, kind))
    assert "Gave up after 2 tries" in str(found)
    assert server.count() == 2


@pytest.mark.parametrize(("fault", "kind"), PERMANENT + TRANSIENT)
def test_a_message_is_one_line_that_names_connection_and_call(
    server: AdversarialServer, fault: Fault, kind: str
) -> None:
    server.script("GET", None, [fault], repeat=True)
    found = raised()
    assert found.dataset_id == "the-dataset"
    assert "the-dataset" in str(found)
    assert "GET /v1/datasets/" in str(found)
    assert str(found).endswith("(connection 'the_connection')")
    assert "\n" not in str(found)
    assert "<" not in str(found)


@pytest.mark.parametrize("fault", [echo_authorization(401), echo_authorization(503), control_message(), Reset()])
def test_no_traceback_shows_the_key(server: AdversarialServer, fault: Fault) -> None:
    server.script("GET", None, [fault], repeat=True)
    found = raised()
    text = "".join(traceback.format_exception(found))
    assert KEY not in text
    assert "During handling" not in text
    assert "\x1b" not in str(found)
    assert found.__suppress_context__


@pytest.mark.parametrize("kind", KINDS)
def test_every_kind_is_airflows_kind_too(kind: type[CohereDatasetsError]) -> None:
    twin = for_airflow(kind("It broke.", dataset_id="x", status=418, retry_after=3.0), "mine")
    assert isinstance(twin, kind)
    assert isinstance(twin, AirflowException)
    assert isinstance(twin, AirflowFailException) is kind.permanent
    assert type(twin).__name__ == kind.__name__
    assert str(twin) == "It broke. (connection 'mine')"
    assert for_airflow(twin, "another") is twin
    assert type(for_airflow(kind("Again."))) is type(twin)


@pytest.mark.parametrize("again", [copy.copy, copy.deepcopy, lambda error: pickle.loads(pickle.dumps(error))])
@pytest.mark.parametrize("kind", KINDS)
def test_an_error_survives_being_copied(kind: type[CohereDatasetsError], again: Any) -> None:
    twin = for_airflow(kind("It broke.", dataset_id="x", method="GET", retry_after=3.0, error_id="e"), "mine")
    twin.tries = 4
    other = again(twin)
    assert type(other) is type(twin)
    assert str(other) == str(twin) == "It broke. Gave up after 4 tries. (connection 'mine')"
    assert vars(other) == vars(twin)
    assert other.details() == twin.details()


def test_a_cause_is_kept_and_other_errors_pass() -> None:
    cause = OSError("disk")
    with pytest.raises(CohereDatasetsError) as caught, airflow_errors("mine"):
        raise errors.CohereTransportError("It broke.") from cause
    assert caught.value.__cause__ is cause
    with pytest.raises(KeyError), airflow_errors("mine"):
        raise KeyError("not ours")


def test_bad_input_is_a_value_error_for_whoever_expects_one() -> None:
    with pytest.raises(ValueError, match="dataset_id is empty"):
        CohereDatasetsHook().get_dataset("")
