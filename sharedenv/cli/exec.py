"""`sharedenv exec`: the full way, taken when the fast way finds no fingerprint."""

from __future__ import annotations

import os
import shlex
from typing import NoReturn

import click

from sharedenv.app.build import require_one
from sharedenv.app.project import Selection, open_project
from sharedenv.build.options import BuildOptions
from sharedenv.cli.building import build_options
from sharedenv.cli.options import option, paths
from sharedenv.cli.stage import tell_staged
from sharedenv.errors import EXIT_BUILD, SharedenvError
from sharedenv.pool.first_on_path import first_on_path
from sharedenv.pool.index import remember
from sharedenv.pool.store import enter
from sharedenv.report.building import BuildProgress
from sharedenv.report.console import Console
from sharedenv.script.find import is_pattern
from sharedenv.start.access import Vanished
from sharedenv.start.environ import environ_in
from sharedenv.start.staged import path_to_use


@click.command("exec", context_settings={"allow_interspersed_args": False})
@click.argument("script", type=click.UNPROCESSED, shell_complete=paths)
@click.argument("arguments", nargs=-1, metavar="[ARG]...", type=click.UNPROCESSED, shell_complete=paths)
@option("--python", metavar="REQUEST", help="The Python to use, as uv takes it: 3.12, '>=3.10', a path.")
@option("--no-lock", is_flag=True, help="Pass by the project's sharedenv.lock.")
@option("--no-build", is_flag=True, help="A missing environment is an error at once.")
@build_options
@click.pass_obj
def exec_(
    console: Console,
    script: str,
    arguments: tuple[str, ...],
    python: str | None,
    no_lock: bool,
    no_build: bool,
    build_options: BuildOptions,
) -> NoReturn:
    """Become the script: same process, same folder, its exit status. The drop-in for `uv run SCRIPT`.

    Exit status 125 means that sharedenv itself failed.
    """
    try:
        project = open_project(console.pool, Selection("exec", (script,), python=python, no_lock=no_lock), alone=True)
        if is_pattern(script) and not os.path.lexists(script):
            if len(project.paths) > 1:
                raise SharedenvError(
                    f"exec becomes one script, and {script} names {len(project.paths):,}", hint=f"sharedenv run {shlex.quote(script)}"
                )
            script = project.paths[0]
        plan = project.plan(project.paths)
        while True:
            with BuildProgress(console) as progress:
                environment = require_one(project, plan, build_options, no_build, progress)
            try:
                descriptor = enter(project.layout, environment)
                break
            except Vanished:
                continue
        remember(project.layout, os.environ, {project.paths[0]: environment}, python)
        os.set_inheritable(descriptor, True)
        path = path_to_use(environment.path, os.environ)
        tell_staged(environment.path, path, console)
        entries = first_on_path(descriptor, environment.path, path, os.environ, console.warn)
        python = os.path.join(path, "bin", "python")
        script = f"./{script}" if script.startswith("-") else script  # Python would take it for an option
        os.execve(python, [python, script, *arguments], environ_in(path, os.environ, entries))
    except OSError as error:
        raise SharedenvError(f"can't start {script}", cause=error.strerror, exit_code=EXIT_BUILD) from None
