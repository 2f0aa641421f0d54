"""Each fault does on the wire what it says."""

from __future__ import annotations

import gzip
import json
import time
import zlib
from email.utils import parsedate_to_datetime

import pytest

import tests.adversary as adversary
from tests.adversary import (
    AdversarialServer,
    Answer,
    AnswerEarly,
    BreakUpload,
    Chunked,
    Close,
    CutBody,
    DripBody,
    DripHeaders,
    EndlessBody,
    Fault,
    Hang,
    Lost,
    Reset,
    Slow,
    StaleKeepAlive,
    make_dataset,
    make_datasets,
)
from tests.adversary.client import Client, Got
from tests.real_time import real_time

LIST = "/v1/datasets"
ROWS = make_datasets(30)


def play(server: AdversarialServer, *faults: Fault, method: str = "GET", timeout: float = 5) -> Got:
    server.script(method, LIST, faults)
    with Client(server, timeout=timeout) as client:
        return client.ask(method, LIST)


@pytest.mark.parametrize("status", [400, 402, 429, 498, 499, 500, 503, 599])
def test_any_status(server: AdversarialServer, status: int) -> None:
    got = play(server, adversary.error(status, "why", retry_after="1.5", retry_after_ms="20"))
    assert got.status == status
    assert got.json["message"] == "why"
    assert (got.head["retry-after"], got.head["retry-after-ms"]) == ("1.5", "20")


def test_empty_502(server: AdversarialServer) -> None:
    got = play(server, adversary.empty_502())
    assert (got.status, got.body, got.head) == (502, b"", {"content-length": "0"})


def test_retry_after_as_a_date(server: AdversarialServer) -> None:
    head = play(server, adversary.retry_after_date(503, 7)).head
    wait = parsedate_to_datetime(head["retry-after"]) - parsedate_to_datetime(head["date"])
    assert wait.total_seconds() == 7


@pytest.mark.parametrize("value", [{"dataset": None}, {}, {"dataset": make_dataset(9)}, [], "text", None])
def test_unexpected_json(server: AdversarialServer, value: object) -> None:
    assert play(server, Answer(json=value)).json == value


def test_rewritten_answers(server: AdversarialServer) -> None:
    right = play(server).body
    bom = play(server, adversary.bom()).body
    assert bom == b"\xef\xbb\xbf" + right
    typed = play(server, adversary.wrong_content_type("text/html"))
    assert (typed.head["content-type"], typed.body) == ("text/html", right)
    assert "content-type" not in play(server, adversary.wrong_content_type(None)).head
    broken = play(server, adversary.broken_json())
    assert broken.end == "length"
    assert right.startswith(broken.body)
    with pytest.raises(json.JSONDecodeError):
        json.loads(broken.body)
    with pytest.raises(UnicodeDecodeError):
        play(server, adversary.invalid_utf8()).body.decode()
    zipped = play(server, adversary.gzipped())
    assert zipped.head["content-encoding"] == "gzip"
    assert gzip.decompress(zipped.body) == right
    with pytest.raises(EOFError):
        gzip.decompress(play(server, adversary.truncated_gzip()).body)
    with pytest.raises((zlib.error, gzip.BadGzipFile)):
        gzip.decompress(play(server, adversary.not_gzip()).body)
    page = play(server, adversary.html())
    assert (page.status, page.head["content-type"][:9], page.body[:9]) == (200, "text/html", b"<!DOCTYPE")


def test_messages(server: AdversarialServer) -> None:
    assert len(play(server, adversary.long_message()).json["message"]) == 100_000
    assert "\r\n" in play(server, adversary.control_message()).json["message"]
    assert "Bearer test-key" in play(server, adversary.echo_authorization()).json["message"]
    assert "5242880 vs. 4194304" in play(server, adversary.oversized()).json["message"]
    assert "month" in play(server, adversary.per_month()).json["message"]
    assert "month" not in play(server, adversary.per_minute()).json["message"]


