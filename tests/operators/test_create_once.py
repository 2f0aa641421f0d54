"""One task instance makes one dataset of the same data, whatever happens between it and the server."""

from __future__ import annotations

import asyncio
import json
import logging
import os
from collections.abc import Callable
from contextlib import suppress
from datetime import UTC, datetime, timedelta
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from airflow.providers.common.compat.sdk import (
    DAG,
    AirflowException,
    AirflowFailException,
    Asset,
    TaskDeferred,
    task,
    task_group,
)

from airflow_provider_cohere_datasets.core import creation
from airflow_provider_cohere_datasets.core.errors import (
    CohereAuthenticationError,
    CohereDatasetFailedError,
    CohereDatasetNotFoundError,
    CohereDatasetsError,
    CohereDatasetSkippedError,
    CohereEventError,
    CohereInputError,
    CohereInvalidRequestError,
    CoherePermissionError,
    CohereQuotaError,
    CohereServerError,
    CohereTaskStoppedError,
    CohereUnexpectedAnswerError,
    CohereUploadAmbiguousError,
    CohereUploadUnsettledError,
    CohereValidationTimeoutError,
)
from airflow_provider_cohere_datasets.core.limits import QUOTA
from airflow_provider_cohere_datasets.core.looking import Observation
from airflow_provider_cohere_datasets.core.wait_event import WaitEvent
from airflow_provider_cohere_datasets.hooks.datasets import CohereDatasetsHook
from airflow_provider_cohere_datasets.operators.datasets import CohereCreateDatasetOperator
from airflow_provider_cohere_datasets.transport.blocking import BlockingTransport
from airflow_provider_cohere_datasets.triggers.datasets import CohereDatasetValidationTrigger
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
    Through,
    broken_json,
    empty_502,
    error,
    html,
    make_dataset,
    per_month,
)
from tests.hooks.conftest import Connect
from tests.sensors.modes import Store, as_json, fire, rebuilt
from tests.versions import OutletEventAccessors

LIST, USAGE, ONE = "/v1/datasets", "/v1/datasets/usage", "/v1/datasets/news-*"
#: Patient enough for a busy machine ...
POLICY = {"max_tries": 1, "backoff_base": 0, "read_timeout": 5}
#: ... unless the server never answers.
IMPATIENT = {**POLICY, "read_timeout": 0.4, "upload_timeout": 0.6}


@pytest.fixture
def waits(monkeypatch: pytest.MonkeyPatch) -> list[float]:
    """The seconds that tasks waited between requests; nobody really waits, but the clock moves."""
    slept: list[float] = []
    defaults = BlockingTransport.__init__.__kwdefaults__
    monkeypatch.setitem(defaults, "sleep", slept.append)
    monkeypatch.setitem(defaults, "clock", lambda: float(sum(slept)))
    return slept


@pytest.fixture
def data(tmp_path: Path) -> Path:
    path = tmp_path / "rows.jsonl"
    path.write_text('{"text": "hello"}\n')
    return path


