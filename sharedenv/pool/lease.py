"""The lease on a key while its environment is built. It saves work; the atomic publish keeps correctness."""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager

from filelock import SoftFileLease, Timeout

from sharedenv.errors import EXIT_BUILD, SharedenvError
from sharedenv.pool.layout import Layout
from sharedenv.pool.staging import OWNER
from sharedenv.process import stopping
from sharedenv.start.access import SHORT

DURATION = 60.0  #: seconds without a heartbeat after which a holder on another host counts as dead
PATIENCE = 1.0  #: seconds of waiting before the user is told
STILLBORN = 10.0  #: seconds after which a lease with nothing in it counts as that of one who died while taking it
POLL = 0.1  #: seconds between two looks at the lease


@contextmanager
def lease(
    layout: Layout, key: str, *, waiting: Callable[[str, float], None], timeout: float | None = None
) -> Iterator[bool]:
    """Holds `locks/<key>`; yields whether somebody else held it first.

    waiting  is called once, after a second of waiting, with the holder ("pid 4711 on node7") and the time since which
             it holds the lease (seconds since the epoch)
    timeout  seconds to wait at the most (None: as long as it takes). Raises SharedenvError when they are over.

    Exclusive creation and a heartbeat, never flock: that is missing or local to a node on many parallel file systems.
    """
    claim = SoftFileLease(os.path.join(layout.locks, key), lease_duration=DURATION, poll_interval=POLL)
    contended = False
    try:
        claim.acquire(timeout=0)
    except Timeout:
        contended = True
        _wait(claim, layout, key, waiting, timeout)
    try:
        _show(claim)
        yield contended
    finally:
        claim.release()


@contextmanager
def try_lease(layout: Layout, key: str) -> Iterator[str | None]:
    """Holds `locks/<key>` without waiting; yields None, or who holds it ("pid 4711 on node7") when it can't be had."""
    claim = SoftFileLease(os.path.join(layout.locks, key), lease_duration=DURATION, poll_interval=POLL)
    try:
        claim.acquire(timeout=0)
    except Timeout:
        yield _holder(claim)
        return
    try:
        _show(claim)
        yield None
    finally:
        claim.release()


def _show(claim: SoftFileLease) -> None:
    # under umask 077 a colleague could not read who holds it, and would wait for a dead holder for ever
    os.chmod(claim.lock_file, 0o644)


def _wait(
    claim: SoftFileLease, layout: Layout, key: str, waiting: Callable[[str, float], None], timeout: float | None
) -> None:
    patience = PATIENCE if timeout is None else min(PATIENCE, timeout)
    undertaker = _Undertaker(claim)
    try:
        claim.acquire(timeout=patience, cancel_check=undertaker)
    except Timeout:
        _heed_the_end()
        holder, since = _holder(claim), _since(claim, layout, key)
        waiting(holder, since)
    else:
        return
    try:
        claim.acquire(timeout=-1 if timeout is None else timeout - patience, cancel_check=undertaker)
    except Timeout:
        _heed_the_end()
        raise SharedenvError(
            f"gave up waiting after {timeout:g} s: {holder} is building the same environment",
            cause=f"since {time.strftime('%H:%M:%S', time.localtime(since))}",
            hint="run the same command again, with a longer --lock-timeout",
            exit_code=EXIT_BUILD,
        ) from None


def _heed_the_end() -> None:
    if stopping():
        raise KeyboardInterrupt


class _Undertaker:
    """Takes away, at each poll, the lease that filelock keeps for ever: one that says nothing of its holder.

    Whoever is killed, or finds the disk full, between creating and writing it leaves it empty; one that can't be read is
    a colleague's. Both count as dead when nothing about them changes: a live holder touches its own.
    """

    def __init__(self, claim: SoftFileLease) -> None:
        self._path = os.fspath(claim.lock_file)
        self._seen: tuple[int, int, int] | None = None
        self._since = 0.0

    def __call__(self) -> bool:
        """Whether to stop waiting: the user has ended this process."""
        try:
            found = os.lstat(self._path)
            identity = (found.st_ino, found.st_mtime_ns, found.st_size)
            if identity != self._seen:
                self._seen, self._since = identity, time.monotonic()
            patience = STILLBORN if found.st_size == 0 else None if os.access(self._path, os.R_OK) else DURATION
            if patience is not None and time.monotonic() - self._since >= patience:
                self._bury(found.st_ino)
        except OSError:
            pass
        return stopping()

    def _bury(self, inode: int) -> None:
        aside = f"{self._path}.dead-{os.urandom(8).hex()}"
        os.rename(self._path, aside)
        try:
            if os.lstat(aside).st_ino != inode:
                os.link(aside, self._path)  # somebody was faster and holds it now
        finally:
            os.unlink(aside)


def _holder(claim: SoftFileLease) -> str:
    # filelock adds the process name space to the name of the host, for its own use
    owner = claim.owner
    return f"pid {owner.pid} on {owner.hostname.partition('?')[0]}" if owner else "another process"


def _since(claim: SoftFileLease, layout: Layout, key: str) -> float:
    """Since when the holder builds: the lease itself is touched over and over, its staging folder says when it was made."""
    begun = []
    for name in os.listdir(layout.tmp):
        if name.startswith(f"{key[:SHORT]}-"):
            begun += _time(os.path.join(layout.tmp, name, OWNER)) or _time(os.path.join(layout.tmp, name))
    # the newest: others are what dead builds left
    return max(begun or _time(os.fspath(claim.lock_file)), default=time.time())


def _time(path: str) -> list[float]:
    try:
        return [os.stat(path).st_mtime]
    except OSError:
        return []
