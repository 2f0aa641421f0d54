"""How fast, and in how much memory, the list of datasets becomes a Parquet file; beside the usual ways.

Run it as ``python -m benchmarks.export [--quick]``; it ends with 1 if a target is missed.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import tempfile
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING

import pyarrow.compute as pc
import pyarrow.dataset as pads

from benchmarks import export_decode
from benchmarks.export_contenders import API_KEY, CONN_ID, CONTENDERS, HTTP_CONN_ID, Outcome, Task
from benchmarks.export_report import (
    FAR,
    LARGE,
    USUAL,
    Case,
    Figures,
    as_json,
    in_words,
    report,
    surroundings,
    targets,
    version_of,
)
from benchmarks.export_server import ExportServer

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

QUICK = 20_000


def cases(contenders: Iterable[str], rows: Iterable[int], latencies: Sequence[int], *, large_peers: bool) -> list[Case]:
    """Return what is measured in one round."""
    names = list(contenders)
    return [
        Case(name, count, latency)
        for count in rows
        for latency in latencies
        for name in names
        if count <= USUAL or large_peers or CONTENDERS[name].large
    ]


def measure(case: Case, server: ExportServer, cap: int, environment: dict[str, str]) -> tuple[Outcome, int]:
    """Let a contender work in a process of its own; return what it took, and how many requests it made.

    :raises RuntimeError: if it fails, or its file is not the whole list.
    """
    contender = CONTENDERS[case.contender]
    server.reset(case.rows, cap, case.latency)
    with tempfile.TemporaryDirectory() as folder:
        task = Task(case.contender, server.url, case.rows, min(contender.page_size or cap, cap), folder)
        command = [sys.executable, "-m", "benchmarks.export_contenders", json.dumps(asdict(task))]
        # What it says goes elsewhere, for the last line of its output is what counts.
        done = subprocess.run(command, env=environment, capture_output=True, text=True, check=False)
        if done.returncode:
            raise RuntimeError(f"{case} failed:\n{done.stdout[-2000:]}{done.stderr[-5000:]}")
        if contender.writes:
            check(case, folder)
        return Outcome(**json.loads(done.stdout.splitlines()[-1])), server.requests


def check(case: Case, folder: str) -> None:
    """See that every dataset stands in the file once.

    :raises RuntimeError: if not.
    """
    # dlt has a folder for each table, and in it as many files as it likes.
    files = [str(path) for path in Path(folder, "lake/export/datasets").glob("*.parquet")]
    table = pads.dataset(files or f"{folder}/datasets.parquet").to_table(["id"])
    distinct = pc.count_distinct(table.column("id")).as_py()
    if (table.num_rows, distinct) != (case.rows, case.rows):
        raise RuntimeError(f"{case} wrote {table.num_rows} rows with {distinct} ids")


def installed(names: Iterable[str]) -> tuple[list[str], list[str]]:
    """Return the contenders that can be measured, and those that are not installed."""
    chosen = list(names)
    missing = [name for name in chosen if any(version_of(package) is None for package in CONTENDERS[name].needs)]
    return [name for name in chosen if name not in missing], missing


def environment_of(home: str, url: str) -> dict[str, str]:
    """Return the environment of a contender: the connections, quiet logs, and nothing sent to anybody else."""
    ours = {"conn_type": "cohere_datasets", "host": url, "password": API_KEY}
    return {
        **os.environ,
        "AIRFLOW_HOME": home,
        "AIRFLOW__LOGGING__LOGGING_LEVEL": "ERROR",
        # Airflow's examples bring plugins, which load its database models; nobody has them in production.
        "AIRFLOW__CORE__LOAD_EXAMPLES": "False",
        f"AIRFLOW_CONN_{CONN_ID.upper()}": json.dumps(ours),
        f"AIRFLOW_CONN_{HTTP_CONN_ID.upper()}": json.dumps({"conn_type": "http", "host": url}),
        "RUNTIME__DLTHUB_TELEMETRY": "false",
    }


def parsed(arguments: Sequence[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.export", description=__doc__)
    parser.add_argument("--quick", action="store_true", help=f"one round of {QUICK:,} rows at 0 and 20 ms")
    parser.add_argument("--rows", type=int, nargs="+", help=f"datasets in the list; {USUAL} and {LARGE} if not given")
    parser.add_argument("--latency", type=int, nargs="+", help="ms for each answer; 0, 20 and 80 if not given")
    parser.add_argument("--rounds", type=int, help="how often to measure everything; 3 if not given")
    parser.add_argument("--cap", type=int, default=1000, help="the largest page that the server gives")
    parser.add_argument("--only", nargs="+", choices=CONTENDERS, default=list(CONTENDERS), help="only these contenders")
    parser.add_argument(
        "--large-peers",
        action="store_true",
        help=f"measure others with over {USUAL:,} rows too, which takes them minutes and many GB",
    )
    parser.add_argument("--json", metavar="FILE", help="write the figures into a file too")
    options = parser.parse_args(arguments)
    options.rows = options.rows or ([QUICK] if options.quick else [USUAL, LARGE])
    options.latency = options.latency if options.latency is not None else [0, 20] if options.quick else [0, 20, FAR]
    options.rounds = options.rounds or (1 if options.quick else 3)
    return options


def measure_all(planned: Sequence[Case], rounds: int, cap: int) -> list[Figures]:
    """Measure everything in turns, so that all have their share of what else the machine does."""
    outcomes: dict[Case, list[tuple[Outcome, int]]] = {case: [] for case in planned}
    with tempfile.TemporaryDirectory() as home, ExportServer(max(case.rows for case in planned)) as server:
        environment = environment_of(home, server.url)
        for number in range(1, rounds + 1):
            for case in planned:
                outcome, requests = measure(case, server, cap, environment)
                outcomes[case].append((outcome, requests))
                print(f"round {number}: {case}: {outcome.seconds:.2f} s", file=sys.stderr)
    return [Figures.of(case, rounds_of_it) for case, rounds_of_it in outcomes.items()]


def main(arguments: Sequence[str] | None = None) -> int:
    """Measure; return the exit code."""
    options = parsed(arguments)
    around = surroundings()
    names, missing = installed(options.only)
    planned = cases(names, options.rows, options.latency, large_peers=options.large_peers)
    figures = measure_all(planned, options.rounds, options.cap)
    decodings = export_decode.measure()
    judged = targets(figures)
    print(report(figures, missing, decodings))
    print(f"\n{in_words(around)}; medians of rounds: {options.rounds}; pages of {options.cap} at most.\n")
    for target in judged:
        print(f"- {target}")
    if options.json:
        Path(options.json).write_text(as_json(around, figures, missing, decodings, judged))
    return 1 if any(target.verdict == "MISS" for target in judged) else 0


if __name__ == "__main__":
    sys.exit(main())