class Task:
    """A task instance, of which each try is another process.

    :param data: what it uploads.
    :param store: whether Airflow has a state store for tasks.
    :param arguments: of the operator.
    """

    def __init__(self, data: Path | str, *, store: bool = True, map_index: int = -1, **arguments: Any) -> None:
        self.arguments = {"name": "news", "data": str(data), "retries": 2, "request_policy": POLICY, **arguments}
        self.store = Store() if store else None
        self.try_number, self.max_tries, self.map_index = 0, self.arguments["retries"], map_index
        self.dag: Any = None
        self.outlet_events: Any = {}
        self.make: Callable[[], Any] = lambda: CohereCreateDatasetOperator(
            task_id="create", dataset_type="embed-input", **self.arguments
        )
        self.operator: Any = None
        self.begun = datetime.now(UTC)

    def context(self) -> Any:
        facts = {"dag_id": "d", "task_id": "create", "run_id": "r", "map_index": self.map_index}
        ti = SimpleNamespace(try_number=self.try_number, max_tries=self.max_tries, **facts)
        dag_run = SimpleNamespace(start_date=self.begun)
        context = {"ti": ti, "dag": self.dag, "dag_run": dag_run, "outlet_events": self.outlet_events}
        return context if self.store is None else {**context, "task_state_store": self.store}

    def run(self, **changes: Any) -> dict[str, Any]:
        """Make the next try."""
        self.arguments |= changes
        self.try_number += 1
        return self._result(lambda: self.operator.execute(self.context()))

    def resume(self, deferred: TaskDeferred, event: Any) -> dict[str, Any]:
        """Go on with a try after its trigger has fired."""
        kwargs = as_json({**(deferred.kwargs or {}), "event": event})
        return self._result(lambda: self.operator.resume_execution(deferred.method_name, kwargs, self.context()))

    def clear(self) -> None:
        """Clear the task, as a user does."""
        self.max_tries = self.try_number + self.arguments["retries"]

    def _result(self, run: Callable[[], Any]) -> dict[str, Any]:
        self.operator = self.make()
        result: dict[str, Any] = run()
        assert as_json(result) == result
        assert len(json.dumps(result)) < 1000
        return result


def made(server: AdversarialServer) -> list[str]:
    """Return the datasets that uploads made, deleted ones included."""
    return list(server.model.uploads)


@pytest.fixture
def heard(caplog: pytest.LogCaptureFixture, capsys: pytest.CaptureFixture[str]) -> Callable[[], str]:
    """All that was logged; whether Airflow's loggers are the standard ones or print depends on what it has loaded."""
    caplog.set_level(logging.INFO)
    return lambda: "\n".join([*caplog.messages, capsys.readouterr().out])


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


def policy(fault: Fault) -> dict[str, Any]:
    """Return a request policy that waits for the answer to an upload no longer than it must."""
    played = fault.fault if isinstance(fault, Lost) else fault
    return IMPATIENT if isinstance(played, Hang | DripHeaders) else POLICY


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


def test_what_turns_up_after_the_try_is_found_too(server: AdversarialServer, data: Path, waits: list[float]) -> None:
    server.script("POST", LIST, [Close()])
    task = Task(data)
    with pytest.raises(CohereUploadUnsettledError):
        task.run()
    late = server.model.fresh(name="news", status="unknown", created_at=datetime.now(UTC))["id"]
    assert task.run()["id"] == late
    assert made(server) == []


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
    server.requests.clear()
    again = task.run()
    assert again == {**first, "adopted": True}
    assert [(request.method, request.path) for request in server.requests] == [("GET", f"{LIST}/{first['id']}")]


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


# -- Mapped tasks -----------------------------------------------------------------------------------------------------


def mapped(data: list[Path], **partial: Any) -> list[Task]:
    """Return the instances of a task that is mapped over its data."""
    with DAG("d", schedule=None) as dag:
        operator = CohereCreateDatasetOperator.partial(
            task_id="create", dataset_type="embed-input", retries=2, request_policy=POLICY, **partial
        ).expand(data=[str(path) for path in data])
    tasks = [Task(path, map_index=index) for index, path in enumerate(data)]
    for each in tasks:
        each.dag = dag
        arguments = {"data": each.arguments["data"]}
        each.make = lambda arguments=arguments: operator.unmap(arguments)  # type: ignore[misc]
    return tasks


@pytest.fixture
def both(data: Path, tmp_path: Path) -> list[Path]:
    other = tmp_path / "other.jsonl"
    other.write_text('{"text": "hallo"}\n')
    return [data, other]


def test_instances_that_share_a_name_are_not_taken_for_each_other(
    server: AdversarialServer, both: list[Path], waits: list[float]
) -> None:
    first, second = mapped(both, name="news")
    first.run()
    server.script("POST", LIST, [Close()])
    with pytest.raises(CohereUploadAmbiguousError) as caught:
        second.run()
    assert isinstance(caught.value, AirflowFailException)
    assert server.count("POST") == 2
    assert first.run()["adopted"]  # whose id is known