@pytest.mark.parametrize("status", [301, 302, 303, 307, 308])
def test_redirects(server: AdversarialServer, status: int) -> None:
    for to in ("/v1/elsewhere", "http://127.0.0.2:9/x", "../x"):
        got = play(server, adversary.redirect(to, status))
        assert (got.status, got.head["location"]) == (status, to)
    assert "location" not in play(server, adversary.redirect(None, status)).head
    assert play(server, adversary.redirect_loop(status)).head["location"] == LIST


def test_cut_bodies(server: AdversarialServer) -> None:
    right = play(server).body
    cut = play(server, CutBody())
    assert (cut.end, cut.body) == ("closed", right[: len(right) // 2])
    assert int(cut.head["content-length"]) == len(right)
    assert play(server, CutBody(Answer(json={}), keep=2)).end == "closed"
    assert play(server, CutBody(keep=0, reset=True)).end == "reset"
    chunked = play(server, CutBody(chunked=True))
    assert chunked.head["transfer-encoding"] == "chunked"
    assert chunked.end == "closed"
    assert not chunked.body.endswith(b"0\r\n\r\n")
    whole = play(server, Chunked(Answer(json=[1]), size=1))
    assert whole.body == b"1\r\n[\r\n1\r\n1\r\n1\r\n]\r\n0\r\n\r\n"


def test_no_answer(server: AdversarialServer) -> None:
    assert play(server, Close()) == Got(b"", "closed")
    assert play(server, Reset()) == Got(b"", "reset")


def test_stale_keep_alive(server: AdversarialServer) -> None:
    server.script("GET", LIST, [StaleKeepAlive()])
    with Client(server) as client:
        got = client.ask("GET", LIST)
        assert got.end == "length"
        assert "connection" not in got.head
        assert client.receive().end == "closed"


def test_break_upload(server: AdversarialServer) -> None:
    server.script("POST", LIST, [BreakUpload(1000), BreakUpload(0, reset=True)])
    for length in (1000, 0):
        with Client(server) as client, pytest.raises(ConnectionError):  # noqa: PT012  it breaks anywhere
            client.socket.sendall(client.head("POST", LIST, [f"Content-Length: {10**9}"]))
            for _ in range(1000):
                client.socket.sendall(bytes(65536))
        request = server.requests[-1]
        assert (request.length, request.complete) == (length, False)
    assert server.model.ids() == {row["id"] for row in ROWS}


def test_answer_before_the_upload_is_read(server: AdversarialServer) -> None:
    server.script("POST", LIST, [AnswerEarly(adversary.error(401))])
    with Client(server) as client:
        client.socket.sendall(client.head("POST", LIST, [f"Content-Length: {10**9}"]))
        assert client.receive().status == 401
        assert client.receive().end == "closed"
    assert server.requests[-1].length == 0


def test_lost_answer(server: AdversarialServer) -> None:
    target = f"{LIST}/{ROWS[0]['id']}"
    server.script("DELETE", target, [Lost(Reset())])
    with Client(server) as client:
        assert client.ask("DELETE", target).end == "reset"
    assert server.model.deleted == [ROWS[0]["id"]]


@real_time
def test_hang_and_drip(server: AdversarialServer) -> None:
    assert play(server, Hang(), timeout=0.05) == Got(b"", "timeout")
    server.script("GET", LIST, [DripHeaders(0.001), DripBody(interval=0.001), EndlessBody()])
    with Client(server) as client:
        client.socket.sendall(client.head("GET", LIST))
        assert b"\r\n\r\n" not in client.receive(60).raw
    with Client(server) as client:
        client.socket.sendall(client.head("GET", LIST))
        assert client.receive(100).body[:3] == b'{"d'
    with Client(server) as client:
        client.socket.sendall(client.head("GET", LIST))
        assert len(client.receive(3_000_000).raw) >= 3_000_000
    assert play(server, DripBody(Answer(json={}), 0.001, forever=False)).json == {}


def test_slow(server: AdversarialServer) -> None:
    start = time.monotonic()
    assert play(server, Slow(seconds=0.02)).status == 200
    assert time.monotonic() - start >= 0.02
    server.latency = 0.02
    start = time.monotonic()
    assert play(server).status == 200
    assert time.monotonic() - start >= 0.02
