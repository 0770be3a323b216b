"""From a command line to the cases that are to run (resume.py: those of an earlier run)."""

from __future__ import annotations

import os
import time
from collections.abc import Mapping, Sequence
from dataclasses import field, replace
from typing import TYPE_CHECKING

from sharedenv.app.project import Project, Selection, open_project
from sharedenv.app.table import CaseTable, Entry, entries_of, new_cases, place_of
from sharedenv.key.plan import Plan
from sharedenv.pool.index import remember
from sharedenv.pool.layout import Layout
from sharedenv.pool.store import Environment, look_up
from sharedenv.report.words import count
from sharedenv.run.case import Case, Result
from sharedenv.run.journal.run import Run
from sharedenv.run.journal.sessions import LOCAL, SessionState
from sharedenv.values import frozen

if TYPE_CHECKING:
    from sharedenv.cluster.share import Share


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


def new_work(pool: str | None, wanted: Wanted, here: str) -> Work:
    """All the scripts named. Raises SharedenvError."""
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
    return Work(project, plan, None, cases, cases, notes=notes)


def remember_all(work: Work) -> None:
    """Notes the environments of this work in the index: the next command over the same scripts parses none of them."""
    looked_up = {need.scripts[0]: look_up(work.layout, need.payload) for need in work.plan.needs.values()}
    found = {script: environment for script, environment in looked_up.items() if isinstance(environment, Environment)}
    remember(work.layout, os.environ, found, work.project.python)
