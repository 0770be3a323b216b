"""Who has case n of a run, and does he live? Everybody who needs to know asks here.

A run has workers: the one process that has all its cases, the shares that a later command has made of it, the tasks of an array.
How a worker comes by its cases, and what shows whether it lives, differs; `Workers` is what all kinds have in common.

done         the case has ended, and succeeded
failed       it has ended otherwise
running      a worker that lives has begun it
waiting      it is in the hands of a worker that lives, or that is yet to begin: its turn will come
interrupted  it was begun and cut off with its worker: its folder may hold half of what it writes
left         nobody has it, and it was not begun: its worker ended before the case's turn, or it was given to none
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping, Sequence
from typing import Protocol

from sharedenv.errors import EXIT_USAGE, SharedenvError
from sharedenv.pool.owner import Owner, is_here
from sharedenv.run.case import Result
from sharedenv.run.journal.sessions import LOCAL, SessionState, is_share, is_worker, list_number
from sharedenv.values import frozen

DONE = "done"
FAILED = "failed"
RUNNING = "running"
WAITING = "waiting"
INTERRUPTED = "interrupted"
LOST = "lost"  #: of no case, but of a run or a worker: ended without a word
LEFT = "left"

BEGINNING = 300.0  #: seconds: a run so young may be about to write its first line
UNHEARD = 3600.0  #: seconds of silence before a process on another machine is certainly gone: clocks differ, times come late


@frozen
class Worker:
    """Who works on a run.

    writer   name under which it writes results
    attempt  its start, 1 for the first one under this name; 0: it has yet to begin
    owner    its process, None where that is not known
    """

    writer: str
    attempt: int = 0
    owner: Owner | None = None

    @property
    def host(self) -> str:
        """Where it is or was at work, "" where that is not known."""
        return self.owner.host if self.owner else ""


@frozen
class Fate:
    """What became of a worker.

    alive     it works, or is yet to begin, as far as can be told; in doubt it does
    reason    why it waits or how it ended, in words for the user
    begun     sequences that it has begun and not ended; of one that is gone, those that were cut off, with it or before
    reported  it said itself that it ends
    """

    alive: bool
    reason: str = ""
    begun: Collection[int] = ()
    reported: bool = False


@frozen
class CaseState:
    """Where one case is.

    word    one of the six above
    reason  for waiting, interrupted and left: why, in words for the user
    worker  who has it, or had it last; None: nobody was given it
    lost    it is interrupted or left because its worker ended without a word: node death, out of memory, time limit
    """

    word: str
    reason: str = ""
    worker: Worker | None = None
    lost: bool = False

    @property
    def held(self) -> bool:
        """Whether somebody who lives has it: nobody else is to begin it."""
        return self.word in (RUNNING, WAITING)


class Workers(Protocol):
    """The workers of one run at one instant."""

    def holder(self, sequence: int, /) -> Worker | None:
        """Who was given a case, the last one if it was several; None: nobody was."""

    def fate(self, worker: Worker | None) -> Fate:
        """What became of a worker. None, of cases that nobody was given: why not."""

    def since(self, sequence: int, /) -> Result | None:
        """How a case has ended since its holder was given it; None: it has not."""

    def ever(self, sequence: int, /) -> Result | None:
        """How a case ended last, whoever ran it; None: it never has."""


def case_state(sequence: int, workers: Workers) -> CaseState:
    """Where one case is."""
    worker = workers.holder(sequence)
    if (result := workers.since(sequence)) is not None:
        return _ended(result, worker)
    fate = workers.fate(worker)
    if fate.alive:
        return CaseState(RUNNING if sequence in fate.begun else WAITING, fate.reason, worker)
    if sequence in fate.begun:
        return CaseState(INTERRUPTED, fate.reason, worker, not fate.reported)
    # an earlier outcome says nothing while somebody may still try again, and all when nobody will
    if (result := workers.ever(sequence)) is not None:
        return _ended(result, worker)
    return CaseState(LEFT, fate.reason, worker, not fate.reported)


def case_states(sequences: Iterable[int], workers: Workers) -> dict[int, CaseState]:
    """Where each case is, by sequence."""
    return {sequence: case_state(sequence, workers) for sequence in sequences}


def _ended(result: Result, worker: Worker | None) -> CaseState:
    return CaseState(DONE if result.succeeded else FAILED, "", worker)


class Processes:
    """The processes that work on a run without a queue: one with all the cases, or several that share them.

    results   the last of each case, by sequence; of a case that somebody at work is to run again, none (`Run.read`)
    sessions  oldest first
    """

    def __init__(self, results: Mapping[int, Result], sessions: Sequence[SessionState]) -> None:
        self._results = results
        self._sessions = {(session.writer, session.number): session for session in sessions}
        at_work = living(sessions)
        # which share a case is in isn't written down: the first stands for all
        self._all = _worker(at_work[0]) if at_work else _worker(sessions[-1]) if sessions else None
        # what one before them had begun when it was killed is theirs
        self._begun = {sequence: _worker(session) for session in at_work or last_sessions(sessions) for sequence in session.running}

    def holder(self, sequence: int) -> Worker | None:
        """Who has begun a case, else who has all that is left."""
        return self._begun.get(sequence, self._all)

    def fate(self, worker: Worker | None) -> Fate:
        """By the kernel on the same machine, by the silence elsewhere."""
        if worker is None:
            return Fate(alive=False, reason="nothing was started yet", reported=True)
        session = self._sessions[worker.writer, worker.attempt]
        if session.alive:
            return Fate(alive=True, begun=session.running)
        cut_off = {sequence for sequence, result in self._results.items() if result.interrupted}
        return Fate(alive=False, reason=session.ended or "its process died without a word", begun=cut_off, reported=bool(session.ended))

    def since(self, sequence: int) -> Result | None:
        """The result, but not one that only says that the run was ended."""
        result = self._results.get(sequence)
        return None if result is None or result.interrupted else result

    def ever(self, sequence: int) -> Result | None:
        """The same: a case that is run again has no result until it ends."""
        return self.since(sequence)


def _worker(session: SessionState) -> Worker:
    return Worker(session.writer, session.number, session.owner)


def living(sessions: Iterable[SessionState]) -> tuple[SessionState, ...]:
    """Those at work."""
    return tuple(session for session in sessions if session.alive)


def last_sessions(sessions: Sequence[SessionState]) -> list[SessionState]:
    """The last session of each writer; of a run that one process had and shares or workers went on with, or the other way round, of
    the later; of workers, those of the last list.
    """
    last = {session.writer: session for session in sorted(sessions, key=lambda session: session.number)}
    newest = max(map(list_number, last), default=-1)
    last = {writer: session for writer, session in last.items() if list_number(writer) in (-1, newest)}
    local = last.get(LOCAL)
    shares = [session for session in last.values() if _is_one_of_many(session.writer)]
    if local is None or not shares:
        return list(last.values())
    later = max(session.began for session in shares) > local.began
    return [session for session in last.values() if not (session is local if later else _is_one_of_many(session.writer))]


def _is_one_of_many(writer: str) -> bool:
    return is_share(writer) or is_worker(writer)


def begun(sessions: Iterable[SessionState]) -> dict[int, float]:
    """The cases at work, by sequence: about when each was started (seconds since the epoch)."""
    return {sequence: since for session in living(sessions) for sequence, since in session.running.items()}


def may_be_at_work(sessions: Sequence[SessionState], age: float) -> bool:
    """Whether somebody may work on a run, for who takes away what it needs: that takes more certainty than to go on with it.

    ``age``: seconds since the run was made.
    """
    if not sessions:
        return age < BEGINNING
    return any(session.alive or _may_live_elsewhere(session) for session in sessions)


def _may_live_elsewhere(session: SessionState) -> bool:
    return not session.ended and session.owner is not None and not is_here(session.owner) and session.silence < UNHEARD


def refuse_live(run_id: str, sessions: Iterable[SessionState], writer: str) -> None:
    """Raises SharedenvError when one of a run's sessions is at work that may have the same cases as ``writer``."""
    if alive := [state for state in living(sessions) if _overlap(state.writer, writer)]:
        raise busy(run_id, alive[-1])


