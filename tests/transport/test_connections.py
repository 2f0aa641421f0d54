"""Connections that are lost, refused, or never made."""

from __future__ import annotations

import importlib
import io
import queue
import socket
import sys
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from types import SimpleNamespace
from typing import Any

import pytest
import requests.adapters
import urllib3.connectionpool

from airflow_provider_cohere_datasets.core.calls import Upload
from airflow_provider_cohere_datasets.core.errors import (
    CohereInputError,
    CohereTransportError,
    CohereUploadUnknownError,
)
from airflow_provider_cohere_datasets.transport import blocking
from tests.adversary import AdversarialServer, Answer, Close, DripBody, EarlyHints, Reset, Slow, StaleKeepAlive, Through
from tests.real_time import real_time
from tests.transport.conftest import ID, ONE, ROWS, Connect
from tests.transport.harness import KEY, Client


@pytest.fixture
def free_port() -> int:
    """A port where nobody listens."""
    with socket.create_server(("127.0.0.1", 0)) as listener:
        return int(listener.getsockname()[1])


@pytest.fixture
def full_port() -> Iterator[int]:
    """A port that takes no more connections, so that one is neither made nor refused."""
    with socket.create_server(("127.0.0.1", 0), backlog=0) as listener:
        address = listener.getsockname()
        waiting = [socket.socket() for _ in range(4)]
        for each in waiting:
            each.setblocking(False)
            each.connect_ex(address)
        yield int(address[1])
        for each in waiting:
            each.close()


def test_a_connection_is_kept(server: AdversarialServer, client: Client) -> None:
    for _ in range(5):
        client.get(ID)
    client.usage()
    assert len({request.connection for request in server.requests}) == 1


@pytest.mark.parametrize("seconds", [0, 0.05])
def test_each_request_gets_its_own_answer(server: AdversarialServer, client: Client, seconds: float) -> None:
    server.script("GET", None, [EarlyHints(seconds=seconds)], repeat=True)
    assert [client.get(row["id"]).id for row in ROWS] == [row["id"] for row in ROWS]
    assert server.count() == len(ROWS)
    assert len({request.connection for request in server.requests}) == 1


def test_no_lock_around_idle_connections(connector: Callable[..., Client]) -> None:
    """A signal handler that raises where a lock is taken leaves it so; the task that is to stop would wait for it."""
    client, called = connector("blocking"), set()
    sys.setprofile(lambda frame, event, _: called.add(frame.f_code.co_filename) if event == "call" else None)
    try:
        client.get(ID)
    finally:
        sys.setprofile(None)
    assert urllib3.connectionpool.__file__ in called
    assert queue.__file__ not in called


@real_time
def test_more_connections_than_are_kept(server: AdversarialServer, connector: Callable[..., Client]) -> None:
    server.script("GET", None, [Slow(seconds=0.3)], repeat=True)
    client = connector("blocking")
    with ThreadPoolExecutor(12) as threads:
        assert [each.id for each in threads.map(client.get, [ID] * 12)] == [ID] * 12
    assert len({request.connection for request in server.requests}) == 12