def test_a_shared_name_is_no_trouble_without_candidates(
    server: AdversarialServer, both: list[Path], waits: list[float]
) -> None:
    first, second = mapped(both, name="news")
    server.script("POST", LIST, [Close()])
    with pytest.raises(CohereUploadUnsettledError):
        second.run()
    assert not second.run()["adopted"]
    assert first.run()["id"] != second.run()["id"]
    assert len(made(server)) == 2


def test_with_unique_names_each_instance_finds_its_own(
    server: AdversarialServer, both: list[Path], waits: list[float]
) -> None:
    first, second = mapped(both, name="news", unique_name=True)
    server.script("POST", LIST, [Lost(Close()), Lost(Close())])
    results = [first.run(), second.run()]
    assert [result["id"] for result in results] == made(server)
    assert len({result["name"] for result in results}) == 2


def test_an_index_that_gets_other_data_is_another_upload(
    server: AdversarialServer, both: list[Path], waits: list[float]
) -> None:
    first, other = mapped(both, name="news")
    before = first.run()["id"]
    first.make = other.make
    result = first.run()
    assert not result["adopted"]
    assert made(server) == [before, result["id"]]


SHARED = {"news": True, "news-{{ ds }}": True, "news-{{ ti.map_index }}": False, "{{ task.data }}": False}


@pytest.mark.parametrize(("name", "shared"), SHARED.items())
def test_which_names_are_shared(both: list[Path], name: str, shared: bool) -> None:
    (instance, _) = mapped(both, name=name)
    instance.try_number = 1
    assert instance.make()._name_is_shared(instance.context()) is shared
    instance.map_index = -1
    assert instance.make()._name_is_shared(instance.context()) is False


@pytest.mark.filterwarnings("ignore")  # of Airflow, for tasks that are made outside a file of DAGs
def test_which_names_are_shared_in_other_ways_of_mapping() -> None:
    with DAG("d", schedule=None) as dag:

        @task
        def names() -> str:
            return "news"

        kind = {"dataset_type": "embed-input"}
        make = CohereCreateDatasetOperator
        make.partial(task_id="one", name=names(), **kind).expand(data=["a", "b"])
        make.partial(task_id="each", data="a", **kind).expand(name=["a", "b"])
        make.partial(task_id="both", **kind).expand_kwargs([{"data": "a", "name": "a"}])
        make.partial(task_id="given", **kind).expand_kwargs(names())
        make.partial(task_id="twice", data="a", **kind).expand(name=["x", "b", "x"])
        make.partial(task_id="crossed", **kind).expand(name=["x", "b"], data=["a", "b"])
        make.partial(task_id="one_file", **kind).expand(name=["x", "b"], data=["a"])
        make.partial(task_id="some_files", **kind).expand(name=["x", "b"], data=names())
        make.partial(task_id="same", **kind).expand_kwargs([{"data": "a", "name": "x"}, {"data": "b", "name": "x"}])

        @task_group
        def group(path: str) -> None:
            make(task_id="plain", name="news", data=path, **kind)
            make(task_id="dated", name="news-{{ ds }}", data=path, **kind)
            make(task_id="own", name=path, data="a", **kind)

        group.expand(path=["a", "b"])
    expected = {"one": True, "each": False, "both": False, "given": False, "twice": True, "same": True}
    expected |= {"crossed": True, "one_file": False, "some_files": True}
    expected |= {"group.plain": True, "group.dated": True, "group.own": False}
    context: Any = {"ti": SimpleNamespace(map_index=0), "dag": dag}
    found = {}
    for task_id in expected:
        known = dag.get_task(task_id)
        operator = known if isinstance(known, make) else make(task_id="x", name="x", data="x", **kind)
        operator.task_id = task_id
        found[task_id] = operator._name_is_shared(context)
    assert found == expected


# -- Unique names -----------------------------------------------------------------------------------------------------


