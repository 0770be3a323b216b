"""Writing to a run: results appended by one write each, a heartbeat, and a disk that may be full."""

from __future__ import annotations

import contextlib
import os
import threading
import time
from collections.abc import Callable, Mapping
from typing import Any

from sharedenv.pool.files import sync_descriptor
from sharedenv.pool.owner import HEARTBEAT
from sharedenv.run.case import Result
from sharedenv.run.journal.records import encode_line, encode_result


class Session:
    """One process at work on a run. Its thread keeps the heartbeat and brings what was written to the disk every few
    seconds.

    A result is in the kernel's hands when `append` returns: killing this process loses nothing, a crash of the machine
    a few seconds. ``unwritten`` holds the lines that could not be written (a full disk); each call tries them again
    first, in order.
    """

    def __init__(self, descriptor: int, path: str, following: str) -> None:
        self.path = path
        self.unwritten: list[bytes] = []
        self.error: OSError | None = None
        self._descriptor = descriptor
        self._following = following
        self._torn = False
        self._empty = True
        self._dirty = True
        self._started: list[tuple[int, int]] = []
        #: whether another process has taken the run since (this one was out of sight for long): it must start nothing more
        self.lost = False
        self._taken: Callable[[], bool] = lambda: False
        self._closing = threading.Event()
        self._keeper: threading.Thread | None = None

    def keep(self, taken: Callable[[], bool] = lambda: False) -> None:
        """Starts the heartbeat. ``taken``: a further look whether another has taken the work; it may raise OSError."""
        self._taken = taken
        keeper = threading.Thread(target=self._beat, name="heartbeat", daemon=True)
        keeper.start()
        self._keeper = keeper  # now that there is one to wait for

    def start(self, sequence: int, group: int, *, result_follows: bool = False) -> None:
        """A case was started, as this process group. ``result_follows``: it is written with that, which costs no call of its own."""
        self._started.append((sequence, group))
        if not result_follows:
            self.put_down_started()

    def put_down_started(self) -> None:
        """Writes the cases started whose result to be written with has to wait."""
        if self._started:
            started, self._started = self._started, []
            self.write({"started": started, "time": round(time.time(), 3)})

    def yield_rest(self) -> None:
        """Puts down that nothing more is started, for who waits to begin what has not been begun: what was, stands before it."""
        self.put_down_started()
        self.write({"yielded": True})

    def append(self, result: Result, environment: str = "") -> bool:
        """Writes one result, with the name of its environment; False when the disk would not take it (see ``error``)."""
        started, self._started = self._started, []
        return self._append(encode_result(result, started, environment))

    def write(self, record: Mapping[str, Any]) -> bool:
        """Writes one record of another kind."""
        return self._append(encode_line(record))

    def close(self, ended: str) -> bool:
        """Writes how the session ended and lets the run go; False when not all could be written."""
        self._closing.set()
        if self._keeper is not None:
            self._keeper.join()
        complete = self.write({"ended": ended, "time": round(time.time(), 3)})
        try:
            sync_descriptor(self._descriptor)
        except OSError as error:
            self.error = self.error or error
        if self._empty:
            # not even who writes could be written: nobody is to take it for a session at work
            with contextlib.suppress(OSError):
                os.unlink(self.path)
        os.close(self._descriptor)
        self._descriptor = -1
        return complete

    def _append(self, line: bytes) -> bool:
        self.unwritten.append(line)
        while self.unwritten:
            if not self._write_one(self.unwritten[0]):
                return False
            del self.unwritten[0]
        return True

    def _write_one(self, line: bytes) -> bool:
        # a disk that fills takes part of a line: the next one starts on a line of its own, readers pass over the torn one
        data = memoryview(b"\n" + line if self._torn else line)
        try:
            while data:
                data = data[os.write(self._descriptor, data) :]
                self._torn = bool(data)
        except OSError as error:
            self.error = error
            return False
        self._empty = False
        self._dirty = True
        return True

    def _beat(self) -> None:
        while not self._closing.wait(HEARTBEAT):
            try:
                os.utime(self._descriptor)
                if self._dirty:
                    self._dirty = False
                    sync_descriptor(self._descriptor)
                self.lost = self.lost or os.path.exists(self._following) or self._taken()
            except OSError:
                continue  # a passing error of the file system: the next beat tells
