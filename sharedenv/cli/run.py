"""`sharedenv run`."""

from __future__ import annotations

import os
import shlex
import sys
from collections.abc import Mapping, Sequence
from typing import Any

import click

from sharedenv.cli.arguments import CommandWithArguments, Duration, script_arguments
from sharedenv.cli.building import build_options
from sharedenv.cli.common import Selection, script_options
from sharedenv.cli.options import option
from sharedenv.cli.running import Ended, execute, require_all
from sharedenv.cli.work import Wanted, Work, new_work, resumed_work
from sharedenv.errors import EXIT_BUILD, EXIT_FAILED, EXIT_INTERRUPTED, SharedenvError
from sharedenv.pool.construct import BuildOptions
from sharedenv.pool.create import create_pool
from sharedenv.pool.store import published
from sharedenv.report.console import Console
from sharedenv.report.output import Output
from sharedenv.report.running import Screen
from sharedenv.report.summary import printable, summarize, summary_lines
from sharedenv.report.words import count, short_path
from sharedenv.run.batch import Options
from sharedenv.run.case import Case
from sharedenv.run.joblog import Joblog
from sharedenv.run.journal import Run, create_run
from sharedenv.run.starter import PlainStarter, Starter
from sharedenv.slurm.queued import job_in_queue
from sharedenv.slurm.share import Share, parse_shard, share_from_environment

#: options that a hint to run again repeats, where they were given
_REPEATED = ("jobs", "timeout", "grace", "retries", "fail_fast", "delay", "tag", "keep_order", "capture", "threads", "preload", "no_build")
_JOBS = "Scripts at a time. [default: SLURM_CPUS_PER_TASK, or the CPUs this process may use]"


@click.command(cls=CommandWithArguments, options_metavar="[OPTIONS]", epilog="Words after -- are given to every script.")
@script_options
@option("--jobs", "-j", type=click.IntRange(min=1), metavar="N", help=_JOBS)
@option("--timeout", type=Duration(), metavar="TIME", help="End a script that takes longer: 90, 10m, 2h.")
@option("--grace", type=Duration(), default=10.0, show_default="10", metavar="TIME", help="From TERM to KILL.")
@option("--retries", type=click.IntRange(min=1), default=1, metavar="N", help="Try a script that fails up to N times in all.")
@option("--fail-fast", is_flag=True, help="Start nothing more after the first failure.")
@option("--delay", type=Duration(), default=0.0, metavar="TIME", help="Wait this long between two starts.")
@option("--cwd", metavar="DIR", help="Start every script there. [default: each in its own folder]")
@option("--tag", is_flag=True, help="Put the script's path and a tab before each line of its output.")
@option("--keep-order", "-k", is_flag=True, help="Pass outputs on in the order of the scripts, not as they end.")
@option("--capture", metavar="NAME", help="Write each script's output to this file in its folder.")
@option("--joblog", metavar="FILE", help="Write GNU parallel's log.")
@option("--threads", type=click.IntRange(min=1), metavar="N", help="Set OMP_NUM_THREADS and its kin to N.")
@option("--preload", is_flag=True, help="Import once what the scripts import, and fork for each of them (Linux).")
@option("--resume", is_flag=True, help="Run what the last run over these scripts left undone, or what failed in it.")
@option("--retry-failed", is_flag=True, help="Run what failed in it, and no more.")
@option("--run-id", metavar="ID", help="The run that --resume and --retry-failed mean. [default: the last one]")
@option("--array", is_flag=True, help="Only this array task's share (Slurm, PBS, LSF, SGE).")
@option("--shard", metavar="I/N", help="Only the I-th of N shares.")
@option("--no-build", is_flag=True, help="A missing environment is an error at once.")
@option("--dry-run", is_flag=True, help="Print the commands; build and run nothing.")
@build_options
@click.pass_context
def run(context: click.Context, /, selection: Selection, build_options: BuildOptions, **given: Any) -> int:
    """Build what is missing, then run every script in its environment.

    Each script runs in its own folder, without input; its output appears whole when it ends. A first
    TERM or USR1 starts nothing more and waits; a second, or Ctrl-C, ends what runs. Afterwards --resume
    goes on from there.
    """
    console: Console = context.obj.console
    here = os.getcwd()
    wanted = _wanted(context, selection, given, here)
    again = given["resume"] or given["retry_failed"]
    work = resumed_work(context, wanted, here) if again else new_work(context, wanted, here)
    if work.run is not None and (job := job_in_queue(work.run.path, os.environ)):
        raise SharedenvError(
            f"run {work.run.id} is not over: job {job} is still in Slurm's queue and runs its cases",
            hint=f"sharedenv cancel {work.run.id}, or wait: sharedenv status {work.run.id}",
        )
    for note in work.notes:
        console.say(note)
    if given["dry_run"]:
        return _dry_run(work, console)
    _check_capture(work.cases, given["capture"])
    if given["no_build"]:
        require_all(work)
    if not work.cases and not work.settled:
        console.say("nothing to run")
        return 0
    create_pool(work.layout)
    joblog = _open_joblog(given["joblog"], append=again)
    journal = work.run or _create(work, wanted, context, given)
    order = [case.sequence for case in work.cases] if given["keep_order"] else None
    screen = Screen(console, Output(_tag(here) if given["tag"] else None, order), lambda path: short_path(path, here))
    starter = _starter(screen) if given["preload"] else PlainStarter()
    try:
        ended = execute(
            work,
            journal,
            starter=starter,
            options=_options(given),
            build_options=build_options,
            screen=screen,
            joblog=joblog,
            threads=given["threads"],
        )
    finally:
        starter.close()
    return _tell(console, work, journal, ended, here, _hint(context, given))


