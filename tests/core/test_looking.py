"""One look: what it makes of answers, and with how few requests."""

from __future__ import annotations

import json
from collections.abc import Callable, Collection, Iterator
from typing import Any

import pytest

from airflow_provider_cohere_datasets.core.account import RequestPolicy
from airflow_provider_cohere_datasets.core.calls import Call, Flow, Pause, Reply, TransportFailure
from airflow_provider_cohere_datasets.core.errors import (
    CohereAuthenticationError,
    CohereDatasetsError,
    CohereInvalidRequestError,
    CoherePermissionError,
    CohereRateLimitError,
    CohereServerError,
    CohereTransportError,
    CohereUnexpectedAnswerError,
)
from airflow_provider_cohere_datasets.core.looking import Listed, Looked, Looker, Observation, list_observations

ONCE = RequestPolicy(max_tries=1)
#: What the server says of a page that is too large for it, here however few rows it has.
TOO_LARGE = b'{"message": "received message larger than max (5242880 vs. 4194304)"}'
Answer = Callable[[Call], Any]


class Api:
    """Answers calls: with datasets by id, or with what is put in their place.

    Those in ``answers`` are given first, one after the other.

    :param cap: rows of a page at the most.
    """

    def __init__(self, statuses: dict[str, Any], cap: int = 100) -> None:
        self.statuses = statuses
        self.cap = cap
        self.answers: dict[str, Iterator[Any]] = {}
        self.asked: list[str] = []
        self.pauses: list[float] = []

    def run(self, flow: Flow[Any]) -> Any:
        outcome: Any = None
        while True:
            try:
                step = flow.send(outcome)
            except StopIteration as stop:
                return stop.value
            if isinstance(step, Pause):
                self.pauses.append(step.seconds)
                outcome = 0.0
            else:
                outcome = self._answer(step)

    def look(self, looker: Looker, ids: Collection[str]) -> dict[str, Looked]:
        self.asked.clear()
        looked: dict[str, Looked] = self.run(looker.look(ids, ONCE))
        return looked

    def _answer(self, call: Call) -> Reply | TransportFailure:
        self.asked.append(call.dataset_id or "list")
        if call.dataset_id is None:
            query = dict(call.query)
            offset, limit = int(query["offset"]), min(self.cap, int(query["limit"]))
            rows = [row(each, state) for each, state in self.statuses.items() if isinstance(state, str)]
            if "head" in self.statuses:
                rows = self.statuses["head"]
            listed = self.statuses.get("list", {"datasets": rows[offset : offset + limit]})
            return reply(call, next(self.answers.get("list", iter(())), listed))
        state = next(self.answers.get(call.dataset_id, iter(())), self.statuses.get(call.dataset_id, 404))
        return reply(call, {"dataset": row(call.dataset_id, state)} if isinstance(state, str) else state)


def row(dataset_id: str, status: str) -> dict[str, Any]:
    return {"id": dataset_id, "validation_status": status, "dataset_type": "embed-input"}


def reply(call: Call, state: Any) -> Reply | TransportFailure:
    if isinstance(state, TransportFailure):
        return state
    if isinstance(state, tuple):
        return Reply(f"http://x{call.target}", state[0], {"retry-after": str(state[1])}, b"{}")
    if isinstance(state, bytes):
        return Reply(f"http://x{call.target}", 429, {}, state)
    if isinstance(state, int):
        return Reply(f"http://x{call.target}", state, {}, b'{"message": "no"}')
    return Reply(f"http://x{call.target}", 200, {}, json.dumps(state).encode())


def statuses(looked: dict[str, Looked]) -> dict[str, Any]:
    return {each: seen.status if isinstance(seen, Observation) else type(seen) for each, seen in looked.items()}


@pytest.mark.parametrize(
    ("fields", "reason"),
    [
        ({}, "no reason given"),
        ({"validation_error": "  "}, "no reason given"),
        ({"validation_error": 5, "validation_warnings": "x"}, "no reason given"),
        ({"validation_error": " bad rows \n"}, "bad rows"),
        ({"validation_error": "bad", "validation_warnings": ["w1", 5, "w2"]}, "bad (warnings: w1; w2)"),
        (
            {"validation_error": "no gs://a?sig=1", "validation_warnings": ["see https://b/c?sig=2 too"]},
            "no gs://a (warnings: see https://b/c too)",
        ),
        ({"validation_error": f"no gs://a?{'x' * 600} there"}, "no gs://a there"),
    ],
)
def test_why_it_failed(fields: dict[str, Any], reason: str) -> None:
    assert Observation.of({"id": "a", "validation_status": "failed", **fields}).reason == reason


