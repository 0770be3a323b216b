"""`submit`: some work given to a scheduler, as a command line or a program asks for it."""

from __future__ import annotations

import os
import shutil
from collections.abc import Collection, Mapping, Sequence
from dataclasses import replace

from sharedenv.app.beside import look_beside
from sharedenv.app.execute import require_all
from sharedenv.app.guards import refuse_living
from sharedenv.app.journal import create_journal, make_pool
from sharedenv.app.outputs import check_outputs
from sharedenv.app.plan import ordered
from sharedenv.app.project import tell_plan, tell_strays
from sharedenv.app.resume import Earlier, earlier_run, left_work, tell_choice
from sharedenv.app.rungs import ladder_given, placed, preview
from sharedenv.app.sets import put_down_all
from sharedenv.app.submission import SubmitCall, SubmitOrder, Submitted, Surroundings
from sharedenv.app.submit_workers import submit_workers
from sharedenv.app.work import Wanted, Work, new_work, remember_all
from sharedenv.cluster import slurm
from sharedenv.cluster.arrays import Array, how_of, list_arrays, next_number
from sharedenv.cluster.queued import refuse_submitting
from sharedenv.cluster.sbatch import log_path, names_any, without
from sharedenv.cluster.scheduler import SLURM
from sharedenv.cluster.schedulers import scheduler_here, scheduler_of, was_planned
from sharedenv.cluster.status import standing
from sharedenv.cluster.submit import ArrayOrder, array_job, own_python, plan_tasks, settle, submit_array
from sharedenv.errors import EXIT_FAILED, EXIT_USAGE, SharedenvError
from sharedenv.pool.missing import look_up_all
from sharedenv.report.words import case_names, count, short_path
from sharedenv.run.case import Case
from sharedenv.run.journal.living import forget_living, note_living
from sharedenv.run.journal.run import Run
from sharedenv.run.journal.sessions import WORKER
from sharedenv.run.listing import lists_of
from sharedenv.run.lost import close_arrays
from sharedenv.run.workers import INTERRUPTED, refuse_live
from sharedenv.values import frozen

#: options of sbatch that say how many CPUs a task has
_SIZES = frozenset({"cpus-per-task", "exclusive", "ntasks", "ntasks-per-node", "cpus-per-gpu", "n", "ntasks-per-core", "ntasks-per-socket"})


def submit(pool: str | None, call: SubmitCall, around: Surroundings) -> Submitted:
    """Builds what is missing and gives the work to a scheduler: a new run, or what is left of an earlier one.

    Raises SharedenvError; then nothing is left in the queue, but where it says so.
    """
    environ, here, asked, order = around.environ, around.here, call.asked, call.order
    found = earlier_run(pool, asked, here, environ) if call.goes_on else None
    if found is not None:
        asked, order = call.inherit(found.run)
    scheduler = scheduler_of(found.run, call.scheduler, environ) if found else scheduler_here(call.scheduler, environ)
    if scheduler is not SLURM or (found and was_planned(found.run)):
        return submit_workers(pool, found, asked, order, scheduler, around)
    if found is not None:
        order = replace(order, task=replace(order.task, more=_still_asked(order.task.more, order.anew)))
    array_order = _array_order(order, around)
    if found is None:
        return _submit_array(new_work(pool, asked, order.terms, here), asked, order, array_order, 1, _Queue(), around)
    number = next_number(found.run.path)
    queue = _queued(found.run, environ)
    work = _left(replace(found, dead=queue.dead), asked, order, queue, around)
    return _submit_array(work, asked, order, array_order, number, queue, around)


def _left(found: Earlier, asked: Wanted, order: SubmitOrder, queue: _Queue, around: Surroundings) -> Work:
    build = (lambda project, plan: around.builds.attempt(project, plan, order.build)) if order.builds_here else None
    return left_work(found, asked, order.terms, build, upgrade=order.upgrade, queued=queue.held)


