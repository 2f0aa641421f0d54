"""A whole Airflow as big users have it: Celery workers, Redis, PostgreSQL, and a lake in S3, each its own process."""

from __future__ import annotations

import base64
import os
import secrets
import shutil
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Mapping
from functools import partial
from importlib.util import find_spec
from pathlib import Path

import psutil  # type: ignore[import-untyped]

from tests.system.api import AirflowRequestError
from tests.system.processes import AirflowProcesses, environment, kill_trees
from tests.system.standalone import Standalone, free_ports

WORKERS = ("one", "two")
#: Tasks that a worker runs at a time.
CONCURRENCY = 2
#: Seconds without a sign of life after which the scheduler takes a task for dead.
HEARTBEAT_TIMEOUT = 20
#: Seconds after which Redis hands out once more what a worker took and did not acknowledge. Longer than any task here
#: takes, and than the scheduler needs to notice a dead one, as with the defaults (24 hours and 5 minutes).
VISIBILITY_TIMEOUT = 60
_COMPONENTS = ("api-server", "scheduler", "dag-processor", "triggerer")
#: PostgreSQL does not run as root; Debian makes this user for it.
_DATABASE_USER = "postgres"
_MACHINE_NAME = '''"""Names each worker's machine, as if it had one of its own."""

import os


def name():
    return os.environ["MACHINE_NAME"]
'''


def missing() -> str:
    """Return what is not installed that the set-up needs, in one sentence; empty if nothing is missing."""
    lacking = [program for program in ("redis-server", "initdb") if not _program(program)]
    lacking += [name for name in ("celery", "redis", "psycopg2", "asyncpg") if find_spec(name) is None]
    if not lacking:
        return ""
    return f"The distributed set-up needs {', '.join(lacking)}; `make system-distributed` installs the Python packages."


