"""Which scheduler a command means: the one place that knows them all. A command hands the one it means to what is below."""

from __future__ import annotations

import shutil
from collections.abc import Mapping

from sharedenv.cluster.arrays import list_arrays
from sharedenv.cluster.grid_engine import GRID_ENGINE
from sharedenv.cluster.scheduler import SLURM, Scheduler
from sharedenv.cluster.submissions import list_submissions
from sharedenv.errors import EXIT_USAGE, SharedenvError
from sharedenv.run.journal.run import Run
from sharedenv.run.listing import is_joinable

SCHEDULERS: Mapping[str, Scheduler] = {scheduler.key: scheduler for scheduler in (SLURM, GRID_ENGINE)}


def scheduler_here(asked: str | None, environ: Mapping[str, str]) -> Scheduler:
    """The scheduler of this key, or the one whose commands are on PATH; Slurm where there are both, or none. Raises SharedenvError."""
    if asked is not None:
        return SCHEDULERS[asked]
    path = environ.get("PATH")
    if shutil.which("sbatch", path=path) or not shutil.which("qsub", path=path):
        return SLURM
    if shutil.which("qconf", path=path):
        return GRID_ENGINE
    raise SharedenvError(
        "there is neither Slurm nor Grid Engine here, only another one's qsub",
        cause="no sbatch and no qconf on PATH",
        hint="sharedenv help join, for an array of workers on any scheduler",
        exit_code=EXIT_USAGE,
    )


def was_planned(run: Run) -> bool:
    """Whether a run was made for workers, and not for the tasks of an array alone."""
    return is_joinable(run) and not list_arrays(run.path)


def scheduler_of(run: Run, asked: str | None, environ: Mapping[str, str]) -> Scheduler:
    """The scheduler that a run was given to, or, for one that workers may join, is to be given to. Raises SharedenvError where another is
    asked than has it.
    """
    submissions = list_submissions(run.path)
    if not submissions and was_planned(run):
        return scheduler_here(asked, environ)
    key = submissions[-1].scheduler if submissions else SLURM.key
    if asked not in (None, key) or key not in SCHEDULERS:
        hint = f"sharedenv status {run.id}"
        raise SharedenvError(f"run {run.id} goes on with the scheduler that it was given to: {key}", hint=hint)
    return SCHEDULERS[key]
