"""`sharedenv stage`."""

from __future__ import annotations

import contextlib
import errno
import functools
import os
import shlex
import time
from collections.abc import Iterable, Iterator

import click

from sharedenv.app.project import Selection, open_project
from sharedenv.cli.options import option
from sharedenv.cli.scripts import script_options
from sharedenv.copies.archive import Archive, make_archive
from sharedenv.copies.stage import stage, stage_folder
from sharedenv.errors import EXIT_BUILD, EXIT_FAILED, SharedenvError
from sharedenv.pool.layout import Layout
from sharedenv.pool.missing import look_up_all, missing_error
from sharedenv.pool.store import Environment, enter
from sharedenv.report.console import Console
from sharedenv.report.words import duration, size
from sharedenv.start.access import SHORT, Vanished
from sharedenv.start.distrust import user_name
from sharedenv.start.staged import VARIABLE
from sharedenv.start.trust import is_shared

_ELSEWHERE = "stage once where the pool can be written (a login node), which makes the archive; or run from the pool"


@click.command("stage")
@script_options
@option("--to", metavar="DIR", help="Where to. [default: SLURM_TMPDIR, else a folder of yours under TMPDIR]")
@click.pass_obj
def stage_(console: Console, selection: Selection, to: str | None) -> int:
    """Copy environments to node-local disk, once a node, and print the folder.

    In a job script: SHAREDENV_STAGE=$(sharedenv stage 'case*/script.py') || exit; export SHAREDENV_STAGE.
    What is run after that uses the copies.
    """
    project = open_project(console.pool, selection)
    plan = project.plan(project.paths)
    ready, missing = look_up_all(project.layout, plan)
    if missing:
        raise missing_error(project.layout, plan.needs, missing, project.options)
    folder = stage_folder(to, os.environ)
    stage_all(project.layout, ready.values(), folder, console)
    console.result(folder)
    return 0


def stage_all(layout: Layout, environments: Iterable[Environment], folder: str, console: Console) -> None:
    """Stages environments and tells of each. Raises SharedenvError."""
    for environment in environments:
        name = environment.key[:SHORT]
        with _held(layout, environment):
            done = stage(environment, folder, functools.partial(archive_of, layout, environment, console))
        if done.seconds is None:
            console.detail(f"environment {name} is in {folder} already")
        else:
            console.say(f"staged environment {name} to {folder} in {duration(done.seconds)} ({size(environment.manifest.bytes)})")


@contextlib.contextmanager
def _held(layout: Layout, environment: Environment) -> Iterator[None]:
    """No prune takes the environment while it is packed. Raises SharedenvError when one was faster."""
    try:
        descriptor = enter(layout, environment)
    except Vanished:
        raise SharedenvError(
            f"environment {environment.key[:SHORT]} was taken away while it was wanted",
            cause="a prune, or a build that replaced it, was faster",
            hint=_again(environment),
            exit_code=EXIT_BUILD,
        ) from None
    try:
        yield
    finally:
        os.close(descriptor)


def _again(environment: Environment) -> str:
    scripts = environment.manifest.scripts
    return shlex.join(["sharedenv", "build", *scripts[:1]]) if scripts else "sharedenv build SCRIPT…"


def archive_of(layout: Layout, environment: Environment, console: Console) -> Archive:
    """The archive of an environment, made if need be. Raises SharedenvError."""

    def waiting(holder: str, since: float) -> None:
        at = time.strftime("%H:%M:%S", time.localtime(since))
        console.say(f"waiting for the archive of environment {environment.key[:SHORT]}: {holder} makes it since {at}")

    try:
        return make_archive(layout, environment, waiting)
    except OSError as error:
        raise SharedenvError(
            f"can't make the archive of environment {environment.key[:SHORT]}",
            cause=f"{error.strerror}: {error.filename}",
            hint=_way_to_archive(layout, error),
            exit_code=EXIT_FAILED,
        ) from None


def _way_to_archive(layout: Layout, error: OSError) -> str:
    if error.errno not in (errno.EROFS, errno.EACCES, errno.EPERM):
        return shlex.join(["df", "-h", "-i", layout.path])
    if is_shared(layout.path) and os.path.isdir(layout.archives) and not os.access(layout.archives, os.W_OK):
        # an older version has left it to its maker alone; their next build or stage opens it, too
        return f"ask {user_name(os.stat(layout.archives).st_uid)} to run: {shlex.join(['chmod', 'g+w', layout.archives])}"
    return _ELSEWHERE


def tell_staged(pooled: str, used: str, console: Console) -> None:
    """With -v and SHAREDENV_STAGE set: whether a script runs from the copy on this node or from the pool."""
    if folder := os.environ.get(VARIABLE):
        console.detail(f"using the copy {used}" if used != pooled else f"no copy of {pooled} in {folder}: using the pool's")
