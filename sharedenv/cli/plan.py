"""`sharedenv plan`."""

from __future__ import annotations

import os
import shutil
from typing import Any

import click

from sharedenv.app.plan import known_durations, longest_first
from sharedenv.app.project import Selection
from sharedenv.app.sets import put_down_all
from sharedenv.app.work import Work, new_work, remember_all
from sharedenv.build.options import BuildOptions
from sharedenv.cli.arguments import CommandWithArguments, script_arguments
from sharedenv.cli.beside import look_beside
from sharedenv.cli.building import build_and_tell, build_options
from sharedenv.cli.cases import case_options, case_terms, create_journal, wanted
from sharedenv.cli.given import repeated
from sharedenv.cli.options import option
from sharedenv.cli.outputs import check_outputs
from sharedenv.cli.scripts import in_pool_of, make_pool, script_options, tell_strays, warned
from sharedenv.errors import EXIT_BUILD
from sharedenv.pool.missing import look_up_all
from sharedenv.report.console import Console
from sharedenv.report.words import count
from sharedenv.run.case import Case
from sharedenv.start.environ import current_folder

#: options that --resume does not take over: they name the work itself, or belong to one call
_ONCE = frozenset({"from_file", "null", "cwd", "joblog", "order", "fail_fast", "insist"})
_ORDERS = ("longest", "given")
#: what run and submit say where they begin anew: a plan never goes on with a run
_NEW = {"run_id": None, "resume": False, "retry_failed": False, "upgrade": False}


@click.command(cls=CommandWithArguments, options_metavar="[OPTIONS]", epilog="Words after -- are given to every script.")
@script_options
@case_options
@option(
    "--order", type=click.Choice(_ORDERS), default=_ORDERS[0], show_default=True,
    help="Begin with what is not known or took longest before, or in the order of the scripts.",
)  # fmt: skip
@option("--joblog", metavar="FILE", help="GNU parallel's log of all workers; the last one writes it.")
@build_options
@click.pass_context
def plan(context: click.Context, /, selection: Selection, build_options: BuildOptions, **given: Any) -> int:
    """Build what is missing and freeze a list of the scripts, which `sharedenv join` works on. Prints the run's name.

    SCRIPT is a file or a quoted pattern: 'case*/script.py', '**/script.py'.
    """
    console: Console = context.obj
    here = current_folder(os.environ)
    asked = wanted(selection, script_arguments(context), {**given, **_NEW}, here)
    work = new_work(console.pool, asked, here)
    joblog = None if given["joblog"] is None else os.path.join(here, given["joblog"])
    check_outputs(work.cases, given["capture"], joblog)
    tell_strays(work.project, console)
    warned(work.plan, console)
    look_beside(work, console, insist=given["insist"])
    if build_and_tell(work.project, work.needed, build_options, 2, console)[1]:
        return EXIT_BUILD
    make_pool(work.layout, console)
    remember_all(work)
    extra = {"again": repeated(context, _ONCE), "terms": case_terms(given, joblog).record()}
    run = create_journal(work, asked, extra, ordered=_ordered(work, given["order"], console))
    try:
        put_down_all(work.layout, run, look_up_all(work.layout, work.needed)[0].values())
    except BaseException:  # nobody knows of it yet
        shutil.rmtree(run.path, ignore_errors=True)
        raise
    many, join = count(len(work.cases), "script"), in_pool_of(work.layout, f"sharedenv join {run.id}", console)
    console.say(f"planned {many}: run {run.id}; to work on it, here or on any machine that sees this disk: {join}")
    console.result(run.id)
    return 0


def _ordered(work: Work, order: str, console: Console) -> tuple[Case, ...]:
    known = known_durations(work.layout, work.cases) if order == _ORDERS[0] else {}
    if not known:
        return work.cases
    if took := sum(seconds > 0 for seconds in known.values()):
        console.say(f"longest first, by how long {count(took, 'script')} took before")
    return tuple(longest_first(work.cases, known))

