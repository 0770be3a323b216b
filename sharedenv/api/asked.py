"""From the arguments of a call to values."""

from __future__ import annotations

import json
import os
from collections.abc import Iterable, Mapping
from dataclasses import replace
from typing import Any

from sharedenv.app.project import Selection
from sharedenv.run.terms import Terms

Path = str | os.PathLike[str]
Scripts = Path | Iterable[Path]  #: a script or a pattern, or several
Table = Path | Iterable[Mapping[str, object]]  #: a file (CSV, TSV, JSON lines), or its rows


def selection(command: str, scripts: Scripts | None, *, python: str | None = None, no_lock: bool = False) -> Selection:
    """The scripts that are meant. ``command``: the one that does the same, for hints."""
    named: Iterable[Path] = () if scripts is None else (scripts,) if isinstance(scripts, str | os.PathLike) else scripts
    paths = [os.fspath(name) for name in named]
    # where words ask for the same, a name is no option
    return Selection(command, tuple([f"./{path}" if path.startswith("-") else path for path in paths]), python=python, no_lock=no_lock)


def words(arguments: Iterable[object]) -> tuple[str, ...]:
    """Arguments of a script: numbers as they are written. Raises TypeError for a single string, whose letters would be taken for them."""
    if isinstance(arguments, str | bytes):
        raise TypeError(f"arguments is a list of words, such as [{arguments!r}], and not a string")
    return tuple([os.fspath(word) if isinstance(word, os.PathLike) else str(word) for word in arguments])


def table_of(given: Table | None) -> tuple[str | None, bytes | None]:
    """The name of a table, and what is in it, where it is no file."""
    if given is None or isinstance(given, str | os.PathLike):
        return None if given is None else os.fspath(given), None
    return "-", "\n".join([json.dumps(dict(row), default=str) for row in given]).encode()


def terms(before: Terms, given: Mapping[str, Any]) -> Terms:
    """On which terms cases run: those ``before``, and what is ``given`` (not None) in their place."""
    return replace(before, **{name: value for name, value in given.items() if value is not None})


def given_terms(
    *,
    timeout: float | None,
    grace: float | None,
    retries: int | None,
    fail_fast: bool,
    capture: str | None,
    creates: Iterable[str] | None,
    launcher: Iterable[str] | None,
    threads: int | None,
    cpus_per_case: int | None,
    gpus_per_case: int | None,
    preload: bool | None,
) -> dict[str, Any]:
    """What a call says of how each case is run, by the names of Terms; None where it says nothing. Raises ValueError, TypeError."""
    for name, number in (("retries", retries), ("threads", threads), ("cpus_per_case", cpus_per_case), ("gpus_per_case", gpus_per_case)):
        if number is not None and number < 1:
            raise ValueError(f"{name} is at least 1, not {number}")
    if launcher and preload:
        raise TypeError("a launcher starts a Python of its own, and preload forks one: give one of them")
    return {
        "timeout": timeout,
        "grace": grace,
        "tries": retries,
        "fail_fast": fail_fast or None,
        "capture": capture,
        "creates": None if creates is None else words(creates),
        "launcher": None if launcher is None else words(launcher),
        "threads": threads or cpus_per_case,
        "cpus_per_case": cpus_per_case,
        "gpus_per_case": gpus_per_case,
        "preload": preload,
    }
