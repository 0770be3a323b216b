"""`sharedenv exec`: the full way, taken when the fast way finds no fingerprint."""

from __future__ import annotations

import os
import shlex
from typing import NoReturn

import click

from sharedenv.cli.building import build_options, require_one
from sharedenv.cli.common import Selection, open_session
from sharedenv.cli.options import option, paths
from sharedenv.cli.stage import tell_staged
from sharedenv.discover import is_pattern
from sharedenv.errors import EXIT_BUILD, SharedenvError
from sharedenv.pool.index import remember
from sharedenv.pool.options import BuildOptions
from sharedenv.pool.store import enter
from sharedenv.report.console import Console
from sharedenv.start.access import Vanished
from sharedenv.start.environ import environ_in
from sharedenv.start.staged import path_to_use


@click.command("exec", context_settings={"allow_interspersed_args": False})
@click.argument("script", type=click.UNPROCESSED, shell_complete=paths)
@click.argument("arguments", nargs=-1, metavar="[ARG]...", type=click.UNPROCESSED, shell_complete=paths)
@option("--python", metavar="REQUEST", help="The Python to use, as uv takes it: 3.12, '>=3.10', a path.")
@option("--no-build", is_flag=True, help="A missing environment is an error at once.")
@build_options
@click.pass_context
def exec_(
    context: click.Context,
    script: str,
    arguments: tuple[str, ...],
    python: str | None,
    no_build: bool,
    build_options: BuildOptions,
) -> NoReturn:
    """Become the script: same process, same folder, its exit status. The drop-in for `uv run SCRIPT`.

    Exit status 125 means that sharedenv itself failed.
    """
    console: Console = context.obj
    try:
        session = open_session(context, Selection((script,), python=python))
        if is_pattern(script) and not os.path.lexists(script):
            if len(session.paths) > 1:
                raise SharedenvError(
                    f"exec becomes one script, and {script} names {len(session.paths):,}", hint=f"sharedenv run {shlex.quote(script)}"
                )
            script = session.paths[0]
        plan = session.plan(session.paths)
        while True:
            environment = require_one(session, plan, build_options, no_build, console)
            try:
                descriptor = enter(session.layout, environment)
                break
            except Vanished:
                continue
        remember(session.layout, os.environ, {session.paths[0]: environment}, python)
        os.set_inheritable(descriptor, True)
        path = path_to_use(environment.path, os.environ)
        tell_staged(environment.path, path, console)
        python = os.path.join(path, "bin", "python")
        os.execve(python, [python, script, *arguments], environ_in(path, dict(os.environ)))
    except OSError as error:
        raise SharedenvError(f"can't start {script}", cause=error.strerror, exit_code=EXIT_BUILD) from None
