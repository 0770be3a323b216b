"""From what is asked for, by a command line or a program, to the cases that are meant: table, folder and words, checked."""

from __future__ import annotations

import os
import shlex
from collections.abc import Iterable
from dataclasses import replace
from typing import TYPE_CHECKING

from sharedenv.app.project import Selection
from sharedenv.app.table import SCRIPT, CaseTable
from sharedenv.app.work import Wanted
from sharedenv.errors import SharedenvError
from sharedenv.run.case import Case
from sharedenv.run.filling import before_placeholder, check_placeholders, escaped, filled, has_placeholder
from sharedenv.run.terms import Terms
from sharedenv.values import frozen

if TYPE_CHECKING:
    from sharedenv.cluster.share import Share


@frozen
class Request:
    """What is asked for, as it was said.

    arguments    of all cases, None when nothing is said of them
    cwd          where all start, relative to the current folder; None: each in its own
    table        a file's name, `-` for standard input
    rows         the table itself, as JSON lines; ``table`` is its name then
    run_id       of the run to go on with
    goes_on      it is to go on with a run
    failed_only  with what failed in it alone
    lost_too     and with what a silent worker had begun
    command      words that ask for it, for people
    """

    selection: Selection
    arguments: tuple[str, ...] | None = None
    cwd: str | None = None
    table: str | None = None
    rows: bytes | None = None
    run_id: str | None = None
    goes_on: bool = False
    failed_only: bool = False
    lost_too: bool = False
    command: tuple[str, ...] = ()


def wanted(request: Request, terms: Terms, here: str, share: Share | None = None) -> Wanted:
    """The same, its table read and its folder found. ``here``: the current folder. Raises SharedenvError."""
    table, folder, selection = None, request.cwd, request.selection
    if request.table is not None:
        table, folder = _table(request, request.table, terms, here)
        selection = replace(selection, listed=table.scripts)
    cwd = None if folder is None else _folder(folder, here)
    return Wanted(
        selection, request.arguments, cwd, share, request.run_id, request.failed_only, request.lost_too, table, command=request.command
    )


def _table(request: Request, name: str, terms: Terms, here: str) -> tuple[CaseTable, str | None]:
    """The table, and the folder where it is the same for all rows. Raises SharedenvError."""
    from sharedenv.app.read_table import ARGUMENTS, read_table  # noqa: PLC0415 - most runs have no table

    selection = request.selection
    if name == selection.from_file == "-":
        hint = f"sharedenv {selection.command} --table FILE --from-file -"
        raise SharedenvError("--table and --from-file both read standard input", hint=hint)
    words = {} if request.goes_on else {ARGUMENTS: request.arguments or ()}
    table = read_table(name, {**words, **_texts(terms, request.cwd)}, request.cwd, here, request.rows)
    if table.scripts and not selection.empty:
        cause = "both say which script a row runs with"
        raise SharedenvError(f"the table {name} has a column {SCRIPT!r}, and SCRIPT is named, too", cause=cause)
    return table, None if table.cwd is not None else request.cwd


def refuse_words(cases: Iterable[Case], terms: Terms) -> None:
    """Raises SharedenvError where options name columns that the rows of an earlier run have not."""
    rows = [case.row for case in cases]
    if any(rows):
        from sharedenv.app.read_table import check_words  # noqa: PLC0415 - as above

        check_words(rows, _texts(terms))


def _texts(terms: Terms, cwd: str | None = None) -> dict[str, tuple[str, ...]]:
    """The options in which `{column}` may stand, with what was given for them."""
    single = {name: (text,) for name, text in (("--cwd", cwd), ("--capture", terms.capture)) if text is not None}
    return {**single, "--creates": terms.creates, "--launcher": terms.launcher}


def _folder(cwd: str, here: str) -> str:
    """--cwd, absolute, with its placeholders. Raises SharedenvError for one that isn't there: what a placeholder names is made."""
    check_placeholders("--cwd", cwd)
    folder = os.path.normpath(os.path.join(escaped(here), cwd))
    there = os.path.dirname(before_placeholder(folder)) if has_placeholder(folder) else filled(folder, {})
    if not os.path.isdir(there):
        raise SharedenvError(f"--cwd {cwd}: {there} is no folder", hint=f"mkdir -p {shlex.quote(there)}")
    return folder
