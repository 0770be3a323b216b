"""Whether another run has the same cases at work: two processes in one folder mix what they write."""

from __future__ import annotations

from collections.abc import Iterable

from sharedenv.errors import SharedenvError
from sharedenv.report.console import Console
from sharedenv.report.words import count
from sharedenv.run.case import Case
from sharedenv.run.journal import Run
from sharedenv.run.leftover import refuse_leftover, without_result


def check_beside(other: Run, cases: Iterable[Case], console: Console) -> None:
    """Whether another run has these cases at work. Raises SharedenvError when they outlived it: two processes in one folder mix.

    A run that lives may be meant to run beside this one, so that is only said.
    """
    wanted = {case.identity for case in cases}
    try:
        results, sessions = other.read()
        common = [case for case in without_result(other.cases(), results) if case.identity in wanted]
    except SharedenvError:
        return  # a run whose files are gone says nothing
    refuse_leftover(other.id, sessions, common)
    alive = [session.owner for session in sessions if session.alive and session.owner is not None]
    if common and alive:
        where = f"process {alive[0].pid} on {alive[0].host}"
        console.warn(f"run {other.id} ({where}) runs {count(len(common), 'script')} of these as well, in the same folders")
