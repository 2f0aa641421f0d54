"""Deleting several datasets: never one too many, and on with the others when one cannot be deleted."""

from __future__ import annotations

import json
import random
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from airflow.providers.common.compat.sdk import DAG, AirflowFailException, AirflowTaskTimeout

from airflow_provider_cohere_datasets.core.errors import (
    CohereAuthenticationError,
    CohereDatasetNotFoundError,
    CohereDatasetsError,
    CohereInputError,
    CohereInvalidRequestError,
    CohereListingError,
    CohereQuotaError,
    CohereServerError,
    CohereTaskStoppedError,
    CohereUnexpectedAnswerError,
)
from airflow_provider_cohere_datasets.emulator import Emulator
from airflow_provider_cohere_datasets.hooks.datasets import CohereDatasetsHook
from airflow_provider_cohere_datasets.operators.datasets import (
    CohereDeleteDatasetOperator,
    CohereListDatasetsOperator,
)
from tests.adversary import (
    AdversarialServer,
    Churn,
    Close,
    Listing,
    Lost,
    Model,
    Reset,
    Through,
    error,
    html,
    make_dataset,
    make_datasets,
    per_minute,
    per_month,
)
from tests.hooks.conftest import Connect
from tests.operators.running import run

DAY = timedelta(days=1)
ONE_TRY = {"max_tries": 1}


def delete(**arguments: Any) -> dict[str, Any]:
    result = CohereDeleteDatasetOperator(task_id="delete", **arguments).execute({})
    assert json.loads(json.dumps(result)) == result
    return result


def done(*ids: str, missing: int = 0, dry_run: bool = False) -> dict[str, Any]:
    return {"deleted": list(ids), "count": len(ids), "missing": missing, "dry_run": dry_run}


@pytest.fixture
def ids(server: AdversarialServer) -> list[str]:
    """Ten datasets, one for each of the last ten days, newest first; in the server's list too."""
    now = datetime.now(UTC)
    server.reset([make_dataset(number, created_at=now - number * DAY - DAY / 2) for number in range(10)])
    return [row["id"] for row in server.model.datasets]


# -- Which -----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("older_than", [6 * DAY, 6 * 86400, 6 * 86400.0, "518400", " 518400.0 "])
def test_what_is_older_goes_oldest_first(server: AdversarialServer, ids: list[str], older_than: Any) -> None:
    assert delete(older_than=older_than) == done(*ids[:5:-1])
    assert server.model.deleted == ids[:5:-1]
    assert server.model.ids() == set(ids[:6])


@pytest.mark.usefixtures("cohere_connection")
def test_with_the_emulator(emulator: Emulator) -> None:
    now = emulator.settings.clock()
    old = emulator.seed(3, created_at=now - 3 * 86400, spacing_seconds=1)
    failed = emulator.seed(2, created_at=now - 3 * 86400, status="failed")
    new = emulator.seed(2, created_at=now - 86400, status="failed")
    assert sorted(delete(older_than=2 * DAY, validation_status="failed")["deleted"]) == sorted(failed)
    assert delete(older_than=2 * DAY) == done(*old)
    assert sorted(dataset.id for dataset in CohereDatasetsHook().list_datasets()) == sorted(new)


EVERY_FILTER = ("datasetType", "validationStatus", "before", "after")


