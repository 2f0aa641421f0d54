"""What each fault costs, on both transports: requests counted by the server, and what the caller gets.

Run with ``-s`` to see the tables.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from typing import Any

import pytest

from airflow_provider_cohere_datasets.core.errors import (
    CohereDatasetsError,
    CohereRedirectError,
    CohereUnexpectedAnswerError,
)
from airflow_provider_cohere_datasets.core.models import Dataset
from airflow_provider_cohere_datasets.transport import blocking, nonblocking
from tests import adversary
from tests.adversary import (
    AdversarialServer,
    Answer,
    Chunked,
    Close,
    CutBody,
    CutHead,
    DripBody,
    DripHeaders,
    EarlyHints,
    EndlessBody,
    Fault,
    Hang,
    Reset,
    StaleKeepAlive,
    Through,
    error,
    make_dataset,
)
from tests.real_time import real_time
from tests.transport.conftest import ID, LIST, ONE
from tests.transport.harness import DRIVERS, Client

#: Requests made for one call at the most.
TRIES = 3
#: Long enough for a busy machine to make the connection.
DEADLINE = {"total_timeout": 0.6}
AUTH, PERMISSION, INVALID = "CohereAuthenticationError", "CoherePermissionError", "CohereInvalidRequestError"
SERVER, RATE, QUOTA = "CohereServerError", "CohereRateLimitError", "CohereQuotaError"
UNEXPECTED, TRANSPORT = "CohereUnexpectedAnswerError", "CohereTransportError"
REDIRECT, UNKNOWN = "CohereRedirectError", "CohereUploadUnknownError"

Cell = tuple[int, str]


@dataclass(frozen=True)
class Case:
    """A fault, and what it must cost if it happens once, and if it never ends.

    :param policy: fields of the request policy for this case
    """

    name: str
    fault: Fault
    once: Cell
    always: Cell
    policy: dict[str, Any] = field(default_factory=dict)


def transient(name: str, fault: Fault, outcome: str, **policy: Any) -> Case:
    return Case(name, fault, (2, "answer"), (TRIES, outcome), policy)


def permanent(name: str, fault: Fault, outcome: str) -> Case:
    return Case(name, fault, (1, outcome), (1, outcome))


def harmless(name: str, fault: Fault) -> Case:
    return Case(name, fault, (1, "answer"), (1, "answer"))


READING = [
    transient("408", error(408), SERVER),
    transient("429 per minute", adversary.per_minute(), RATE),
    transient("499", error(499), SERVER),
    transient("500", error(500), SERVER),
    transient("502, empty", adversary.empty_502(), SERVER),
    transient("503", error(503), SERVER),
    transient("504, HTML", adversary.html(504), SERVER),
    transient("599", error(599), SERVER),
    transient("closed without an answer", Close(), TRANSPORT),
    transient("connection reset", Reset(), TRANSPORT),
    transient("head cut behind its first line", CutHead(), TRANSPORT),
    transient("head cut behind its second line", CutHead(lines=2), TRANSPORT),
    transient("body cut", CutBody(), TRANSPORT),
    transient("body cut, chunked", CutBody(chunked=True), TRANSPORT),
    transient("body cut by a reset", CutBody(reset=True), TRANSPORT),
    transient("gzip that is none", adversary.not_gzip(), TRANSPORT),
    transient("gzip, truncated", adversary.truncated_gzip(), TRANSPORT),
    transient("gzip, its last byte missing", adversary.truncated_gzip(missing=1), TRANSPORT),
    transient("broken JSON", adversary.broken_json(), UNEXPECTED),
    transient("invalid UTF-8", adversary.invalid_utf8(), UNEXPECTED),
    transient("200 with HTML", adversary.html(), UNEXPECTED),
    transient("200, empty", Answer(content_type=None), UNEXPECTED),
    transient("200 with a JSON list", Answer(json=[]), UNEXPECTED),
    transient("200 with an error message", Answer(json={"message": "oops"}), UNEXPECTED),
    transient('200 with {"dataset": null}', Answer(json={"dataset": None}), UNEXPECTED),
    transient("200 with another dataset", Answer(json={"dataset": make_dataset(99)}), UNEXPECTED),
    transient("server hangs", Hang(), TRANSPORT, **DEADLINE),
    transient("headers drip for ever", DripHeaders(), TRANSPORT, **DEADLINE),
    transient("body drips for ever", DripBody(), TRANSPORT, **DEADLINE),
    transient("body without end", EndlessBody(), TRANSPORT),
    harmless("byte order mark", adversary.bom()),
    harmless("JSON called text/html", adversary.wrong_content_type()),
    harmless("JSON without a content type", adversary.wrong_content_type(None)),
    harmless("gzip", adversary.gzipped()),
    harmless("gzip in several members", adversary.gzipped(member=10)),
    harmless("chunked", Chunked()),
    harmless("answers before the answer", EarlyHints()),
    harmless("answers long before the answer", EarlyHints(seconds=0.05)),
    harmless("connection closed afterwards", StaleKeepAlive()),
    permanent("400", error(400), INVALID),
    permanent("401", error(401), AUTH),
    permanent("402", error(402), PERMISSION),
    permanent("403", error(403), PERMISSION),
    permanent("404", error(404), "CohereDatasetNotFoundError"),
    permanent("404 with HTML", adversary.html(404), UNEXPECTED),
    permanent("404 with HTML, byte order mark", adversary.bom(adversary.html(404)), UNEXPECTED),
    permanent("422", error(422), INVALID),
    permanent("429 per month", adversary.per_month(), QUOTA),
    permanent("429 per month, inside an object", Answer(429, json={"error": {"message": "20 a month"}}), QUOTA),
    permanent("401, body cut", CutBody(error(401)), AUTH),
    permanent("401, body without end", EndlessBody(error(401)), AUTH),
    Case("401, body drips for ever", DripBody(error(401)), (1, AUTH), (1, AUTH), DEADLINE),
    permanent("403, body cut, chunked", CutBody(error(403), chunked=True), PERMISSION),
    permanent("404, gzip that is none", adversary.not_gzip(error(404)), "CohereDatasetNotFoundError"),
    permanent("404 with HTML, body cut", CutBody(adversary.html(404)), UNEXPECTED),
    permanent("422, packed as nobody asked", Answer(422, body=b"\x8b", headers={"Content-Encoding": "br"}), INVALID),
    transient("503, body cut", CutBody(error(503)), SERVER),
    permanent("498", error(498), AUTH),
    permanent("501", error(501), INVALID),
    permanent("redirect to another origin", adversary.redirect("http://other.invalid/v1/datasets"), REDIRECT),
    permanent("redirect without a Location", adversary.redirect(None), REDIRECT),
    Case("redirect to itself", adversary.redirect_loop(), (2, "answer"), (6, REDIRECT)),
]


CREATED = Answer(json={"id": "reviews-abc123"})


def lost(name: str, fault: Fault, **policy: Any) -> Case:
    return Case(name, fault, (1, UNKNOWN), (1, UNKNOWN), policy)


CREATING = [
    lost("500", error(500)),
    lost("502, empty", adversary.empty_502()),
    lost("503 with Retry-After", error(503, retry_after="0")),
    lost("408", error(408)),
    lost("closed without an answer", Close()),
    lost("connection reset", Reset()),
    lost("head of the answer cut", CutHead(CREATED)),
    lost("body of the answer cut", CutBody(CREATED)),
    lost("broken JSON", adversary.broken_json(CREATED)),
    lost("200 with HTML", adversary.html()),
    lost("200 without an id", Answer(json={})),
    lost("503, body cut", CutBody(error(503))),
    lost("server hangs", Hang(), upload_timeout=0.6, **DEADLINE),
    transient("429 per minute", adversary.per_minute(), RATE),
    permanent("429 per month", adversary.per_month(), QUOTA),
    permanent("400", error(400), INVALID),
    permanent("401", error(401), AUTH),
    permanent("402", error(402), PERMISSION),
    permanent("403", error(403), PERMISSION),
    permanent("413, body cut", CutBody(error(413)), INVALID),
    permanent("422", error(422), INVALID),
    permanent("501", error(501), INVALID),
    permanent("307 to the same origin", adversary.redirect(LIST), REDIRECT),
    permanent("307 to another origin", adversary.redirect("http://other.invalid/v1/datasets"), REDIRECT),
]


class Table:
    """The rows that were measured, printed as Markdown."""

    def __init__(self, title: str) -> None:
        self.title = title
        self.rows: list[str] = []

    def add(self, name: str, cells: list[Cell]) -> None:
        shown = " | ".join(f"{requests}, {outcome.removeprefix('Cohere')}" for requests, outcome in cells)
        self.rows.append(f"| {name} | {shown} |")

    def show(self) -> None:
        heads = [f"{kind}, {when}" for kind in DRIVERS for when in ("once", "for ever")]
        print(f"\n\n{self.title}: requests that the server received, and the outcome (at most {TRIES} tries)\n")
        print(f"| Fault | {' | '.join(heads)} |\n|---|{'---|' * len(heads)}")
        print("\n".join(self.rows))


def cases(table: list[Case]) -> pytest.MarkDecorator:
    """Give the test each case of a table."""
    marks = {case.name: [real_time] if case.policy else [] for case in table}
    return pytest.mark.parametrize("case", [pytest.param(each, marks=marks[each.name], id=each.name) for each in table])


@pytest.fixture(scope="module")
def reading() -> Iterator[Table]:
    table = Table("`GET /v1/datasets/{id}`")
    yield table
    table.show()


@pytest.fixture(scope="module")
def creating() -> Iterator[Table]:
    table = Table("`POST /v1/datasets`")
    yield table
    table.show()


@pytest.fixture(autouse=True)
def small_limit(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let a body without end be too large sooner than at 256 MiB."""
    for module in (blocking, nonblocking):
        monkeypatch.setattr(module, "MAX_BODY_BYTES", 1 << 20)


