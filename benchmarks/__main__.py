"""Run all benchmarks and write what they found into the documentation.

``python -m benchmarks [--quick]`` ends with 1 if a target is missed.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import tempfile
from pathlib import Path

from benchmarks.export_plot import plot

DOCS = Path(__file__).parents[1] / "docs"
TITLES = {"export": "Export to Parquet", "wait": "Waiting", "parse": "Reading a DAG file"}


def main() -> int:
    """Run the benchmarks one after the other; return the exit code."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks", description=__doc__)
    parser.add_argument("--quick", action="store_true", help="few rounds of small cases")
    parser.add_argument("--rounds", type=int, help="rounds of the export; 3 if not given")
    arguments = parser.parse_args()
    quick = arguments.quick
    sections, failed = [], False
    with tempfile.TemporaryDirectory() as folder:
        figures = Path(folder) / "export.json"
        for name, title in TITLES.items():
            options = ["--quick"] if quick and name != "parse" else []
            if name == "export":
                options += ["--json", str(figures)]
                options += ["--rounds", str(arguments.rounds)] if arguments.rounds else []
            command = [sys.executable, "-m", f"benchmarks.{name}", *options]
            ran = subprocess.run(command, stdout=subprocess.PIPE, text=True, check=False, env=os.environ)
            failed = failed or ran.returncode != 0
            print(ran.stdout, flush=True)
            sections.append(f"## {title}\n\n{ran.stdout.strip()}\n")
        drawing = plot(json.loads(figures.read_text()))
    (DOCS / "benchmarks_table.md").write_text("\n".join(sections))
    (DOCS / "images" / "benchmarks.svg").write_text(drawing)
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
