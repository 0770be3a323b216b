"""What one task of an array has to do: its cases that have not ended yet, and their environments, looked up and never built."""

from __future__ import annotations

import functools
import os
import signal
from collections.abc import Callable, Collection, Iterable, Mapping
from dataclasses import replace

from sharedenv.cluster.arrays import Array, How, writer_of
from sharedenv.cluster.restart import restarts_of
from sharedenv.cluster.workers import results_of
from sharedenv.errors import EXIT_USAGE, SharedenvError
from sharedenv.pool.first_on_path import first_on_path
from sharedenv.pool.layout import Layout
from sharedenv.run.case import Case
from sharedenv.run.edited import edited_digest
from sharedenv.run.journal.run import Run
from sharedenv.run.starter import Prepared
from sharedenv.run.variables import case_variables
from sharedenv.start.access import Vanished, as_built, enter, noted_versions, published
from sharedenv.start.staged import path_to_use
from sharedenv.start.trust import environment_fault
from sharedenv.values import frozen


@frozen
class Assignment:
    """The work of one start of one task.

    writer  under which it writes results
    cases   what is left of its share, with the keys of the array and the scripts' digests as of now
    ended   how many of its share an earlier start has brought to an end
    edited  those of the cases whose scripts have changed since the array was made
    """

    array: Array
    task: int
    writer: str
    cases: tuple[Case, ...]
    ended: int
    edited: tuple[Case, ...] = ()


def assignment(run: Run, array: Array, environ: Mapping[str, str], held: Collection[int] = ()) -> Assignment:
    """The work of the task that Slurm's variables name. ``held``: sequences that an earlier start of it still runs.

    Raises SharedenvError where they name none of this array.
    """
    text = environ.get("SLURM_ARRAY_TASK_ID", "")
    # the number itself, not its position: a part of an array that somebody submits again by hand has its own cases
    if not text.isdigit() or not 1 <= int(text) <= array.tasks:
        raise SharedenvError(
            f"this is no task of array {array.number} of run {run.id}",
            cause=f"SLURM_ARRAY_TASK_ID is {text or 'not set'}, and its tasks are 1 to {array.tasks}",
            hint=f"sharedenv status {run.id}",
            exit_code=EXIT_USAGE,
        )
    task = int(text)
    share = {planned.sequence: planned for planned in array.share(task) if planned.sequence not in held}
    ended = {
        result.sequence
        for result in results_of(run.results_by_writer(), array.number, task)
        # what TERM or KILL ended in a start that was cut short was most likely ended with it
        if not result.interrupted and result.signal not in (signal.SIGTERM, signal.SIGKILL)
    }
    cases = {case.sequence: case for case in run.cases()}
    planned = [
        replace(cases[sequence], key=one.key, digest=one.digest)
        for sequence, one in share.items()  # in the order of the array
        if sequence in cases and sequence not in ended
    ]
    since = array.created
    digests = {case.sequence: digest for case in planned if (digest := edited_digest(case, since))}
    left = tuple(replace(case, digest=digests.get(case.sequence, case.digest)) for case in planned)
    edited = tuple(case for case in left if case.sequence in digests)
    restarts = restarts_of(environ)
    return Assignment(array, task, writer_of(array, task, restarts), left, len(share) - len(left), edited)


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
        variables = case_variables(environ, path, entries, threads)
        ready[key] = Prepared(os.path.join(path, "bin", "python"), variables, (descriptor,), os.path.basename(environment), versions)
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
