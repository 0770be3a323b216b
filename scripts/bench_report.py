"""What scripts/bench has measured → rows in a file, a Markdown table, an SVG plot, and these in the pages that show them."""

from __future__ import annotations

import json
import math
import os
import platform
import re
import statistics
import textwrap
import time
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from html import escape
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
KEPT = ROOT / "scripts" / "bench.jsonl"  #: the rows that the pages show
PAGES = (ROOT / "sharedenv" / "docs" / "speed.md", ROOT / "README.md")


@dataclass(frozen=True, slots=True)
class Row:
    """One comparison: ``ours`` beside ``theirs``, each a list of values in ``unit`` (s, ms, calls, MB, B), one for each round.

    ``limit`` is for the ratio; for the difference, in ``unit``, where ``more`` is set; where there is no peer (``theirs`` empty), for our
    value. None: for the record. ``part`` and ``about`` (date and machine) are filled in by scripts/bench.
    """

    what: str
    ours: Sequence[float]
    reference: str = ""
    theirs: Sequence[float] = ()
    limit: float | None = None
    unit: str = "s"
    note: str = ""
    more: bool = False
    part: str = ""
    about: str = ""

    @property
    def ratios(self) -> list[float]:
        """One of each round, so that a machine that is busy for a while weighs on both sides."""
        return [own / their for own, their in zip(self.ours, self.theirs, strict=True)] if self.theirs else []

    @property
    def met(self) -> bool | None:
        """Whether the limit is kept; None where there is none."""
        if self.limit is None:
            return None
        if self.more:
            return statistics.median(own - their for own, their in zip(self.ours, self.theirs, strict=True)) <= self.limit
        return statistics.median(self.ratios or self.ours) <= self.limit

    @property
    def limiting_ratio(self) -> float | None:
        """The limit as a ratio, for the plot."""
        if self.limit is None or not self.more:
            return self.limit
        return 1 + self.limit / statistics.median(self.theirs)


def machine(python: str, uv: str, quick: bool) -> str:
    """Date, processor, cores, kernel and versions; no names of hosts or folders."""
    model = platform.processor() or platform.machine()
    try:
        with open("/proc/cpuinfo", encoding="utf-8") as file:
            model = next((line.partition(":")[2].strip() for line in file if line.startswith("model name")), model)
    except OSError:
        pass
    load = ", ".join(f"{value:.1f}" for value in os.getloadavg())
    few = " (`--quick`: few rounds and scripts, so that fixed costs weigh more than the limits mean)" if quick else ""
    return (
        f"`scripts/bench`, {time.strftime('%Y-%m-%d')}{few}: {model}, {len(os.sched_getaffinity(0))} cores, {platform.system()} "
        f"{platform.release()}, {python}, {uv}; load at the start {load}."
    )


def load(file: Path) -> list[Row]:
    """The rows of a file that `save` wrote; none where it is missing."""
    return [Row(**json.loads(line)) for line in file.read_text().splitlines()] if file.exists() else []


def save(file: Path, rows: Sequence[Row]) -> list[Row]:
    """Puts rows into a file, in place of what it has of the same parts, and returns all that it has then."""
    parts = {row.part for row in rows}
    kept = [row for row in load(file) if row.part not in parts] + list(rows)
    file.write_text("".join(json.dumps(asdict(row)) + "\n" for row in kept))
    return kept


def rounded(values: Sequence[float]) -> list[float]:
    """To five digits, more than there is to say."""
    return [float(f"{value:.5g}") for value in values]


def markdown(rows: Sequence[Row]) -> str:
    """The table, date and machine below it. Medians; in brackets the smallest and the largest of the rounds."""
    lines = ["| what | ours | reference | | ours / reference | limit | |", "|---|---|---|---|---|---|---|", *map(_line, rows), ""]
    abouts = list(dict.fromkeys(row.about for row in rows))
    for about in abouts:
        parts = dict.fromkeys(f"`{row.part}`" for row in rows if row.about == about)
        lines += textwrap.wrap((f"{', '.join(parts)}: " if len(abouts) > 1 else "") + about, 150)
    return "\n".join(lines) + "\n"


