"""`sharedenv submit`."""

from __future__ import annotations

import os
import time
from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import click

from sharedenv.app.build import NotBuilt
from sharedenv.app.project import Selection
from sharedenv.app.queued import queue_of
from sharedenv.app.rungs import last_job
from sharedenv.app.submission import SubmitCall, SubmitOrder, Submitted, Surroundings
from sharedenv.app.submit import submit as submitted
from sharedenv.app.work import Wanted
from sharedenv.build.options import BuildOptions
from sharedenv.cli.arguments import CommandWithArguments, Jobs, Lines, duration, script_arguments
from sharedenv.cli.building import Building, build_options
from sharedenv.cli.cases import case_options, case_terms, order_option, resume_options, wanted
from sharedenv.cli.failures import sequences_of
from sharedenv.cli.given import Inherited, all_given, inherit, repeated
from sharedenv.cli.look import tell_run
from sharedenv.cli.options import contrary, option
from sharedenv.cli.queued import trouble_lines
from sharedenv.cli.scripts import in_pool_of, script_options, skip_bad_option, tell_bad
from sharedenv.cli.slurm import wait
from sharedenv.cli.unfinished import hidden_run
from sharedenv.cluster.packing import Packing
from sharedenv.cluster.sbatch import SbatchOptions
from sharedenv.cluster.schedulers import SCHEDULERS
from sharedenv.errors import EXIT_FAILED, EXIT_INTERRUPTED, EXIT_USAGE, SharedenvError
from sharedenv.pool.layout import Layout
from sharedenv.report.console import Console
from sharedenv.report.words import count, counted, printable, short_path
from sharedenv.run.journal.run import Run
from sharedenv.start.environ import current_folder

#: options that --resume does not take over: they name the work itself, or how it was shared out, or belong to one call
_ONCE = frozenset({
    "from_file", "null", "table", "cwd", "tasks", "per_task", "resume", "retry_failed", "run_id", "group", "upgrade", "print_only",
    "fail_fast", "wait", "insist", "order", "joblog", "lost_too", "after",
})


_READ = "sharedenv.read"  #: in what click keeps for a command: its words, where a program wants to know what they ask for, and no more
_LOOK = (1.0, 15.0)  # seconds between looks at the queue of workers: at first, and in the end


@contrary("resume", "retry_failed", why="--resume runs what failed, too")
@contrary("tasks", "per_task", why="both decide the number of tasks")
@contrary("launcher", "preload", why="a launcher starts a Python of its own, and --preload forks one")
@contrary("build_job", "no_build", why="the one builds, the other does not")
@click.command(cls=CommandWithArguments, options_metavar="[OPTIONS]", epilog="Words after -- are given to every script.")
@script_options
@skip_bad_option
@option("--tasks", type=click.IntRange(min=1), metavar="N", help="Let N tasks work on the scripts.")
@option("--per-task", type=click.IntRange(min=1), metavar="N", help="One task for each N scripts.")
@option("--max-running", type=click.IntRange(min=1), metavar="N", help="Let no more than N tasks run at once.")
@option("--time", "-t", metavar="LIMIT[,LIMIT…]", help="Time limit of a task, as sbatch takes it. Of several, as --mem.")
@option("--partition", "-p", metavar="NAME", help="Partition.")
@option("--account", "-A", metavar="NAME", help="Account.")
@option("--mem", metavar="SIZE[,SIZE…]", help="Memory of a task, as sbatch takes it. What runs out of it goes on with the next.")
@option("--cpus-per-task", "-c", type=click.IntRange(min=1), metavar="N", help="CPUs of a task. [default: 1]")
@option("--sbatch", type=Lines(), multiple=True, metavar="OPT", help="Any other option of sbatch, such as --gres=gpu:1.")
@option("--qsub", type=Lines(), multiple=True, metavar="OPT", help="An option of Grid Engine's qsub, such as '-l h_vmem=4G'.")
@option("--after", metavar="RUN", help="Begin when that run has ended well.")
@option("--scheduler", type=click.Choice(sorted(SCHEDULERS)), help="Whose queue it goes to. [default: the one that is here]")
@option("--setup", type=Lines(), multiple=True, metavar="LINE", help="A line of bash before the work: 'module load gcc'.")
@option("--margin", type=duration, metavar="TIME", help="Start nothing more this long before the time limit.")
@option("--jobs", "-j", type=Jobs(), metavar="N", help="Scripts at a time in a task. [default: its CPUs]")
@case_options
@order_option
@option("--joblog", metavar="FILE", help="GNU parallel's log of all tasks; the last one writes it.")
# SHAREDENV_STAGE is the folder of copies on a node
@option("--stage", envvar=None, is_flag=True, help="Run from node-local disk: each node unpacks the environments once.")
@option("--build-job", is_flag=True, help="Build in a job that the array waits for, not here.")
@resume_options
@option("--lost-too", is_flag=True, needs=("resume", "retry_failed"), help="With them, what a silent task had begun, dead or not.")
@option("--print", "print_only", is_flag=True, help="Print the job script; build and submit nothing.")
@option("--wait", is_flag=True, help="Wait for the end. Ctrl-C leaves the job running.")
@build_options
@click.pass_context
def submit(context: click.Context, /, selection: Selection, build_options: BuildOptions, **given: Any) -> int | SubmitCall:
    """Submit an array job over the scripts, many to a task, to Slurm or Grid Engine.

    All tasks take the next script from one list, so none waits for another.
    Builds what is missing first. Prints the run's name; `sharedenv status` says where it stands.
    """
    console: Console = context.obj
    here = current_folder(os.environ)
    said, words, anew = Inherited(selection, build_options, given), tuple(repeated(context, _ONCE)), all_given(context)
    asked = wanted(selection, script_arguments(context), given, here)
    if words_read := context.meta.get(_READ):
        asked = replace(asked, command=words_read)

    def order(own: Inherited) -> SubmitOrder:
        return replace(_order(own, here), words=words, anew=anew, verbosity=console.verbosity)

    def going_on(run: Run) -> tuple[Wanted, SubmitOrder]:
        only = sequences_of(run, given["group"])
        own = inherit(context, run, selection, build_options, given)
        return replace(asked, selection=own.selection, only=only), order(own)

    again = given["resume"] or given["retry_failed"]
    call = SubmitCall(asked, order(said), going_on, again, given["scheduler"], given["wait"])
    return call if words_read else _carry_out(call, console, here)


