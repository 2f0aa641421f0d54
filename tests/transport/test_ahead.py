"""Pages that are sent for ahead: quicker, and never another result."""

from __future__ import annotations

import contextlib
import gc
import random
import threading
import time
import weakref
from collections.abc import Iterator
from dataclasses import replace

import pytest

from airflow_provider_cohere_datasets.core import page_requests
from airflow_provider_cohere_datasets.core.calls import Call, Reply, TransportFailure
from airflow_provider_cohere_datasets.core.dataset_page import DatasetPage, read_page
from airflow_provider_cohere_datasets.core.filters import ListFilters
from airflow_provider_cohere_datasets.core.paging import list_pages
from airflow_provider_cohere_datasets.transport.ahead import Ahead
from tests.adversary import Churn, CutBody, Listing, error, make_datasets, per_minute
from tests.adversary.spoil import Fault, Through
from tests.core.paging_tools import POLICY, Lister

ROWS = make_datasets(2000)
IDS = {row["id"] for row in ROWS}


@pytest.fixture
def lister(monkeypatch: pytest.MonkeyPatch) -> Iterator[Lister]:
    monkeypatch.setattr(page_requests, "_LONG", 0)
    with Lister() as one:
        yield one


def test_three_pages_are_under_way_at_once(lister: Lister, monkeypatch: pytest.MonkeyPatch) -> None:
    """After the first pages, requests wait for two others; alone they would wait in vain."""
    together, sent, plain = threading.Barrier(3), [0], lister.transport.send
    met = []

    def send(each: Call) -> Reply | TransportFailure:
        sent[0] += 1
        if each.ahead or threading.current_thread() is not threading.main_thread():
            with contextlib.suppress(threading.BrokenBarrierError):
                together.wait(5)
                met.append(each)
        return plain(each)

    monkeypatch.setattr(lister.transport, "send", send)
    lister.server.reset(ROWS[:800], Listing(cap=100))
    stream = lister.transport.stream(list_pages(read_page, filters=ListFilters(), policy=POLICY))
    for _ in range(6):
        next(stream)
    assert len(met) == 3
    stream.close()


def test_few_requests_are_wasted_at_the_end(lister: Lister) -> None:
    reading = lister.read(ROWS, Listing(cap=100))
    assert set(reading.ids) == IDS
    assert lister.requests - reading.report.pages <= 2


def test_short_list_costs_no_request_more(monkeypatch: pytest.MonkeyPatch) -> None:
    with Lister() as lister:
        reading = lister.read(ROWS, Listing(cap=100))
        assert lister.requests == reading.report.pages


def test_nothing_is_sent_for_beyond_the_limit(lister: Lister) -> None:
    reading = lister.read(ROWS, Listing(cap=100), limit=1000)
    assert len(reading.ids) == 1000
    assert lister.requests == reading.report.pages


@pytest.mark.parametrize("fault", [error(503), per_minute(), CutBody()])
def test_page_that_fails_is_asked_for_again(lister: Lister, fault: Fault) -> None:
    lister.server.reset(ROWS, Listing(cap=100))
    lister.server.script("GET", "/v1/datasets", [Through(), Through(), fault] * 8)
    reading = lister.read_again()
    assert set(reading.ids) == IDS
    assert len(reading.ids) == len(IDS)


@pytest.mark.parametrize("seed", range(5))
def test_no_row_is_lost_while_rows_come_and_go(lister: Lister, seed: int) -> None:
    listing = Listing(cap=100, between=Churn(random.Random(seed), inserts_per_request=2, deletes_per_request=2))
    reading = lister.read(ROWS, listing)
    assert not lister.server.model.survivors() - set(reading.ids)
    assert len(reading.ids) == len(set(reading.ids))


def call(number: int, *ahead: Call) -> Call:
    return Call("list", "GET", "/v1/datasets", (("offset", str(number)),), ahead=ahead)


def reply_to(each: Call) -> Reply:
    return Reply(each.target, 200)


def test_what_failed_before_a_wait_is_sent_again_and_what_did_not_is_kept() -> None:
    """One rate limit that all requests under way meet is waited out once, not once for each."""
    answers = {0: [503, 200], 1: [503, 200], 2: [200, 500]}

    def send(each: Call) -> Reply:
        return Reply(each.target, answers[int(each.query[0][1])].pop(0))

    with contextlib.closing(Ahead(send)) as ahead:
        page = call(0, call(1), call(2))
        assert ahead.send(page) == Reply(page.target, 503)
        for flight in ahead._flights:
            flight.ended.wait(10)
        assert [each.status for each in (ahead.send(page), ahead.send(call(1, call(2))), ahead.send(call(2)))] == [
            200
        ] * 3


