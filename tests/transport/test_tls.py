"""The same over TLS: answers, deadlines, and certificates that nobody trusts."""

from __future__ import annotations

import gc
import io
import os
import socket
import ssl
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from types import SimpleNamespace

import pytest

from airflow_provider_cohere_datasets.core.account import Account
from airflow_provider_cohere_datasets.core.calls import Upload
from airflow_provider_cohere_datasets.core.errors import (
    CohereAuthenticationError,
    CohereInputError,
    CohereTransportError,
    CohereUploadUnknownError,
)
from airflow_provider_cohere_datasets.transport.blocking import BlockingTransport
from airflow_provider_cohere_datasets.transport.certificates import ca_bundle
from airflow_provider_cohere_datasets.transport.deadline import Deadline
from airflow_provider_cohere_datasets.transport.nonblocking import NonblockingTransport
from tests.adversary import AdversarialServer, DripBody, DripHeaders, Fault, Hang
from tests.real_time import real_time
from tests.transport import tls
from tests.transport.conftest import ID, ONE, ROWS, Connect
from tests.transport.harness import DRIVERS, KEY, Client
from tests.transport.tls import TlsServer, make_certificate, read_head

#: The variables that name certificates; the first that is set wins.
BUNDLES = ("REQUESTS_CA_BUNDLE", "CURL_CA_BUNDLE", "SSL_CERT_FILE", "SSL_CERT_DIR")

#: Larger than all buffers on the way.
LARGE = Upload("data", "a.jsonl", lambda: io.BytesIO(bytes(32 << 20)))


