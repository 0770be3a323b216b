"""`sharedenv which`."""

from __future__ import annotations

import os

import click

from sharedenv.app.project import Selection, open_projects, tell_strays
from sharedenv.cli.options import json_option
from sharedenv.cli.scripts import script_options
from sharedenv.errors import EXIT_FAILED
from sharedenv.pool.index import remember
from sharedenv.pool.missing import look_up_all, missing_error
from sharedenv.pool.store import Environment
from sharedenv.report.console import Console


@click.command()
@script_options
@json_option
@click.pass_obj
def which(console: Console, selection: Selection, as_json: bool) -> int:
    """Print each script's interpreter, a line each, in the order asked. Exit 1 if any is not built."""
    paths, projects = open_projects(console.pool, selection)
    found: dict[str, Environment] = {}
    keys: dict[str, str] = {}
    errors = []
    for project in projects:
        tell_strays(project, console)
        plan = project.plan(project.paths)
        ready, missing = look_up_all(project.layout, plan)
        own = {path: ready[key] for path, key in plan.scripts if key in ready}
        remember(project.layout, os.environ, own, selection.python)
        found |= own
        keys |= plan.scripts
        if missing:
            errors.append(missing_error(project.layout, plan.needs, missing, project.options))
            errors[-1].exit_code = EXIT_FAILED
    if as_json:
        scripts = [_value(path, keys[path], found.get(path)) for path in paths]
        console.document({"scripts": scripts, "errors": [console.error_value(error) for error in errors]})
        return EXIT_FAILED if errors else 0
    for path in filter(found.__contains__, paths):
        console.result(found[path].python)
    for error in errors:
        raise error
    return 0


def _value(path: str, key: str, environment: Environment | None) -> dict[str, object]:
    """A script and the environment that it would be started in; null where that is not built."""
    return {
        "path": path,
        "key": key,
        "environment": environment and environment.path,
        "python": environment and environment.python,
        "python_version": environment and environment.manifest.interpreter.version,
    }
