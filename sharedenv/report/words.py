"""Numbers and names as people read them; what a case is called: its script, and its row where it has one. Pure."""

from __future__ import annotations

import os
from collections.abc import Callable, Sequence

from sharedenv.run.case import Case


def count(number: int, noun: str, plural: str | None = None) -> str:
    """`1 script`, `5,000 scripts`."""
    return f"{number:,} {noun if number == 1 else plural or noun + 's'}"


def size(number: float) -> str:
    """Bytes in decimal units, as disks and quotas are counted: `312 MB`, `2.8 MB`, `0 B`."""
    for unit in ("B", "kB", "MB", "GB"):
        if number < 999.5:
            return f"{number:.0f} {unit}" if unit == "B" or number >= 9.95 else f"{number:.1f} {unit}"
        number /= 1000
    return f"{number:.1f} TB"


def duration(seconds: float) -> str:
    """`0.42 s`, `42 s`, `3 min 5 s`, `2 h 7 min`, `3 days`."""
    if seconds < 9.95:
        return f"{seconds:.2f} s" if seconds < 0.995 else f"{seconds:.1f} s"
    whole = round(seconds)
    if whole < 60:
        return f"{whole} s"
    if whole < 3600:
        return f"{whole // 60} min {whole % 60} s"
    if whole < 48 * 3600:
        return f"{whole // 3600} h {whole % 3600 // 60} min"
    return f"{whole // 86400} days"


def estimate(seconds: float) -> str:
    """`1 s`, `42 s`, `3 min 5 s`: as `duration`, for what is known roughly."""
    whole = max(1, round(seconds))
    return f"{whole} s" if whole < 60 else duration(whole)


def ago(seconds: float) -> str:
    """`just now`, `5 min ago`, `3 days ago`."""
    if seconds < 60:
        return "just now"
    if seconds < 3600:
        return f"{seconds // 60:.0f} min ago"
    if seconds < 48 * 3600:
        return f"{seconds // 3600:.0f} h ago"
    return f"{seconds // 86400:.0f} days ago"


def made_pool(path: str) -> str:
    """The line for a pool that a command has made."""
    return f"made the pool {path}"


def short_path(path: str, cwd: str) -> str:
    """The path relative to ``cwd`` when it lies below it, else unchanged."""
    below = cwd.rstrip("/") + "/"
    if not path.startswith(below):
        return path
    rest = path[len(below) :]  # of 100,000 paths, nearly all are as plain as that
    return os.path.relpath(path, cwd) if "//" in path or "/." in path or rest.startswith(".") or not rest else rest


def first_names(paths: Sequence[str], name: Callable[[str], str], most: int = 3) -> str:
    """The first of some files, as ``name`` has them, and how many more there are."""
    more = f" and {len(paths) - most:,} more" if len(paths) > most else ""
    return ", ".join(printable(name(path)) for path in paths[:most]) + more


def printable(text: str) -> str:
    """The text on one line: control characters and bytes that are no UTF-8 are spelled out, so that no name moves the cursor."""
    return text if text.isprintable() else "".join(char if char.isprintable() else _spell(char) for char in text)


def _spell(char: str) -> str:
    code = ord(char)
    if 0xDC80 <= code <= 0xDCFF:
        return f"\\x{code - 0xDC00:02x}"
    return char.encode("unicode_escape").decode()


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
