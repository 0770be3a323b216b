"""`sharedenv which`."""

from __future__ import annotations

import os

import click

from sharedenv.app.project import Selection, open_projects, tell_strays
from sharedenv.cli.scripts import script_options
from sharedenv.errors import EXIT_FAILED
from sharedenv.pool.index import remember
from sharedenv.pool.missing import look_up_all, missing_error
from sharedenv.pool.store import Environment
from sharedenv.report.console import Console


@click.command()
@script_options
@click.pass_obj
def which(console: Console, selection: Selection) -> int:
    """Print each script's interpreter, a line each, in the order asked. Exit 1 if any is not built."""
    paths, projects = open_projects(console.pool, selection)
    found: dict[str, Environment] = {}
    errors = []
    for project in projects:
        tell_strays(project, console)
        plan = project.plan(project.paths)
        ready, missing = look_up_all(project.layout, plan)
        own = {path: ready[key] for path, key in plan.scripts if key in ready}
        remember(project.layout, os.environ, own, selection.python)
        found |= own
        if missing:
            errors.append(missing_error(project.layout, plan.needs, missing, project.options))
    for path in filter(found.__contains__, paths):
        console.result(found[path].python)
    for error in errors:
        error.exit_code = EXIT_FAILED
        raise error
    return 0
