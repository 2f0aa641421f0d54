"""The record of the requests that the server received."""

from __future__ import annotations

import asyncio
from collections import deque
from dataclasses import dataclass

from starlette.types import ASGIApp, Message, Receive, Scope, Send

from airflow_provider_cohere_datasets.emulator.answers import error_answer

# Enough for any test, and an emulator that runs for weeks does not grow.
_REMEMBERED = 100_000


@dataclass(frozen=True)
class ReceivedRequest:
    """
    One request, as the server saw it; never the key.

    :param method: ``GET``, ``POST`` …
    :param path: the path, decoded.
    :param query: the query string, as it came.
    :param status: the HTTP status of the answer.
    :param client_name: the header ``X-Client-Name``, or an empty text.
    :param authorized: whether an ``Authorization`` header came along, right or wrong.
    """

    method: str
    path: str
    query: str
    status: int
    client_name: str
    authorized: bool


class RequestRecorder:
    """
    Wraps an ASGI application and writes down every request, just before its answer goes out.

    What the end of the server cuts short is answered 503.
    """

    def __init__(self, app: ASGIApp) -> None:
        """
        Wrap an application.

        :param app: the application.
        """
        self._app = app
        self.requests: deque[ReceivedRequest] = deque(maxlen=_REMEMBERED)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve one request."""
        headers = dict(scope["headers"])
        answered = False

        async def record_and_send(message: Message) -> None:
            nonlocal answered
            if message["type"] == "http.response.start":
                answered = True
                self.requests.append(
                    ReceivedRequest(
                        method=scope["method"],
                        path=scope["path"],
                        query=scope["query_string"].decode("latin-1"),
                        status=message["status"],
                        client_name=headers.get(b"x-client-name", b"").decode("latin-1"),
                        authorized=b"authorization" in headers,
                    )
                )
            await send(message)

        try:
            await self._app(scope, receive, record_and_send)
        except asyncio.CancelledError:
            # Only uvicorn cancels, when it ends. Told of it, it would print a traceback and answer a bare 500.
            if not answered:
                await error_answer(503, "the server is shutting down")(scope, receive, record_and_send)
