"""The emulator as a running server."""

from __future__ import annotations

import ipaddress
import json
import shutil
import socket
import tempfile
import threading
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from datetime import datetime
from pathlib import Path
from typing import Any

import uvicorn

from airflow_provider_cohere_datasets.emulator.answers import microseconds
from airflow_provider_cohere_datasets.emulator.app import create_app
from airflow_provider_cohere_datasets.emulator.received import ReceivedRequest, RequestRecorder
from airflow_provider_cohere_datasets.emulator.settings import EmulatorSettings
from airflow_provider_cohere_datasets.emulator.store import Store, StoredDataset

_BACKLOG = 128
_GRACE_SECONDS = 5
#: How long a connection may be idle. Clients that poll use one again, and fail where it is closed as they do.
_IDLE_SECONDS = 300


class Emulator:
    """
    One emulator: its datasets, its application and, while it runs, its address.

    Use :func:`running_emulator` to run one.
    """

    def __init__(self, settings: EmulatorSettings | None = None) -> None:
        """
        Open the state.

        :param settings: the settings; the defaults when left out.
        :raises OSError: when the state cannot be written; ``filename`` tells where.
        :raises sqlite3.Error: when the state file is not one.
        """
        self.settings = settings or EmulatorSettings()
        #: The address, such as ``http://127.0.0.1:8089``; empty while the emulator is not running.
        self.base_url = ""
        state = self.settings.state
        self._temporary = Path(tempfile.mkdtemp(prefix="cohere-emulator-")) if state is None else None
        database = self._temporary / "state.sqlite" if self._temporary else Path(state or "")
        self.store = Store(self.settings, database, database.with_name(f"{database.name}-data"))
        self.app = RequestRecorder(create_app(self.settings, self.store))

    @property
    def api_key(self) -> str:
        """A key that this emulator accepts."""
        return self.settings.api_keys[0]

    @property
    def requests(self) -> list[ReceivedRequest]:
        """The requests received so far, oldest first, in the order of their answers."""
        return list(self.app.requests)

    def clear(self) -> None:
        """Remove every dataset and forget the requests: as good as new, without the cost of a restart."""
        self.store.clear()
        self.clear_requests()

    def clear_requests(self) -> None:
        """Forget the requests received so far."""
        self.app.requests.clear()

    def connection_json(self) -> str:
        """
        Word the Airflow connection to this emulator.

        :returns: the value for ``AIRFLOW_CONN_COHERE_DEFAULT``.
        """
        return json.dumps({"conn_type": "cohere_datasets", "host": self.base_url, "password": self.api_key})

    def seed(
        self,
        count: int = 1,
        *,
        name: str = "seeded",
        dataset_type: str = "embed-input",
        status: str = "validated",
        created_at: float | datetime | None = None,
        spacing_seconds: float = 0.0,
        lifecycle: bool = False,
        size_bytes: int = 0,
        validation_error: str = "",
        fields: Mapping[str, Any] | None = None,
    ) -> list[str]:
        """
        Put datasets in place without an upload; thousands take a moment.

        Nothing is checked: a test can have whatever production may bring, any type, any status, any field.

        :param count: how many.
        :param name: the name of each; the ids differ.
        :param dataset_type: the type of each.
        :param status: the status of each: at once, or with ``lifecycle`` when validation is over.
        :param created_at: when the first was created: epoch seconds or a datetime with a zone; else now. What
            is past its retention is gone at once.
        :param spacing_seconds: how much later than the one before each further one was created.
        :param lifecycle: let each go through the phases of ``phase_weights`` from its creation on, usually ``queued``
            and ``processing``.
        :param size_bytes: what each adds to the usage.
        :param validation_error: the error, once the status is reached.
        :param fields: JSON fields of the answer, shown as they are, at all times, instead of the usual ones.
        :returns: the ids, in the order of creation.
        :raises TypeError: when ``created_at`` is a datetime without a zone.
        """
        first_us = self.store.now_us()
        if isinstance(created_at, datetime):
            first_us = microseconds(created_at)
        elif created_at is not None:
            first_us = round(created_at * 1_000_000)
        datasets: dict[str, StoredDataset] = {}
        for number in range(count):
            born_us = first_us + round(number * spacing_seconds * 1_000_000)
            queued, processing, settled = self.settings.phases_us(born_us) if lifecycle else (0, 0, 0)
            dataset_id = self.store.new_id(name, taken=datasets)
            datasets[dataset_id] = StoredDataset(
                id=dataset_id,
                name=name,
                dataset_type=dataset_type,
                created_us=born_us,
                queued_us=queued,
                processing_us=processing,
                settled_us=settled,
                outcome=status,
                stored_bytes=size_bytes,
                findings={"validation_error": validation_error},
                overrides=dict(fields or {}),
            )
        self.store.add(datasets.values())
        return list(datasets)

    def close(self) -> None:
        """Close the state; a temporary one is removed."""
        self.store.close()
        if self._temporary:
            shutil.rmtree(self._temporary, ignore_errors=True)


class _Server(uvicorn.Server):
    """A uvicorn server that says when it accepts connections."""

    def __init__(self, config: uvicorn.Config) -> None:
        super().__init__(config)
        self.ready = threading.Event()

    def run(self, sockets: list[socket.socket] | None = None) -> None:
        """Serve; whoever waits for a server that cannot start is let go, too."""
        try:
            super().run(sockets=sockets)
        finally:
            self.ready.set()

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        """Begin to accept connections."""
        await super().startup(sockets=sockets)
        self.ready.set()


@contextmanager
def running_emulator(settings: EmulatorSettings | None = None) -> Iterator[Emulator]:
    """
    Run an emulator in a background thread, for as long as the context lasts.

    It accepts connections when the body starts, and its port is free when the context has ended.

    :param settings: the settings; the defaults when left out.
    :returns: the running emulator.
    :raises OSError: when the port is taken, or the state cannot be written.
    :raises sqlite3.Error: when the state file is not one.
    """
    emulator = Emulator(settings)
    try:
        with _listening_socket(emulator.settings) as listener:
            emulator.base_url = _base_url(listener)
            server = _Server(_uvicorn_config(emulator))
            thread = threading.Thread(target=server.run, args=([listener],), name="cohere-emulator", daemon=True)
            thread.start()
            server.ready.wait()
            try:
                yield emulator
            finally:
                server.should_exit = True
                thread.join()
    finally:
        emulator.base_url = ""
        emulator.close()


def _uvicorn_config(emulator: Emulator) -> uvicorn.Config:
    # Whoever embeds the emulator owns the logging and the event loop policy, so uvicorn must touch neither.
    return uvicorn.Config(
        emulator.app,
        loop="asyncio",
        http="h11",
        ws="none",
        lifespan="off",
        log_config=None,
        access_log=False,
        timeout_graceful_shutdown=_GRACE_SECONDS,
        timeout_keep_alive=_IDLE_SECONDS,
    )


def _listening_socket(settings: EmulatorSettings) -> socket.socket:
    family = socket.AF_INET6 if ":" in settings.host else socket.AF_INET
    listener = socket.create_server((settings.host, settings.port), family=family, backlog=_BACKLOG)
    # asyncio sets this for its own sockets only; without it, each request on a kept connection takes 40 ms longer.
    listener.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    return listener


def _base_url(listener: socket.socket) -> str:
    address, port = listener.getsockname()[:2]
    ip = ipaddress.ip_address(address)
    if ip.is_unspecified:  # it listens everywhere, which is no address to connect to
        address = "127.0.0.1" if ip.version == 4 else "::1"
    return f"http://[{address}]:{port}" if ip.version == 6 else f"http://{address}:{port}"
