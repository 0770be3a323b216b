"""What scripts/bench has measured → a Markdown table, an SVG plot, and words about the machine."""

from __future__ import annotations

import math
import os
import platform
import statistics
import time
from collections.abc import Sequence
from dataclasses import dataclass
from html import escape


@dataclass(frozen=True, slots=True)
class Row:
    """One comparison: ``ours`` beside ``theirs``, each a list of values in ``unit`` (s, ms, calls, MB, B), one for each round.

    ``limit`` is for the ratio; where there is no peer (``theirs`` empty), it is for the value itself, in ``unit``. None: for the record.
    """

    what: str
    ours: Sequence[float]
    reference: str = ""
    theirs: Sequence[float] = ()
    limit: float | None = None
    unit: str = "s"
    note: str = ""

    @property
    def ratio(self) -> float | None:
        """Median of the rounds' ratios, so that a machine that is busy for a while weighs on both sides."""
        if not self.theirs:
            return None
        if len(self.ours) == len(self.theirs):
            return statistics.median(own / their for own, their in zip(self.ours, self.theirs, strict=True))
        return statistics.median(self.ours) / statistics.median(self.theirs)

    @property
    def met(self) -> bool | None:
        """Whether the limit is kept; None where there is none."""
        if self.limit is None:
            return None
        measured = self.ratio
        return (statistics.median(self.ours) if measured is None else measured) <= self.limit


def machine(python: str, uv: str, quick: bool) -> str:
    """Processor, cores, kernel and versions; no names of hosts or folders."""
    model = platform.processor() or platform.machine()
    try:
        with open("/proc/cpuinfo", encoding="utf-8") as file:
            model = next((line.partition(":")[2].strip() for line in file if line.startswith("model name")), model)
    except OSError:
        pass
    load = ", ".join(f"{value:.1f}" for value in os.getloadavg())
    kind = "`scripts/bench`"
    if quick:
        kind = "`scripts/bench --quick` (few rounds and scripts, so that fixed costs weigh more than the limits mean)"
    return (
        f"{kind}, {time.strftime('%Y-%m-%d')}: {model}, {len(os.sched_getaffinity(0))} cores, {platform.system()} "
        f"{platform.release()}, {python}, {uv}; load at the start {load}."
    )


def markdown(rows: Sequence[Row], about: str, failures: Sequence[str]) -> str:
    """The table. Medians; in brackets the smallest and the largest value."""
    lines = [about, "", "| what | ours | reference | | ours / reference | limit | |", "|---|---|---|---|---|---|---|"]
    for row in rows:
        ratio = "" if row.ratio is None else _ratio(row.ratio)
        verdict = {None: "", True: "met", False: "**not met**"}[row.met]
        theirs = _values(row.theirs, row.unit) if row.theirs else ""
        what = row.what + (f" ({row.note})" if row.note else "")
        cells = [what, _values(row.ours, row.unit), row.reference, theirs, ratio, _limit(row), verdict]
        lines.append("| " + " | ".join(cells) + " |")
    lines += ["", *(f"Not measured: {failure}" for failure in failures)] if failures else []
    return "\n".join(lines) + "\n"


