"""The arrays of workers that a scheduler was given for a run: `runs/<run-id>/jobs/<n>/`, one folder a submission.

    job.sh            the job script
    job.json          which scheduler has it, as what, and how many tasks
    <job>.<task>.out  what a task prints

The tasks hold no cases: each joins the run. So nothing is lost with a submission, and one more does no harm.
"""

from __future__ import annotations

import json
import os
import shutil
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import field, replace
from typing import Any

from sharedenv.cluster.qsub import job_name
from sharedenv.cluster.sbatch import Job, SbatchOptions
from sharedenv.cluster.scheduler import Scheduler, Task, Unclear
from sharedenv.errors import EXIT_FAILED, SharedenvError
from sharedenv.pool.files import FOLDER, make_folders, private
from sharedenv.run.journal.run import Run, write_to_disk
from sharedenv.start.regular import MOST, read_regular
from sharedenv.values import frozen

_FOLDER = "jobs"


@frozen
class Submission:
    """An array that a scheduler was given.

    path       its folder, absolute
    scheduler  its key
    tasks      how many
    job        the id it was given, "" where that is not known
    """

    path: str
    scheduler: str
    tasks: int
    job: str = ""

    @property
    def script(self) -> str:
        """Path of its job script."""
        return os.path.join(self.path, "job.sh")

    @property
    def created(self) -> float:
        """When it was made, seconds since the epoch. Raises OSError."""
        return os.stat(os.path.join(self.path, "job.json")).st_mtime


@frozen
class Order:
    """What the user asks of a submission: how many tasks, of which no more than ``max_running`` at once (None: no limit of ours), and
    from which folder (absolute).
    """

    options: SbatchOptions
    tasks: int
    start: str
    max_running: int | None = None


@frozen
class Stuck:
    """Tasks (their numbers) that don't go on by themselves for one reason, and a command that helps once that is mended."""

    job: str
    tasks: tuple[int, ...]
    reason: str
    remedy: str


@frozen
class QueueStanding:
    """Where an array stands in its queue.

    waiting, running  how many of its tasks
    trouble           why the scheduler could not be asked, "" when it answered
    tasks             the numbers of those
    ended             of tasks whose workers died without a word: what the accounting says of it, and their numbers
    """

    submission: Submission
    waiting: int = 0
    running: int = 0
    stuck: tuple[Stuck, ...] = ()
    trouble: str = ""
    tasks: frozenset[int] = frozenset()
    ended: Mapping[str, tuple[int, ...]] = field(default_factory=dict)

    @property
    def live(self) -> bool:
        """Whether anything of it waits or runs, or may: not of one that no scheduler is known to have taken."""
        return bool(self.waiting or self.running or (self.trouble and self.submission.job))


def list_submissions(run: str) -> list[Submission]:
    """Every submission of the run at this path, oldest first; what can't be read is passed over."""
    found = []
    for number in sorted(_numbers(run)):
        path = os.path.join(run, _FOLDER, str(number))
        try:
            record = json.loads(read_regular(os.path.join(path, "job.json"), MOST))
            found.append(Submission(path, str(record["scheduler"]), int(record["tasks"]), str(record["job"])))
        except (OSError, ValueError, KeyError, TypeError):
            continue
    return found


def hand_in(
    run: Run,
    scheduler: Scheduler,
    command: tuple[str, ...],
    order: Order,
    environ: Mapping[str, str],
    tell: Callable[[str], None] | None = None,
) -> Submission:
    """Submits an array whose tasks each become ``command``.

    Raises SharedenvError; then nothing is in the queue, and nothing of it on disk. But Unclear: then all stays as the job needs it.
    """
    try:
        submission = _create(run.path, scheduler.key, order.tasks)
        try:
            job = array_job(submission.path, command, order)
            with open(submission.script, "wb", opener=private) as file:
                file.write(os.fsencode(scheduler.script_text(job)))
            identity = scheduler.submit(submission.script, scheduler.arguments(job), environ, order.start, tell)
        except Unclear as error:
            error.hint = scheduler.queue_command
            raise
        except BaseException:
            shutil.rmtree(submission.path, ignore_errors=True)
            raise
        _note(submission.path, submission.scheduler, submission.tasks, identity)
        return replace(submission, job=identity)
    except OSError as error:
        cause = f"{error.strerror}: {error.filename}"
        raise SharedenvError(f"can't write run {run.id}", cause=cause, hint="df -h -i .", exit_code=EXIT_FAILED) from None


