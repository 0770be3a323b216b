"""The rungs of a run as a table: what was run on each, and what it was too little for. Pure."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from sharedenv.cluster.climbed import RungUse
from sharedenv.cluster.rungs import MEMORY, REST, TIME
from sharedenv.report.words import duration, size

_ALWAYS = 5  # rows that are told where they count nothing, too


def rung_rows(ladder: Sequence[RungUse]) -> tuple[list[str], list[list[str]]]:
    """Head and rows of the table: a column for each rung; what counts nothing on any of them is left out."""
    rows: list[tuple[str, Callable[[RungUse], str]]] = [
        ("job", lambda one: one.array.job or "?"),
        ("scripts begun", lambda one: f"{len(one.tried):,}" if one.begun else "nothing yet"),
        ("succeeded", lambda one: f"{len(one.done):,}"),
        ("killed where memory ran out", lambda one: f"{len(one.short[MEMORY]):,}"),
        ("cut off at the time limit", lambda one: f"{len(one.short[TIME]):,}"),
        ("left, since their tasks had to end", lambda one: f"{len(one.short[REST]):,}"),
        ("failed otherwise", lambda one: f"{sum(not result.interrupted for result in one.bad):,}"),
        ("lost or cancelled", lambda one: f"{sum(result.interrupted for result in one.bad):,}"),
        ("longest that succeeded", lambda one: duration(max(attempt.seconds for attempt in one.good)) if one.good else "–"),
        ("largest that succeeded", lambda one: size(found) if (found := _largest(one)) else "–"),
    ]
    told = [[label, *map(tell, ladder)] for label, tell in rows]
    kept = [row for number, row in enumerate(told) if number < _ALWAYS or set(row[1:]) - {"0", "–"}]
    return ["", *(f"{one.rung.number}: {one.rung.limits.text}" for one in ladder)], kept


def _largest(one: RungUse) -> int:
    return max((attempt.memory or 0 for attempt in one.good), default=0)
