"""Never twice: what a run whose workers live has in its list, no other run is to begin beside it."""

from __future__ import annotations

import contextlib
from collections.abc import Iterable

from sharedenv.errors import EXIT_USAGE, SharedenvError
from sharedenv.pool.layout import Layout
from sharedenv.report.words import count
from sharedenv.run.case import Case
from sharedenv.run.journal.living import living_runs
from sharedenv.run.journal.runs import open_run
from sharedenv.run.workers import living


def refuse_living(layout: Layout, cases: Iterable[Case], own: str | None = None) -> None:
    """Raises SharedenvError when workers of another run (than the one of the name ``own``) are at work on one of these cases, or will be.

    Two cases are one when script, arguments and folder are. Only the plans of runs in which somebody lives are read.
    """
    names = [name for name in living_runs(layout.runs) if name != own]
    if not names:
        return
    from sharedenv.run.outlived import without_result  # noqa: PLC0415 - no workers live, most times

    wanted = {(*case.identity, case.folder) for case in cases}
    for name in names:
        with contextlib.suppress(SharedenvError):  # what can't be read says nothing
            run = open_run(layout.runs, name)
            results, sessions = run.read()
            alive = living(sessions)
            common = [case for case in without_result(run.cases(), results) if (*case.identity, case.folder) in wanted] if alive else []
            if common:
                owner = alive[0].owner
                where = f"process {owner.pid} on {owner.host}" if owner else "a worker"
                break
    else:
        return
    raise beside(run.id, len(common), where, "join")


def beside(run_id: str, common: int, where: str, command: str) -> SharedenvError:
    """The error of who would begin cases that a living run has; ``where`` it is at work, and the command for who doesn't insist."""
    return SharedenvError(
        f"run {run_id} works on {count(common, 'script')} of these",
        cause=f"{where} is at work on it; two processes in one folder mix what they write",
        hint=f"sharedenv {command} {run_id}, or --insist to begin them here as well",
        exit_code=EXIT_USAGE,
    )
