"""Runs that are shares of one whole: the tasks of an array, or calls with --shard I/N. Pure."""

from __future__ import annotations

from collections.abc import Iterable

from sharedenv.run.journal.run import Run


def share_of(run: Run) -> tuple[int, int] | None:
    """Which share a run is, from 1, and of how many; None for a run that is none."""
    number, _, count = str(run.asked.extra.get("share", "")).partition("/")
    return (int(number), int(count)) if number.isdigit() and count.isdigit() else None


def array_of(run: Run) -> str:
    """The array that a share was begun in; "" where it was named by hand."""
    return str(run.asked.extra.get("array", ""))


def shares_beside(run: Run, runs: Iterable[Run]) -> dict[int, Run]:
    """The shares of the whole that a share is of, its own too, by number; of several runs of one share the last.

    ``runs``: those of the pool, newest first.
    """
    own = share_of(run)
    if own is None:
        return {}
    found = {own[0]: run}
    for other in runs:
        share = share_of(other)
        if share is not None and _whole(other) == _whole(run):
            found.setdefault(share[0], other)
    return dict(sorted(found.items()))


def _whole(run: Run) -> tuple[object, ...]:
    share = share_of(run)
    return share and share[1], array_of(run), run.asked.arguments, run.asked.cwd
