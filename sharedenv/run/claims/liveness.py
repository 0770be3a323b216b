"""Whether a worker is gone, so that what it has claimed and not begun may be taken: a protocol, and what its session's file says."""

from __future__ import annotations

import json
import os
import time
from typing import Protocol

from sharedenv.pool.owner import Owner, is_here, lives, owner_of
from sharedenv.run.journal.run import says_its_end
from sharedenv.start.regular import open_regular

TAKEOVER = 180.0  #: seconds without a sign after which a worker's block may be taken: a hung mount, a suspended job may take long
_FIRST = 4096  # bytes, in which the line is that says who writes


class Liveness(Protocol):
    """Who is gone, as one process sees it."""

    def gone(self, worker: str, /) -> bool:
        """Whether a worker is dead for certain, or has given no sign for so long that it may be. What it had begun stays its own."""


class Heartbeats:
    """The workers of a run by the files of their sessions (`Liveness`).

    A heartbeat is the time of such a file. Which time it is says nothing, as clocks differ: it is to change between two looks.
    A worker of this machine is asked for at the kernel, too.

    path      of the run's folder
    takeover  seconds without a change
    """

    def __init__(self, path: str, takeover: float = TAKEOVER) -> None:
        self._path = path
        self._takeover = takeover
        self._seen: dict[str, tuple[float, float]] = {}  # by worker: the time of its file, and since when we see it
        self._owners: dict[str, Owner] = {}

    def gone(self, worker: str) -> bool:
        """Looks now."""
        touched = self._look(worker)
        owner = self._owners.get(worker)
        if owner is not None and is_here(owner) and not lives(owner, 0.0):
            return True
        now = time.monotonic()
        before, since = self._seen.get(worker, (None, now))
        if before != touched:
            self._seen[worker] = (touched, now)
            return False
        return now - since >= self._takeover or self._has_ended(worker)

    def _file(self, worker: str) -> str:
        return os.path.join(self._path, f"results-{worker}.1.jsonl")

    def _look(self, worker: str) -> float:
        """The time of its file, 0 where there is none: a stat might come from a cache."""
        try:
            with open(open_regular(self._file(worker)), "rb") as file:
                if worker not in self._owners:
                    self._owners[worker] = owner_of(json.loads(file.read(_FIRST).partition(b"\n")[0])["owner"])
                return os.fstat(file.fileno()).st_mtime
        except OSError:
            return 0.0
        except (ValueError, KeyError, TypeError):
            return -1.0  # it has yet to write who it is

    def _has_ended(self, worker: str) -> bool:
        try:
            return says_its_end(self._file(worker))
        except OSError:
            return False
