"""The gate over several datasets: by their ids, or by a filter."""

from __future__ import annotations

import json
from datetime import timedelta
from typing import Any

import pytest
from airflow.providers.common.compat.sdk import DAG, AirflowFailException, AirflowSkipException

from airflow_provider_cohere_datasets.core.errors import CohereGateError, CohereInputError, CohereServerError
from airflow_provider_cohere_datasets.emulator import Emulator
from airflow_provider_cohere_datasets.operators.datasets import (
    CohereDatasetGateOperator,
    CohereGetDatasetUsageOperator,
    CohereListDatasetsOperator,
)
from tests.adversary import AdversarialServer, Listing, error, make_dataset, make_datasets
from tests.adversary.rows import EPOCH
from tests.operators.running import run


def gate(**arguments: Any) -> dict[str, Any]:
    result = CohereDatasetGateOperator(task_id="gate", **arguments).execute({})
    assert json.loads(json.dumps(result)) == result
    return result


@pytest.fixture
def ids(server: AdversarialServer) -> list[str]:
    """Ten datasets, of which the first three have failed."""
    server.reset([make_dataset(number, status="failed" if number < 3 else "validated") for number in range(10)])
    return [row["id"] for row in server.model.datasets]


BOTH_WAYS = pytest.mark.parametrize("by_filter", [False, True], ids=["ids", "filter"])


def selected(ids: list[str], by_filter: bool) -> dict[str, Any]:
    return {"dataset_type": "embed-input"} if by_filter else {"dataset_ids": ids}


@BOTH_WAYS
@pytest.mark.parametrize("max_failed", [3, 9, 0.3, 0.39, "3", "0.3"])
def test_as_many_as_are_tolerated_may_fail(
    server: AdversarialServer, ids: list[str], by_filter: bool, max_failed: Any
) -> None:
    result = gate(**selected(ids, by_filter), max_failed=max_failed)
    assert sorted(result["passed"]) == sorted(ids[3:])
    assert result["checked"] == 10
    assert sorted(result["failed"]) == sorted(ids[:3])
    assert result["failed"][ids[0]] == ["its status is 'failed' (the dataset has no valid rows), not 'validated'"]
    assert server.count("GET", "/v1/datasets") == (server.count() if by_filter else 0)


@BOTH_WAYS
@pytest.mark.parametrize(
    ("max_failed", "says"),
    [
        (0, "the max_failed of 0:"),
        (2, "the max_failed of 2:"),
        (0.29, "the max_failed of 2 (0.29 of 10):"),
        ("0.1", "the max_failed of 1 (0.1 of 10):"),
    ],
)
def test_more_are_too_many(ids: list[str], by_filter: bool, max_failed: Any, says: str) -> None:
    with pytest.raises(CohereGateError) as caught:
        gate(**selected(ids, by_filter), max_failed=max_failed)
    message = str(caught.value)
    assert message.startswith(f"3 of 10 datasets may not be used, above {says}\n- '")
    assert all(f"- '{dataset_id}': its status is 'failed' (" in message for dataset_id in ids[:3])
    assert message.endswith(". (connection 'cohere_default')")
    assert isinstance(caught.value, AirflowFailException)
    with pytest.raises(AirflowSkipException) as skipped:
        gate(**selected(ids, by_filter), max_failed=max_failed, on_violation="skip")
    assert str(skipped.value) == caught.value.message


@BOTH_WAYS
def test_each_requirement_is_checked_of_each(ids: list[str], by_filter: bool) -> None:
    arguments = {"min_total_examples": 10, "allowed_types": ["chat-finetune-input"], "max_age": timedelta(days=20)}
    with pytest.raises(CohereGateError) as caught:
        gate(**selected(ids, by_filter), **arguments)
    assert str(caught.value).startswith("10 of 10 datasets")
    for number, dataset_id in enumerate(ids[3:9], start=3):
        (line,) = [line for line in str(caught.value).splitlines() if dataset_id in line]
        assert f"total_examples is {number + 1}, below the minimum of 10" in line
        assert "its type is 'embed-input', not one of chat-finetune-input" in line
        assert "above the maximum of 20 days, 0:00:00" in line


def test_a_dataset_that_is_gone_is_one_that_failed(server: AdversarialServer, ids: list[str]) -> None:
    with pytest.raises(CohereGateError, match=r"1 of 2 datasets .*\n- 'gone-123456': it does not exist"):
        gate(dataset_ids=[ids[5], "gone-123456"])
    assert gate(dataset_ids=["gone-123456", ids[5]], max_failed=0.5) == {
        "passed": [ids[5]],
        "failed": {"gone-123456": ["it does not exist"]},
        "checked": 2,
    }


