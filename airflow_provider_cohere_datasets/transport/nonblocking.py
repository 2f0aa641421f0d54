"""Drives flows with httpx, for triggers."""

from __future__ import annotations

import asyncio
import ssl
import time
from functools import lru_cache
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

import httpx

from airflow_provider_cohere_datasets.core.calls import Call, Pause, Reply, TransportFailure
from airflow_provider_cohere_datasets.core.errors import CohereInputError
from airflow_provider_cohere_datasets.transport.certificates import ca_bundle
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
from airflow_provider_cohere_datasets.transport.pacing import pace_of

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from airflow_provider_cohere_datasets.core.account import Account
    from airflow_provider_cohere_datasets.core.calls import Flow, Outcome

T = TypeVar("T")

_HIDDEN = "airflow_provider_cohere_datasets.hidden"


@lru_cache(maxsize=4)
def _tls(bundle: str | None, _changed: int | None) -> ssl.SSLContext:
    # Reading the certificates takes tens of milliseconds and some 800 kB; a triggerer may have a thousand transports.
    # It also outlives certificates, so a bundle is known by the time of its last change, too.
    if bundle is None:
        return httpx.create_ssl_context()
    folder = Path(bundle).is_dir()
    return ssl.create_default_context(cafile=None if folder else bundle, capath=bundle if folder else None)


class NonblockingTransport:
    """Runs flows in the running event loop; uploads are the blocking transport's business.

    :param account: the key and the only origin it is sent to.
    :param sleep: waits some seconds.
    :param clock: tells a monotonic time in seconds.
    :raises CohereInputError: if the CA bundle or a proxy that the environment names is not usable.
    """

    def __init__(
        self,
        account: Account,
        *,
        sleep: Callable[[float], Awaitable[object]] = asyncio.sleep,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        policy = account.policy
        self.account = account
        self._sleep = sleep
        self._clock = clock
        self._pace = pace_of(account)
        bundle = ca_bundle()
        try:
            self._client = _Client(
                follow_redirects=False,
                verify=_tls(bundle, Path(bundle).stat().st_mtime_ns if bundle else None),
                trust_env=not account.is_on_this_machine,  # Of the environment, only proxies are left.
                headers=headers_for(account),
                timeout=httpx.Timeout(policy.read_timeout, connect=policy.connect_timeout),
                event_hooks={"response": [_hide_location]},
            )
        except (OSError, ImportError, ValueError, httpx.InvalidURL) as error:
            raise CohereInputError(_unusable(error, bundle)) from None

    async def __aenter__(self) -> NonblockingTransport:
        """Return the transport."""
        return self

    async def __aexit__(self, *_: object) -> None:
        """Close the connections."""
        await self.close()

    async def close(self) -> None:
        """Close the connections."""
        await self._client.aclose()

    async def run(self, flow: Flow[T]) -> T:
        """Run a flow to its result."""
        outcome: Outcome = None
        try:
            while True:
                try:
                    step = flow.send(outcome)
                except StopIteration as stop:
                    result: T = stop.value
                    return result
                outcome = None
                if isinstance(step, Call):
                    outcome = await self.send(step)
                elif isinstance(step, Pause):
                    if step.seconds > 0:
                        await self._sleep(step.seconds)
                    outcome = self._clock()
        finally:
            flow.close()

    async def send(self, call: Call) -> Reply | TransportFailure:
        """Send one request; every way in which no complete answer comes is a :class:`TransportFailure`.

        :raises TypeError: for a call with files.
        """
        if call.uploads:
            raise TypeError("files are sent by the blocking transport")
        if self._pace is not None:
            try:
                await self._sleep(self._pace.turn())
            except asyncio.CancelledError:
                self._pace.give_back()
                raise
        deadline = self.account.policy.total_timeout
        authorization = {"Authorization": f"Bearer {self.account.api_key}"}
        url = self.account.base_url + call.target
        response: httpx.Response | None = None
        body: bytes | TransportFailure
        try:
            async with (
                asyncio.timeout(deadline),
                self._client.stream(call.method, url, headers=authorization) as response,
            ):
                body = await _body(response)
        except (httpx.HTTPError, httpx.InvalidURL, OSError, UnicodeError) as error:
            late = isinstance(error, TimeoutError)
            never = isinstance(error, (httpx.ConnectError, httpx.ConnectTimeout, httpx.InvalidURL, UnicodeError))
            body = TransportFailure(f"no complete answer within {deadline:g} s" if late else _reason(error), not never)
            if response is None:
                return body
        headers = {**response.headers, **response.extensions.get(_HIDDEN, {})}
        return reply_for(self.account, call, response.status_code, headers, body)


class _Client(httpx.AsyncClient):
    def _init_proxy_transport(self, proxy: Any, **kwargs: Any) -> Any:  # type: ignore[override]
        """Trust the same certificates for a proxy that is itself reached by TLS, as requests does."""
        if proxy.url.scheme == "https":
            proxy.ssl_context = kwargs.get("verify")
        return super()._init_proxy_transport(proxy, **kwargs)


async def _body(response: httpx.Response) -> bytes | TransportFailure:
    if is_packed_otherwise(response.headers):
        return TransportFailure(PACKED_OTHERWISE)
    body = bytearray()
    async for chunk in response.aiter_raw():
        body += chunk
        if len(body) > MAX_BODY_BYTES:
            return TransportFailure(TOO_LARGE)
    return unpacked(body) if is_packed(response.headers) else bytes(body)


def _unusable(error: Exception, bundle: str | None) -> str:
    """Say what in the environment is wrong, without a proxy's URL, in which a password may stand."""
    if isinstance(error, OSError):
        source = f"the CA bundle {bundle[:200]!r}" if bundle else "the package certifi"
        return f"The certificates of {source} cannot be read: {error.strerror}."
    if isinstance(error, ImportError):
        return "The environment names a SOCKS proxy, for which the triggerer needs the package socksio."
    return BAD_PROXY


async def _hide_location(response: httpx.Response) -> None:
    """Keep the place of a redirect from httpx, which fails on one that is no URL even if it is not to go there."""
    if "location" in response.headers:
        response.extensions[_HIDDEN] = {"location": response.headers.pop("location")}


def _reason(error: Exception) -> str:
    """Say what happened without the URL that libraries put into their messages."""
    for kind, reason in (
        (httpx.ConnectTimeout, "the connection could not be made in time"),
        (httpx.TimeoutException, "the server was silent for too long"),
        (httpx.ProxyError, "the proxy cannot be reached"),
        (httpx.RemoteProtocolError, "the answer broke off"),
        (UnicodeError, "the host name is not known"),
    ):
        if isinstance(error, kind):
            return reason
    text = str(error)
    if "SSL" in text:
        return "the TLS connection could not be made"
    if "Name or service not known" in text or "getaddrinfo" in text or "nodename" in text:
        return "the host name is not known"
    if (isinstance(error, httpx.ConnectError) and "attempts failed" in text) or "refused" in text:
        return "the connection was refused; no server is listening there"
    return f"the connection failed ({type(error).__name__})"
