"""What one task of an array is: its number, its CPUs, and its environments, looked up and never built."""

from __future__ import annotations

import functools
import os
from collections.abc import Callable, Iterable, Mapping

from sharedenv.cluster.arrays import Array, How
from sharedenv.errors import EXIT_USAGE, SharedenvError
from sharedenv.pool.first_on_path import first_on_path
from sharedenv.pool.layout import Layout
from sharedenv.run.journal.run import Run
from sharedenv.run.starter import Prepared
from sharedenv.run.variables import case_variables
from sharedenv.start.access import Vanished, as_built, enter, noted_versions, published
from sharedenv.start.staged import path_to_use
from sharedenv.start.trust import environment_fault


def task_number(run: Run, array: Array, environ: Mapping[str, str]) -> int:
    """The task of an array that Slurm's variables name. Raises SharedenvError where they name none of this array."""
    text = environ.get("SLURM_ARRAY_TASK_ID", "")
    # the number itself, not its position: somebody may submit a part of an array again by hand
    if not text.isdigit() or not 1 <= int(text) <= array.tasks:
        raise SharedenvError(
            f"this is no task of array {array.number} of run {run.id}",
            cause=f"SLURM_ARRAY_TASK_ID is {text or 'not set'}, and its tasks are 1 to {array.tasks}",
            hint=f"sharedenv status {run.id}",
            exit_code=EXIT_USAGE,
        )
    return int(text)


def restarts_of(environ: Mapping[str, str]) -> int:
    """How often Slurm has started this task anew."""
    return int(environ.get("SLURM_RESTART_COUNT") or 0)


def ends_at(environ: Mapping[str, str]) -> float | None:
    """When the time limit of this job ends it, seconds since the epoch; None where Slurm doesn't say."""
    text = environ.get("SLURM_JOB_END_TIME", "")
    return float(text) if text.isdigit() and text != "0" else None


def cpus_asked(how: How, environ: Mapping[str, str]) -> int:
    """How many CPUs a task was given that somebody asked for. Slurm may give whole cores, which have several, and memory for one."""
    if asked := environ.get("SLURM_CPUS_PER_TASK"):
        return int(asked)
    if "SLURM_NTASKS" in environ:
        here, _, _ = (environ.get("SLURM_TASKS_PER_NODE") or "1").partition(",")  # "4(x2),3": the script is on the first node
        return int(here.partition("(")[0])
    given = int(environ.get("SLURM_CPUS_ON_NODE") or 1)
    return given if given > how.core else 1  # more than a core by --exclusive, or for a GPU


def prepare_all(
    layout: Layout,
    run: Run,
    sets: Mapping[str, str],
    keys: Iterable[str],
    environ: Mapping[str, str],
    threads: int | None,
    launcher: tuple[str, ...],
    stage: Callable[[str], str] | None,
    tell: Callable[[str], None],
) -> dict[str, Prepared]:
    """The environments of these keys with the run's sets of versions, held; ``sets``: those that the array names.

    ``stage`` gives, for one's path, that of a copy; ``tell``: see first_on_path. Raises SharedenvError, OSError.
    """
    ready = {}
    for key in keys:
        environment, descriptor, versions = _entered(layout, run, key, sets.get(key))
        path = path_to_use(environment, environ) if stage is None else stage(environment)
        entries = first_on_path(descriptor, environment, path, environ, tell)
        variables = case_variables(environ, path, entries, threads, run.id)
        python, name = os.path.join(path, "bin", "python"), os.path.basename(environment)
        ready[key] = Prepared(python, variables, (descriptor,), name, versions, launcher)
    return ready


def _entered(layout: Layout, run: Run, key: str, digest: str | None) -> tuple[str, int, str]:
    """Path, held descriptor and set of versions of a key's environment: of this set, where one is named. Raises SharedenvError."""
    path = published(layout.path, key) if digest else None
    if path is not None:
        try:
            descriptor = enter(layout.path, path, functools.partial(published, layout.path, key))
        except Vanished:
            pass
        else:
            manifest = as_built(descriptor, path, key)
            fits = manifest is not None and noted_versions(manifest) == digest
            if fits and environment_fault(os.stat(layout.path), path, os.environ) is None:
                return path, descriptor, digest or ""
            os.close(descriptor)
    from sharedenv.cluster.other_set import enter_fitting  # noqa: PLC0415 - a task that finds what it was planned with does without packaging

    environment, descriptor, versions = enter_fitting(layout, run, key, digest)
    return environment.path, descriptor, versions