def _wanted(context: click.Context, selection: Selection, given: Mapping[str, Any], here: str) -> Wanted:
    if given["resume"] and given["retry_failed"]:
        raise SharedenvError("--resume runs what failed too: give one of --resume and --retry-failed")
    if given["run_id"] and not (given["resume"] or given["retry_failed"]):
        raise SharedenvError("--run-id names a run to go on with", hint=f"sharedenv run --resume --run-id {given['run_id']}")
    if given["array"] and given["shard"]:
        raise SharedenvError("--array and --shard both name a share: give one of them")
    share: Share | None = None
    if given["shard"]:
        share = parse_shard(given["shard"])
    elif given["array"]:
        share = share_from_environment(os.environ)
    cwd = None if given["cwd"] is None else os.path.normpath(os.path.join(here, given["cwd"]))
    if cwd is not None and not os.path.isdir(cwd):
        raise SharedenvError(f"--cwd {given['cwd']} is no folder")
    return Wanted(selection, script_arguments(context), cwd, share, given["run_id"], given["retry_failed"])


def _starter(screen: Screen) -> Starter:
    from sharedenv.run.preload import PreloadStarter  # noqa: PLC0415 - other runs do without sockets and ast

    return PreloadStarter(screen.say)


def _options(given: Mapping[str, Any]) -> Options:
    return Options(
        jobs=given["jobs"] or default_jobs(os.environ),
        timeout=given["timeout"],
        grace=given["grace"],
        tries=given["retries"],
        fail_fast=given["fail_fast"],
        delay=given["delay"],
        capture=given["capture"],
        hesitation=1.0 if "SLURM_JOB_ID" in os.environ else 0.0,
    )


def default_jobs(environ: Mapping[str, str]) -> int:
    """SLURM_CPUS_PER_TASK, or the CPUs that this process may use."""
    given = environ.get("SLURM_CPUS_PER_TASK", "")
    if given.isascii() and given.isdigit() and int(given) > 0:
        return int(given)
    try:
        return len(os.sched_getaffinity(0))
    except AttributeError:  # macOS
        return os.cpu_count() or 1


def _tag(here: str) -> Any:
    return lambda case: os.fsencode(short_path(case.script, here).replace("\n", "\\n")) + b"\t"


def _check_capture(cases: Sequence[Case], name: str | None) -> None:
    """Two scripts that write one file would leave the output of one of them only."""
    if name is None:
        return
    if not name or name.endswith("/"):
        raise SharedenvError("--capture needs the name of a file")
    seen: dict[str, Case] = {}
    for case in cases:
        path = os.path.join(case.folder, name)
        if (other := seen.setdefault(path, case)) is not case:
            raise SharedenvError(
                f"--capture {name} would be written by several scripts",
                cause=f"{other.script} and {case.script} start in the same folder",
                hint="sharedenv run --tag … > FILE keeps them in one file",
            )