def array_job(path: str, command: tuple[str, ...], order: Order) -> Job:
    """The job of a submission at this path. Pure."""
    name = job_name(os.path.join(path, "job.sh"))
    return Job(name, path, order.start, command, order.options, order.tasks, order.max_running)


def next_path(run: str) -> str:
    """The folder of the next submission of the run at this path."""
    return os.path.join(run, _FOLDER, str(max(_numbers(run), default=0) + 1))


def standings(
    submissions: Iterable[Submission], schedulers: Mapping[str, Scheduler], environ: Mapping[str, str], patience: float
) -> list[QueueStanding]:
    """Where each of them stands; ``schedulers``: by key, each asked once. One that doesn't answer is no error: see ``trouble``."""
    given: dict[str, list[Submission]] = {}
    for each in submissions:
        given.setdefault(each.scheduler, []).append(each)
    found: list[QueueStanding] = []
    for key, some in given.items():
        scheduler = schedulers.get(key)
        if scheduler is None:
            found += [QueueStanding(each, trouble=f"this version knows no scheduler {key}") for each in some]
            continue
        try:
            found += _standings(some, scheduler, environ, patience)
        except SharedenvError as error:
            found += [QueueStanding(each, trouble=error.cause or error.message) for each in some]
    return found


def _standings(submissions: Iterable[Submission], scheduler: Scheduler, environ: Mapping[str, str], patience: float) -> list[QueueStanding]:
    known = [_found(each, scheduler, environ, patience) for each in submissions]
    tasks = scheduler.tasks({each.job: each.script for each in known if each.job}, environ, patience)
    return [_standing(each, [task for task in tasks if task.job == each.job and task.live], scheduler) for each in known]


def _standing(submission: Submission, tasks: Sequence[Task], scheduler: Scheduler) -> QueueStanding:
    """``tasks``: those of it that are live."""
    if not submission.job:  # its process may be waiting for the answer
        return QueueStanding(submission, trouble="it is being submitted" if time.time() - submission.created < 300 else "")
    stuck: dict[str, list[Task]] = {}
    for task in tasks:
        if task.stuck:
            stuck.setdefault(task.reason, []).append(task)
    told = tuple(
        Stuck(submission.job, tuple(task.index or 1 for task in found), reason, scheduler.remedy(found[0]))
        for reason, found in stuck.items()
    )
    numbers = frozenset(task.index or 1 for task in tasks)
    return QueueStanding(submission, sum(task.waiting for task in tasks), sum(task.running for task in tasks), told, "", numbers)


def _found(submission: Submission, scheduler: Scheduler, environ: Mapping[str, str], patience: float) -> Submission:
    """With its job, where the answer to its submission got lost and the scheduler knows of it."""
    if submission.job or (job := scheduler.find(submission.script, environ, patience)) is None:
        return submission
    return replace(submission, job=job)


def _create(run: str, scheduler: str, tasks: int) -> Submission:
    make_folders(os.path.join(run, _FOLDER))
    while True:
        path = next_path(run)
        try:
            os.mkdir(path, FOLDER)
        except FileExistsError:
            continue  # another submission was faster
        _note(path, scheduler, tasks, "")
        return Submission(path, scheduler, tasks)


def _note(path: str, scheduler: str, tasks: int, job: str) -> None:
    record: dict[str, Any] = {"scheduler": scheduler, "job": job, "tasks": tasks}
    name = os.path.join(path, "job.json")
    write_to_disk(f"{name}.new", [json.dumps(record).encode()])
    os.rename(f"{name}.new", name)


def _numbers(run: str) -> list[int]:
    try:
        return [int(name) for name in os.listdir(os.path.join(run, _FOLDER)) if name.isdigit()]
    except FileNotFoundError:
        return []
