"""The server starts, stops, records and resets as it should, and follows its scripts."""

from __future__ import annotations

import hashlib
import subprocess
import sys
import threading
import time
from pathlib import Path

import pytest

from tests.adversary import (
    AdversarialServer,
    DripBody,
    DripHeaders,
    EndlessBody,
    Fault,
    Hang,
    Listing,
    Through,
    error,
    make_datasets,
)
from tests.adversary.client import Client, Got

LIST = "/v1/datasets"
ROWS = make_datasets(30)


def ask(server: AdversarialServer) -> Got:
    with Client(server) as client:
        return client.ask("GET", LIST)


@pytest.mark.parametrize("end", ["stop", "reset"])
@pytest.mark.parametrize("fault", [Hang(), Hang(needs_body=0), DripHeaders(), DripBody(interval=60), EndlessBody()])
def test_stop_and_reset_cut_off_what_never_ends(fault: Fault, end: str) -> None:
    with AdversarialServer() as server:
        server.script(None, None, [fault], repeat=True)
        clients = [Client(server) for _ in range(3)]
        for client in clients:
            client.socket.sendall(client.head("POST", LIST, ["Content-Length: 1"]) + b"x")
        while not all(wire.stuck for wire in list(server._wires)) or server.count() < 3:
            time.sleep(0.001)
        getattr(server, end)()
        for client in clients:
            client.socket.settimeout(2)
            assert client.receive().end in ("closed", "reset")
            client.socket.close()


def test_the_interpreter_exits_with_a_server_still_hanging() -> None:
    code = (
        "from tests.adversary import *; from tests.adversary.client import Client\n"
        "server = AdversarialServer().__enter__(); server.script(None, None, [Hang()])\n"
        "client = Client(server); client.socket.sendall(client.head('GET', '/'))\n"
        "while not server.count(): pass\n"
    )
    root = Path(__file__).parents[2]
    assert subprocess.run([sys.executable, "-c", code], cwd=root, timeout=20).returncode == 0


def test_scripts_run_in_order_and_then_give_way(server: AdversarialServer) -> None:
    server.script("GET", f"{LIST}/*", [error(500), Through(), error(503)])
    server.script(None, f"{LIST}/usage", [error(418)], repeat=True)
    with Client(server) as client:
        got = [client.ask("GET", f"{LIST}/usage").status for _ in range(6)]
        assert got == [500, 200, 503, 418, 418, 418]
        assert client.ask("GET", LIST).status == 200
    assert [request.connection for request in server.requests] == [server.connections] * 7
    assert [request.fate for request in server.requests][:3] == [
        "script:Answer",
        "script:Through",
        "script:Answer",
    ]
    assert server.count("GET", f"{LIST}/usage") == 6
    server.reset()
    assert (server.count(), server.requests) == (0, [])


def test_the_record(server: AdversarialServer) -> None:
    with Client(server) as client:
        client.ask("GET", f"{LIST}/a%2Fb%20c?after=2026-01-01T00%3A00%3A00%2B02%3A00&x=&x=2", headers=["X-A: b"])
        client.socket.sendall(
            client.head("POST", "/v1/x", ["Transfer-Encoding: chunked"]) + b"3\r\nabc\r\n2;e\r\nde\r\n0\r\n\r\n"
        )
        client.receive()
        client.ask("POST", "/v1/x", bytes(100_000))
        client.socket.sendall(client.head("POST", "/v1/x", ["Content-Length: 1", "Expect: 100-continue"]))
        assert client.receive(25).raw == b"HTTP/1.1 100 Continue\r\n\r\n"
        client.socket.sendall(b"x")
        assert client.receive().status == 404
    got, chunked, large, _ = server.requests
    assert got.path == f"{LIST}/a/b c"
    assert got.raw_target.startswith(f"{LIST}/a%2Fb%20c?after=")
    assert got.query == [("after", "2026-01-01T00:00:00+02:00"), ("x", ""), ("x", "2")]
    assert got.headers["x-a"] == "b"
    assert got.complete
    assert chunked.body == b"abcde"
    assert (large.body, large.length) == (b"", 100_000)
    assert large.sha256 == hashlib.sha256(bytes(100_000)).hexdigest()


def test_chaos(server: AdversarialServer) -> None:
    def fates(**options: int) -> list[str]:
        server.reset(ROWS)
        server.chaos(0.5, seed=3, **options)
        for _ in range(60):
            with Client(server) as client:
                client.ask("GET", LIST)
        return [request.fate for request in server.requests]

    first = fates()
    assert len(set(first)) == 9
    assert 20 <= first.count("model") <= 40
    assert fates() == first
    merciful = " ".join("f" if fate not in ("model", "chaos:slow") else "m" for fate in fates(in_a_row=2))
    assert "f f" in merciful
    assert "f f f" not in merciful


def test_what_goes_wrong_inside_is_not_swallowed() -> None:
    def between(model: object) -> None:
        raise RuntimeError("a bug in a test")

    with (
        pytest.raises(RuntimeError, match="a bug in a test"),
        AdversarialServer(ROWS, Listing(between=between)) as server,
    ):
        assert ask(server).end == "closed"


def test_many_at_once(server: AdversarialServer) -> None:
    def work() -> None:
        with Client(server) as client:
            for _ in range(20):
                assert client.ask("GET", LIST).status == 200

    threads = [threading.Thread(target=work) for _ in range(16)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert server.count("GET", LIST) == 320
