"""How many scripts run at a time where the user doesn't say."""

from __future__ import annotations

import os
from collections.abc import Mapping

from sharedenv.run.node import beside


def default_jobs(environ: Mapping[str, str]) -> int:
    """SLURM_CPUS_PER_TASK, Grid Engine's NSLOTS, or the CPUs that this process may use: in a job no more than the job has here, for each
    of a step's tasks.
    """
    if (given := _number(environ, "SLURM_CPUS_PER_TASK")) is not None:
        return given
    if "SGE_TASK_ID" in environ and (given := _number(environ, "NSLOTS")) is not None:
        return given
    try:
        here = len(os.sched_getaffinity(0))
    except AttributeError:  # macOS
        here = os.cpu_count() or 1
    # not every cluster binds a job to its CPUs
    if "SLURM_JOB_ID" not in environ or (ours := _number(environ, "SLURM_CPUS_ON_NODE")) is None:
        return here
    return min(here, max(1, ours // beside(environ)))


def _number(environ: Mapping[str, str], name: str) -> int | None:
    """A variable that holds a number above 0; None for anything else."""
    given = environ.get(name, "")
    return int(given) if given.isascii() and given.isdigit() and int(given) > 0 else None
