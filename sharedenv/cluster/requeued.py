"""A task that Slurm has started anew: what its former starts saw end with them, it has tried once more; what they kept silent about, never.

A worker that TERM ends puts down that its cases were ended with it: they are dead for certain. Of one that was killed, or whose node
Slurm holds for dead, nobody knows.
"""

from __future__ import annotations

from sharedenv.cluster.arrays import Array, task_of
from sharedenv.run.claims.claims import Claims
from sharedenv.run.claims.folder import DiskFolder
from sharedenv.run.journal.run import Run, session_files
from sharedenv.run.listing import Listing


def former_starts(run: Run, array: Array, task: int, restarts: int) -> list[str]:
    """The writers of a task's starts before that of this number."""
    found = {writer: task_of(writer) for writer, _, _ in session_files(run.path)}
    return [writer for writer, place in found.items() if place and place[:2] == (array.number, task) and place[2] < restarts]


def take_up(run: Run, array: Array, former: list[str], claims: Claims, listing: Listing) -> None:
    """Has tried again what these writers saw end with them, each once, whoever else comes. Raises OSError."""
    folder = DiskFolder(array.path)
    results, sessions = run.results_by_writer(), run.sessions()
    positions: dict[int, int] = {}
    for session in sessions:
        ended = [one for one in results.get(session.writer, {}).values() if one.interrupted and one.sequence not in session.running]
        if session.writer in former and session.ended and ended and folder.mark(f"again-{session.writer}"):
            positions = positions or {listing.case(position).sequence: position for position in range(listing.count)}
            for one in ended:
                claims.try_again(positions[one.sequence], one.attempt - 1)


def left_undone(run: Run, former: list[str]) -> bool:
    """Whether one of these writers has not said how it ended, so that it may have lost a case, or has one that has not succeeded since."""
    results, sessions = run.read()
    by_writer = run.results_by_writer()
    silent = any(session.writer in former and not session.ended for session in sessions)
    began = {sequence for writer in former for sequence in by_writer.get(writer, {})}
    return silent or any((result := results.get(sequence)) is None or not result.succeeded for sequence in began)
