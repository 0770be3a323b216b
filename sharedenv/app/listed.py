"""The lists of a run that workers may join: the run's own (`plan`), and those of its arrays (`submit`)."""

from __future__ import annotations

import os
from collections.abc import Mapping

from sharedenv.cluster.arrays import Array, list_arrays, open_array
from sharedenv.errors import SharedenvError
from sharedenv.run.claims.blocks import STOP, TOKENS
from sharedenv.run.claims.folder import DiskFolder
from sharedenv.run.claims.list_end import not_begun
from sharedenv.run.journal.run import Run
from sharedenv.run.journal.sessions import WORKER
from sharedenv.run.listing import length, lists_of
from sharedenv.run.terms import Terms, terms_of
from sharedenv.values import frozen


@frozen
class Listed:
    """A list of a run that workers join.

    folder  it is in
    count   of its cases
    array   that it is of, by its number; 0: it is the run's own
    keys    of its environments
    sets    key → digest of the set of versions, of those that are named
    terms   on which its cases are run
    """

    folder: str
    count: int
    array: int
    keys: tuple[str, ...]
    sets: Mapping[str, str]
    terms: Terms
    created: float


def own_list(run: Run) -> Listed:
    """The list of a run that was planned for workers."""
    from sharedenv.run.sets import pinned  # noqa: PLC0415 - a task of an array, whose sets are named, does without tomli

    return Listed(run.path, run.asked.count, 0, run.asked.keys, pinned(run.path), terms_of(run.asked.extra), run.asked.created)


def list_of(array: Array) -> Listed:
    """The list of an array."""
    return Listed(array.path, len(array.sequences), array.number, array.keys, array.sets, array.how.terms, array.created)


def launcher_of(run: Run) -> tuple[str, ...]:
    """The words before the Python of a run's cases, as they were last asked for."""
    arrays = list_arrays(run.path)
    return arrays[-1].how.launcher if arrays else terms_of(run.asked.extra).launcher


def list_to_join(run: Run) -> Listed:
    """The first list of a run (`Run.owned`) that has something to begin, or the last one. Raises SharedenvError for a run that nobody can
    join: of one process, or stopped.
    """
    folders = lists_of(run)
    if not folders:
        raise SharedenvError(
            f"run {run.id} is none that others can join",
            cause="it was begun as the run of one process; `sharedenv plan` makes one for many",
            hint=f"sharedenv run --resume --run-id {run.id}",
        )
    folder = next((folder for folder in folders if not_begun(DiskFolder(folder), length(run, folder))), folders[-1])
    disk = DiskFolder(folder)
    if disk.exists(STOP) and disk.exists(TOKENS):  # a list that is closed has nothing to offer anyway
        raise SharedenvError(
            f"run {run.id} was told to stop",
            cause="by `sharedenv cancel`, or by a failure under --fail-fast",
            hint=f"sharedenv {'run' if folder == run.path else 'submit'} --resume --run-id {run.id}",
        )
    return own_list(run) if folder == run.path else list_of(open_array(run.path, int(os.path.basename(folder)), owned=True))


def worker_name(listed: Listed, tag: str = "") -> str:
    """How the name of a worker of a list begins who is no task of its array; ``tag``: of the task of another that it is."""
    return f"{WORKER}{listed.array}." if listed.array else f"{WORKER}{tag}"
