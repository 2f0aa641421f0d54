"""One task instance makes one dataset of the same data, whatever happens between it and the server."""

from __future__ import annotations

import os
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from email.utils import format_datetime
from pathlib import Path
from typing import Any

import pytest
from airflow.providers.common.compat.sdk import AirflowException, AirflowFailException

from airflow_provider_cohere_datasets.core.errors import (
    CohereDatasetNotFoundError,
    CohereInvalidRequestError,
    CohereServerError,
    CohereUnexpectedAnswerError,
    CohereUploadAmbiguousError,
    CohereUploadUnsettledError,
)
from airflow_provider_cohere_datasets.operators.datasets import CohereCreateDatasetOperator
from tests.adversary import (
    AdversarialServer,
    Answer,
    BreakUpload,
    Close,
    CutBody,
    DripHeaders,
    Fault,
    Hang,
    Lost,
    Reset,
    broken_json,
    empty_502,
    error,
    html,
    make_dataset,
)
from tests.operators.creating import (
    LIST,
    POLICY,
    Task,
    made,
    policy,
)

# -- Faults of the upload ---------------------------------------------------------------------------------------------

CREATED: dict[str, Fault] = {
    "502": Lost(error(502)),
    "empty 502": Lost(empty_502()),
    "500": Lost(error(500)),
    "503": Lost(error(503, retry_after="1")),
    "504": Lost(error(504)),
    "HTML": Lost(html()),
    "closed": Lost(Close()),
    "reset": Lost(Reset()),
    "silence": Lost(Hang()),
    "dripping": Lost(DripHeaders()),
    "cut": CutBody(),
    "cut with a reset": CutBody(reset=True),
    "cut chunks": CutBody(chunked=True),
    "broken JSON": broken_json(),
    "no id": Lost(Answer(json={})),
}
NOT_CREATED: dict[str, Fault] = {
    "503": error(503),
    "HTML": html(),
    "closed": Close(),
    "reset": Reset(),
    "broken in the body": BreakUpload(0),
    "silence": Hang(),
    "silence in the body": Hang(needs_body=0),
    "no id": Answer(json={}),
}


created_unseen = pytest.mark.parametrize("fault", CREATED.values(), ids=list(CREATED))
not_created = pytest.mark.parametrize("fault", NOT_CREATED.values(), ids=list(NOT_CREATED))
with_store = pytest.mark.parametrize("store", [True, False], ids=["3.3", "below"])


@created_unseen
def test_a_dataset_whose_answer_is_lost_is_found_in_the_same_try(
    server: AdversarialServer, data: Path, waits: list[float], fault: Fault
) -> None:
    server.script("POST", LIST, [fault])
    result = Task(data, request_policy=policy(fault)).run()
    assert [result["id"]] == made(server)
    assert server.count("POST") == 1
    assert waits == []


@with_store
@created_unseen
def test_the_next_try_finds_it_if_this_one_could_not(
    server: AdversarialServer, data: Path, waits: list[float], fault: Fault, store: bool
) -> None:
    server.script("POST", LIST, [fault])
    server.script("GET", LIST, [error(503)])
    task = Task(data, store=store)
    with pytest.raises(CohereUploadUnsettledError, match=r"Another try looks for it.*cohere_default") as caught:
        task.run(request_policy=policy(fault))
    assert isinstance(caught.value, AirflowException)
    assert not isinstance(caught.value, AirflowFailException)
    result = task.run(request_policy=POLICY)
    assert [result["id"]] == made(server)
    assert result["adopted"]
    assert server.count("POST") == 1
    again = task.run()
    assert (again["id"], again["adopted"], server.count("POST")) == (result["id"], True, 1)


@with_store
@not_created
def test_what_was_not_created_is_sent_again_by_the_next_try(
    server: AdversarialServer, data: Path, waits: list[float], fault: Fault, store: bool
) -> None:
    server.script("POST", LIST, [fault])
    task = Task(data, store=store)
    with pytest.raises(CohereUploadUnsettledError):
        task.run(request_policy=policy(fault))
    assert (waits, made(server)) == ([2.0, 5.0], [])
    result = task.run(request_policy=POLICY)
    assert waits == [2.0, 5.0] * 2
    assert [result["id"]] == made(server)
    assert not result["adopted"]
    assert server.count("POST") == 2


