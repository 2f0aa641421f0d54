"""The operators that read: what they return is small JSON without secrets."""

from __future__ import annotations

import json
from typing import Any

import pytest
from airflow.providers.common.compat.sdk import AirflowFailException

from airflow_provider_cohere_datasets.core.errors import (
    CohereDatasetNotFoundError,
    CohereInputError,
    CohereListingError,
    CohereUsageError,
)
from airflow_provider_cohere_datasets.emulator import Emulator
from airflow_provider_cohere_datasets.operators.datasets import (
    CohereGetDatasetOperator,
    CohereGetDatasetUsageOperator,
    CohereListDatasetsOperator,
)
from tests.adversary import AdversarialServer, Listing, make_dataset, make_datasets
from tests.adversary.rows import EPOCH


def listed(**arguments: Any) -> list[str]:
    result = CohereListDatasetsOperator(task_id="list", **arguments).execute({})
    assert json.loads(json.dumps(result)) == result
    return result


def got(dataset_id: str, **arguments: Any) -> dict[str, Any]:
    result = CohereGetDatasetOperator(task_id="get", dataset_id=dataset_id, **arguments).execute({})
    assert json.loads(json.dumps(result)) == result
    return result


@pytest.mark.usefixtures("cohere_connection")
def test_the_list_is_ids_newest_first(emulator: Emulator) -> None:
    seeded = emulator.seed(120, spacing_seconds=1, created_at=emulator.settings.clock() - 3600)
    assert listed() == seeded[::-1]


@pytest.mark.usefixtures("cohere_connection")
def test_nothing_to_list() -> None:
    assert listed() == []


def test_filters_are_sent_and_checked(server: AdversarialServer) -> None:
    rows = [
        make_dataset(0, status="failed"),
        make_dataset(1, status="failed"),
        make_dataset(2, status="failed", type="chat-finetune-input"),
        make_dataset(3),
        make_dataset(4, status="failed"),
    ]
    filters = ("datasetType", "validationStatus", "before", "after")
    for listing in (Listing(), Listing(ignore_filters=filters)):
        server.reset(rows, listing)
        found = listed(
            dataset_type="embed-input",
            validation_status="failed",
            after=rows[1]["created_at"],
            before=rows[4]["created_at"],
        )
        assert found == [rows[1]["id"]]
    assert {name for name, _ in server.requests[0].query} == {*filters, "limit", "offset"}


def test_a_window_may_be_given_as_times(server: AdversarialServer) -> None:
    assert listed(after=EPOCH, before=EPOCH) == []
    assert server.requests == []
    assert listed(after=EPOCH) == [row["id"] for row in server.model.datasets[::-1]]


def test_a_thousand_ids_are_fine_and_one_more_is_not(server: AdversarialServer) -> None:
    server.reset(make_datasets(1000))
    assert len(listed(page_size=1000)) == 1000
    server.model.fresh()
    with pytest.raises(CohereInputError, match="More than 1000 datasets") as caught:
        listed(page_size=1000)
    assert isinstance(caught.value, AirflowFailException)
    assert "CohereDatasetsToParquetOperator" in str(caught.value)
    assert "'cohere_default'" in str(caught.value)


def test_the_cap_does_not_read_the_rest(server: AdversarialServer) -> None:
    server.reset(make_datasets(5000))
    with pytest.raises(CohereInputError, match="More than 1000"):
        listed()
    assert len(server.model.served) < 1200
    assert server.count() <= 15  # pages overlap


@pytest.mark.parametrize(("limit", "count"), [(2, 2), ("2", 2), (" 2 ", 2), ("1200", 1100)])
def test_who_sets_a_limit_gets_as_many(server: AdversarialServer, limit: Any, count: int) -> None:
    server.reset(make_datasets(1100))
    assert len(listed(limit=limit, page_size="1000")) == count


@pytest.mark.parametrize("limit", ["", "  "])
def test_a_limit_that_is_empty_is_none(server: AdversarialServer, limit: Any) -> None:
    server.reset(make_datasets(1001))
    with pytest.raises(CohereInputError, match="More than 1000"):
        listed(limit=limit, page_size=1000)


@pytest.mark.parametrize("limit", [0, "0", -1, "many", "None", 1.5, True])
def test_a_bad_limit_costs_no_request(server: AdversarialServer, limit: Any) -> None:
    with pytest.raises(CohereInputError, match="limit"):
        listed(limit=limit)
    assert server.requests == []


