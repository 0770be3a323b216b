"""What the runs that are not finished need: prune leaves it."""

from __future__ import annotations

import functools
import os
import time
from collections.abc import Container, Iterable, Iterator, Mapping

from sharedenv.care.leaving import DAY
from sharedenv.care.prune import UNUSED_FOR
from sharedenv.cluster.queued import FORGOTTEN, keys_in_queue, needed_by
from sharedenv.cluster.submissions import list_submissions
from sharedenv.errors import SharedenvError
from sharedenv.pool.layout import Layout
from sharedenv.run.journal.living import going_on
from sharedenv.run.journal.run import Run
from sharedenv.run.journal.runs import open_run
from sharedenv.run.listing import waits_for_workers
from sharedenv.run.workers import may_be_at_work
from sharedenv.values import frozen


@frozen
class KeysInUse:
    """Keys that unfinished runs need, each with words that name such a run. ``doubt``: why there may be more, or None."""

    keys: Mapping[str, str]
    doubt: str | None


def unfinished_needs(layout: Layout) -> KeysInUse:
    """What runs need of which one process lives, that have just begun, or of which Slurm still has a job."""
    try:
        names = going_on(layout.runs)
        runs = [run for run in map(functools.partial(_opened, layout), names) if run is not None]
        queued = keys_in_queue([(run.id, run.path) for run in runs], os.environ)
        doubt = next(_unreadable(layout, names, {run.id for run in runs}), None)
    except FileNotFoundError:
        return KeysInUse({}, None)
    except OSError as error:
        return KeysInUse({}, f"what runs need can't be read: {error.strerror}")
    keys = {key: needed_by(run.id) for run in runs if _unfinished(run) for key in run.asked.keys}
    return KeysInUse({**queued, **keys}, doubt)


def _unfinished(run: Run) -> bool:
    try:
        age = time.time() - run.asked.created
        if age < UNUSED_FOR and waits_for_workers(run):
            return True
        if _may_wait(run):
            return True
        if run.has_ended():  # as most have: to read all that a pool ever ran takes a minute
            return False
        return may_be_at_work(run.sessions(), age)
    except SharedenvError:
        return True  # what can't be read may be at work


def _may_wait(run: Run) -> bool:
    """Whether a run was submitted and no task has begun since, by its own files: they may be in the queue."""
    submitted = max((each.created for each in list_submissions(run.path)), default=0.0)
    return time.time() - submitted < FORGOTTEN and submitted > max((session.began for session in run.sessions()), default=0.0)


def _opened(layout: Layout, name: str) -> Run | None:
    try:
        return open_run(layout.runs, name)
    except SharedenvError:
        return None


def _unreadable(layout: Layout, names: Iterable[str], readable: Container[str]) -> Iterator[str]:
    """Why it isn't known what a run needs, for each one that can't be read and may be at work."""
    for name in sorted(names):
        if name not in readable:
            path = os.path.join(layout.runs, name)
            try:
                os.lstat(os.path.join(path, "run.json"))
                heard, patience = max(entry.stat().st_mtime for entry in os.scandir(path)), DAY
            except (FileNotFoundError, NotADirectoryError):
                continue  # no run, or one that a purge has taken
            except OSError:
                heard, patience = _changed(path), UNUSED_FOR
            if time.time() - heard < patience:
                yield f"run {name} can't be read, and may need it"


def _changed(path: str) -> float:
    try:
        return os.lstat(path).st_mtime
    except OSError:
        return time.time()
