"""Going on with a run that workers had: what they have begun is theirs until it is known that they are dead, and none may come back."""

from __future__ import annotations

import os
from collections.abc import Collection, Iterable, Mapping, Sequence

from sharedenv.errors import EXIT_USAGE, SharedenvError
from sharedenv.pool.owner import is_here
from sharedenv.run.case import INTERRUPTED, Case, Result
from sharedenv.run.claims.blocks import STOP, TOKENS
from sharedenv.run.claims.folder import DiskFolder
from sharedenv.run.claims.list_end import close, not_begun
from sharedenv.run.journal.living import forget_living
from sharedenv.run.journal.run import Run
from sharedenv.run.journal.sessions import SessionState, is_worker, list_number
from sharedenv.run.listing import is_joinable, lists_of
from sharedenv.run.workers import busy, refuse_live, refuse_newer


def refuse_lost(
    run: Run, sessions: Iterable[SessionState], cases: Iterable[Case], dead: Collection[str] = (), command: str = "run"
) -> None:
    """Raises SharedenvError where one of these cases, none of which has a result, may be in the hands of a worker who only keeps silent.

    Silence is no death: a suspended job and a hung mount keep it, too. Who was killed before he said who he is, and holds no token,
    has nothing in hand. ``dead``: writers that a scheduler has seen end; ``command`` goes on with the run.
    """
    wanted = {case.sequence: case for case in cases}
    workers = [session for session in sessions if is_worker(session.writer) and not session.ended]
    silent = [session for session in workers if not session.alive and not _is_dead(session) and session.writer not in dead]
    if any(session.owner is None for session in silent):
        holders = {token.rpartition("-")[2] for folder in lists_of(run) for token in DiskFolder(folder).names(TOKENS)}
        silent = [session for session in silent if session.owner is not None or session.writer in holders]
    if not wanted or not silent:
        return
    lines = []
    for session in silent:
        where = f"{session.owner.host}, process {session.owner.pid}" if session.owner else "a worker that never said where"
        begun = [wanted[sequence].script for sequence in session.running if sequence in wanted]
        what = f", which had begun {begun[0]}" + (f" and {len(begun) - 1:,} more" if len(begun) > 1 else "") if begun else ""
        lines.append(f"{where}{what}: no sign for {session.silence:,.0f} s")
    raise SharedenvError(
        f"scripts of run {run.id} may still be at work elsewhere",
        cause="\n".join(lines),
        hint=f"sharedenv {command} --resume --run-id {run.id} --lost-too, when you know that they are dead",
        exit_code=EXIT_USAGE,
    )


def begun_unsaid(run: Run, cases: Iterable[Case], results: Mapping[int, Result], sessions: Sequence[SessionState]) -> dict[int, Result]:
    """Those of the cases of a run that workers had begun and not yet said so when they were killed: interrupted, by sequence.

    A case is begun before its process is started, and put down after that. Which cases these are can be told when nothing of the list is
    left to begin, and nobody has gone on with the run in another way.
    """
    died = [session for session in sessions if not session.alive and not session.ended]
    if not died or not is_joinable(run) or any(session.alive or not is_worker(session.writer) for session in sessions):
        return {}
    folder = DiskFolder(run.path)
    if folder.exists(STOP) or not_begun(folder, run.asked.count):
        return {}
    since = died[-1].began
    return {case.sequence: Result(case.sequence, 1, since, error=INTERRUPTED) for case in cases if case.sequence not in results}


def _is_dead(session: SessionState) -> bool:
    """Whether a worker who is not alive is known to be dead: the kernel of his machine says so."""
    return session.owner is not None and is_here(session.owner)


def close_arrays(run: Run, folders: Collection[str]) -> None:
    """Sees to it that nobody begins a case of these arrays of a run (their folders) any more. Raises SharedenvError when somebody has gone
    on with one since, OSError.
    """
    for folder in folders:
        close(folder)
    numbers = {int(os.path.basename(folder)) for folder in folders}
    for session in run.sessions() if folders else ():
        if session.alive and list_number(session.writer) in numbers:
            raise busy(run.id, session)


def close_list(run: Run, known: Iterable[SessionState], writer: str) -> None:
    """Sees to it that no worker begins a case of a run any more, not even one who has slept. ``known``: the sessions that there were when
    it was chosen what ``writer`` runs. Raises SharedenvError when there were others since, OSError.
    """
    if lists := lists_of(run):
        for folder in lists:
            close(folder)
        others = [session for session in run.sessions() if session.writer != writer]
        refuse_live(run.id, others, writer)
        refuse_newer(run.id, others, known, writer)
        forget_living(run)
