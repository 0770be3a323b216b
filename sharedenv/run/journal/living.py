"""`runs/.living/`: a link to each run that somebody may be at work on, so that no other need be read to know who is."""

from __future__ import annotations

import contextlib
import os

from sharedenv.pool.private import make_folders
from sharedenv.run.journal.run import Run

LIVING = ".living"


def _link(run: Run) -> str:
    return os.path.join(os.path.dirname(run.path), LIVING, run.id)


def note_living(run: Run) -> None:
    """Somebody works on a run now. Where it can't be noted, without a word."""
    link = _link(run)
    with contextlib.suppress(FileExistsError, PermissionError):
        try:
            os.symlink(f"../{run.id}", link)
        except FileNotFoundError:
            make_folders(os.path.dirname(link))
            os.symlink(f"../{run.id}", link)


def forget_living(run: Run) -> None:
    """Nobody works on it any more."""
    with contextlib.suppress(OSError):
        os.unlink(_link(run))


def is_noted_living(run: Run) -> bool:
    """Whether somebody may be at work on it."""
    return os.path.lexists(_link(run))


def living_runs(runs: str) -> list[str]:
    """The names of runs that somebody may be at work on; whether he still is, their sessions tell. ``runs``: the pool's folder of them."""
    try:
        return sorted(os.listdir(os.path.join(runs, LIVING)))
    except OSError:
        return []