def svg(rows: Sequence[Row], about: str) -> str:
    """A bar for each comparison: ours over the reference's, on a logarithmic scale; a stroke marks the limit."""
    shown = [(row, row.ratio) for row in rows if row.ratio]
    left, width, height, top = 430, 420, 24, 30
    low = math.floor(math.log10(min([ratio for _, ratio in shown] + [row.limit for row, _ in shown if row.limit] + [0.1])))
    high = math.ceil(math.log10(max([ratio for _, ratio in shown] + [1.0]) * 1.05))

    def place(value: float) -> float:
        return left + width * (math.log10(value) - low) / (high - low)

    total = top + height * len(shown) + 30
    parts = [
        f'<svg xmlns="http://www.w3.org/2000/svg" width="960" height="{total}" font-family="sans-serif" font-size="12">',
        f"<title>{escape('sharedenv over its reference; ' + about)}</title>",
        f'<rect width="960" height="{total}" fill="white"/>',
        '<text x="8" y="16" font-weight="bold">ours / the reference: left of 1 is less time, or fewer calls</text>',
        f'<text x="{left + width}" y="16" text-anchor="end" fill="#666">black: the limit; green: kept; red: not kept</text>',
    ]
    for power in range(low, high + 1):
        x, bottom = place(10.0**power), top + height * len(shown)
        strong = "#888" if power == 0 else "#ddd"
        parts.append(f'<line x1="{x:.1f}" y1="{top - 6}" x2="{x:.1f}" y2="{bottom}" stroke="{strong}"/>')
        parts.append(f'<text x="{x:.1f}" y="{bottom + 16}" text-anchor="middle" fill="#666">{10.0**power:g}</text>')
    for index, (row, ratio) in enumerate(shown):
        y = top + index * height
        colour = {None: "#9aa5b1", True: "#2f7d4f", False: "#b3432b"}[row.met]
        start, end = sorted((place(1.0), place(ratio)))
        label = escape(f"{row.what} / {row.reference}".replace("`", ""))
        parts.append(f'<text x="{left - 8}" y="{y + 15}" text-anchor="end">{label}</text>')
        parts.append(f'<rect x="{start:.1f}" y="{y + 4}" width="{max(end - start, 1.5):.1f}" height="{height - 9}" fill="{colour}"/>')
        parts.append(f'<text x="{left + width + 12}" y="{y + 15}">{_ratio(ratio)}</text>')
        if row.limit:
            x = place(row.limit)
            parts.append(f'<line x1="{x:.1f}" y1="{y + 1}" x2="{x:.1f}" y2="{y + height - 2}" stroke="black" stroke-width="2"/>')
    return "\n".join([*parts, "</svg>", ""])


def bars(title: str, shown: Sequence[tuple[str, float]], limit: float, ours: str) -> str:
    """A bar for each value, all of 1 or more, from 1 on. A line marks the limit, which colours those labelled ``…: ours…``."""
    left, width, height, top = 330, 480, 24, 30
    most = max(value for _, value in shown) * 1.02
    total = top + height * len(shown) + 30

    def place(value: float) -> float:
        return left + width * (max(value, 1.0) - 1.0) / (most - 1.0)

    parts = [
        f'<svg xmlns="http://www.w3.org/2000/svg" width="900" height="{total}" font-family="sans-serif" font-size="12">',
        f'<title>{escape(title)}</title><rect width="900" height="{total}" fill="white"/>',
        f'<text x="8" y="16" font-weight="bold">{escape(title)}</text>',
    ]
    for index, (label, value) in enumerate(shown):
        y = top + index * height
        colour = "#9aa5b1" if f": {ours}" not in label else "#2f7d4f" if value <= limit else "#b3432b"
        parts.append(f'<text x="{left - 8}" y="{y + 15}" text-anchor="end">{escape(label)}</text>')
        parts.append(f'<rect x="{left}" y="{y + 4}" width="{max(place(value) - left, 1.5):.1f}" height="{height - 9}" fill="{colour}"/>')
        parts.append(f'<text x="{place(value) + 6:.1f}" y="{y + 15}">{value:.2f}</text>')
    for value, name in ((1.0, "1"), (limit, f"{limit:g}")):
        parts.append(f'<line x1="{place(value):.1f}" y1="{top}" x2="{place(value):.1f}" y2="{total - 26}" stroke="black"/>')
        parts.append(f'<text x="{place(value):.1f}" y="{total - 12}" text-anchor="middle">{name}</text>')
    return "\n".join([*parts, "</svg>", ""])


def _values(values: Sequence[float], unit: str) -> str:
    middle = _value(statistics.median(values), unit)
    return f"{middle} {unit}" if len(values) == 1 else f"{middle} {unit} ({_value(min(values), unit)}–{_value(max(values), unit)})"


def _value(value: float, unit: str) -> str:
    if unit in {"calls", "B"} or value >= 100:
        return f"{value:,.0f}"
    return f"{value:.3g}"


def _ratio(value: float) -> str:
    return f"{value:.2f}" if value >= 0.1 else f"1/{1 / value:.0f}"


def _limit(row: Row) -> str:
    if row.limit is None:
        return ""
    return f"{_value(row.limit, row.unit)} {row.unit}" if not row.theirs else _ratio(row.limit)
