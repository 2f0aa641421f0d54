"""Run the emulator: ``python -m airflow_provider_cohere_datasets.emulator --port 8089``."""

from __future__ import annotations

import argparse
import signal
import sqlite3
import sys
import threading
from collections.abc import Sequence
from importlib.util import find_spec
from pathlib import Path
from shlex import quote

from airflow_provider_cohere_datasets.emulator.settings import API_KEY_VARIABLE, EmulatorSettings

NEEDED = ("fastapi", "fastavro", "python_multipart", "uvicorn")
#: The last one is a terminal's that is closed; Windows has none.
_SIGNALS = [getattr(signal, name) for name in ("SIGINT", "SIGTERM", "SIGHUP") if hasattr(signal, name)]


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="python -m airflow_provider_cohere_datasets.emulator",
        description="A local Cohere Datasets API. It runs until it is interrupted.",
        formatter_class=argparse.ArgumentDefaultsHelpFormatter,
    )
    add = parser.add_argument
    add("--host", default=EmulatorSettings.host, help="address to listen on")
    add("--port", type=int, default=8089, help="port to listen on; 0 takes a free one")
    add(
        "--api-key",
        action="append",
        help=f"key to accept, may be repeated; else ${API_KEY_VARIABLE}, else a fixed key",
    )
    add("--state", type=Path, help="SQLite file that keeps the datasets across restarts")
    add(
        "--validation-seconds",
        type=float,
        default=EmulatorSettings.validation_seconds,
        help="time from the creation of a dataset to its verdict",
    )
    add("--page-size", type=int, default=EmulatorSettings.page_size, help="datasets on a page without a limit")
    add("--page-cap", type=int, default=EmulatorSettings.page_cap, help="most datasets on a page")
    return parser


def main(arguments: Sequence[str] | None = None) -> int:
    """
    Run the emulator until SIGINT, SIGTERM or SIGHUP.

    :param arguments: the command line, without the program; ``sys.argv`` by default.
    :returns: the exit code: 0 after a signal, 2 when the emulator cannot start.
    """
    parser = _parser()
    chosen = vars(parser.parse_args(arguments))
    if api_keys := chosen.pop("api_key"):
        chosen["api_keys"] = tuple(api_keys)
    try:
        settings = EmulatorSettings(**chosen)
    except ValueError as error:
        parser.error(str(error))
    if missing := [module for module in NEEDED if find_spec(module) is None]:
        return _refuse(f"{', '.join(missing)} missing: install airflow-provider-cohere-datasets[emulator]")
    return _serve(settings)


def _serve(settings: EmulatorSettings) -> int:
    from airflow_provider_cohere_datasets.emulator.server import running_emulator

    stop = threading.Event()
    # What whoever started it wants to be ignored, as nohup does, stays so.
    heeded = [number for number in _SIGNALS if signal.getsignal(number) is not signal.SIG_IGN]
    former = {number: signal.signal(number, lambda *_: stop.set()) for number in heeded}
    try:
        with running_emulator(settings) as emulator:
            print(
                f"Cohere Datasets emulator ready at {emulator.base_url}"
                f" - AIRFLOW_CONN_COHERE_DEFAULT={quote(emulator.connection_json())}",
                flush=True,
            )
            stop.wait()
    except OSError as error:
        if error.filename:  # a socket has none
            return _refuse(f"cannot use {error.filename}: {error.strerror}")
        return _refuse(f"cannot serve on {settings.host}:{settings.port}: {error}")
    except sqlite3.Error as error:
        return _refuse(f"cannot use the state file {settings.state}: {error}")
    finally:
        for number, handler in former.items():
            signal.signal(number, handler)
    return 0


def _refuse(reason: str) -> int:
    print(f"emulator: {reason}", file=sys.stderr)
    return 2


if __name__ == "__main__":
    sys.exit(main())
