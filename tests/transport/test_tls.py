"""The same over TLS: answers, deadlines, and certificates that nobody trusts."""

from __future__ import annotations

import gc
import socket
from collections.abc import Iterator
from pathlib import Path

import pytest

from airflow_provider_cohere_datasets.core.errors import CohereTransportError
from tests.adversary import AdversarialServer, DripBody, DripHeaders, Fault, Hang
from tests.transport.conftest import ID, ONE, ROWS, Connect
from tests.transport.tls import TlsFront, make_certificate


@pytest.fixture(scope="module")
def certificate(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_certificate(tmp_path_factory.mktemp("tls"))


@pytest.fixture
def front(server: AdversarialServer, certificate: Path) -> Iterator[TlsFront]:
    with TlsFront(server.port, certificate) as front:
        yield front


@pytest.fixture
def _trusted(certificate: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for variable in ("REQUESTS_CA_BUNDLE", "SSL_CERT_FILE"):
        monkeypatch.setenv(variable, str(certificate))


@pytest.mark.usefixtures("_trusted")
def test_requests_over_tls(server: AdversarialServer, connect: Connect, front: TlsFront) -> None:
    client = connect(front.url)
    assert client.get(ID).id == ID
    assert len(client.page().rows) == len(ROWS)
    client.delete(ID)
    assert server.count() == 3
    assert len({request.connection for request in server.requests}) == 1


@pytest.mark.usefixtures("_trusted")
@pytest.mark.parametrize("fault", [Hang(), DripHeaders(), DripBody()], ids=lambda fault: type(fault).__name__)
def test_deadlines_over_tls(server: AdversarialServer, connect: Connect, front: TlsFront, fault: Fault) -> None:
    client = connect(front.url, max_tries=2, total_timeout=0.5)
    server.script("GET", ONE, [fault], repeat=True)
    with pytest.raises(CohereTransportError, match=r"no complete answer within 0\.5 s.* Gave up after 2 tries"):
        client.get(ID)
    assert server.count() == 2


def test_a_certificate_that_is_not_trusted(server: AdversarialServer, connect: Connect, front: TlsFront) -> None:
    client = connect(front.url)
    with pytest.raises(CohereTransportError, match=r"the TLS connection could not be made"):
        client.get(ID)
    with pytest.raises(CohereTransportError, match=r"the TLS connection could not be made"):
        client.create()
    assert server.count() == 0, "the key is not shown to a server that cannot prove who it is"


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
