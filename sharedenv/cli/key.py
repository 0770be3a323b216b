"""`sharedenv key`."""

from __future__ import annotations

import os
from collections.abc import Callable, Sequence

import click

from sharedenv.app.project import Selection, find_scripts, tell_plan
from sharedenv.cli.options import contrary, json_option, option
from sharedenv.cli.scripts import script_options, skip_plain_option
from sharedenv.errors import SharedenvError
from sharedenv.key.difference import differences
from sharedenv.key.make import maker
from sharedenv.key.plan import Need, Plan, make_plan
from sharedenv.key.settings import gather_settings
from sharedenv.pool.layout import Layout
from sharedenv.pool.location import find_pools
from sharedenv.report.console import Console
from sharedenv.report.payload import explained
from sharedenv.run.journal.runs import holds_unfinished
from sharedenv.start.environ import current_folder
from sharedenv.start.find_pool import FOLDER


@contrary("explain", "diff", "as_json", why="each is another answer")
@click.command()
@script_options
@skip_plain_option(scripts=[], payloads={})
@option("--explain", is_flag=True, help="Print what decides each key: the payload, for people.")
@option("--diff", is_flag=True, help="Say in words what differs between two scripts.")
@json_option
@click.pass_obj
def key(console: Console, selection: Selection, explain: bool, diff: bool, as_json: bool) -> int:
    """Print the key of each script as sha256sum does: the key, two spaces, the path.

    Scripts with one key share one environment.
    """
    plan = _plan(selection, console)
    if as_json:
        scripts = [{"path": path, "key": found} for path, found in plan.scripts]
        payloads = {found: need.payload.document for found, need in plan.needs.items()}
        console.document({"scripts": scripts, "payloads": payloads, "errors": []})
    elif diff:
        _print_difference(plan, _namer(selection), console, len(selection.arguments))
    elif explain:
        _print_explanation(plan, _namer(selection), console)
    else:
        name = _namer(selection)
        console.result("\n".join(_line(found, name(path)) for path, found in plan.scripts))
    return 0


def _plan(selection: Selection, console: Console) -> Plan:
    # a key needs no pool: without one, the current folder is the project's root, where `build` would make it; and of several
    # pools each has settings of its own
    here = current_folder(os.environ)
    paths = find_scripts(selection, here)
    plans = []
    for layout, own in find_pools(console.pool, os.environ, paths, here, holds_unfinished).pools.items():
        root = (layout or Layout(os.path.join(here, FOLDER))).root
        plans.append(make_plan(own, maker(gather_settings(root, os.environ, selection.python, no_lock=selection.no_lock))))
        tell_plan(plans[-1], console)
    return plans[0] if len(plans) == 1 else _together(plans, paths)


def _together(plans: Sequence[Plan], paths: Sequence[str]) -> Plan:
    keys = dict(pair for plan in plans for pair in plan.scripts)
    needs: dict[str, Need] = {}
    for found, need in (item for plan in plans for item in plan.needs.items()):
        needs[found] = Need(need.payload, (*needs[found].scripts, *need.scripts) if found in needs else need.scripts)
    return Plan(tuple((path, keys[path]) for path in paths), needs)


def _print_difference(plan: Plan, name: Callable[[str], str], console: Console, arguments: int) -> None:
    scripts = plan.scripts * 2 if len(plan.scripts) == 1 and arguments == 2 else plan.scripts  # one named twice
    if len(scripts) != 2:
        raise SharedenvError(f"--diff compares two scripts, not {len(scripts):,}", hint="sharedenv key --diff A B")
    (here, one), (there, other) = ((name(path), plan.needs[found].payload) for path, found in scripts)
    lines = differences(one, other, (here, there))
    console.result("\n".join(lines or [f"nothing differs: {here} and {there} share {one.key}"]))


def _print_explanation(plan: Plan, name: Callable[[str], str], console: Console) -> None:
    blocks = []
    for found, need in plan.needs.items():
        users = [_line(found, name(path)) for path in need.scripts]
        blocks.append("\n".join([*users, *explained(need.payload.document)]))
    console.result("\n\n".join(blocks))


def _line(found: str, name: str) -> str:
    # a name with a newline or a backslash is written as sha256sum writes it, so that a line stays a line
    escaped = name.replace("\\", "\\\\").replace("\n", "\\n").replace("\r", "\\r")
    return f"{found}  {name}" if escaped == name else f"\\{found}  {escaped}"


def _namer(selection: Selection) -> Callable[[str], str]:
    """How paths are written: absolute where that is what was asked for, else from the current folder."""
    here = current_folder(os.environ).rstrip("/") + "/"
    absolute = frozenset(argument for argument in selection.arguments if os.path.isabs(argument))
    if absolute and len(absolute) == len(selection.arguments):
        return str
    return lambda path: path if path in absolute else path.removeprefix(here)
