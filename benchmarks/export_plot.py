"""A bar for each contender of the export benchmark: how long it takes."""

from __future__ import annotations

from html import escape
from typing import Any

_WIDTH, _LABEL, _BAR, _STEP = 760, 230, 420, 30


def plot(content: dict[str, Any]) -> str:
    """Return an SVG of the largest list that was read without latency, from the figures as JSON."""
    near = [line for line in content["figures"] if line["latency"] == min(f["latency"] for f in content["figures"])]
    compared = max({line["rows"] for line in near}, key=lambda rows: sum(line["rows"] == rows for line in near))
    lines = [line for line in near if line["rows"] == compared]
    longest = max(line["seconds"] for line in lines)
    height = _STEP * len(lines) + 50
    parts = [
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {_WIDTH} {height}" font-family="sans-serif">',
        '<rect width="100%" height="100%" fill="#fff"/><g font-size="13">',
        f'<text x="10" y="22" font-weight="bold">Export of {compared:,} datasets to Parquet, seconds</text>',
    ]
    for number, line in enumerate(sorted(lines, key=lambda line: line["seconds"])):
        y = 38 + _STEP * number
        width = max(2.0, _BAR * line["seconds"] / longest)
        colour = "#39594d" if line["contender"].startswith("ours") else "#b0b8b4"
        parts.append(
            f'<text x="{_LABEL - 8}" y="{y + 15}" text-anchor="end">{escape(line["title"])}</text>'
            f'<rect x="{_LABEL}" y="{y}" width="{width:.1f}" height="20" fill="{colour}"/>'
            f'<text x="{_LABEL + width + 6:.1f}" y="{y + 15}">{line["seconds"]:.1f} s, '
            f"{line['peak_mb']:,.0f} MB</text>"
        )
    return "\n".join([*parts, "</g></svg>", ""])
