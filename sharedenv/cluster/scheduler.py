"""What is asked of a cluster's scheduler: one protocol. Slurm is the first that speaks it (SLURM), Grid Engine the second (grid_engine).

Which one a command means is decided in cli/; nothing below knows but what it is handed.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Protocol

from sharedenv.cluster import sbatch, slurm
from sharedenv.cluster.sbatch import Job, SbatchOptions
from sharedenv.cluster.task import restarts_of


class Task(Protocol):
    """One task of a job as its scheduler describes it: of which ``job``, its ``index`` there (None for a job that is no array), on which
    ``node`` (""; before it began), and the ``reason``, in the scheduler's words, why it stands as it does.
    """

    @property
    def job(self) -> str: ...
    @property
    def index(self) -> int | None: ...
    @property
    def node(self) -> str: ...
    @property
    def reason(self) -> str: ...

    @property
    def waiting(self) -> bool:
        """Whether it will be started."""

    @property
    def running(self) -> bool:
        """Whether it has been started and has not ended."""

    @property
    def live(self) -> bool:
        """Whether the scheduler still has to run it, or runs it."""

    @property
    def stuck(self) -> bool:
        """Whether it won't go on by itself, for its ``reason``."""

    @property
    def ending(self) -> str:
        """How it ended, in words for the user, said of a case."""


class Scheduler(Protocol):
    """A scheduler that can be asked from here; its commands are found by the ``environ`` that each call is given.

    All calls that ask it raise SharedenvError where it doesn't answer, or not within ``patience`` seconds.
    """

    @property
    def key(self) -> str:
        """Its name in records, and for --scheduler."""

    @property
    def title(self) -> str:
        """Its name in messages."""

    @property
    def queue_command(self) -> str:
        """What shows a user his own jobs."""

    def submit(
        self, script: str, arguments: Sequence[str], environ: Mapping[str, str], cwd: str, tell: Callable[[str], None] | None = None, /
    ) -> str:
        """Hands a job script in and returns the job's id. Raises SharedenvError, Unclear where it can't be told what became of it."""

    def find(self, script: str, environ: Mapping[str, str], patience: float = slurm.PATIENCE, /) -> str | None:
        """The id of the job that this script was submitted as; None where it knows of none."""

    def tasks(self, jobs: Mapping[str, str], environ: Mapping[str, str], patience: float = slurm.PATIENCE, /) -> Sequence[Task]:
        """Every task of these jobs (id → path of the job script) that it still knows."""

    def accounts(self, jobs: Sequence[str], environ: Mapping[str, str], /) -> Sequence[Task]:
        """What its accounting remembers of these jobs: () where there is none, or none that answers soon."""

    def remedy(self, task: Task, /) -> str:
        """A command that lets a task go on that is stuck, once what held it is mended."""

    def cancel(self, jobs: Sequence[str], environ: Mapping[str, str], /) -> None:
        """Cancels these jobs with all their tasks; those that have ended already are passed over."""

    def completed(self, options: SbatchOptions, environ: Mapping[str, str], /) -> SbatchOptions:
        """The same options, with what only the site can tell how to ask for. Raises SharedenvError for what can't be asked for."""

    def largest_array(self, environ: Mapping[str, str], /) -> int:
        """The most tasks that an array numbered from 1 may have."""

    def count_cpus(self, partition: str | None, environ: Mapping[str, str], /) -> int | None:
        """CPUs that a partition has in service (None: whatever jobs get without naming one); None where it can't say."""

    def name(self, environ: Mapping[str, str], /) -> str:
        """What tells this cluster from others; "" where it can't say."""

    def task_number(self, environ: Mapping[str, str], /) -> int | None:
        """The number of the array task that this process is in; None in no such task."""

    def restarts(self, environ: Mapping[str, str], /) -> int:
        """How often the task that this process is in was started anew."""

    def arguments(self, job: Job, /) -> tuple[str, ...]:
        """Options for its command line, each one word. Pure. Raises SharedenvError for what it has no option for."""

    def script_text(self, job: Job, /) -> str:
        """The job script. Pure. Raises SharedenvError for what it has no option for."""

    def log_path(self, job: Job, identity: str, /) -> str:
        """Path of what the tasks of the job of this id print, with ``*`` for what differs from task to task. Pure."""


Unclear = slurm.Unclear


class Slurm:
    """Slurm (`Scheduler`)."""

    key = "slurm"
    title = "Slurm"
    queue_command = "squeue --me"

    submit = staticmethod(slurm.submit)
    find = staticmethod(slurm.find)
    tasks = staticmethod(slurm.tasks)
    accounts = staticmethod(slurm.accounts)
    cancel = staticmethod(slurm.cancel)
    largest_array = staticmethod(slurm.largest_array)
    count_cpus = staticmethod(slurm.count_cpus)
    name = staticmethod(slurm.name)
    restarts = staticmethod(restarts_of)
    arguments = staticmethod(sbatch.arguments)
    script_text = staticmethod(sbatch.script_text)
    log_path = staticmethod(sbatch.log_path)

    def completed(self, options: SbatchOptions, _environ: Mapping[str, str]) -> SbatchOptions:
        """As they are: Slurm's words are the same everywhere."""
        return options

    def remedy(self, task: Task) -> str:
        """None but to take it from the queue."""
        return f"scancel {task.job}"

    def task_number(self, environ: Mapping[str, str]) -> int | None:
        """By SLURM_ARRAY_TASK_ID."""
        number = environ.get("SLURM_ARRAY_TASK_ID", "")
        return int(number) if number.isdigit() else None


SLURM: Scheduler = Slurm()