def test_an_id_that_is_given_twice_is_asked_for_and_counted_once(server: AdversarialServer, ids: list[str]) -> None:
    assert gate(dataset_ids=[ids[5], ids[6], ids[5]])["passed"] == ids[5:7]
    assert server.count() == 2


def test_an_error_of_the_server_is_no_violation(server: AdversarialServer, ids: list[str]) -> None:
    server.script("GET", None, [error(503)], repeat=True)
    for arguments in ({"dataset_ids": ids}, {"dataset_type": "embed-input"}):
        with pytest.raises(CohereServerError):
            gate(**arguments, max_failed=10, on_violation="skip", request_policy={"max_tries": 1})


def test_a_filter_is_sent_and_checked(server: AdversarialServer) -> None:
    rows = make_datasets(6)
    rows[2]["validation_status"] = rows[4]["validation_status"] = "failed"
    rows[3]["dataset_type"] = "chat-finetune-input"
    filters = ("datasetType", "validationStatus", "before", "after")
    for listing in (Listing(), Listing(ignore_filters=filters)):
        server.reset(rows, listing)
        found = gate(
            dataset_type="embed-input",
            validation_status="validated",
            after=rows[1]["created_at"],
            before=rows[5]["created_at"],
        )
        assert found == {"passed": [rows[1]["id"]], "failed": {}, "checked": 1}
    assert {name for name, _ in server.requests[0].query} == {*filters, "limit", "offset"}


EMPTY: list[tuple[dict[str, Any], str]] = [
    ({"dataset_ids": []}, "There is no dataset to check: dataset_ids is an empty list."),
    ({"dataset_type": "embed-result"}, "There is no dataset to check: no dataset has dataset_type 'embed-result'."),
    ({"after": EPOCH, "before": EPOCH}, "no dataset has after '2026-01-01T12:00:00.123456Z', before '2026-"),
]


@pytest.mark.usefixtures("ids")
@pytest.mark.parametrize(("arguments", "says"), EMPTY)
def test_none_is_a_violation(arguments: dict[str, Any], says: str) -> None:
    with pytest.raises(CohereGateError) as caught:
        gate(**arguments, max_failed=5)
    assert says in str(caught.value)
    with pytest.raises(AirflowSkipException) as skipped:
        gate(**arguments, on_violation="skip")
    assert says in str(skipped.value)


@pytest.mark.usefixtures("ids")
@pytest.mark.parametrize(("arguments", "says"), EMPTY)
def test_unless_it_is_allowed(arguments: dict[str, Any], says: str) -> None:
    assert gate(**arguments, allow_empty=True) == {"passed": [], "failed": {}, "checked": 0}


@pytest.mark.usefixtures("cohere_connection")
@pytest.mark.parametrize("max_failed", [0, 500])
def test_message_and_xcom_of_500_stay_small(
    emulator: Emulator, max_failed: int, caplog: pytest.LogCaptureFixture, capfd: pytest.CaptureFixture[str]
) -> None:
    reason = "line 7: " + 'required field "text" is missing; ' * 40
    ids = emulator.seed(500, name="a-name-of-some-length", status="failed", fields={"validation_error": reason})
    arguments: dict[str, Any] = {"dataset_type": "embed-input", "min_total_examples": 10, "max_warnings": 0}
    if max_failed:
        result = gate(**arguments, max_failed=max_failed)
        assert (result["passed"], result["checked"], len(result["failed"])) == ([], 500, 20)
        assert len(json.dumps(result)) < 20_000
    else:
        with pytest.raises(CohereGateError) as caught:
            gate(**arguments)
        message = str(caught.value)
        assert message.startswith("500 of 500 datasets")
        shown = message.count("\n- 'a-name-of-some-length-")
        assert 1 < shown <= 20
        assert f"\n- and {500 - shown} more." in message
        assert len(message.encode()) < 4000
    said = "".join([caplog.text, *capfd.readouterr()])
    assert all(dataset_id in said for dataset_id in ids)


def test_a_thousand_are_fine_and_one_more_is_not(server: AdversarialServer) -> None:
    server.reset(make_datasets(1000))
    assert len(gate(dataset_type="embed-input")["passed"]) == 1000
    server.model.fresh()
    with pytest.raises(CohereInputError, match="More than 1000 datasets match") as caught:
        gate(dataset_type="embed-input")
    assert isinstance(caught.value, AirflowFailException)
    assert "'cohere_default'" in str(caught.value)
    server.reset(make_datasets(1))
    with pytest.raises(CohereInputError, match="dataset_ids has 1001 ids"):
        gate(dataset_ids=[f"x-{number}" for number in range(1001)])
    assert server.requests == []