def test_an_incomplete_list_is_an_error(server: AdversarialServer) -> None:
    server.reset(make_datasets(30), Listing(cap=10, ignore_offset=True))
    with pytest.raises(CohereListingError, match="ignores offset"):
        listed()


@pytest.mark.usefixtures("cohere_connection")
def test_get_returns_what_is_known(emulator: Emulator) -> None:
    (wanted,) = emulator.seed(1, name="news", fields={"a_field_of_tomorrow": 1})
    result = got(wanted)
    assert result["id"] == wanted
    assert (result["name"], result["validation_status"], result["a_field_of_tomorrow"]) == ("news", "validated", 1)
    assert "schema_" not in result


def test_get_keeps_counts_and_the_schema(server: AdversarialServer) -> None:
    result = got(server.model.datasets[0]["id"])
    assert result["schema"] == server.model.datasets[0]["schema"]
    assert [(part["num_rows"], part["size_bytes"], part["index"]) for part in result["dataset_parts"]] == [(1, 100, 0)]


def test_get_leaks_no_url_and_no_rows_of_the_data(server: AdversarialServer) -> None:
    part = {
        "id": "p",
        "url": "https://storage.invalid/a?X-Signature=leak",
        "original_url": "https://storage.invalid/b?X-Signature=leak",
        "downloadUrl": "https://storage.invalid/c?X-Signature=leak",
        "samples": ["leak"],
    }
    label = {"label": "spam", "total_examples": 3, "samples": ["leak"]}
    metrics = {"finetune_dataset_metrics": {"classify_data_metrics": {"label_metrics": [label]}}}
    row = make_dataset(1, dataset_parts=[part, part], metrics=metrics, export={"signed_urls": ["https://leak"]})
    server.reset([row])
    result = got(row["id"])
    assert "leak" not in json.dumps(result)
    assert "storage.invalid" not in json.dumps(result)
    assert [part["id"] for part in result["dataset_parts"]] == ["p", "p"]
    labels = result["metrics"]["finetune_dataset_metrics"]["classify_data_metrics"]["label_metrics"]
    assert labels == [{"label": "spam", "total_examples": 3}]


def test_get_returns_samples_and_urls_if_asked(server: AdversarialServer) -> None:
    row = server.model.datasets[0]
    (part,) = row["dataset_parts"]
    (shown,) = got(row["id"], include_samples=True)["dataset_parts"]
    assert shown["samples"] == part["samples"]
    assert "url" not in shown
    (shown,) = got(row["id"], include_urls=True)["dataset_parts"]
    assert shown["url"] == part["url"]
    assert "samples" not in shown


def test_get_tells_errors_and_warnings_without_signatures(server: AdversarialServer) -> None:
    signed = "see https://storage.invalid/a?X-Signature=leak"
    row = make_dataset(1, validation_status="failed", validation_error=signed, validation_warnings=[signed, "odd?"])
    server.reset([row])
    result, short = got(row["id"]), "see https://storage.invalid/a"
    assert (result["validation_error"], result["validation_warnings"]) == (short, [short, "odd?"])
    asked = got(row["id"], include_urls=True)
    assert (asked["validation_error"], asked["validation_warnings"]) == (signed, [signed, "odd?"])


def test_get_tells_no_signature_in_fields_that_are_new(server: AdversarialServer) -> None:
    new = {"download": "https://storage.invalid/b?sig=leak", "files": [{"link": "see gs://a?sig=leak now"}]}
    row = make_dataset(1, schema="https://schema.invalid/?whole", **new)
    server.reset([row])
    result = got(row["id"])
    assert (result["download"], result["files"]) == ("https://storage.invalid/b", [{"link": "see gs://a now"}])
    assert result["schema"] == row["schema"], "text of the user"
    asked = got(row["id"], include_urls=True)
    assert {name: asked[name] for name in new} == new


def test_get_returns_what_can_be_stored(server: AdversarialServer) -> None:
    row = make_dataset(1, new={"text": "a\ud83d\0", "number": 10**20, "share": float("nan")})
    server.reset([row])
    assert got(row["id"])["new"] == {"text": r"a\ud83d\u0000", "number": "1" + "0" * 20, "share": "nan"}