@real_time
def test_the_deadline_of_a_request_is_not_that_of_the_next(
    connector: Callable[..., Client], server: AdversarialServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    """An answer is still worked on when another request has its connection already."""
    server.script("GET", ONE, [Through(), Slow(seconds=0.5)])
    client, inner = connector("blocking", max_tries=1, total_timeout=0.8), []
    original = blocking.reply_for

    def reply_for(*args: Any) -> Any:
        monkeypatch.setattr(blocking, "reply_for", original)
        time.sleep(0.5)
        inner.append(client.get(ID))
        return original(*args)

    monkeypatch.setattr(blocking, "reply_for", reply_for)
    assert client.get(ID).id == ID
    assert [each.id for each in inner] == [ID]
    assert len({request.connection for request in server.requests}) == 1


def test_what_speaks_another_protocol_is_left(server: AdversarialServer, client: Client) -> None:
    server.script("GET", ONE, [Answer(101)])
    assert client.get(ID).id == ID
    assert len({request.connection for request in server.requests}) == 2


def test_each_process_has_its_own_connections(
    server: AdversarialServer, connector: Callable[..., Client], monkeypatch: pytest.MonkeyPatch
) -> None:
    client = connector("blocking")
    client.get(ID)
    monkeypatch.setattr("os.getpid", lambda: 0)  # As after a fork.
    for _ in range(2):
        assert client.get(ID).id == ID
    first, second, third = (request.connection for request in server.requests)
    assert first != second == third


def test_a_lost_idle_connection_is_replaced(server: AdversarialServer, client: Client) -> None:
    server.script("GET", ONE, [StaleKeepAlive()] * 3)
    for _ in range(4):
        assert client.get(ID).id == ID
    assert server.count() == 4
    assert len({request.connection for request in server.requests}) == 4


@pytest.mark.parametrize("fault", [Close(), Reset()], ids=lambda fault: type(fault).__name__)
def test_a_connection_that_is_lost_at_work_costs_one(server: AdversarialServer, client: Client, fault: Close) -> None:
    client.get(ID)
    server.script("GET", ONE, [fault])
    assert client.get(ID).id == ID
    assert server.count() == 3
    assert server.requests[0].connection == server.requests[1].connection != server.requests[2].connection


def test_refused(server: AdversarialServer, connect: Connect, free_port: int) -> None:
    client = connect(f"http://127.0.0.1:{free_port}")
    with pytest.raises(CohereTransportError, match=r"connection was refused.*Gave up after 3 tries") as got:
        client.get(ID)
    assert len(client.pauses) == 2
    assert KEY not in str(got.value)
    assert str(free_port) not in str(got.value), "no URL in errors"


def test_an_unknown_host(connect: Connect) -> None:
    client = connect("http://nowhere.invalid")
    with pytest.raises(CohereTransportError, match=r"the host name is not known\. Gave up after 3 tries"):
        client.get(ID)


@pytest.mark.parametrize("host", ["a" * 64 + ".invalid", "a..invalid", "xn--a.example.invalid"])
def test_a_host_that_is_no_name(connect: Connect, host: str) -> None:
    with pytest.raises(CohereTransportError):
        connect(f"http://{host}").get(ID)


def test_no_connection_in_time(connect: Connect, full_port: int) -> None:
    client = connect(f"http://127.0.0.1:{full_port}", connect_timeout=0.2, max_tries=2)
    with pytest.raises(CohereTransportError, match="the connection could not be made in time"):
        client.get(ID)
    assert len(client.pauses) == 1


def test_the_total_deadline_counts_while_connecting(connect: Connect, full_port: int) -> None:
    client = connect(f"http://127.0.0.1:{full_port}", total_timeout=0.2, max_tries=1)
    with pytest.raises(CohereTransportError):
        client.get(ID)


def test_a_create_that_never_left_is_sent_again(connect: Connect, free_port: int) -> None:
    client = connect(f"http://127.0.0.1:{free_port}")
    with pytest.raises(CohereTransportError, match=r"refused.*Gave up after 3 tries"):
        client.create()
    assert len(client.pauses) == 2


def test_a_proxy_of_the_environment_is_used(
    server: AdversarialServer, connect: Connect, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("http_proxy", server.url)
    server.script("GET", None, [Through(Answer(json={"dataset": ROWS[0]}))])
    assert connect("http://nowhere.invalid").get(ID).id == ID
    assert [request.raw_target for request in server.requests] == [f"http://nowhere.invalid{ONE}"]


@pytest.mark.parametrize("name", ["http_proxy", "all_proxy"])
def test_this_machine_is_not_reached_through_a_proxy(
    server: AdversarialServer, connect: Connect, monkeypatch: pytest.MonkeyPatch, free_port: int, name: str
) -> None:
    monkeypatch.setenv(name, f"http://127.0.0.1:{free_port}")
    for url in (server.url, server.url.replace("127.0.0.1", "localhost")):
        assert connect(url).get(ID).id == ID


def test_a_proxy_that_is_not_there(connect: Connect, monkeypatch: pytest.MonkeyPatch, free_port: int) -> None:
    monkeypatch.setenv("http_proxy", f"http://user:secret@127.0.0.1:{free_port}")
    with pytest.raises(CohereTransportError) as got:
        connect("http://nowhere.invalid").get(ID)
    assert "secret" not in str(got.value)
    assert str(free_port) not in str(got.value)


@pytest.mark.parametrize(
    ("proxy", "says"),
    [
        ("socks5://user:secret@127.0.0.1:1", "SOCKS proxy, for which workers need the package PySocks"),
        ("http://user:secret@:port", "A proxy that the environment names has a URL that is none"),
    ],
)
def test_an_environment_that_requests_cannot_use(
    connector: Callable[..., Client], monkeypatch: pytest.MonkeyPatch, proxy: str, says: str
) -> None:
    def missing(*_: object, **__: object) -> None:
        raise requests.exceptions.InvalidSchema("Missing dependencies for SOCKS support.")

    monkeypatch.setattr(requests.adapters, "SOCKSProxyManager", missing)
    monkeypatch.setenv("http_proxy", proxy)
    client = connector("blocking", "http://nowhere.invalid")
    with pytest.raises(CohereInputError, match=says) as got:
        client.get(ID)
    assert "secret" not in str(got.value)
    assert client.pauses == []


def test_an_upload_has_a_connection_of_its_own(server: AdversarialServer, connector: Callable[..., Client]) -> None:
    client = connector("blocking")
    client.get(ID)
    client.create([Upload("data", "x.jsonl", lambda: io.BytesIO(b'{"text": "x"}'))])
    client.get(ID)
    first, upload, last = (request.connection for request in server.requests)
    assert first != upload == last


@real_time
def test_an_upload_waits_for_its_answer_as_long_as_it_may_take(
    server: AdversarialServer, connector: Callable[..., Client]
) -> None:
    server.script("POST", None, [Slow(seconds=0.5)], repeat=True)
    upload = Upload("data", "x.jsonl", lambda: io.BytesIO(b'{"text": "x"}'))
    connector("blocking", read_timeout=0.2).create([upload])
    assert server.count() == 1
    with pytest.raises(CohereUploadUnknownError, match=r"no complete answer within 0\.2 s"):
        connector("blocking", upload_timeout=0.2).create([upload])
    assert server.count() == 2


@pytest.fixture
def _socks(monkeypatch: pytest.MonkeyPatch) -> None:
    """A stand-in for PySocks, whose proxy at socks.invalid knows nowhere.invalid: it is this machine."""

    def create_connection(address: tuple[str, int], *, proxy_addr: str, timeout: float, **_: Any) -> socket.socket:
        assert proxy_addr == "socks.invalid"
        assert address[0] == "nowhere.invalid"
        return socket.create_connection(("127.0.0.1", address[1]), timeout)

    names = {"ProxyError": OSError, "PROXY_TYPE_SOCKS4": 1, "PROXY_TYPE_SOCKS5": 2}
    monkeypatch.setitem(sys.modules, "socks", SimpleNamespace(create_connection=create_connection, **names))
    monkeypatch.delitem(sys.modules, "urllib3.contrib.socks", raising=False)
    manager = importlib.import_module("urllib3.contrib.socks").SOCKSProxyManager
    monkeypatch.setattr(requests.adapters, "SOCKSProxyManager", manager)
    monkeypatch.setenv("all_proxy", "socks5h://socks.invalid:1080")


@real_time
@pytest.mark.usefixtures("_socks")
def test_a_socks_proxy(server: AdversarialServer, connector: Callable[..., Client]) -> None:
    url = server.url.replace("127.0.0.1", "nowhere.invalid")
    client = connector("blocking", url)
    for _ in range(3):
        assert client.get(ID).id == ID
    assert len({request.connection for request in server.requests}) == 1
    server.script("GET", ONE, [DripBody()])
    with pytest.raises(CohereTransportError, match=r"no complete answer within 0\.5 s"):
        connector("blocking", url, max_tries=1, total_timeout=0.5).get(ID)
