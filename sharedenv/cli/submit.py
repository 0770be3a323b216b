"""`sharedenv submit`."""

from __future__ import annotations

import os
import shutil
from collections.abc import Collection, Mapping, Sequence
from dataclasses import replace
from typing import Any

import click

from sharedenv.app.beside import look_beside
from sharedenv.app.execute import require_all
from sharedenv.app.guards import refuse_living
from sharedenv.app.journal import create_journal, make_pool
from sharedenv.app.outputs import check_outputs
from sharedenv.app.plan import ordered
from sharedenv.app.project import Selection, tell_strays
from sharedenv.app.resume import earlier_run
from sharedenv.app.sets import put_down_all
from sharedenv.app.work import Wanted, Work, new_work, remember_all
from sharedenv.build.options import BuildOptions
from sharedenv.cli.arguments import CommandWithArguments, Jobs, Lines, duration, script_arguments
from sharedenv.cli.building import build_and_tell, build_options, option_words
from sharedenv.cli.cases import (
    case_options,
    case_terms,
    left_of,
    order_option,
    resume_options,
    wanted,
)
from sharedenv.cli.given import Inherited, all_given, inherit, repeated, words_of
from sharedenv.cli.options import contrary, option
from sharedenv.cli.rungs import ladder_given, last_job, placed, preview, tell_rungs
from sharedenv.cli.scripts import in_pool_of, script_options, skip_bad_option, tell_bad, warned
from sharedenv.cli.slurm import is_on_slurm, wait
from sharedenv.cli.stage import archive_of
from sharedenv.cli.submit_workers import submit_workers
from sharedenv.cli.unfinished import hidden_run
from sharedenv.cluster import slurm
from sharedenv.cluster.arrays import Array, how_of, list_arrays, next_number
from sharedenv.cluster.packing import Packing
from sharedenv.cluster.queued import refuse_submitting
from sharedenv.cluster.sbatch import SbatchOptions, log_path, names_any, without
from sharedenv.cluster.scheduler import SLURM
from sharedenv.cluster.schedulers import SCHEDULERS, scheduler_here, scheduler_of, was_planned
from sharedenv.cluster.status import standing
from sharedenv.cluster.submit import ArrayOrder, array_job, own_python, plan_tasks, settle, submit_array
from sharedenv.errors import EXIT_BUILD, EXIT_FAILED, EXIT_USAGE, SharedenvError
from sharedenv.pool.missing import look_up_all
from sharedenv.report.console import Console
from sharedenv.report.names import case_name, counted
from sharedenv.report.slurm import named
from sharedenv.report.words import count, printable, short_path
from sharedenv.run.case import Case
from sharedenv.run.journal.living import forget_living, note_living
from sharedenv.run.journal.run import Run
from sharedenv.run.journal.sessions import WORKER
from sharedenv.run.listing import lists_of
from sharedenv.run.lost import close_arrays
from sharedenv.run.workers import INTERRUPTED, refuse_live
from sharedenv.start.environ import current_folder
from sharedenv.values import frozen

#: options that --resume does not take over: they name the work itself, or how it was shared out, or belong to one call
_ONCE = frozenset({
    "from_file", "null", "table", "cwd", "tasks", "per_task", "resume", "retry_failed", "run_id", "group", "upgrade", "print_only",
    "fail_fast", "wait", "insist", "order", "joblog", "lost_too", "after",
})