def _submit_array(
    work: Work, asked: Wanted, order: SubmitOrder, array: ArrayOrder, number: int, queue: _Queue, around: Surroundings
) -> Submitted:
    """Submits the array of this ``number`` of a run, with those behind it."""
    tell, environ = around.tell, around.environ
    if not order.print_only:
        look_beside(work, tell, environ, insist=order.insist)
    _tell(work, () if "time" in order.anew else queue.cut_off, around)
    ended = Submitted(work.layout, work.run, work, SLURM, queued=queue.arrays)
    if not work.cases:
        return ended
    check_outputs(
        work.cases, order.terms.capture, order.terms.joblog,
        "sharedenv submit … without --capture keeps what a task's scripts print in one file",
    )  # fmt: skip
    array = placed(array, work, order.after, order.anew, tell, environ)
    tasks = plan_tasks(len(work.cases), array, environ)
    if order.print_only:
        return replace(ended, script=preview(work, number, tasks, array, "BUILD" if order.build_job and _missing(work) else None))
    _build(work, order, around)
    run = work.run or create_journal(work, asked, order.noted)
    if order.build_job:
        array = replace(array, build=_build_command(work, order, asked.selection.python), missing=_missing(work))
    close_arrays(run, _over(run, number, queue))
    cases, known = ordered(work, order.order, tell)
    arrays = _handed_in(work, run, number, cases, tasks, replace(array, known=known), around, insist=order.insist)
    logs = "" if order.terms.capture is not None else log_path(array_job(run.id, arrays[0], array, None), arrays[0].job)
    return replace(ended, run=run, cases=len(cases), arrays=tuple(arrays), logs=logs)


def _build(work: Work, order: SubmitOrder, around: Surroundings) -> None:
    """Sees to it that the environments are there, or will be; and the pool, and what a node copies."""
    if not order.builds:
        require_all(work, strict=order.build.strict)
    elif order.builds_here:
        around.builds.finish(work.project, work.needed, order.build)
    make_pool(work.layout, around.tell)
    if order.builds:
        remember_all(work)
    if order.stage:  # what a job has yet to build, its first task packs
        from sharedenv.app.stage import archive_of  # noqa: PLC0415 - most submissions do without tar

        for environment in look_up_all(work.layout, work.needed)[0].values():
            archive_of(work.layout, environment, around.tell)


def _over(run: Run, number: int, queue: _Queue) -> list[str]:
    """The folders of earlier arrays that nobody works on any more. One from this ``number`` on is another process's, made meanwhile."""
    queued = {array.path for array in queue.arrays}
    return [folder for folder in lists_of(run) if folder not in queued and int(os.path.basename(folder)) < number]


def _tell(work: Work, cut_off: Collection[int], around: Surroundings) -> None:
    """What is to be known of the work before it is submitted. ``cut_off``: sequences of what was at work when this time limit was met."""
    tell = around.tell
    tell_strays(work.project, tell)
    tell_plan(work.plan, tell)
    tell_choice(work, tell, around.here)
    if again := [case for case in work.cases if case.sequence in cut_off]:
        names = case_names(again, lambda path: short_path(path, around.here))
        tell.say(f"cut off at the time limit before, which is still the same (--time): {names}")


def _still_asked(sbatch: Sequence[str], anew: Collection[str]) -> tuple[str, ...]:
    """What an earlier submission gave with --sbatch, without what is said anew, and without what held that job alone."""
    if "sbatch" in anew:
        return tuple(sbatch)
    return without(sbatch, {"hold", "dependency", *(name.replace("_", "-") for name in anew)})


