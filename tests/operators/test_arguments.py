"""What operators do with their arguments: keep them as they are, render them, and hand on a retry policy."""

from __future__ import annotations

import inspect
from pathlib import Path
from typing import Any

import pytest
from airflow.providers.common.compat.sdk import DAG, BaseOperator

from airflow_provider_cohere_datasets.core.errors import CohereServerError
from airflow_provider_cohere_datasets.hooks.retry_policy import CohereRetryPolicy
from airflow_provider_cohere_datasets.operators.base import CohereDatasetsOperator
from airflow_provider_cohere_datasets.operators.datasets import (
    CohereCreateDatasetOperator,
    CohereDatasetGateOperator,
    CohereDeleteDatasetOperator,
    CohereGetDatasetOperator,
    CohereGetDatasetUsageOperator,
    CohereListDatasetsOperator,
)
from tests.adversary import AdversarialServer, error
from tests.hooks.conftest import Connect
from tests.versions import needs_retry_policies

REQUIRED: list[tuple[type[CohereDatasetsOperator], dict[str, Any]]] = [
    (CohereListDatasetsOperator, {}),
    (CohereGetDatasetOperator, {"dataset_id": "x"}),
    (CohereGetDatasetUsageOperator, {}),
    (CohereCreateDatasetOperator, {"name": "x", "dataset_type": "embed-input", "data": "x.jsonl"}),
    (CohereDeleteDatasetOperator, {"dataset_id": "x"}),
    (CohereDatasetGateOperator, {"dataset_id": "x"}),
]
each = pytest.mark.parametrize(("kind", "arguments"), REQUIRED)


def policy_of_the_users_own() -> Any:
    from airflow.providers.common.compat.sdk import ExceptionRetryPolicy

    return ExceptionRetryPolicy(rules=[])


def parameters(kind: type[CohereDatasetsOperator]) -> list[str]:
    """Return the arguments that are ours, of a class and its base."""
    found = [*inspect.signature(CohereDatasetsOperator).parameters, *inspect.signature(kind).parameters]
    return [name for name in found if name not in {"self", "kwargs"}]


@each
def test_a_subclass_may_have_templates_of_its_own(
    kind: type[CohereDatasetsOperator], arguments: dict[str, Any]
) -> None:
    def init(self: Any, *, team: str, **kwargs: Any) -> None:
        super(subclass, self).__init__(**kwargs)
        self.team = team

    fields = (*kind.template_fields, "team")
    subclass: Any = type("Subclass", (kind,), {"__init__": init, "template_fields": fields})
    assert subclass(task_id="x", team="{{ team }}", **arguments).team == "{{ team }}"


@each
def test_a_function_may_stand_for_a_template(kind: type[CohereDatasetsOperator], arguments: dict[str, Any]) -> None:
    rendered = [name for name in arguments if name in kind.template_fields]
    operator = kind(task_id="x", **{name: lambda **_: "rendered" for name in rendered})
    operator.render_template_fields({})
    assert {name: getattr(operator, name) for name in rendered} == dict.fromkeys(rendered, "rendered")


@each
def test_arguments_are_kept_as_they_are(kind: type[CohereDatasetsOperator], arguments: dict[str, Any]) -> None:
    odd: dict[str, Any] = {name: f" {{{{ {name} }}}} " for name in parameters(kind) if name in kind.template_fields}
    if kind is CohereDatasetGateOperator:
        odd["allowed_types"] = ["{{ one }}"]
    operator = kind(task_id="x", **{**arguments, **odd})
    assert {name: getattr(operator, name) for name in odd} == odd
    assert set(kind.template_fields) <= set(parameters(kind))


@each
def test_every_template_field_renders(kind: type[CohereDatasetsOperator], arguments: dict[str, Any]) -> None:
    assert "conn_id" in kind.template_fields
    assert set(arguments) <= set(kind.template_fields)
    listed = {"keep_fields", "optional_fields", "allowed_types"}
    templates: dict[str, Any] = {
        name: ["{{ value }}", "b"] if name in listed else "{{ value }}" for name in kind.template_fields
    }
    operator = kind(task_id="x", **{**arguments, **templates})
    values: Any = {"value": "rendered"}
    operator.render_template_fields(values)
    for name in kind.template_fields:
        assert getattr(operator, name) == (["rendered", "b"] if name in listed else "rendered")