def test_the_next_try_comes_when_the_server_asked_for_it(
    server: AdversarialServer, data: Path, waits: list[float]
) -> None:
    server.script("POST", LIST, [Lost(error(503, retry_after="90"))])
    server.script("GET", LIST, [error(400)])
    with pytest.raises(CohereUploadUnsettledError) as caught:
        Task(data).run()
    assert (caught.value.status, caught.value.retry_after) == (503, 90.0)


def test_what_turns_up_after_the_try_is_found_too(server: AdversarialServer, data: Path, waits: list[float]) -> None:
    server.script("POST", LIST, [Close()])
    task = Task(data)
    with pytest.raises(CohereUploadUnsettledError):
        task.run()
    late = server.model.fresh(name="news", status="unknown", created_at=datetime.now(UTC))["id"]
    assert task.run()["id"] == late
    assert made(server) == []
    server.requests.clear()
    assert task.run()["id"] == late
    assert [request.path for request in server.requests] == [f"{LIST}/{late}"]


def test_the_time_of_the_first_upload_is_what_counts(server: AdversarialServer, data: Path, waits: list[float]) -> None:
    task = Task(data)
    server.script("POST", LIST, [Close(), Close()])
    with pytest.raises(CohereUploadUnsettledError):
        task.run()
    assert task.store is not None
    since = task.store["cohere_datasets_upload"]["since"] = datetime.now(UTC).timestamp() - 3600
    with pytest.raises(CohereUploadUnsettledError):
        task.run()
    assert task.store["cohere_datasets_upload"]["since"] == since
    late = server.model.fresh(name="news", created_at=datetime.now(UTC) - timedelta(minutes=50))["id"]
    assert task.run()["id"] == late


def test_the_clock_of_the_worker_before_may_be_ahead(server: AdversarialServer, data: Path, waits: list[float]) -> None:
    task = Task(data)
    server.script("POST", LIST, [Close()])
    with pytest.raises(CohereUploadUnsettledError):
        task.run()
    assert task.store is not None
    task.store["cohere_datasets_upload"]["since"] = datetime.now(UTC).timestamp() + 30
    late = server.model.fresh(name="news", created_at=datetime.now(UTC))["id"]
    its_clock = {"Date": format_datetime(datetime.now(UTC), usegmt=True)}
    page = Answer(json={"datasets": server.model.datasets}, headers=its_clock)
    server.script("GET", LIST, [page], repeat=True)
    assert task.run()["id"] == late
    assert made(server) == []


def test_below_3_3_the_begin_of_the_run_is_what_counts(
    server: AdversarialServer, data: Path, waits: list[float]
) -> None:
    server.script("POST", LIST, [Close()])
    task = Task(data, store=False)
    with pytest.raises(CohereUploadUnsettledError):
        task.run()
    task.begun -= timedelta(hours=1)
    late = server.model.fresh(name="news", created_at=datetime.now(UTC) - timedelta(minutes=50))["id"]
    assert task.run()["id"] == late
    assert made(server) == []


def test_a_permanent_refusal_is_not_looked_for(server: AdversarialServer, data: Path, waits: list[float]) -> None:
    server.script("POST", LIST, [error(400, "no")])
    with pytest.raises(CohereInvalidRequestError) as caught:
        Task(data).run()
    assert isinstance(caught.value, AirflowFailException)
    assert server.count("GET", LIST) == 0


def test_a_lookup_that_fails_sends_nothing(server: AdversarialServer, data: Path, waits: list[float]) -> None:
    server.script("POST", LIST, [Close()])
    task = Task(data)
    with pytest.raises(CohereUploadUnsettledError):
        task.run()
    server.script("GET", LIST, [error(503)])
    with pytest.raises(CohereServerError):
        task.run()
    assert server.count("POST") == 1
    assert not task.run()["adopted"]


def test_several_candidates_fail_the_task_for_good(server: AdversarialServer, data: Path, waits: list[float]) -> None:
    for _ in range(2):
        server.model.fresh(name="news", created_at=datetime.now(UTC))
    server.script("POST", LIST, [Close()])
    with pytest.raises(CohereUploadAmbiguousError, match="names that do not repeat") as caught:
        Task(data).run()
    assert isinstance(caught.value, AirflowFailException)
    assert caught.value.conn_id == "cohere_default"