#: options of sbatch that say how many CPUs a task has
_SIZES = frozenset({"cpus-per-task", "exclusive", "ntasks", "ntasks-per-node", "cpus-per-gpu", "n", "ntasks-per-core", "ntasks-per-socket"})


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
def submit(context: click.Context, /, selection: Selection, build_options: BuildOptions, **given: Any) -> int:
    """Submit an array job over the scripts, many to a task, to Slurm or Grid Engine.

    All tasks take the next script from one list, so none waits for another.
    Builds what is missing first. Prints the run's name; `sharedenv status` says where it stands.
    """
    console: Console = context.obj
    here = current_folder(os.environ)
    again = given["resume"] or given["retry_failed"]
    asked = replace(wanted(selection, script_arguments(context), given, here), command=words_of(context))
    found = earlier_run(console.pool, asked, here) if again else None
    own = inherit(context, found.run, selection, build_options, given) if found else Inherited(selection, build_options, given)
    scheduler = scheduler_of(found.run, given["scheduler"], os.environ) if found else scheduler_here(given["scheduler"], os.environ)
    if scheduler is not SLURM or (found and was_planned(found.run)):
        return submit_workers(found, asked, own, repeated(context, _ONCE), scheduler, here, console)
    given = {**own.given, "sbatch": _still_asked(own.given["sbatch"], all_given(context))} if found else given
    order = _order(given, here, console)
    number, queue = 1, _Queue()
    if found:
        number = next_number(found.run.path)
        queue = _queued(found.run)
        work = left_of(replace(found, dead=queue.dead), asked, replace(own, given=given), console, queue.held)
    else:
        work = new_work(console.pool, asked, case_terms(given), here)
    if not given["print_only"]:
        look_beside(work, console, os.environ, insist=given["insist"])
    _tell(work, () if "time" in all_given(context) else queue.cut_off, here, console)
    if not work.cases:
        status = _tell_nothing(work, asked, console)
        return wait(work.run, queue.arrays, here, console) if given["wait"] and work.run and queue.arrays else status
    instead = "sharedenv submit … without --capture keeps what a task's scripts print in one file"
    check_outputs(work.cases, given["capture"], order.how.joblog, instead)
    order = placed(order, work, given["after"], all_given(context), console)
    tasks = plan_tasks(len(work.cases), order, os.environ)
    if given["print_only"]:
        console.result(preview(work, number, tasks, order, "BUILD" if given["build_job"] and _missing(work) else None).rstrip("\n"))
        return 0
    if given["no_build"]:
        require_all(work, strict=own.build_options.strict)
    elif not given["build_job"] and build_and_tell(work.project, work.needed, own.build_options, 2, console)[1]:
        return EXIT_BUILD
    make_pool(work.layout, console)
    if not given["no_build"]:
        remember_all(work)
    if given["stage"]:
        _make_archives(work, console)
    words = ["--joblog", order.how.joblog] if order.how.joblog else []  # wherever it goes on, it is this file
    run = work.run or create_journal(work, asked, {"slurm": True, "again": [*repeated(context, _ONCE), *words]})
    if given["build_job"]:
        order = replace(order, build=_build_command(work, own.selection.python, own.build_options), missing=_missing(work))
    close_arrays(run, _over(run, number, queue))
    cases, known = ordered(work, given["order"], console)
    arrays = _submit(work, run, number, cases, tasks, replace(order, known=known), console, insist=given["insist"])
    _tell_submitted(work, run, arrays, order, console, here, wait=given["wait"])
    console.result(run.id)
    return max(wait(run, (*queue.arrays, *arrays), here, console) if given["wait"] else 0, tell_bad(work.plan, console))


def _over(run: Run, number: int, queue: _Queue) -> list[str]:
    """The folders of earlier arrays that nobody works on any more. One from this ``number`` on is another process's, made meanwhile."""
    queued = {array.path for array in queue.arrays}
    return [folder for folder in lists_of(run) if folder not in queued and int(os.path.basename(folder)) < number]


def _tell_submitted(work: Work, run: Run, arrays: Sequence[Array], order: ArrayOrder, console: Console, here: str, *, wait: bool) -> None:
    array = arrays[0]
    told = f"{counted(work.cases)} in {count(array.tasks, 'task')} of job {array.job}"
    after = f", after job {array.build} has built" if array.build else ""
    console.say(f"submitted {told}{after}: run {run.id}")
    tell_rungs(arrays, console)
    if order.how.capture is None:
        logs = log_path(array_job(run.id, array, order, None), array.job)
        console.say(f"what they print: {printable(short_path(logs, here))}")
    if not wait:
        console.say(f"where it stands: {in_pool_of(work.layout, f'sharedenv status {run.id}', console)}")
        console.say(f"for a job that is to follow it: sbatch --dependency=afterok:{last_job(arrays)}")


def _tell(work: Work, cut_off: Collection[int], here: str, console: Console) -> None:
    """What is to be known of the work before it is submitted. ``cut_off``: sequences of what was at work when this time limit was met."""
    tell_strays(work.project, console)
    warned(work.plan, console)
    for note in work.notes:
        console.say(note)
    for case in work.settled:
        console.say(f"gone: {case_name(case, lambda path: short_path(path, here))}")
    if again := [case for case in work.cases if case.sequence in cut_off]:
        names = named(again, lambda path: short_path(path, here))
        console.say(f"cut off at the time limit before, which is still the same (--time): {names}")


def _tell_nothing(work: Work, asked: Wanted, console: Console) -> int:
    console.say("nothing to submit")
    if work.run is not None and asked.run_id is None and (text := hidden_run(work.layout, work.run, console)):
        console.say(text)
    return 0


def _still_asked(sbatch: Sequence[str], anew: Collection[str]) -> tuple[str, ...]:
    """What an earlier submission gave with --sbatch, without what this command line says anew, and without what held that job alone."""
    if "sbatch" in anew:
        return tuple(sbatch)
    return without(sbatch, {"hold", "dependency", *(name.replace("_", "-") for name in anew)})