def _open_joblog(path: str | None, *, append: bool) -> Joblog | None:
    if path is None:
        return None
    try:
        return Joblog(path, append=append)
    except OSError as error:
        raise SharedenvError(f"can't write the joblog {path}", cause=error.strerror) from None


def _create(work: Work, wanted: Wanted, context: click.Context, given: Mapping[str, Any]) -> Run:
    extra: dict[str, Any] = {"again": _repeated(context, given)}
    if wanted.share is not None:
        extra["share"] = str(wanted.share)
    try:
        return create_run(
            work.layout.runs,
            work.planned,
            command=sys.argv,
            arguments=wanted.arguments or (),
            cwd=wanted.cwd,
            extra=extra,
        )
    except OSError as error:
        raise SharedenvError(
            f"can't write the journal below {work.layout.runs}",
            cause=error.strerror,
            hint=f"df -h -i {shlex.quote(work.layout.path)}",
            exit_code=EXIT_FAILED,
        ) from None


def _dry_run(work: Work, console: Console) -> int:
    pythons: dict[str, str] = {}
    missing = 0
    for key in work.plan.needs:
        path = published(work.layout, key)
        missing += path is None
        pythons[key] = os.path.join(path or os.path.join(work.layout.keys, key), "bin", "python")
    for case in work.cases:
        command = shlex.join([pythons[case.key], case.script, *case.arguments])
        console.result(f"cd {shlex.quote(case.folder)} && {command}")
    if missing:
        console.say(f"{count(missing, 'environment')} would be built")
    console.say(f"{count(len(work.cases), 'script')} would run")
    return 0


def _tell(console: Console, work: Work, journal: Run, ended: Ended, here: str, again: str) -> int:
    results = dict(ended.outcome.results)
    summary = summarize(work.cases, results, ended.seconds)
    for error in ended.errors:
        console.error(error)
    for line in summary_lines(summary, lambda path: short_path(path, here), console.style):
        console.say(line)
    for case in work.settled:
        console.say(f"gone: {printable(short_path(case.script, here))}")
    if ended.unwritten:
        numbers = ", ".join(str(result.sequence) for result in ended.unwritten[:20])
        console.error(SharedenvError(
            f"{count(len(ended.unwritten), 'result')} could not be written to the journal of run {journal.id}",
            cause=f"they will be run again: cases {numbers}{' …' if len(ended.unwritten) > 20 else ''}",
            hint=f"df -h -i {shlex.quote(work.layout.path)}",
        ))
    left = summary.left or ended.unwritten
    if left or summary.failed or work.settled:
        flag = "--resume" if left else "--retry-failed"
        console.say(f"{'to go on' if left else 'to run them again'}: {again.format(flag=flag, run=journal.id)}")
    if ended.outcome.interrupted or (ended.outcome.left and ended.outcome.reason.startswith("SIG")):
        return EXIT_INTERRUPTED
    if ended.errors:
        return EXIT_BUILD
    return EXIT_FAILED if summary.failed or left or work.settled else 0


def _repeated(context: click.Context, given: Mapping[str, Any]) -> list[str]:
    words: list[str] = []
    for parameter in context.command.params:
        name = parameter.name or ""
        if name in _REPEATED and context.get_parameter_source(name) is click.core.ParameterSource.COMMANDLINE:
            flag = max(parameter.opts, key=len)
            words += [flag] if given[name] is True else [flag, f"{given[name]:g}" if isinstance(given[name], float) else str(given[name])]
    return words


def _hint(context: click.Context, given: Mapping[str, Any]) -> str:
    pool = context.obj.pool
    words = ["sharedenv", *(["--pool", pool] if pool else []), "run", "{flag}", "--run-id", "{run}", *_repeated(context, given)]
    return " ".join(word if word.startswith("{") else shlex.quote(word).replace("{", "{{").replace("}", "}}") for word in words)
