"""The poll loop of the triggerer: one look after the other, for one trigger or for many that share it."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Mapping
from typing import TYPE_CHECKING, TypeVar

from airflow.providers.common.compat.sdk import AirflowNotFoundException

from airflow_provider_cohere_datasets.core.errors import (
    CohereAuthenticationError,
    CohereConnectionError,
    CohereDatasetsError,
    CoherePermissionError,
    CohereRateLimitError,
)
from airflow_provider_cohere_datasets.hooks.retries import LONGEST

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator, Callable

    from airflow_provider_cohere_datasets.core.account import RequestPolicy
    from airflow_provider_cohere_datasets.core.calls import Flow
    from airflow_provider_cohere_datasets.core.poll_policy import PollPolicy
    from airflow_provider_cohere_datasets.hooks.datasets import CohereDatasetsHook
    from airflow_provider_cohere_datasets.transport.nonblocking import NonblockingTransport

T = TypeVar("T")

#: Seconds until the loop asks again whether somebody waits for something.
_IDLE = 1.0


async def polled(
    hook: CohereDatasetsHook,
    look: Callable[[RequestPolicy], Flow[T] | None],
    poll: PollPolicy,
    *,
    started_at: float | None = None,
    pause: float = 0.0,
    slowest: float | None = None,
    rest: float | None = None,
    shared: bool = False,
) -> AsyncGenerator[T | CohereDatasetsError | None, None]:
    """Look again and again, for ever; yield what each look showed, or the error it ended with.

    An error is yielded and not raised, because an exception would end every trigger that shares the loop. The next
    look comes after the poll policy's delay, or after what the server asked for if that is longer, up to a day.

    The connection is read for the first look and after each error that does not pass by itself. Where the server
    refuses the key, it is read at once, and if it has another one by now the look is made again before anybody hears.

    :param hook: the connection.
    :param look: returns the flow of one look, or ``None`` if there is nothing to look at just now.
    :param poll: how often to look.
    :param started_at: seconds since 1970 when the wait began with a look that was already made; if not given, the
        first look is made at once.
    :param pause: seconds that the server asked to wait after the look that was already made.
    :param slowest: seconds; each failed look in a row doubles the delay up to this. If not given, it stays as it is.
    :param rest: seconds after which ``None`` is yielded, again and again until the next look.
    :param shared: whether several wait for the looks, who rest by themselves where the server asks for that: then only
        a rate limit, which is everybody's, puts off the next look.
    """
    # From here on, no step of the clock counts.
    began = time.monotonic() - (0.0 if started_at is None else max(0.0, time.time() - started_at))
    line, failures = _Line(hook), 0
    if started_at is not None:
        elapsed = time.monotonic() - began
        await asyncio.sleep(max(poll.delay(elapsed), capped(pause) - elapsed))
    try:
        while True:
            pause, longest = 0.0, None
            try:
                looked = await line.run(look)
                if looked is None:
                    longest = _IDLE
                else:
                    yield looked
                    pause, failures = pause_in(looked, shared=shared), 0
            except CohereDatasetsError as error:
                pause, failures = pause_in(error, shared=shared), failures + 1
                yield error
            delay = poll.delay(time.monotonic() - began)
            if slowest is not None and failures:
                delay = max(delay, min(slowest, delay * 2.0 ** min(failures - 1, 30)))
            delay = max(delay, pause)
            while rest is not None and delay > rest:
                await asyncio.sleep(rest)
                yield None
                delay -= rest
            await asyncio.sleep(delay if longest is None else min(delay, longest))
    finally:
        await line.close()


def capped(asked: float | None) -> float:
    """Return the seconds that a server asked to wait; one that is wrong must not put off a wait for ever."""
    return min(asked or 0.0, LONGEST.total_seconds())


def pause_in(looked: object, *, shared: bool) -> float:
    """Return the seconds for which the loop rests after a look, because the server asked for that.

    :param looked: what it showed, or the error it ended with.
    :param shared: whether those who wait rest by themselves, but for a rate limit.
    """
    shown = looked.values() if isinstance(looked, Mapping) else (looked,)
    kind = CohereRateLimitError if shared else CohereDatasetsError
    failed = [each for each in shown if isinstance(each, kind) and not each.permanent]
    return max((capped(each.retry_after) for each in failed), default=0.0)


class _Line:
    """The transport of one loop, made anew where its connection may have changed.

    :param hook: the connection.
    """

    def __init__(self, hook: CohereDatasetsHook) -> None:
        self._hook = hook
        self._transport: NonblockingTransport | None = None

    async def run(self, look: Callable[[RequestPolicy], Flow[T] | None]) -> T | None:
        """Look once; return ``None`` if there is nothing to look at just now.

        :raises CohereDatasetsError: the error that the look ended with.
        """
        try:
            used = await self._connected()
            try:
                return await _run(used, look)
            except (CohereAuthenticationError, CoherePermissionError):
                await self.close()
                fresh = await self._connected()
                if fresh.account == used.account:
                    raise
                return await _run(fresh, look)
        except CohereDatasetsError as error:
            if error.permanent:
                await self.close()
            raise

    async def close(self) -> None:
        """Close the transport, if there is one; the next look reads the connection again."""
        transport, self._transport = self._transport, None
        if transport is not None:
            await transport.close()

    async def _connected(self) -> NonblockingTransport:
        if self._transport is None:
            try:
                self._transport = await self._hook.get_async_conn()
            except AirflowNotFoundException as error:
                # Airflow says the same where a secrets backend does not answer just now.
                raise CohereConnectionError(
                    f"There is no connection {self._hook.conn_id!r}, or it cannot be read just now: {error}"
                ) from error
        return self._transport


async def _run(transport: NonblockingTransport, look: Callable[[RequestPolicy], Flow[T] | None]) -> T | None:
    flow = look(transport.account.policy)
    return None if flow is None else await transport.run(flow)
