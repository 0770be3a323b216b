"""Runs that there are: where they stand, what came of them, a report."""

from __future__ import annotations

import os
import time

from sharedenv.api.asked import Path
from sharedenv.api.events import events
from sharedenv.api.outcome import RunResult, RunStatus, result_of_run
from sharedenv.app.queued import look_at_queue, stand_queued, standing_of
from sharedenv.app.runs import meant_run, pool_of_runs
from sharedenv.errors import SharedenvError
from sharedenv.run.journal.run import Run
from sharedenv.run.journal.runs import list_runs
from sharedenv.run.journal.standing import Standing


def status(run: str | None = None, *, pool: Path | None = None) -> RunStatus:
    """Where a run stands now; the last one of the pool, where none is named. Reads the run's files, whoever works on it.

    From any thread, as often as you like: it takes a millisecond for each 500 cases. Raises SharedenvError where there is no such run.
    """
    layout = pool_of_runs(None if pool is None else os.fspath(pool))
    found = meant_run(layout, run, events(None))
    standing = standing_of(found, time.time())
    return _status(found, stand_queued(standing, look_at_queue(found, os.environ)))


def runs(*, pool: Path | None = None) -> list[RunStatus]:
    """Where every run of the pool stands, the newest first, by their own files; those whose files are damaged are left out.

    From any thread. Raises SharedenvError where there is no pool.
    """
    layout = pool_of_runs(None if pool is None else os.fspath(pool))
    found = []
    for run in list_runs(layout.runs):
        try:
            found.append(_status(run, standing_of(run, time.time())))
        except SharedenvError:
            continue
    return found


def results(run: str | None = None, *, pool: Path | None = None) -> RunResult:
    """What has come of a run until now: as `run` gives it, by whoever worked on it. ``seconds``: that somebody did.

    From any thread. Raises SharedenvError where there is no such run.
    """
    layout = pool_of_runs(None if pool is None else os.fspath(pool))
    found = meant_run(layout, run, events(None))
    return result_of_run(found, standing_of(found, time.time()).seconds)


def report(*runs: str, pool: Path | None = None, output: Path | None = None) -> str:
    """Writes an HTML file with pictures of a run (of the last one, where none is named; several side by side); its path.

    ``output``: by default report-RUN.html in the current folder. Needs `pip install sharedenv[report]`. From any thread. Raises
    SharedenvError.
    """
    from sharedenv.report.html.file import write_report  # noqa: PLC0415 - to look at a run takes no pictures

    layout = pool_of_runs(None if pool is None else os.fspath(pool))
    found = [meant_run(layout, run, events(None)) for run in (runs or (None,))]
    return write_report(found, None if output is None else os.fspath(output), os.environ)[0]


def _status(run: Run, standing: Standing) -> RunStatus:
    return RunStatus(
        run.id,
        run.path,
        standing.state,
        standing.total,
        standing.succeeded,
        standing.failed,
        len(standing.running),
        standing.before,
        run.asked.created,
        standing.seconds,
        run.asked.command,
    )
