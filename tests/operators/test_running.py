"""Operators in a real run: what Airflow retries, and what it does not."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from datetime import timedelta
from typing import Any

import pytest
from airflow.providers.common.compat.sdk import DAG

from airflow_provider_cohere_datasets.operators.datasets import (
    CohereDatasetGateOperator,
    CohereDeleteDatasetOperator,
    CohereGetDatasetOperator,
    CohereGetDatasetUsageOperator,
    CohereListDatasetsOperator,
)
from tests.adversary import AdversarialServer, echo_authorization, error, per_minute
from tests.hooks.conftest import Connect
from tests.hooks.secrecy import SECRET, Ear, unmask
from tests.operators.running import run
from tests.versions import needs_retry_policies

AGAIN = {"retries": 2, "retry_delay": timedelta(0)}
# Airflow's own code warns in a run; what our code warns of stays an error.
pytestmark = [
    pytest.mark.filterwarnings("default"),
    pytest.mark.filterwarnings("error:::airflow_provider_cohere_datasets"),
]


@pytest.fixture
def dag(request: pytest.FixtureRequest) -> Iterator[DAG]:
    # A name of its own: what Airflow 3.1 has read of a DAG once, it does not read again.
    with DAG(re.sub(r"\W", "_", request.node.name), schedule=None, default_args=AGAIN) as dag:
        yield dag


def only(tasks: dict[tuple[str, int], Any]) -> tuple[str, int]:
    (task,) = tasks.values()
    return str(task.state), task.try_number


@pytest.mark.parametrize("status", [401, 403, 404, 422])
def test_a_permanent_error_has_one_try(server: AdversarialServer, dag: DAG, status: int) -> None:
    server.script("GET", None, [error(status)], repeat=True)
    CohereGetDatasetOperator(task_id="get", dataset_id="the-dataset", dag=dag)
    assert only(run(dag)) == ("failed", 1)
    assert server.count() == 1


def test_bad_input_has_one_try_and_no_request(server: AdversarialServer, dag: DAG) -> None:
    CohereDeleteDatasetOperator(task_id="delete", dataset_id="{{ params.missing | default('') }}", dag=dag)
    assert only(run(dag)) == ("failed", 1)
    assert server.requests == []


def test_a_gate_that_is_shut_has_one_try(server: AdversarialServer, dag: DAG) -> None:
    dataset_id = server.model.datasets[0]["id"]
    CohereDatasetGateOperator(task_id="gate", dataset_id=dataset_id, min_total_examples=99, dag=dag)
    assert only(run(dag)) == ("failed", 1)
    assert server.count() == 1


def test_a_gate_may_skip_what_follows(server: AdversarialServer, dag: DAG) -> None:
    dataset_id = server.model.datasets[0]["id"]
    gate = CohereDatasetGateOperator(
        task_id="gate", dataset_id=dataset_id, max_warnings=0, min_total_examples=99, on_violation="skip", dag=dag
    )
    gate >> CohereDeleteDatasetOperator(task_id="delete", dataset_id=dataset_id, dag=dag)
    states = {name: str(task.state) for (name, _), task in run(dag).items()}
    assert states == {"gate": "skipped", "delete": "skipped"}
    assert server.model.deleted == []


def test_a_transient_error_is_cured_by_the_next_try(server: AdversarialServer, dag: DAG) -> None:
    server.script("GET", None, [error(503)] * 5)  # the whole policy of the first try
    CohereGetDatasetUsageOperator(task_id="usage", dag=dag)
    assert only(run(dag)) == ("success", 2)
    assert server.count() == 6


def test_a_transient_error_that_stays_uses_all_tries(server: AdversarialServer, dag: DAG) -> None:
    server.script("GET", None, [error(503)], repeat=True)
    CohereGetDatasetUsageOperator(task_id="usage", request_policy={"max_tries": 2}, dag=dag)
    assert only(run(dag)) == ("failed", 3)
    assert server.count() == 6


@needs_retry_policies
def test_the_next_try_is_put_off_as_the_server_asked(server: AdversarialServer, dag: DAG) -> None:
    server.script("GET", None, [per_minute(retry_after="0.25")])
    CohereGetDatasetUsageOperator(task_id="usage", request_policy={"max_tries": 1}, retries=1, dag=dag)
    (task,) = run(dag).values()
    assert (str(task.state), task.try_number) == ("success", 2)
    first, second = server.requests
    assert second.at - first.at >= 0.25


def test_ids_are_mapped_and_handed_on(server: AdversarialServer, dag: DAG) -> None:
    expected = [row["id"] for row in server.model.datasets[::-1]]
    ids = CohereListDatasetsOperator(task_id="list", dag=dag)
    CohereGetDatasetOperator.partial(task_id="get", dag=dag).expand(dataset_id=ids.output)
    tasks = run(dag)
    assert tasks["list", -1].xcom_pull(task_ids="list") == expected
    got = [tasks["get", number].xcom_pull(task_ids="get", map_indexes=number) for number in range(3)]
    assert [dataset["id"] for dataset in got] == expected
    assert "Signature" not in json.dumps(got)


def test_a_run_says_no_key(
    server: AdversarialServer,
    dag: DAG,
    connect: Connect,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
    capfd: pytest.CaptureFixture[str],
) -> None:
    server.reset(server.model.datasets, key=SECRET)
    connect(host=server.url, password=SECRET)
    server.script("GET", "/v1/datasets/usage", [echo_authorization(401)], repeat=True)
    CohereListDatasetsOperator(task_id="list", dag=dag)
    CohereGetDatasetUsageOperator(task_id="usage", dag=dag)
    unmask(monkeypatch)
    ear = Ear(caplog, capfd)
    states = {name: str(task.state) for (name, _), task in run(dag).items()}
    assert states == {"list": "success", "usage": "failed"}
    said = ear.heard()
    assert "refuses the API key" in said
    assert SECRET not in said