def test_get_returns_few_samples_and_cuts_them(server: AdversarialServer) -> None:
    part = {"id": "p", "samples": ["x" * 100_000, *["y"] * 50_000], "num_samples": 3}
    row = make_dataset(1, dataset_parts=[part])
    server.reset([row])
    (shown,) = got(row["id"], include_samples=True)["dataset_parts"]
    assert shown["samples"] == ["x" * 1000 + "…", *["y"] * 9]
    assert shown["num_samples"] == 3


@pytest.mark.parametrize("name", ["include_samples", "include_urls"])
@pytest.mark.parametrize("value", ["False", "{{ params.urls }}", None, 1])
def test_a_text_is_not_taken_for_a_yes(name: str, value: Any) -> None:
    with pytest.raises(CohereInputError, match=f"{name} must be True or False"):
        CohereGetDatasetOperator(task_id="get", dataset_id="a", **{name: value})


def test_get_stays_small_however_many_warnings_there_are(server: AdversarialServer) -> None:
    row = make_dataset(1, validation_warnings=[f"row {number} is bad" for number in range(50_000)])
    server.reset([row])
    warnings = got(row["id"])["validation_warnings"]
    assert warnings[:2] == ["row 0 is bad", "row 1 is bad"]
    assert warnings[100:] == ["... and 49900 more"]
    server.model.update(row["id"], validation_warnings=["one"] * 100)
    assert len(got(row["id"])["validation_warnings"]) == 100


def test_get_of_what_is_not_there(server: AdversarialServer) -> None:
    with pytest.raises(CohereDatasetNotFoundError, match=r"'gone-123456'.*\(connection 'cohere_default'\)") as caught:
        got("gone-123456")
    assert isinstance(caught.value, AirflowFailException)
    assert server.count() == 1


def used(**arguments: Any) -> dict[str, Any]:
    result = CohereGetDatasetUsageOperator(task_id="usage", **arguments).execute({})
    assert json.loads(json.dumps(result)) == result
    return result


@pytest.mark.usefixtures("cohere_connection")
def test_usage(emulator: Emulator) -> None:
    assert used() == {"organization_usage": 0, "quota": 10_000_000_000, "share": 0}
    emulator.seed(1, size_bytes=1_234_490_000)
    assert used(fail_above=1) == {"organization_usage": 1_234_490_000, "quota": 10_000_000_000, "share": 0.1234}
    assert used(quota="2000000000", fail_above="") == {
        "organization_usage": 1_234_490_000,
        "quota": 2_000_000_000,
        "share": 0.6172,
    }


@pytest.mark.parametrize("fail_above", [0.9, "0.9", " .9 "])
def test_usage_above_a_share_fails_for_good(server: AdversarialServer, fail_above: Any) -> None:
    server.model.organization_usage = 9_000_000_000
    assert used(fail_above=fail_above)["share"] == 0.9
    server.model.organization_usage += 1
    with pytest.raises(CohereUsageError) as caught:
        used(fail_above=fail_above)
    assert isinstance(caught.value, AirflowFailException)
    assert str(caught.value) == (
        "The organisation stores 9000000001 of 10000000000 bytes, above the fail_above of 0.9. "
        "(connection 'cohere_default')"
    )
    with pytest.raises(CohereUsageError):
        used(quota=1, fail_above=1)


@pytest.mark.parametrize(
    "arguments",
    [
        *({"fail_above": value} for value in (0, 0.0, 1.01, 90, -0.1, "9 GB", "nan", "None", True, [0.9])),
        *({"quota": value} for value in (0, -1, 1e10, "10 GB", "None", True)),
    ],
)
def test_bad_limits_cost_no_request(server: AdversarialServer, arguments: dict[str, Any]) -> None:
    (name,) = arguments
    with pytest.raises(CohereInputError, match=name) as caught:
        CohereGetDatasetUsageOperator(task_id="usage", **arguments)
    assert isinstance(caught.value, AirflowFailException)
    operator = CohereGetDatasetUsageOperator(task_id="usage", **{name: "{{ value }}"})
    operator.render_template_fields({"value": arguments[name]})  # type: ignore[typeddict-unknown-key]
    with pytest.raises(CohereInputError, match=name):
        operator.execute({})
    assert server.requests == []
