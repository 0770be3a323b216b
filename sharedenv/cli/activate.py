"""`sharedenv activate`."""

from __future__ import annotations

import os

import click

from sharedenv.activation import FAILURE, SHELLS, activation, shell_of, taskprolog
from sharedenv.cli.building import build_options, build_plan
from sharedenv.cli.common import Selection, open_session
from sharedenv.cli.options import option
from sharedenv.errors import EXIT_BUILD, SharedenvError
from sharedenv.plan import make_plan
from sharedenv.pool.construct import BuildOptions
from sharedenv.pool.index import remember
from sharedenv.pool.store import SHORT, Environment, Unusable, look_up, note_use
from sharedenv.report.console import Console


@click.command()
@click.argument("script", type=click.UNPROCESSED)
@option("--python", metavar="REQUEST", help="The Python to use, as uv takes it: 3.12, '>=3.10', a path.")
@option("--shell", type=click.Choice(list(SHELLS)), help="The kind of shell that reads the code. [default: from SHELL]")
@click.option("--taskprolog", "as_taskprolog", is_flag=True, help="Write lines for Slurm's TaskProlog instead.")
@option("--no-build", is_flag=True, help="A missing environment is an error.")
@build_options
@click.pass_context
def activate(
    context: click.Context,
    script: str,
    python: str | None,
    shell: str | None,
    as_taskprolog: bool,
    no_build: bool,
    build_options: BuildOptions,
) -> int:
    """Shell code that puts a script's environment first on PATH.

    In a job script: eval "$(sharedenv activate case1/script.py)". A script whose environment can't be had ends there.
    For csh: eval "`sharedenv activate case1/script.py`"; for fish: eval (sharedenv activate case1/script.py).
    """
    console: Console = context.obj.console
    kind = shell or shell_of(os.environ)
    try:
        environment = _environment(context, Selection((script,), None, False, python), no_build, build_options)
        text = None if environment is None else _text(environment, None if as_taskprolog else kind)
    except SharedenvError:
        _fail(console, None if as_taskprolog else kind)
        raise
    if text is None:
        _fail(console, None if as_taskprolog else kind)
        return EXIT_BUILD
    console.result(text)
    return 0


def _text(environment: Environment, shell: str | None) -> str:
    if shell is None:
        return taskprolog(environment.path, os.environ)
    return activation(environment.path, shell, f"sharedenv {environment.key[:SHORT]}")


def _fail(console: Console, shell: str | None) -> None:
    # `eval` of nothing succeeds: what it reads must say that there is no environment
    if shell is not None:
        console.result(FAILURE[shell])


def _environment(
    context: click.Context, selection: Selection, no_build: bool, options: BuildOptions
) -> Environment | None:
    """The script's environment; None when its build failed, which has been told. Raises SharedenvError."""
    session = open_session(context, selection)
    plan = make_plan(session.paths, session.settings)
    need = next(iter(plan.needs.values()))
    found = look_up(session.layout, need.payload)
    if isinstance(found, Environment):
        environment = found
    elif no_build:
        raise SharedenvError(
            f"environment {need.payload.key[:SHORT]} for {selection.arguments[0]} is not built",
            cause=found.reason if isinstance(found, Unusable) else "nothing is built with --no-build",
            hint=f"sharedenv build {selection.arguments[0]}",
            exit_code=EXIT_BUILD,
        )
    else:
        outcome = build_plan(session, plan, options, 1, context.obj.console)
        if outcome.errors:
            return None
        environment = outcome.ready[need.payload.key]
    if selection.python is None:
        remember(session.layout, os.environ, {session.paths[0]: environment})
    note_use(session.layout, environment)
    return environment