def rendered(values: dict[str, Any], **arguments: Any) -> CohereDatasetGateOperator:
    operator = CohereDatasetGateOperator(task_id="gate", **arguments)
    operator.render_template_fields(values)
    return operator


def test_templates_are_used(ids: list[str]) -> None:
    operator = rendered(
        {"type": "embed-input", "nothing": "", "share": 0.7, "four": 4, "since": EPOCH.isoformat(), "long": 1e9 - 1},
        dataset_id="{{ nothing }}",
        dataset_ids="{{ nothing }}",
        dataset_type="{{ type }}",
        validation_status="{{ nothing }}",
        after="{{ since }}",
        required_status="validat{{ nothing }}ed",
        min_total_examples="{{ four }}",
        min_train_examples="{% if nothing %}1{% endif %}",
        max_warnings="{{ 0 }}",
        max_age="{{ long }}",
        allowed_types=["{{ type }}"],
        max_failed="{{ share }}",
    )
    assert sorted(operator.execute({})["passed"]) == sorted(ids[3:])
    operator.min_total_examples = "9"
    with pytest.raises(CohereGateError, match=r"total_examples is 8, below the minimum of 9"):
        operator.execute({})


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        ({"dataset_id": "{{ nothing }}"}, "not none of them; dataset_id is empty"),
        ({"dataset_id": "{{ x }}", "dataset_ids": ["{{ x }}"]}, "not dataset_id and dataset_ids"),
        ({"dataset_id": "{{ none }}"}, "dataset_id 'None' cannot be the id"),
        ({"dataset_ids": "{{ [x] }}"}, "dataset_ids must be a list of ids"),
        ({"dataset_id": "a", "min_eval_examples": "{{ x }}"}, "min_eval_examples must be a whole number"),
        ({"dataset_id": "a", "max_failed": "{{ 1 }}"}, "max_failed is for several datasets"),
        ({"dataset_ids": ["a"], "max_failed": "{{ 1.5 }}"}, "max_failed must be"),
        ({"dataset_type": "a", "max_age": "{{ none }}"}, 'max_age is the text "None"'),
        ({"dataset_type": "a", "allowed_types": ["{{ nothing }}"]}, "allowed_types must be a list"),
        ({"validation_status": "{{ x }}"}, "validation_status 'x' is not one of"),
    ],
)
def test_bad_values_of_templates_cost_no_request(
    server: AdversarialServer, arguments: dict[str, Any], says: str
) -> None:
    operator = rendered({"x": "x", "nothing": ""}, **arguments)
    with pytest.raises(CohereInputError, match=says) as caught:
        operator.execute({})
    assert isinstance(caught.value, AirflowFailException)
    assert server.requests == []


@pytest.mark.filterwarnings("default")
@pytest.mark.filterwarnings("error:::airflow_provider_cohere_datasets")
def test_ids_and_figures_of_other_tasks(server: AdversarialServer, ids: list[str]) -> None:
    with DAG("gates_of_many", schedule=None) as dag:
        listed = CohereListDatasetsOperator(task_id="list", validation_status="validated")
        whole = CohereDatasetGateOperator(
            task_id="whole", dataset_ids=listed.output, min_total_examples=4, multiple_outputs=True
        )
        one = CohereDatasetGateOperator.partial(task_id="one", min_total_examples=6, on_violation="skip").expand(
            dataset_id=listed.output
        )
        after = CohereDatasetGateOperator(
            task_id="after", dataset_ids=whole.output["passed"], max_failed=whole.output["checked"]
        )
        shut = CohereDatasetGateOperator(task_id="shut", validation_status="failed", on_violation="skip")
        [one, after] >> CohereGetDatasetUsageOperator(task_id="usage", trigger_rule="none_failed_min_one_success")
        shut >> CohereGetDatasetUsageOperator(task_id="nothing")
    tasks = run(dag)
    states = {name: str(task.state) for name, task in tasks.items()}
    expected = {("one", index): "skipped" if ids.index(i) < 5 else "success" for index, i in enumerate(ids[:2:-1])}
    assert states == {
        ("list", -1): "success",
        ("whole", -1): "success",
        ("after", -1): "success",
        ("usage", -1): "success",
        ("shut", -1): "skipped",
        ("nothing", -1): "skipped",
        **expected,
    }
    assert tasks["after", -1].xcom_pull(task_ids="after") == {"passed": ids[:2:-1], "failed": {}, "checked": 7}
