"""The record of the requests that the server received."""

from __future__ import annotations

from collections import deque
from collections.abc import Awaitable, Callable, MutableMapping
from dataclasses import dataclass
from typing import Any

_Message = MutableMapping[str, Any]
_Receive = Callable[[], Awaitable[_Message]]
_Send = Callable[[_Message], Awaitable[None]]
_App = Callable[[_Message, _Receive, _Send], Awaitable[None]]

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
    """Wraps an ASGI application and writes down every request, just before its answer goes out."""

    def __init__(self, app: _App) -> None:
        """
        Wrap an application.

        :param app: the application.
        """
        self._app = app
        self.requests: deque[ReceivedRequest] = deque(maxlen=_REMEMBERED)

    async def __call__(self, scope: _Message, receive: _Receive, send: _Send) -> None:
        """Serve one request."""
        headers = dict(scope["headers"])

        async def record_and_send(message: _Message) -> None:
            if message["type"] == "http.response.start":
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

        await self._app(scope, receive, record_and_send)
