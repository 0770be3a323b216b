"""`sharedenv submit` where a run's cases are not dealt out: an array of tasks that each join the run, on the scheduler it is handed."""

from __future__ import annotations

import os
import shutil
import time
from collections.abc import Collection, Iterable, Mapping
from dataclasses import replace
from typing import Any

from sharedenv.app.execute import require_all
from sharedenv.app.queued import queue_of, seen_to_end
from sharedenv.app.resume import Earlier
from sharedenv.app.work import Wanted, Work, new_work
from sharedenv.build.options import BuildOptions
from sharedenv.cli.cases import case_terms, left_of
from sharedenv.cli.given import Inherited
from sharedenv.cli.look import tell_run
from sharedenv.cli.plan import freeze
from sharedenv.cli.queued import trouble_lines
from sharedenv.cli.rungs import refuse_rungs
from sharedenv.cli.scripts import in_pool_of, tell_bad, warned
from sharedenv.cluster.packing import Limits, Packing, count_tasks
from sharedenv.cluster.qsub import without_hold
from sharedenv.cluster.sbatch import SbatchOptions, without
from sharedenv.cluster.scheduler import SLURM, Scheduler, Unclear
from sharedenv.cluster.submissions import Order, Submission, array_job, hand_in, next_path
from sharedenv.cluster.submit import own_python
from sharedenv.errors import EXIT_BUILD, EXIT_FAILED, EXIT_INTERRUPTED, EXIT_USAGE, SharedenvError
from sharedenv.pool.layout import Layout
from sharedenv.report.console import Console
from sharedenv.report.names import case_name
from sharedenv.report.words import count, printable, short_path
from sharedenv.run.claims.folder import DiskFolder
from sharedenv.run.claims.list_end import not_begun
from sharedenv.run.journal.living import note_living
from sharedenv.run.journal.run import Run
from sharedenv.run.journal.sessions import LOCAL
from sharedenv.run.listing import waits_for_workers
from sharedenv.run.lost import close_list
from sharedenv.values import frozen

#: options of submit that an array of workers has no use for → what to do instead
_INSTEAD = {
    "stage": "sharedenv submit … without --stage: the environments are read from the pool",
    "build_job": "sharedenv build …, in a job of its own; then sharedenv submit --no-build …",
    "after": "sharedenv submit … once that run has ended",
}
#: scheduler → the option for whatever its own command takes
_MORE = {"slurm": "sbatch", "gridengine": "qsub"}
_LOOK = (1.0, 15.0)  # seconds between looks at the queue: at first, and in the end


@frozen
class _Call:
    """What every step of a submission is told: its options, whose queue, from which folder (absolute), and where to say so."""

    given: Mapping[str, Any]
    scheduler: Scheduler
    here: str
    console: Console


def submit_workers(
    found: Earlier | None, asked: Wanted, own: Inherited, words: list[str], scheduler: Scheduler, here: str, console: Console
) -> int:
    """Submits workers for a new run, or for the one ``found``; ``own``: options, ``words``: what --resume takes over. The exit status."""
    _refuse_foreign(own.given, scheduler)
    if found is None:
        return _submit_new(asked, own.build_options, words, _Call(own.given, scheduler, here, console))
    run, call = found.run, _Call({**own.given, **_unheld(own.given, words)}, scheduler, here, console)
    queue = queue_of(run, os.environ)
    if queued := [each.submission.job for each in queue if each.live]:
        console.say(f"nothing to submit: job {', '.join(queued)} of run {run.id} is in the queue still")
        return _wait(found.layout, run, console) if call.given["wait"] else 0
    if waits_for_workers(run) and not call.given["retry_failed"]:
        return _submit_more(found, call)
    return _submit_rest(replace(found, dead=found.dead | seen_to_end(run, queue)), asked, own, words, call)


def _unheld(given: Mapping[str, Any], words: Collection[str]) -> dict[str, tuple[str, ...]]:
    """What an earlier submission gave to sbatch or qsub, without what held its job."""
    kept = {} if "--qsub" in words else {"qsub": without_hold(given["qsub"])}
    return kept if "--sbatch" in words else {**kept, "sbatch": without(given["sbatch"], {"hold"})}


def _refuse_foreign(given: Mapping[str, Any], scheduler: Scheduler) -> None:
    refuse_rungs(given, "workers" if scheduler is SLURM else scheduler.title)
    others = {name: f"sharedenv submit --{_MORE[scheduler.key]} OPT …" for key, name in _MORE.items() if key != scheduler.key}
    for name, instead in {**_INSTEAD, **others}.items():
        if given[name]:
            option = f"--{name.replace('_', '-')}"
            title = "workers" if name in _INSTEAD else scheduler.title
            raise SharedenvError(f"{option} is not for {title}", hint=instead, exit_code=EXIT_USAGE)


def _submit_new(asked: Wanted, build_options: BuildOptions, words: list[str], call: _Call) -> int:
    """Plans a run, and submits workers for it."""
    given, console = call.given, call.console
    work = new_work(console.pool, asked, case_terms(given), call.here)
    warned(work.plan, console)
    return max(_submit_frozen(work, asked, build_options, words, call), tell_bad(work.plan, console))


