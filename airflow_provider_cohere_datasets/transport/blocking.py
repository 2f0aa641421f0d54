"""Drives flows with requests, for tasks."""

from __future__ import annotations

import contextlib
import os
import threading
import time
from typing import TYPE_CHECKING, Any, TypeVar

import requests
from requests.auth import AuthBase
from requests.exceptions import InvalidSchema, InvalidURL
from urllib3.exceptions import HTTPError, ProtocolError

from airflow_provider_cohere_datasets.core.calls import Call, Pause, Reply, TransportFailure
from airflow_provider_cohere_datasets.core.errors import CohereInputError
from airflow_provider_cohere_datasets.transport.ahead import Ahead
from airflow_provider_cohere_datasets.transport.certificates import ca_bundle
from airflow_provider_cohere_datasets.transport.deadline import Deadline, DeadlineAdapter
from airflow_provider_cohere_datasets.transport.limits import (
    BAD_PROXY,
    MAX_BODY_BYTES,
    PACKED_OTHERWISE,
    TOO_LARGE,
    headers_for,
    is_packed,
    is_packed_otherwise,
    reply_for,
    unpacked,
)
from airflow_provider_cohere_datasets.transport.multipart import CHANGED, multipart
from airflow_provider_cohere_datasets.transport.pacing import pace_of

if TYPE_CHECKING:
    from collections.abc import Callable, Generator, Iterator

    from airflow_provider_cohere_datasets.core.account import Account
    from airflow_provider_cohere_datasets.core.calls import Flow, Outcome

T = TypeVar("T")
P = TypeVar("P")

_CHUNK = 64 * 1024


