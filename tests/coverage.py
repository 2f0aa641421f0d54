"""Runs the tests, and tells whether they cover what they must: ``python -m tests.coverage [pytest arguments]``."""

from __future__ import annotations

import subprocess
import sys

from coverage import Coverage

#: Percent of the branches: of everything, and of the room that holds all the logic.
PACKAGE, CORE = 95.0, 100.0
CORE_FILES = "*/airflow_provider_cohere_datasets/core/*"


def main() -> int:
    """Run the tests and check the coverage; return the exit code."""
    coverage = [sys.executable, "-m", "coverage"]
    subprocess.run([*coverage, "erase"], check=True)
    tests = subprocess.run([*coverage, "run", "-m", "pytest", *sys.argv[1:]]).returncode
    # The tests start processes too, each with a file of its own.
    subprocess.run([*coverage, "combine", "--quiet"], check=True)
    if tests:
        return tests
    measured = Coverage()
    measured.load()
    print("\nCoverage of core:")
    core = measured.report(include=[CORE_FILES])
    print("\nCoverage of the package:")
    package = measured.report()
    verdict = f"Coverage is {core:.2f} % of core and {package:.2f} % of the package"
    wanted = f"{CORE:g} % and {PACKAGE:g} %"
    if core < CORE or package < PACKAGE:
        print(f"\n{verdict}, but it must be at least {wanted}.")
        return 1
    print(f"\n{verdict}; at least {wanted} is required.")
    return 0


if __name__ == "__main__":
    sys.exit(main())
