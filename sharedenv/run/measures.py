"""What the journal of a run tells in figures: every attempt, who worked on it and how wide, how it ended, with which versions."""

from __future__ import annotations

import heapq
import time
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import replace

from sharedenv.run.case import Case, Result
from sharedenv.run.journal.run import Run
from sharedenv.run.journal.sessions import SessionState
from sharedenv.run.journal.standing import Standing, stand
from sharedenv.run.sets import SetUsed, sets_used
from sharedenv.values import frozen

_TOGETHER = 0.002  #: seconds by which the clock of a node may tell that a script began before the one in whose place it is had ended


@frozen
class Measures:
    """One run.

    cases     in the order asked
    results   the last result of each by sequence, with all that it said
    attempts  all of them, in the order in which they were started, without what they said; those too that were cut off with their worker
    lanes     of each attempt, in the same order: which of its host's slots it may have had, from 0
    standing  where it stands
    sets      the versions that it was computed with
    """

    run: Run
    cases: tuple[Case, ...]
    results: Mapping[int, Result]
    attempts: tuple[Result, ...]
    lanes: tuple[int, ...]
    sessions: tuple[SessionState, ...]
    standing: Standing
    sets: tuple[SetUsed, ...]

    @property
    def again(self) -> tuple[Case, ...]:
        """The cases that were tried more than once."""
        tried = Counter(attempt.sequence for attempt in self.attempts)
        return tuple(case for case in self.cases if tried[case.sequence] > 1)

    @property
    def interrupted(self) -> tuple[Case, ...]:
        """The cases that were cut off with their worker and not run since."""
        return tuple(case for case in self.cases if (result := self.results.get(case.sequence)) is not None and result.interrupted)

    @property
    def lost(self) -> int:
        """How many of these went with a worker that ended without a word."""
        died = {session.began for session in self.sessions if not session.ended and not session.alive}
        return sum(self.results[case.sequence].session in died for case in self.interrupted)

    @property
    def busy(self) -> float:
        """Seconds for which scripts ran, of all slots together."""
        return sum(attempt.seconds for attempt in self.attempts)

    @property
    def offered(self) -> float:
        """Seconds that slots were there, of all who worked on it, from their begin to their end or last sign."""
        return sum(session.jobs * max(0.0, end_of(session) - session.started) for session in self.sessions)

    @property
    def slots(self) -> int:
        """The most scripts that could run at once."""
        return slots_of(self.sessions)


def slots_of(sessions: Iterable[SessionState]) -> int:
    """The most scripts that those who worked on a run could run at once."""
    changes = sorted(change for session in sessions for change in ((session.started, session.jobs), (end_of(session), -session.jobs)))
    most = now = 0
    for _, jobs in changes:
        now += jobs
        most = max(most, now)
    return most


def measure(run: Run) -> Measures:
    """All that there is to show of a run. Raises SharedenvError when it can't be read, OSError."""
    cases = run.cases()
    results, sessions = run.read(tails=True)
    attempts = sorted([*run.attempts(), *_cut_off(results, sessions)], key=lambda attempt: attempt.start)
    standing = stand(len(cases), results, sessions, time.time())
    sets = sets_used(run.path, cases, results)
    return Measures(run, tuple(cases), results, tuple(attempts), lanes_of(attempts), tuple(sessions), standing, tuple(sets))


def _cut_off(results: Mapping[int, Result], sessions: Iterable[SessionState]) -> Iterator[Result]:
    """What was at work when its worker died without a word: from its start until the last sign of that."""
    ends = {(session.began, session.owner.host if session.owner else ""): end_of(session) for session in sessions if not session.ended}
    for result in results.values():
        if result.interrupted and not result.seconds and (end := ends.get((result.session, result.host))) is not None:
            yield replace(result, seconds=max(0.0, end - result.start))


def end_of(session: SessionState) -> float:
    """When a session ended, or was last heard of, in seconds since the epoch by the clock of its node."""
    return session.finished if session.ended else time.time() - session.silence


def lanes_of(attempts: Iterable[Result]) -> tuple[int, ...]:
    """For attempts in the order in which they were started: the lowest slot of its host that was free, from 0.

    Slots in the journal are those of one job, and two jobs may be at work on a host; that no two scripts at once have one counts here.
    """
    busy: dict[str, list[tuple[float, int]]] = {}
    free: dict[str, list[int]] = {}
    lanes = []
    for attempt in attempts:
        at_work, open_lanes = busy.setdefault(attempt.host, []), free.setdefault(attempt.host, [])
        while at_work and at_work[0][0] <= attempt.start + _TOGETHER:
            heapq.heappush(open_lanes, heapq.heappop(at_work)[1])
        lane = heapq.heappop(open_lanes) if open_lanes else len(at_work)
        heapq.heappush(at_work, (attempt.start + attempt.seconds, lane))
        lanes.append(lane)
    return tuple(lanes)
