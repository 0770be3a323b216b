"""Cases that take their worker down: those at work when one dies without a word (out of memory, a node that breaks). Pure."""

from __future__ import annotations

from collections.abc import Iterable, Mapping

from sharedenv.run.case import Case
from sharedenv.run.journal.sessions import SessionState
from sharedenv.values import frozen

AGAIN = 2  #: deaths from which on it is no accident: once, a whole node goes down with what happens to run there


@frozen
class Downs:
    """How often a worker died without a word while a case was at work in it; ``alone``: of these, how often no other was."""

    times: int
    alone: int


def downs(sessions: Iterable[SessionState]) -> dict[int, Downs]:
    """Of each case that was at work when a worker died so, by sequence."""
    found: dict[int, Downs] = {}
    for session in sessions:
        if not session.alive and not session.ended:
            for sequence in session.running:
                before = found.get(sequence, Downs(0, 0))
                found[sequence] = Downs(before.times + 1, before.alone + (len(session.running) == 1))
    return found


def safest_first(cases: Iterable[Case], found: Mapping[int, Downs]) -> tuple[Case, ...]:
    """The cases in their order, but those that took a worker down last: the others are done before they do it again."""
    return tuple(sorted(cases, key=lambda case: found[case.sequence].times if case.sequence in found else 0))