def test_a_unique_name_is_that_of_the_task_instance(server: AdversarialServer, data: Path) -> None:
    task = Task(data, unique_name=True, name=" news ")
    name = task.run()["name"]
    assert name.startswith("news-")
    assert len(name) == len("news-") + 8
    assert int(name[5:], 16) >= 0
    assert task.run()["name"] == name
    task.clear()
    cleared = task.run()["name"]
    assert cleared not in {name, "news"}
    assert Task(data, unique_name=True, map_index=3).run()["name"] not in {name, cleared}
    assert [row["name"] for row in server.model.datasets[3:]][:2] == [name, cleared]


def test_a_task_that_keeps_its_dataset_keeps_its_name(server: AdversarialServer, data: Path) -> None:
    task = Task(data, unique_name=True, reuse_on_clear=True)
    first = task.run()
    task.clear()
    assert task.run() == {**first, "adopted": True}


def test_a_unique_name_makes_the_lookup_safe_below_airflow_33(
    server: AdversarialServer, data: Path, waits: list[float]
) -> None:
    server.model.fresh(name="news", created_at=datetime.now(UTC))
    task = Task(data, store=False, unique_name=True)
    first = task.run()
    assert task.run() == {**first, "adopted": True}


@pytest.mark.parametrize(
    ("name", "says"),
    [
        ("x" * 41, "has 50 characters; Cohere takes at most 49"),
        ("", "name is empty"),
        (" ", "name is empty"),
        (None, "name is empty"),
        ("None", "a template gave no value"),
        (5, "must be a text"),
    ],
)
def test_names_that_cannot_be_made_unique(server: AdversarialServer, data: Path, name: Any, says: str) -> None:
    with pytest.raises(CohereInputError, match=says):
        Task(data, name=name, unique_name=True).run()
    assert server.requests == []


def test_the_longest_name_that_can(server: AdversarialServer, data: Path) -> None:
    assert len(Task(data, name="x" * 40, unique_name=True).run()["name"]) == 49


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


# -- Waiting ----------------------------------------------------------------------------------------------------------

WAIT: dict[str, Any] = {"wait_for_validation": True, "poke_interval": 10, "validation_timeout": 100}


class Validates(Through):
    """Lets a request through and gives the dataset its next status first."""

    def __init__(self, server: AdversarialServer, *statuses: str) -> None:
        object.__setattr__(self, "answer", None)
        object.__setattr__(self, "server", server)
        object.__setattr__(self, "statuses", list(statuses))

    def play(self, exchange: Any) -> None:
        statuses = self.statuses  # type: ignore[attr-defined]
        status = statuses.pop(0) if len(statuses) > 1 else statuses[0]
        dataset_id = exchange.request.path.rpartition("/")[2]
        fields = make_dataset(5, status=status)
        for name in ("id", "name", "created_at"):
            del fields[name]
        if self.server.model.get(dataset_id):  # type: ignore[attr-defined]
            self.server.model.update(dataset_id, **fields)  # type: ignore[attr-defined]
        super().play(exchange)


def validating(server: AdversarialServer, *statuses: str) -> None:
    server.script("GET", ONE, [Validates(server, *statuses)], repeat=True)


def deferred_by(task: Task) -> TaskDeferred:
    with pytest.raises(TaskDeferred) as caught:
        task.run()
    return caught.value


def test_a_wait_in_place(server: AdversarialServer, data: Path, waits: list[float]) -> None:
    validating(server, "unknown", "queued", "validated")
    result = Task(data, **WAIT, deferrable=False).run()
    (dataset_id,) = made(server)
    assert result == {
        "id": dataset_id,
        "name": "news",
        "dataset_type": "embed-input",
        "bytes": data.stat().st_size,
        "adopted": False,
        "status": "validated",
        "num_rows": 6,
        "size_bytes": 105,
        "warnings": 0,
    }
    assert [9 <= seconds <= 10 for seconds in waits] == [True, True]


