"""Which cases of an array go on in the next, and why: of what is read already.

What was killed for memory goes on where there is more of it, what had nearly all the time of its rung where there is more time. What was
cut off sooner, or never begun, because its tasks had to end for one of the two, has proven nothing: whoever comes next has it. What failed
by itself stays, and what somebody has cancelled.
"""

from __future__ import annotations

import math
import os
import signal
from collections.abc import Collection, Iterator, Mapping, Sequence
from typing import TYPE_CHECKING

from sharedenv.cluster.arrays import Array, task_of
from sharedenv.cluster.rungs import MEMORY, REST, TIME, Allowance
from sharedenv.run.case import Result
from sharedenv.run.journal.sessions import SessionState, list_number
from sharedenv.run.workers import living
from sharedenv.values import frozen

if TYPE_CHECKING:
    from sharedenv.cluster.slurm import SlurmTask

_CANCELLED = "cancelled"
_STATES = {"TIMEOUT": TIME, "OUT_OF_MEMORY": MEMORY, "CANCELLED": _CANCELLED}
_NEARLY = 0.9  # of the time of a rung: who had so much of it needs more
_KILLED = 128 + signal.SIGKILL  # how a shell or a launcher says it
_MARK = "met-"  # how the names of files begin by which tasks note what ended them


def was_killed(result: Result) -> bool:
    """Whether a script ended as one ends that the kernel kills for want of memory."""
    return result.signal == signal.SIGKILL or result.status == _KILLED


def mark(why: str, task: int, restarts: int) -> str:
    """The name of the file by which a task notes that it has met its limit of time or memory: squeue soon forgets."""
    return f"{_MARK}{why}-{task}-{restarts}"


@frozen
class Evidence:
    """What is known of a run.

    arrays    of it, oldest first
    sessions  of it
    results   the last of each case, by writer and sequence
    queue     each task that Slurm knows, by job and number; None: it doesn't answer
    """

    arrays: Sequence[Array]
    sessions: Sequence[SessionState]
    results: Mapping[str, Mapping[int, Result]]
    queue: Mapping[tuple[str, int], SlurmTask] | None


def rising(evidence: Evidence, again: Collection[int] = ()) -> dict[int, tuple[Array, str]]:
    """The cases that will go on in an array of theirs that has taken none over yet, by sequence: in which, and why (MEMORY, TIME, REST).

    ``again``: sequences that somebody was to try once more.
    """
    found: dict[int, tuple[Array, str]] = {}
    arrays = {array.number: array for array in evidence.arrays}
    last = {sequence: array for array in evidence.arrays for sequence in array.sequences}
    for above in evidence.arrays:
        if above.rung is None or not above.pending:
            continue
        below = [arrays[number] for number in above.rung.arrays if number < above.number and number in arrays]
        for array in below:
            own = {sequence for sequence in array.sequences if last[sequence] is array and sequence not in found}
            for sequence, why in lost(array, evidence, own, again):
                if why == REST or _has_more(why, array.rung.limits if array.rung else None, above.rung.limits):
                    found[sequence] = (above, why)
    return found


def lost(array: Array, evidence: Evidence, sequences: Collection[int], again: Collection[int] = ()) -> Iterator[tuple[int, str]]:
    """Of these of the cases of an array that is a rung, those that its limits kept from their end, and why (MEMORY, TIME, REST)."""
    yield from _Ended(array, evidence, again).lost(sequences)


def _has_more(why: str, below: Allowance | None, above: Allowance) -> bool:
    if below is None:
        return False
    return above.kilobytes > below.kilobytes if why == MEMORY else above.seconds > below.seconds


class _Ended:
    """What became of the cases of one array."""

    def __init__(self, array: Array, evidence: Evidence, again: Collection[int]) -> None:
        assert array.rung is not None
        self._array, self._queue, self._again = array, evidence.queue, again
        self._limit = array.rung.limits.seconds
        self._marks = {name for name in os.listdir(array.path) if name.startswith(_MARK)}
        self._sessions = [session for session in evidence.sessions if list_number(session.writer) == array.number]
        self._starts: dict[int, int] = {}
        for session in self._sessions:
            if (found := task_of(session.writer)) is not None:
                self._starts[found[1]] = max(found[2], self._starts.get(found[1], 0))
        self._results = {session.writer: evidence.results.get(session.writer, {}) for session in self._sessions}

    def lost(self, sequences: Collection[int]) -> Iterator[tuple[int, str]]:
        """Of these of its cases, those that its limits kept from their end, and why."""
        outcomes: dict[int, tuple[float, str]] = {}  # of the last attempt at each: when it began
        for session in self._sessions:
            for sequence, began, why in self._of(session):
                outcomes[sequence] = max(outcomes.get(sequence, (0.0, "")), (began, why))
        cut_short = self._was_cut_short()
        for sequence in sequences:
            _, why = outcomes.get(sequence, (0.0, REST if cut_short else ""))
            if sequence in self._again:
                why = REST if cut_short else ""
            if why:
                yield sequence, why

    def _of(self, session: SessionState) -> Iterator[tuple[int, float, str]]:
        """What a worker has begun, when, and why that goes on: "" for what does not."""
        met = self._met(session)
        for sequence, result in self._results[session.writer].items():
            if sequence not in session.running:
                yield sequence, math.inf if result.succeeded else result.start, self._why(met, result)
        for sequence, since in session.running.items():
            had = self._limit - (since - session.started)  # of one that TIME ended without a word
            yield sequence, since, self._cut_off(met, had) if self._is_gone(session) else ""

    def _why(self, met: Collection[str], result: Result) -> str:
        if result.interrupted:
            return self._cut_off(met, result.seconds)
        return MEMORY if was_killed(result) and MEMORY in met else ""

    def _cut_off(self, met: Collection[str], had: float) -> str:
        if TIME in met:
            return TIME if had >= _NEARLY * self._limit else REST
        return MEMORY if MEMORY in met and _CANCELLED not in met else ""

    def _met(self, session: SessionState) -> set[str]:
        """What a task has met, by its own note and by Slurm."""
        found = task_of(session.writer)
        if found is None:
            return set()
        _, task, restarts = found
        met = {why for why in (TIME, MEMORY) if mark(why, task, restarts) in self._marks}
        state = self._state(task)
        if state is not None and restarts == self._starts[task] and state.state in _STATES:
            met.add(_STATES[state.state])
        return met

    def _is_gone(self, session: SessionState) -> bool:
        """Whether a worker is dead for certain: it has said that it ends, or Slurm has seen its task end, however fresh its sign."""
        found = task_of(session.writer)
        state = self._state(found[1]) if found is not None else None
        return bool(session.ended) or (state is not None and not state.live and state.state != "NODE_FAIL")

    def _was_cut_short(self) -> bool:
        """Whether nobody begins more of its list, since limits ended some of its tasks, and nobody has cancelled one."""
        if self._queue is None or not all(map(self._is_gone, living(self._sessions))):
            return False
        states = [state for task in range(1, self._array.tasks + 1) if (state := self._state(task))]
        met = {why for session in self._sessions for why in self._met(session)} | {_STATES.get(state.state, "") for state in states}
        return not any(state.live for state in states) and not met.isdisjoint((TIME, MEMORY)) and _CANCELLED not in met

    def _state(self, task: int) -> SlurmTask | None:
        return None if self._queue is None else self._queue.get((self._array.job, task))
