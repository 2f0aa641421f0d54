"""What the export benchmark found: figures, targets, and how they are shown."""

from __future__ import annotations

import json
import os
import platform
import statistics
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import TYPE_CHECKING, Any

from benchmarks import export_decode
from benchmarks.export_contenders import CONTENDERS, DLT, DLT_TABLES, DOWNLOAD, HTTP, NORMALIZE, OURS, SDK

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from benchmarks.export_contenders import Outcome

#: The sizes that the targets speak of.
USUAL, LARGE = 100_000, 1_000_000
#: How many times as long as ours others take at least, without latency.
MIN_RATIOS = {SDK: 13.0, DLT: 13.0, DLT_TABLES: 13.0, HTTP: 4.0, NORMALIZE: 3.3}
#: How many times as long as the download alone ours takes at most, where the network is slow.
FAR, MAX_OVER_DOWNLOAD = 80, 1.3
MAX_GROWTH, MAX_MB = 1.3, 200.0
_PACKAGES = ("apache-airflow-core", "pyarrow", "requests", "cohere", "pandas", "dlt", "apache-airflow-providers-http")


@dataclass(frozen=True)
class Case:
    """One thing to measure.

    :param contender: its name.
    :param rows: datasets in the list.
    :param latency: milliseconds that each answer takes longer.
    """

    contender: str
    rows: int
    latency: int

    def __str__(self) -> str:
        return f"{CONTENDERS[self.contender].title}, {self.rows:,} rows, {self.latency} ms"


@dataclass(frozen=True)
class Figures:
    """What the rounds of a case gave: their medians.

    :param seconds: from the first request to the whole file.
    :param cpu_seconds: CPU time of the contender's process meanwhile.
    :param peak_mb: the most resident memory.
    :param over_baseline_mb: how much of it came after the imports.
    :param over_interpreter_mb: how much of it came after Python, and Airflow if it is an Airflow task, was there.
    """

    case: Case
    seconds: float
    cpu_seconds: float
    peak_mb: float
    over_baseline_mb: float
    over_interpreter_mb: float
    requests: int

    @classmethod
    def of(cls, case: Case, rounds: Sequence[tuple[Outcome, int]]) -> Figures:
        outcomes = [outcome for outcome, _ in rounds]
        return cls(
            case,
            statistics.median(outcome.seconds for outcome in outcomes),
            statistics.median(outcome.cpu_seconds for outcome in outcomes),
            statistics.median(outcome.peak_mb for outcome in outcomes),
            statistics.median(outcome.peak_mb - outcome.baseline_mb for outcome in outcomes),
            statistics.median(outcome.peak_mb - outcome.interpreter_mb for outcome in outcomes),
            round(statistics.median(requests for _, requests in rounds)),
        )


@dataclass(frozen=True)
class Target:
    """What must hold.

    :param value: what was measured; ``None`` if it was not.
    :param bound: the least or the most.
    :param least: which of the two it is.
    """

    name: str
    value: float | None
    bound: float
    least: bool

    @property
    def verdict(self) -> str:
        if self.value is None:
            return "not measured"
        return "pass" if (self.value >= self.bound if self.least else self.value <= self.bound) else "MISS"

    def __str__(self) -> str:
        value = "" if self.value is None else f": {self.value:.2f}"
        return f"{self.verdict}: {self.name}, {'at least' if self.least else 'at most'} {self.bound:g}{value}"


def targets(figures: Sequence[Figures]) -> list[Target]:
    """Return what must hold, with what was measured."""
    found = {figure.case: figure for figure in figures}
    near, far, large = Case(OURS, USUAL, 0), Case(OURS, USUAL, FAR), Case(OURS, LARGE, 0)

    def ratio(above: Case, below: Case, value: str = "seconds") -> float | None:
        if above not in found or below not in found:
            return None
        return float(getattr(found[above], value) / getattr(found[below], value))

    speed = [
        Target(
            f"times as fast as {CONTENDERS[name].title}, {USUAL:,} rows, 0 ms",
            ratio(Case(name, USUAL, 0), near),
            bound,
            True,
        )
        for name, bound in MIN_RATIOS.items()
    ]
    growth = ratio(large, near, "peak_mb")
    over = found[large].over_interpreter_mb if large in found else None
    return [
        *speed,
        Target(
            f"times as long as the download alone, {USUAL:,} rows, {FAR} ms",
            ratio(far, Case(DOWNLOAD, USUAL, FAR)),
            MAX_OVER_DOWNLOAD,
            False,
        ),
        Target(f"times the peak memory of {USUAL:,} rows at {LARGE:,}", growth, MAX_GROWTH, False),
        Target(f"MB over the interpreter with Airflow, {LARGE:,} rows", over, MAX_MB, False),
    ]


