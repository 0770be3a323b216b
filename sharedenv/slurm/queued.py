"""What Slurm still has to do for a pool's runs: environments that prune must leave."""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from dataclasses import replace

from sharedenv.errors import SharedenvError
from sharedenv.slurm import cluster
from sharedenv.slurm.arrays import Array, list_arrays

FORGOTTEN = 60 * 86400.0  #: seconds after which a submission that Slurm can't be asked about counts as over: no queue is that long


def keys_in_queue(runs: Sequence[tuple[str, str]], environ: Mapping[str, str]) -> dict[str, str]:
    """Keys that submitted cases need, each with words for the user that name its run. ``runs``: name and path of each.

    One question to squeue for all of them. Where it can't be asked, every submission of the last two months counts: doubt
    means keep.
    """
    arrays = [(run, array) for run, path in runs for array in list_arrays(path)]
    if not arrays:
        return {}
    try:
        arrays = [(run, with_job(array, environ)) for run, array in arrays]
        tasks = cluster.tasks([array.job for _, array in arrays if array.job], environ)
    except SharedenvError:
        kept = [
            (f"run {run} may need it: Slurm can't be asked whether it is over", array)
            for run, array in arrays if time.time() - array.created < FORGOTTEN
        ]  # fmt: skip
    else:
        live = {task.job for task in tasks if task.live}
        # one without a job is being submitted right now
        kept = [(needed_by(run), array) for run, array in arrays if array.job in live or _begins(array)]
    return {case.key: why for why, array in kept for case in array.cases}


def needed_by(run: str) -> str:
    """Why an environment stays that an unfinished run needs, in words for the user."""
    return f"run {run}, not finished, needs it"


def job_in_queue(run: str, environ: Mapping[str, str]) -> str | None:
    """The job that still has to run cases of the run at this path, or None; None, too, where Slurm can't be asked."""
    try:
        return jobs_in_queue([run], environ).get(run)
    except SharedenvError:
        return None


def jobs_in_queue(runs: Sequence[str], environ: Mapping[str, str], patience: float = cluster.PATIENCE) -> dict[str, str]:
    """The job that still has to run cases of each run that has one, by the run's path.

    One question to squeue for all of them, which has ``patience`` seconds for its answer. Raises SharedenvError when there is none.
    """
    jobs = {found.job: run for run in runs for array in list_arrays(run) if (found := with_job(array, environ, patience)).job}
    tasks = cluster.tasks(list(jobs), environ, patience)
    return {jobs[task.job]: task.job for task in tasks if task.live and task.job in jobs}


def with_job(array: Array, environ: Mapping[str, str], patience: float = cluster.PATIENCE) -> Array:
    """The array with its job where sbatch's answer got lost and Slurm knows of it; else as it is. Raises SharedenvError."""
    if array.job or (job := cluster.find(array.script, environ, patience)) is None:
        return array
    return replace(array, job=job)


def _begins(array: Array) -> bool:
    return not array.job and time.time() - array.created < 300
