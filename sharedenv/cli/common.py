"""What every command that takes scripts shares: its options, and the way from arguments to scripts and pool."""

from __future__ import annotations

import functools
import os
import shlex
import sys
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

import click

from sharedenv import discover
from sharedenv.cli.options import Function, option, paths
from sharedenv.errors import EXIT_USAGE, SharedenvError
from sharedenv.frozen import frozen
from sharedenv.payload import Maker
from sharedenv.plan import Plan, make_plan
from sharedenv.pool.create import check_format, create_pool
from sharedenv.pool.index import known
from sharedenv.pool.layout import FOLDERS, Layout, find_pool, place_pool
from sharedenv.report.building import made_pool
from sharedenv.report.console import Console
from sharedenv.start.trust import Distrust, check_folders, check_pool

if TYPE_CHECKING:
    from sharedenv.settings import Settings


@frozen
class Selection:
    """What SCRIPT…, --from-file and -0 stand for on a command line."""

    arguments: tuple[str, ...]
    from_file: str | None = None
    null: bool = False
    python: str | None = None

    @property
    def empty(self) -> bool:
        """Whether the user named no script at all."""
        return not self.arguments and self.from_file is None


def script_options(function: Function) -> Function:
    """Adds SCRIPT…, --from-file, -0 and --python; the command receives them as one ``selection``."""

    @click.argument("scripts", nargs=-1, metavar="[SCRIPT]...", type=click.UNPROCESSED, shell_complete=paths)
    @option("--from-file", metavar="LIST", yields=("scripts",), help="Read the scripts from LIST, one a line ('-': standard input).")
    @option("-0", "--null", is_flag=True, needs=("from_file",), help="In LIST, names end with NUL instead of a newline.")
    @option("--python", metavar="REQUEST", help="The Python to use, as uv takes it: 3.12, '>=3.10', a path.")
    @functools.wraps(function)
    def with_selection(
        *args: Any, scripts: tuple[str, ...], from_file: str | None, null: bool, python: str | None, **options: Any
    ) -> Any:
        if null and from_file is None:
            hint = f"sharedenv {_command()} -0 --from-file LIST"
            raise SharedenvError("-0 says how the names in a list end, and no list is named", hint=hint)
        return function(*args, selection=Selection(scripts, from_file, null, python), **options)

    return with_selection


@dataclass(frozen=True)
class Session:
    """One call of a command: its pool, the scripts it is about (absolute paths), the --python option."""

    layout: Layout
    paths: tuple[str, ...]
    python: str | None

    @functools.cached_property
    def settings(self) -> Settings:
        """The settings that count. Raises SharedenvError."""
        from sharedenv.settings import gather_settings  # noqa: PLC0415 - they are read, and requirements parsed, only for what the pool does not know yet

        return gather_settings(self.layout.root, os.environ, self.python)

    @functools.cached_property
    def _full(self) -> Maker:
        from sharedenv.key import maker  # noqa: PLC0415 - as above

        return maker(self.settings)

    def plan(self, paths: Iterable[str], *, full: bool = False) -> Plan:
        """The plan of these scripts; ``full``: by what they say alone, whatever the pool's index says. Raises BadScripts,
        SharedenvError.
        """
        return make_plan(paths, self._full if full else known(self.layout, os.environ, self.python, lambda: self._full))


def open_session(context: click.Context, selection: Selection, *, cwd: str | None = None) -> Session:
    """Finds scripts and pool. The pool is named, not made. Raises SharedenvError."""
    here = cwd or os.getcwd()
    paths = find_scripts(selection, here)
    layout = find_pool(context.obj.pool, os.environ, paths, here) or place_pool(paths, here)
    trusted(layout)
    check_format(layout)
    return Session(layout, tuple(paths), selection.python)


def warned(plan: Plan, console: Console) -> Plan:
    """The same plan, its warnings told: by the commands that are called once for all scripts, not by those of each task."""
    for text in plan.warnings:
        console.warn(text)
    return plan


def in_pool_of(layout: Layout, command: str, console: Console) -> str:
    """A command that the user is told to run here, with --pool as it was given, or where this pool would not be found without."""
    if not console.pool:
        found = find_pool(None, os.environ, (), os.getcwd())
        if found is None or found.path != layout.path:
            console = replace(console, pool=os.path.relpath(layout.path))
    return console.in_pool(command)


def make_pool(layout: Layout, console: Console, *, shared: bool = False) -> None:
    """Makes the pool where there is none, and says so. Raises SharedenvError."""
    if create_pool(layout, shared=shared):
        console.say(made_pool(layout.path))


def trusted(layout: Layout) -> None:
    """Raises SharedenvError when others decide what lies in the pool: nothing in it is run or believed then."""
    try:
        if check_pool(layout.path, os.environ) is not None:
            check_folders(layout.path, FOLDERS)
    except Distrust as error:
        raise SharedenvError(error.message, cause=error.cause, hint=error.hint, exit_code=EXIT_USAGE) from None


def find_scripts(selection: Selection, cwd: str) -> Sequence[str]:
    """Absolute paths of all scripts that a command line names. Raises SharedenvError when it names none."""
    if selection.empty:
        raise SharedenvError("no script named", hint=f"sharedenv {_command()} 'case*/script.py'")
    if "" in selection.arguments:
        cause = 'a variable of the shell that is not set, as in "$SCRIPT", gives one'
        raise SharedenvError("an empty name among the scripts", cause=cause)
    listed: Sequence[str] = ()
    if selection.from_file is not None:
        data = sys.stdin.buffer.read() if selection.from_file == "-" else _read_list(selection.from_file)
        if b"\0" in data and not selection.null:
            raise SharedenvError(
                f"the list {selection.from_file} holds NUL bytes",
                cause="names that end with NUL, as find -print0 writes them, are read with -0",
                hint=f"sharedenv {_command()} -0 --from-file {shlex.quote(selection.from_file)}",
            )
        listed = discover.read_list(data, nul=selection.null)
        if not listed and not selection.arguments:
            raise SharedenvError(f"no script in the list {selection.from_file}", hint=f"sharedenv {_command()} --help")
    return discover.expand(selection.arguments, cwd, listed)


def _command() -> str:
    """The name of the command that was called."""
    return str(click.get_current_context().info_name)


def _read_list(path: str) -> bytes:
    try:
        with open(path, "rb") as file:
            return file.read()
    except OSError as error:
        raise SharedenvError(f"can't read the list of scripts {path}", cause=error.strerror) from None