# -- What a task remembers --------------------------------------------------------------------------------------------


def test_a_retry_adopts_by_the_id(server: AdversarialServer, data: Path) -> None:
    task = Task(data)
    first = task.run()
    remembered = dict(task.store or {})
    server.requests.clear()
    again = task.run()
    assert again == {**first, "adopted": True}
    assert [(request.method, request.path) for request in server.requests] == [("GET", f"{LIST}/{first['id']}")]
    assert task.store == remembered != {}


def test_who_has_more_retries_than_tries_left_made_no_try_before(
    server: AdversarialServer, data: Path, waits: list[float]
) -> None:
    """So it is in a user's unit test, and where the retries of a DAG grew during a run."""
    server.model.fresh(name="news", created_at=datetime.now(UTC))
    task = Task(data, store=False)
    task.max_tries = 0
    assert not task.run()["adopted"]
    assert len(made(server)) == 1


def test_a_dataset_that_is_gone_is_uploaded_again(
    server: AdversarialServer, data: Path, heard: Callable[[], str]
) -> None:
    task = Task(data)
    first = task.run()
    server.model.delete(first["id"])
    again = task.run()
    assert made(server) == [first["id"], again["id"]]
    assert not again["adopted"]
    assert f"Dataset {first['id']} of an earlier try is gone; uploading again." in heard()


def test_a_404_alone_is_no_reason_to_upload_again(server: AdversarialServer, data: Path) -> None:
    """A gateway whose backend is away may say it of any dataset."""
    task = Task(data)
    first = task.run()
    server.script("GET", f"{LIST}/{first['id']}", [error(404)], repeat=True)
    again = task.run()
    assert (again["id"], again["adopted"]) == (first["id"], True)
    assert made(server) == [first["id"]]
    server.script("GET", LIST, [error(404)], repeat=True)
    with pytest.raises(CohereDatasetNotFoundError):
        task.run()
    assert made(server) == [first["id"]]


def test_the_same_data_fetched_again_is_the_same_data(server: AdversarialServer, data: Path) -> None:
    task = Task(data)
    first = task.run()
    data.write_text(data.read_text())
    os.utime(data, (1000, 1000))
    again = data.with_name("again.jsonl")
    again.write_text(data.read_text())
    for same in (str(data), data.as_uri(), str(again)):
        assert (task.run(data=same)["id"], task.run()["adopted"]) == (first["id"], True)
    assert made(server) == [first["id"]]


def test_a_web_page_is_not_taken_for_the_end_of_a_dataset(server: AdversarialServer, data: Path) -> None:
    task = Task(data)
    first = task.run()
    server.script("GET", f"{LIST}/{first['id']}", [html(404)], repeat=True)
    with pytest.raises(CohereUnexpectedAnswerError, match="A web page came"):
        task.run()
    assert made(server) == [first["id"]]


def test_an_id_that_the_server_refuses_is_not_given_up(server: AdversarialServer, data: Path) -> None:
    task = Task(data)
    first = task.run()
    server.script("GET", f"{LIST}/{first['id']}", [error(400)], repeat=True)
    with pytest.raises(CohereInvalidRequestError):
        task.run()
    assert made(server) == [first["id"]]


def test_an_id_that_cannot_be_checked_is_not_given_up(server: AdversarialServer, data: Path) -> None:
    task = Task(data)
    first = task.run()
    server.script("GET", f"{LIST}/{first['id']}", [error(503)])
    with pytest.raises(CohereServerError):
        task.run()
    assert task.run()["id"] == first["id"]
    assert server.count("POST") == 1


def test_who_clears_a_task_gets_another_dataset(server: AdversarialServer, data: Path) -> None:
    task = Task(data)
    ids = []
    for _ in range(3):
        result = task.run()
        ids.append(result["id"])
        assert not result["adopted"]
        assert task.run()["id"] == ids[-1]  # a retry
        task.clear()
    assert made(server) == ids
    assert len(set(ids)) == 3
    assert task.store is not None
    assert task.store["cohere_datasets_upload"]["others"] == ids[:2]


