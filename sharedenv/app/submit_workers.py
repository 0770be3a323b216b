"""A submission whose cases are not dealt out: an array of tasks that each join the run, on the scheduler it is handed."""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterable
from dataclasses import replace

from sharedenv.app.execute import require_all
from sharedenv.app.plan import PlanOrder, freeze
from sharedenv.app.project import tell_plan
from sharedenv.app.queued import queue_of, seen_to_end
from sharedenv.app.resume import Earlier, left_work, tell_choice
from sharedenv.app.rungs import refuse_rungs
from sharedenv.app.submission import SubmitOrder, Submitted, Surroundings
from sharedenv.app.work import Wanted, Work, new_work
from sharedenv.cluster.packing import Limits, count_tasks
from sharedenv.cluster.qsub import without_hold
from sharedenv.cluster.sbatch import without
from sharedenv.cluster.scheduler import SLURM, Scheduler, Unclear
from sharedenv.cluster.submissions import Order, array_job, hand_in, next_path
from sharedenv.cluster.submit import own_python
from sharedenv.errors import EXIT_USAGE, SharedenvError
from sharedenv.pool.layout import Layout
from sharedenv.report.words import count
from sharedenv.run.claims.folder import DiskFolder
from sharedenv.run.claims.list_end import not_begun
from sharedenv.run.journal.living import note_living
from sharedenv.run.journal.run import Run
from sharedenv.run.journal.sessions import LOCAL
from sharedenv.run.listing import waits_for_workers
from sharedenv.run.lost import close_list

#: scheduler → the option for whatever its own command takes
_MORE = {"slurm": "--sbatch", "gridengine": "--qsub"}


def submit_workers(
    pool: str | None, found: Earlier | None, asked: Wanted, order: SubmitOrder, scheduler: Scheduler, around: Surroundings
) -> Submitted:
    """Submits workers for a new run, or for the one ``found``. Raises SharedenvError."""
    _refuse_foreign(order, scheduler)
    if found is None:
        work = new_work(pool, asked, order.terms, around.here)
        tell_plan(work.plan, around.tell)
        return _submit_frozen(work, asked, order, scheduler, around)
    run, order = found.run, _unheld(order)
    queue = queue_of(run, around.environ)
    if queued := [each.submission.job for each in queue if each.live]:
        around.tell.say(f"nothing to submit: job {', '.join(queued)} of run {run.id} is in the queue still")
        return Submitted(found.layout, run, None, scheduler, joined=True)
    if waits_for_workers(run) and not asked.failed_only:
        return _submit_more(found, order, scheduler, around)
    return _submit_rest(replace(found, dead=found.dead | seen_to_end(run, queue)), asked, order, scheduler, around)


def _unheld(order: SubmitOrder) -> SubmitOrder:
    """The same, of what an earlier submission gave to sbatch or qsub without what held its job."""
    if "qsub" not in order.anew:
        order = replace(order, qsub=without_hold(order.qsub))
    return order if "sbatch" in order.anew else replace(order, task=replace(order.task, more=without(order.task.more, {"hold"})))


def _refuse_foreign(order: SubmitOrder, scheduler: Scheduler) -> None:
    refuse_rungs(order.task, "workers" if scheduler is SLURM else scheduler.title)
    other = f"sharedenv submit {_MORE[scheduler.key]} OPT …"
    given = {"--sbatch": order.task.more, "--qsub": order.qsub}
    for option, value, title, instead in (
        ("--stage", order.stage, "workers", "sharedenv submit … without --stage: the environments are read from the pool"),
        ("--build-job", order.build_job, "workers", "sharedenv build …, in a job of its own; then sharedenv submit --no-build …"),
        ("--after", order.after, "workers", "sharedenv submit … once that run has ended"),
        *((name, given[name], scheduler.title, other) for key, name in _MORE.items() if key != scheduler.key),
    ):
        if value:
            raise SharedenvError(f"{option} is not for {title}", hint=instead, exit_code=EXIT_USAGE)


