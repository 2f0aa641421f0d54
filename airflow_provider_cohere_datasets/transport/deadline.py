"""A deadline for a request as a whole.

The timeouts of requests limit the silence between two bytes, so a server that drips holds a task for ever. A thread
closes the socket under the request instead.
"""

from __future__ import annotations

import contextlib
import http.client
import os
import socket
import ssl
import threading
import time
from functools import cache
from queue import Empty, Full
from typing import TYPE_CHECKING, Any, cast

from requests.adapters import HTTPAdapter

if TYPE_CHECKING:
    from urllib3.connection import HTTPConnection
    from urllib3.connectionpool import HTTPConnectionPool

_current = threading.local()


class _Watchman:
    """Ends what is overdue, in one thread for all requests: one for each takes a fifteenth of an export's time."""

    def __init__(self) -> None:
        self._begin()
        # A forked process has neither the thread nor the requests, and the lock may have been taken.
        os.register_at_fork(after_in_child=self._begin)

    def _begin(self) -> None:
        self._ends: dict[Deadline, float] = {}
        # Taken by itself: in a condition's own __enter__, a signal handler that raises would leave it taken for ever.
        self._lock = threading.RLock()
        self._changed = threading.Condition(self._lock)
        self._wakes: float | None = None  # None while there is no thread

    def add(self, watch: Deadline, seconds: float) -> None:
        end = time.monotonic() + seconds
        with self._lock:
            if self._wakes is None:
                # A daemon, for it stays for a while when the last request is over.
                threading.Thread(target=self._work, name="deadlines", daemon=True).start()
                self._wakes = end
            elif end < self._wakes:
                self._changed.notify()
            self._ends[watch] = end

    def remove(self, watch: Deadline) -> None:
        with self._lock:
            self._ends.pop(watch, None)

    def _work(self) -> None:
        with self._lock:
            while self._ends:
                now = time.monotonic()
                for watch in [watch for watch, end in self._ends.items() if end <= now]:
                    del self._ends[watch]
                    with contextlib.suppress(Exception):  # Whatever it is, the others keep their deadlines.
                        watch.expire()
                self._wakes = min(self._ends.values(), default=now)
                self._changed.wait(self._wakes - now)
            self._wakes = None


_watchman = _Watchman()


class Deadline:
    """Shuts the connection of the running request down when its time is over.

    :param seconds: the time of the request as a whole.
    :param silence: seconds that one read or write may take once the connection is made.
    """

    def __init__(self, seconds: float, silence: float) -> None:
        self.silence = silence
        self._seconds = seconds
        self._connection: HTTPConnection | None = None
        self._socket: Any = None
        self._lock = threading.Lock()
        self.expired = False
        #: Whether a connection was made, so that the server may have received something.
        self.connected = False

    def __enter__(self) -> Deadline:
        _current.watch = self
        _watchman.add(self, self._seconds)
        return self

    def __exit__(self, *_: object) -> None:
        _watchman.remove(self)
        with self._lock:
            self._connection = self._socket = None
        _current.watch = None

    def hold(self, connection: HTTPConnection) -> None:
        """Remember the connection that the request uses; shut it if its time is over already."""
        with self._lock:
            self._connection = connection
            # A connection forgets its socket before the body is read, if the server says that it will close it.
            self._socket = connection.sock
            expired = self.expired
        if expired:
            self._shut()

    def expire(self) -> None:
        """End the request."""
        self.expired = True
        self._shut()

    def _shut(self) -> None:
        with self._lock:
            sock = getattr(self._connection, "sock", None) or self._socket
        # TLS through a proxy that is reached by TLS itself is no socket, but has one.
        sock = getattr(sock, "socket", sock)
        if sock is not None:
            with contextlib.suppress(OSError):
                # Not sock.shutdown(): on a TLS socket that drops the TLS layer under the reading thread.
                socket.socket.shutdown(sock, socket.SHUT_RDWR)


