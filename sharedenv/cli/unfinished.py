"""Unfinished runs that the user may have forgotten: one that a later, smaller one hides, one whose scripts are still at work."""

from __future__ import annotations

import time
from collections.abc import Iterable

from sharedenv.errors import SharedenvError
from sharedenv.pool.layout import Layout
from sharedenv.report.console import Console
from sharedenv.report.words import count
from sharedenv.run.case import Case
from sharedenv.run.journal import Run, list_runs
from sharedenv.run.leftover import refuse_leftover, without_result
from sharedenv.run.standing import stand
from sharedenv.slurm.arrays import list_arrays

_LOOKED_AT = 20  # larger runs: reading the results of all that a pool ever had takes its time


def check_beside(other: Run, cases: Iterable[Case], console: Console) -> None:
    """Whether another run has these cases at work. Raises SharedenvError when they outlived it: two processes in one folder mix.

    A run that lives may be meant to run beside this one, so that is only said.
    """
    wanted = {case.identity for case in cases}
    try:
        results, sessions = other.read()
        common = [case for case in without_result(other.cases(), results) if case.identity in wanted]
    except SharedenvError:
        return  # a run whose files are gone says nothing
    refuse_leftover(other.id, sessions, common)
    alive = [session.owner for session in sessions if session.alive and session.owner is not None]
    if common and alive:
        where = f"process {alive[0].pid} on {alive[0].host}"
        console.warn(f"run {other.id} ({where}) runs {count(len(common), 'script')} of these as well, in the same folders")


def hidden_run(layout: Layout, last: Run, pool: str | None) -> str | None:
    """What to say of the newest run before ``last`` that is larger and unfinished; None when there is none.

    Runs on Slurm are passed over: what is left of them may be in the queue. ``pool``: --pool as it was given.
    """
    larger = [run for run in list_runs(layout.runs) if run.asked.created < last.asked.created and run.count > last.count]
    for run in larger[:_LOOKED_AT]:
        try:
            standing = stand(run.count, *run.read(), time.time())
        except SharedenvError:
            continue  # `status --all` names it
        if standing.left and not standing.alive and not list_arrays(run.path):
            before = f"--pool {pool} " if pool else ""
            return f"run {run.id} is unfinished ({standing.left:,} left to run): sharedenv {before}run --resume --run-id {run.id}"
    return None