class Rotates(Validates):
    """Replaces the key, at the server and perhaps in the connection, while a request is on its way."""

    def __init__(self, server: AdversarialServer, connect: Connect | None) -> None:
        super().__init__(server, "queued")
        object.__setattr__(self, "connect", connect)

    def play(self, exchange: Any) -> None:
        super().play(exchange)
        self.server.model.key = "new-key"  # type: ignore[attr-defined]
        if self.connect:  # type: ignore[attr-defined]
            self.connect(host=self.server.url, password="new-key")  # type: ignore[attr-defined]


def test_a_key_that_is_replaced_during_the_wait(
    server: AdversarialServer, connect: Connect, data: Path, waits: list[float]
) -> None:
    server.script("GET", ONE, [Rotates(server, connect), Validates(server, "validated")])
    assert Task(data, **WAIT, deferrable=False).run()["status"] == "validated"
    assert len(made(server)) == 1
    assert sum(waits) < 100


def test_a_key_that_is_another_one_each_time_ends_the_wait(
    server: AdversarialServer, connect: Connect, data: Path, waits: list[float], monkeypatch: pytest.MonkeyPatch
) -> None:
    """As from a backend that mints them."""
    server.script("GET", ONE, [Rotates(server, None)])
    monkeypatch.setattr(CohereDatasetsHook, "has_another_key", lambda _: True)
    with pytest.raises(CohereAuthenticationError):
        Task(data, **WAIT, deferrable=False).run()
    assert server.count("GET", ONE) == 3


def test_a_key_that_is_refused_for_good_ends_the_wait(
    server: AdversarialServer, data: Path, waits: list[float]
) -> None:
    server.script("GET", ONE, [Rotates(server, None)])
    with pytest.raises(CohereAuthenticationError):
        Task(data, **WAIT, deferrable=False).run()
    assert server.count("GET", ONE) == 2


def test_a_retry_goes_on_waiting_for_the_same_dataset(
    server: AdversarialServer, data: Path, waits: list[float]
) -> None:
    validating(server, "processing")
    task = Task(data, **WAIT, deferrable=False)
    with pytest.raises(
        CohereValidationTimeoutError, match=r"not validated within 100 s\. Last seen: .* was processing"
    ):
        task.run()
    assert sum(waits) == pytest.approx(100)
    server._scripts.clear()
    validating(server, "validated")
    result = task.run()
    assert result["adopted"]
    assert [result["id"]] == made(server)


def test_a_wait_in_the_triggerer(server: AdversarialServer, data: Path) -> None:
    validating(server, "queued", "validated")
    task = Task(data, **WAIT | {"poke_interval": 0.01}, deferrable=True, delete_on_kill=True, skipped_as="success")
    deferred = deferred_by(task)
    assert deferred.method_name == "execute_complete"
    assert deferred.timeout == timedelta(seconds=160)
    trigger = rebuilt(deferred.trigger)
    _, kwargs = trigger.serialize()
    known = {"conn_id", "skipped_as", "poke_interval", "timeout", "request_policy", "delete_on_kill"}
    assert {name: kwargs[name] for name in known} == {
        "conn_id": "cohere_default",
        "skipped_as": "success",
        "poke_interval": 0.01,
        "timeout": 100,
        "request_policy": POLICY,
        "delete_on_kill": True,
    }
    assert "test-key" not in json.dumps(kwargs)
    event = asyncio.run(fire(trigger, shared=False))
    result = task.resume(deferred, event)
    (dataset_id,) = made(server)
    assert (result["id"], result["status"], result["num_rows"], result["name"]) == (dataset_id, "validated", 6, "news")
    assert result["bytes"] == data.stat().st_size
    assert deferred.kwargs is None, "dag.test() would drop them"


def test_what_is_validated_at_once_is_not_deferred(server: AdversarialServer, data: Path) -> None:
    validating(server, "validated")
    assert Task(data, **WAIT, deferrable=True).run()["status"] == "validated"