class _Lines:
    """A file that remembers the line that was read last: nothing, at its end."""

    def __init__(self, file: Any) -> None:
        self._file = file
        self.last = b""

    def readline(self, *args: Any) -> bytes:
        self.last = self._file.readline(*args)
        return self.last

    def __getattr__(self, name: str) -> Any:
        return getattr(self._file, name)


class _LastAnswer(http.client.HTTPResponse):
    """Passes over what servers send before their answer, as 103 Early Hints; http.client does for 100 alone.

    What is not read here would be taken for the answer to the next request.
    """

    def begin(self) -> None:
        file = self.fp
        lines: Any = _Lines(file)
        self.fp = lines
        super().begin()
        while 100 < self.status < 200 and self.status != http.HTTPStatus.SWITCHING_PROTOCOLS:
            self.headers = self.msg = None  # type: ignore[assignment]  # Or it would not read on.
            super().begin()
        if not lines.last:  # The connection ended among the headers; http.client takes that for their end.
            raise http.client.IncompleteRead(b"")
        self.fp = file
        # Nobody asked for another protocol, so nothing that follows can be understood.
        self.will_close = self.will_close or self.status == http.HTTPStatus.SWITCHING_PROTOCOLS


class _Watched:
    """Mixed into connections: tells the watch of the running request which connection it uses."""

    response_class = _LastAnswer

    def connect(self) -> None:
        watch: Deadline = _current.watch
        connection = cast("HTTPConnection", self)
        watch.hold(connection)
        super().connect()  # type: ignore[misc]
        watch.connected = True
        # urllib3 would send the body with the timeout for connecting.
        connection.sock.settimeout(watch.silence)
        watch.hold(connection)

    def request(self, *args: Any, **kwargs: Any) -> None:
        watch: Deadline = _current.watch
        connection = cast("HTTPConnection", self)
        if connection.sock is not None:
            watch.connected = True
            watch.hold(connection)
            # On a connection that is made already, as one over TLS, urllib3 would set the time to connect.
            connection.timeout = watch.silence
        try:
            super().request(*args, **kwargs)  # type: ignore[misc]
        except ssl.SSLEOFError as error:
            # A server that refuses an upload need not read it. From a broken pipe, urllib3 goes on to read the answer.
            raise BrokenPipeError from error


class _Idle:
    """The idle connections of a pool, the last one first.

    urllib3's own queue has a lock, and a signal handler that raises can leave it taken: a task that is to stop would
    hang where it gives its connection back.
    """

    def __init__(self, most: int) -> None:
        self._most = most
        self._connections: list[Any] = []

    def put(self, connection: Any, block: bool = True) -> None:
        if len(self._connections) >= self._most:
            raise Full
        self._connections.append(connection)

    def get(self, block: bool = True, timeout: float | None = None) -> Any:
        try:
            return self._connections.pop()
        except IndexError:
            raise Empty from None

    def qsize(self) -> int:
        return len(self._connections)


@cache
def _watched(pool: type[HTTPConnectionPool]) -> type[HTTPConnectionPool]:
    """Return the same kind of pool with connections that a watch can shut down; each way to a server has its own."""
    kind = pool.ConnectionCls
    if issubclass(kind, _Watched):
        return pool
    return type(pool.__name__, (pool,), {"ConnectionCls": type(kind.__name__, (_Watched, kind), {}), "QueueCls": _Idle})


class DeadlineAdapter(HTTPAdapter):
    """Makes connections that the watch of the running request can shut down, through any proxy too."""

    def init_poolmanager(self, *args: Any, **kwargs: Any) -> None:
        """Make the pools for direct connections."""
        super().init_poolmanager(*args, **kwargs)
        self._watch(self.poolmanager)

    def proxy_manager_for(self, proxy: str, **kwargs: Any) -> Any:
        """Return the pools for the connections of a proxy."""
        return self._watch(super().proxy_manager_for(proxy, **kwargs))

    def _watch(self, manager: Any) -> Any:
        pools = manager.pool_classes_by_scheme.items()
        manager.pool_classes_by_scheme = {scheme: _watched(pool) for scheme, pool in pools}
        return manager
