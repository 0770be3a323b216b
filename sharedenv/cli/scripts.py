"""What the commands that take scripts share: their options, and what they tell of plan and pool."""

from __future__ import annotations

import functools
import os
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import click

from sharedenv.app.project import Project, Selection, find_scripts, pool_here, tell_plan, tell_strays
from sharedenv.cli.options import Function, option, paths
from sharedenv.errors import EXIT_FAILED, SharedenvError
from sharedenv.key.plan import Plan, is_plain
from sharedenv.pool.layout import Layout
from sharedenv.report.console import Console
from sharedenv.report.words import count, first_names, short_path
from sharedenv.start.environ import current_folder


def script_options(function: Function) -> Function:
    """Adds SCRIPT…, --from-file, -0, --python and --no-lock; the command receives them as one ``selection``."""

    @click.argument("scripts", nargs=-1, metavar="[SCRIPT]...", type=click.UNPROCESSED, shell_complete=paths)
    @option("--from-file", metavar="LIST", yields=("scripts",), help="Read the scripts from LIST, one a line ('-': standard input).")
    @option("-0", "--null", is_flag=True, needs=("from_file",), help="In LIST, names end with NUL instead of a newline.")
    @option("--python", metavar="REQUEST", help="The Python to use, as uv takes it: 3.12, '>=3.10', a path.")
    @option("--no-lock", is_flag=True, help="Pass by the project's sharedenv.lock.")
    @functools.wraps(function)
    def with_selection(
        *args: Any, scripts: tuple[str, ...], from_file: str | None, null: bool, python: str | None, no_lock: bool, **options: Any
    ) -> Any:
        command = str(click.get_current_context().info_name)
        if null and from_file is None:
            hint = f"sharedenv {command} -0 --from-file LIST"
            raise SharedenvError("-0 says how the names in a list end, and no list is named", hint=hint)
        return function(*args, selection=Selection(command, scripts, from_file, null, python, no_lock), **options)

    return with_selection


def plan_of(project: Project, console: Console, *, full: bool = False) -> Plan:
    """The plan of a project's scripts; what it warns of is told, and pools that were passed over. Raises BadScripts."""
    tell_strays(project, console)
    plan = project.plan(project.paths, full=full)
    tell_plan(plan, console)
    return plan


def skip_bad_option(function: Function) -> Function:
    """Adds --skip-bad to the ``selection`` of `script_options`, which stands above it."""

    @option("--skip-bad", is_flag=True, help="Pass over scripts that can't be used, and exit with 1 in the end.")
    @functools.wraps(function)
    def skipping(*args: Any, selection: Selection, skip_bad: bool, **options: Any) -> Any:
        return function(*args, selection=replace(selection, skip_bad=skip_bad), **options)

    return skipping


PLAIN = option("--skip-plain", is_flag=True, help="Pass over files that have no `# /// script` block.")


def skip_plain_option(**nothing: object) -> Callable[[Function], Function]:
    """Adds --skip-plain to the ``selection`` of `script_options`, which stands above it. Where no script is left the command is not
    called and ends with 0; ``nothing``: what its document says then.
    """

    def add(function: Function) -> Function:
        @PLAIN
        @functools.wraps(function)
        def passing(*args: Any, selection: Selection, skip_plain: bool, **options: Any) -> Any:
            console = click.get_current_context().find_object(Console)
            assert console is not None
            some = without_plain(selection, console) if skip_plain else selection
            if some is not None:
                return function(*args, selection=some, **options)
            if options.get("as_json"):
                console.document({**nothing, "errors": []})
            return 0

        return passing

    return add


def without_plain(selection: Selection, console: Console) -> Selection | None:
    """The selection of the files among those named that have a block, or None where there is none, which is told.

    A file that can't be read, or whose block is nearly one, stays: what is wrong with it is told as ever.
    """
    found = find_scripts(selection, current_folder(os.environ))
    scripts = [path for path in found if not is_plain(path)]
    if not scripts:
        console.say(f"nothing to do: no `# /// script` block in {count(len(found), 'file')}")
        return None
    return replace(selection, arguments=(), from_file=None, null=False, listed=tuple(scripts))


def tell_bad(plan: Plan, console: Console) -> int:
    """Says at the end how many scripts were passed over; the exit status that this makes at least."""
    if plan.bad is None:
        return 0
    here = current_folder(os.environ)
    names = first_names([problem.path for problem in plan.bad.problems], lambda path: short_path(path, here))
    console.say(f"passed over, since they can't be used: {names}")
    return EXIT_FAILED


def in_pool_of(layout: Layout, command: str, console: Console) -> str:
    """A command that the user is told to run here, with --pool as it was given, or where this pool would not be found without."""
    if not console.pool:
        found = pool_here(None)
        if found is None or found.path != layout.path:
            console = replace(console, pool=os.path.relpath(layout.path))
    return console.in_pool(command)


