"""The rungs of a run as a table: what was run on each, and what it was too little for. Pure."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from sharedenv.cluster.climbed import RungUse
from sharedenv.cluster.rungs import MEMORY, REST, TIME
from sharedenv.report.words import duration, size

_KILLED, _CUT = "killed where memory ran out", "cut off at the time limit"


def rung_rows(ladder: Sequence[RungUse]) -> tuple[list[str], list[list[str]]]:
    """Head and rows of the table: a column for each rung, without rows that count nothing."""
    rows: list[tuple[str, Callable[[RungUse], str]]] = [
        ("memory", lambda one: one.rung.limits.memory or "–"),
        ("time", lambda one: one.rung.limits.time or "–"),
        ("job", lambda one: one.array.job or "?"),
        ("scripts begun", lambda one: f"{len(one.tried):,}" if one.begun else "nothing yet"),
        ("succeeded", lambda one: f"{len(one.done):,}"),
        (_KILLED, lambda one: f"{len(one.short[MEMORY]):,}"),
        (_CUT, lambda one: f"{len(one.short[TIME]):,}"),
        ("left, since their tasks had to end", lambda one: f"{len(one.short[REST]):,}"),
        ("failed otherwise", lambda one: f"{sum(not result.interrupted for result in one.bad):,}"),
        ("lost or cancelled", lambda one: f"{sum(result.interrupted for result in one.bad):,}"),
        ("longest that succeeded", lambda one: duration(max(attempt.seconds for attempt in one.good)) if one.good else "–"),
        ("largest that succeeded", lambda one: size(found) if (found := _largest(one)) else "–"),
    ]
    told = [[label, *map(tell, ladder)] for label, tell in rows]
    kept = [row for row in told if row[0] in (_KILLED, _CUT) or set(row[1:]) - {"0", "–"}]
    return ["", *(f"rung {one.rung.number}" for one in ladder)], kept


def _largest(one: RungUse) -> int:
    return max((attempt.memory or 0 for attempt in one.good), default=0)
