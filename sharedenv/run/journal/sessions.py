"""The sessions of a run as their files tell them: who works or has worked on it, and what it runs. Pure but for clocks and the look
whether a process lives.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Mapping
from dataclasses import field
from typing import Any

from sharedenv.pool.owner import Owner, lives, owner_of
from sharedenv.run.case import INTERRUPTED, Result
from sharedenv.run.journal.records import decode_result
from sharedenv.values import frozen

LOCAL = "local"  #: the writer of a run that is no array
#: how the writers begin that claim their cases (run/claims): worker.<name>, of the list of an array worker.<its number>.….<name>
WORKER = "worker."
_SHARE = "share-"  # how the writers of shares begin


@frozen
class SessionState:
    """One session as it stands on disk.

    again    sequences that had a result when it began and that it runs again
    silence  seconds since it was last heard of
    running  sequences that it has started and that have not ended, and about when each was started
    groups   the process group of each of these
    ended    how it ended ("done", "drained: why", "interrupted" …); "" while it has not
    alive    it has not ended and its process lives, as far as can be told
    yielded  it starts nothing more: another may begin what it has not begun
    began    when it began, by the file system's clock: ``started`` is what the clock of its node said
    """

    writer: str
    number: int
    owner: Owner | None
    jobs: int
    started: float
    again: tuple[int, ...]
    silence: float
    running: Mapping[int, float]
    ended: str
    finished: float
    alive: bool
    groups: Mapping[int, int] = field(default_factory=dict)
    yielded: bool = False
    began: float = 0.0


class SessionReading:
    """What the file of a session says, as far as it was read. Lines that lack something are passed over, as torn ones are.

    attempts  results, in the order of the lines
    touched   when the session was last heard of, by the file system's clock
    """

    def __init__(self, writer: str, number: int) -> None:
        self.writer, self.number = writer, number
        self.attempts: list[Result] = []
        self.touched = 0.0
        self.ended, self._finished = "", 0.0
        self._first: Mapping[str, Any] | None = None
        self._began = 0.0
        self._environments: dict[str, tuple[str, str]] = {}
        self._running: dict[int, float] = {}
        self._groups: dict[int, int] = {}
        self._yielded = False

    def hear(self, records: Iterable[Mapping[str, Any]]) -> None:
        """Further lines of it."""
        for record in records:
            if self._first is None:
                self._first, self._began = record, began_at(record, self.touched)
            if "attempt" in record:
                self._running.pop(record["sequence"], None)
                self._groups.pop(record["sequence"], None)
                self.attempts.append(decode_result(record, self._environments, self._began))
            elif "ended" in record:
                self.ended, self._finished = str(record["ended"]), _time_in(record, self.touched)
            elif "yielded" in record:
                self._yielded = True
            elif "versions" in record and "environment" in record:
                self._environments[record["environment"]] = (record["environment"], str(record["versions"]))
            if isinstance(begun := record.get("started"), list):
                # beside a result: what took the place of the case that ended
                since = record["start"] + record["seconds"] if "attempt" in record else _time_in(record, self.touched)
                for sequence, group in filter(_is_start, begun):
                    self._running[sequence], self._groups[sequence] = since, group

    def state(self, clock: Callable[[], float]) -> SessionState:
        """The session as it stands. ``clock``: the file system's."""
        first, owner = _first_of(self._first)
        # who has not ended may be on another node: the clock of ours says nothing of its last sign
        silence = abs((time.time() if self.ended else clock()) - self.touched)
        # a file without its first line: its writer is about to write it, or died or found the disk full in that instant
        alive = not self.ended and (lives(owner, silence) if owner else silence < 5.0)
        return SessionState(
            self.writer, self.number, owner, first.get("jobs", 1), first.get("started", self.touched), tuple(first.get("again", ())),
            silence, dict(self._running), self.ended, self._finished, alive, dict(self._groups), self._yielded,
            self.touched if self._first is None else self._began,
        )  # fmt: skip


def began_at(first: Mapping[str, Any], touched: float) -> float:
    """When a session began, by the file system's clock. ``first``: its first line; ``touched``: its file's time, which is no earlier.

    Sessions of an older sharedenv know only what the clock of their node said.
    """
    noted = first.get("began", first.get("started"))
    return min(noted, touched) if isinstance(noted, float) else touched


def _is_start(value: Any) -> bool:
    return isinstance(value, list) and len(value) == 2 and type(value[0]) is int and type(value[1]) is int


def _time_in(record: Mapping[str, Any], otherwise: float) -> float:
    value = record.get("time")
    return value if isinstance(value, float) else otherwise


def _first_of(first: Mapping[str, Any] | None) -> tuple[Mapping[str, Any], Owner | None]:
    """The line that says who writes, and who that is; neither where it is missing or damaged."""
    try:
        return (first, owner_of(first["owner"])) if first else ({}, None)
    except (KeyError, TypeError, ValueError):
        return {}, None


def settle(session: SessionState, results: dict[int, Result], own: Mapping[int, Result]) -> None:
    """Puts a session into the ``results`` that its writer had before it; ``own``: those that it wrote.

    The order of the lines decides, not the time in them: clocks are set back.
    """
    if session.alive:
        for sequence in session.again:
            results.pop(sequence, None)
    results.update(own)
    host = session.owner.host if session.owner else ""
    for sequence, since in session.running.items():
        if session.alive:
            results.pop(sequence, None)
        else:
            results[sequence] = Result(sequence, 1, since, host=host, error=INTERRUPTED, session=session.began)


def settle_others(session: SessionState, results: dict[int, Result], *, beside: bool) -> None:
    """Takes from the results of another writer those of cases that a session at work runs again, or is to.

    ``beside``: they are workers of one list, at work at the same time; of others the session that began later has the case now.
    """
    if session.alive:
        for sequence, since in {**dict.fromkeys(session.again, session.started), **session.running}.items():
            if (known := results.get(sequence)) is not None and (
                known.start <= since if beside else known.order <= (session.began, since)
            ):
                del results[sequence]


def share_writer(index: int, count: int) -> str:
    """The writer of one of the shares (``index`` from 1) that the cases of a run are divided into."""
    return f"{_SHARE}{index}-of-{count}"


def is_worker(writer: str) -> bool:
    """Whether a writer is one of those that claim their cases."""
    return writer.startswith(WORKER)


def list_number(writer: str) -> int:
    """The number of the list whose cases a writer claims: that of an array, 0 for the run's own, -1 for who claims none."""
    if not is_worker(writer):
        return -1
    number, dot, _ = writer.removeprefix(WORKER).partition(".")
    return int(number) if dot and number.isdigit() else 0


def is_share(writer: str) -> bool:
    """Whether a writer is one of such shares."""
    return writer.startswith(_SHARE)
