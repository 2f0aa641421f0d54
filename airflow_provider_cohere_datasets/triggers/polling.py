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
    from airflow_provider_cohere_datasets.core.waiting import PollPolicy
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
) -> AsyncGenerator[T | CohereDatasetsError, None]:
    """Look again and again, for ever; yield what each look showed, or the error it ended with.

    An error is yielded and not raised, because an exception would end every trigger that shares the loop. The next
    look comes after the poll policy's delay, or after what the server asked for if that is longer.

    :param hook: the connection.
    :param look: returns the flow of one look, or ``None`` if there is nothing to look at just now.
    :param poll: how often to look.
    :param started_at: seconds since 1970 when the wait began with a look that was already made; if not given, the
        first look is made at once.
    """
    began = time.time() if started_at is None else started_at
    transport = None
    if started_at is not None:
        await asyncio.sleep(poll.delay(time.time() - began))
    try:
        while True:
            delay = poll.delay(time.time() - began)
            try:
                if transport is None:
                    transport = await _connected(hook)
                flow = look(transport.account.policy)
                if flow is None:
                    delay = min(delay, _IDLE)
                else:
                    yield await transport.run(flow)
            except CohereDatasetsError as error:
                delay = max(delay, error.retry_after or 0.0)
                yield error
            await asyncio.sleep(delay)
    finally:
        if transport is not None:
            await transport.close()


async def _connected(hook: CohereDatasetsHook) -> NonblockingTransport:
    try:
        return await hook.get_async_conn()
    except AirflowNotFoundException as error:
        raise CohereInputError(f"There is no connection {hook.conn_id!r}: {error}") from error