@pytest.mark.parametrize("outcome", ["ready", "error", "timeout"])
def test_an_event_about_another_dataset_is_refused(server: AdversarialServer, data: Path, outcome: Any) -> None:
    validating(server, "queued")
    task = Task(data, **WAIT, deferrable=True, delete_on_failure=True)
    deferred = deferred_by(task)
    failed = CohereDatasetFailedError("no").details() if outcome == "error" else None
    status = "validated" if outcome == "ready" else "failed"
    event = WaitEvent(outcome, (Observation("other", status),), failed).to_json()
    for carried in (deferred.trigger.serialize()[1]["carried"], None):
        with pytest.raises(CohereEventError):
            task.resume(deferred, {**event, "carried": carried})
    assert server.count("DELETE") == 0


def test_the_time_in_the_triggerer_is_up(server: AdversarialServer, data: Path) -> None:
    validating(server, "queued")
    task = Task(data, **WAIT, deferrable=True)
    deferred = deferred_by(task)
    event = {**WaitEvent("timeout").to_json(), "carried": deferred.trigger.serialize()[1]["carried"]}
    with pytest.raises(CohereValidationTimeoutError, match="was queued") as caught:
        task.resume(deferred, event)
    assert not isinstance(caught.value, AirflowFailException)
    server._scripts.clear()
    validating(server, "validated")  # just in time
    assert task.resume(deferred, event)["status"] == "validated"
    del event["carried"]
    with pytest.raises(CohereValidationTimeoutError, match="None was not validated"):
        task.resume(deferred, event)


def test_the_last_look_of_a_deferred_wait_knows_what_the_trigger_saw(server: AdversarialServer, data: Path) -> None:
    validating(server, "queued")
    task = Task(data, **WAIT, deferrable=True)
    deferred = deferred_by(task)
    (dataset_id,) = made(server)
    server._scripts.clear()
    server.script("GET", ONE, [error(500)], repeat=True)
    seen = (Observation(dataset_id, "processing"),)
    event = {
        **WaitEvent("timeout", seen, memory={"failures": 1}).to_json(),
        "carried": deferred.trigger.serialize()[1]["carried"],
    }
    with pytest.raises(CohereValidationTimeoutError, match="was processing"):
        task.resume(deferred, event)


def test_a_timeout_of_nothing_looks_once(server: AdversarialServer, data: Path) -> None:
    validating(server, "queued")
    for deferrable in (False, True):
        with pytest.raises(CohereValidationTimeoutError, match="within 0 s"):
            Task(data, **WAIT | {"validation_timeout": 0}, deferrable=deferrable).run()


def test_an_event_of_something_else(server: AdversarialServer, data: Path) -> None:
    validating(server, "queued")
    task = Task(data, **WAIT, deferrable=True)
    deferred = deferred_by(task)
    for event in (None, {}, {"version": 2}, {"version": 1, "outcome": "ready", "observations": []}):
        with pytest.raises(CohereEventError) as caught:
            task.resume(deferred, event)
        assert isinstance(caught.value, AirflowFailException)


@pytest.mark.parametrize("deferrable", [False, True])
@pytest.mark.parametrize(
    ("status", "kind"), [("failed", CohereDatasetFailedError), ("skipped", CohereDatasetSkippedError)]
)
@pytest.mark.parametrize("delete", [False, True])
def test_a_validation_that_did_not_succeed(
    server: AdversarialServer,
    data: Path,
    waits: list[float],
    deferrable: bool,
    status: str,
    kind: type[CohereDatasetsError],
    delete: bool,
) -> None:
    validating(server, "queued", status)
    task = Task(data, **WAIT | {"poke_interval": 0}, deferrable=deferrable, delete_on_failure=delete)
    run: Callable[[], object] = task.run
    if deferrable:
        deferred = deferred_by(task)
        event = asyncio.run(fire(rebuilt(deferred.trigger), shared=False))
        run = lambda: task.resume(deferred, event)  # noqa: E731
    with pytest.raises(kind) as caught:
        run()
    assert isinstance(caught.value, AirflowFailException)
    assert caught.value.conn_id == "cohere_default"
    assert server.model.deleted == (made(server) if delete else [])


