"""From what is asked for, by a command line or a program, to the cases that are to run (resume.py: those of an earlier run)."""

from __future__ import annotations

import os
import shlex
import time
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import field, replace
from typing import TYPE_CHECKING

from sharedenv.app.project import Project, Selection, open_project
from sharedenv.app.table import SCRIPT, CaseTable, Entry, entries_of, new_cases, place_of
from sharedenv.errors import SharedenvError
from sharedenv.key.plan import Plan
from sharedenv.pool.index import remember
from sharedenv.pool.layout import Layout
from sharedenv.pool.store import Environment, look_up
from sharedenv.report.words import count
from sharedenv.run.case import Case, Result
from sharedenv.run.filling import before_placeholder, check_placeholders, escaped, filled, has_placeholder
from sharedenv.run.journal.run import Run
from sharedenv.run.journal.sessions import LOCAL, SessionState
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


@frozen
class Wanted:
    """What is asked for.

    arguments  of all cases, None when nothing is said of them
    cwd        --cwd, absolute, or None
    lost_too   cases that a worker has begun of whom it isn't known whether he is dead
    table      --table, None where there is none
    only       sequences of the run's cases that are meant, None for all
    command    the words that ask for it, for people
    """

    selection: Selection
    arguments: tuple[str, ...] | None
    cwd: str | None
    share: Share | None
    run_id: str | None
    failed_only: bool
    lost_too: bool = False
    table: CaseTable | None = None
    only: frozenset[int] | None = None
    command: tuple[str, ...] = ()


@frozen
class Work:
    """What is to be done.

    run      the run that goes on, None for a new one
    planned  what its plan lacks: all cases of a new run, scripts that are new to an earlier one
    cases    those to run, in the order asked, with keys and digests as of now
    settled  results that are known without running anything (scripts that are gone)
    digests  of scripts that changed since the run was planned, by sequence
    notes    what the user should know of the choice
    unrun    cases of an earlier run that have no result at all
    again    sequences of those to run that have a result
    known    the sessions of an earlier run that there were when it was chosen what is to run
    groups   key of each case in the run's plan, by sequence, of an earlier run
    found    the last result of each case of an earlier run, by sequence
    sets     key → digest of the set of versions that an earlier run goes on with (app/sets.py)
    halfway  sequences of cases that other runs began and did not bring to a good end
    since    when the scripts had been read, seconds since the epoch
    writer   under which the results are written
    """

    project: Project
    plan: Plan
    run: Run | None
    planned: tuple[Case, ...]
    cases: tuple[Case, ...]
    settled: tuple[Case, ...] = ()
    digests: Mapping[int, str] = field(default_factory=dict)
    notes: tuple[str, ...] = ()
    unrun: int = 0
    again: tuple[int, ...] = ()
    known: tuple[SessionState, ...] | None = None
    groups: Mapping[int, str] = field(default_factory=dict)
    found: Mapping[int, Result] = field(default_factory=dict)
    sets: Mapping[str, str] = field(default_factory=dict)
    halfway: frozenset[int] = frozenset()
    since: float = field(default_factory=time.time)
    writer: str = LOCAL

    @property
    def layout(self) -> Layout:
        """The pool."""
        return self.project.layout

    @property
    def begun(self) -> frozenset[int]:
        """Sequences of cases that were begun before, by whatever run: what is there of them may be half of what they write."""
        return self.halfway.union(self.found)

    @property
    def needed(self) -> Plan:
        """The plan with no more environments than the cases need: of an earlier run some may rest."""
        keys = {case.key for case in self.cases}
        return replace(self.plan, needs={key: need for key, need in self.plan.needs.items() if key in keys})


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


def new_work(pool: str | None, wanted: Wanted, terms: Terms, here: str) -> Work:
    """All the scripts named, with what --creates must not trust. Raises SharedenvError."""
    project = open_project(pool, wanted.selection, cwd=here)
    entries: Sequence[Entry] = entries_of(wanted.table, project.paths)
    notes: tuple[str, ...] = ()
    if wanted.share is not None:
        from sharedenv.cluster.share import deal  # noqa: PLC0415 - most runs are no share

        many = count(len(entries), "case" if wanted.table else "script")
        entries = deal(entries, wanted.share)
        notes = (f"share {wanted.share.index + 1} of {wanted.share.count}: {len(entries):,} of {many}",)
    plan = project.plan(dict.fromkeys(path for path, _ in entries))
    now = {path: (key, digest) for (path, key), digest in zip(plan.scripts, plan.digests, strict=True)}
    entries = [entry for entry in entries if entry[0] in now]  # the others are bad, and passed over (--skip-bad)
    cases = tuple(new_cases(entries, wanted.arguments or (), wanted.cwd, place_of(wanted.table), now))
    work = Work(project, plan, None, cases, cases, notes=notes)
    if not terms.creates:
        return work
    from sharedenv.app.halfway import halfway  # noqa: PLC0415 - most runs trust no file

    return replace(work, halfway=halfway(project.layout, cases))


def remember_all(work: Work) -> None:
    """Notes the environments of this work in the index: the next command over the same scripts parses none of them."""
    looked_up = {need.scripts[0]: look_up(work.layout, need.payload) for need in work.plan.needs.values()}
    found = {script: environment for script, environment in looked_up.items() if isinstance(environment, Environment)}
    remember(work.layout, os.environ, found, work.project.python)
