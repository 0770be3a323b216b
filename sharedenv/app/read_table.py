"""Reading what --table names, with all that is wrong with it and with the words that are to be filled in from it."""

from __future__ import annotations

import os
import sys
from collections.abc import Iterable, Iterator, Mapping, Sequence

from sharedenv.app.table import SCRIPT, CaseTable, folder_of
from sharedenv.errors import SharedenvError
from sharedenv.report.words import printable
from sharedenv.run.case import Row
from sharedenv.run.filling import PLACEHOLDERS, before_placeholder, filled, has_placeholder, names_in
from sharedenv.run.table import BadTable, TableProblem, parse_table

ARGUMENTS = "--"  #: what stands for the words after `--` among the options
Wording = Mapping[str, Sequence[str]]  # option → texts as they were typed, in which `{column}` may stand


def read_table(name: str, wording: Wording, cwd: str | None, here: str, data: bytes | None = None) -> CaseTable:
    """Reads a table (``name``: its path, `-` for standard input; ``data``: what is in it, where it is no file) for a command line with
    these words; ``cwd``: its --cwd.

    Raises BadTable with all that is wrong with it and them, SharedenvError where it can't be read.
    """
    found = parse_table(_read(name, here) if data is None else data, name)
    misused = list(_misused(found.columns, wording)) if found.columns else []
    problems = [*misused, *found.problems]
    each = cwd is not None and "{" in cwd and not misused and bool(set(names_in(cwd)) & set(found.columns))
    if cwd is not None and each:
        problems += _no_folders(found.rows, cwd, here)
    if SCRIPT in found.columns:
        problems += [TableProblem(row.line, "no script is named") for row in found.rows if not row.by_name[SCRIPT]]
    if problems:
        raise BadTable(printable(name), problems)
    return CaseTable(name, found.rows, cwd if each else None, here)


def check_words(rows: Iterable[Row | None], wording: Wording) -> None:
    """Raises SharedenvError where words that a run goes on with name no column of its rows."""
    for columns in {row.columns for row in rows if row is not None}:
        for problem in _misused(columns, wording):
            raise SharedenvError("the rows of this table can't be filled in", cause=problem.text)


def _read(name: str, here: str) -> bytes:
    if name == "-":
        return sys.stdin.buffer.read()
    try:
        with open(os.path.join(here, name), "rb") as file:
            return file.read()
    except OSError as error:
        raise SharedenvError(f"can't read the table {name}", cause=error.strerror) from None


def _misused(columns: Sequence[str], wording: Wording) -> Iterator[TableProblem]:
    """What is wrong with the words for a table of these columns."""
    known = f"its columns are {', '.join(map(repr, columns[:20]))}{' …' if len(columns) > 20 else ''}"
    used = SCRIPT in columns or ARGUMENTS not in wording  # without: it goes on with a run, which has its words
    for option, text in [(option, text) for option, texts in wording.items() for text in texts]:
        where = printable(text if option == ARGUMENTS else f"{option} {text}")
        try:
            names = names_in(text)
        except ValueError as error:
            yield TableProblem(None, f"{where}: {error}")
            continue
        used = used or bool(set(names) & set(columns))
        admitted = (*columns, *PLACEHOLDERS) if option in ("--cwd", "--capture") else columns
        yield from [TableProblem(1, f"no column {name!r} for {where}; {known}") for name in dict.fromkeys(names) if name not in admitted]
    if not used:
        yield TableProblem(None, f"nothing of a row is used: say {{{columns[0]}}} after -- or in an option, or have a column {SCRIPT!r}")


def _no_folders(rows: Iterable[Row], cwd: str, here: str) -> Iterator[TableProblem]:
    """The rows for which --cwd names no folder, each folder once."""
    folders = {folder_of(cwd, row.by_name, here): row.line for row in reversed(list(rows))}
    for folder, line in reversed(folders.items()):
        there = os.path.dirname(before_placeholder(folder)) if has_placeholder(folder) else filled(folder, {})
        if not os.path.isdir(there):
            yield TableProblem(line, f"--cwd {cwd} is no folder", there)
