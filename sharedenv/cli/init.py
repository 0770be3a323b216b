"""`sharedenv init`."""

from __future__ import annotations

import os
import shlex

import click

from sharedenv.app.project import trusted
from sharedenv.cli.options import option, paths
from sharedenv.errors import EXIT_USAGE, SharedenvError
from sharedenv.pool.create import create_pool
from sharedenv.pool.layout import Layout
from sharedenv.pool.location import named_pool
from sharedenv.pool.store import generations
from sharedenv.report.building import made_pool
from sharedenv.report.console import Console
from sharedenv.start.environ import current_folder
from sharedenv.start.find_pool import FOLDER, made_by_init
from sharedenv.start.trust import is_shared


@click.command()
@click.argument("folder", required=False, metavar="[DIR]", type=click.UNPROCESSED, shell_complete=paths)
@option("--shared-group", is_flag=True, help="Share the pool with its folder's group, from now on.")
@click.pass_obj
def init(console: Console, folder: str | None, shared_group: bool) -> int:
    """Make a pool in DIR, the current folder by default, for all scripts below it.

    Those of other projects below (with a .git, pyproject.toml, uv.toml or .python-version of their own) belong to it, too.
    """
    here = current_folder(os.environ)
    layout = named_pool(console.pool, {}, here) if folder is None else None
    if layout is None:
        root = os.path.normpath(os.path.join(here, folder or "."))
        if not os.path.isdir(root):
            there = os.path.lexists(root)
            raise SharedenvError(
                f"can't make a pool in {folder}",
                cause="it is not a folder" if there else "there is no folder of that name",
                hint=f"ls -ld {shlex.quote(root)}" if there else f"mkdir -p {shlex.quote(folder or '.')}",
                exit_code=EXIT_USAGE,
            )
        layout = Layout(os.path.join(root, FOLDER))
    trusted(layout)
    before = made_by_init(layout.path)
    owned = shared_group and any(generations(layout, "")) and not is_shared(layout.path)
    if create_pool(layout, init=True, shared=shared_group):
        console.say(made_pool(layout.path))
    elif before:
        console.say(f"the pool {layout.path} is there already")
    else:
        console.say(f"the pool {layout.path} is that of all projects below {layout.root} from now on")
    if owned:  # links into its builder's cache, which the group may be unable to read
        console.warn("what is in it may be its builder's alone to read: sharedenv build --rebuild SCRIPT… builds it anew")
    return 0
