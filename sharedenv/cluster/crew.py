"""Who was started alike with this process: the tasks of an array job (Slurm, PBS, LSF, SGE), or those of a step of Slurm's `srun`.

All that is known of schedulers' variables is here. None of them says for certain which place a task has in its array: PBS tells no
task how many there are, a list with gaps has no step, a late task no start. So nothing here asks for a place.
"""

from __future__ import annotations

import re
from collections.abc import Mapping

from sharedenv.errors import EXIT_USAGE, SharedenvError
from sharedenv.values import frozen

#: what each case is told of its run: what it calls is nested, and no worker of that run
NESTED = "SHAREDENV_CASE_RUN"


@frozen
class _Scheduler:
    """The variables by which a scheduler tells the task of an array.

    number  marks a task of an array, and numbers it
    single  the value of ``number`` in other jobs
    job     names the array's job
    where   together they tell one cluster from another
    """

    name: str
    number: str
    single: str
    job: str
    where: tuple[str, ...]


_SCHEDULERS = (
    _Scheduler("slurm", "SLURM_ARRAY_TASK_ID", "", "SLURM_ARRAY_JOB_ID", ("SLURM_CLUSTER_NAME",)),
    _Scheduler("lsf", "LSB_JOBINDEX", "0", "LSB_JOBID", ("LSF_ENVDIR",)),
    _Scheduler("sge", "SGE_TASK_ID", "undefined", "JOB_ID", ("SGE_CLUSTER_NAME", "SGE_ROOT", "SGE_CELL")),
    _Scheduler("pbs", "PBS_ARRAY_INDEX", "", "PBS_JOBID", ()),
    _Scheduler("pbs", "PBS_ARRAYID", "", "PBS_JOBID", ()),  # Torque
)


@frozen
class Crew:
    """The tasks that were started alike with this process.

    cluster  tells it from others whose jobs have the same numbers; "" where nothing says so. PBS has its server in ``job``
    job      the number of the array's job, or that of the step: 4711.0
    task     which of them this process is, the same when it is started again
    array    they are tasks of an array, which may come and go one by one; else those of a step, which start together
    """

    scheduler: str
    cluster: str
    job: str
    task: str
    array: bool

    @property
    def text(self) -> str:
        """In words."""
        return f"{'array' if self.array else 'step'} {self.job}"

    def record(self) -> dict[str, str]:
        """For a JSON record: what all its tasks have in common."""
        return {"scheduler": self.scheduler, "cluster": self.cluster, "job": self.job}


def crew_of(environ: Mapping[str, str], *, array: bool) -> Crew | None:
    """The crew of this process; None for one that is on its own, nested calls among them.

    ``array``: the user says that there is one, so the tasks of an array are meant. Raises SharedenvError where there is none then.
    """
    if environ.get(NESTED):
        return None
    found = (_array(environ) if array else None) or _step(environ)
    if found is None and array:
        raise SharedenvError(
            "this is no task of an array job",
            cause="none of " + ", ".join(scheduler.number for scheduler in _SCHEDULERS) + " is set",
            hint="sharedenv run 'case*/script.py', without --array, runs them all here",
            exit_code=EXIT_USAGE,
        )
    return found


def array_name(environ: Mapping[str, str]) -> str:
    """What all tasks of this array have in common: the scheduler's number of its job; "" in none."""
    scheduler = _scheduler(environ)
    return "" if scheduler is None else _job(environ, scheduler)


def worker_tag(environ: Mapping[str, str]) -> str:
    """What tells the task of an array in the name of a worker (`task_in_name`): by it a scheduler can be asked whether that is dead.

    "" in no task, and in one of an array whose numbers are more than numbers.
    """
    scheduler = _scheduler(environ)
    found = (_job(environ, scheduler), environ[scheduler.number], _restarts(environ)) if scheduler is not None else ()
    return "j{}t{}r{}x".format(*found) if found and all(part.isascii() and part.isdigit() for part in found) else ""


def task_in_name(writer: str) -> tuple[str, int, int] | None:
    """Job, task and restarts of a worker whose name has such a tag; None of any other."""
    found = re.fullmatch(r"worker\.j(\d+)t(\d+)r(\d+)x\w*", writer, re.ASCII)
    return None if found is None else (found[1], int(found[2]), int(found[3]))


def _restarts(environ: Mapping[str, str]) -> str:
    return environ.get("SLURM_RESTART_COUNT") or environ.get("RESTARTED") or "0"


def _scheduler(environ: Mapping[str, str]) -> _Scheduler | None:
    return next((one for one in _SCHEDULERS if environ.get(one.number, one.single) != one.single), None)


def _job(environ: Mapping[str, str], scheduler: _Scheduler) -> str:
    name, _, index = environ.get(scheduler.job, "").partition("[")  # 4711[3].server: PBS has the task's number in it
    name, number = name + index.partition("]")[2], environ[scheduler.number]
    return name.replace(f"-{number}.", ".", 1) if scheduler.number == "PBS_ARRAYID" else name  # 4711-3.server: an old Torque


def _array(environ: Mapping[str, str]) -> Crew | None:
    scheduler = _scheduler(environ)
    if scheduler is None:
        return None
    _require(environ, scheduler.number, scheduler.job)
    place = _place(environ)
    task = environ[scheduler.number] + (f".{place}" if place else "")
    where = ":".join(filter(None, (environ.get(name, "") for name in scheduler.where)))
    return Crew(scheduler.name, where, _job(environ, scheduler), task, array=True)


def _step(environ: Mapping[str, str]) -> Crew | None:
    place = _place(environ)
    if not place:
        return None
    _require(environ, "SLURM_PROCID", "SLURM_JOB_ID", "SLURM_STEP_ID")
    job = f"{environ['SLURM_JOB_ID']}.{environ['SLURM_STEP_ID']}"
    return Crew("slurm", environ.get("SLURM_CLUSTER_NAME", ""), job, place, array=False)


def _place(environ: Mapping[str, str]) -> str:
    """Which task of a step of several (`srun -n4`, `#SBATCH --ntasks=4`) this is; "" in any other."""
    return environ.get("SLURM_PROCID", "") if environ.get("SLURM_STEP_NUM_TASKS", "1") not in ("", "0", "1") else ""


def _require(environ: Mapping[str, str], mark: str, *names: str) -> None:
    """Raises SharedenvError where variables are missing: what has no number would be taken for one thing with all that has none."""
    if missing := [name for name in names if not environ.get(name)]:
        raise SharedenvError(
            f"can't tell which job this task belongs to: {mark} is set, and {missing[0]} is not",
            hint=f"export {missing[0]}, or unset {mark}",
            exit_code=EXIT_USAGE,
        )


def submitted(crew: Crew, environ: Mapping[str, str]) -> float | None:
    """When its job was submitted, seconds since the epoch by the scheduler's clock; None where that can't be known."""
    job = crew.job.partition(".")[0]
    # of a task that was put back into the queue Slurm says when that was
    if crew.scheduler != "slurm" or not job.isdigit() or environ.get("SLURM_RESTART_COUNT", "0") != "0":
        return None
    from sharedenv.cluster import slurm  # noqa: PLC0415 - nearly all tasks know without asking

    return slurm.submitted(job, environ)