def _order(given: Mapping[str, Any], here: str, console: Console) -> ArrayOrder:
    if given["qsub"]:
        raise SharedenvError("--qsub is not for Slurm", hint="sharedenv submit --sbatch OPT …", exit_code=EXIT_USAGE)
    ladder = ladder_given(given, os.environ)
    options = SbatchOptions(
        time=ladder[0].time if ladder else given["time"] or os.environ.get("SBATCH_TIMELIMIT"),
        partition=given["partition"],
        account=given["account"],
        memory=ladder[0].memory if ladder else given["mem"],
        cpus_per_task=_cpus_per_task(given),
        more=(*_error_file(os.environ), *given["sbatch"]),
        setup=given["setup"],
        grace=None if given["margin"] is None else max(1, round(given["margin"])),
    )
    joblog = None if given["joblog"] is None else os.path.join(here, given["joblog"])
    how = how_of(case_terms(given, joblog), jobs=given["jobs"], stage=given["stage"], verbosity=console.verbosity)
    return ArrayOrder(options, Packing(given["tasks"], given["per_task"]), how, here, given["max_running"], ladder=ladder)


def _cpus_per_task(given: Mapping[str, Any]) -> int | None:
    """CPUs of a task: what its scripts need, where nobody says otherwise. Raises SharedenvError where it is less."""
    asked: int | None = given["cpus_per_task"]
    each, jobs = given["cpus_per_case"], given["jobs"] or 1
    if each is None:
        return asked
    if asked is None:
        needed: int = each * jobs
        return None if names_any(given["sbatch"], _SIZES) else needed
    if asked < each * jobs:
        raise SharedenvError(
            f"can't run {count(jobs, 'script')} at a time with {each} CPUs each in a task of {asked}",
            hint=f"--cpus-per-task {each * jobs}",
        )
    return asked


def _error_file(environ: Mapping[str, str]) -> tuple[str, ...]:
    """What a variable says of the one thing that our own options leave to it and that could lose output."""
    return (f"--error={file}",) if (file := environ.get("SBATCH_ERROR")) else ()


@frozen
class _Queue:
    """What earlier submissions of a run still have in the queue: sequences, and the arrays; the sequences of what was at work when a time
    limit was met; the writers that ended without a word, and that Slurm has seen end.
    """

    held: frozenset[int] = frozenset()
    arrays: tuple[Array, ...] = ()
    cut_off: frozenset[int] = frozenset()
    dead: frozenset[str] = frozenset()


def _queued(run: Run) -> _Queue:
    """Raises SharedenvError when Slurm can't say."""
    if not is_on_slurm(run):
        return _Queue()
    refuse_submitting(run.path)
    settle(run.path, os.environ)
    stands = standing(run, os.environ)
    if stands.trouble:
        raise SharedenvError(
            f"can't tell what of run {run.id} is still in the queue", cause=stands.trouble, hint="squeue --me", exit_code=EXIT_FAILED
        )
    arrays = tuple(array for array in list_arrays(run.path) if array.job in stands.live or not stands.held.isdisjoint(array.sequences))
    cut_off = [sequence for sequence in stands.sequences(INTERRUPTED) if stands.states[sequence].reason.startswith(slurm.TIME_UP)]
    return _Queue(stands.held, arrays, frozenset(cut_off), stands.dead)


def _submit(
    work: Work, run: Run, number: int, cases: Sequence[Case], tasks: int, order: ArrayOrder, console: Console, *, insist: bool
) -> list[Array]:
    def look_again() -> None:
        """Another may have begun them at the same moment: of two that look once they can be seen, one sees the other."""
        note_living(run)
        refuse_live(run.id, run.sessions(), WORKER)
        if not insist:
            refuse_living(work.layout, work.cases, os.environ, run.id)

    try:
        sets = _sets(work, run)
        added = work.planned if work.run else ()
        return submit_array(run, number, cases, added, tasks, replace(order, sets=sets), os.environ, console.say, look_again)
    except slurm.Unclear:
        raise  # the job may be in the queue, and needs the run
    except BaseException:
        if work.run is None:
            shutil.rmtree(run.path, ignore_errors=True)
            forget_living(run)
        raise


def _sets(work: Work, run: Run) -> Mapping[str, str]:
    """Puts down the sets of versions that the run has from here on: those of the environments that are there."""
    return put_down_all(work.layout, run, look_up_all(work.layout, work.needed)[0].values())


def _missing(work: Work) -> tuple[str, ...]:
    """A script for each environment of the work that is not built."""
    return tuple(work.plan.needs[key].scripts[0] for key in look_up_all(work.layout, work.needed)[1])


def _build_command(work: Work, python: str | None, options: BuildOptions) -> tuple[str, ...]:
    command = own_python("sharedenv.entry", "--pool", work.layout.path, "build")
    no_lock = ("--no-lock",) if work.project.no_lock else ()
    return (*command, *(("--python", python) if python else ()), *no_lock, *option_words(options))


def _make_archives(work: Work, console: Console) -> None:
    """Makes here what --stage unpacks on the nodes; what a job has yet to build, its first task packs."""
    for environment in look_up_all(work.layout, work.needed)[0].values():
        archive_of(work.layout, environment, console)
