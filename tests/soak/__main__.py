"""Runs the soak test and prints its figures; ends with 1 if anything was not as it must be."""

from __future__ import annotations

import argparse
import os
import sys
import tempfile
import time
from collections import Counter
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

# Gives this process an Airflow of its own, so it comes before Airflow.
from tests import conftest
from tests.soak.watchdog import Holdings, watched

if TYPE_CHECKING:
    from tests.soak.runs import Export, Wait

#: Runs of each kind.
FULL, QUICK = 200, 10
#: Seconds after which a run hangs; the longest waits for a status last 20.
HANGS = 60
#: Megabytes that the memory may grow by after the first tenth of the runs.
GROWTH = 50


@dataclass
class Figures:
    """What came of the runs of one kind."""

    runs: int = 0
    successes: int = 0
    failures: Counter[str] = field(default_factory=Counter)
    requests: int = 0
    broken: int = 0
    longest: float = 0.0

    def row(self, name: str) -> str:
        """Give a row of the table."""
        failures = ", ".join(f"{count} {kind}" for kind, count in self.failures.most_common()) or "none"
        figures = (name, self.runs, self.successes, failures, self.requests, self.broken, f"{self.longest:.1f}")
        return "| " + " | ".join(map(str, figures)) + " |"


HEAD = """
| Kind | Runs | Successes | Failures by class | Requests | Broken answers | Longest run, s |
| --- | ---: | ---: | --- | ---: | ---: | ---: |"""


def soak(count: int, folder: Path) -> list[str]:
    """Run exports and sensors in turns, print the figures, and return what was wrong.

    :param count: runs of each of the two.
    :param folder: an empty folder.
    """
    from tests.adversary import AdversarialServer
    from tests.soak.runs import WAITS, Export, Wait

    lake, temporary = folder / "lake", folder / "tmp"
    lake.mkdir()
    temporary.mkdir()
    tempfile.tempdir = str(temporary)
    figures: dict[str, Figures] = {}
    wrong: list[str] = []
    empty = Holdings.now()
    begin = empty
    with AdversarialServer() as server:
        connection = f'{{"conn_type": "cohere_datasets", "host": "{server.url}", "password": "test-key"}}'
        os.environ["AIRFLOW_CONN_COHERE_DEFAULT"] = connection
        export, waits = Export(server, lake), [Wait(server, mode) for mode in WAITS]
        for number in range(count):
            for job in (export, waits[number % len(waits)]):
                wrong += one(job, number, figures.setdefault(job.name, Figures()))
            if number == count // 10:
                begin = Holdings.now()
                # Threads and files that stay for good, such as pools, are there by now, but those of the server
                # come and go.
                empty = Holdings(empty.megabytes, frozenset(t for t in begin.threads if t.name != "adversary"), 0)
        megabytes = Holdings.now().megabytes
        files = begin.files
    end = Holdings.settled(Holdings(empty.megabytes, empty.threads, files))
    wrong += [f"the temporary file {path.name} was left behind" for path in temporary.iterdir()]
    wrong += [f"the thread {thread.name} was left behind" for thread in end.threads - empty.threads]
    if end.files > files:
        wrong.append(f"{end.files} files and connections are open, {files} were at the beginning")
    if megabytes - begin.megabytes > GROWTH:
        wrong.append(f"the memory grew by {megabytes - begin.megabytes:.0f} MB")
    print(HEAD, *(figures[name].row(name) for name in sorted(figures)), sep="\n")
    print(
        f"\nResident memory {begin.megabytes:.0f} MB after a tenth of the runs, {megabytes:.0f} MB at the end. "
        f"Threads {len(empty.threads)} and {len(end.threads)}, open files {files} and {end.files}."
    )
    return wrong


def one(job: Export | Wait, number: int, figures: Figures) -> list[str]:
    """Do one run, count it, and return what was wrong."""
    job.prepare(number)
    ran = watched(lambda: job.run(number), HANGS)
    requests = list(job.server.requests)
    figures.runs += 1
    figures.requests += len(requests)
    figures.broken += sum(request.fate.startswith("chaos:") for request in requests)
    figures.longest = max(figures.longest, ran.seconds)
    name = f"{job.name} {number}"
    if ran.hung is not None:
        figures.failures["hung"] += 1
        return [f"{name} hung after {ran.seconds:.0f} s:\n{ran.hung}"]
    if ran.error is None:
        figures.successes += 1
    else:
        figures.failures[type(ran.error).__name__] += 1
    return [f"{name}: {what}" for what in job.wrong(ran.value, ran.error)]


def main() -> int:
    """Run the soak test; return the exit code."""
    parser = argparse.ArgumentParser(prog="python -m tests.soak", description=__doc__)
    parser.add_argument("--quick", action="store_true", help=f"{QUICK} runs of each kind instead of {FULL}")
    count = QUICK if parser.parse_args().quick else FULL
    os.environ["AIRFLOW__LOGGING__LOGGING_LEVEL"] = "CRITICAL"
    started = time.monotonic()
    try:
        with tempfile.TemporaryDirectory(prefix="cohere-datasets-soak-") as folder:
            wrong = soak(count, Path(folder))
    finally:
        tempfile.tempdir = None
        conftest.pytest_unconfigure()
    for what in wrong:
        print(f"- {what}", file=sys.stderr)
    verdict = f"{len(wrong)} things are wrong" if wrong else "Everything was as it must be"
    print(f"{verdict} ({time.monotonic() - started:.0f} s).")
    return 1 if wrong else 0


if __name__ == "__main__":
    sys.exit(main())
