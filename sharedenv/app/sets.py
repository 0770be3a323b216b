"""Environments with the set of versions that a run has for each key (run/sets.py). Light: every run loads it."""

from __future__ import annotations

import shlex
from collections.abc import Iterable, Mapping

from sharedenv.app.work import Work
from sharedenv.errors import EXIT_BUILD, EXIT_FAILED, SharedenvError
from sharedenv.pool.layout import Layout
from sharedenv.pool.sets import find_set, set_of, set_text
from sharedenv.pool.store import Environment
from sharedenv.run.journal.run import Run
from sharedenv.run.sets import pin
from sharedenv.start.access import SHORT


def with_sets(work: Work, ready: Mapping[str, Environment]) -> dict[str, Environment | None]:
    """For the environments that the pool has, those with the sets of the run; None where there is none."""
    found: dict[str, Environment | None] = {}
    for key, environment in ready.items():
        digest = work.sets.get(key)
        fits = digest is None or set_of(environment) == digest
        found[key] = environment if fits or digest is None else find_set(work.layout, key, digest)
    return found


def put_down(layout: Layout, run: Run, environment: Environment, *, decided: bool) -> str:
    """Puts down in a run what an environment holds, before the first case that runs in it; the digest of the set that counts.

    ``decided``: it is what the run goes on with; else what another of its workers has put down counts. Raises OSError.
    """
    return pin(run.path, environment.key, set_of(environment), lambda: set_text(layout, environment), move=decided)


def put_down_all(layout: Layout, run: Run, environments: Iterable[Environment]) -> dict[str, str]:
    """As put_down, for those who are to come (tasks, workers): key → digest of the set that they take. Raises SharedenvError."""
    try:
        return {environment.key: put_down(layout, run, environment, decided=True) for environment in environments}
    except OSError as error:
        cause = f"{error.strerror}: {error.filename}"
        hint = shlex.join(["df", "-h", "-i", run.path])
        raise SharedenvError(f"can't write run {run.id}", cause=cause, hint=hint, exit_code=EXIT_FAILED) from None


def lost_set(key: str, run: Run) -> SharedenvError:
    """The error where no environment has the set that a run has begun with."""
    return SharedenvError(
        f"no environment {key[:SHORT]} has the versions that run {run.id} has begun with",
        cause="the key has moved to others, and what had them is gone",
        hint=shlex.join(["sharedenv", "run", "--resume", "--upgrade", "--run-id", run.id]),
        exit_code=EXIT_BUILD,
    )
