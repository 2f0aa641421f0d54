"""The processes of one Airflow: started in sessions of their own, found again, and all ended."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys
import sysconfig
import time
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

import psutil  # type: ignore[import-untyped]

#: Seconds that the processes have to end by themselves before they are killed.
GRACE = 15.0
_POLL = 0.1
#: Settings of the shell that must not get into the Airflow under test.
_FOREIGN = ("AIRFLOW", "COHERE_")


def environment(settings: Mapping[str, str]) -> dict[str, str]:
    """Return the environment of an Airflow: this process's, without what others set up for their own Airflow.

    :param settings: variables that win.
    """
    inherited = {name: value for name, value in os.environ.items() if not name.startswith(_FOREIGN)}
    # `airflow standalone` starts its components as `airflow`, which need not be on the caller's path.
    folders = [str(Path(sys.executable).parent), sysconfig.get_path("scripts"), inherited.get("PATH", os.defpath)]
    return {
        **inherited,
        "PATH": os.pathsep.join(dict.fromkeys(folders)),
        "NO_PROXY": "127.0.0.1,localhost",
        "no_proxy": "127.0.0.1,localhost",
        **settings,
    }


class AirflowProcesses:
    """Every process of the Airflow with one home.

    A process belongs to it if it is a child of one that was started here or has this home in its environment, so none
    is missed that left its group or lost its parent.

    :param home: the home.
    :param env: the whole environment of the processes.
    :param output: the file that gets what they print.
    """

    def __init__(self, home: Path, env: Mapping[str, str], output: Path) -> None:
        self._home = str(home)
        self._env = dict(env)
        self._output = output
        self._started: list[subprocess.Popen[bytes]] = []

    def start(self, *arguments: str, env: Mapping[str, str] | None = None) -> subprocess.Popen[bytes]:
        """Start ``airflow`` with these arguments, as the leader of a new session.

        :param env: variables that only this process gets.
        """
        return self.run([sys.executable, "-m", "airflow", *arguments], env=env)

    def run(
        self,
        command: Sequence[str],
        *,
        env: Mapping[str, str] | None = None,
        folder: Path | None = None,
        user: str | None = None,
    ) -> subprocess.Popen[bytes]:
        """Start any program, as the leader of a new session.

        :param command: the program and its arguments.
        :param env: variables that only this process gets.
        :param folder: where it runs; here by default.
        :param user: whose rights it has, and whose group's; ours by default.
        """
        with self._output.open("ab") as output:
            process = subprocess.Popen(
                command,
                cwd=folder,
                env={**self._env, **(env or {})},
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=subprocess.STDOUT,
                start_new_session=True,
                user=user,
                group=user,
                extra_groups=None if user is None else [],
            )
        self._started.append(process)
        return process

    def living(self) -> list[psutil.Process]:
        """Return the processes that run now."""
        found = {process.pid: process for process in _children(started.pid for started in self._started)}
        found.update({process.pid: process for process in psutil.process_iter() if self._has_our_home(process)})
        return [process for process in found.values() if _lives(process)]

    def matching(self, *words: str) -> list[psutil.Process]:
        """Return the running processes whose command line has all these words."""
        return [process for process in self.living() if all(word in command_line(process) for word in words)]

    def kill(self, *words: str) -> list[int]:
        """Kill the processes whose command line has all these words, and their children; return their ids."""
        return kill_trees(process.pid for process in self.matching(*words))

    def stop(self) -> None:
        """End every process: first politely, and after the grace period, or when interrupted, by force."""
        try:
            for started in self._started:
                _signal_group(started.pid, signal.SIGTERM)
            deadline = time.monotonic() + GRACE
            while self.living() and time.monotonic() < deadline:
                self._reap()
                time.sleep(_POLL)
        finally:
            for started in self._started:
                _signal_group(started.pid, signal.SIGKILL)
            _signal(self.living(), signal.SIGKILL)
            for started in self._started:
                started.wait()
            self._started.clear()

    def _reap(self) -> None:
        for started in self._started:
            started.poll()

    def _has_our_home(self, process: psutil.Process) -> bool:
        try:
            return bool(process.environ().get("AIRFLOW_HOME") == self._home)
        except (psutil.Error, OSError):
            return False


def command_line(process: psutil.Process) -> str:
    """Return the command line, or nothing if the process has ended."""
    try:
        return " ".join(process.cmdline())
    except psutil.Error:
        return ""


def kill_trees(pids: Iterable[int]) -> list[int]:
    """Kill processes and all their children, as a machine does that goes down; return the ids of all."""
    doomed = {process.pid: process for process in _children(pids)}
    _signal(doomed.values(), signal.SIGKILL)
    psutil.wait_procs(list(doomed.values()), timeout=GRACE)
    return sorted(doomed)


def process_at(connection: socket.socket) -> int:
    """Return the process at the other end of a TCP connection of this machine."""
    # A port alone does not tell: connections to different places may come from the same one.
    ends = (connection.getpeername(), connection.getsockname())
    (pid,) = {each.pid for each in psutil.net_connections("tcp4") if (each.laddr, each.raddr) == ends and each.pid}
    return int(pid)


def _children(pids: Iterable[int]) -> list[psutil.Process]:
    found = []
    for pid in pids:
        try:
            process = psutil.Process(pid)
            found += [process, *process.children(recursive=True)]
        except psutil.NoSuchProcess:
            continue
    return found


def _lives(process: psutil.Process) -> bool:
    try:
        return bool(process.is_running() and process.status() != psutil.STATUS_ZOMBIE)
    except psutil.NoSuchProcess:
        return False


def _signal(processes: Iterable[Any], number: signal.Signals) -> None:
    for process in processes:
        try:
            process.send_signal(number)
        except psutil.NoSuchProcess:
            continue


def _signal_group(pid: int, number: signal.Signals) -> None:
    try:
        os.killpg(pid, number)
    except (ProcessLookupError, PermissionError):
        return
