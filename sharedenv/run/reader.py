"""Reads what running scripts write: a thread that takes it out of their pipes, and what is large to disk.

A thread, since the loop may be waiting for whoever reads the output of a script that has ended. The pipes of a script that has
just begun are left alone: what most scripts write is less than a pipe holds, and the loop takes it when they have ended. A
script that writes faster than its output can be taken is held by its full pipe, as any program is.
"""

from __future__ import annotations

import os
import select
import threading
import time
from collections import deque
from collections.abc import Callable

from sharedenv.run.pipe import Pipe
from sharedenv.run.slot import Slot
from sharedenv.run.spool import CHUNK, LIMIT

_BUDGET = 256 << 20  # bytes of all running scripts together that may stay in memory; few of many write at all
_YOUNG = 0.05  # seconds from its start for which a script is not looked at
_YOUNG_OF_MANY_WORDS = 0.01  # the same, once some script has filled half a pipe: the next are likely to
_MUCH = 32 << 10  # bytes, half of what a pipe holds: who has as much to read is late
_LITTLE = 8 << 10
_PAUSE = (0.0002, 0.02)  # seconds between two readings, at least and at most: many small writes are taken together


class Reader:
    """A context: inside it, the outputs of the slots that it follows are read. ``jobs``: how many scripts run at a time at most;
    ``poke`` is called when the last one has let go an output of a script that has ended.

    news   what the user should know, in words; whoever tells it takes it out
    alone  there was no thread to be had: `serve` is to be called often
    limit  bytes of one output that stay in memory
    """

    def __init__(self, jobs: int, poke: Callable[[], None]) -> None:
        self.news: deque[str] = deque()
        self.alone = False
        self.limit = min(LIMIT, max(CHUNK, _BUDGET // (2 * jobs)))
        self._slots: dict[Slot, None] = {}
        self._poke = poke
        self._young = _YOUNG
        self._pause = _PAUSE[1]
        self._told = False
        self._end = self._ender = -1  # the two ends of a pipe: closing the second ends the thread, which polls the first
        self._thread = threading.Thread(target=self._run, name="outputs", daemon=True)

    def __enter__(self) -> Reader:
        self._end, self._ender = os.pipe()
        try:
            self._thread.start()
        except RuntimeError:
            self.alone = True
        return self

    def __exit__(self, *_: object) -> None:
        os.close(self._ender)
        if not self.alone:
            self._thread.join()
        os.close(self._end)

    def follow(self, slot: Slot) -> None:
        """An attempt has begun."""
        self._slots[slot] = None

    def forget(self, slot: Slot) -> None:
        """Nothing of it is left to read."""
        self._slots.pop(slot, None)

    def serve(self, seconds: float) -> bool:
        """Reads once what there is to read, waiting for it so long at most; False when this is to end."""
        old = time.monotonic() - self._young
        pipes: dict[int, tuple[Slot, Pipe]] = {}
        poll = select.poll()
        poll.register(self._end, select.POLLIN)
        for slot in tuple(self._slots):
            if slot.began < old:
                for pipe in slot.pipes:
                    if (reader := pipe.reader) >= 0:
                        pipes[reader] = slot, pipe
                        poll.register(reader, select.POLLIN)
        most = 0
        for descriptor, _ in poll.poll(seconds * 1000):
            if descriptor == self._end:
                return False
            most = max(most, self._fill(*pipes[descriptor]))
        if pipes:
            self._keep_pace(most)
        return True

    def _run(self) -> None:
        pause = select.poll()
        pause.register(self._end, select.POLLIN)
        while self.serve(self._young):
            pause.poll(self._pause * 1000)

    def _fill(self, slot: Slot, pipe: Pipe) -> int:
        count = 0
        try:
            count = pipe.fill(self.limit)
        except OSError as error:
            count = _MUCH
            self._tell(error)
        if slot.ended and not pipe.open:
            self._poke()
        return count

    def _keep_pace(self, most: int) -> None:
        """As long a pause as it takes a script to fill some of its pipe, and not all."""
        if most >= _MUCH:
            self._young = _YOUNG_OF_MANY_WORDS
            self._pause = max(_PAUSE[0], self._pause / 4)
        elif most <= _LITTLE:
            self._pause = min(_PAUSE[1], self._pause * 2)

    def _tell(self, error: OSError) -> None:
        import tempfile  # noqa: PLC0415 - loaded already, for the file that could not be made

        if not self._told:
            self._told = True
            folder = tempfile.tempdir or "a temporary folder"  # none was found
            self.news.append(f"a large output can't be moved to {folder} ({error.strerror}): it stays in memory; "
                             "TMPDIR names another place")
