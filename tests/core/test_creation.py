"""An upload whose answer is lost is looked for in the list: which dataset is the one, and when nobody can tell."""

from __future__ import annotations

import io
import json
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, timedelta
from email.utils import format_datetime
from typing import Any, TypeVar

import pytest

from airflow_provider_cohere_datasets.core.account import RequestPolicy
from airflow_provider_cohere_datasets.core.calls import Call, Flow, Outcome, Pause, Reply, TransportFailure, Upload
from airflow_provider_cohere_datasets.core.creation import Attempt, Creation, create, find
from airflow_provider_cohere_datasets.core.errors import (
    CohereAuthenticationError,
    CohereDatasetsError,
    CohereInvalidRequestError,
    CohereRateLimitError,
    CohereRedirectError,
    CohereServerError,
    CohereTransportError,
    CohereUploadAmbiguousError,
    CohereUploadUnknownError,
)
from airflow_provider_cohere_datasets.core.new_dataset import NewDataset

T = TypeVar("T")

NOW = 1_800_000_000.0
HOUR = 3600.0
NEW = NewDataset.of(name="news", dataset_type="embed-input")
UPLOAD = Upload("data", "rows.jsonl", lambda: io.BytesIO(b"{}\n"), size=3, fingerprint="f")
CREATION = Creation(NEW, (UPLOAD,))
POLICY = RequestPolicy(max_tries=2, backoff_base=0)
LOST = TransportFailure("the answer broke off")


@dataclass
class World:
    """A server and the time, without either.

    :param post: the outcome of the upload.
    :param ahead: seconds that the server's clock is ahead of ours.
    :param date: whether it tells its time.
    :param listing: gives another answer to a request for the list, or ``None`` for the right one.
    """

    post: Reply | TransportFailure = LOST
    ahead: float = 0.0
    date: bool = True
    listing: Callable[[World], Outcome] = lambda _: None
    rows: list[dict[str, Any]] = field(default_factory=list)
    calls: list[Call] = field(default_factory=list)
    pauses: list[float] = field(default_factory=list)
    now: float = NOW

    def row(self, dataset_id: str = "mine", *, at: float | str | None = 0.0, size: int = 0, **fields: Any) -> World:
        """Add a dataset, created some seconds after the upload began."""
        created: dict[str, Any] = {} if at is None else {"created_at": at}
        if isinstance(at, float):
            created["created_at"] = datetime.fromtimestamp(NOW + self.ahead + at, UTC).isoformat()
        parts = {"dataset_parts": [{"id": "p", "name": "p", "size_bytes": size}]} if size else {}
        known = {"id": dataset_id, "name": "news", "dataset_type": "embed-input", "validation_status": "unknown"}
        self.rows.append({**known, **created, **parts, **fields})
        return self

    @property
    def looks(self) -> int:
        """Looks so far; each reads the list as often as it takes."""
        return len(self.pauses) + 1 if self.calls[-1].method == "GET" else 0

    def run(self, flow: Flow[T]) -> T:
        outcome: Outcome = None
        while True:
            try:
                step = flow.send(outcome)
            except StopIteration as stop:
                result: T = stop.value
                return result
            outcome = self.pause(step) if isinstance(step, Pause) else self.answer(step)

    def pause(self, step: Pause) -> float:
        self.now += step.seconds
        self.pauses += [step.seconds] if step.seconds else []
        return self.now

    def answer(self, call: Call) -> Outcome:
        self.calls.append(call)
        if call.method == "POST":
            return self.post
        spoilt = self.listing(self)
        if spoilt is not None:
            return spoilt
        query = dict(call.query)
        page = self.rows[int(query["offset"]) :][: int(query["limit"])]
        # Whole seconds, as HTTP has them.
        date = format_datetime(datetime.fromtimestamp(int(self.now + self.ahead), UTC), usegmt=True)
        headers = {"date": date} if self.date else {}
        return Reply("http://x", 200, headers, json.dumps({"datasets": page}).encode(), self.now)


def status(code: int, body: bytes = b"{}", **headers: str) -> Reply:
    return Reply("http://x/v1/datasets?name=news&type=embed-input", code, headers, body, NOW)


def created(world: World, **attempt: Any) -> str:
    return world.run(create(CREATION, POLICY, Attempt(NOW, **attempt)))


def found(world: World, **attempt: Any) -> str | None:
    return world.run(find(CREATION, POLICY, Attempt(NOW, **attempt)))


def test_an_answer_that_comes_needs_no_look() -> None:
    world = World(status(200, b'{"id": "news-1"}')).row("other")
    assert created(world) == "news-1"
    assert [call.method for call in world.calls] == ["POST"]


UNKNOWN: list[Reply | TransportFailure] = [
    LOST,
    status(500),
    status(502, b"<html>"),
    status(503),
    status(504),
    status(408),
    status(200, b"<html>"),
    status(200, b""),
    status(200, b'{"id": ""}'),
    status(200, b'{"id": "mi'),
]


