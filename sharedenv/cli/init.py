"""`sharedenv init`."""

from __future__ import annotations

import os
import shlex
from dataclasses import replace
from typing import Any

import click

from sharedenv.app.project import trusted
from sharedenv.care.leaving import DAY
from sharedenv.cli.amounts import NONE, age, or_none, volume
from sharedenv.cli.options import option, paths
from sharedenv.errors import EXIT_BUILD, EXIT_USAGE, SharedenvError
from sharedenv.pool.bounds import LEAST, read_bounds, set_bounds
from sharedenv.pool.create import create_pool, way_out
from sharedenv.pool.layout import Layout
from sharedenv.pool.location import named_pool
from sharedenv.pool.store import generations
from sharedenv.report.bounds import bounds_words
from sharedenv.report.console import Console
from sharedenv.report.words import made_pool
from sharedenv.start.distrust import user_name
from sharedenv.start.environ import current_folder
from sharedenv.start.find_pool import FOLDER, made_by_init
from sharedenv.start.trust import is_shared


@click.command()
@click.argument("folder", required=False, metavar="[DIR]", type=click.UNPROCESSED, shell_complete=paths)
# no variables: those of prune, which have these names, must not be written into a pool for good
@option(
    "--max-size", envvar=None, type=or_none(volume), metavar="SIZE|none",
    help="From now on builds remove the least recently used, until the rest takes SIZE: 20G.",
)  # fmt: skip
@option(
    "--unused-for", envvar=None, type=or_none(age), metavar="AGE|none",
    help="From now on builds remove what was not used for AGE: 30d; 7d at the least.",
)  # fmt: skip
@option("--pack/--no-pack", "packs", envvar=None, default=None, help="They keep a compressed archive of it, and so does prune.")
@option("--shared-group", is_flag=True, help="Share the pool with its folder's group, from now on.")
@click.pass_obj
def init(
    console: Console, folder: str | None, max_size: float | None, unused_for: float | None, packs: bool | None, shared_group: bool
) -> int:
    """Make a pool in DIR, the current folder by default, for all scripts below it.

    Those of other projects below (with a .git, pyproject.toml, uv.toml or .python-version of their own) belong to it, too. With an
    option, of a pool that is there its bounds are changed and nothing else. What was used within 7 days always stays.
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
    if unused_for is not None and 0 <= unused_for < LEAST:
        week = f"{LEAST / DAY:.0f}d"
        raise SharedenvError(f"--unused-for: what was used within {week} always stays", hint=f"sharedenv init --unused-for {week}")
    changes = {"max_size": max_size, "unused_for": unused_for, "pack": packs}
    given = {name: None if value == NONE else value for name, value in changes.items() if value is not None}
    there = os.path.exists(layout.marker)
    before = made_by_init(layout.path)
    owned = shared_group and any(generations(layout, "")) and not is_shared(layout.path)
    if create_pool(layout, init=not (there and given), shared=shared_group):
        console.say(made_pool(layout.path))
    elif before or given:
        console.say(f"the pool {layout.path} is there already" if not given else f"the pool {layout.path} has new bounds")
    else:
        console.say(f"the pool {layout.path} is that of all projects below {layout.root} from now on")
    if given:
        _bound(layout, given)
    if told := bounds_words(read_bounds(layout)):
        console.say(told)
    elif given:
        console.say("builds in it remove nothing")
    if owned:  # links into its builder's cache, which the group may be unable to read
        console.warn("what is in it may be its builder's alone to read: sharedenv build --rebuild SCRIPT… builds it anew")
    return 0


def _bound(layout: Layout, given: dict[str, Any]) -> None:
    try:
        set_bounds(layout, replace(read_bounds(layout), **given))
    except OSError as error:
        owner = user_name(os.stat(layout.marker).st_uid)
        mine = os.stat(layout.marker).st_uid == os.geteuid()
        raise SharedenvError(
            f"can't write the bounds of the pool {layout.path}",
            cause=f"{error.strerror}: {layout.marker}" + ("" if mine else f", which is {owner}'s"),
            hint=way_out(layout, error) if mine else f"ask {owner} to run: sharedenv init …",
            exit_code=EXIT_BUILD,
        ) from None
