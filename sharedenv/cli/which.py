"""`sharedenv which`."""

from __future__ import annotations

import os

import click

from sharedenv.app.project import Selection, open_session
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
    session = open_session(console.pool, selection)
    plan = plan_of(session, console)
    ready, missing = look_up_all(session.layout, plan)
    found = {path: ready[key] for path, key in plan.scripts if key in ready}
    remember(session.layout, os.environ, found, selection.python)
    for _, key in plan.scripts:
        if key in ready:
            console.result(ready[key].python)
    if missing:
        error = missing_error(session.layout, plan.needs, missing, session.python)
        error.exit_code = EXIT_FAILED
        raise error
    return 0
