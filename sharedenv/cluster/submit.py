"""From the cases of a run to an array in Slurm's queue."""

from __future__ import annotations

import os
import shlex
import sys
from collections.abc import Callable, Mapping, Sequence
from dataclasses import field, replace

from sharedenv.cluster import slurm
from sharedenv.cluster.arrays import Array, How, create_array, discard_array, list_arrays, note_jobs
from sharedenv.cluster.packing import PACK, Limits, Packing, count_tasks
from sharedenv.cluster.queued import with_job
from sharedenv.cluster.rungs import Allowance, Rung
from sharedenv.cluster.sbatch import Job, SbatchOptions, arguments, grace_of, script_text
from sharedenv.errors import EXIT_FAILED, SharedenvError
from sharedenv.pool.files import private
from sharedenv.run.case import Case, CaseWork
from sharedenv.run.journal.run import Run
from sharedenv.values import frozen


@frozen
class ArrayOrder:
    """What the user asks of a submission.

    start        the folder it is made from, absolute
    max_running  tasks that may run at once, None for no limit of ours
    build        command of the job that builds first, which is given a list of scripts
    missing      scripts in that list, one for each environment; () when all is built
    sets         key → digest of the set of versions that the tasks take; of what is yet to be built, the first task tells
    known        seconds that cases took before
    ladder       the limits of the array and of those behind it, which go on with what it loses; () for an array by itself
    depends      what the array waits for, as sbatch's --dependency takes it
    """

    options: SbatchOptions
    packing: Packing
    how: How
    start: str
    max_running: int | None = None
    build: tuple[str, ...] = ()
    missing: tuple[str, ...] = ()
    sets: Mapping[str, str] = field(default_factory=dict)
    known: Mapping[CaseWork, float] = field(default_factory=dict)
    ladder: tuple[Allowance, ...] = ()
    depends: tuple[str, ...] = ()

    @property
    def width(self) -> int:
        """Cases at a time within a task."""
        return self.how.jobs or max(1, (self.options.cpus_per_task or 1) // (self.how.cpus_per_case or 1))


class RungRefused(slurm.Unclear):
    """A job behind the first was refused, which may be at work by then: the run has to stay."""


def plan_tasks(cases: int, order: ArrayOrder, environ: Mapping[str, str]) -> int:
    """How many tasks the cases get on this cluster. Raises SharedenvError."""
    partition = order.options.partition or environ.get("SBATCH_PARTITION")
    cpus = slurm.count_cpus(partition, environ)
    slots = None if cpus is None else max(1, cpus // (order.options.cpus_per_task or 1))
    if slots is not None and order.max_running is not None:
        slots = min(slots, order.max_running)
    return count_tasks(cases, order.width, order.packing, Limits(slots, slurm.largest_array(environ)))


def own_python(module: str, *words: str) -> tuple[str, ...]:
    """The argv that calls ``main`` of one of our modules in a job, with these words as its arguments.

    As in the command (console-script), no PYTHON* variable counts that a module or a line of --setup has set for another Python;
    the scripts do get them. Nor does the folder a job starts in, which may hold a package of our name. Where we are found by such
    a variable alone (`pip install --prefix`, `--target`), the path says where.
    """
    # -s: without the user's own packages, where we do without them
    flags = "-EPs" if sys.flags.no_user_site else "-EP"
    code = f"import sys; sys.path.append(sys.argv.pop(1)); import sharedenv.loader; from {module} import main; sys.exit(main())"
    packages = os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))
    return (sys.executable, flags, "-c", code, packages, *words)


def array_job(run_id: str, array: Array, order: ArrayOrder, after: str | None) -> Job:
    """The job of an array. Pure."""
    run = os.path.dirname(os.path.dirname(array.path))
    command = own_python("sharedenv.cli.worker", run, str(array.number))
    options = order.options
    if array.rung is not None:
        options = replace(options, memory=array.rung.limits.memory, time=array.rung.limits.time)
    return Job(f"sharedenv-{run_id}", array.path, order.start, command, options, array.tasks, order.max_running, after, order.depends)


def rung_at(number: int, first: int, order: ArrayOrder) -> Rung | None:
    """The rung of this number, from 1, of the arrays that begin with that of the number ``first``; None where there is one array."""
    if not order.ladder:
        return None
    limits = order.ladder[number - 1]
    return Rung(number, len(order.ladder), first, grace_of(replace(order.options, time=limits.time)), limits)


def build_job(run_id: str, array: Array, order: ArrayOrder) -> Job:
    """The job that builds before an array. Pure."""
    command = (*order.build, "--from-file", _list_path(array), "-0")
    return Job(f"sharedenv-build-{run_id}", array.path, order.start, command, order.options)


