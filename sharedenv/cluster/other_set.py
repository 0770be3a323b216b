"""A task's environment where its key does not simply lead to it: an older generation that its run began with, or what is to be told."""

from __future__ import annotations

import os
import shlex

from sharedenv.errors import EXIT_BUILD, SharedenvError
from sharedenv.pool.held import known_versions
from sharedenv.pool.layout import Layout
from sharedenv.pool.sets import enter_set, find_set, set_of, set_text
from sharedenv.pool.store import Environment, Unusable, examine, published
from sharedenv.run.journal.run import Run
from sharedenv.run.listing import is_joinable
from sharedenv.run.sets import pin, pinned
from sharedenv.start.access import SHORT, Vanished


def enter_fitting(layout: Layout, run: Run, key: str, digest: str | None) -> tuple[Environment, int, str]:
    """The environment of a key with this set, its held descriptor, the set; without one, what the run has, or now puts down.

    Raises SharedenvError (exit status 3), OSError.
    """
    for _ in range(10):
        path = published(layout, key)
        there = None if path is None else examine(layout, path)
        wanted = digest or pinned(run.path).get(key)
        if wanted is None and isinstance(there, Environment) and there.key == key:
            wanted = pin(run.path, key, set_of(there), lambda found=there: set_text(layout, found))  # type: ignore[misc]  # mypy infers no type of a default
        environment = find_set(layout, key, wanted) if wanted else None
        if environment is None:
            raise _missing(layout, run, key, there, wanted)
        try:
            return environment, enter_set(layout, environment), set_of(environment)
        except Vanished:
            continue  # replaced or taken away meanwhile
    raise _error(layout, run, key, "it is being taken away")


def _missing(layout: Layout, run: Run, key: str, there: Environment | Unusable | None, wanted: str | None) -> SharedenvError:
    if there is None:
        return _error(layout, run, key, "it is not in the pool")
    if isinstance(there, Unusable):
        return _error(layout, run, key, there.reason)
    if there.key != key or wanted is None:
        return _error(layout, run, key, "its manifest names another key")
    held = known_versions(layout, there.manifest.payload)
    moved = held is not None and held.digest != wanted
    cause = f"versions have moved since run {run.id} began, and no environment has those that it began with"
    return _error(layout, run, key, cause, moved=moved)


def _error(layout: Layout, run: Run, key: str, cause: str, *, moved: bool = False) -> SharedenvError:
    who, hint = "task", f"sharedenv submit --resume {'--upgrade ' if moved else ''}--run-id {run.id}, where environments may be built"
    if is_joinable(run):
        who, hint = "worker", f"sharedenv run --resume --upgrade --run-id {run.id}" if moved else _build(run, key)
    return SharedenvError(
        f"environment {key[:SHORT]} can't be used, and a {who} builds none",
        cause=f"{cause} ({layout.path})",
        hint=hint,
        exit_code=EXIT_BUILD,
    )


def _build(run: Run, key: str) -> str:
    return shlex.join(["sharedenv", "build", next(os.path.relpath(case.script) for case in run.cases() if case.key == key)])