def test_a_skipped_validation_may_be_a_success(server: AdversarialServer, data: Path) -> None:
    validating(server, "skipped")
    options = {"skipped_as": "success", "delete_on_failure": True}
    assert Task(data, **WAIT, deferrable=False, **options).run()["status"] == "skipped"
    assert server.model.deleted == []


@pytest.mark.parametrize("fault", [error(503), error(401), Close()])
def test_trouble_with_the_deletion_does_not_hide_the_failure(
    server: AdversarialServer, data: Path, waits: list[float], heard: Callable[[], str], fault: Fault
) -> None:
    validating(server, "failed")
    server.script("DELETE", None, [fault], repeat=True)
    with pytest.raises(CohereDatasetFailedError, match="no valid rows"):
        Task(data, **WAIT, deferrable=False, delete_on_failure=True).run()
    assert "could not be deleted" in heard()


@pytest.mark.parametrize("answer", [error(503), error(401)])
def test_only_a_verdict_deletes(server: AdversarialServer, data: Path, waits: list[float], answer: Fault) -> None:
    server.script("GET", ONE, [answer], repeat=True)
    with pytest.raises(CohereDatasetsError) as caught:
        Task(data, **WAIT, deferrable=False, delete_on_failure=True).run()
    assert not isinstance(caught.value, CohereDatasetFailedError)
    assert server.model.deleted == []


def test_a_dataset_that_disappears_while_it_is_waited_for(
    server: AdversarialServer, data: Path, waits: list[float]
) -> None:
    server.script("GET", ONE, [error(404)], repeat=True)
    with pytest.raises(CohereDatasetNotFoundError):
        Task(data, **WAIT, deferrable=False, delete_on_failure=True).run()
    assert waits == [1.0, 2.0]


# -- Being killed -----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("asked", [False, True])
def test_a_killed_task_deletes_only_if_asked(server: AdversarialServer, data: Path, asked: bool) -> None:
    task = Task(data, delete_on_kill=asked)
    task.run()
    task.operator.on_kill()
    assert server.model.deleted == (made(server) if asked else [])


def test_a_task_that_is_killed_before_there_is_a_dataset_deletes_nothing(
    server: AdversarialServer, data: Path, waits: list[float]
) -> None:
    server.script("POST", LIST, [Close()])
    task = Task(data, delete_on_kill=True)
    with pytest.raises(CohereUploadUnsettledError):
        task.run()
    task.operator.on_kill()
    assert server.count("DELETE") == 0


@pytest.mark.parametrize("deferrable", [False, True])
def test_a_task_that_is_killed_while_it_waits_ends_and_may_be_tried_again(
    server: AdversarialServer, data: Path, monkeypatch: pytest.MonkeyPatch, deferrable: bool
) -> None:
    """Airflow 3.3 calls on_kill in a signal handler, and lets the task go on."""
    validating(server, "queued")
    task = Task(data, **WAIT, deferrable=deferrable, delete_on_kill=True)
    if deferrable:
        deferred = deferred_by(task)
        event = {**WaitEvent("timeout").to_json(), "carried": deferred.trigger.serialize()[1]["carried"]}
    look = CohereCreateDatasetOperator._look

    def killed(operator: CohereCreateDatasetOperator, *arguments: Any) -> Any:
        looked = look(operator, arguments[0], 0.0)
        operator.on_kill()
        return looked

    monkeypatch.setattr(CohereCreateDatasetOperator, "_look", killed)
    with pytest.raises(CohereTaskStoppedError) as caught:
        task.resume(deferred, event) if deferrable else task.run()
    assert not isinstance(caught.value, AirflowFailException)
    assert server.model.deleted == made(server)


