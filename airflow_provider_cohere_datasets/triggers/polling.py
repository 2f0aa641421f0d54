"""The poll loop of the triggerer: one look after the other, for one trigger or for many that share it."""

from __future__ import annotations

import asyncio
import time
from typing import TYPE_CHECKING, TypeVar

from airflow.providers.common.compat.sdk import AirflowNotFoundException

from airflow_provider_cohere_datasets.core.errors import CohereDatasetsError, CohereInputError

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
) -> AsyncGenerator[T | CohereDatasetsError, None]:
    """Look again and again, for ever; yield what each look showed, or the error it ended with.

    An error is yielded and not raised, because an exception would end every trigger that shares the loop. The next
    look comes after the poll policy's delay, or after what the server asked for if that is longer.

    :param hook: the connection.
    :param look: returns the flow of one look, or ``None`` if there is nothing to look at just now.
    :param poll: how often to look.
    :param started_at: seconds since 1970 when the wait began with a look that was already made; if not given, the
        first look is made at once.
    :param pause: seconds that the server asked to wait after the look that was already made.
    :param slowest: seconds; each failed look in a row doubles the delay up to this. If not given, it stays as it is.
    """
    began = time.time() if started_at is None else started_at
    transport, failures = None, 0
    if started_at is not None:
        await asyncio.sleep(max(poll.delay(time.time() - began), pause))
    try:
        while True:
            pause, longest = 0.0, None
            try:
                if transport is None:
                    transport = await _connected(hook)
                flow = look(transport.account.policy)
                if flow is None:
                    longest = _IDLE
                else:
                    yield await transport.run(flow)
                    failures = 0
            except CohereDatasetsError as error:
                pause, failures = error.retry_after or 0.0, failures + 1
                yield error
            delay = poll.delay(time.time() - began)
            if slowest is not None and failures:
                delay = max(delay, min(slowest, delay * 2.0 ** min(failures - 1, 30)))
            delay = max(delay, pause)
            await asyncio.sleep(delay if longest is None else min(delay, longest))
    finally:
        if transport is not None:
            await transport.close()


async def _connected(hook: CohereDatasetsHook) -> NonblockingTransport:
    try:
        return await hook.get_async_conn()
    except AirflowNotFoundException as error:
        raise CohereInputError(f"There is no connection {hook.conn_id!r}: {error}") from error
