"""TLS in front of a plain server, with a certificate made for the test."""

from __future__ import annotations

import contextlib
import socket
import ssl
import threading
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from ipaddress import ip_address
from pathlib import Path
from types import TracebackType
from typing import Self

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID


def make_certificate(folder: Path) -> Path:
    """Make a certificate for 127.0.0.1 and datasets.invalid that signs itself; certificate and key are in one file."""
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "127.0.0.1")])
    names: list[x509.GeneralName] = [x509.IPAddress(ip_address("127.0.0.1")), x509.DNSName("datasets.invalid")]
    now = datetime.now(UTC)
    certificate = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - timedelta(days=1))
        .not_valid_after(now + timedelta(days=1))
        .add_extension(x509.SubjectAlternativeName(names), critical=False)
        .add_extension(x509.BasicConstraints(ca=True, path_length=0), critical=True)
        .sign(key, hashes.SHA256())
    )
    secret = key.private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    )
    folder.mkdir(exist_ok=True)
    path = folder / "certificate.pem"
    path.write_bytes(certificate.public_bytes(serialization.Encoding.PEM) + secret)
    return path


class TlsServer:
    """Gives each connection over TLS to a function, in a thread of its own, and closes it afterwards.

    :param certificate: the file with certificate and key
    """

    def __init__(self, certificate: Path, serve: Callable[[ssl.SSLSocket], None]) -> None:
        self._context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
        self._context.load_cert_chain(certificate)
        self._handle = serve
        self._sockets: list[socket.socket] = []
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.url = f"https://127.0.0.1:{self._listener.getsockname()[1]}"

    def __enter__(self) -> Self:
        threading.Thread(target=self._accept, daemon=True).start()
        return self

    def __exit__(self, *_: type[BaseException] | BaseException | TracebackType | None) -> None:
        for each in (self._listener, *self._sockets):
            _end(each)

    def _accept(self) -> None:
        with contextlib.suppress(OSError):
            while True:
                plain, _ = self._listener.accept()
                threading.Thread(target=self._serve, args=(plain,), daemon=True).start()

    def _serve(self, plain: socket.socket) -> None:
        try:
            near = self._context.wrap_socket(plain, server_side=True)
        except OSError:
            plain.close()
            return
        self._sockets.append(near)
        with contextlib.suppress(OSError):
            self._handle(near)
        _end(near)


def front(port: int, certificate: Path) -> TlsServer:
    """Return what hands on all that comes over TLS to a plain port on this machine, and back."""
    return TlsServer(certificate, lambda near: _join(near, port))


def proxy(certificate: Path) -> TlsServer:
    """Return a proxy that is itself reached by TLS; whatever host is asked for, it leads to this machine."""

    def serve(near: ssl.SSLSocket) -> None:
        port = int(read_head(near).split()[1].rpartition(b":")[2])
        near.sendall(b"HTTP/1.1 200 OK\r\n\r\n")
        _join(near, port)

    return TlsServer(certificate, serve)


def read_head(near: socket.socket) -> bytes:
    """Receive a request's head, and what came together with it."""
    got = b""
    while b"\r\n\r\n" not in got and (data := near.recv(65536)):
        got += data
    return got


def _join(near: socket.socket, port: int) -> None:
    far = socket.create_connection(("127.0.0.1", port))
    threading.Thread(target=_pump, args=(near, far), daemon=True).start()
    _pump(far, near)
    _end(far)


def _end(each: socket.socket) -> None:
    with contextlib.suppress(OSError):
        each.shutdown(socket.SHUT_RDWR)
    each.close()


def _pump(source: socket.socket, sink: socket.socket) -> None:
    with contextlib.suppress(OSError):
        while data := source.recv(65536):
            sink.sendall(data)
    for each in (source, sink):
        with contextlib.suppress(OSError):
            each.shutdown(socket.SHUT_RDWR)
