"""What Slurm still has to do for a pool's runs: environments that prune must leave."""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from dataclasses import replace

from sharedenv.cluster import slurm
from sharedenv.cluster.arrays import Array, is_being_submitted, list_arrays
from sharedenv.errors import SharedenvError

FORGOTTEN = 60 * 86400.0  #: seconds after which a submission that Slurm can't be asked about counts as over: no queue is that long


def keys_in_queue(runs: Sequence[tuple[str, str]], environ: Mapping[str, str]) -> dict[str, str]:
    """Keys that submitted cases need, each with words for the user that name its run. ``runs``: name and path of each.

    One question to squeue for all of them. Where it can't be asked, or is another cluster's, every submission of the last two months
    counts: doubt means keep.
    """
    arrays = [(run, array) for run, path in runs for array in list_arrays(path)]
    if not arrays:
        return {}
    try:
        arrays = [(run, with_job(array, environ)) for run, array in arrays]
        tasks = slurm.tasks({job: script for _, array in arrays for job, script in array.jobs.items()}, environ)
        strange = elsewhere([array for _, array in arrays], tasks, environ)
    except SharedenvError:
        kept = [
            (f"run {run} may need it: Slurm can't be asked whether it is over", array)
            for run, array in arrays if time.time() - array.created < FORGOTTEN
        ]  # fmt: skip
    else:
        live = {task.job for task in tasks if task.live}
        # one without a job is being submitted right now
        kept = [(needed_by(run), array) for run, array in arrays if array.job in live or array.path in strange or _begins(array)]
    return {key: why for why, array in kept for key in array.keys}


def needed_by(run: str) -> str:
    """Why an environment stays that an unfinished run needs, in words for the user."""
    return f"run {run}, not finished, needs it"


def jobs_in_queue(runs: Sequence[str], environ: Mapping[str, str], patience: float = slurm.PATIENCE) -> dict[str, str]:
    """The job that still has to run cases of each run that has one, by the run's path.

    One question to squeue for all of them, which has ``patience`` seconds for its answer. Raises SharedenvError when there is none.
    """
    found = [(run, with_job(array, environ, patience)) for run in runs for array in list_arrays(run)]
    tasks = slurm.tasks({array.job: array.script for _, array in found if array.job}, environ, patience)
    run_of = {array.job: run for run, array in found}
    return {run_of[task.job]: task.job for task in tasks if task.live}


def elsewhere(arrays: Sequence[Array], tasks: Sequence[slurm.SlurmTask], environ: Mapping[str, str]) -> dict[str, str]:
    """The arrays of which this cluster can't tell: path → who has it, in words for the user. ``tasks``: what this one knows of them.

    One that was submitted two months ago is over.
    """
    known = {task.job for task in tasks}
    unknown = [array for array in arrays if array.cluster and array.job not in known and time.time() - array.created < FORGOTTEN]
    here = slurm.name(environ) if unknown else ""
    strange = {array.path: f"it was submitted to cluster {array.cluster}" for array in unknown if here and array.cluster != here}
    return {**strange, **{array.path: "it is being submitted" for array in arrays if is_being_submitted(array)}}


def with_job(array: Array, environ: Mapping[str, str], patience: float = slurm.PATIENCE) -> Array:
    """The array with its job where sbatch's answer got lost and Slurm knows of it; else as it is. Raises SharedenvError."""
    if array.job or (job := slurm.find(array.script, environ, patience)) is None:
        return array
    return replace(array, job=job)


def _begins(array: Array) -> bool:
    return not array.job and time.time() - array.created < 300
