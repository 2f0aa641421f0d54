"""No request lasts longer than its deadline, whatever the server does with its time."""

from __future__ import annotations

import gc
import os
import signal
import socket
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager, suppress
from types import SimpleNamespace

import pytest

from airflow_provider_cohere_datasets.core.account import Account
from airflow_provider_cohere_datasets.core.errors import CohereTransportError
from airflow_provider_cohere_datasets.transport.deadline import Deadline
from tests.adversary import AdversarialServer, Answer, DripBody, DripHeaders, EndlessBody, Fault, Hang, Slow
from tests.real_time import real_time
from tests.transport.conftest import ID, ONE, Connect
from tests.transport.harness import DRIVERS, Client

pytestmark = real_time


@contextmanager
def lasting(least: float, most: float) -> Iterator[None]:
    """The block takes at least and at most so many seconds; generous, for a busy machine."""
    started = time.monotonic()
    yield
    assert least * 0.9 <= time.monotonic() - started < most


@pytest.mark.parametrize(
    "fault",
    [
        Hang(),
        DripHeaders(),
        DripBody(),
        DripBody(interval=0.001),
        DripBody(Answer(body=b"{}", close=True)),
        DripBody(Answer(body=b"{}", headers={"Transfer-Encoding": "chunked"}, close=True)),
        EndlessBody(),
    ],
    ids=lambda f: type(f).__name__,
)
def test_the_total_deadline(server: AdversarialServer, connect: Connect, fault: Fault) -> None:
    # The endless body is compared with a deadline so short that it cannot become too large before.
    seconds = 0.02 if isinstance(fault, EndlessBody) else 0.25
    client = connect(max_tries=1, total_timeout=seconds)
    server.script("GET", ONE, [fault])
    with lasting(seconds, 3), pytest.raises(CohereTransportError, match=f"no complete answer within {seconds:g} s"):
        client.get(ID)
    # In 20 ms a busy server may not even have read the request; a second one must never be sent.
    assert server.count() in ({0, 1} if isinstance(fault, EndlessBody) else {1})


@pytest.mark.parametrize("fault", [Hang(), DripBody(interval=5)], ids=lambda f: type(f).__name__)
def test_the_read_deadline(server: AdversarialServer, connect: Connect, fault: Fault) -> None:
    client = connect(max_tries=1, read_timeout=0.25)
    server.script("GET", ONE, [fault])
    with lasting(0.25, 3), pytest.raises(CohereTransportError, match="the server was silent for too long"):
        client.get(ID)
    assert server.count() == 1


def test_a_drip_is_no_silence(server: AdversarialServer, connect: Connect) -> None:
    client = connect(read_timeout=0.5)
    server.script("GET", ONE, [DripBody(interval=0.001, forever=False)])
    assert client.get(ID).id == ID
    assert server.count() == 1


def test_a_kept_connection_is_one_that_was_made(server: AdversarialServer, connect: Connect) -> None:
    client = connect(max_tries=1, read_timeout=0.25)
    client.get(ID)
    server.script("GET", ONE, [Hang()])
    with pytest.raises(CohereTransportError, match="the server was silent for too long"):
        client.get(ID)
    assert len({request.connection for request in server.requests}) == 1


@contextmanager
def dripping(head: bytes) -> Iterator[str]:
    """A server whose one answer begins like this and does not end for five seconds."""
    ended = threading.Event()

    def serve(listener: socket.socket) -> None:
        with suppress(OSError), listener.accept()[0] as near:
            near.recv(65536)
            near.sendall(head)
            for _ in range(100):
                near.sendall(b" ")
                if ended.wait(0.05):
                    break

    with socket.create_server(("127.0.0.1", 0)) as listener:
        serving = threading.Thread(target=serve, args=(listener,), daemon=True)
        serving.start()
        yield f"http://127.0.0.1:{listener.getsockname()[1]}"
        ended.set()
        serving.join()


@pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")
def test_the_total_deadline_counts_while_a_proxy_answers(connect: Connect, monkeypatch: pytest.MonkeyPatch) -> None:
    with dripping(b"HTTP/1.1 200 OK\r\nVia: ") as proxy:
        monkeypatch.setenv("https_proxy", proxy)
        client = connect("https://datasets.invalid", max_tries=1, total_timeout=0.25)
        with lasting(0.25, 3), pytest.raises(CohereTransportError, match=r"no complete answer within 0\.25 s"):
            client.get(ID)
    # Python takes the end for that of the proxy's answer and begins a handshake, whose socket urllib3 forgets to close.
    gc.collect()


def test_a_body_without_a_length_is_not_complete_because_its_time_is_over(connect: Connect) -> None:
    with dripping(b"HTTP/1.1 200 OK\r\nConnection: close\r\n\r\n{") as url:
        client = connect(url, max_tries=1, total_timeout=0.25)
        with lasting(0.25, 3), pytest.raises(CohereTransportError, match=r"no complete answer within 0\.25 s"):
            client.get(ID)


def test_after_a_deadline_comes_a_new_try(server: AdversarialServer, connect: Connect) -> None:
    client = connect(total_timeout=0.5)
    server.script("GET", ONE, [DripBody(), DripHeaders()])
    assert client.get(ID).id == ID
    assert server.count() == 3
    assert len({request.connection for request in server.requests}) == 3, "a broken connection is not used again"


def test_each_try_has_its_own_deadline(server: AdversarialServer, connect: Connect) -> None:
    client = connect(max_tries=5, total_timeout=0.5)
    server.script("GET", ONE, [Slow(seconds=0.2)] * 3)
    for _ in range(3):
        client.get(ID)
    assert server.count() == 3


@pytest.mark.parametrize("kind", list(DRIVERS))
@pytest.mark.parametrize("where", ["extra", "overrides"])
def test_deadlines_are_set_on_the_connection_or_the_hook(server: AdversarialServer, kind: str, where: str) -> None:
    values = {where: {"total_timeout": "0.25", "max_tries": 2, "backoff_base": 0}}
    client = Client(kind, Account.of(conn_id="c", host=server.url, password="test-key", **values))
    server.script("GET", ONE, [DripHeaders()], repeat=True)
    try:
        with lasting(0.5, 3), pytest.raises(CohereTransportError, match=r"within 0\.25 s.* Gave up after 2 tries"):
            client.get(ID)
    finally:
        client.close()
    assert server.count() == 2


@pytest.mark.parametrize("order", [1, -1], ids=["the shortest first", "the longest first"])
def test_requests_at_once_have_deadlines_of_their_own(
    server: AdversarialServer, connector: Callable[..., Client], order: int
) -> None:
    def late(seconds: float) -> None:
        with lasting(seconds, seconds + 0.8), pytest.raises(CohereTransportError, match=f"within {seconds:g} s"):
            connector("blocking", max_tries=1, total_timeout=seconds).get(ID)

    server.script("GET", ONE, [DripBody()], repeat=True)
    connector("blocking", total_timeout=100).usage()
    with ThreadPoolExecutor() as threads:
        list(threads.map(late, [0.2, 0.7, 1.2][::order]))


@pytest.mark.filterwarnings("ignore:This process .* is multi-threaded")
def test_a_forked_process_keeps_deadlines(server: AdversarialServer, connector: Callable[..., Client]) -> None:
    client = connector("blocking", max_tries=1, total_timeout=0.25)
    client.get(ID)
    server.script("GET", ONE, [DripBody()], repeat=True)
    child = os.fork()
    if child == 0:
        signal.alarm(10)  # Ends it, with another status.
        try:
            client.get(ID)
        except CohereTransportError:
            os._exit(0)
        finally:
            os._exit(1)
    assert os.waitpid(child, 0)[1] == 0


def test_a_connection_that_is_made_too_late_is_shut() -> None:
    """As where the name server takes longer than the request may."""
    ours, theirs = socket.socketpair()
    with ours, theirs, Deadline(60, 60) as watch:
        theirs.setblocking(False)
        watch.expire()
        watch.hold(SimpleNamespace(sock=ours))  # type: ignore[arg-type]
        assert theirs.recv(1) == b""
