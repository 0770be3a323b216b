"""`sharedenv activate`."""

from __future__ import annotations

import contextlib
import itertools
import os
import signal
from collections.abc import Callable

import click

from sharedenv.app.build import end_by_signal, require_one
from sharedenv.app.project import Selection, open_project
from sharedenv.build.options import BuildOptions
from sharedenv.cli.building import build_options
from sharedenv.cli.options import option, paths
from sharedenv.cli.stage import tell_staged
from sharedenv.errors import EXIT_FAILED, SharedenvError
from sharedenv.pool.first_on_path import first_on_path
from sharedenv.pool.index import remember
from sharedenv.pool.store import Environment
from sharedenv.report.building import BuildProgress
from sharedenv.report.console import Console
from sharedenv.start.access import SHORT, Vanished, hold, note_use
from sharedenv.start.activation import FAILURE, SHELLS, activation, calling_program, shell_of, taskprolog
from sharedenv.start.staged import path_to_use


@click.command()
@click.argument("script", type=click.UNPROCESSED, shell_complete=paths)
@option("--python", metavar="REQUEST", help="The Python to use, as uv takes it: 3.12, '>=3.10', a path.")
@option(
    "--shell", type=click.Choice(list(SHELLS)), yields=("as_taskprolog",),
    help="The kind of shell that reads the code. [default: the one that calls, else SHELL]",
)  # fmt: skip
@option("--taskprolog", "as_taskprolog", is_flag=True, yields=("shell",), help="Write lines for Slurm's TaskProlog instead.")
@option("--no-lock", is_flag=True, help="Pass by the project's sharedenv.lock.")
@option("--no-build", is_flag=True, help="A missing environment is an error.")
@build_options
@click.pass_obj
def activate(
    console: Console,
    script: str,
    python: str | None,
    shell: str | None,
    as_taskprolog: bool,
    no_lock: bool,
    no_build: bool,
    build_options: BuildOptions,
) -> int:
    """Shell code that puts a script's environment first on PATH.

    In a job script: eval "$(sharedenv activate case1/script.py)". A script whose environment can't be had ends there.
    For csh: eval "`sharedenv activate case1/script.py`"; for fish: eval (sharedenv activate case1/script.py).
    """
    kind = shell or shell_of(os.environ, calling_program())
    try:
        project = open_project(console.pool, Selection("activate", (script,), python=python, no_lock=no_lock), alone=True)
        plan = project.plan(project.paths)
        with BuildProgress(console) as progress:
            environment = require_one(project, plan, build_options, no_build, progress)
        path = path_to_use(environment.path, os.environ)
        entries = _first_on_path(environment, path, console)
        prompt = f"sharedenv {environment.key[:SHORT]}"
        text = taskprolog(path, os.environ, entries) if as_taskprolog else activation(path, kind, prompt, entries)
    except SharedenvError as error:
        if as_taskprolog:  # whose stderr nobody sees: what it prints so, Slurm passes on to the task's output
            console.result("\n".join(f"print {line}" for line in console.error_text(error).splitlines() if line))
        raise
    tell_staged(environment.path, path, console)
    remember(project.layout, os.environ, {project.paths[0]: environment}, python)
    note_use(project.layout.path, environment.path)  # a shell can hold no lock for what it starts later: prune goes by the last use
    console.result(text)
    return 0


def _first_on_path(environment: Environment, used: str, console: Console) -> str:
    try:
        descriptor = hold(environment.path)
    except (Vanished, OSError):  # pruned in this instant
        return ""
    try:
        return first_on_path(descriptor, environment.path, used, os.environ, console.warn) or ""
    finally:
        os.close(descriptor)


_OFF = ("", "0", "false", "no", "off", "n", "f")  # as click reads a flag's variable


def or_end_the_job(words: list[str], run: Callable[[], int]) -> int:
    """Runs the command that ``words`` name and returns its exit status; where that is not 0, and whatever the reason, its
    result is code that ends the job: `eval` of nothing succeeds, and the job would go on with another Python.
    """
    for number in (signal.SIGTERM, signal.SIGHUP):
        if signal.getsignal(number) is signal.SIG_DFL:
            signal.signal(number, end_by_signal)
    try:
        status = run()
    except SystemExit as end:
        status = end.code if isinstance(end.code, int) else EXIT_FAILED
    shell = any(word.partition("=")[0] == "--shell" for word in words)
    prolog = "--taskprolog" in words or (not shell and os.environ.get("SHAREDENV_TASKPROLOG", "").strip().lower() not in _OFF)
    if status and not prolog:
        with contextlib.suppress(SharedenvError, BrokenPipeError):  # the error may be that nothing can be written there
            Console().result(FAILURE[_kind(words)])
    return status


def _kind(words: list[str]) -> str:
    # the words may be those that click can't read
    given = [word.partition("=")[2] for word in words if word.startswith("--shell=")]
    given += [value for word, value in itertools.pairwise(words) if word == "--shell"]
    named = [kind for kind in (*given, os.environ.get("SHAREDENV_SHELL")) if kind in SHELLS]
    return named[0] if named else shell_of(os.environ, calling_program())