def test_long_texts_are_cut() -> None:
    long = "x" * 100_000
    seen = Observation.of(
        {
            "id": "a",
            "validation_status": "failed",
            "validation_error": long,
            "validation_warnings": [long] * 50,
            "name": long,
        }
    )
    assert str(seen.reason) == f"{long[:500]}… (warnings: {long[:500]}…)"
    assert len(str(seen.name)) == 500
    assert seen.warnings == 50
    assert len(str(Observation.of({"id": "a", "validation_status": long}).status)) == 500


def test_rows_and_bytes_of_all_parts() -> None:
    parts = [
        {"num_rows": 3, "size_bytes": "10"},
        {"num_rows": 2.0},
        {"num_rows": None},
        {"num_rows": float("inf")},
        "x",
    ]
    seen = Observation.of({"id": "a", "dataset_parts": parts, "validation_warnings": ["w"], "name": 5})
    assert (seen.num_rows, seen.size_bytes, seen.warnings, seen.name, seen.reason) == (5, 10, 1, None, None)
    assert seen.status == "unknown"
    assert Observation.of({"id": "a", "dataset_parts": "x"}).num_rows == 0


def test_few_are_asked_for_one_by_one() -> None:
    api = Api({"a": "queued", "b": "validated", "c": "failed", "d": "skipped"})
    assert statuses(api.look(Looker(), ["a", "b", "c", "d"])) == api.statuses
    assert api.asked == ["a", "b", "c", "d"]
    assert api.look(Looker(), []) == {}
    assert api.asked == []


def test_the_list_while_it_is_cheaper() -> None:
    many = {f"d{n:03}": "queued" for n in range(1000)}
    api, looker = Api(many), Looker()
    wanted = list(many)[:60]
    assert set(api.look(looker, wanted)) == set(wanted)
    assert api.asked == ["list"]
    last = list(many)[-20:]
    assert set(api.look(looker, last)) == set(last)
    pages = len(api.asked)
    assert set(api.asked) == {"list"}
    assert pages <= 13
    # The list takes about 12 requests, so up to as many are asked for one by one.
    api.look(looker, last[:pages])
    assert api.asked == last[:pages]
    api.look(looker, last)
    assert set(api.asked) == {"list"}
    # Another process knows that too.
    another = Looker()
    another.recall(json.loads(json.dumps(looker.memory())))
    api.look(another, last[:pages])
    assert api.asked == last[:pages]


def test_another_process_knows_who_comes_last() -> None:
    api, looker, another = Api({"a": 500, "b": "queued"}), Looker(), Looker()
    assert statuses(api.look(looker, "ab")) == {"a": CohereServerError, "b": "queued"}
    another.recall(json.loads(json.dumps(looker.memory())))
    assert statuses(api.look(another, "ab")) == {"a": CohereServerError, "b": "queued"}
    assert api.asked == ["b", "a"]


@pytest.mark.parametrize("memory", [None, 5, {}, {"list_cost": "x", "suspects": "y"}])
def test_a_memory_that_cannot_be_read(memory: Any) -> None:
    looker = Looker()
    looker.recall(memory)
    assert looker.memory() == {"list_cost": 0, "suspects": []}


@pytest.mark.parametrize(
    "rows",
    [
        {"datasets": []},
        {},
        {"datasets": None},
        {"datasets": [None, 5, {}, {"id": 7}, {"id": "other"}]},
    ],
)
def test_what_the_list_does_not_show_is_asked_for(rows: Any) -> None:
    api = Api({**dict.fromkeys("abcdef", "queued"), "list": rows})
    assert set(api.look(Looker(), "abcdef")) == set("abcdef")
    assert [each for each in api.asked if each != "list"] == list("abcdef")


