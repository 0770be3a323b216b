"""What a case is called when it is told of: its script, and its row where it has one. Pure."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from sharedenv.report.words import count, printable
from sharedenv.run.case import Case

_WIDTH = 120  # characters of a row's values


def case_name(case: Case, name: Callable[[str], str], *, values: bool = False) -> str:
    """`case1/script.py`, `script.py row 17`; ``name`` shortens a path for the reader. ``values``: with those of the row."""
    told = printable(name(case.script))
    if case.row is None:
        return told
    told = f"{told} row {case.row.line}"
    if not values:
        return told
    row = printable(", ".join([f"{column}={value}" for column, value in case.row.by_name.items()]))
    return f"{told} ({row if len(row) <= _WIDTH else row[:_WIDTH] + '…'})"


def case_names(cases: Sequence[Case], name: Callable[[str], str], most: int = 3, *, values: bool = False) -> str:
    """The first of some cases, and how many more there are."""
    told = ", ".join([case_name(case, name, values=values) for case in cases[:most]])
    return told + (f" and {len(cases) - most:,} more" if len(cases) > most else "")


def noun_of(cases: Sequence[Case]) -> str:
    """What some cases are called when they are counted: `scripts`, but not where many have one, as the rows of a table may."""
    return "case" if cases and cases[0].row else "script"


def counted(cases: Sequence[Case]) -> str:
    """`100 scripts`, `10,000 cases`."""
    return count(len(cases), noun_of(cases))
