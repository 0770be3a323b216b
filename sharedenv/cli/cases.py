"""What `run` and `submit` share: how the cases are run, and the journal they go into."""

from __future__ import annotations

import os
import shlex
import sys
from collections.abc import Mapping
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import click

from sharedenv.app.launcher import launcher_words
from sharedenv.app.project import Selection
from sharedenv.app.work import Request, Wanted, Work
from sharedenv.app.work import wanted as checked
from sharedenv.cli.arguments import Lines, duration, launcher_text
from sharedenv.cli.building import Building
from sharedenv.cli.options import Function, option
from sharedenv.errors import SharedenvError
from sharedenv.report.console import Console
from sharedenv.run.terms import ORDERS, Terms

if TYPE_CHECKING:
    from sharedenv.app.resume import Earlier
    from sharedenv.cli.given import Inherited
    from sharedenv.cluster.share import Share

_CASE_OPTIONS = (
    option("--table", metavar="FILE", yields=("resume", "retry_failed"), help="One case a row of this CSV, TSV or JSON lines file."),
    option("--timeout", type=duration, metavar="TIME", help="End a script that takes longer: 90, 10m, 2h; 0: never."),
    option("--grace", type=duration, default=10.0, metavar="TIME", help="From TERM to KILL. [default: 10 s]"),
    option("--retries", type=click.IntRange(min=1), default=1, metavar="N", help="Try a script that fails up to N times in all."),
    option("--fail-fast", is_flag=True, help="Start nothing more after the first failure, whichever task or worker it is in."),
    option("--cwd", metavar="DIR", yields=("resume", "retry_failed"), help="Start every script there. [default: each in its own folder]"),
    option("--capture", metavar="NAME", help="Write each script's output to this file in its folder, in place of what is there."),
    option("--creates", type=Lines(), multiple=True, metavar="NAME", help="Done when this file is in its folder, before it starts too."),
    option("--launcher", type=launcher_text, metavar="CMD", help="Words before each script's Python: 'mpirun -n 4'."),
    option("--threads", type=click.IntRange(min=1), metavar="N", help="Set OMP_NUM_THREADS and its kin to N. [default: --cpus-per-case]"),
    option("--gpus-per-case", type=click.IntRange(min=1), metavar="N", help="Show each script N of the job's GPUs that no other one has."),
    option("--cpus-per-case", type=click.IntRange(min=1), metavar="N", help="Bind each script to N CPUs of its own, whole cores (Linux)."),
    option("--insist", is_flag=True, help="Begin also what another run is at work on."),
    option("--preload", is_flag=True, help="Import once what the scripts import, and fork for each of them (Linux)."),
)
_RESUME_OPTIONS = (
    option("--resume", is_flag=True, help="Go on with the last run over these scripts and its options: what is left undone, what failed."),
    option("--retry-failed", is_flag=True, help="What failed in it, and no more."),
    option(
        "--group", type=click.IntRange(min=1), metavar="N", needs=("retry_failed",),
        help="With --retry-failed, one group alone, as status --failures numbers them.",
    ),
    option("--upgrade", is_flag=True, needs=("resume", "retry_failed"), help="What is left, with the versions that are asked for now."),
    option("--run-id", metavar="ID", needs=("resume", "retry_failed"), help="The run that these two mean. [default: the last one]"),
    option("--no-build", is_flag=True, help="A missing environment is an error at once."),
)


#: adds --order
order_option = option(
    "--order", type=click.Choice(ORDERS), default=ORDERS[0], show_default=True,
    help="Begin with what is not known or took longest before, or in the order of the scripts.",
)  # fmt: skip


def case_options(function: Function) -> Function:
    """Adds the options that say how each case is run."""
    for add in reversed(_CASE_OPTIONS):
        function = add(function)
    return function


def case_terms(given: Mapping[str, Any], here: str | None = None) -> Terms:
    """What the options of `case_options` say of how cases are run; with --joblog, relative to ``here``, where workers are to make it."""
    joblog = given["joblog"] if here is not None else None
    return Terms(
        timeout=given["timeout"] or None,
        grace=given["grace"],
        tries=given["retries"],
        fail_fast=given["fail_fast"],
        capture=given["capture"],
        creates=given["creates"],
        launcher=launcher_words(given["launcher"]),
        threads=given["threads"] or given["cpus_per_case"],
        preload=given["preload"],
        joblog=None if joblog is None or here is None else os.path.join(here, joblog),
        gpus_per_case=given["gpus_per_case"],
        cpus_per_case=given["cpus_per_case"],
    )


def resume_options(function: Function) -> Function:
    """Adds --resume, --retry-failed, --run-id and --no-build."""
    for add in reversed(_RESUME_OPTIONS):
        function = add(function)
    return function


def wanted(
    selection: Selection, arguments: tuple[str, ...] | None, given: Mapping[str, Any], here: str, share: Share | None = None
) -> Wanted:
    """What a command line asks for; ``arguments``: what followed `--`. Raises SharedenvError for options that contradict each other."""
    if given["run_id"] and not (given["resume"] or given["retry_failed"]):
        hint = f"sharedenv {selection.command} --resume --run-id {given['run_id']}"
        raise SharedenvError("--run-id names a run to go on with", hint=hint)
    if given.get("group") and not given["retry_failed"]:
        hint = f"sharedenv {selection.command} --retry-failed --group {given['group']}"
        raise SharedenvError("--group names a group of what failed", hint=hint)
    if given["upgrade"] and not (given["resume"] or given["retry_failed"]):
        hint = shlex.join(["sharedenv", "build", "--upgrade", *(selection.arguments or ["case*/script.py"])])
        raise SharedenvError("--upgrade says with which versions a run goes on; an environment is moved by build", hint=hint)
    goes_on = given["resume"] or given["retry_failed"]
    request = Request(selection, arguments, given["cwd"], given["table"], run_id=given["run_id"], goes_on=goes_on,
                      failed_only=given["retry_failed"], lost_too=given.get("lost_too", False), command=tuple(sys.argv))  # fmt: skip
    return checked(request, case_terms(given), here, share)


def left_of(found: Earlier, asked: Wanted, own: Inherited, console: Console) -> Work:
    """What is left of a run that goes on with these options, as app/resume.left_work has it."""
    from sharedenv.app.resume import left_work  # noqa: PLC0415 - a new run does without
    from sharedenv.cli.failures import sequences_of  # noqa: PLC0415 - as above

    given = own.given
    builds = not (given["no_build"] or given["dry_run"])
    build = (lambda project, plan: Building(console).attempt(project, plan, own.build_options)) if builds else None
    asked = replace(asked, selection=own.selection, only=sequences_of(found.run, given["group"]))
    return left_work(found, asked, case_terms(given), build, upgrade=given["upgrade"])
