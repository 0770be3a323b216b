"""Unfinished runs: one, or one in Slurm's queue, that a later run hides from a bare `--resume`, `status` and `cancel`; those that
go with a pool.
"""

from __future__ import annotations

import os
import shlex
import time
from collections.abc import Iterator, Mapping, Sequence

from sharedenv.errors import SharedenvError
from sharedenv.pool.layout import Layout
from sharedenv.run.case import Result
from sharedenv.run.journal import Run, list_runs
from sharedenv.run.standing import Standing, stand
from sharedenv.slurm.arrays import Array, list_arrays
from sharedenv.slurm.queued import jobs_in_queue

_LOOKED_AT = 20  # runs: reading the results of all that a pool ever had takes its time
_PATIENCE = 3.0  # seconds that squeue has to tell of another run than the one asked for


def hidden_run(layout: Layout, last: Run, pool: str | None, *, queued_only: bool = False) -> str | None:
    """What to say of the newest run before ``last`` that has a job in Slurm's queue, else of the newest that is larger and
    unfinished; None when there is none.

    squeue is asked only where a run was submitted and has cases that were not run since. ``pool``: --pool as it was given.
    """
    before = [run for run in list_runs(layout.runs) if run.asked.created < last.asked.created]
    arrays = {run.path: list_arrays(run.path) for run in before}
    looked_at = [run for run in before if arrays[run.path] or (run.count > last.count and not queued_only)][:_LOOKED_AT]
    stands: dict[str, Standing] = {}
    submitted = []
    for run in looked_at:
        try:
            results, sessions = run.read()
        except SharedenvError:
            continue  # a file of it is gone: `status --all` names it
        stands[run.path] = stand(run.count, results, sessions, time.time())
        if arrays[run.path] and (stands[run.path].left or _has_work(arrays[run.path], results)):
            submitted.append(run)
    words = ["sharedenv", *(["--pool", pool] if pool else [])]
    try:
        queued = jobs_in_queue([run.path for run in submitted], os.environ, _PATIENCE)
    except SharedenvError:
        return f"run {submitted[0].id} may have a job in the queue, Slurm doesn't say: {shlex.join([*words, 'status', submitted[0].id])}"
    for run in submitted:
        if job := queued.get(run.path):
            commands = " or ".join(shlex.join([*words, command, run.id]) for command in ("status", "cancel"))
            return f"run {run.id} has job {job} in the queue: {commands}"
    for run in looked_at if not queued_only else ():
        if (standing := stands.get(run.path)) is not None and standing.left and not standing.alive and run.count > last.count:
            go_on = ["submit" if arrays[run.path] else "run", "--resume", "--run-id", run.id]
            return f"run {run.id} is unfinished ({standing.left:,} left to run): {shlex.join([*words, *go_on])}"
    return None


def _has_work(arrays: Sequence[Array], results: Mapping[int, Result]) -> bool:
    """Whether the last array has cases that were not run since it was made: failures submitted again, for one."""
    begun = {sequence for sequence, result in results.items() if result.start >= arrays[-1].created}
    return any(planned.sequence not in begun for planned in arrays[-1].cases)


def lost_with(layout: Layout) -> Iterator[str]:
    """What to say of each unfinished run before its journal goes with the pool."""
    for run in list_runs(layout.runs):
        try:
            standing = stand(run.count, *run.read(), time.time())
        except SharedenvError:
            continue
        if standing.left and not standing.alive:
            yield f"run {run.id} is unfinished ({standing.left:,} left to run): its journal goes with the pool"
