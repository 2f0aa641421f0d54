"""What it costs to parse a DAG file that uses the provider: the import of its modules, and whole examples.

Run it as ``python -m benchmarks.parse [--runs 10]`` on an idle machine; it ends with 1 if the target is missed.
"""

from __future__ import annotations

import argparse
import json
import os
import statistics
import subprocess
import sys
import tempfile
from importlib.metadata import version
from importlib.util import find_spec
from pathlib import Path

OURS = "airflow_provider_cohere_datasets"
#: Modules that a DAG file imports, or that those import for it.
MODULES = {
    "ours": [
        f"{OURS}.{name}"
        for name in (
            "hooks.datasets",
            "operators.datasets",
            "sensors.datasets",
            "transfers.parquet",
            "triggers.datasets",
            "assets.datasets",
            "assets.events",
            "lineage.datasets",
            "links.datasets",
        )
    ],
    "Cohere, the official provider": [
        f"airflow.providers.cohere.{name}" for name in ("hooks.cohere", "operators.embedding")
    ],
    "dbt Cloud": [f"airflow.providers.dbt.cloud.{kind}.dbt" for kind in ("hooks", "operators", "sensors", "triggers")],
    "Databricks": [
        f"airflow.providers.databricks.{kind}.databricks" for kind in ("hooks", "operators", "sensors", "triggers")
    ],
}
#: DAG files, which also make tasks of what they import.
EXAMPLES = Path(__file__).parent.with_name("dags")
#: Milliseconds for all of ours together.
TARGET_MS = 15.0
#: Airflow's task SDK is there before any DAG file is read.
MEASURE = """
import importlib, json, sys, time
from airflow.sdk import DAG, BaseHook, BaseOperator, BaseSensorOperator
before = set(sys.modules)
wall, cpu = time.perf_counter(), time.process_time()
for name in sys.argv[1:]:
    importlib.import_module(name)
wall, cpu = time.perf_counter() - wall, time.process_time() - cpu
print("MEASURED" + json.dumps([wall * 1000, cpu * 1000, [name for name in sys.modules if name not in before]]))
"""


def measure(modules: list[str], runs: int) -> tuple[list[float], list[float], list[str]]:
    """Return wall and CPU milliseconds of each run, in a fresh process, and which modules were loaded."""
    wall, cpu, loaded = [], [], []
    for run in range(runs + 1):
        command = [sys.executable, "-c", MEASURE, *modules]
        ran = subprocess.run(command, capture_output=True, text=True, check=True)
        took, worked, loaded = json.loads(ran.stdout.rpartition("MEASURED")[2])
        if run:  # The first may have to compile.
            wall.append(took)
            cpu.append(worked)
    return wall, cpu, loaded


def installed(module: str) -> bool:
    try:
        return find_spec(module) is not None
    except ModuleNotFoundError:
        return False


def show(label: str, modules: list[str], runs: int) -> tuple[float, list[str]]:
    """Measure, print one row, and return the least wall time and the modules that were loaded."""
    wall, cpu, loaded = measure(modules, runs)
    figures = f"{min(wall):.1f} | {statistics.median(wall):.1f} | {min(cpu):.1f} | {len(loaded)}"
    print(f"| {label} | {figures} |", flush=True)
    return min(wall), loaded


def main() -> int:
    """Measure all, print a table, and compare with the target."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--runs", type=int, default=10, help="fresh processes for each figure")
    runs = parser.parse_args().runs
    with tempfile.TemporaryDirectory() as home:
        os.environ["AIRFLOW_HOME"] = home
        # An installed package is compiled; without this a checkout would be compiled anew in each process.
        os.environ.pop("PYTHONDONTWRITEBYTECODE", None)
        airflow, python = version("apache-airflow-core"), sys.version.split()[0]
        print(f"Airflow {airflow}, Python {python}, load {os.getloadavg()[0]:.1f}\n")
        print("| imported | ms, least | ms, median | CPU ms, least | modules loaded |")
        print("| --- | --- | --- | --- | --- |")
        for module in MODULES["ours"]:
            show(module.removeprefix(f"{OURS}."), [module], runs)
        ours, loaded = show("**all of ours**", MODULES["ours"], runs)
        show("of that, Airflow's own", [name for name in loaded if name.startswith("airflow.")], runs)
        os.environ["PYTHONPATH"] = str(EXAMPLES)
        for example in sorted(EXAMPLES.glob("*.py")):
            show(f"dags/{example.name}", [example.stem], runs)
        for label, modules in MODULES.items():
            if label != "ours":
                there = [module for module in modules if installed(module)]
                if there:
                    show(label, there, runs)
                else:
                    print(f"| {label} | not installed | | | |")
    met = ours <= TARGET_MS
    print(f"\nTarget, all of ours in {TARGET_MS:g} ms: {'met' if met else 'missed'}.")
    return 0 if met else 1


if __name__ == "__main__":
    sys.exit(main())