@pytest.fixture(scope="module")
def certificate(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_certificate(tmp_path_factory.mktemp("tls"))


@pytest.fixture
def front(server: AdversarialServer, certificate: Path) -> Iterator[TlsServer]:
    with tls.front(server.port, certificate) as front:
        yield front


@pytest.fixture
def _trusted(certificate: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(BUNDLES[0], str(certificate))


@pytest.mark.usefixtures("_trusted")
def test_requests_over_tls(server: AdversarialServer, connect: Connect, front: TlsServer) -> None:
    client = connect(front.url)
    assert client.get(ID).id == ID
    assert len(client.page().rows) == len(ROWS)
    client.delete(ID)
    assert server.count() == 3
    assert len({request.connection for request in server.requests}) == 1


@real_time
@pytest.mark.usefixtures("_trusted")
@pytest.mark.parametrize("fault", [Hang(), DripHeaders(), DripBody()], ids=lambda fault: type(fault).__name__)
def test_deadlines_over_tls(server: AdversarialServer, connect: Connect, front: TlsServer, fault: Fault) -> None:
    client = connect(front.url, max_tries=2, total_timeout=0.5)
    server.script("GET", ONE, [fault], repeat=True)
    with pytest.raises(CohereTransportError, match=r"no complete answer within 0\.5 s.* Gave up after 2 tries"):
        client.get(ID)
    assert server.count() == 2


@real_time
@pytest.mark.usefixtures("_trusted")
def test_deadlines_through_a_proxy_over_tls(
    server: AdversarialServer,
    connect: Connect,
    front: TlsServer,
    certificate: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    with tls.proxy(certificate) as proxy:
        monkeypatch.setenv("https_proxy", proxy.url)
        client = connect(front.url.replace("127.0.0.1", "datasets.invalid"), max_tries=1, total_timeout=0.5)
        assert client.get(ID).id == ID
        server.script("GET", ONE, [DripBody()], repeat=True)
        for each in (client, connect(front.url, max_tries=1, total_timeout=0.5)):
            with pytest.raises(CohereTransportError, match=r"no complete answer within 0\.5 s"):
                each.get(ID)


def test_a_deadline_leaves_a_connection_its_tls(certificate: Path, front: TlsServer) -> None:
    """Without it, who reads just then would take what is encrypted for the answer."""
    context = ssl.create_default_context(cafile=certificate)
    address = ("127.0.0.1", int(front.url.rpartition(":")[2]))
    with (
        context.wrap_socket(socket.create_connection(address), server_hostname="127.0.0.1") as connected,
        Deadline(60, 60) as watch,
    ):
        watch.hold(SimpleNamespace(sock=connected))  # type: ignore[arg-type]
        watch.expire()
        assert connected.version() is not None


@pytest.mark.usefixtures("_trusted")
def test_a_refusal_before_all_is_sent(certificate: Path, connector: Callable[..., Client]) -> None:
    def refuse(near: ssl.SSLSocket) -> None:
        read_head(near)
        near.sendall(b"HTTP/1.1 401 Unauthorized\r\nConnection: close\r\nContent-Length: 2\r\n\r\n{}")
        plain = near.unwrap()  # Ends TLS, and reads on for a moment, so that the answer is not lost.
        plain.settimeout(1)
        while plain.recv(65536):
            pass

    with tls.TlsServer(certificate, refuse) as refusing, pytest.raises(CohereAuthenticationError):
        connector("blocking", refusing.url).create([LARGE])


@real_time
@pytest.mark.usefixtures("_trusted")
@pytest.mark.parametrize(("read_timeout", "outcome"), [(5.0, "made"), (0.3, "the server was silent for too long")])
def test_an_upload_may_pause_as_long_as_an_answer(
    certificate: Path, connector: Callable[..., Client], read_timeout: float, outcome: str
) -> None:
    def pause(near: ssl.SSLSocket) -> None:
        head, _, body = read_head(near).partition(b"\r\n\r\n")
        left = int(head.lower().partition(b"content-length: ")[2].split()[0]) - len(body)
        time.sleep(1)
        while left > 0:
            left -= len(near.recv(65536))
        near.sendall(b'HTTP/1.1 200 OK\r\nContent-Length: 13\r\n\r\n{"id":"made"}')

    with tls.TlsServer(certificate, pause) as pausing:
        client = connector("blocking", pausing.url, connect_timeout=0.5, read_timeout=read_timeout)
        if outcome == "made":
            assert client.create([LARGE]) == outcome
        else:
            with pytest.raises(CohereUploadUnknownError, match=outcome):
                client.create([LARGE])


def test_a_certificate_that_is_not_trusted(server: AdversarialServer, connect: Connect, front: TlsServer) -> None:
    client = connect(front.url)
    with pytest.raises(CohereTransportError, match=r"the TLS connection could not be made"):
        client.get(ID)
    with pytest.raises(CohereTransportError, match=r"the TLS connection could not be made"):
        client.create()
    assert server.count() == 0, "the key is not shown to a server that cannot prove who it is"


@pytest.mark.parametrize("position", range(4))
def test_both_trust_what_the_same_variable_names(
    connect: Connect, front: TlsServer, certificate: Path, monkeypatch: pytest.MonkeyPatch, position: int
) -> None:
    for name in BUNDLES[:position]:
        monkeypatch.setenv(name, "")
    monkeypatch.setenv(BUNDLES[position], str(certificate))
    for name in BUNDLES[position + 1 :]:
        monkeypatch.setenv(name, "/nowhere")
    assert connect(front.url).get(ID).id == ID


@pytest.mark.parametrize("name", BUNDLES)
def test_a_directory_takes_the_place_of_the_usual_certificates(
    connect: Connect, front: TlsServer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str
) -> None:
    for each in BUNDLES:
        monkeypatch.setenv(each, str(tmp_path) if each == name else "")
    with pytest.raises(CohereTransportError, match="the TLS connection could not be made"):
        connect(front.url).get(ID)


@pytest.mark.parametrize("transport", [BlockingTransport, NonblockingTransport])
@pytest.mark.parametrize("name", BUNDLES)
def test_a_bundle_that_is_not_there(
    transport: Callable[[Account], object], monkeypatch: pytest.MonkeyPatch, name: str
) -> None:
    for each in BUNDLES:
        monkeypatch.setenv(each, "/nowhere.pem" if each == name else "")
    with pytest.raises(CohereInputError, match=rf"^The CA bundle '/nowhere\.pem' of {name} .*cannot be read\.$"):
        transport(Account("https://127.0.0.1:1", KEY))


@pytest.mark.parametrize(
    ("name", "value", "says"),
    [
        ("REQUESTS_CA_BUNDLE", __file__, r"certificates of the CA bundle '.*test_tls\.py' cannot be read: .*no cert"),
        ("ALL_PROXY", "socks5://user:secret@127.0.0.1:1", "SOCKS proxy, for which the triggerer needs .*socksio"),
        ("HTTPS_PROXY", "ftp://user:secret@127.0.0.1:1", "A proxy .* has a URL that is none, or of a kind"),
        ("HTTPS_PROXY", "http://user:secret@127.0.0.1:port", "A proxy .* has a URL that is none, or of a kind"),
    ],
)
def test_an_environment_that_httpx_cannot_use(
    monkeypatch: pytest.MonkeyPatch, name: str, value: str, says: str
) -> None:
    monkeypatch.setitem(sys.modules, "socksio", None)
    monkeypatch.setenv(name, value)
    with pytest.raises(CohereInputError, match=says) as got:
        NonblockingTransport(Account("https://nowhere.invalid:1", KEY))
    assert "secret" not in str(got.value)


@pytest.mark.parametrize("kind", list(DRIVERS))
def test_a_bundle_that_is_replaced(
    server: AdversarialServer,
    connector: Callable[..., Client],
    monkeypatch: pytest.MonkeyPatch,
    tmp_path: Path,
    kind: str,
) -> None:
    """A triggerer runs for longer than some certificates are valid."""
    old, new = (make_certificate(tmp_path / name) for name in ("old", "new"))
    bundle = tmp_path / "bundle.pem"
    monkeypatch.setenv(BUNDLES[0], str(bundle))
    for at, certificate in enumerate((old, new)):
        bundle.write_bytes(certificate.read_bytes())
        os.utime(bundle, (at, at))
        with tls.front(server.port, certificate) as front:
            assert connector(kind, front.url).get(ID).id == ID


@pytest.fixture
def silent_url() -> Iterator[str]:
    """A server that takes connections and then says nothing."""
    with socket.create_server(("127.0.0.1", 0)) as silent:
        yield f"https://127.0.0.1:{silent.getsockname()[1]}"


def test_a_handshake_has_the_time_to_connect(connect: Connect, silent_url: str) -> None:
    with pytest.raises(CohereTransportError, match=r"connection could not be made in time\. Gave up after 2 tries"):
        connect(silent_url, max_tries=2, connect_timeout=0.2).create()


@pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")
def test_a_handshake_ends_with_the_request(connect: Connect, silent_url: str) -> None:
    with pytest.raises(CohereTransportError, match=r"in time|within 0\.2 s"):
        connect(silent_url, max_tries=1, total_timeout=0.2).get(ID)
    # httpcore forgets to close a socket whose handshake is cancelled; only the garbage collector does.
    gc.collect()


def test_several_directories_are_left_to_openssl(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    for name in BUNDLES:
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("SSL_CERT_DIR", str(tmp_path))
    assert ca_bundle() == str(tmp_path)
    monkeypatch.setenv("SSL_CERT_DIR", f"{tmp_path}{os.pathsep}{tmp_path / 'other'}")
    assert ca_bundle() is None
