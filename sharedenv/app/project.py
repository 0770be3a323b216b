"""From what the user names to scripts and their pool."""

from __future__ import annotations

import functools
import os
import shlex
import sys
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from sharedenv.errors import EXIT_BUILD, EXIT_USAGE, SharedenvError
from sharedenv.key.payload import Maker
from sharedenv.key.plan import Plan, make_plan
from sharedenv.key.project_lock import NAME
from sharedenv.pool.create import check_format
from sharedenv.pool.index import known
from sharedenv.pool.layout import PARTS, Layout
from sharedenv.pool.location import find_pool, find_pools, place_for_one, place_pool, several_pools
from sharedenv.pool.missing import uncovered_error
from sharedenv.pool.trial import ANOTHER, no_chmod_helps
from sharedenv.report.words import short_path
from sharedenv.script import find
from sharedenv.start.distrust import Distrust, check_folders
from sharedenv.start.environ import current_folder
from sharedenv.start.find_pool import lock_passed_over
from sharedenv.start.trust import check_pool
from sharedenv.values import frozen

if TYPE_CHECKING:
    from sharedenv.app.recorder import Teller
    from sharedenv.key.settings import Settings


@frozen
class Selection:
    """What SCRIPT…, --from-file and -0 stand for on a command line, with --python, --no-lock and --skip-bad. ``command``: the one
    that they are given to, for hints; ``listed``: what else names scripts, as a list does (a column of --table).
    """

    command: str
    arguments: tuple[str, ...]
    from_file: str | None = None
    null: bool = False
    python: str | None = None
    no_lock: bool = False
    listed: tuple[str, ...] = ()
    skip_bad: bool = False

    @property
    def empty(self) -> bool:
        """Whether the user named no script at all."""
        return not self.arguments and self.from_file is None and not self.listed


@dataclass(frozen=True)
class Project:
    """A pool, those scripts of its project that are meant (absolute paths), and the Python that is asked for them (--python).

    ``strays``: pools that were passed over on the way to it, each with the one that counts in its place; ``no_lock``: the project's
    sharedenv.lock is passed by; ``skip_bad``: so are scripts that can't be used.
    """

    layout: Layout
    paths: tuple[str, ...]
    python: str | None
    strays: Mapping[str, str] = field(default_factory=dict)
    no_lock: bool = False
    skip_bad: bool = False

    @property
    def options(self) -> tuple[str, ...]:
        """The options by which another command finds the same environments for these scripts."""
        return (*(("--python", self.python) if self.python else ()), *(("--no-lock",) if self.no_lock else ()))

    @functools.cached_property
    def settings(self) -> Settings:
        """The settings that count. Raises SharedenvError."""
        from sharedenv.key.settings import gather_settings  # noqa: PLC0415 - they are read, and requirements parsed, only for what the pool does not know yet

        return gather_settings(self.layout.root, os.environ, self.python, no_lock=self.no_lock)

    @functools.cached_property
    def _full(self) -> Maker:
        from sharedenv.key.make import maker  # noqa: PLC0415 - as above

        return maker(self.settings)

    def plan(self, paths: Iterable[str], *, full: bool = False) -> Plan:
        """The plan of these scripts; ``full``: by what they say alone, whatever the pool's index says. Raises BadScripts, and
        SharedenvError (exit status 3) for scripts that the project's sharedenv.lock does not cover.
        """
        plan = self.any_plan(paths, full=full)
        if error := uncovered_error(self.layout, plan, self.python):
            raise error
        return plan

    def any_plan(self, paths: Iterable[str], *, full: bool = False) -> Plan:
        """The same, covered by sharedenv.lock or not: for what starts and builds nothing."""
        full = full or self.no_lock  # what the index knows is locked
        make = self._full if full else known(self.layout, os.environ, self.python, lambda: self._full)
        return make_plan(paths, make, skip_bad=self.skip_bad)


def open_project(pool: str | None, selection: Selection, *, cwd: str | None = None, alone: bool = False) -> Project:
    """Finds scripts and their pool (``pool``: --pool). The pool is named, not made. Raises SharedenvError.

    ``alone``: it is one script that wants to be started, and that no pool is there says nothing of where one belongs.
    """
    here = cwd or current_folder(os.environ)
    paths = find_scripts(selection, here)
    found = find_pools(pool, os.environ, paths, here, _holds_unfinished)
    if len(found.pools) > 1 and None in found.pools:  # the one that is made for the others may be that of all
        found = find_pools(pool, os.environ, paths, here, _holds_unfinished, place_pool(paths, here))
    if len(found.pools) > 1:
        raise several_pools(found)
    layout = next(iter(found.pools)) or (place_for_one(paths[0], here, os.environ) if alone else place_pool(paths, here))
    return _opened(Project(layout, tuple(paths), selection.python, found.strays, selection.no_lock, selection.skip_bad))


