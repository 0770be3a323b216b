"""Unfinished runs: one, or one in Slurm's queue, that a later run hides from a bare `--resume`, `status` and `cancel`; those that
go with a pool.
"""

from __future__ import annotations

import contextlib
import os
import time
from collections.abc import Iterator, Mapping

from sharedenv.cluster.arrays import list_arrays
from sharedenv.cluster.queued import FORGOTTEN, jobs_in_queue
from sharedenv.cluster.workers import some_not_begun
from sharedenv.errors import SharedenvError
from sharedenv.pool.layout import Layout
from sharedenv.report.console import Console
from sharedenv.report.words import count
from sharedenv.run.journal.living import going_on
from sharedenv.run.journal.run import Run
from sharedenv.run.journal.runs import list_runs, open_run
from sharedenv.run.journal.standing import Standing, stand
from sharedenv.run.listing import waits_for_workers
from sharedenv.values import frozen

_LOOKED_AT = 20  # runs: reading the results of all that a pool ever had takes its time
_PATIENCE = 3.0  # seconds that squeue has to tell of another run than the one asked for


def hidden_run(layout: Layout, last: Run, console: Console, *, queued_only: bool = False) -> str | None:
    """What to say of the newest run before ``last`` that has a job in Slurm's queue, else of the newest that is larger and
    unfinished; None when there is none.

    squeue is asked only where a run was submitted and has cases that were not run since.
    """
    earlier = _earlier(layout, last, queued_only)
    submitted = [one.run.path for one in earlier if one.waits]
    queued: dict[str, str] | None = None
    with contextlib.suppress(SharedenvError):
        queued = jobs_in_queue(submitted, os.environ, _PATIENCE)
    for run in (one.run for one in earlier):
        if queued and (job := queued.get(run.path)):
            commands = " or ".join(console.in_pool(f"sharedenv {command} {run.id}") for command in ("status", "cancel"))
            return f"run {run.id} has job {job} in the queue: {commands}"
    for one in earlier:
        run, left = one.run, one.standing.left
        if one.waits and queued is None:
            look = console.in_pool(f"sharedenv status {run.id}")
            return f"run {run.id} may have a job in the queue, Slurm doesn't say: {look}"
        if left and not one.standing.alive and run.count > last.count and not queued_only:
            command = f"{'submit' if one.submitted else 'run'} --resume --run-id"
            go_on = console.in_pool(f"sharedenv {'join' if waits_for_workers(run) else command} {run.id}")
            return f"run {run.id} is unfinished ({left:,} left to run): {go_on}"
    return None


def _not_over(layout: Layout) -> Iterator[Run]:
    for name in going_on(layout.runs):
        with contextlib.suppress(SharedenvError):  # `status --all` names it
            yield open_run(layout.runs, name)


@frozen
class _Earlier:
    """A run before the last; ``waits``: cases of it may be in Slurm's queue, by what its files say."""

    run: Run
    standing: Standing
    submitted: bool
    waits: bool


def _earlier(layout: Layout, last: Run, submitted_only: bool) -> list[_Earlier]:
    """The runs before the last that were submitted or are larger, newest first."""
    found: list[_Earlier] = []
    for run in (run for run in _not_over(layout) if run.asked.created < last.asked.created):
        arrays = list_arrays(run.path)
        if arrays or (run.count > last.count and not submitted_only):
            try:
                results, sessions = run.read()
            except SharedenvError:
                continue  # a file of it is gone: `status --all` names it
            standing = stand(run.count, results, sessions, time.time())
            waits = bool(arrays) and time.time() - arrays[-1].created < FORGOTTEN and some_not_begun(arrays[-1], results)
            found.append(_Earlier(run, standing, bool(arrays), waits))
        if len(found) == _LOOKED_AT:
            break
    return found


def lost_with(layout: Layout) -> Iterator[str]:
    """What to say of each unfinished run before its journal goes with the pool."""
    for run in list_runs(layout.runs):
        try:
            standing = stand(run.count, *run.read(), time.time())
        except SharedenvError:
            continue
        if standing.left and not standing.alive:
            yield f"run {run.id} is unfinished ({standing.left:,} left to run): its journal goes with the pool"


def left_behind(layout: Layout, old: Mapping[str, str], console: Console) -> Iterator[str]:
    """What to say of each of the last runs that is not finished and has results with what keys had until now.

    ``old``: key → digest of the set that it had.
    """
    runs = [run for run in list_runs(layout.runs)[:_LOOKED_AT] if not old.keys().isdisjoint(run.asked.keys)] if old else []
    for run in runs:
        try:
            results, sessions = run.read()
            concerned = [case.sequence for case in run.cases() if case.key in old]
        except SharedenvError:
            continue
        standing = stand(run.count, results, sessions, time.time())
        # a journal of an older sharedenv does not say which versions they were: these, most likely
        ended = [results[number] for number in concerned if number in results]
        before = sum(result.succeeded and result.versions in ("", *old.values()) for result in ended)
        if standing.alive:
            yield f"run {run.id} is at work with the versions before, and goes on with them"
        elif before and (left := run.count - standing.succeeded):
            command = "submit" if run.asked.extra.get("slurm") else "run"
            go_on = console.in_pool(f"sharedenv {command} --resume --upgrade --run-id {run.id}")
            yield f"run {run.id} has {count(before, 'result')} with the versions before, and {left:,} to go: {go_on}"
