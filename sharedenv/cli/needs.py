"""What the runs that are not finished need: prune leaves it."""

from __future__ import annotations

import os
import time

from sharedenv.pool.layout import Layout
from sharedenv.run.journal import Run, list_runs
from sharedenv.slurm.queued import keys_in_queue

BEGINNING = 300.0  #: seconds: a run so young may be about to write its first line


def unfinished_needs(layout: Layout) -> dict[str, str]:
    """Keys that unfinished runs need, each with the name of such a run: one of its processes lives, it has just begun, or
    Slurm still has a job of it.
    """
    needs: dict[str, str] = {}
    for run in list_runs(layout.runs):
        if _unfinished(run):
            needs.update(dict.fromkeys(run.asked.keys, run.id))
    for key, run_id in keys_in_queue([(run.id, run.path) for run in list_runs(layout.runs)], os.environ).items():
        needs.setdefault(key, run_id)
    return needs


def _unfinished(run: Run) -> bool:
    try:
        sessions = run.sessions()
    except OSError:
        return True  # what can't be read may be at work
    if not sessions:
        return time.time() - run.asked.created < BEGINNING
    return any(session.alive for session in sessions)