@pytest.mark.parametrize("ignored", [(), EVERY_FILTER, ("before",), ("datasetType",), ("validationStatus",)])
def test_a_server_that_ignores_filters_loses_nothing(server: AdversarialServer, ignored: Any) -> None:
    now = datetime.now(UTC)
    rows = [
        make_dataset(number, created_at=now - age * DAY, status=status, type=kind)
        for number, (age, status, kind) in enumerate(
            (age, status, kind)
            for age in (0, 1, 3, 4)
            for status in ("validated", "failed", "unheard-of")
            for kind in ("embed-input", "embed-result", "unheard-of")
        )
    ]
    wanted: list[tuple[dict[str, Any], Callable[[int], bool]]] = [
        ({"older_than": 2 * DAY}, lambda n: n >= 18),
        ({"dataset_type": "embed-result"}, lambda n: n % 3 == 1),
        ({"validation_status": "failed"}, lambda n: n // 3 % 3 == 1),
        (
            {"older_than": 2 * DAY, "validation_status": "failed", "dataset_type": "embed-input"},
            lambda n: n in (21, 30),
        ),
        ({"older_than": 0, "dataset_type": "embed-input"}, lambda n: n % 3 == 0),
    ]
    for arguments, right in wanted:
        server.reset(rows, Listing(ignore_filters=ignored))
        expected = {row["id"] for number, row in enumerate(rows) if right(number)}
        assert set(delete(**arguments)["deleted"]) == expected
        assert set(server.model.deleted) == expected
        assert len(server.model.deleted) == len(expected)


@pytest.mark.parametrize("created_at", ["", "yesterday", None, 1577836800])
@pytest.mark.parametrize("ignored", [(), ("before",)])
def test_a_dataset_of_unknown_age_is_not_old(server: AdversarialServer, created_at: Any, ignored: Any) -> None:
    old, new = make_dataset(1), make_dataset(2, created_at=datetime.now(UTC))
    rotten = make_dataset(3)
    rotten["created_at"] = created_at
    server.reset([new, rotten, old], Listing(ignore_filters=ignored))
    for older_than in (DAY, 1e-3):
        delete(older_than=older_than, dataset_type="embed-input", max_deletions=2)
    assert rotten["id"] not in server.model.deleted
    assert old["id"] in server.model.deleted
    assert delete(dataset_type="embed-input") == done(rotten["id"])


def test_rows_of_unknown_age_do_not_hide_those_beyond_the_guard(server: AdversarialServer) -> None:
    server.reset([*make_datasets(1001, created_at="?"), *make_datasets(200, first=1001)], Listing(order="oldest"))
    with pytest.raises(CohereInputError, match="More than 1000 datasets match"):
        delete(older_than=DAY)
    assert server.count("DELETE") == 0


@pytest.mark.parametrize("where", ["any", "read", "head"])
@pytest.mark.parametrize("ignored", [(), EVERY_FILTER])
def test_a_list_that_shifts_while_it_is_read(server: AdversarialServer, where: Any, ignored: Any) -> None:
    now = datetime.now(UTC)
    rows = [make_dataset(number, created_at=now - (number + 0.5) * DAY / 10) for number in range(60)]
    created = {row["id"]: row["created_at"] for row in rows}
    churn = Churn(random.Random(7), where=where)

    def between(model: Model) -> None:
        churn(model)
        created.update({row["id"]: row["created_at"] for row in model.datasets})

    server.reset(rows, Listing(between=between, cap=10, ignore_filters=ignored))
    server.script("DELETE", None, [Lost(error(503)), Through(), per_minute(), Through(), Lost(Close())] * 4)
    delete(older_than=3 * DAY)
    sent = {request.path.removeprefix("/v1/datasets/") for request in server.matching("DELETE")}
    assert all(datetime.fromisoformat(created[dataset_id]) < now - 2.9 * DAY for dataset_id in sent)
    assert not server.model.ids() & {row["id"] for row in rows[30:]}


def test_new_ones_that_come_while_deleting_stay(server: AdversarialServer, ids: list[str]) -> None:
    fresh: list[str] = []

    def insert(model: Model) -> None:
        fresh.append(model.fresh(created_at=datetime.now(UTC))["id"])

    server.model.listing.between = insert
    assert delete(older_than=3 * DAY) == done(*ids[:2:-1])
    assert set(fresh) <= server.model.ids()


def test_what_another_task_deleted_meanwhile_is_done(server: AdversarialServer, ids: list[str]) -> None:
    server.script("DELETE", f"/v1/datasets/{ids[8]}", [Lost(Through())])

    def between(model: Model) -> None:
        model.delete(ids[7])

    server.model.listing.between = between
    assert delete(older_than=6 * DAY, ignore_missing=False) == done(ids[9], ids[8], ids[6], missing=1)


def test_a_list_that_may_be_incomplete(server: AdversarialServer) -> None:
    rows = make_datasets(40)
    server.reset(rows, Listing(ignore_limit=True, ignore_offset=True, default_size=40))
    assert delete(older_than=DAY)["count"] == 40
    server.reset(rows, Listing(cap=10, ignore_offset=True))
    with pytest.raises(CohereListingError, match="ignores offset"):
        delete(older_than=DAY)
    assert server.count("DELETE") == 0


def test_what_a_list_that_never_holds_still_lacks_is_a_warning(
    server: AdversarialServer, heard: Callable[[], str]
) -> None:
    churn = Churn(random.Random(1), inserts_per_request=3, deletes_per_request=3)
    server.reset(make_datasets(60), Listing(cap=10, order="random-each-request", between=churn))
    with pytest.raises(CohereListingError, match="could not be proved complete"):
        CohereDatasetsHook().list_datasets()
    result = delete(dataset_type="embed-input", max_deletions=1000)
    assert result["count"] > 0
    assert set(result["deleted"]) <= set(server.model.deleted)
    assert "readings of the whole list still brought new rows" in heard()


# -- Not too many ----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("dry_run", [False, True])
def test_one_more_than_the_guard_and_none_is_deleted(server: AdversarialServer, dry_run: bool) -> None:
    server.reset(make_datasets(101))
    with pytest.raises(CohereInputError) as caught:
        delete(older_than=DAY, dry_run=dry_run)
    assert isinstance(caught.value, AirflowFailException)
    assert str(caught.value) == (
        "101 datasets match, more than max_deletions (100) allows, so none was deleted. (connection 'cohere_default')"
    )
    assert server.count("DELETE") == 0
    server.model.delete(server.model.datasets[0]["id"])
    assert delete(older_than=DAY, dry_run=dry_run)["count"] == 100


def test_the_guard_holds_for_ids_too(server: AdversarialServer, ids: list[str]) -> None:
    with pytest.raises(CohereInputError, match=r"10 datasets are given, more than max_deletions \(9\)"):
        delete(dataset_ids=ids, max_deletions="9")
    assert server.requests == []
    assert delete(dataset_ids=ids, max_deletions=10) == done(*ids)


def test_the_guard_does_not_read_a_long_list(server: AdversarialServer) -> None:
    server.reset(make_datasets(5_000))
    with pytest.raises(CohereInputError, match="More than 1000 datasets match"):
        delete(older_than=DAY)
    assert server.count() <= 15  # pages overlap


def test_the_guard_may_be_raised_beyond_what_xcom_holds(server: AdversarialServer) -> None:
    server.reset(make_datasets(1_050))
    expected = [row["id"] for row in server.model.datasets]
    result = delete(older_than=DAY, max_deletions="1050")
    assert (result["deleted"], result["count"]) == (expected[:1000], 1050)
    assert server.model.deleted == expected


def test_a_dry_run_deletes_nothing(server: AdversarialServer, ids: list[str]) -> None:
    for flag in (True, "True", " true "):
        assert delete(older_than=6 * DAY, dry_run=flag) == done(*ids[:5:-1], dry_run=True)
        assert delete(dataset_ids=[ids[2], "gone-123456"], dry_run=flag) == done(ids[2], missing=1, dry_run=True)
        assert delete(dataset_id=ids[1], dry_run=flag) == done(ids[1], dry_run=True)
    with pytest.raises(CohereDatasetNotFoundError, match="gone-123456"):
        delete(dataset_id="gone-123456", dry_run=True, ignore_missing=False)
    assert {request.method for request in server.requests} == {"GET"}
    before = server.count()
    assert delete(dataset_type="embed-input", dry_run=True)["count"] == 10
    assert server.count() - before <= 4  # pages of the list, and no look at each
    assert server.model.ids() == set(ids)


def test_none_to_delete_is_fine(server: AdversarialServer, ids: list[str]) -> None:
    assert delete(dataset_ids=[]) == delete(dataset_type="embed-result") == delete(older_than=20 * DAY) == done()
    assert server.model.ids() == set(ids)


# -- What goes wrong on the way --------------------------------------------------------------------------------------


def path(dataset_id: str) -> str:
    return f"/v1/datasets/{dataset_id}"


def test_lost_answers_and_waits_cost_nothing(server: AdversarialServer, ids: list[str]) -> None:
    server.script("DELETE", path(ids[9]), [Lost(Close())])
    server.script("DELETE", path(ids[8]), [Lost(Reset()), error(503)])
    server.script("DELETE", path(ids[7]), [per_minute(retry_after="0"), per_minute(retry_after="0")])
    server.script("DELETE", path(ids[6]), [error(404)])
    assert delete(older_than=6 * DAY) == done(ids[9], ids[8], ids[7], missing=1)
    assert sorted(server.model.deleted) == sorted(ids[7:])


@pytest.mark.parametrize("by_filter", [False, True])
def test_one_that_fails_does_not_keep_the_others(server: AdversarialServer, ids: list[str], by_filter: bool) -> None:
    arguments: dict[str, Any] = {"older_than": 1} if by_filter else {"dataset_ids": ids[::-1]}
    server.script("DELETE", path(ids[8]), [error(409, "in use")] * 2)
    server.script("DELETE", path(ids[5]), [error(503, retry_after="0.25")] * 2)
    server.script("DELETE", path(ids[2]), [error(500)] * 2)
    with pytest.raises(CohereServerError) as caught:
        delete(**arguments, request_policy={"max_tries": 2, "max_retry_after": 1})
    assert not isinstance(caught.value, AirflowFailException)
    assert caught.value.retry_after == 0.25
    assert str(caught.value).startswith(
        f"3 of 10 datasets could not be deleted ({ids[8]!r}, {ids[5]!r}, {ids[2]!r}); for example: "
    )
    left = [ids[8], ids[5], ids[2]]
    assert server.model.deleted == [dataset_id for dataset_id in ids[::-1] if dataset_id not in left]
    # The next try goes on with what is left.
    with pytest.raises(CohereInvalidRequestError) as refused:
        delete(**arguments, request_policy={"max_tries": 1})
    assert isinstance(refused.value, AirflowFailException)
    assert delete(**arguments) == done(ids[8], missing=0 if by_filter else 9)
    assert server.model.ids() == set()


@pytest.mark.parametrize(("answer", "kind"), [(error(401), CohereAuthenticationError), (per_month(), CohereQuotaError)])
def test_an_error_that_meets_all_stops_at_once(
    server: AdversarialServer, ids: list[str], heard: Callable[[], str], answer: Any, kind: type[CohereDatasetsError]
) -> None:
    server.script("DELETE", None, [Through(), answer], repeat=True)
    with pytest.raises(kind) as caught:
        delete(older_than=1)
    assert isinstance(caught.value, AirflowFailException)
    assert (server.count("DELETE"), server.model.deleted) == (2, [ids[9]])
    text = heard()
    assert f"Stopped after 1 of 10 datasets: {[ids[9]]}" in text
    assert "not known" not in text


def test_a_connection_that_is_not_usable_is_the_fault_of_no_dataset(connect: Connect) -> None:
    connect(password="")
    with pytest.raises(CohereInputError, match=r"^The API key is missing"):
        delete(dataset_ids=["a", "b"])


def test_a_server_that_is_down_is_not_asked_for_each(server: AdversarialServer, ids: list[str]) -> None:
    server.script("DELETE", None, [Through(), *[error(503)] * 4, Through(), error(503)], repeat=True)
    with pytest.raises(CohereServerError, match=r"could not be deleted \(.*, …\)") as caught:
        delete(older_than=1, request_policy=ONE_TRY)
    assert str(caught.value).startswith("8 of 10")
    assert server.count("DELETE") == 10
    server.reset(make_datasets(100))
    server.script("DELETE", None, [Through(), error(503)], repeat=True)
    with pytest.raises(CohereServerError, match=r"^5 of 100 datasets .*\), and 94 were not tried; for example"):
        delete(older_than=1, request_policy=ONE_TRY)
    assert server.count("DELETE") == 6


def test_a_server_that_refuses_each_is_not_down(server: AdversarialServer, ids: list[str]) -> None:
    server.script("DELETE", None, [error(409, "in use")] * 9)
    with pytest.raises(CohereInvalidRequestError, match=r"^9 of 10 datasets could not be deleted"):
        delete(dataset_ids=ids)
    assert server.model.deleted == [ids[9]]


def test_missing_ids_may_be_an_error(server: AdversarialServer, ids: list[str]) -> None:
    with pytest.raises(CohereDatasetNotFoundError, match=r"^1 of 3 datasets .*\('gone-123456'\)") as caught:
        delete(dataset_ids=[ids[0], "gone-123456", ids[1]], ignore_missing=False)
    assert isinstance(caught.value, AirflowFailException)
    assert server.model.deleted == ids[:2]


def test_a_web_page_does_not_say_that_a_dataset_is_gone(server: AdversarialServer, ids: list[str]) -> None:
    server.script("DELETE", path(ids[0]), [html(404)], repeat=True)
    with pytest.raises(CohereUnexpectedAnswerError, match="A web page came instead of the API's answer") as caught:
        delete(dataset_id=ids[0], request_policy=ONE_TRY)
    assert "datasets could not be deleted" not in str(caught.value)


def test_an_id_that_is_given_twice_is_deleted_once(server: AdversarialServer, ids: list[str]) -> None:
    assert delete(dataset_ids=[ids[3], ids[1], ids[3]]) == done(ids[3], ids[1])
    assert server.count() == 2


def test_a_listed_id_that_is_none_is_left(server: AdversarialServer) -> None:
    rows = [make_dataset(1, id="usage"), make_dataset(2, id=".."), make_dataset(3, id="a/b?c")]
    server.reset(rows)
    with pytest.raises(CohereInputError, match=r"^2 of 3 datasets could not be deleted \('usage', '\.\.'\)"):
        delete(older_than=DAY)
    assert server.model.deleted == ["a/b?c"]


def test_a_task_that_is_told_to_stop_deletes_no_more(
    server: AdversarialServer, ids: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    operator = CohereDeleteDatasetOperator(task_id="delete", dataset_ids=ids)
    existed = operator._existed

    def stopped(dataset_id: str, order: Any) -> bool:
        found = existed(dataset_id, order)
        if dataset_id == ids[1]:
            operator.on_kill()
        return found

    monkeypatch.setattr(operator, "_existed", stopped)
    with pytest.raises(CohereTaskStoppedError, match="2 of 10 were deleted") as caught:
        operator.execute({})
    assert not isinstance(caught.value, AirflowFailException)
    assert server.model.deleted == ids[:2]
    assert operator._deleting is None, "what ended is known"


@pytest.mark.parametrize("done_before", [0, 2])
def test_a_timeout_in_the_middle_says_what_is_deleted(
    server: AdversarialServer,
    ids: list[str],
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
    capsys: pytest.CaptureFixture[str],
    done_before: int,
) -> None:
    delete_dataset = CohereDatasetsHook.delete_dataset

    def interrupted(hook: CohereDatasetsHook, dataset_id: str, **options: Any) -> bool:
        if dataset_id == ids[done_before]:
            raise AirflowTaskTimeout("over")
        return delete_dataset(hook, dataset_id, **options)

    monkeypatch.setattr(CohereDatasetsHook, "delete_dataset", interrupted)
    with pytest.raises(AirflowTaskTimeout):
        delete(dataset_ids=ids)
    heard = "\n".join([*caplog.messages, capsys.readouterr().out])
    assert f"Stopped after {done_before} of 10 datasets: {ids[:done_before]}; " in heard
    assert f"whether {ids[done_before]!r} is deleted is not known" in heard
    assert server.model.deleted == ids[:done_before]


# -- Arguments -------------------------------------------------------------------------------------------------------

BAD: list[tuple[dict[str, Any], str]] = [
    ({}, "Give either .* not none of them"),
    ({"dataset_type": "x", "ignore_missing": "false"}, "ignore_missing must be True or False"),
    ({"dataset_id": ""}, "^dataset_id is empty"),
    ({"dataset_id": "", "validation_status": "failed"}, "^dataset_id is empty"),
    ({"dataset_ids": "", "dataset_type": "x"}, "^dataset_ids is empty"),
    ({"older_than": "", "validation_status": "failed"}, "^older_than is empty"),
    ({"older_than": 5, "validation_status": ""}, "^validation_status is empty"),
    ({"dataset_id": "a", "dataset_ids": ["b"]}, "not dataset_id and dataset_ids"),
    ({"dataset_id": "a", "older_than": 5}, "not dataset_id and a filter"),
    ({"dataset_ids": [], "validation_status": "failed"}, "not dataset_ids and a filter"),
    ({"older_than": 0}, "older_than of 0 alone"),
    ({"older_than": "0.0"}, "older_than of 0 alone"),
    ({"older_than": 1e-9}, "older_than of 0 alone"),
    ({"older_than": timedelta(0), "dataset_type": " "}, "^dataset_type is empty"),
    ({"older_than": -1, "dataset_type": "x"}, "older_than must be"),
    ({"older_than": -DAY}, "older_than must be"),
    ({"older_than": "nan"}, "older_than must be"),
    ({"older_than": "inf"}, "older_than must be"),
    ({"older_than": True}, "older_than must be"),
    ({"older_than": "P1D"}, "older_than must be"),
    ({"older_than": [1]}, "older_than must be"),
    ({"older_than": "None"}, 'older_than is the text "None"'),
    ({"dataset_type": "None"}, 'dataset_type is the text "None"'),
    ({"validation_status": "None"}, 'validation_status is the text "None"'),
    ({"validation_status": "broken"}, "validation_status 'broken' is not one of"),
    ({"dataset_ids": "a"}, "dataset_ids must be a list"),
    ({"dataset_ids": ["a", "usage"]}, r"dataset_ids\[1\] 'usage' cannot be"),
    ({"dataset_ids": ["a", ""]}, r"dataset_ids\[1\] is empty"),
    ({"dataset_ids": ["a", 7]}, r"dataset_ids\[1\] must be a text"),
    ({"dataset_ids": [f"x-{n}" for n in range(1001)], "max_deletions": 5000}, "dataset_ids has 1001 ids"),
    ({"dataset_type": "x", "max_deletions": 0}, "max_deletions must be"),
    ({"dataset_type": "x", "max_deletions": None}, "max_deletions must be"),
    ({"dataset_type": "x", "max_deletions": ""}, "max_deletions must be"),
    ({"dataset_type": "x", "max_deletions": "all"}, "max_deletions must be"),
    ({"dataset_type": "x", "max_deletions": True}, "max_deletions must be"),
    ({"dataset_type": "x", "dry_run": ""}, "dry_run must be True or False"),
    ({"dataset_type": "x", "dry_run": None}, "dry_run must be True or False"),
    ({"dataset_type": "x", "dry_run": "no"}, "dry_run must be True or False"),
    ({"dataset_type": "x", "dry_run": 0}, "dry_run must be True or False"),
]


@pytest.mark.parametrize(("arguments", "says"), BAD)
def test_bad_arguments_are_one_sentence_when_the_dag_is_read(
    server: AdversarialServer, arguments: dict[str, Any], says: str
) -> None:
    with pytest.raises(CohereInputError, match=says) as caught:
        CohereDeleteDatasetOperator(task_id="delete", **arguments)
    assert isinstance(caught.value, AirflowFailException)
    assert str(caught.value).count(". ") == 0


@pytest.mark.parametrize(("arguments", "says"), BAD[2:])
def test_and_when_they_come_out_of_templates(server: AdversarialServer, arguments: dict[str, Any], says: str) -> None:
    with DAG("native", schedule=None, render_template_as_native_obj=True):
        templates = {name: f"{{{{ {name} }}}}" for name in arguments}
        operator = CohereDeleteDatasetOperator(task_id="delete", **templates)  # type: ignore[arg-type]
    for name, value in arguments.items():  # What a template of this kind renders to.
        setattr(operator, name, value)
    with pytest.raises(CohereInputError, match=says) as caught:
        operator.execute({})
    assert isinstance(caught.value, AirflowFailException)
    assert server.requests == []


def test_a_filter_of_which_a_template_is_a_part_is_judged_when_it_is_known(
    server: AdversarialServer, ids: list[str]
) -> None:
    operator = CohereDeleteDatasetOperator(task_id="delete", older_than=0, dataset_type="{{ params.type }}")
    operator.dataset_type = "embed-input"
    assert operator.execute({})["count"] == 10


def test_templates_are_used(server: AdversarialServer, ids: list[str]) -> None:
    operator = CohereDeleteDatasetOperator(
        task_id="delete",
        older_than="{{ days * 86400 }}",
        dataset_type="{{ type }}",
        max_deletions="{{ most }}",
        dry_run="{{ dry }}",
    )
    values: Any = {"days": 6, "type": "embed-input", "most": 4, "dry": True}
    operator.render_template_fields(values)
    assert operator.execute({}) == done(*ids[:5:-1], dry_run=True)
    operator.max_deletions = "3"
    with pytest.raises(CohereInputError, match="4 datasets match"):
        operator.execute({})
    assert server.count("DELETE") == 0


@pytest.mark.parametrize("name", ["dataset_id", "dataset_ids", "older_than", "dataset_type", "validation_status"])
@pytest.mark.parametrize("nothing", [None, "", " "])
def test_what_selects_must_not_become_nothing(
    server: AdversarialServer, ids: list[str], name: str, nothing: Any
) -> None:
    """A task that returned nothing, or a native template, must not make the selection wider."""
    beside = {} if name.startswith("dataset_id") else {"validation_status": "validated", "dataset_type": "embed-input"}
    operator = CohereDeleteDatasetOperator(task_id="delete", **{**beside, name: "{{ params.given }}"})
    setattr(operator, name, nothing)
    with pytest.raises(CohereInputError, match=rf"^{name} is empty: "):
        operator.execute({})
    assert server.requests == []


def test_an_upload_that_failed_does_not_keep_the_others(server: AdversarialServer, ids: list[str]) -> None:
    """So it is with a teardown of several uploads."""
    assert delete(dataset_ids=[None, ids[0], None, {"id": ids[1]}]) == done(ids[0], ids[1])
    assert delete(dataset_ids=[None]) == done()
    with pytest.raises(CohereInputError, match=r"^dataset_ids\[1\] is None: "):
        delete(dataset_ids=[ids[2], None], ignore_missing=False)
    assert server.model.ids() == set(ids[2:])


@pytest.mark.parametrize("shown", [None, 7, {"kind": "embed-input"}])
def test_a_dataset_whose_type_is_not_shown_is_not_of_that_type(server: AdversarialServer, shown: Any) -> None:
    server.reset([make_dataset(0), make_dataset(1, type=shown)], Listing(ignore_filters={"datasetType"}))
    assert delete(dataset_type="embed-input") == done(make_dataset(0)["id"])


class Nothing(list[str]):
    """The results of a task that was mapped over nothing, as a template gets them: they equal an empty text."""

    def __eq__(self, other: object) -> bool:
        return other in ("", [])

    __hash__ = None  # type: ignore[assignment]


def test_no_results_of_a_mapped_task_are_none_to_delete(server: AdversarialServer) -> None:
    assert delete(dataset_ids=Nothing()) == done()
    with pytest.raises(CohereInputError, match=r"not dataset_ids and a filter\.$"):
        delete(dataset_ids=Nothing(), dataset_type="embed-input")
    with pytest.raises(CohereInputError, match="dataset_id must be a text"):
        delete(dataset_id=Nothing())
    assert server.requests == []


@pytest.mark.filterwarnings("default")
@pytest.mark.filterwarnings("error:::airflow_provider_cohere_datasets")
def test_ids_of_other_tasks_and_mapped_tasks(server: AdversarialServer, ids: list[str]) -> None:
    for dataset_id in ids[5:]:
        server.model.update(dataset_id, validation_status="failed")
    server.script("DELETE", path(ids[9]), [error(503)])
    with DAG("cleanup", schedule=None) as dag:
        failed = CohereListDatasetsOperator(task_id="failed", validation_status="failed")
        many = CohereDeleteDatasetOperator(
            task_id="many",
            dataset_ids=failed.output,
            request_policy=ONE_TRY,
            retries=1,
            retry_delay=timedelta(0),
        )
        rest = CohereListDatasetsOperator(task_id="rest", limit=2)
        each = CohereDeleteDatasetOperator.partial(task_id="each").expand(dataset_id=rest.output)
        kinds = CohereDeleteDatasetOperator.partial(task_id="kinds", older_than="{{ 2 * 86400 }}").expand(
            dataset_type=["embed-input", "embed-result"]
        )
        wider = CohereDeleteDatasetOperator.partial(task_id="wider", older_than=1).expand(dataset_type=[None])
        neither = CohereDeleteDatasetOperator.partial(task_id="neither").expand(dataset_id=[None, ""])
        many >> rest
        each >> kinds >> [neither, wider]
    tasks = run(dag)
    states = {name: str(task.state) for name, task in tasks.items() if name[0] not in {"neither", "wider"}}
    assert set(states.values()) == {"success"}

    def result(name: str, index: int = -1) -> Any:
        return tasks[name, index].xcom_pull(task_ids=name, map_indexes=index)

    assert result("many") == done(ids[9], missing=4)
    assert [result("each", index) for index in range(2)] == [done(ids[0]), done(ids[1])]
    swept = [dataset_id for index in range(2) for dataset_id in result("kinds", index)["deleted"]]
    assert sorted(swept) == sorted(ids[2:5])
    assert [str(tasks["neither", index].state) for index in range(2)] == ["failed", "failed"]
    assert str(tasks["wider", 0].state) == "failed"
    assert server.model.ids() == set()


@pytest.mark.filterwarnings("default")
@pytest.mark.filterwarnings("error:::airflow_provider_cohere_datasets")
def test_none_in_expand_kwargs_deletes_no_more(server: AdversarialServer, ids: list[str]) -> None:
    lost: list[dict[str, Any]] = [
        {"dataset_id": None, "dataset_type": "embed-input"},
        {"dataset_ids": None, "dataset_type": "embed-input"},
        {"dataset_id": None},
        {"dataset_ids": None},
    ]
    with DAG("given_nothing", schedule=None) as dag:
        CohereDeleteDatasetOperator.partial(task_id="lost").expand_kwargs(lost)
        CohereDeleteDatasetOperator.partial(task_id="wider", dataset_type="embed-input").expand_kwargs(
            [{"validation_status": None}, {"older_than": None}, {"max_deletions": None}]
        )
        CohereDeleteDatasetOperator.partial(task_id="dry", dataset_id=None, dry_run=True).expand_kwargs(
            [{"dataset_type": "embed-input"}, {"older_than": 1}]
        )
    tasks = run(dag)
    states = {name: str(task.state) for name, task in tasks.items()}
    assert {state for (name, _), state in states.items() if name != "dry"} == {"failed"}
    assert [states["dry", index] for index in range(2)] == ["success", "success"]
    assert server.model.ids() == set(ids)


def test_an_instance_of_a_mapped_task_names_what_was_none(server: AdversarialServer) -> None:
    with DAG("given_nothing", schedule=None) as dag:
        task = CohereDeleteDatasetOperator.partial(task_id="each").expand(dataset_id=[None])
    instance = task.unmap({"dataset_id": None})
    with pytest.raises(
        CohereInputError, match="dataset_id is empty: a template or another task gave no value"
    ) as caught:
        instance.execute({"dag": dag})
    assert isinstance(caught.value, AirflowFailException)
    assert server.requests == []
