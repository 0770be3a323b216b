"""`sharedenv plan`."""

from __future__ import annotations

import os
from typing import Any

import click

from sharedenv.app.build import NotBuilt
from sharedenv.app.plan import PlanOrder, freeze
from sharedenv.app.project import Selection, tell_plan
from sharedenv.app.work import new_work
from sharedenv.build.options import BuildOptions
from sharedenv.cli.arguments import CommandWithArguments, script_arguments
from sharedenv.cli.building import Building, build_options
from sharedenv.cli.cases import case_options, case_terms, order_option, wanted
from sharedenv.cli.given import repeated
from sharedenv.cli.options import contrary, option
from sharedenv.cli.scripts import in_pool_of, script_options, skip_bad_option, tell_bad
from sharedenv.report.console import Console
from sharedenv.report.words import counted
from sharedenv.start.environ import current_folder

#: options that --resume does not take over: they name the work itself, or belong to one call
_ONCE = frozenset({"from_file", "null", "table", "cwd", "joblog", "order", "fail_fast", "insist"})
#: what run and submit say where they begin anew: a plan never goes on with a run
_NEW = {"run_id": None, "resume": False, "retry_failed": False, "upgrade": False}


@contrary("launcher", "preload", why="a launcher starts a Python of its own, and --preload forks one")
@click.command(cls=CommandWithArguments, options_metavar="[OPTIONS]", epilog="Words after -- are given to every script.")
@script_options
@skip_bad_option
@case_options
@order_option
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
    terms = case_terms(given, here)
    work = new_work(console.pool, asked, terms, here)
    tell_plan(work.plan, console)
    order = PlanOrder(terms, {"again": repeated(context, _ONCE)}, given["order"], given["insist"])
    try:
        run = freeze(work, asked, order, console, lambda: Building(console).finish(work.project, work.needed, build_options), os.environ)
    except NotBuilt as error:
        return error.exit_code
    many, join = counted(work.cases), in_pool_of(work.layout, f"sharedenv join {run.id}", console)
    console.say(f"planned {many}: run {run.id}; to work on it, here or on any machine that sees this disk: {join}")
    console.result(run.id)
    return tell_bad(work.plan, console)