def _submit_frozen(work: Work, asked: Wanted, order: SubmitOrder, scheduler: Scheduler, around: Surroundings) -> Submitted:
    """Freezes a list of some work, and submits workers for it."""
    layout, cases = work.layout, len(work.cases)
    array = _order(cases, order, scheduler, around)
    if order.print_only:
        script = _script(layout, os.path.join(layout.runs, "RUN"), ("join", "RUN"), array, scheduler)
        return Submitted(layout, None, work, scheduler, joined=True, script=script)
    if not order.builds:
        require_all(work, strict=order.build.strict)
    plan = PlanOrder(order.terms, order.noted, order.order, order.insist)
    run = freeze(work, asked, plan, around.tell, lambda: around.builds.finish(work.project, work.needed, order.build), around.environ)
    try:
        return replace(_handed_in(layout, run, order, array, cases, scheduler, around), work=work)
    except Unclear as error:  # the job may be in the queue, and needs the run
        again = f"sharedenv submit --resume --run-id {run.id}"
        error.cause = f"{error.cause}\nrun {run.id} is kept; if the job is not in the queue: {again}"
        raise
    except BaseException:
        shutil.rmtree(run.path, ignore_errors=True)
        raise


def _submit_more(found: Earlier, order: SubmitOrder, scheduler: Scheduler, around: Surroundings) -> Submitted:
    """Submits workers for what nobody has begun of a run."""
    run, layout = found.run, found.layout
    left = not_begun(DiskFolder(run.path), run.asked.count)
    array = _order(left, order, scheduler, around)
    around.tell.say(f"going on with run {run.id}: {count(left, 'script')} not begun")
    if order.print_only:
        return Submitted(layout, run, None, scheduler, joined=True, script=_script(layout, run.path, ("join", run.id), array, scheduler))
    return _handed_in(layout, run, order, array, left, scheduler, around)


def _submit_rest(found: Earlier, asked: Wanted, order: SubmitOrder, scheduler: Scheduler, around: Surroundings) -> Submitted:
    """Submits workers for what failed or was lost of a run, as a new one that takes its place: nobody begins anything of the old one."""
    build = (lambda project, plan: around.builds.attempt(project, plan, order.build)) if order.builds_here else None
    work = left_work(found, asked, order.terms, build, upgrade=order.upgrade)
    tell_choice(work, around.tell, around.here)
    if not work.cases:
        return Submitted(work.layout, work.run, work, scheduler, joined=True)
    if not order.print_only:
        close_list(found.run, work.known or (), LOCAL)
    return _submit_frozen(work, asked, order, scheduler, around)


def _order(cases: int, order: SubmitOrder, scheduler: Scheduler, around: Surroundings) -> Order:
    """What is asked of the scheduler for so many cases. Raises SharedenvError."""
    options = replace(order.task, more=order.task.more if scheduler is SLURM else order.qsub)
    cpus = scheduler.count_cpus(options.partition, around.environ)
    slots = None if cpus is None else max(1, cpus // (options.cpus_per_task or 1))
    if slots is not None and order.max_running is not None:
        slots = min(slots, order.max_running)
    largest = scheduler.largest_array(around.environ)
    limits = Limits(slots, largest, f"the largest array of this {scheduler.title} has {largest:,} tasks")
    tasks = count_tasks(cases, order.jobs or options.cpus_per_task or 1, order.packing, limits)
    return Order(scheduler.completed(options, around.environ), tasks, around.here, order.max_running)


def _handed_in(
    layout: Layout, run: Run, order: SubmitOrder, array: Order, cases: int, scheduler: Scheduler, around: Surroundings
) -> Submitted:
    """Submits an array whose tasks join the run."""
    jobs = (f"--jobs={order.jobs}",) if order.jobs else ()
    command = own_python("sharedenv.entry", "--pool", layout.path, "join", *jobs, run.id)
    submission = hand_in(run, scheduler, command, array, around.environ, around.tell.say)
    note_living(run)
    logs = scheduler.log_path(array_job(submission.path, (), array), submission.job)
    return Submitted(layout, run, None, scheduler, cases, joined=True, submission=submission, logs=logs)


def _script(layout: Layout, run: str, words: Iterable[str], array: Order, scheduler: Scheduler) -> str:
    """The job script, with words in capitals for what only a submission can know."""
    return scheduler.script_text(array_job(next_path(run), own_python("sharedenv.entry", "--pool", layout.path, *words), array))
