"""Where a run stands, from what its folder holds. Pure."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence

from sharedenv.run.case import Result
from sharedenv.run.journal.sessions import SessionState
from sharedenv.run.workers import DONE, INTERRUPTED, LOST, RUNNING, begun, last_sessions, living
from sharedenv.values import frozen

FEW = 100  #: cases: the results of fewer are counted as soon as a standing that was kept is read (kept.py)
STOPPED = "stopped"
PLANNED = "planned"
SUBMITTED = "submitted"

#: state → in words
MEANING = {
    RUNNING: "at work",
    DONE: "every script succeeded",  # where some failed, that is said instead
    INTERRUPTED: "ended by the user",
    STOPPED: "it ended before every script was run",
    LOST: "its process died without a word: killed, its machine went down or its disk was full",
    PLANNED: "nothing was started yet",
    SUBMITTED: "some of its tasks have yet to begin, or never did",
}


@frozen
class Standing:
    """One run.

    state      one of the words above
    total      cases planned
    succeeded  cases whose last result is a success
    failed     cases whose last result is a failure
    running    sequences at work, and about when each was started (seconds since the epoch)
    alive      sessions at work
    seconds    that sessions worked, added up where they followed each other
    heard      when it was last heard of, seconds since the epoch
    before     cases of those that succeeded that were done before, as their products were there
    """

    state: str
    total: int
    succeeded: int
    failed: int
    running: Mapping[int, float]
    alive: tuple[SessionState, ...]
    seconds: float
    heard: float
    before: int = 0

    @property
    def left(self) -> int:
        """Cases without a result."""
        return self.total - self.succeeded - self.failed


def stand(total: int, results: Mapping[int, Result], sessions: Sequence[SessionState], now: float) -> Standing:
    """Where a run of ``total`` cases stands at ``now`` (seconds since the epoch)."""
    succeeded = sum(1 for result in results.values() if result.succeeded)
    failed = sum(1 for result in results.values() if not result.succeeded and not result.interrupted)
    alive = living(sessions)
    heard = max((now if session.alive else now - session.silence for session in sessions), default=0.0)
    return Standing(
        _state(total - succeeded - failed, sessions, alive),
        total,
        succeeded,
        failed,
        begun(alive),
        alive,
        _covered(sessions, now),
        heard,
        sum(1 for result in results.values() if result.done_before),
    )


def _state(left: int, sessions: Sequence[SessionState], alive: Sequence[SessionState]) -> str:
    if alive:
        return RUNNING
    if not sessions:
        return PLANNED
    if not left:
        return DONE
    endings = {session.ended for session in last_sessions(sessions)}
    if "" in endings:
        return LOST
    return INTERRUPTED if "interrupted" in endings else STOPPED


def _covered(sessions: Iterable[SessionState], now: float) -> float:
    """Seconds in which at least one session worked."""
    spans = sorted((session.started, _end(session, now)) for session in sessions)
    covered, until = 0.0, 0.0
    for start, end in spans:
        covered += max(0.0, end - max(start, until))
        until = max(until, end)
    return covered


def _end(session: SessionState, now: float) -> float:
    if session.ended:
        return session.finished
    return now if session.alive else now - session.silence