def submit_array(
    run: Run,
    number: int,
    cases: Sequence[Case],
    added: Sequence[Case],
    tasks: int,
    order: ArrayOrder,
    environ: Mapping[str, str],
    tell: Callable[[str], None] | None = None,
    frozen: Callable[[], None] = lambda: None,
) -> list[Array]:
    """Freezes the cases as the array of this number, writes the job script and submits. ``added``: those new to the run.

    ``cases``: in the order in which they are to be worked on; ``tell``: as cluster.submit has it; ``frozen`` is called once others can
    see the array, before Slurm gets it. Behind it come the arrays of its higher rungs, where it has some.

    Raises SharedenvError; then nothing is left in the queue. But cluster.Unclear: then all stays as the job needs it.
    """
    run_id = run.id
    try:
        how, cluster, rung = _with_core(order, environ), slurm.name(environ), rung_at(1, number, order)
        array = create_array(run, number, cases, tasks, how, order.sets, cluster, order.known, rung)
        build = job = ""
        try:
            frozen()
            if added:
                run.extend(added)
            if order.missing:
                with open(_list_path(array), "wb", opener=private) as file:
                    file.write(b"".join(os.fsencode(script) + b"\0" for script in order.missing))
                build = _submit(build_job(run_id, array, order), array.build_script, environ, tell)
            job = _submit(array_job(run_id, array, order, build or None), array.script, environ, tell)
            return _submit_rungs(run, note_jobs(array, job, build), order, environ, tell)
        except slurm.Unclear as error:
            if isinstance(error, RungRefused):
                raise
            note_jobs(array, job, build)
            again = f"sharedenv submit --resume --run-id {run_id}"
            error.cause = f"{error.cause}\nrun {run_id} is kept; if the job is not in the queue: {again}"
            error.hint = "squeue --me --format='%i %T %o'"
            raise
        except BaseException:
            if submitted := [each for each in (job, build) if each]:
                slurm.cancel(submitted, environ)
            discard_array(array)
            raise
    except OSError as error:
        raise SharedenvError(
            f"can't write run {run_id}",
            cause=f"{error.strerror}: {error.filename}",
            hint=shlex.join(["df", "-h", "-i", run.path]),
            exit_code=EXIT_FAILED,
        ) from None


def _submit_rungs(
    run: Run, first: Array, order: ArrayOrder, environ: Mapping[str, str], tell: Callable[[str], None] | None
) -> list[Array]:
    """Submits what goes on with an array's losses, each behind the one before. All, with the first. Raises SharedenvError, OSError."""
    arrays = [first]
    for place in range(2, len(order.ladder) + 1):
        # no more tasks than centres call few, unless the user has named a number
        tasks = first.tasks if order.packing.tasks is not None else min(first.tasks, PACK)
        rung = rung_at(place, first.number, order)
        array = create_array(run, first.number + place - 1, (), tasks, first.how, first.sets, first.cluster, rung=rung, keys=first.keys)
        behind = replace(order, depends=(f"afterany:{arrays[-1].job}",))
        try:
            arrays.append(note_jobs(array, _submit(array_job(run.id, array, behind, None), array.script, environ, tell), ""))
        except slurm.Unclear:
            raise
        except SharedenvError as error:
            discard_array(array)
            # the last first: none is to begin because the one before it is gone
            slurm.cancel([one.job for one in reversed(arrays)], environ)
            cause = f"{error.cause or error.message}\nrun {run.id} is cancelled; its first scripts may have begun"
            what = f"sbatch did not take the job of {rung.name if rung else place}"
            raise RungRefused(what, cause=cause, hint=f"sharedenv status {run.id}", exit_code=EXIT_FAILED) from None
    return arrays


def _with_core(order: ArrayOrder, environ: Mapping[str, str]) -> How:
    """How the tasks run their cases; with the size of a core where the CPUs that Slurm gives decide how many at a time."""
    if order.how.jobs or order.options.cpus_per_task:
        return order.how
    return replace(order.how, core=slurm.count_threads(order.options.partition or environ.get("SBATCH_PARTITION"), environ))


def _list_path(array: Array) -> str:
    return os.path.join(array.path, "build.list")


def settle(run_path: str, environ: Mapping[str, str]) -> None:
    """Notes the job of each array that sbatch gave no answer for, where Slurm knows it by now. Raises OSError."""
    for array in list_arrays(run_path):
        if not array.job and (job := with_job(array, environ).job):
            note_jobs(array, job, array.build)


def _submit(job: Job, script: str, environ: Mapping[str, str], tell: Callable[[str], None] | None) -> str:
    with open(script, "wb", opener=private) as file:
        file.write(os.fsencode(script_text(job)))
    return slurm.submit(script, arguments(job), environ, job.start, tell)
