"""`sharedenv build --upgrade` and `--upgrade-package`: on versions that are chosen anew."""

from __future__ import annotations

import os
import re
import shlex
from collections.abc import Mapping
from dataclasses import replace

from sharedenv.app.project import Project
from sharedenv.app.upgrade import movement_lines, movements, split, versions_of
from sharedenv.build.locked import locked_script
from sharedenv.build.options import BuildOptions
from sharedenv.cli.building import build_and_tell
from sharedenv.cli.unfinished import left_behind
from sharedenv.errors import EXIT_USAGE, SharedenvError
from sharedenv.key.plan import Plan
from sharedenv.key.project_lock import NAME
from sharedenv.pool.check import normal_name
from sharedenv.pool.missing import NAMED
from sharedenv.pool.store import Environment
from sharedenv.report.console import Console
from sharedenv.report.words import count, printable, short_path
from sharedenv.start.environ import current_folder


def build_upgraded(
    project: Project, plan: Plan, options: BuildOptions, packages: tuple[str, ...], jobs: int, console: Console
) -> tuple[Mapping[str, Environment], list[SharedenvError]]:
    """As build_and_tell, on versions that are chosen anew; tells what has moved."""
    names = tuple(_name(project, package) for package in packages)
    before = versions_of(project.layout, plan.needs.values())
    concerned, others = split(plan, names, before, current_folder(os.environ)) if names else (plan, replace(plan, needs={}))
    moving = replace(options, rebuild=True, upgrade=True, upgrade_packages=names)
    ready, errors = build_and_tell(project, concerned, moving, jobs, console)
    after = versions_of(project.layout, [need for key, need in concerned.needs.items() if key in ready])
    told = dict(movements(before, after))
    for key, lines in told.items():
        console.say(movement_lines(key, lines))
    for text in left_behind(project.layout, {key: before[key].digest for key, lines in told.items() if lines}, console):
        console.warn(text)
    if others.needs:
        more, more_errors = build_and_tell(project, others, options, jobs, console)
        return {**ready, **more}, [*errors, *more_errors]
    return ready, errors


def _name(project: Project, package: str) -> str:
    if bare := re.fullmatch(r"\s*([A-Za-z0-9](?:[A-Za-z0-9._-]*[A-Za-z0-9])?)\s*", package):
        return normal_name(bare[1])
    name = re.match(r"[A-Za-z0-9][A-Za-z0-9._-]*", package)
    first = short_path(project.paths[0], current_folder(os.environ))
    raise SharedenvError(
        f"--upgrade-package takes the name of a package, not {printable(package)!r}",
        cause="it moves that package to the newest version that the script admits; another one is pinned in the script's dependencies:"
        f' "{name[0] if name else "numpy"}==1.0"',
        hint=shlex.join(["sharedenv", "build", "--upgrade-package", normal_name(name[0]), first]) if name else "sharedenv build --help",
        exit_code=EXIT_USAGE,
    )


def refuse_locked(plan: Plan) -> None:
    """Raises SharedenvError for scripts whose versions a lock pins."""
    if held := [need for need in plan.needs.values() if NAME in need.payload.document]:
        some = [short_path(need.scripts[0], current_folder(os.environ)) for need in held[:NAMED]]
        raise SharedenvError(
            f"--upgrade can't give newer versions to {count(sum(len(need.scripts) for need in held), 'script')}: {NAME} pins them",
            hint=shlex.join(["sharedenv", "lock", "--upgrade", *some]),
            exit_code=EXIT_USAGE,
        )
    locked = [script for need in plan.needs.values() if need.payload.document["lock"] is not None for script in need.scripts]
    if locked:
        first = short_path(locked_script(locked[0]), current_folder(os.environ))
        raise SharedenvError(
            f"--upgrade can't give newer versions to {count(len(locked), 'script')}: a lock file pins them",
            cause=printable(f"{first}.lock"),
            hint=f"uv lock --upgrade --script {shlex.quote(first)}",
            exit_code=EXIT_USAGE,
        )