def open_projects(pool: str | None, selection: Selection) -> tuple[Sequence[str], list[Project]]:
    """As open_project, where scripts may have several pools: all their paths in the order asked, and each pool with its own."""
    here = current_folder(os.environ)
    paths = find_scripts(selection, here)
    found = find_pools(pool, os.environ, paths, here, _holds_unfinished)
    return paths, [
        _opened(Project(layout or place_pool(own, here), tuple(own), selection.python, found.strays, selection.no_lock))
        for layout, own in found.pools.items()
    ]


def _opened(project: Project) -> Project:
    trusted(project.layout)
    check_format(project.layout)
    if not project.no_lock and (found := lock_passed_over(project.paths, project.layout.root)):
        script, folder = (os.path.relpath(path, current_folder(os.environ)) for path in found)
        raise SharedenvError(
            f"the {NAME} in {folder} would not count for {script}",
            cause=f"the one that counts lies at the project's root, which is {project.layout.root}: its pool is there",
            hint=shlex.join(["sharedenv", "init", folder]),
            exit_code=EXIT_BUILD,
        )
    return project


def tell_strays(project: Project, tell: Teller) -> None:
    """Warns of the pools that were passed over on the way to a project's."""
    here = current_folder(os.environ)
    for stray, above in project.strays.items():
        remedy = f"sharedenv --pool {shlex.quote(short_path(stray, here))} prune --all"
        tell.warn(f"passed over the pool {short_path(stray, here)}: {above} lies above it, and no run needs it ({remedy})")


def tell_plan(plan: Plan, tell: Teller) -> None:
    """Tells what a plan warns of: by the commands that are called once for all scripts, not by those of each task."""
    for text in plan.warnings:
        tell.warn(text)
    if plan.bad:
        why = [f"         {line}" for line in (plan.bad.cause or "").splitlines()]
        tell.warn("\n".join([f"{plan.bad.headline} and are passed over", *why]))


def pool_here(pool: str | None) -> Layout | None:
    """The pool that a command without scripts means (``pool``: --pool), or None. Raises SharedenvError."""
    return find_pool(pool, os.environ, current_folder(os.environ), _holds_unfinished)


def existing_pool(pool: str | None, *, trust: bool = True) -> Layout:
    """The pool that a command without scripts works on. Raises SharedenvError when there is none, or none to be trusted."""
    layout = pool_here(pool)
    if layout is not None and (trust or not os.path.exists(layout.path)):
        trusted(layout)
    if layout is None or not os.path.exists(layout.marker):
        where = layout.path if layout else f"{current_folder(os.environ)} or above it"
        raise SharedenvError(f"no pool at {where}", hint="sharedenv build 'case*/script.py'")
    check_format(layout)
    return layout


def trusted(layout: Layout) -> None:
    """Raises SharedenvError when others decide what lies in the pool: nothing in it is run or believed then."""
    try:
        if check_pool(layout.path, os.environ) is not None:
            check_folders(layout.path, PARTS)
    except Distrust as error:
        cause, hint = error.cause, error.hint
        if (hint or "").startswith("chmod ") and (fault := no_chmod_helps(layout.path)):
            cause, hint = f"{cause}\n{fault}", ANOTHER
        raise SharedenvError(error.message, cause=cause, hint=hint, exit_code=EXIT_USAGE) from None


def find_scripts(selection: Selection, cwd: str) -> Sequence[str]:
    """Absolute paths of all scripts that a command line names. Raises SharedenvError when it names none."""
    if selection.empty:
        raise SharedenvError("no script named", hint=f"sharedenv {selection.command} 'case*/script.py'")
    if "" in selection.arguments:
        cause = 'a variable of the shell that is not set, as in "$SCRIPT", gives one'
        raise SharedenvError("an empty name among the scripts", cause=cause)
    listed: Sequence[str] = selection.listed
    if selection.from_file is not None:
        data = sys.stdin.buffer.read() if selection.from_file == "-" else _read_list(selection.from_file)
        if b"\0" in data and not selection.null:
            raise SharedenvError(
                f"the list {selection.from_file} holds NUL bytes",
                cause="names that end with NUL, as find -print0 writes them, are read with -0",
                hint=f"sharedenv {selection.command} -0 --from-file {shlex.quote(selection.from_file)}",
            )
        listed = find.read_list(data, nul=selection.null)
        if not selection.null:
            listed = find.tidy(listed, cwd)
        if not listed and not selection.arguments:
            raise SharedenvError(f"no script in the list {selection.from_file}", hint=f"sharedenv {selection.command} --help")
    return find.expand(selection.arguments, cwd, listed)


def _holds_unfinished(pool: str) -> bool:
    """Whether a pool that may be passed over holds a run that is not done."""
    from sharedenv.run.journal.runs import holds_unfinished  # noqa: PLC0415 - few projects have two pools

    return holds_unfinished(pool)


def _read_list(path: str) -> bytes:
    try:
        with open(path, "rb") as file:
            return file.read()
    except OSError as error:
        raise SharedenvError(f"can't read the list of scripts {path}", cause=error.strerror) from None
