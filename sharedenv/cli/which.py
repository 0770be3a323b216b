"""`sharedenv which`."""

from __future__ import annotations

import os

import click

from sharedenv.app.project import Selection, open_project
from sharedenv.cli.scripts import plan_of, script_options
from sharedenv.errors import EXIT_FAILED
from sharedenv.pool.index import remember
from sharedenv.pool.missing import look_up_all, missing_error
from sharedenv.report.console import Console


@click.command()
@script_options
@click.pass_obj
def which(console: Console, selection: Selection) -> int:
    """Print each script's interpreter, a line each, in the order asked. Exit 1 if any is not built."""
    project = open_project(console.pool, selection)
    plan = plan_of(project, console)
    ready, missing = look_up_all(project.layout, plan)
    found = {path: ready[key] for path, key in plan.scripts if key in ready}
    remember(project.layout, os.environ, found, selection.python)
    for _, key in plan.scripts:
        if key in ready:
            console.result(ready[key].python)
    if missing:
        error = missing_error(project.layout, plan.needs, missing, project.python)
        error.exit_code = EXIT_FAILED
        raise error
    return 0
