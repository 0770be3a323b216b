"""`sharedenv run`."""

from __future__ import annotations

import functools
import os
import shlex
from collections.abc import Callable, Mapping
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import click

from sharedenv.app.execute import RunEnd
from sharedenv.app.outputs import check_outputs
from sharedenv.app.project import Selection, tell_plan, tell_strays
from sharedenv.app.run import RunOrder, allotted, carried_out, make_ready
from sharedenv.app.work import Wanted, Work, new_work
from sharedenv.build.options import BuildOptions
from sharedenv.cli.arguments import CommandWithArguments, Jobs, duration, script_arguments
from sharedenv.cli.building import build_options
from sharedenv.cli.cases import case_options, case_terms, left_of, resume_options, wanted
from sharedenv.cli.doubt import doubt
from sharedenv.cli.given import Inherited, inherit, repeated
from sharedenv.cli.options import contrary, option
from sharedenv.cli.scripts import in_pool_of, script_options, skip_bad_option, tell_bad
from sharedenv.errors import EXIT_BUILD, EXIT_FAILED, EXIT_INTERRUPTED, SharedenvError
from sharedenv.report.console import Console
from sharedenv.report.output import Output, tag_of
from sharedenv.report.running import Screen
from sharedenv.report.summary import summarize, summary_lines
from sharedenv.report.words import case_name, count, first_names, short_path
from sharedenv.run.case import UNBUILT
from sharedenv.run.joblog import Joblog
from sharedenv.run.journal.run import Run
from sharedenv.run.journal.runs import list_runs
from sharedenv.run.journal.sessions import LOCAL
from sharedenv.run.journal.shares import array_of, share_of
from sharedenv.start.environ import current_folder

if TYPE_CHECKING:
    from sharedenv.app.resume import Earlier
    from sharedenv.cluster.crew import Crew
    from sharedenv.cluster.share import Share

#: options that --resume does not take over: they name the work itself, which the plan holds, or belong to one call and not to
#: how its scripts are run
_ONCE = frozenset({
    "from_file", "null", "table", "cwd", "joblog", "resume", "retry_failed", "run_id", "group", "upgrade", "array", "no_wait", "shard",
    "dry_run", "fail_fast", "lost_too", "insist",
})
_JOBS = "Scripts at a time. [default: SLURM_CPUS_PER_TASK, NSLOTS, or the CPUs this process may use]"


@contrary("launcher", "preload", why="a launcher starts a Python of its own, and --preload forks one")
@contrary("array", "shard", why="--array is one run of all tasks, --shard one of its own")
@contrary("resume", "retry_failed", why="--resume runs what failed, too")
@click.command(cls=CommandWithArguments, options_metavar="[OPTIONS]", epilog="Words after -- are given to every script.")
@script_options
@skip_bad_option
@option("--jobs", "-j", type=Jobs(), metavar="N", help=_JOBS)
@case_options
@option("--delay", type=duration, default=0.0, metavar="TIME", help="Wait this long between two starts.")
@option("--tag", is_flag=True, help="Put the script's path and a tab before each line of its output.")
@option("--keep-order", "-k", is_flag=True, help="Pass outputs on in the order of the scripts, not as they end.")
@option("--joblog", metavar="FILE", help="Write GNU parallel's log; an earlier file is replaced; --resume and shares go on in it.")
@resume_options
@option("--lost-too", is_flag=True, needs=("resume", "retry_failed"), help="With them, what a silent worker had begun, dead or not.")
@option("--array", is_flag=True, help="One run for all tasks of this array job (Slurm, PBS, LSF, SGE): each takes what is next.")
@option("--no-wait", is_flag=True, needs=("array",), help="With it, begin before the run of the script's line before has ended.")
@option("--shard", metavar="I/N", help="Only the I-th of N shares.")
@option("--dry-run", is_flag=True, help="Print the commands; build and run nothing.")
@build_options
@click.pass_context
def run(context: click.Context, /, selection: Selection, build_options: BuildOptions, **given: Any) -> int:
    """Build what is missing, then run every script in its environment.

    SCRIPT is a file or a quoted pattern: 'case*/script.py', '**/script.py'.

    Each script runs in its own folder, without input; its output appears whole when it ends. A first
    TERM or USR1 starts nothing more and waits; a second, or Ctrl-C, ends what runs. Afterwards --resume
    goes on from there.
    """
    console: Console = context.obj
    if (crew := _crew(given, selection)) is not None:
        from sharedenv.cli.crew import OWN, Said, run_in_crew  # noqa: PLC0415 - most runs have one process

        words, again = repeated(context, OWN), repeated(context, _ONCE)
        said = Said(selection, script_arguments(context), build_options, given, words, again,
                    lambda run: inherit(context, run, selection, build_options, given))  # fmt: skip
        return run_in_crew(crew, said, console)
    here = current_folder(os.environ)
    own = Inherited(selection, build_options, given)
    asked, work, own = _chosen(
        own, script_arguments(context), lambda run: inherit(context, run, selection, build_options, given), here, console
    )
    build_options, given = own.build_options, dict(own.given)
    again = given["resume"] or given["retry_failed"]
    joblog_path = None if given["joblog"] is None else os.path.join(here, given["joblog"])
    check_outputs(work.cases, given["capture"], joblog_path)
    tell_strays(work.project, console)
    _warn(work, asked, given["no_build"], console)
    for note in work.notes:
        console.say(note)
    if text := doubt(asked, work, os.environ):
        console.warn(text)
    order = _order(given, build_options, asked, _extra(repeated(context, _ONCE), asked, joblog_path, work.layout.runs, again))
    if given["dry_run"]:
        from sharedenv.cli.dry_run import dry_run  # noqa: PLC0415 - most runs are real

        return dry_run(work, console, allotted(order, console, os.environ, dry=True), order.terms)
    ready = make_ready(work, order, console, os.environ)
    if not work.cases and not work.settled:
        return _tell_nothing(console, work, asked)
    turns = [case.sequence for case in work.cases] if given["keep_order"] else None
    screen = Screen(console, Output(tag_of(here) if given["tag"] else None, turns), lambda path: short_path(path, here))
    allotment = allotted(order, console, os.environ)
    joblog = _open_joblog(joblog_path, again, work, asked.share)
    expect = functools.partial(_expect, screen, work)
    with carried_out(work, asked, order, ready, allotment, screen, os.environ, joblog, expect) as (journal, ended):
        status = _tell(console, work, journal, ended, here)
        if asked.failed_only and status == 0 and work.unrun:
            status = _tell_unrun(console, work, "")
    if ready.environments.missing and order.builds and not order.share:
        from sharedenv.cli.trimming import trim_and_tell  # noqa: PLC0415 - most runs find all built

        trim_and_tell(work.layout, work.plan.needs, console)
    return status