def cells(figure: Figures, figures: Sequence[Figures]) -> list[str]:
    """Return a line of the table.

    :param figures: all, for the ratio to ours.
    """
    case = figure.case
    ratio = times_ours(figure, figures)
    return [
        CONTENDERS[case.contender].title,
        f"{case.rows:,}",
        str(case.latency),
        f"{figure.seconds:.2f}",
        f"{figure.cpu_seconds:.2f}",
        f"{case.rows / figure.seconds:,.0f}",
        "" if ratio is None else f"{ratio:.2f}",
        f"{figure.peak_mb:,.0f}",
        f"{figure.over_baseline_mb:,.0f}",
        f"{figure.requests:,}",
    ]


def times_ours(figure: Figures, figures: Sequence[Figures]) -> float | None:
    own = Case(OURS, figure.case.rows, figure.case.latency)
    return next((figure.seconds / other.seconds for other in figures if other.case == own), None)


def table(heads: Sequence[str], lines: Iterable[Sequence[str]]) -> str:
    """Return a Markdown table; all but the first column are numbers."""
    rules = ["---", *["---:"] * (len(heads) - 1)]
    return "\n".join(f"| {' | '.join(line)} |" for line in (heads, rules, *lines))


def report(figures: Sequence[Figures], missing: Iterable[str], decodings: Sequence[export_decode.Decoding]) -> str:
    """Return both tables."""
    heads = [
        "contender",
        "rows",
        "latency ms",
        "seconds",
        "CPU s",
        "rows/s",
        "times ours",
        "peak RSS MB",
        "over baseline MB",
        "requests",
    ]
    absent = [[CONTENDERS[name].title, "not installed", *[""] * (len(heads) - 2)] for name in missing]
    of_pages = [f"decoding a page of {export_decode.ROWS:,}", "ms", "rows/s"]
    return "\n\n".join(
        [
            table(heads, [*(cells(figure, figures) for figure in figures), *absent]),
            table(of_pages, [decoding.cells for decoding in decodings]),
        ]
    )


def as_json(
    around: dict[str, Any],
    figures: Sequence[Figures],
    missing: Sequence[str],
    decodings: Sequence[export_decode.Decoding],
    judged: Sequence[Target],
) -> str:
    """Return all that was measured as JSON."""
    lines = []
    for figure in figures:
        line = asdict(figure)
        title = CONTENDERS[figure.case.contender].title
        lines.append({**line.pop("case"), "title": title, **line, "times_ours": times_ours(figure, figures)})
    content = {
        "environment": around,
        "figures": lines,
        "not_installed": list(missing),
        "decoding": [asdict(decoding) for decoding in decodings],
        "targets": [{**asdict(target), "verdict": target.verdict} for target in judged],
    }
    return json.dumps(content, indent=2) + "\n"


def surroundings() -> dict[str, Any]:
    """Return what the figures depend on; the load is that of before."""
    return {
        "cpu": _cpu(),
        "cores": os.cpu_count(),
        "python": platform.python_version(),
        "packages": {package: found for package in _PACKAGES if (found := version_of(package))},
        "date": f"{datetime.now(UTC):%Y-%m-%d}",
        "load": round(os.getloadavg()[0], 1),
    }


def in_words(around: dict[str, Any]) -> str:
    """Return what :func:`surroundings` found in one line."""
    packages = ", ".join(f"{package} {number}" for package, number in around["packages"].items())
    return (
        f"{around['cpu']}, {around['cores']} cores, Python {around['python']}, {packages}, {around['date']}, "
        f"load before {around['load']}"
    )


def _cpu() -> str:
    try:
        lines = Path("/proc/cpuinfo").read_text().splitlines()
    except OSError:
        lines = []
    return next((line.partition(":")[2].strip() for line in lines if line.startswith("model name")), platform.machine())


def version_of(package: str) -> str | None:
    try:
        return version(package)
    except PackageNotFoundError:
        return None