def _line(row: Row) -> str:
    ratio = _spread([_ratio(value) for value in _three(row.ratios)]) if row.theirs else ""
    limit = "" if row.limit is None else _ratio(row.limit) if row.theirs and not row.more else _value(row.limit, row.unit)
    verdict = {None: "", True: "met", False: "**not met**"}[row.met]
    cells = [row.what + (f" ({row.note})" if row.note else ""), _values(row.ours, row.unit), row.reference]
    cells += [_values(row.theirs, row.unit) if row.theirs else "", ratio, limit + (" more" if row.more else ""), verdict]
    return "| " + " | ".join(cells) + " |"


def _three(values: Sequence[float]) -> tuple[float, float, float]:
    return statistics.median(values), min(values), max(values)


def _spread(words: Sequence[str]) -> str:
    """The middle; behind it the ends, where they differ."""
    middle, low, high = words
    return middle if low == high else f"{middle} ({low}–{high})"


def _values(values: Sequence[float], unit: str) -> str:
    middle, low, high = (_number(value, unit) for value in _three(values))
    return _spread([f"{middle} {unit}".rstrip(), low, high])


def _value(value: float, unit: str) -> str:
    return f"{_number(value, unit)} {unit}".rstrip()


def _number(value: float, unit: str) -> str:
    if not unit:
        return _ratio(value)
    return f"{value:,.0f}" if unit in {"calls", "B"} or value >= 100 else f"{value:.3g}"


def _ratio(value: float) -> str:
    return f"{value:.2f}" if value >= 0.1 else f"1/{1 / value:.0f}"


#: paper and ink follow the reader's setting; what is kept and what is not differ in shape, too
STYLE = """text{fill:#1f2328}.paper{fill:#fff}.faint{fill:#59636e}.grid{stroke:#d8dee4}.one,.limit{stroke:#1f2328}
.limit{stroke-width:3}.spread{stroke-width:3;stroke-opacity:.45}.kept{fill:#0072b2;stroke:#0072b2}.missed{fill:#d55e00;stroke:#d55e00}
.plain{fill:#fff;stroke:#59636e}@media(prefers-color-scheme:dark){text{fill:#e6edf3}.paper{fill:#0d1117}.faint{fill:#9198a1}
.grid{stroke:#30363d}.one,.limit{stroke:#e6edf3}.kept{fill:#56b4e9;stroke:#56b4e9}.missed{fill:#e69f00;stroke:#e69f00}
.plain{fill:#0d1117;stroke:#9198a1}}"""
LEFT, WIDTH, HEIGHT, TOP, TOTAL = 500, 390, 24, 52, 1080  #: px: labels, axis, a row, above the rows, all


def _mark(kind: str, x: float, y: float) -> str:
    """A disc, a diamond, or a ring."""
    if kind == "missed":
        return f'<path d="M{x} {y - 7}l7 7l-7 7l-7-7z" class="missed"/>'
    return f'<circle cx="{x}" cy="{y}" r="5" stroke-width="1.5" class="{kind}"/>'


LEGEND = (
    '<text x="8" y="18" font-weight="bold">ours / the reference: left of 1 is less time, or fewer calls (logarithmic)</text>',
    f'{_mark("kept", 14, 35)}<text x="24" y="39">limit kept</text>{_mark("missed", 104, 35)}<text x="116" y="39">limit not kept</text>',
    f'{_mark("plain", 214, 35)}<text x="224" y="39">no limit</text>',
    '<path d="M290 27v16" class="limit"/><text x="298" y="39">limit</text>',
    '<path d="M344 35h24" class="spread kept"/><text x="374" y="39">smallest to largest of the rounds</text>',
)