class Distributed(Standalone):
    """Runs the components of one Airflow, and all that they need, for as long as the context lasts.

    :param home: its ``AIRFLOW_HOME``, made if missing.
    :param dags: its folder of DAGs.
    :param env: variables for all its processes.
    :param timeout: seconds until all components must be healthy.
    """

    def __init__(self, home: Path, *, dags: Path, env: Mapping[str, str] | None = None, timeout: float = 180.0) -> None:
        self.redis_port, self._database_port, self._s3_port = free_ports(3)
        #: Where the S3-compatible server is.
        self.s3_url = f"http://127.0.0.1:{self._s3_port}"
        database = f"postgresql+psycopg2://airflow@127.0.0.1:{self._database_port}/postgres"
        settings = {
            "AIRFLOW__CORE__EXECUTOR": "CeleryExecutor",
            "AIRFLOW__CORE__PARALLELISM": "32",
            # Every component has to know the same secrets.
            "AIRFLOW__CORE__FERNET_KEY": base64.urlsafe_b64encode(secrets.token_bytes(32)).decode(),
            "AIRFLOW__API__SECRET_KEY": secrets.token_hex(32),
            "AIRFLOW__API_AUTH__JWT_SECRET": secrets.token_hex(64),
            "AIRFLOW__DATABASE__SQL_ALCHEMY_CONN": database,
            "AIRFLOW__CELERY__BROKER_URL": f"redis://127.0.0.1:{self.redis_port}/0",
            "AIRFLOW__CELERY__RESULT_BACKEND": f"db+{database}",
            "AIRFLOW__CELERY__WORKER_CONCURRENCY": str(CONCURRENCY),
            # Otherwise the scheduler starts processes for each batch of tasks that it sends.
            "AIRFLOW__CELERY__SYNC_PARALLELISM": "1",
            "AIRFLOW__CELERY_BROKER_TRANSPORT_OPTIONS__VISIBILITY_TIMEOUT": str(VISIBILITY_TIMEOUT),
            "AIRFLOW__SCHEDULER__TASK_INSTANCE_HEARTBEAT_SEC": "2",
            "AIRFLOW__SCHEDULER__TASK_INSTANCE_HEARTBEAT_TIMEOUT": str(HEARTBEAT_TIMEOUT),
            "AIRFLOW__SCHEDULER__TASK_INSTANCE_HEARTBEAT_TIMEOUT_DETECTION_INTERVAL": "2",
            **(env or {}),
        }
        super().__init__(home, dags=dags, env=settings, timeout=timeout)
        #: The Celery workers that were started, by the names of their machines.
        self.workers: dict[str, subprocess.Popen[bytes]] = {}
        # With a home of their own they are found, and ended, apart from the components, which need them to the last.
        place = self.home / "services"
        self._services = AirflowProcesses(place, environment({"AIRFLOW_HOME": str(place)}), self.output)
        self._database_folder: Path | None = None

    def stop(self) -> None:
        """End every process, of Airflow first; do nothing if there is none."""
        try:
            super().stop()
        finally:
            try:
                self._services.stop()
            finally:
                if self._database_folder is not None:
                    shutil.rmtree(self._database_folder, ignore_errors=True)

    def worker_of(self, pid: int) -> str:
        """Return the name of the worker that runs a process."""
        parents = {parent.pid for parent in psutil.Process(pid).parents()}
        (name,) = [name for name, worker in self.workers.items() if worker.pid in parents]
        return name

    def kill_worker(self, name: str) -> list[int]:
        """Kill a worker with all that it runs; return the process ids."""
        return kill_trees([self.workers[name].pid])

    def printed(self) -> str:
        """Return all that the components printed."""
        return self.output.read_text(encoding="utf-8", errors="replace")

    def _start(self) -> None:
        self._start_services()
        migration = self.processes.start("db", "migrate")
        if migration.wait(self._timeout):
            raise AirflowRequestError(f"the database was not set up:\n{self.last_output()}")
        config = self.home / "config"
        config.mkdir()
        (config / "machine.py").write_text(_MACHINE_NAME)
        components = {name: self.processes.start(name) for name in _COMPONENTS}
        for name in WORKERS:
            env = {"AIRFLOW__CORE__HOSTNAME_CALLABLE": "machine.name", "MACHINE_NAME": name}
            # They share the folder of the logs, so nobody needs to ask them for it.
            arguments = ("celery", "worker", "--celery-hostname", name, "--skip-serve-logs")
            self.workers[name] = self.processes.start(*arguments, env=env)
        self._wait_until_healthy({**components, **self.workers})
        self._until("the workers are ready", lambda: all(f"celery@{name} ready" in self.printed() for name in WORKERS))

    def _start_services(self) -> None:
        redis = ("--port", str(self.redis_port), "--bind", "127.0.0.1", "--save", "", "--dir", str(self.home))
        self._services.run([_program("redis-server"), *redis])
        self._services.run([sys.executable, "-m", "moto.server", "-H", "127.0.0.1", "-p", str(self._s3_port)])
        self._start_database()
        for port in (self.redis_port, self._s3_port):
            self._until(f"somebody listens at port {port}", partial(_listens, port))

    def _start_database(self) -> None:
        user = _DATABASE_USER if os.geteuid() == 0 else None
        # Not in the home: that user may not look into a folder of ours.
        self._database_folder = folder = Path(tempfile.mkdtemp(prefix="distributed-airflow-"))
        if user is not None:
            shutil.chown(folder, user, user)
        data = str(folder / "data")
        initdb = ("-D", data, "-U", "airflow", "-A", "trust", "-E", "UTF8", "--locale=C", "--no-sync")
        if self._services.run([_program("initdb"), *initdb], folder=folder, user=user).wait(self._timeout):
            raise AirflowRequestError(f"the database was not made:\n{self.last_output()}")
        where = ("-h", "127.0.0.1", "-p", str(self._database_port), "-k", str(folder))
        # Nothing of this is kept, so nothing needs to reach the disk.
        quick = ("-c", "fsync=off", "-c", "synchronous_commit=off", "-c", "full_page_writes=off")
        many = ("-c", "max_connections=200")
        self._services.run([_program("postgres"), "-D", data, *where, *quick, *many], folder=folder, user=user)
        asked = [_program("pg_isready"), "-q", "-h", "127.0.0.1", "-p", str(self._database_port)]
        self._until("the database is ready", lambda: subprocess.run(asked, check=False).returncode == 0)

    def _until(self, what: str, condition: Callable[[], bool]) -> None:
        deadline = time.monotonic() + self._timeout
        while not condition():
            if time.monotonic() > deadline:
                raise AirflowRequestError(f"not within {self._timeout:g} s: {what}:\n{self.last_output()}")
            time.sleep(0.25)


def _program(name: str) -> str:
    """Return the path of a program; Debian keeps PostgreSQL's own ones off the path, in a folder for each version."""
    folders = sorted(Path("/usr/lib/postgresql").glob("*/bin"), reverse=True)
    return shutil.which(name, path=os.pathsep.join([os.environ.get("PATH", os.defpath), *map(str, folders)])) or ""


def _listens(port: int) -> bool:
    with socket.socket() as client:
        return client.connect_ex(("127.0.0.1", port)) == 0