def _chosen(
    said: Inherited, arguments: tuple[str, ...] | None, inherited: Callable[[Run], Inherited], here: str, console: Console
) -> tuple[Wanted, Work, Inherited]:
    """What to run, of a new run or of an earlier one, and with which options: those that it goes on with. Raises SharedenvError."""
    given = said.given
    asked = wanted(said.selection, arguments, given, here, _share(given))
    found = _earlier(asked, given, here, console) if given["resume"] or given["retry_failed"] else None
    if found is None:
        return asked, new_work(console.pool, asked, case_terms(given), here), said
    own = inherited(found.run)
    return asked, left_of(found, asked, own, console), own


def _earlier(asked: Wanted, given: Mapping[str, Any], here: str, console: Console) -> Earlier | None:
    """The run to go on with; None for a share that never began, which is to run as a new one. Raises SharedenvError."""
    from sharedenv.app.resume import NoRun, idle_run  # noqa: PLC0415 - a new run does without

    if asked.share is not None and asked.selection.empty:
        flag = "--resume" if given["resume"] else "--retry-failed"
        raise SharedenvError(
            f"{flag} of a share needs the scripts: the last run may be that of another share",
            hint=f"sharedenv run {flag} --shard {given['shard']} 'case*/script.py'",
        )
    try:
        return idle_run(console.pool, asked, here, os.environ, insist=given["insist"])
    except NoRun:
        if asked.share is None or asked.failed_only:
            raise
        console.say(f"share {asked.share} was never begun: running all of it")
        return None


def _tell_nothing(console: Console, work: Work, asked: Wanted) -> int:
    if asked.failed_only and work.unrun:
        return _tell_unrun(console, work, "nothing failed, but ")
    console.say("nothing to run")
    if work.run is not None and asked.run_id is None:
        from sharedenv.cli.unfinished import hidden_run  # noqa: PLC0415 - only where there is nothing to run

        if text := hidden_run(work.layout, work.run, console):
            console.say(text)
    return tell_bad(work.plan, console)


def _tell_unrun(console: Console, work: Work, before: str) -> int:
    command = f"sharedenv run --resume{f' --run-id {work.run.id}' if work.run else ''}"
    console.say(f"{before}{count(work.unrun, 'script')} never ran to the end: {in_pool_of(work.layout, command, console)}")
    return EXIT_FAILED


def _crew(given: Mapping[str, Any], selection: Selection) -> Crew | None:
    """The tasks to work on one run with; None where this process has a run of its own. Raises SharedenvError."""
    step = "SLURM_PROCID" in os.environ and selection.from_file != "-"  # what each reads may be another list
    if given["shard"] or given["dry_run"] or not (given["array"] or step):
        return None
    from sharedenv.cluster.crew import crew_of  # noqa: PLC0415 - most runs have one process

    return crew_of(os.environ, array=given["array"])


def _share(given: Mapping[str, Any]) -> Share | None:
    if not given["shard"]:
        return None
    from sharedenv.cluster.share import parse_shard  # noqa: PLC0415 - most runs are no share

    return parse_shard(given["shard"])