def test_what_waits_for_a_thread_is_not_sent_any_more() -> None:
    hold, sent = threading.Event(), []

    def send(each: Call) -> Reply:
        sent.append(each)
        if threading.current_thread() is not threading.main_thread():
            hold.wait(10)
        return reply_to(each)

    ahead = Ahead(send)
    ahead.send(call(0, call(1), call(2)))
    # Whoever asks for the next page waits for it, and both threads are busy with that and with the one behind it.
    reader = threading.Thread(target=ahead.send, args=(call(1, call(2), call(3)),))
    reader.start()
    while not ahead._waiting.qsize() or len(sent) < 3:
        time.sleep(0.001)
    ahead.close()
    mine = threads()
    hold.set()
    for thread in (reader, *mine):
        thread.join(10)
    assert call(3) not in sent


def threads() -> list[threading.Thread]:
    return [thread for thread in threading.enumerate() if thread.name == "pages-ahead"]


def test_wrong_guess_is_thrown_away() -> None:
    with contextlib.closing(Ahead(reply_to)) as ahead:
        ahead.send(call(0, call(1)))
        assert ahead.send(call(5)) == reply_to(call(5))
        assert ahead.send(call(1)) == reply_to(call(1))


def test_guesses_that_nobody_wants_do_not_pile_up() -> None:
    hold, both, sent = threading.Event(), threading.Barrier(3), []

    def send(each: Call) -> Reply | TransportFailure:
        sent.append(each)
        if threading.current_thread() is not threading.main_thread():
            both.wait(10)
            hold.wait(10)
        return reply_to(each)

    with contextlib.closing(Ahead(send)) as ahead:
        for number in range(0, 20, 2):
            ahead.send(call(number, call(number + 1)))
        both.wait(10)
        assert len(sent) == 10 + 2
        hold.set()


def test_answers_that_came_ahead_are_prepared(lister: Lister) -> None:
    prepared: list[Reply] = []

    def prepare(reply: Reply) -> Reply:
        prepared.append(reply)
        return replace(reply, decoded="seen")

    def read(call: Call, reply: Reply) -> DatasetPage:
        decoded.add(reply.decoded)
        return read_page(call, reply)

    decoded: set[str | None] = set()
    lister.server.reset(ROWS, Listing(cap=100))
    flow = list_pages(read, filters=ListFilters(), policy=POLICY)
    ids = [row.id for page in lister.transport.stream(flow, prepare) for row in page.datasets]
    assert set(ids) == IDS
    assert decoded == {None, "seen"}
    assert len(prepared) > 10
    assert {reply.status for reply in prepared} == {200}


def test_what_breaks_in_a_thread_is_done_again_by_whoever_asks_for_it() -> None:
    def send(each: Call) -> Reply:
        if threading.current_thread() is not threading.main_thread():
            raise RuntimeError("broken")
        return reply_to(each)

    with contextlib.closing(Ahead(send)) as ahead:
        for number in range(10):
            assert ahead.send(call(number, call(number + 1))) == reply_to(call(number))


def test_two_threads_do_it_all_and_end_with_the_reading(lister: Lister) -> None:
    used: set[int] = set()
    lister.server.reset(ROWS, Listing(cap=100))
    stream = lister.transport.stream(
        list_pages(read_page, filters=ListFilters(), policy=POLICY), lambda _: used.add(threading.get_ident())
    )
    for _ in range(12):
        next(stream)
    mine = threads()
    assert len(used) == len(mine) == 2
    stream.close()
    for thread in mine:
        thread.join(10)
    assert not threads()


def test_end_does_not_wait_for_an_answer_that_nobody_wants() -> None:
    hold = threading.Event()

    def send(each: Call) -> Reply:
        if threading.current_thread() is not threading.main_thread():
            hold.wait(10)
        return reply_to(each)

    ahead = Ahead(send)
    ahead.send(call(0, call(1)))
    ahead.close()
    assert [thread.daemon for thread in threads()] == [True]
    hold.set()


def test_threads_hold_no_answer_while_they_wait() -> None:
    held: list[weakref.ref[Reply]] = []

    class Weak(Reply):
        """A reply that can be watched."""

    with contextlib.closing(
        Ahead(lambda each: Weak(each.target, 200), lambda it: held.append(weakref.ref(it)))
    ) as ahead:
        for number in range(4):
            ahead.send(call(number, *([call(number + 1)] if number < 3 else [])))
        assert len(held) == 3
        for _ in range(500):  # Until the last thread is back where it waits.
            gc.collect()
            if not any(reply() for reply in held):
                break
            time.sleep(0.01)
        assert not any(reply() for reply in held)


def test_an_error_that_came_ahead_is_not_prepared() -> None:
    sent: list[Call] = []

    def send(each: Call) -> Reply:
        sent.append(each)
        return Reply(each.target, 503)

    def prepare(reply: Reply) -> Reply:
        raise AssertionError(reply)

    with contextlib.closing(Ahead(send, prepare)) as ahead:
        first, second = (Call("list datasets", "GET", path) for path in ("/1", "/2"))
        ahead.send(replace(first, ahead=(second,)))
        assert ahead.send(second) == Reply(second.target, 503)
    assert len(sent) == 2  # What breaks in the thread would be sent again.
