"""Arrays as older versions submitted them, which may wait in queues for months: each task has a share of the cases, fixed when the
array was made, and keeps to it. Nothing new is made so: tasks claim their cases now (run/claims).

What only they need is here, in restart.py and in cli/task.py, which their job scripts name. See tests/cluster/test_old_jobs.py.
"""

from __future__ import annotations

import signal
from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import replace

from sharedenv.cluster.arrays import Array, Planned, task_of
from sharedenv.cluster.share import Share, take
from sharedenv.cluster.task import restarts_of, task_number
from sharedenv.run.case import Case, Result
from sharedenv.run.edited import edited_digest
from sharedenv.run.journal.run import Run
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


def share_of_task(array: Array, task: int) -> Sequence[Planned]:
    """The cases of one task, numbered from 1."""
    return take(array.cases, Share(task - 1, array.tasks))


def static_writer(number: int, task: int, restarts: int) -> str:
    """Name under which such a task writes results. Slurm sees to it that one instance of it runs; a requeued one is another writer."""
    return f"{number}-{task}" + (f"r{restarts}" if restarts else "")


def assignment(run: Run, array: Array, environ: Mapping[str, str], held: Collection[int] = ()) -> Assignment:
    """The work of the task that Slurm's variables name. ``held``: sequences that an earlier start of it still runs.

    Raises SharedenvError where they name none of this array.
    """
    task = task_number(run, array, environ)
    share = {planned.sequence: planned for planned in share_of_task(array, task) if planned.sequence not in held}
    ended = {
        result.sequence
        for result in results_of(run.results_by_writer(), array.number, task)
        # what TERM or KILL ended in a start that was cut short was most likely ended with it
        if not result.interrupted and result.signal not in (signal.SIGTERM, signal.SIGKILL)
    }
    planned = [
        replace(case, key=share[case.sequence].key, digest=share[case.sequence].digest)
        for case in run.cases()
        if case.sequence in share and case.sequence not in ended
    ]
    since = array.created
    digests = {case.sequence: digest for case in planned if (digest := edited_digest(case, since))}
    cases = tuple(replace(case, digest=digests.get(case.sequence, case.digest)) for case in planned)
    edited = tuple(case for case in cases if case.sequence in digests)
    restarts = restarts_of(environ)
    return Assignment(array, task, static_writer(array.number, task, restarts), cases, len(share) - len(cases), edited)


def results_of(results: Mapping[str, Mapping[int, Result]], array: int, task: int) -> Iterator[Result]:
    """The results of every start of one task, the last of each. ``results``: by writer and sequence."""
    for writer, ended in results.items():
        if (found := task_of(writer)) is not None and found[:2] == (array, task):
            yield from ended.values()
