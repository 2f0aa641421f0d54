"""Runs the tests on several versions of Airflow: ``python -m tests.matrix 3.1.8=python3.13 ...``.

Each version has an environment of its own, made from its constraints file with that Python if it is installed, and with
the one that runs this if not.
"""

from __future__ import annotations

import os
import re
import subprocess
import sys
import time


def python_for(wanted: str) -> str:
    """Return a Python if it is there and works, else the one that runs this."""
    try:
        works = subprocess.run([wanted, "-c", ""], capture_output=True).returncode == 0
    except FileNotFoundError:
        works = False
    return wanted if works else sys.executable


def run(airflow: str, python: str) -> tuple[bool, str]:
    """Run the tests on one version; return whether they passed, and a line about it."""
    folder = f".venv-{airflow}"
    arguments = [f"AIRFLOW={airflow}", f"PYTHON={python}", f"VENV={folder}", "GROUPS=test"]
    command = [os.environ.get("MAKE", "make"), "--no-print-directory", "unit-only", *arguments]
    start, last = time.monotonic(), ""
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as tests:
        for line in tests.stdout or ():
            print(line, end="", flush=True)
            last = line if re.search(r"\d (passed|failed|error)", line) else last
    counts = re.findall(r"\d+ (?:passed|skipped|failed|errors?)", last)
    version = subprocess.run([f"{folder}/bin/python", "-V"], capture_output=True, text=True).stdout.strip()
    told = ", ".join([*counts, f"{time.monotonic() - start:.0f} s"])
    return tests.returncode == 0, f"Airflow {airflow}, {version}: {told}"


def main() -> int:
    """Run all; return the exit code."""
    ended = [run(airflow, python_for(python)) for airflow, _, python in (each.partition("=") for each in sys.argv[1:])]
    print(*("", *(f"{'ok    ' if passed else 'FAILED'} {told}" for passed, told in ended)), sep="\n")
    return 0 if all(passed for passed, _ in ended) else 1


if __name__ == "__main__":
    sys.exit(main())
