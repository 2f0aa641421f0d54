"""A whole Airflow for a test: ``airflow standalone`` with a home, ports and a database of its own."""

from __future__ import annotations

import shutil
import socket
import subprocess
import time
from collections import deque
from collections.abc import Mapping
from contextlib import ExitStack
from pathlib import Path
from types import TracebackType
from typing import Self

from tests.system.api import AirflowApi, AirflowRequestError
from tests.system.processes import AirflowProcesses, command_line, environment

_COMPONENTS = ("metadatabase", "scheduler", "triggerer", "dag_processor")
_POLL = 0.25


class Standalone:
    """Runs an Airflow for as long as the context lasts; afterwards none of its processes is left.

    :param home: its ``AIRFLOW_HOME``, made if missing.
    :param dags: its folder of DAGs.
    :param env: variables for all its processes: connections, settings.
    :param timeout: seconds until all components must be healthy.
    """

    def __init__(self, home: Path, *, dags: Path, env: Mapping[str, str] | None = None, timeout: float = 180.0) -> None:
        self.home = home.absolute()
        #: What all components print.
        self.output = self.home / "standalone.log"
        self._timeout = timeout
        port, worker_port, trigger_port = free_ports(3)
        self.url = f"http://127.0.0.1:{port}"
        settings = {
            "AIRFLOW_HOME": str(self.home),
            "AIRFLOW__CORE__DAGS_FOLDER": str(dags.absolute()),
            "AIRFLOW__CORE__LOAD_EXAMPLES": "False",
            "AIRFLOW__CORE__PARALLELISM": "4",
            "AIRFLOW__CORE__SIMPLE_AUTH_MANAGER_ALL_ADMINS": "True",
            "AIRFLOW__CORE__EXECUTION_API_SERVER_URL": f"{self.url}/execution/",
            "AIRFLOW__DATABASE__SQL_ALCHEMY_CONN": f"sqlite:///{self.home / 'airflow.db'}?timeout=60",
            # One server and SQLite may take long for an answer while tasks start on a busy machine.
            "AIRFLOW__WORKERS__EXECUTION_API_TIMEOUT": "60",
            "AIRFLOW__API__HOST": "127.0.0.1",
            "AIRFLOW__API__PORT": str(port),
            "AIRFLOW__API__BASE_URL": self.url,
            "AIRFLOW__API__WORKERS": "1",
            "AIRFLOW__LOGGING__WORKER_LOG_SERVER_PORT": str(worker_port),
            "AIRFLOW__LOGGING__TRIGGER_LOG_SERVER_PORT": str(trigger_port),
            "AIRFLOW__USAGE_DATA_COLLECTION__ENABLED": "False",
            **(env or {}),
        }
        self.processes = AirflowProcesses(self.home, environment(settings), self.output)
        self.api = AirflowApi(self.url)

    def __enter__(self) -> Self:
        self.home.mkdir(parents=True, exist_ok=True)
        with ExitStack() as undo:
            undo.callback(self.stop)
            self._start()
            undo.pop_all()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.stop()

    def stop(self) -> None:
        """End every process of this Airflow; do nothing if there is none."""
        self.api.close()
        self.processes.stop()

    def kill_triggerer(self) -> list[int]:
        """Kill the triggerer and its runner as a crash would; return their process ids."""
        return self.processes.kill("airflow", "triggerer")

    def start_triggerer(self) -> None:
        """Start a triggerer, after :meth:`kill_triggerer`."""
        self.processes.start("triggerer")

    def task_pids(self) -> list[int]:
        """Return the ids of the processes that run tasks at the moment; their supervisors are not among them."""
        workers = self.processes.matching("airflow worker -- ")
        return [process.pid for process in workers if "LocalExecutor" not in command_line(process)]

    def last_output(self, lines: int = 30) -> str:
        """Return the end of what the components printed."""
        with self.output.open(encoding="utf-8", errors="replace") as output:
            return "".join(deque(output, maxlen=lines))

    def _start(self) -> None:
        self._wait_until_healthy({"airflow standalone": self.processes.start("standalone")})

    def _wait_until_healthy(self, needed: Mapping[str, subprocess.Popen[bytes]]) -> None:
        deadline = time.monotonic() + self._timeout
        while not self._healthy():
            for name, process in needed.items():
                if process.poll() is not None:
                    raise AirflowRequestError(f"{name} ended with {process.returncode}:\n{self.last_output()}")
            if time.monotonic() > deadline:
                raise AirflowRequestError(f"not healthy within {self._timeout:g} s:\n{self.last_output()}")
            time.sleep(_POLL)

    def _healthy(self) -> bool:
        try:
            health = self.api.health()
        except AirflowRequestError:
            return False
        return all(health.get(component) == "healthy" for component in _COMPONENTS)


def copy_dags(target: Path, *folders: Path) -> Path:
    """Copy folders of DAGs into one and return it."""
    for folder in folders:
        shutil.copytree(folder, target, dirs_exist_ok=True, ignore=shutil.ignore_patterns("__pycache__"))
    return target


def free_ports(count: int) -> list[int]:
    """Return ports of this machine that nobody listens at."""
    with ExitStack() as stack:
        listeners = [stack.enter_context(socket.create_server(("127.0.0.1", 0))) for _ in range(count)]
        return [listener.getsockname()[1] for listener in listeners]
