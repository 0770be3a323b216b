"""`sharedenv which`."""

from __future__ import annotations

import os

import click

from sharedenv.cli.common import Selection, open_session, script_options
from sharedenv.errors import EXIT_FAILED
from sharedenv.pool.index import remember
from sharedenv.pool.missing import look_up_all, missing_error
from sharedenv.report.console import Console


@click.command()
@script_options
@click.pass_context
def which(context: click.Context, selection: Selection) -> int:
    """Print each script's interpreter, a line each, in the order asked. Exit 1 if any is not built."""
    console: Console = context.obj
    session = open_session(context, selection)
    plan = session.plan(session.paths)
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