def _carry_out(call: SubmitCall, console: Console, here: str) -> int:
    """Submits, and tells of it; the exit status."""
    try:
        ended = submitted(console.pool, call, Surroundings(here, console, Building(console), os.environ))
    except NotBuilt as error:
        return error.exit_code
    if ended.script:
        console.result(ended.script.rstrip("\n"))
    else:
        tell_submitted(ended, call, console, here)
    if ended.is_new and ended.run:
        console.result(ended.run.id)
    return max(follow(ended, call, console, here), tell_bad(ended.work.plan, console) if ended.work and ended.work.cases else 0)


def read(words: Sequence[str], console: Console) -> SubmitCall:
    """What these words of its command line ask for; for a program. Raises SharedenvError for words that it does not take, too."""
    try:
        with submit.make_context("submit", list(words), obj=console) as context:
            context.meta[_READ] = ("sharedenv", "submit", *words)
            call: SubmitCall = submit.invoke(context)
    except click.ClickException as error:
        message = error.format_message().rstrip(".")
        raise SharedenvError(message[:1].lower() + message[1:], hint="sharedenv submit --help", exit_code=EXIT_USAGE) from None
    return call


def _order(own: Inherited, here: str) -> SubmitOrder:
    given = own.given
    task = SbatchOptions(
        time=given["time"],
        partition=given["partition"],
        account=given["account"],
        memory=given["mem"],
        cpus_per_task=given["cpus_per_task"],
        more=given["sbatch"],
        setup=given["setup"],
        grace=None if given["margin"] is None else max(1, round(given["margin"])),
    )
    return SubmitOrder(
        case_terms(given, here),
        own.build_options,
        task,
        given["qsub"],
        Packing(given["tasks"], given["per_task"]),
        given["jobs"],
        given["max_running"],
        given["order"],
        given["after"],
        stage=given["stage"],
        builds=not given["no_build"],
        build_job=given["build_job"],
        print_only=given["print_only"],
        insist=given["insist"],
        upgrade=given["upgrade"],
    )


def tell_submitted(ended: Submitted, call: SubmitCall, console: Console, here: str) -> None:
    """Says what was submitted, or that nothing was."""
    run, work = ended.run, ended.work
    if run is None or not ended.is_new:
        if work is not None:
            console.say("nothing to submit")
            if not ended.joined and run is not None and call.asked.run_id is None and (text := hidden_run(work.layout, run, console)):
                console.say(text)
        return
    if ended.submission is not None:
        told = f"{count(ended.cases, 'script')} for {count(ended.submission.tasks, 'worker')}, job {ended.submission.job}"
        console.say(f"submitted {told} of {ended.scheduler.title}: run {run.id}")
    elif work is not None:
        first = ended.arrays[0]
        told = f"{counted(work.cases)} in {count(first.tasks, 'task')} of job {first.job}"
        console.say(f"submitted {told}{f', after job {first.build} has built' if first.build else ''}: run {run.id}")
    for array in ended.arrays[1:]:
        if array.rung is not None:
            console.say(f"what runs out of that goes on by itself: {array.rung.name}, job {array.job}")
    if ended.logs:
        console.say(f"what they print: {printable(short_path(ended.logs, here))}")
    if not call.waits:
        console.say(f"where it stands: {in_pool_of(ended.layout, f'sharedenv status {run.id}', console)}")
        if ended.arrays:
            console.say(f"for a job that is to follow it: sbatch --dependency=afterok:{last_job(ended.arrays)}")


def follow(ended: Submitted, call: SubmitCall, console: Console, here: str) -> int:
    """Waits for the end of what the queue has of a run, where that is asked; the exit status."""
    arrays = (*ended.queued, *ended.arrays)
    if not call.waits or ended.run is None or ended.script:
        return 0
    if not ended.joined:
        return wait(ended.run, arrays, here, console) if arrays else 0
    if ended.work is not None and not ended.is_new:
        return 0
    return _wait_for_workers(ended.layout, ended.run, console)


def _wait_for_workers(layout: Layout, run: Run, console: Console) -> int:
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