@pytest.mark.parametrize("outcome", UNKNOWN)
def test_an_upload_whose_answer_is_lost_is_found(outcome: Reply | TransportFailure) -> None:
    world = World(outcome).row()
    assert created(world) == "mine"
    assert [call.method for call in world.calls].count("POST") == 1
    assert (world.looks, world.pauses) == (1, [])


@pytest.mark.parametrize("outcome", UNKNOWN)
def test_if_it_is_not_found_the_error_is_that_of_the_upload(outcome: Reply | TransportFailure) -> None:
    world = World(outcome)
    with pytest.raises(CohereUploadUnknownError, match="not known whether") as caught:
        created(world)
    assert type(caught.value) is CohereUploadUnknownError
    assert isinstance(caught.value.__cause__, CohereDatasetsError)
    assert [call.method for call in world.calls].count("POST") == 1
    assert (world.looks, world.pauses) == (3, [2.0, 5.0])


@pytest.mark.parametrize("late", [2.0, 7.0])
def test_a_later_look_finds_what_the_server_finishes_late(late: float) -> None:
    world = World()
    rows = list(world.row(at=late).rows)
    world.listing = lambda world: setattr(world, "rows", rows if world.now >= NOW + late else [])
    assert created(world) == "mine"
    assert world.now == NOW + late


REFUSED: list[tuple[Reply | TransportFailure, type[CohereDatasetsError]]] = [
    (status(400), CohereInvalidRequestError),
    (status(401), CohereAuthenticationError),
    (status(413), CohereInvalidRequestError),
    (status(429), CohereRateLimitError),
    (status(501), CohereInvalidRequestError),
    (status(307, location="http://y/v1/datasets"), CohereRedirectError),
    (TransportFailure("the connection was refused", sent=False), CohereTransportError),
]


@pytest.mark.parametrize(("outcome", "kind"), REFUSED)
def test_what_the_server_refused_is_not_looked_for(
    outcome: Reply | TransportFailure, kind: type[CohereDatasetsError]
) -> None:
    world = World(outcome).row()
    with pytest.raises(kind) as caught:
        created(world)
    assert not isinstance(caught.value, CohereUploadUnknownError)
    assert world.looks == 0


@pytest.mark.parametrize(
    ("fields", "fits"),
    [
        ({}, True),
        ({"validation_status": "failed"}, True),
        ({"at": 30.0}, True),
        ({"at": -0.9}, True),
        ({"at": -2.1}, False),
        ({"at": -HOUR}, False),
        ({"at": -48 * HOUR}, False),
        # A server that tells no time of creation leaves only the name.
        ({"at": None}, True),
        ({"at": "yesterday"}, True),
        ({"name": "News"}, False),
        ({"name": "news "}, False),
        ({"name": "news-2"}, False),
        ({"name": None}, False),
        ({"dataset_type": "embed-result"}, False),
        ({"dataset_type": None}, True),
    ],
)
def test_name_type_and_time_tell_it(fields: dict[str, Any], fits: bool) -> None:
    world = World().row("other", name="other").row(**fields)
    assert found(world) == ("mine" if fits else None)
    query = dict(world.calls[0].query)
    begun = datetime.fromtimestamp(NOW, UTC)
    # The server's clock may be wrong, so it is asked for more than fits.
    assert datetime.fromisoformat(query["after"]) <= begun - timedelta(hours=23)


@pytest.mark.parametrize("ahead", [0.0, 0.4, -0.4, 5 * HOUR, -5 * HOUR, 20 * HOUR, -20 * HOUR])
def test_a_servers_clock_may_be_wrong_if_it_tells_its_time(ahead: float) -> None:
    assert found(World(ahead=ahead).row("old", at=-10.0).row(at=0.0)) == "mine"
    assert found(World(ahead=ahead).row("old", at=-10.0)) is None


def test_without_its_time_a_minute_is_forgiven() -> None:
    for behind, fits in ((0.0, True), (59.0, True), (61.0, False)):
        assert found(World(date=False, ahead=-behind).row()) == ("mine" if fits else None)
    assert found(World(date=False, ahead=5 * HOUR).row()) == "mine"


@pytest.mark.parametrize(("since", "fits"), [(60.0, True), (59.0, True), (5.0, True), (-60.0, True), (61.5, False)])
def test_another_workers_clock_may_differ_by_a_minute(since: float, fits: bool) -> None:
    world = World().row()
    begun = Attempt(NOW + since, elsewhere=True)
    assert world.run(find(CREATION, POLICY, begun)) == ("mine" if fits else None)


@pytest.mark.parametrize("ahead", [HOUR, 20 * HOUR])
def test_the_other_workers_clock_is_not_taken_for_the_servers(ahead: float) -> None:
    """What is older by the server's clock and by ours is of another run, unless the dead worker's clock was wrong."""
    older = World(ahead=ahead).row("old", at=-600.0)
    with pytest.raises(CohereUploadAmbiguousError, match="'old'"):
        found(older, elsewhere=True)
    assert found(older.row(at=0.0), elsewhere=True) == "mine"
    assert found(World(ahead=ahead).row(at=-59.0), elsewhere=True) == "mine"
    assert found(World(ahead=ahead).row(at=-ahead - 62), elsewhere=True) is None


