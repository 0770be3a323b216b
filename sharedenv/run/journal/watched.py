"""A run that is looked at again and again: each look reads on from where the one before has stopped."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import field

from sharedenv.run.case import Case
from sharedenv.run.journal.run import Run, read_on, readable, session_files
from sharedenv.run.journal.sessions import SessionReading
from sharedenv.values import frozen


@frozen
class Heard:
    """A session's file as far as it was read: so many bytes."""

    reading: SessionReading
    bytes: int


@frozen
class WatchedRun(Run):
    """The same run, without reading twice what doesn't change: lines that were read, files of sessions that have ended, the plan."""

    heard: dict[str, Heard] = field(default_factory=dict, compare=False)
    plans: dict[int, list[Case]] = field(default_factory=dict, compare=False)

    def cases(self) -> list[Case]:
        """The plan, in order, with what was added to it. Raises SharedenvError when it can't be read."""
        count = self.count
        if count not in self.plans:
            self.plans.clear()
            self.plans[count] = Run.cases(self)
        return self.plans[count]

    def _readings(self, *, tails: bool = False) -> Iterator[SessionReading]:
        """As every run has it, but for ``tails``, which nobody who looks again and again asks for."""
        with readable(self.id):
            for writer, number, name in session_files(self.path):
                known = self.heard.get(name) or Heard(SessionReading(writer, number), 0)
                if not known.reading.ended:
                    with self._open(name) as file:
                        file.seek(known.bytes)
                        read = read_on(file, known.reading, tails=tails, cut=False)
                    self.heard[name] = Heard(known.reading, known.bytes + read)
                yield known.reading


def watched(run: Run) -> WatchedRun:
    """A run, to be looked at again and again."""
    return WatchedRun(run.path, run.asked, run.owned)