def test_after_a_clear_the_dataset_from_before_is_no_candidate(
    server: AdversarialServer, data: Path, waits: list[float]
) -> None:
    task = Task(data)
    first = task.run()["id"]
    task.clear()
    server.script("POST", LIST, [Lost(Close())])
    second = task.run()["id"]
    assert made(server) == [first, second]
    task.clear()
    server.script("POST", LIST, [Close()])
    with pytest.raises(CohereUploadUnsettledError):
        task.run()
    assert made(server)[:2] == [first, second]
    third = task.run()
    assert made(server) == [first, second, third["id"]]


def test_only_so_many_others_are_remembered(server: AdversarialServer, data: Path) -> None:
    task = Task(data)
    for _ in range(23):
        task.run()
        task.clear()
    assert task.store is not None
    others = task.store["cohere_datasets_upload"]["others"]
    assert others == made(server)[2:22]


def test_who_clears_a_task_may_keep_its_dataset(server: AdversarialServer, data: Path) -> None:
    task = Task(data, reuse_on_clear=True)
    first = task.run()
    task.clear()
    assert task.run() == {**first, "adopted": True}
    data.write_text('{"text": "other"}\n')
    task.clear()
    assert not task.run()["adopted"]
    assert len(made(server)) == 2


@pytest.mark.parametrize(
    "change",
    [
        {"name": "olds"},
        {"keep_fields": ["lang"]},
        {"skip_malformed_input": True},
        {"data": "other.jsonl"},
        {"eval_data": "other.jsonl"},
    ],
    ids=lambda change: next(iter(change)),
)
def test_other_arguments_make_another_dataset(server: AdversarialServer, data: Path, change: dict[str, Any]) -> None:
    (data.parent / "other.jsonl").write_text('{"text": "others"}\n')
    task = Task(data)
    first = task.run()["id"]
    files = {name: str(data.parent / value) for name, value in change.items() if value == "other.jsonl"}
    result = task.run(**{**change, **files})
    assert not result["adopted"]
    assert made(server) == [first, result["id"]]
    assert task.run()["id"] == result["id"]


def test_other_data_makes_another_dataset(server: AdversarialServer, data: Path, waits: list[float]) -> None:
    task = Task(data)
    first = task.run()["id"]
    data.write_text('{"text": "HELLO"}\n')
    server.script("POST", LIST, [Lost(Close())])
    second = task.run()["id"]
    assert made(server) == [first, second]


@pytest.mark.parametrize("stored", ["text", ["list"], {}, {"fingerprint": "other", "cleared_after": 0}])
def test_a_memory_of_something_else_is_none(server: AdversarialServer, data: Path, stored: Any) -> None:
    task = Task(data)
    assert task.store is not None
    task.store["cohere_datasets_upload"] = stored
    assert not task.run()["adopted"]


def test_without_any_context(server: AdversarialServer, data: Path) -> None:
    operator = CohereCreateDatasetOperator(task_id="x", name="n", dataset_type="embed-input", data=str(data))
    assert made(server) == []
    assert [operator.execute({})["id"], operator.execute({})["id"]] == made(server)


class TestBelowAirflow33:
    """There is no state store, so all that is known is whether there was a try before, and when the run began."""

    def test_the_next_try_looks(self, server: AdversarialServer, data: Path, waits: list[float]) -> None:
        task = Task(data, store=False)
        first = task.run()
        assert server.count("GET", LIST) == 0
        assert task.run() == {**first, "adopted": True}
        assert made(server) == [first["id"]]

    def test_a_run_that_does_not_say_when_it_began(
        self, server: AdversarialServer, data: Path, waits: list[float]
    ) -> None:
        task = Task(data, store=False)
        task.begun = None  # type: ignore[assignment]
        task.run()
        task.run()
        assert len(made(server)) == 1  # this server tells no time, so a minute is forgiven

    def test_what_was_there_before_the_run_is_left_alone(
        self, server: AdversarialServer, data: Path, waits: list[float]
    ) -> None:
        server.model.add(make_dataset(77, name="news", created_at=datetime.now(UTC) - timedelta(hours=2)))
        task = Task(data, store=False)
        task.try_number = 1
        assert [task.run()["id"]] == made(server)

    def test_a_clear_is_no_retry(self, server: AdversarialServer, data: Path, waits: list[float]) -> None:
        task = Task(data, store=False)
        task.run()
        task.clear()
        assert not task.run()["adopted"]
        assert len(made(server)) == 2