def _submit_frozen(work: Work, asked: Wanted, build_options: BuildOptions, words: list[str], call: _Call) -> int:
    """Freezes a list of some work, and submits workers for it. ``words``: what --resume takes over of the command."""
    given, console = call.given, call.console
    order = _order(len(work.cases), call)
    if given["print_only"]:
        return _print(work.layout, os.path.join(work.layout.runs, "RUN"), ("join", "RUN"), order, call)
    if given["no_build"]:
        require_all(work, strict=build_options.strict)
    log = given["joblog"]
    joblog = [] if log is None else ["--joblog", os.path.join(call.here, log)]  # wherever the run goes on, it is this file
    run = freeze(work, asked, build_options, {"slurm": True, "again": [*words, *joblog]}, given, console)
    if run is None:
        return EXIT_BUILD
    try:
        submission = _hand_in(work.layout, run, order, call)
    except Unclear as error:  # the job may be in the queue, and needs the run
        again = f"sharedenv submit --resume --run-id {run.id}"
        error.cause = f"{error.cause}\nrun {run.id} is kept; if the job is not in the queue: {again}"
        raise
    except BaseException:
        shutil.rmtree(run.path, ignore_errors=True)
        raise
    return _told(work.layout, run, submission, order, len(work.cases), call)


def _submit_more(found: Earlier, call: _Call) -> int:
    """Submits workers for what nobody has begun of a run."""
    run, layout = found.run, found.layout
    left = not_begun(DiskFolder(run.path), run.asked.count)
    order = _order(left, call)
    call.console.say(f"going on with run {run.id}: {count(left, 'script')} not begun")
    if call.given["print_only"]:
        return _print(layout, run.path, ("join", run.id), order, call)
    submission = _hand_in(layout, run, order, call)
    return _told(layout, run, submission, order, left, call)


def _submit_rest(found: Earlier, asked: Wanted, own: Inherited, words: list[str], call: _Call) -> int:
    """Submits workers for what failed or was lost of a run, as a new one that takes its place: nobody begins anything of the old one."""
    console = call.console
    work = left_of(found, asked, replace(own, given=call.given), console)
    for note in work.notes:
        console.say(note)
    for case in work.settled:
        console.say(f"gone: {case_name(case, lambda path: short_path(path, call.here))}")
    if not work.cases:
        console.say("nothing to submit")
        return 0
    if not call.given["print_only"]:
        close_list(found.run, work.known or (), LOCAL)
    return _submit_frozen(work, asked, own.build_options, words, call)


def _order(cases: int, call: _Call) -> Order:
    """What is asked of the scheduler for so many cases. Raises SharedenvError."""
    given, scheduler = call.given, call.scheduler
    options = SbatchOptions(
        time=given["time"],
        partition=given["partition"],
        account=given["account"],
        memory=given["mem"],
        cpus_per_task=given["cpus_per_task"],
        more=given[_MORE[scheduler.key]],
        setup=given["setup"],
        grace=None if given["margin"] is None else max(1, round(given["margin"])),
    )
    cpus = scheduler.count_cpus(options.partition, os.environ)
    slots = None if cpus is None else max(1, cpus // (options.cpus_per_task or 1))
    if slots is not None and given["max_running"] is not None:
        slots = min(slots, given["max_running"])
    largest = scheduler.largest_array(os.environ)
    limits = Limits(slots, largest, f"the largest array of this {scheduler.title} has {largest:,} tasks")
    width = given["jobs"] or options.cpus_per_task or 1
    tasks = count_tasks(cases, width, Packing(given["tasks"], given["per_task"]), limits)
    return Order(scheduler.completed(options, os.environ), tasks, call.here, given["max_running"])


def _hand_in(layout: Layout, run: Run, order: Order, call: _Call) -> Submission:
    """Submits an array whose tasks join the run."""
    jobs = (f"--jobs={call.given['jobs']}",) if call.given["jobs"] else ()
    command = own_python("sharedenv.entry", "--pool", layout.path, "join", *jobs, run.id)
    return hand_in(run, call.scheduler, command, order, os.environ, call.console.say)


def _print(layout: Layout, run: str, words: Iterable[str], order: Order, call: _Call) -> int:
    """The job script, with words in capitals for what only a submission can know."""
    job = array_job(next_path(run), own_python("sharedenv.entry", "--pool", layout.path, *words), order)
    call.console.result(call.scheduler.script_text(job).rstrip("\n"))
    return 0


def _told(layout: Layout, run: Run, submission: Submission, order: Order, cases: int, call: _Call) -> int:
    """Says what was submitted, and waits for its end where that was asked; the exit status."""
    note_living(run)
    console, workers = call.console, count(submission.tasks, "worker")
    console.say(f"submitted {count(cases, 'script')} for {workers}, job {submission.job} of {call.scheduler.title}: run {run.id}")
    logs = call.scheduler.log_path(array_job(submission.path, (), order), submission.job)
    console.say(f"what they print: {printable(short_path(logs, call.here))}")
    if not call.given["wait"]:
        console.say(f"where it stands: {in_pool_of(layout, f'sharedenv status {run.id}', console)}")
    console.result(run.id)
    return _wait(layout, run, console) if call.given["wait"] else 0


def _wait(layout: Layout, run: Run, console: Console) -> int:
    """Until the queue has nothing more of a run; then tells how it ended. Ctrl-C leaves the jobs."""
    try:
        _follow(run, console)
    except KeyboardInterrupt:
        look, end = (console.in_pool(f"sharedenv {command} {run.id}") for command in ("status", "cancel"))
        console.say(f"run {run.id} goes on; where it stands: {look}; to end it: {end}")
        return EXIT_INTERRUPTED
    return EXIT_FAILED if tell_run(layout, run, console, console.say) else 0


def _follow(run: Run, console: Console) -> None:
    pause, told = _LOOK[0], set[str]()
    queue = queue_of(run, os.environ)
    while any(each.live for each in queue):
        for line in [line for each in queue for line in trouble_lines(each) if line not in told]:
            told.add(line)
            console.warn(line)
        time.sleep(pause)
        pause = min(_LOOK[1], pause * 1.5)
        queue = queue_of(run, os.environ)
