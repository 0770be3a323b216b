"""Keeps what running scripts write from filling the memory: a thread that moves what is large to disk.

A thread, since the loop may be waiting for whoever reads the output of a script that has ended. A script that writes faster than
the disk takes is held, as the kernel holds one that writes into a file: its process group gets STOP, and CONT once its output
has been moved.
"""

from __future__ import annotations

import contextlib
import signal
import threading
import time
from collections import deque
from collections.abc import Mapping

from sharedenv.run.groups import send
from sharedenv.run.slot import Slot, spools_of
from sharedenv.run.spool import CHUNK, LIMIT, in_memory

_BUDGET = 256 << 20  # bytes of all running scripts together that may stay in memory; few of many write at all
_HELD = 4  # limits: a script with as much in memory is held
_PIECES = 4  # moved of one output before the next has its turn
_LOOK = 0.1  # seconds between looks: what a script can write meanwhile is held in memory
_SOON = 0.01  # seconds between looks at outputs that have been large


class Relief:
    """A context: inside it, the outputs of attempts are looked after. ``slots``: those that run, by process group; ``jobs``: how
    many at most.

    news   what the user should know, in words; whoever tells it takes it out
    limit  bytes of one output that stay in memory
    """

    def __init__(self, slots: Mapping[int, Slot], jobs: int) -> None:
        self.news: deque[str] = deque()
        self._slots = slots
        self.limit = min(LIMIT, max(CHUNK, _BUDGET // (2 * jobs)))
        self._told: set[str] = set()
        self._stuck = False
        self._ending = threading.Event()
        self._thread = threading.Thread(target=self._run, name="outputs", daemon=True)

    def __enter__(self) -> Relief:
        if in_memory():
            with contextlib.suppress(RuntimeError):  # no thread to be had: outputs stay where they are, and the scripts run
                self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._ending.set()
        if self._thread.is_alive():
            self._thread.join()

    def release(self, group: int, slot: Slot) -> None:
        """An attempt has ended: from here on nobody but the caller touches its outputs."""
        with slot.lock:
            slot.ended = True
        if slot.held:  # what it has left behind in its group goes on
            send(group, signal.SIGCONT)

    def _run(self) -> None:
        pause = _LOOK
        while not self._ending.wait(pause):
            slots = dict(self._slots)
            large = [slot for group, slot in slots.items() if self._look_at(group, slot)]
            if large:
                # one at a time, and all are looked at again: others write meanwhile
                pause = 0.0 if self._move(min(large, key=lambda slot: slot.relieved)) else _LOOK
            else:
                pause = _SOON if any(slot.relieved for slot in slots.values()) else _LOOK

    def _look_at(self, group: int, slot: Slot) -> bool:
        """Whether an attempt has more in memory than the limit. One that has much more is held until it has no more than that."""
        with slot.lock:
            if slot.ended:
                return False
            most = max((spool.kept for spool in spools_of(slot)), default=0)
            if most > _HELD * self.limit and not slot.reason and not self._stuck:  # what is being ended is to answer
                send(group, signal.SIGSTOP)  # each time: Ctrl-Z and fg have let it go on
                slot.held = True
            elif slot.held and (most <= self.limit or slot.reason or self._stuck):
                send(group, signal.SIGCONT)
                slot.held = False
        if slot.held:
            self._tell("scripts write faster than the disk of TMPDIR takes it: they are stopped now and then (STOP, CONT), or their "
                       "output would fill the memory; with --capture NAME each writes into a file itself")
        return most > self.limit

    def _move(self, slot: Slot) -> bool:
        """Moves some of what an attempt has in memory to disk; False when the disk takes no more."""
        slot.relieved = time.monotonic()
        try:
            for spool in spools_of(slot) * _PIECES:
                with slot.lock:
                    if slot.ended:
                        break
                    spool.relieve(self.limit)
        except OSError as error:
            import tempfile  # noqa: PLC0415 - loaded already, for the file that could not be made

            self._tell(f"a large output can't be moved to {tempfile.gettempdir()} ({error.strerror}): it stays in memory; "
                       "TMPDIR names another place")
            self._stuck = True  # there is nothing to wait for
        else:
            self._stuck = False
        return not self._stuck

    def _tell(self, text: str) -> None:
        if text not in self._told:
            self._told.add(text)
            self.news.append(text)