def _warn(work: Work, asked: Wanted, no_build: bool, console: Console) -> None:
    """Tells what the plan warns of, once for all scripts: not by each task of an array, nor again after the build."""
    if not (work.plan.warnings or work.plan.bad) or no_build or asked.share is not None:
        return
    from sharedenv.cluster.crew import array_name  # noqa: PLC0415 - only where there is something to tell

    if not array_name(os.environ):
        tell_plan(work.plan, console)


def _order(given: Mapping[str, Any], build: BuildOptions, asked: Wanted, noted: Mapping[str, Any]) -> RunOrder:
    share = asked.share is not None
    terms = case_terms(given)
    noted = {**noted, "terms": terms.record()}
    return RunOrder(terms, build, given["jobs"], given["delay"], not given["no_build"], given["insist"], share, noted)


def _open_joblog(path: str | None, again: bool, work: Work, share: Share | None) -> Joblog | None:
    if path is None:
        return None
    place = None
    if share is None and work.run is not None and (part := share_of(work.run)):
        place = _place(*part)  # that share's run, gone on with by its name
    elif share is not None:  # one that goes on with the run of them all has the sequences of them all
        place = _place(share.index + 1, share.count) if work.writer == LOCAL else _place(1, 1)
    try:
        return Joblog(path, append=again, place=place)
    except OSError as error:
        raise SharedenvError(f"can't write the joblog {path}", cause=error.strerror) from None


def _expect(screen: Screen, work: Work, journal: Run) -> None:
    screen.expect(lambda: _took(work, journal))


def _took(work: Work, journal: Run) -> Mapping[int, float]:
    from sharedenv.app.plan import durations_before  # noqa: PLC0415 - most runs have ended before they ask

    try:
        return durations_before(work.layout, work.cases, journal.id)
    except OSError:
        return {}  # an estimate without it will do


def _place(index: int, count: int) -> Callable[[int], int]:
    """The sequence in the list of all of a case that has one in a share (``index`` from 1)."""
    from sharedenv.cluster.share import Share, position  # noqa: PLC0415 - most runs are no share

    share = Share(index - 1, count)
    return lambda sequence: position(sequence - 1, share) + 1


def _extra(words: list[str], asked: Wanted, joblog: str | None, runs: str, again: bool) -> dict[str, Any]:
    if joblog is not None:  # wherever it goes on, it is this file
        words += ["--joblog", joblog]
    if asked.share is None:
        return {"again": words}
    from sharedenv.cluster.crew import array_name  # noqa: PLC0415 - most runs are no share

    array = array_name(os.environ)
    if again:  # a share that never began belongs to what the others began
        array = next((array_of(run) for run in list_runs(runs) if share_of(run)), array)
    return {"again": words, "share": str(asked.share), "array": array}


def _tell(console: Console, work: Work, journal: Run, ended: RunEnd, here: str) -> int:
    results = {
        sequence: replace(result, error=f"{UNBUILT} (why: above)") if result.unbuilt and ended.errors else result
        for sequence, result in ended.outcome.results.items()
    }
    summary = summarize(work.cases, results, ended.seconds)
    if ended.errors:
        console.errors(ended.errors)
        console.say("")
    for line in summary_lines(summary, lambda path: short_path(path, here), console.style, everything=console.verbosity > 0):
        console.say(line)
    if ended.edited:
        some = first_names(list(dict.fromkeys(case.script for case in ended.edited)), lambda path: short_path(path, here), 1)
        console.warn(f"edited since the run began, so its result may be of either text: {some}; --resume runs it again")
    for case in work.settled:
        console.say(f"gone: {case_name(case, lambda path: short_path(path, here))}")
    if ended.unwritten:
        numbers = ", ".join(str(result.sequence) for result in ended.unwritten[:20])
        console.error(SharedenvError(
            f"{count(len(ended.unwritten), 'result')} could not be written to the journal of run {journal.id}",
            cause=f"they will be run again: cases {numbers}{' …' if len(ended.unwritten) > 20 else ''}",
            hint=f"df -h -i {shlex.quote(work.layout.path)}",
        ))
    bad = tell_bad(work.plan, console)
    left = summary.left or ended.unwritten
    kept = journal.path.startswith(work.layout.path + os.sep)
    if kept and (left or summary.failed or work.settled):
        flag = "--resume" if left else "--retry-failed"
        command = in_pool_of(work.layout, f"sharedenv run {flag} --run-id {journal.id}", console)
        console.say(f"{'to go on' if left else 'to run them again'}: {command}")
    if ended.outcome.interrupted or (ended.outcome.left and ended.outcome.reason.startswith("SIG")):
        return EXIT_INTERRUPTED
    if ended.errors:
        return EXIT_BUILD
    return EXIT_FAILED if summary.failed or left or work.settled else bad