def test_a_list_that_does_not_page_is_made_up_for() -> None:
    api = Api({**dict.fromkeys("abcdef", "queued"), "list": {"datasets": [row("a", "queued"), row("b", "queued")]}})
    assert set(api.look(Looker(), "abcdef")) == set("abcdef")


@pytest.mark.parametrize("rows", [{"datasets": {"a": 1}}, {"errors": ["down"]}, 500])
def test_a_list_that_is_broken_does_not_keep_from_asking_by_id(rows: Any) -> None:
    api, looker = Api({**dict.fromkeys("abcdef", "queued"), "list": rows}), Looker()
    for _ in range(2):  # It may be mended any time.
        assert statuses(api.look(looker, "abcdef")) == dict.fromkeys("abcdef", "queued")
        assert api.asked == ["list", *"abcdef"]


@pytest.mark.parametrize(("state", "raised"), [(401, CohereAuthenticationError), (429, CohereRateLimitError)])
def test_a_list_that_fails_as_all_would(state: int, raised: type[CohereDatasetsError]) -> None:
    api = Api({**dict.fromkeys("abcdef", "queued"), "list": state})
    with pytest.raises(raised):
        api.look(Looker(), "abcdef")
    assert api.asked == ["list"]


@pytest.mark.parametrize("refusal", [400, 403, 404, 422, TOO_LARGE])
def test_a_list_that_is_refused_is_not_asked_for_again(refusal: Any) -> None:
    api, looker = Api({**dict.fromkeys("abcdef", "queued"), "list": refusal}), Looker()
    assert statuses(api.look(looker, "abcdef")) == dict.fromkeys("abcdef", "queued")
    assert "list" in api.asked
    another = Looker()
    another.recall(json.loads(json.dumps(looker.memory())))
    for each in (looker, another):
        assert statuses(api.look(each, "abcdef")) == dict.fromkeys("abcdef", "queued")
        assert api.asked == list("abcdef")


def test_a_key_that_may_not_read_datasets_either() -> None:
    api = Api({**dict.fromkeys("abcdef", 403), "list": 403})
    with pytest.raises(CoherePermissionError):
        api.look(Looker(), "abcdef")
    assert api.asked == ["list", *"abcde"]
    with pytest.raises(CoherePermissionError):
        Api({"a": 403}).look(Looker(), "a")


@pytest.mark.parametrize("status", [402, 403])
def test_a_dataset_of_somebody_else_is_nobody_elses_error(status: int) -> None:
    api = Api({"a": status, "b": status, "c": "validated", "d": status})
    expected = {**dict.fromkeys("abd", CoherePermissionError), "c": "validated"}
    assert statuses(api.look(Looker(), "abcd")) == expected


@pytest.mark.parametrize(("state", "raised"), [(500, CohereServerError), (429, CohereRateLimitError)])
def test_behind_refusals_alone_what_passes_ends_the_look(state: int, raised: type[CohereDatasetsError]) -> None:
    """The key may have been replaced: that is found out where nothing came but refusals, so it is left to the next."""
    api, looker = Api({"a": 403, "b": state, "c": 403}), Looker()
    with pytest.raises(raised):
        api.look(looker, "abc")
    api.statuses["b"] = 403
    with pytest.raises(CoherePermissionError):
        api.look(looker, "abc")


def test_a_refusal_behind_what_passes_is_left_to_the_next_look_too() -> None:
    api, looker = Api({"a": 500, "b": 403}), Looker()
    with pytest.raises(CohereServerError):
        api.look(looker, "ab")
    api.statuses["a"] = "queued"
    assert statuses(api.look(looker, "ab")) == {"a": "queued", "b": CoherePermissionError}


def test_a_rate_limit_costs_nothing_that_was_seen() -> None:
    api, looker = Api({"a": "queued", "b": 429, "c": "queued"}), Looker()
    assert statuses(api.look(looker, "abc")) == {"a": "queued", "b": CohereRateLimitError}
    api.statuses["b"] = "validated"
    assert statuses(api.look(looker, "abc")) == {"a": "queued", "b": "validated", "c": "queued"}
    assert api.asked == ["a", "c", "b"]
    with pytest.raises(CohereRateLimitError):
        Api(dict.fromkeys("abc", 429)).look(Looker(), "abc")


