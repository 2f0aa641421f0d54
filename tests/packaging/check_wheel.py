"""Builds the distributions, checks them, and uses the wheel as a user would: ``python -m tests.packaging.check_wheel``.

The wheel is installed into a bare environment outside this checkout, with the Airflow and the pins of this one.
"""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
import tempfile
import time
import venv
from collections.abc import Sequence
from configparser import ConfigParser
from importlib.metadata import version
from pathlib import Path
from zipfile import ZipFile

PROJECT = Path(__file__).absolute().parents[2]
DIST = PROJECT / "dist"
NAME = "airflow-provider-cohere-datasets"
PACKAGE = "airflow_provider_cohere_datasets"
AIRFLOW = version("apache-airflow")
CONSTRAINTS = PROJECT / "constraints" / f"airflow-{AIRFLOW}.txt"


class CheckError(Exception):
    """A distribution is not what it should be."""


def main() -> int:
    """Run all checks; return the exit code."""
    started = time.monotonic()
    try:
        wheel = build()
        check_contents(wheel)
        with tempfile.TemporaryDirectory(prefix="cohere-datasets-wheel-") as folder:
            use(install(wheel, Path(folder)), Path(folder))
    except CheckError as error:
        print(f"\nThe wheel is not fine: {error}", file=sys.stderr)
        return 1
    print(f"\nThe wheel is fine ({time.monotonic() - started:.0f} s).")
    return 0


def run(*command: str | Path, cwd: Path = PROJECT, env: dict[str, str] | None = None) -> str:
    """Run a command and return what it printed, errors first."""
    ran = subprocess.run([str(word) for word in command], cwd=cwd, env=env, capture_output=True, text=True)
    if ran.returncode:
        raise CheckError(f"{' '.join(map(str, command))} ended with {ran.returncode}:\n{ran.stdout}{ran.stderr}")
    return ran.stderr + ran.stdout


def build() -> Path:
    """Build the source distribution, and the wheel out of it."""
    print(f"Building into {DIST.relative_to(PROJECT)}/")
    shutil.rmtree(DIST, ignore_errors=True)
    run(sys.executable, "-m", "build", "--outdir", DIST)
    files = sorted(DIST.iterdir())
    run(sys.executable, "-m", "twine", "check", "--strict", *files)
    (wheel,) = DIST.glob("*.whl")
    print(f"Built and checked {', '.join(file.name for file in files)}")
    return wheel


def check_contents(wheel: Path) -> None:
    """Check what is in the wheel: the whole package, and nothing else."""
    info = f"{PACKAGE}-{version(NAME)}.dist-info"
    with ZipFile(wheel) as archive:
        names = set(archive.namelist())
        entry_points = ConfigParser()
        entry_points.read_string(archive.read(f"{info}/entry_points.txt").decode())
        page = archive.read(f"{info}/METADATA").decode()
    wanted = {f"{PACKAGE}/py.typed", f"{info}/licenses/LICENSE"}
    wanted |= {str(path.relative_to(PROJECT)) for path in (PROJECT / PACKAGE).rglob("*.py")}
    if missing := wanted - names:
        raise CheckError(f"missing: {', '.join(sorted(missing))}")
    if foreign := {name for name in names - wanted if not name.startswith(f"{info}/")}:
        raise CheckError(f"should not be there: {', '.join(sorted(foreign))}")
    if relative := re.findall(r"\]\((?!https?://)[^)]+\)", page):
        raise CheckError(f"links of the package's page lead nowhere: {', '.join(relative)}")
    if list(entry_points["apache_airflow_provider"].values()) != [f"{PACKAGE}.get_provider_info:get_provider_info"]:
        raise CheckError("the entry point for Airflow is wrong")
    if list(entry_points["pytest11"].values()) != [f"{PACKAGE}.emulator.pytest_plugin"]:
        raise CheckError("the entry point for pytest is wrong")
    print(f"{len(names)} files, with py.typed, the licence and the entry points")


def install(wheel: Path, folder: Path) -> Path:
    """Install the wheel with Airflow into a bare environment; return its folder of programs."""
    started = time.monotonic()
    environment = folder / "venv"
    venv.create(environment, with_pip=True)
    python = environment / "bin" / "python"
    pip: Sequence[str | Path] = (python, "-m", "pip", "--disable-pip-version-check")
    run(*pip, "install", "--no-compile", "-c", CONSTRAINTS, f"apache-airflow=={AIRFLOW}", wheel)
    run(*pip, "check")
    print(f"Installed with Airflow {AIRFLOW} into a bare environment ({time.monotonic() - started:.0f} s)")
    return python.parent


def use(programs: Path, folder: Path) -> None:
    """Use what is installed, from a folder that is not the checkout."""
    home = folder / "airflow"
    inherited = {name: value for name, value in os.environ.items() if not name.startswith(("AIRFLOW", "PYTHON"))}
    env = {**inherited, "AIRFLOW_HOME": str(home), "AIRFLOW__CORE__LOAD_EXAMPLES": "False", "PYTHONWARNINGS": "default"}

    def say(*command: str | Path) -> str:
        said = run(*command, cwd=folder, env=env)
        if bad := [line for line in said.splitlines() if "warn" in line.lower() and "cohere" in line.lower()]:
            raise CheckError(f"{' '.join(map(str, command))} warned:\n" + "\n".join(bad))
        return said

    where = say(programs / "python", "-c", f"import {PACKAGE}; print({PACKAGE}.__file__)")
    if not Path(where.splitlines()[-1]).resolve().is_relative_to(folder.resolve()):
        raise CheckError(f"not the installed package is imported, but {where}")
    if AIRFLOW not in say(programs / "airflow", "version"):
        raise CheckError(f"airflow version does not say {AIRFLOW}")
    for command in (["list"], ["get", NAME]):
        said = say(programs / "airflow", "providers", *command, "--output", "json")
        if NAME not in said or version(NAME) not in said:
            raise CheckError(f"airflow providers {' '.join(command)} does not show {NAME}:\n{said}")
        print(f"airflow providers {' '.join(command)}: shown, without a warning")


if __name__ == "__main__":
    sys.exit(main())