class BlockingTransport:
    """Runs flows in the calling thread.

    :param account: the key and the only origin it is sent to.
    :param sleep: waits some seconds.
    :param clock: tells a monotonic time in seconds.
    :raises CohereInputError: if the CA bundle that the environment names cannot be read.
    """

    def __init__(
        self,
        account: Account,
        *,
        sleep: Callable[[float], None] = time.sleep,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self.account = account
        self._sleep = sleep
        self._clock = clock
        #: Requests that were sent.
        self.requests = 0
        self._counting = threading.Lock()
        self._pace = pace_of(account)
        self._connect()

    def _connect(self) -> None:
        account, self._process = self.account, os.getpid()
        self._session = _Session()
        self._session.trust_env = not account.is_on_this_machine  # Of the environment, only proxies are left.
        self._session.verify = ca_bundle() or True
        self._session.headers.clear()
        self._session.auth = _Bearer(account.api_key)
        for scheme in ("http://", "https://"):
            self._session.mount(scheme, DeadlineAdapter(max_retries=0))

    def __enter__(self) -> BlockingTransport:
        """Return the transport."""
        return self

    def __exit__(self, *_: object) -> None:
        """Close the connections."""
        self.close()

    def close(self) -> None:
        """Close the connections."""
        self._session.close()

    def run(self, flow: Flow[T]) -> T:
        """Run a flow that hands on nothing but its result."""
        stream: Generator[object, None, T] = self.stream(flow)
        while True:
            try:
                next(stream)
            except StopIteration as stop:
                result: T = stop.value
                return result

    def stream(
        self, flow: Generator[Call | Pause | P, Outcome, T], prepare: Callable[[Reply], Reply] | None = None
    ) -> Generator[P, None, T]:
        """Run a flow and yield what it hands on.

        :param flow: the flow.
        :param prepare: called with each success that came before it was asked for, in another thread; returns what
            stands for it.
        """
        outcome: Outcome = None
        ahead = Ahead(self.send, prepare)
        with contextlib.closing(flow), contextlib.closing(ahead):
            while True:
                try:
                    step = flow.send(outcome)
                except StopIteration as stop:
                    result: T = stop.value
                    return result
                outcome = None
                if isinstance(step, Call):
                    outcome = ahead.send(step)
                elif isinstance(step, Pause):
                    outcome = self._pause(step.seconds)
                else:
                    yield step

    def _pause(self, seconds: float) -> float:
        if seconds > 0:
            self._sleep(seconds)
        return self._clock()

    def send(self, call: Call) -> Reply | TransportFailure:
        """Send one request; every way in which no complete answer comes is a :class:`TransportFailure`.

        :raises CohereDatasetsError: if a file cannot be opened; its class tells whether that may pass.
        :raises CohereInputError: if a proxy that the environment names is not usable.
        """
        if self._process != os.getpid():  # Processes that share a connection get each other's answers.
            self._connect()
        if not call.repeatable:
            # One that the server closes just now would leave it unknown whether this took effect.
            self._session.close()
        with self._counting:
            self.requests += 1
        if self._pace is not None:
            self._pause(self._pace.turn())
        policy = self.account.policy
        deadline = policy.upload_timeout if call.uploads else policy.total_timeout
        silence = min(policy.read_timeout, deadline)
        started, too_late = time.monotonic(), f"no complete answer within {deadline:g} s"
        with contextlib.ExitStack() as stack:
            headers, data = headers_for(self.account), None
            if call.uploads:
                data = multipart(call, stack)
                headers["Content-Type"] = data.content_type
            watch = stack.enter_context(Deadline(deadline, silence))
            response: requests.Response | None = None
            body: bytes | TransportFailure
            try:
                response = stack.enter_context(
                    self._session.request(
                        call.method,
                        self.account.base_url + call.target,
                        headers=headers,
                        data=data,
                        stream=True,
                        allow_redirects=False,
                        # A server is silent while it stores what was uploaded.
                        timeout=(min(policy.connect_timeout, deadline), deadline if call.uploads else silence),
                    )
                )
                body = _body(response)
            except (InvalidSchema, InvalidURL) as error:  # The connection's own URL was checked before.
                socks = "Missing dependencies for SOCKS" in str(error)
                what = "The environment names a SOCKS proxy, for which workers need the package PySocks."
                raise CohereInputError(what if socks else BAD_PROXY) from None
            except (HTTPError, OSError, ValueError) as error:
                # A socket whose silence may last as long as the request can notice the end before the watchman.
                late = watch.expired or time.monotonic() - started >= deadline
                body = TransportFailure(too_late if late else _reason(error, watch.connected), watch.connected)
                if response is None:
                    return body
            if watch.expired:
                body = TransportFailure(too_late)
        # Only now: the connection is another request's already, which this one's watch must not end.
        if isinstance(body, bytes) and is_packed(response.headers):
            body = unpacked(body)
        return reply_for(self.account, call, response.status_code, response.headers, body)


class _Session(requests.Session):
    _environment: dict[str, Any] | None = None

    def merge_environment_settings(self, *args: Any, **kwargs: Any) -> Any:
        """Read the environment once: that takes as long as all the rest, and every request goes to the same origin."""
        if self._environment is None:
            self._environment = dict(super().merge_environment_settings(*args, **kwargs))
        return dict(self._environment)

    def get_redirect_target(self, resp: requests.Response) -> None:
        """Keep the place of a redirect from requests, which fails on one that is no URL even if not to go there."""


class _Bearer(AuthBase):
    """Sets the header; as ``auth`` it also keeps requests from replacing it by a password out of ``.netrc``."""

    def __init__(self, api_key: str) -> None:
        self._api_key = api_key

    def __call__(self, request: requests.PreparedRequest) -> requests.PreparedRequest:
        request.headers["Authorization"] = f"Bearer {self._api_key}"
        return request


def _body(response: requests.Response) -> bytes | TransportFailure:
    if is_packed_otherwise(response.headers):
        return TransportFailure(PACKED_OTHERWISE)
    body = b"".join(_chunks(response))
    return body if len(body) <= MAX_BODY_BYTES else TransportFailure(TOO_LARGE)


def _chunks(response: requests.Response) -> Iterator[bytes]:
    size, announced = 0, response.raw.length_remaining
    # All at once takes a third less time, where the server says how much that is.
    bounded = announced is not None and announced <= MAX_BODY_BYTES
    for chunk in response.raw.stream(None if bounded else _CHUNK, decode_content=False):
        yield chunk
        size += len(chunk)
        if size > MAX_BODY_BYTES:
            return


def _reason(error: Exception, connected: bool) -> str:
    """Say what happened without the URL, the pool or the key that libraries put into their messages."""
    for kind, reason in (
        (requests.exceptions.SSLError, "the TLS connection could not be made"),
        (requests.exceptions.ProxyError, "the proxy cannot be reached"),
        (ProtocolError, "the answer broke off"),
    ):
        if isinstance(error, kind):
            return reason
    text = repr(error)
    if CHANGED in text:
        return CHANGED
    if "UnreadableFileError" in text:
        return "the file could not be read to its end"
    if isinstance(error, requests.exceptions.Timeout) or "TimeoutError" in text:
        # In the middle of a body, requests calls it a lost connection; in a TLS handshake, a silent server.
        return "the server was silent for too long" if connected else "the connection could not be made in time"
    if "IncompleteRead" in text:
        return "the answer broke off"
    if "NameResolutionError" in text or "getaddrinfo" in text:
        return "the host name is not known"
    if "Connection refused" in text:
        return "the connection was refused; no server is listening there"
    return f"the connection failed ({type(error).__name__})"