def test_a_rate_limit_is_waited_out_for_a_dataset_that_failed_before() -> None:
    limits = iter([429, 429, "queued"])
    api = Api({"a": "queued", "b": 500})
    looker = Looker()
    assert statuses(api.look(looker, "ab")) == {"a": "queued", "b": CohereServerError}
    policy, look = RequestPolicy(max_tries=3, backoff_base=0), looker.look
    assert statuses(api.run(look("ab", policy))) == {"a": "queued", "b": CohereServerError}
    assert api.asked == ["a", "b", "a", "b"], "no more than one try for a fault of its own"
    api.answers["b"] = limits
    assert statuses(api.run(look("ab", policy))) == {"a": "queued", "b": "queued"}


def test_behind_one_that_fails_one_try_must_do() -> None:
    api = Api({"a": "queued", **dict.fromkeys("bcd", 500)})
    looked = api.run(Looker().look("abcd", RequestPolicy(max_tries=3, backoff_base=0)))
    assert statuses(looked) == {"a": "queued", **dict.fromkeys("bcd", CohereServerError)}
    assert api.asked == ["a", "b", "b", "b", "c", "d"]


def test_a_connection_that_breaks_costs_nothing_that_was_seen() -> None:
    api, looker = Api({"a": "queued", "b": TransportFailure("no"), "c": "queued"}), Looker()
    assert statuses(api.look(looker, "abc")) == {"a": "queued", "b": CohereTransportError}
    assert api.asked == ["a", "b"], "the next one may take as long to fail"
    assert set(api.look(looker, "abc")) == {"a", "c", "b"}, "it is asked for last"


@pytest.mark.parametrize(
    ("state", "raised"), [(429, CohereRateLimitError), (TransportFailure("no"), CohereTransportError)]
)
def test_a_list_that_breaks_off_costs_nothing_that_it_showed(state: Any, raised: type[CohereDatasetsError]) -> None:
    ids = "abcdefgh"
    api = Api(dict.fromkeys(ids, "queued"), cap=3)
    api.answers["list"] = iter([{"datasets": [row(each, "failed") for each in "abc"]}, state])
    looked = statuses(api.look(Looker(), ids))
    assert looked == {**dict.fromkeys("abc", "failed"), **dict.fromkeys("defgh", raised)}
    assert api.asked == ["list", "list"], "the next request may take as long to fail"


def test_what_is_not_there_is_told_though_the_connection_breaks_for_another() -> None:
    api = Api({"b": TransportFailure("no"), "c": "queued"})
    assert statuses(api.look(Looker(), "abc")) == {"a": None, "b": CohereTransportError}
    assert api.asked == ["a", "b", "a", "a"]


def test_what_may_be_there_already_is_not_told_where_the_connection_breaks() -> None:
    api = Api({"c": "queued"})
    api.answers["a"] = iter([404, TransportFailure("no")])
    assert statuses(api.look(Looker(), "abc")) == {"a": CohereTransportError, "c": "queued"}
    assert api.asked == ["a", "b", "c", "a"], "b may be there by now, so nothing is told of it"


def test_one_that_fails_for_ever_stands_in_front_of_nobody() -> None:
    broken = TransportFailure("no")
    api, looker = Api({"a": "queued", "x": broken, "y": broken}), Looker()
    assert statuses(api.look(looker, "axy")) == {"a": "queued", "x": CohereTransportError}
    assert statuses(api.look(looker, "axy")) == {"a": "queued", "y": CohereTransportError}
    assert statuses(api.look(looker, "axy")) == {"a": "queued", "x": CohereTransportError}
    api.statuses["y"] = "validated"
    assert statuses(api.look(looker, "axy")) == {"a": "queued", "y": "validated", "x": CohereTransportError}


def test_several_bad_ones_all_come_last() -> None:
    api, looker = Api({"a": 500, "b": 500, "c": "queued"}), Looker()
    with pytest.raises(CohereServerError):
        api.look(looker, "abc")
    assert statuses(api.look(looker, "abc")) == {"a": CohereServerError, "b": CohereServerError, "c": "queued"}