def test_a_stop_that_came_where_errors_are_taken_for_the_servers(
    server: AdversarialServer, data: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    task = Task(data, delete_on_kill=True, check_usage=True)

    def stopped(hook: CohereDatasetsHook) -> int:
        try:
            task.operator.on_kill()
        except Exception:
            return 0
        raise AssertionError

    monkeypatch.setattr(CohereDatasetsHook, "get_usage", stopped)
    with pytest.raises(CohereTaskStoppedError, match=r"told to stop\. \("):
        task.run()
    assert made(server) == []


def test_a_stop_that_somebody_swallows_still_ends_the_task(
    server: AdversarialServer, data: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    task = Task(data, delete_on_kill=True, check_usage=True)

    def stopped(hook: CohereDatasetsHook, size: int) -> None:
        with suppress(BaseException):
            task.operator.on_kill()

    monkeypatch.setattr(CohereDatasetsHook, "check_room", stopped)
    with pytest.raises(CohereTaskStoppedError):
        task.run()
    assert server.model.deleted == made(server) != []


def test_a_stop_in_the_middle_of_an_upload_says_what_is_not_known(
    server: AdversarialServer, data: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    task = Task(data, delete_on_kill=True, check_usage=False)
    run = CohereDatasetsHook.run

    def stopped(hook: CohereDatasetsHook, flow: Any) -> Any:
        run(hook, flow)
        task.operator.on_kill()

    monkeypatch.setattr(CohereDatasetsHook, "run", stopped)
    with pytest.raises(CohereTaskStoppedError, match="Whether there is a dataset 'news' now is not known"):
        task.run()
    monkeypatch.setattr(CohereDatasetsHook, "run", run)
    assert task.run()["adopted"]


def test_what_was_uploaded_before_a_clear_is_named(
    server: AdversarialServer, data: Path, heard: Callable[[], str]
) -> None:
    task = Task(data)
    first = task.run()["id"]
    task.clear()
    assert task.run()["id"] != first
    assert f"there were: {first}." in heard()


def test_what_was_killed_is_uploaded_again_by_the_next_try(server: AdversarialServer, data: Path) -> None:
    task = Task(data, delete_on_kill=True)
    first = task.run()["id"]
    task.operator.on_kill()
    assert task.run()["id"] != first


def trigger(ids: list[str], **options: Any) -> CohereDatasetValidationTrigger:
    kill: CohereDatasetValidationTrigger = rebuilt(
        CohereDatasetValidationTrigger(dataset_ids=ids, request_policy=POLICY, **options)
    )
    return kill


@pytest.mark.parametrize("asked", [False, True])
def test_a_killed_trigger_deletes_only_if_asked(
    server: AdversarialServer, heard: Callable[[], str], asked: bool
) -> None:
    ids = [row["id"] for row in server.model.datasets[:2]]
    asyncio.run(trigger(ids, delete_on_kill=asked).on_kill())
    assert server.model.deleted == (ids if asked else [])
    assert len(server.requests) == (2 if asked else 0)
    text = heard()
    assert [f"Dataset {each} is deleted, because its task was killed." in text for each in ids] == [asked, asked]


def test_a_trigger_that_cannot_delete_one_deletes_the_others(
    server: AdversarialServer, heard: Callable[[], str]
) -> None:
    first, gone, last = (row["id"] for row in server.model.datasets)
    server.script("DELETE", f"{LIST}/{gone}", [error(403)])
    asyncio.run(trigger([first, gone, last], delete_on_kill=True).on_kill())
    assert server.model.deleted == [first, last]
    assert f"Dataset {gone} could not be deleted: The API key may not" in heard()


# -- What others are told ---------------------------------------------------------------------------------------------


def test_assets_get_the_result(server: AdversarialServer, data: Path) -> None:
    asset = Asset("s3://bucket/news")
    task = Task(data, outlets=[asset])
    task.outlet_events = OutletEventAccessors()
    result = task.run()
    assert task.outlet_events[asset].extra == result


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        ({"skipped_as": "ignore"}, "skipped_as must be 'fail' or 'success', not 'ignore'"),
        ({"delete_on_failure": "False"}, "delete_on_failure must be True or False, not 'False'"),
        ({"delete_on_kill": 1}, "delete_on_kill must be True or False, not 1"),
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