def refuse_newer(run_id: str, sessions: Iterable[SessionState], known: Iterable[SessionState], writer: str) -> None:
    """Raises SharedenvError when a session that may have the same cases as ``writer`` is none of those ``known`` before."""
    seen = {(state.writer, state.number) for state in known}
    if any((state.writer, state.number) not in seen and _overlap(state.writer, writer) for state in sessions):
        raise SharedenvError(
            f"another process has gone on with run {run_id} meanwhile",
            cause="what was left to run is no longer what it was",
            hint=f"sharedenv run --resume --run-id {run_id}",
            exit_code=EXIT_USAGE,
        )


def _overlap(one: str, other: str) -> bool:
    """Whether two writers may have the same cases: not the shares of one division, nor workers, nor tasks of Slurm, which the queue
    tells of.
    """
    if is_worker(one) or is_worker(other):
        return any(writer == LOCAL or is_share(writer) for writer in (one, other))
    ours = all(writer == LOCAL or is_share(writer) for writer in (one, other))
    return one == other or (ours and one.partition("-of-")[2] != other.partition("-of-")[2])


def busy(run_id: str, state: SessionState | None) -> SharedenvError:
    """The error of who wants a run that another process has; ``state``: its session, where it is known."""
    where = f"process {state.owner.pid} on {state.owner.host}" if state and state.owner else "another process"
    return SharedenvError(
        f"run {run_id} is at work: {where} has it",
        cause="two at once on one run would run its cases twice",
        hint=f"sharedenv {'join' if state and is_worker(state.writer) else 'status'} {run_id}",
        exit_code=EXIT_USAGE,
    )