def measure(server: AdversarialServer, client: Client, method: str, case: Case, repeat: bool) -> Cell:
    """Do one call and give what the server counted, and how it ended."""
    server.reset(server.model.datasets)
    path = ONE if method == "GET" else LIST
    after = [] if repeat else [CREATED if method == "POST" else Through()]
    server.script(method, path, [case.fault, *after], repeat=repeat)
    problem: CohereDatasetsError | None = None
    try:
        answer = client.get(ID) if method == "GET" else client.create()
    except CohereDatasetsError as error:
        problem = error
    if problem is None:
        assert answer == (Dataset.model_validate(server.model.get(ID)) if method == "GET" else "reviews-abc123")
    else:
        passes = isinstance(problem, CohereUnexpectedAnswerError) and problem.status == 404  # Not within seconds.
        assert problem.permanent is (not passes and (server.count() == 1 or isinstance(problem, CohereRedirectError)))
        assert problem.tries == server.count()
    outcome = "answer" if problem is None else type(problem).__name__
    waited = 0 if "redirect" in case.name else server.count() - 1
    assert len(client.pauses) == waited
    assert server.count(method, path) == server.count()
    return server.count(), outcome


@cases(READING)
def test_reading(server: AdversarialServer, connector: Callable[..., Client], reading: Table, case: Case) -> None:
    cells = [
        measure(server, connector(kind, max_tries=TRIES, **case.policy), "GET", case, repeat)
        for kind in DRIVERS
        for repeat in (False, True)
    ]
    reading.add(case.name, cells)
    assert cells == [case.once, case.always] * len(DRIVERS)


@cases(CREATING)
def test_creating(server: AdversarialServer, connector: Callable[..., Client], creating: Table, case: Case) -> None:
    cells = [
        measure(server, connector(kind, max_tries=TRIES, **case.policy), "POST", case, repeat)
        for kind in DRIVERS
        for repeat in (False, True)
    ]
    creating.add(case.name, cells)
    assert cells == [case.once, case.always] * len(DRIVERS)