def test_a_time_that_is_none_counts_as_none() -> None:
    world = World(date=False, ahead=-59.0).row()
    page = {"datasets": world.rows}
    world.listing = lambda world: (
        None
        if dict(world.calls[-1].query)["offset"] != "0"
        else Reply("http://x", 200, {"date": "now"}, json.dumps(page).encode(), NOW)
    )
    assert found(world) == "mine"


def test_of_several_the_size_decides() -> None:
    assert found(World().row("a", size=4).row("b", size=3).row("c")) == "b"
    assert found(World().row("a", size=4).row("b", size=3)) == "b"


@pytest.mark.parametrize("sizes", [(0, 0), (3, 3), (4, 5)])
def test_several_that_fit_need_a_person(sizes: tuple[int, int]) -> None:
    world = World()
    for number, size in enumerate(sizes):
        world.row(f"news-{number}", size=size)
    with pytest.raises(CohereUploadAmbiguousError, match="datasets 'news-0', 'news-1' of the same name") as caught:
        created(world)
    assert caught.value.permanent
    assert isinstance(caught.value.__cause__, CohereUploadUnknownError)
    assert world.looks == 1


def test_only_some_of_many_are_named() -> None:
    world = World()
    for number in range(9):
        world.row(f"news-{number}")
    with pytest.raises(CohereUploadAmbiguousError) as caught:
        found(world)
    assert [f"'news-{number}'" in str(caught.value) for number in range(9)] == [True] * 5 + [False] * 4


def test_other_uploads_of_the_task_are_left_out() -> None:
    world = World().row("cleared").row("mine")
    assert found(world, others=frozenset({"cleared"})) == "mine"
    assert found(world, others=frozenset({"cleared", "mine"})) is None


def test_a_name_that_is_shared_proves_nothing() -> None:
    with pytest.raises(CohereUploadAmbiguousError, match="'mine'"):
        found(World().row(), shared_name=True)
    assert found(World().row(name="other"), shared_name=True) is None
    with pytest.raises(CohereUploadUnknownError) as caught:
        created(World(), shared_name=True)
    assert type(caught.value) is CohereUploadUnknownError


@pytest.mark.parametrize("look", [1, 2, 3])
@pytest.mark.parametrize("answer", [status(401), status(404), status(503), LOST, status(200, b"<html>")])
def test_a_look_that_fails_leaves_the_error_of_the_upload(answer: Reply | TransportFailure, look: int) -> None:
    world = World(listing=lambda world: answer if world.looks >= look else None)
    with pytest.raises(CohereUploadUnknownError, match="POST /v1/datasets") as caught:
        created(world)
    assert type(caught.value) is CohereUploadUnknownError
    assert isinstance(caught.value.__cause__, CohereTransportError)


def test_a_look_alone_says_why_it_failed() -> None:
    with pytest.raises(CohereServerError):
        found(World(listing=lambda _: status(503)))


def test_a_look_that_fails_once_is_repeated() -> None:
    answers: list[Outcome] = [status(503), LOST]
    world = World(listing=lambda _: answers.pop(0) if len(answers) > 1 else None).row()
    assert found(world) == "mine"


def test_a_long_list_is_read_to_its_end() -> None:
    world = World().row("mine")
    for number in range(250):
        world.row(f"other-{number}", name="other", at=-float(number))
    assert found(world) == "mine"
    assert len(world.calls) > 2


def test_what_is_sent() -> None:
    evaluation = replace(UPLOAD, field="eval_data", size=4)
    creation = Creation(NEW, (UPLOAD, evaluation))
    assert creation.size == 7
    assert (creation.call.method, creation.call.uploads) == ("POST", (UPLOAD, evaluation))
    assert dict(creation.call.query) == {"name": "news", "type": "embed-input"}


def test_the_fingerprint_tells_other_data_and_other_arguments() -> None:
    assert Creation(NEW, (replace(UPLOAD, open=lambda: io.BytesIO(b"")),)).fingerprint == CREATION.fingerprint
    others = [
        Creation(replace(NEW, name="other"), (UPLOAD,)),
        Creation(replace(NEW, dataset_type="embed-result"), (UPLOAD,)),
        Creation(replace(NEW, keep_fields=("a",)), (UPLOAD,)),
        Creation(replace(NEW, csv_delimiter=";"), (UPLOAD,)),
        Creation(replace(NEW, skip_malformed_input=False), (UPLOAD,)),
        Creation(NEW, (replace(UPLOAD, fingerprint="g"),)),
        Creation(NEW, (replace(UPLOAD, size=4),)),
        Creation(NEW, (replace(UPLOAD, field="eval_data"),)),
        Creation(NEW, (UPLOAD, UPLOAD)),
    ]
    assert len({creation.fingerprint for creation in [CREATION, *others]}) == len(others) + 1
