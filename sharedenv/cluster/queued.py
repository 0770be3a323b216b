"""What Slurm still has to do for a pool's runs: environments that prune must leave."""

from __future__ import annotations

import math
import os
import time
from collections.abc import Mapping, Sequence
from dataclasses import replace

from sharedenv.cluster import slurm
from sharedenv.cluster.arrays import Array, busy, list_arrays
from sharedenv.errors import SharedenvError
from sharedenv.pool.owner import lives

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


def refuse_submitting(run: str) -> None:
    """Raises SharedenvError when a process is about to hand an array of the run at this path to Slurm."""
    for array in list_arrays(run):
        if is_being_submitted(array):
            raise busy(run, array.owner)


def is_being_submitted(array: Array) -> bool:
    """Whether a process is about to hand it to Slurm, or the sbatch of one that was killed."""
    if array.job:
        return False
    # on another machine nobody can ask for the process: sbatch tries for minutes
    if array.owner is not None and lives(array.owner, 0.0 if time.time() - array.created < 600 else math.inf):
        return True
    return any(_is_sbatch(number, array) for number in os.listdir("/proc") if number.isdigit()) if os.path.isdir("/proc") else False


def _is_sbatch(number: str, array: Array) -> bool:
    try:
        with open(f"/proc/{number}/cmdline", "rb") as file:
            words = file.read().split(b"\0")
    except OSError:
        return False
    return os.path.basename(words[0]) == b"sbatch" and any(os.fsencode(script) in words for script in (array.script, array.build_script))
