"""What an upload asks before, refuses and tells others."""

from __future__ import annotations

from collections.abc import Callable
from datetime import timedelta
from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest
from airflow.providers.common.compat.sdk import AirflowFailException, Asset

from airflow_provider_cohere_datasets.core import creation
from airflow_provider_cohere_datasets.core.errors import (
    CohereAuthenticationError,
    CohereDatasetFailedError,
    CohereDatasetsError,
    CohereInputError,
    CohereInvalidRequestError,
    CoherePermissionError,
    CohereQuotaError,
)
from airflow_provider_cohere_datasets.core.limits import QUOTA
from airflow_provider_cohere_datasets.core.wait_event import WaitEvent
from airflow_provider_cohere_datasets.operators.datasets import CohereCreateDatasetOperator
from tests.adversary import AdversarialServer, Answer, Close, Fault, Hang, error, html, per_month
from tests.hooks.conftest import Connect
from tests.operators.creating import USAGE, WAIT, Task, deferred_by, made, policy, validating
from tests.versions import OutletEventAccessors

# -- Room -------------------------------------------------------------------------------------------------------------


def test_what_finds_no_room_is_not_sent(server: AdversarialServer, data: Path) -> None:
    server.model.organization_usage = QUOTA - 10
    size = data.stat().st_size
    with pytest.raises(CohereInputError) as caught:
        Task(data).run()
    assert str(caught.value) == (
        f"The upload has {size} bytes, but only 10 are left of the 10000000000 bytes that the organisation may store. "
        "(connection 'cohere_default')"
    )
    assert isinstance(caught.value, AirflowFailException)
    assert server.count("POST") == 0
    server.model.organization_usage = QUOTA + 1
    with pytest.raises(CohereInputError, match="only 0 are left"):
        Task(data).run()
    server.model.organization_usage = QUOTA - size
    Task(data).run()
    assert server.count("POST") == 1


@pytest.mark.parametrize("fault", [error(503), html(), Close(), error(404), Hang(), Answer(json={"error": "no"})])
def test_a_usage_that_is_not_known_is_a_warning(
    server: AdversarialServer, data: Path, heard: Callable[[], str], fault: Fault
) -> None:
    server.script("GET", USAGE, [fault])
    assert [Task(data, request_policy=policy(fault)).run()["id"]] == made(server)
    assert "It is not known how much the organisation stores" in heard()


@pytest.mark.parametrize(
    ("fault", "kind"),
    [
        (error(401), CohereAuthenticationError),
        (error(403), CoherePermissionError),
        (error(402), CoherePermissionError),
        (per_month(), CohereQuotaError),
    ],
)
def test_a_key_that_may_not_ask_may_not_upload(
    server: AdversarialServer, data: Path, fault: Fault, kind: type[CohereDatasetsError]
) -> None:
    server.script("GET", USAGE, [fault])
    with pytest.raises(kind):
        Task(data).run()
    assert server.count("POST") == 0


def test_who_does_not_want_to_ask_does_not(server: AdversarialServer, data: Path) -> None:
    server.model.organization_usage = QUOTA
    Task(data, check_usage=False).run()
    assert [request.method for request in server.requests] == ["POST"]


def test_an_unknown_type_is_a_warning(server: AdversarialServer, data: Path, heard: Callable[[], str]) -> None:
    operator = CohereCreateDatasetOperator(task_id="x", name="n", dataset_type="of-tomorrow", data=str(data))
    with pytest.raises(CohereInvalidRequestError):
        operator.execute({})
    assert "The dataset type 'of-tomorrow' is not documented; Cohere may refuse it." in heard()


# -- What others are told ---------------------------------------------------------------------------------------------


def test_assets_get_the_result(server: AdversarialServer, data: Path) -> None:
    asset = Asset("s3://bucket/news")
    task = Task(data, outlets=[asset])
    task.outlet_events = OutletEventAccessors()
    result = task.run()
    assert task.outlet_events[asset].extra == result


def test_the_rows_of_a_table_are_not_logged(server: AdversarialServer, heard: Callable[[], str]) -> None:
    table = pa.table({"text": ["a secret of the user"]})
    CohereCreateDatasetOperator(task_id="x", name="n", dataset_type="embed-input", data=table).execute({})
    assert f"Created dataset {made(server)[0]} from (1, 1)." in heard()
    assert "a secret" not in heard()


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        ({"skipped_as": "ignore"}, "skipped_as must be 'fail' or 'success', not 'ignore'"),
        ({"delete_on_failure": "False"}, "delete_on_failure must be True or False, not 'False'"),
        ({"delete_on_kill": 1}, "delete_on_kill must be True or False, not 1"),
        ({"check_usage": "false"}, "check_usage must be True or False, not 'false'"),
        ({"unique_name": "{{ params.unique }}"}, "unique_name must be True or False"),
        ({"reuse_on_clear": 0}, "reuse_on_clear must be True or False, not 0"),
        ({"wait_for_validation": None}, "wait_for_validation must be True or False, not None"),
        ({"deferrable": "true"}, "deferrable must be True or False, not 'true'"),
        ({"poke_interval": -1}, "poll interval must be a number of seconds"),
        ({"poke_interval": "often"}, "poll interval must be a number of seconds"),
        ({"validation_timeout": "{{ days }}"}, "validation_timeout must be a number of seconds"),
        ({"validation_timeout": timedelta(seconds=-1)}, "validation_timeout must be a number of seconds"),
        ({"validation_timeout": float("nan")}, "validation_timeout must be a number of seconds"),
        ({"validation_timeout": True}, "validation_timeout must be a number of seconds"),
    ],
)
def test_arguments_that_cannot_be(arguments: dict[str, Any], says: str) -> None:
    with pytest.raises(CohereInputError, match=says) as caught:
        Task("x.jsonl", **arguments).make()
    assert isinstance(caught.value, AirflowFailException)


def test_times_may_be_timedeltas(data: Path) -> None:
    operator = Task(data, poke_interval=timedelta(minutes=1), validation_timeout=timedelta(hours=1)).make()
    assert (operator.poke_interval, operator.validation_timeout) == (60, 3600)


def test_deferrable_is_what_airflow_is_set_to(data: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    assert Task(data).make().deferrable is False
    monkeypatch.setenv("AIRFLOW__OPERATORS__DEFAULT_DEFERRABLE", "True")
    assert Task(data).make().deferrable is True
    assert Task(data, deferrable=False).make().deferrable is False


def test_the_looks_take_seven_seconds() -> None:
    assert sum(creation._LOOKS) == 7


def test_another_connection(server: AdversarialServer, connect: Connect, data: Path, waits: list[float]) -> None:
    connect("other", host=server.url)
    validating(server, "queued", "failed")
    task = Task(data, **WAIT, conn_id="other", deferrable=True, delete_on_failure=True)
    deferred = deferred_by(task)
    assert deferred.trigger.conn_id == "other"  # type: ignore[attr-defined]
    (dataset_id,) = made(server)
    over = WaitEvent("error", (), CohereDatasetFailedError("No.", dataset_id=dataset_id).details())
    event = {**over.to_json(), "carried": {"id": dataset_id}}
    with pytest.raises(CohereDatasetFailedError, match="connection 'other'"):
        task.resume(deferred, event)
    assert server.model.deleted == [dataset_id]
