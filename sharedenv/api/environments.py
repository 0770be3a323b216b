"""Environments: built, and looked up."""

from __future__ import annotations

import os
from collections.abc import Mapping

from sharedenv.api.asked import Path, Scripts, selection
from sharedenv.api.events import OnEvent, events
from sharedenv.app.build import build_plan, remember_built
from sharedenv.app.project import open_project, tell_strays
from sharedenv.build.options import BuildOptions
from sharedenv.errors import EXIT_BUILD, SharedenvError
from sharedenv.pool.missing import look_up_all
from sharedenv.pool.store import Environment
from sharedenv.process import apart
from sharedenv.report.building import BuildProgress
from sharedenv.report.words import count


def build(
    scripts: Scripts,
    *,
    pool: Path | None = None,
    python: str | None = None,
    jobs: int = 2,
    rebuild: bool = False,
    offline: bool = False,
    compile_bytecode: bool = True,
    lock_timeout: float | None = None,
    no_lock: bool = False,
    on_event: OnEvent | None = None,
) -> list[Environment]:
    """Builds every environment that these scripts need and that is not there, once each; all of them, in the order of the scripts.

    scripts           files, or patterns ("case*/script.py"), relative to the current folder
    pool              the pool's folder; by default the one that the command finds, or makes
    python            the Python to use, as uv takes it: "3.12", ">=3.10", a path
    jobs              builds side by side
    rebuild           build anew what is there, with the versions it has
    offline           use uv's cache only
    compile_bytecode  else builds are faster, and first imports slower
    lock_timeout      seconds to wait for another process's build; None: as long as it takes
    no_lock           pass by the project's sharedenv.lock
    on_event          is given each line that the command would write, in the thread in which it happens, one at a time

    From any thread. Raises SharedenvError: for scripts that can't be used (exit_code 2; nothing was built), and where a build has failed
    (3; the others are built).
    """
    named = None if pool is None else os.fspath(pool)
    tell = events(on_event, named)
    project = open_project(named, selection("build", scripts, python=python, no_lock=no_lock))
    tell_strays(project, tell)
    plan = project.plan(project.paths, full=True)
    for text in plan.warnings:
        tell.warn(text)
    options = BuildOptions(compile_bytecode, offline, rebuild=rebuild, drift=True, lock_timeout=lock_timeout)
    with apart(), BuildProgress(tell) as progress:
        outcome = build_plan(project, plan, options, jobs, progress)
    remember_built(project, plan, outcome.ready)
    if outcome.failed:
        raise build_error(outcome.failed, len(plan.needs))
    return list(outcome.ready.values())


def find(script: Path, *, pool: Path | None = None, python: str | None = None, no_lock: bool = False) -> Environment | None:
    """The environment of a script, where it is built and sound; else None. Builds nothing, writes nothing, starts nothing.

    From any thread. Raises SharedenvError for a script that can't be used.
    """
    project = open_project(None if pool is None else os.fspath(pool), selection("which", script, python=python, no_lock=no_lock))
    ready, missing = look_up_all(project.layout, project.any_plan(project.paths))
    return None if missing else next(iter(ready.values()))


def build_error(failed: Mapping[str, Exception], total: int) -> Exception:
    """What is raised for builds that failed: the one error, or one that has the words of all. A bug of ours as it is."""
    first = next(iter(failed.values()))
    strange = next((error for error in failed.values() if not isinstance(error, SharedenvError)), None)
    if strange is not None or len(failed) == 1 or not isinstance(first, SharedenvError):
        return strange or first
    errors = [error for error in failed.values() if isinstance(error, SharedenvError)]
    return SharedenvError(
        f"{len(failed):,} of {count(total, 'environment')} could not be built",
        cause="\n".join([f"{error.message}: {error.cause}" if error.cause else error.message for error in errors]),
        hint=first.hint,
        exit_code=EXIT_BUILD,
    )