def svg(rows: Sequence[Row]) -> str:
    """A mark for each comparison on a logarithmic axis, with the spread of its rounds and its limit; date and machine below."""
    shown = [row for row in rows if row.ratios]
    values = [value for row in shown for value in (*row.ratios, row.limiting_ratio or 1.0)]
    low, high = min([*values, 0.95]) / 1.05, max([*values, 1.05]) * 1.05

    def x(value: float) -> float:
        return round(LEFT + WIDTH * math.log(value / low) / math.log(high / low), 1)

    bottom = TOP + HEIGHT * len(shown)
    about = [line for text in dict.fromkeys(row.about.replace("`", "") for row in shown) for line in textwrap.wrap(text, 150)]
    parts = [
        f'<svg xmlns="http://www.w3.org/2000/svg" role="img" width="{TOTAL}" height="{bottom + 34 + 16 * len(about)}" '
        f'font-family="sans-serif" font-size="12"><style>{STYLE}</style>',
        f'<title>sharedenv over its reference: {len(shown)} comparisons</title><rect width="100%" height="100%" class="paper"/>',
        *LEGEND,
    ]
    for tick in _ticks(low, high):
        parts.append(f'<path d="M{x(tick)} {TOP}V{bottom}" class="{"one" if tick == 1 else "grid"}"/>')
        said = f"{tick:g}" if tick >= 0.1 else _ratio(tick)
        parts.append(f'<text x="{x(tick)}" y="{bottom + 16}" text-anchor="middle" class="faint">{said}</text>')
    for index, row in enumerate(shown):
        parts += _drawn(row, TOP + HEIGHT * index + HEIGHT // 2, x)
    for index, line in enumerate(about):
        parts.append(f'<text x="8" y="{bottom + 38 + 16 * index}" font-size="11" class="faint">{escape(line)}</text>')
    return "\n".join([*parts, "</svg>", ""])


def _ticks(low: float, high: float) -> list[float]:
    """The powers of ten and what lies between them: little of it on a long axis."""
    between = (1, 3) if high / low > 30 else (1, 1.5, 2, 3, 5, 7) if high / low > 2 else (1, 1.05, 1.1, 1.2, 1.5, 2, 5, 8, 9)
    return [tick for power in range(-5, 6) for tick in (step * 10.0**power for step in between) if low <= tick <= high]


def _drawn(row: Row, y: float, x: Callable[[float], float]) -> list[str]:
    middle, low, high = _three(row.ratios)
    kind = {None: "plain", True: "kept", False: "missed"}[row.met]
    label = escape(f"{row.what} / {row.reference}".replace("`", ""))
    parts = [f'<text x="{LEFT - 12}" y="{y + 4}" text-anchor="end">{label}</text>']
    if low != high:
        parts.append(f'<path d="M{x(low)} {y}H{x(high)}" class="spread {kind}"/>')
    said = _ratio(middle)
    if (limit := row.limiting_ratio) is not None:
        said += f", limit {_ratio(limit)}" + ("" if row.met else ": not kept")
        parts.append(f'<path d="M{x(limit)} {y - 9}v18" class="limit"/>')
    return [*parts, _mark(kind, x(middle), y), f'<text x="{LEFT + WIDTH + 12}" y="{y + 4}">{said}</text>']


#: a page names the parts of a table, and the file of its plot where it has one; a list of chosen rows names none
_BLOCK = re.compile(r"(<!-- scripts/bench:([a-z ]*)(?:\[([\w.]+)\] )?-->\n)(.*?)(?=<!-- end -->)", re.DOTALL)


def renewed(page: str, rows: Sequence[Row]) -> str:
    """A page with its tables made anew: those whose parts are all measured, and of chosen rows those that are."""
    lines = {_name(line): line for line in map(_line, rows)}

    def block(match: re.Match[str]) -> str:
        parts, plot, text = match[2].split(), match[3], match[4]
        if not parts:  # of chosen rows
            text = "\n".join(lines.get(_name(line), line) for line in text.splitlines()) + "\n"
        elif set(parts) <= {row.part for row in rows}:
            text = "\n" + markdown([row for part in parts for row in rows if row.part == part])
            text += f"\n![ours / the reference, each row of the table as a mark](../../scripts/{plot})\n" if plot else ""
        return match[1] + text

    return _BLOCK.sub(block, page)


def plots(page: str, rows: Sequence[Row]) -> dict[str, str]:
    """The plots of a page: name and text of each whose parts are all measured."""
    named = {match[3]: match[2].split() for match in _BLOCK.finditer(page) if match[3]}
    found = {row.part for row in rows}
    return {name: svg([row for part in parts for row in rows if row.part == part]) for name, parts in named.items() if set(parts) <= found}


def publish(folder: Path) -> None:
    """Puts the rows of a folder that `scripts/bench --out` wrote into the pages."""
    rows = save(KEPT, load(folder / "rows.jsonl"))
    for page in PAGES:
        text = page.read_text()
        page.write_text(renewed(text, rows))
        for name, plot in plots(text, rows).items():
            (ROOT / "scripts" / name).write_text(plot)


def _name(line: str) -> tuple[str, ...]:
    """What tells a row of a table from the others: what, and the reference."""
    cells = [cell.strip() for cell in line.split("|")]
    return tuple(cells[1:4:2])
