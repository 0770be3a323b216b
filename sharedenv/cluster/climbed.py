"""What each rung of a run came to: what was run there, what it was enough for and what it was too little for."""

from __future__ import annotations

from collections.abc import Mapping

from sharedenv.cluster.arrays import Array, list_arrays
from sharedenv.cluster.rising import Evidence, lost
from sharedenv.cluster.rungs import MEMORY, REST, TIME, Rung
from sharedenv.cluster.status import SOON, ask
from sharedenv.run.case import Result
from sharedenv.run.journal.sessions import SessionState, list_number
from sharedenv.run.measures import Measures
from sharedenv.values import frozen


@frozen
class RungUse:
    """One rung of a run, and what came of it.

    attempts     all that were made there, in the order in which they were started
    sessions     of the tasks that made them
    short        sequences of what was not done there, by why: for want of MEMORY or of TIME, or (REST) since its tasks had to end for one
    begun        whether it has taken over what it is to run
    """

    array: Array
    rung: Rung
    attempts: tuple[Result, ...]
    sessions: tuple[SessionState, ...]
    short: Mapping[str, frozenset[int]]
    begun: bool

    @property
    def tried(self) -> frozenset[int]:
        """The cases that were begun there, and that are not at work now."""
        return frozenset(attempt.sequence for attempt in self.attempts)

    @property
    def good(self) -> tuple[Result, ...]:
        """The attempts that succeeded."""
        return tuple(attempt for attempt in self.attempts if attempt.succeeded)

    @property
    def done(self) -> frozenset[int]:
        """The cases that succeeded there."""
        return frozenset(attempt.sequence for attempt in self.good)

    @property
    def bad(self) -> tuple[Result, ...]:
        """The last attempts at the cases that have not succeeded there, though its limits were none too little: failed, or cut off."""
        explained = self.done.union(*self.short.values())
        return tuple({attempt.sequence: attempt for attempt in self.attempts if attempt.sequence not in explained}.values())

    @property
    def width(self) -> int:
        """How many scripts one of its tasks ran at once, at most."""
        return max((session.jobs for session in self.sessions), default=1)


def climbed(measured: Measures, environ: Mapping[str, str]) -> list[list[RungUse]]:
    """The rungs of each submission of a run that had several, lowest first. Slurm is asked for what the run's files don't say: it knows why
    it has ended a task whose worker could say nothing. Raises SharedenvError when the run can't be read, OSError.
    """
    arrays = list_arrays(measured.run.path)
    if not any(array.rung for array in arrays):
        return []
    tasks, _trouble = ask(arrays, environ, SOON)
    queue = None if tasks is None else {(task.job, task.index): task for task in tasks if task.index is not None}
    evidence = Evidence(arrays, measured.sessions, measured.run.results_by_writer(), queue)
    number = {session.began: list_number(session.writer) for session in measured.sessions}
    found: dict[int, list[RungUse]] = {}
    for array in arrays:
        if array.rung is not None:
            attempts = tuple(attempt for attempt in measured.attempts if number.get(attempt.session) == array.number)
            sessions = tuple(session for session in measured.sessions if list_number(session.writer) == array.number)
            short = _short(array, evidence)
            found.setdefault(array.rung.first, []).append(RungUse(array, array.rung, attempts, sessions, short, not array.pending))
    return list(found.values())


def _short(array: Array, evidence: Evidence) -> dict[str, frozenset[int]]:
    """What a rung was too little for: what was taken over from it, and what would be if there were one above that has more."""
    assert array.rung is not None
    short: dict[str, set[int]] = {MEMORY: set(), TIME: set(), REST: set()}
    left = set(array.sequences)
    for above in evidence.arrays:
        if above.number > array.number and above.number in array.rung.arrays and above.taken is not None:
            for why, some in ((MEMORY, above.taken.memory), (TIME, above.taken.time), (REST, above.taken.rest)):
                short[why] |= left.intersection(some)
            left -= set(above.taken.sequences)
    for sequence, why in lost(array, evidence, left):
        short[why].add(sequence)
    return {why: frozenset(some) for why, some in short.items()}
