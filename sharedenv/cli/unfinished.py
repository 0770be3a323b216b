"""An unfinished run that a later, smaller one hides from a bare `--resume` and `status`."""

from __future__ import annotations

import time

from sharedenv.pool.layout import Layout
from sharedenv.run.journal import Run, list_runs
from sharedenv.run.standing import stand
from sharedenv.slurm.arrays import list_arrays

_LOOKED_AT = 20  # larger runs: reading the results of all that a pool ever had takes its time


def hidden_run(layout: Layout, last: Run, pool: str | None) -> str | None:
    """What to say of the newest run before ``last`` that is larger and unfinished; None when there is none.

    Runs on Slurm are passed over: what is left of them may be in the queue. ``pool``: --pool as it was given.
    """
    larger = [run for run in list_runs(layout.runs) if run.asked.created < last.asked.created and run.count > last.count]
    for run in larger[:_LOOKED_AT]:
        standing = stand(run.count, *run.read(), time.time())
        if standing.left and not standing.alive and not list_arrays(run.path):
            before = f"--pool {pool} " if pool else ""
            return f"run {run.id} is unfinished ({standing.left:,} left to run): sharedenv {before}run --resume --run-id {run.id}"
    return None