def _array_order(order: SubmitOrder, around: Surroundings) -> ArrayOrder:
    if order.qsub:
        raise SharedenvError("--qsub is not for Slurm", hint="sharedenv submit --sbatch OPT …", exit_code=EXIT_USAGE)
    task, environ, terms = order.task, around.environ, order.terms
    ladder = ladder_given(task, environ, fail_fast=terms.fail_fast)
    error = environ.get("SBATCH_ERROR")  # the one thing that our own options leave to a variable, and that could lose output
    task = replace(
        task,
        time=ladder[0].time if ladder else task.time or environ.get("SBATCH_TIMELIMIT"),
        memory=ladder[0].memory if ladder else task.memory,
        cpus_per_task=_cpus_per_task(order),
        more=(*((f"--error={error}",) if error else ()), *task.more),
    )
    how = how_of(terms, jobs=order.jobs, stage=order.stage, verbosity=order.verbosity)
    return ArrayOrder(task, order.packing, how, around.here, order.max_running, ladder=ladder)


def _cpus_per_task(order: SubmitOrder) -> int | None:
    """CPUs of a task: what its scripts need, where nobody says otherwise. Raises SharedenvError where it is less."""
    asked, each, jobs = order.task.cpus_per_task, order.terms.cpus_per_case, order.jobs or 1
    if each is None:
        return asked
    if asked is None:
        return None if names_any(order.task.more, _SIZES) else each * jobs
    if asked < each * jobs:
        raise SharedenvError(
            f"can't run {count(jobs, 'script')} at a time with {each} CPUs each in a task of {asked}",
            hint=f"--cpus-per-task {each * jobs}",
        )
    return asked


@frozen
class _Queue:
    """What earlier submissions of a run still have in the queue: sequences, and the arrays; the sequences of what was at work when a time
    limit was met; the writers that ended without a word, and that Slurm has seen end.
    """

    held: frozenset[int] = frozenset()
    arrays: tuple[Array, ...] = ()
    cut_off: frozenset[int] = frozenset()
    dead: frozenset[str] = frozenset()


def _queued(run: Run, environ: Mapping[str, str]) -> _Queue:
    """Raises SharedenvError when Slurm can't say."""
    if not list_arrays(run.path):
        return _Queue()
    refuse_submitting(run.path)
    settle(run.path, environ)
    stands = standing(run, environ)
    if stands.trouble:
        raise SharedenvError(
            f"can't tell what of run {run.id} is still in the queue", cause=stands.trouble, hint="squeue --me", exit_code=EXIT_FAILED
        )
    arrays = tuple(array for array in list_arrays(run.path) if array.job in stands.live or not stands.held.isdisjoint(array.sequences))
    cut_off = [sequence for sequence in stands.sequences(INTERRUPTED) if stands.states[sequence].reason.startswith(slurm.TIME_UP)]
    return _Queue(stands.held, arrays, frozenset(cut_off), stands.dead)


def _handed_in(
    work: Work, run: Run, number: int, cases: Sequence[Case], tasks: int, order: ArrayOrder, around: Surroundings, *, insist: bool
) -> list[Array]:
    def look_again() -> None:
        """Another may have begun them at the same moment: of two that look once they can be seen, one sees the other."""
        note_living(run)
        refuse_live(run.id, run.sessions(), WORKER)
        if not insist:
            refuse_living(work.layout, work.cases, around.environ, run.id)

    try:
        # the sets of versions that the run has from here on: those of the environments that are there
        sets = put_down_all(work.layout, run, look_up_all(work.layout, work.needed)[0].values())
        added = work.planned if work.run else ()
        return submit_array(run, number, cases, added, tasks, replace(order, sets=sets), around.environ, around.tell.say, look_again)
    except slurm.Unclear:
        raise  # the job may be in the queue, and needs the run
    except BaseException:
        if work.run is None:
            shutil.rmtree(run.path, ignore_errors=True)
            forget_living(run)
        raise


def _missing(work: Work) -> tuple[str, ...]:
    """A script for each environment of the work that is not built."""
    return tuple(work.plan.needs[key].scripts[0] for key in look_up_all(work.layout, work.needed)[1])


def _build_command(work: Work, order: SubmitOrder, python: str | None) -> tuple[str, ...]:
    command = own_python("sharedenv.entry", "--pool", work.layout.path, "build")
    no_lock = ("--no-lock",) if work.project.no_lock else ()
    return (*command, *(("--python", python) if python else ()), *no_lock, *order.build.words())
