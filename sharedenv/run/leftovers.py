"""What scripts have left running that holds their outputs still, after they have ended and were reported.

What it writes is read until the run ends. Then a small process takes over (keeper.py), so that nothing is ended by a pipe that
nobody reads: as under xargs, what was left in the background goes on.
"""

from __future__ import annotations

import contextlib
import os
import sys

from sharedenv.process import spawn
from sharedenv.run.case import Case
from sharedenv.run.observer import BatchObserver
from sharedenv.run.reader import Reader
from sharedenv.run.slot import Slot, spools_of
from sharedenv.run.spool import Capture

KEEPER = os.path.join(os.path.dirname(os.path.abspath(__file__)), "keeper.py")
MANY = 50  #: attempts that are followed; each takes two descriptors


class Leftovers:
    """Attempts that have been reported, and whose outputs something holds. ``reader`` reads along."""

    def __init__(self, observer: BatchObserver, reader: Reader) -> None:
        self._observer = observer
        self._reader = reader
        self._slots: dict[Slot, bool] = {}
        self._lost: dict[int, Case] = {}  # of these, what something may write nobody gets any more; by sequence

    def __bool__(self) -> bool:
        return bool(self._slots)

    def follow(self, slot: Slot, *, wanted: bool) -> None:
        """Something of an attempt may write more; ``wanted``: what it writes is to be passed on."""
        self._slots[slot] = wanted

    def look(self, most: int = MANY) -> str:
        """Passes on what has come to its end. Of the others, when there are more than ``most``, the oldest are let go: what has
        come is passed on, and that no more will be is told. In words, why that failed.
        """
        trouble = ""
        for slot, wanted in self._take(most):
            spools = spools_of(slot.take())
            if wanted and spools:
                try:
                    self._observer.late_output(slot.case, *spools)
                except OSError as error:
                    trouble = f"output can't be written ({error.strerror}): starting nothing more"
            for spool in spools:
                spool.close()
            self._reader.forget(slot)
            slot.close()
        if self._lost:
            self._observer.lost_output(tuple(self._lost.values()))
            self._lost.clear()
        return trouble

    def _take(self, most: int) -> list[tuple[Slot, bool]]:
        taken = {slot: wanted for slot, wanted in self._slots.items() if not slot.writes}
        if (rest := len(self._slots) - len(taken)) > most:
            oldest = [slot for slot in self._slots if slot not in taken][: rest - most // 2]
            self._let_go(oldest)
            taken.update((slot, self._slots[slot]) for slot in oldest)
        for slot in taken:
            del self._slots[slot]
        return list(taken.items())

    def _let_go(self, slots: list[Slot]) -> None:
        pairs: list[tuple[int, int | None]] = []
        for slot in slots:
            slot.drain()
            for pipe in slot.pipes:
                if (source := pipe.hand_over()) >= 0:
                    file = pipe.sink.descriptor if isinstance(pipe.sink, Capture) else None
                    pairs.append((source, file))
                    if file is None and self._slots[slot]:
                        self._lost[slot.case.sequence] = slot.case
        if pairs:
            _hand_over(pairs)


def _hand_over(pairs: list[tuple[int, int | None]]) -> None:
    """Lets a process of its own read on: from each descriptor into a file, or (None) for nobody."""
    argv = (sys.executable, "-IS", KEEPER, *(f"{source}:{'' if file is None else file}" for source, file in pairs))
    inherited = sorted({descriptor for pair in pairs for descriptor in pair if descriptor is not None})
    any_of_them = inherited[0]  # at the limit of descriptors there is none for /dev/null, which it opens itself
    with contextlib.suppress(OSError):  # no process to be had: who writes gets SIGPIPE
        pid = spawn(argv, env=os.environ, stdin=any_of_them, stdout=any_of_them, stderr=any_of_them, inherited=inherited)
        os.waitpid(pid, 0)  # it forks
    for source, _ in pairs:
        os.close(source)