def test_the_grace_of_one_that_is_not_there() -> None:
    api = Api({"a": "queued"})
    assert api.look(Looker(), ["a", "b"]) == {"a": Observation.of(row("a", "queued")), "b": Observation("b", None)}
    assert (api.asked, api.pauses) == (["a", "b", "b", "b"], [1.0, 2.0])
    many = Api(dict.fromkeys("abcdef", "queued"))
    assert statuses(many.look(Looker(), "abcdefg")) == {**dict.fromkeys("abcdef", "queued"), "g": None}
    assert [each for each in many.asked if each != "list"] == ["g"] * 3


@pytest.mark.parametrize(
    ("state", "says"),
    [
        ({}, "no dataset in it"),
        ({"dataset": None}, "no dataset in it"),
        ({"dataset": {}}, "no dataset in it"),
        ({"dataset": {"id": 5}}, "no dataset in it"),
        ({"dataset": {"id": "b"}}, "another dataset, 'b'"),
        ([], "JSON that is not an object but a list"),
    ],
)
def test_answers_that_are_none(state: Any, says: str) -> None:
    with pytest.raises(CohereUnexpectedAnswerError, match=f"answered 200 with {says}"):
        Api({"a": state}).look(Looker(), ["a"])


def test_what_concerns_one_dataset_is_its_result() -> None:
    api, looker = Api({"a": 400, "b": "queued", "c": 500, "d": "queued"}), Looker()
    expected = {"a": CohereInvalidRequestError, "b": "queued", "c": CohereServerError, "d": "queued"}
    assert statuses(api.look(looker, "abcd")) == expected
    # One that could not be asked for comes last, so that the others are.
    api.look(looker, "cbd")
    assert api.asked == ["b", "d", "c"]


def test_a_server_that_is_down_is_asked_twice() -> None:
    """The first may be ill by itself: then the others shall not hear of it."""
    api, looker = Api(dict.fromkeys("abc", 500)), Looker()
    with pytest.raises(CohereServerError):
        api.look(looker, "abc")
    assert api.asked == ["a", "b"]
    with pytest.raises(CohereServerError):
        api.look(looker, "abc")
    assert api.asked == ["c", "a"]
    api.statuses["b"] = "queued"
    assert statuses(api.look(looker, "abc")) == {"a": CohereServerError, "b": "queued", "c": CohereServerError}


def test_patience_ends_with_one_but_not_with_the_server() -> None:
    policy, looker = RequestPolicy(max_tries=3), Looker()
    one = Api({"a": (503, 60), "b": "queued", "c": (503, 60)})
    assert statuses(one.run(looker.look("abc", policy, patience=5.0))) == {
        "a": CohereServerError,
        "b": "queued",
        "c": CohereServerError,
    }
    assert (one.asked, one.pauses) == (["a", "b", "c"], [])
    all_of_them = Api(dict.fromkeys("abc", (503, 60)))
    with pytest.raises(CohereServerError):
        all_of_them.run(Looker().look("abc", policy, patience=5.0))
    assert all_of_them.asked == ["a", "b", "b", "b"]
    assert [60 <= seconds <= 61 for seconds in all_of_them.pauses] == [True, True]


def test_what_concerns_all_ends_the_look() -> None:
    api = Api({"a": "queued", "b": 401, "c": "queued"})
    with pytest.raises(CohereAuthenticationError):
        api.look(Looker(), "abc")
    assert api.asked == ["a", "b"]
    api = Api(dict.fromkeys("abc", TransportFailure("no")))
    with pytest.raises(CohereTransportError):
        api.look(Looker(), "abc")
    assert api.asked == ["a"]


def test_all_datasets_of_a_type() -> None:
    api = Api({**dict.fromkeys("abcdef", "queued"), "f": "validated"}, cap=4)
    listed: Listed = api.run(list_observations("embed-input", ONCE))
    assert sorted(each.id for each in listed.rows) == list("abcdef")
    assert listed.complete
    assert api.run(list_observations("embed-result", ONCE)).rows == []
    with pytest.raises(CohereUnexpectedAnswerError, match="something else than a list of datasets"):
        Api({"list": {"datasets": {"a": 1}}}).run(list_observations(None, ONCE))
    api = Api({"head": [None, {"id": "a"}, {"name": "no id"}]})
    assert [each.id for each in api.run(list_observations(None, ONCE)).rows] == ["a"]