def test_rendered_values_are_used(server: AdversarialServer, connect: Connect) -> None:
    connect("staging", host=server.url)
    operator = CohereListDatasetsOperator(
        task_id="x",
        conn_id="{{ where }}",
        limit="{{ most }}",
        after="{{ start }}",
        validation_status="{{ status }}",
        dataset_type="{{ nothing }}",
    )
    values: Any = {
        "where": "staging",
        "most": 2,
        "start": "2026-01-01T00:00:00+02:00",
        "status": "validated",
        "nothing": "",
    }
    operator.render_template_fields(values)
    assert operator.execute({}) == [row["id"] for row in server.model.datasets[:0:-1]]
    query = dict(server.requests[0].query)
    assert query["after"] == "2025-12-31T21:59:59.000000Z"
    assert "datasetType" not in query


def test_the_file_of_an_upload_is_rendered(server: AdversarialServer, tmp_path: Path) -> None:
    (tmp_path / "2026-01-01.jsonl").write_text('{"text": "hello"}\n')
    operator = CohereCreateDatasetOperator(
        task_id="x", name="news-{{ ds }}", dataset_type="embed-input", data=f"{tmp_path}/{{{{ ds }}}}.jsonl"
    )
    operator.render_template_fields({"ds": "2026-01-01"})
    created = server.model.get(operator.execute({})["id"])
    assert created
    assert created["name"] == "news-2026-01-01"


@each
def test_making_an_operator_asks_nobody(
    server: AdversarialServer, kind: type[CohereDatasetsOperator], arguments: dict[str, Any]
) -> None:
    operator = kind(task_id="x", conn_id="no_such_connection", request_policy={"max_tries": 2}, **arguments)
    assert (operator.hook.conn_id, operator.hook.request_policy) == ("no_such_connection", {"max_tries": 2})
    assert server.requests == []


def test_the_request_policy_reaches_the_server(server: AdversarialServer) -> None:
    server.script("GET", None, [error(503)], repeat=True)
    with pytest.raises(CohereServerError):
        CohereGetDatasetUsageOperator(task_id="x", request_policy={"max_tries": 2}).execute({})
    assert server.count() == 2


@needs_retry_policies
@each
def test_the_retry_policy_is_ours_unless_the_user_has_one(
    kind: type[CohereDatasetsOperator], arguments: dict[str, Any]
) -> None:
    own = policy_of_the_users_own()
    assert is_ours(kind(task_id="x", **arguments).retry_policy)
    assert kind(task_id="x", retry_policy=own, **arguments).retry_policy is own
    assert kind(task_id="x", default_args={"retry_policy": own}, **arguments).retry_policy is own
    with DAG("d", schedule=None, default_args={"retry_policy": own}):
        assert kind(task_id="x", **arguments).retry_policy is own
    with DAG("d", schedule=None, default_args={"retries": 2}):
        assert is_ours(kind(task_id="x", **arguments).retry_policy)


def is_ours(policy: Any) -> bool:
    return isinstance(policy, CohereRetryPolicy)


def unmapped(**options: Any) -> BaseOperator:
    mapped = CohereGetDatasetOperator.partial(task_id="x", **options).expand(dataset_id=["a", "b"])
    task: BaseOperator = mapped.unmap({"dataset_id": "a"})
    return task


@needs_retry_policies
def test_mapped_tasks_have_it_too() -> None:
    own = policy_of_the_users_own()
    with DAG("d", schedule=None):
        assert is_ours(unmapped().retry_policy)
    with DAG("d", schedule=None):
        assert unmapped(retry_policy=own).retry_policy is own
    with DAG("d", schedule=None, default_args={"retry_policy": own}):
        assert unmapped().retry_policy is own
