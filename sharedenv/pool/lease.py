"""The lease on a key while its environment is built. It saves work; the atomic publish keeps correctness.

filelock creates it, touches it while it is held and takes it away; who is dead, pool/undertaker sees and settles.
"""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager, suppress

from filelock import SoftFileLease, Timeout

from sharedenv.errors import EXIT_BUILD, SharedenvError
from sharedenv.pool.files import file_system_time
from sharedenv.pool.layout import Layout
from sharedenv.pool.undertaker import Undertaker, look, signature
from sharedenv.process import stopping
from sharedenv.start.regular import open_regular

DURATION = 60.0  #: seconds without a heartbeat after which a holder on another host counts as dead
PATIENCE = 1.0  #: seconds of waiting before the user is told
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
    with _watched(layout, key) as (claim, undertaker):
        contended = not _take(claim, undertaker)
        if contended:
            _wait(claim, undertaker, waiting, timeout)
        yield contended


@contextmanager
def try_lease(layout: Layout, key: str) -> Iterator[str | None]:
    """Holds `locks/<key>` without waiting; yields None, or who holds it ("pid 4711 on node7") when it can't be had."""
    with _watched(layout, key) as (claim, undertaker):
        had = _take(claim, undertaker) or (undertaker.clears_abandoned(file_system_time(layout.tmp)) and _take(claim, undertaker))
        yield None if had else _holder(claim)


@contextmanager
def _watched(layout: Layout, key: str) -> Iterator[tuple[SoftFileLease, Undertaker]]:
    path = os.path.join(layout.locks, key)
    claim = SoftFileLease(path, lease_duration=DURATION)
    with closing(Undertaker(path, DURATION)) as undertaker:
        try:
            yield claim, undertaker
        finally:
            claim.release()


def _take(claim: SoftFileLease, undertaker: Undertaker) -> bool:
    """One look at the lease, and one try where it is free or was a dead holder's. Raises OSError."""
    if not undertaker.clears():
        return False
    try:
        claim.acquire(timeout=0)
    except Timeout:
        return False
    except PermissionError:
        if not os.path.lexists(claim.lock_file):  # who is too late on sshfs reads EPERM as often as EEXIST
            raise
        return False
    _sign(claim)
    return True


def _sign(claim: SoftFileLease) -> None:
    """Adds to the lease who holds it, in the pool's own words. Never fails: without, silence alone tells of a death."""
    with suppress(OSError):
        # under umask 077 a colleague could not read who holds it
        os.chmod(claim.lock_file, 0o644)
        descriptor = open_regular(os.fspath(claim.lock_file), os.O_RDWR | os.O_APPEND)
        with open(descriptor, "r+b", buffering=0) as file:
            if str(claim.token).encode() in file.read():  # it may have been taken for a dead one's, and another's be here now
                file.write(signature())


def _wait(
    claim: SoftFileLease,
    undertaker: Undertaker,
    waiting: Callable[[str, float], None],
    timeout: float | None,
) -> None:
    began = time.monotonic()
    told: tuple[str, float] | None = None
    while not _take(claim, undertaker):
        if stopping():
            raise KeyboardInterrupt
        waited = time.monotonic() - began
        over = timeout is not None and waited >= timeout
        if told is None and (over or waited >= PATIENCE):
            told = _holder(claim), _since(claim)
            waiting(*told)
        if told is not None and timeout is not None and over:
            raise _gave_up(timeout, *told, undertaker.silence)
        time.sleep(POLL)


def _gave_up(timeout: float, holder: str, since: float, silence: float | None) -> SharedenvError:
    silent = "" if silence is None else f"; silent for {silence:.0f} s (after {DURATION:.0f} s it counts as dead)"
    return SharedenvError(
        f"gave up waiting after {timeout:g} s: {holder} is building the same environment",
        cause=f"since {time.strftime('%H:%M:%S', time.localtime(since))}{silent}",
        # whoever waits for less than DURATION, and again and again, never sees that a holder is dead
        hint=f"run the same command again, with --lock-timeout {2 * max(timeout, DURATION):.0f}",
        exit_code=EXIT_BUILD,
    )


def _holder(claim: SoftFileLease) -> str:
    # filelock adds the process name space to the name of the host, for its own use
    owner = claim.owner
    return f"pid {owner.pid} on {owner.hostname.partition('?')[0]}" if owner else "another process"


def _since(claim: SoftFileLease) -> float:
    """Since when the holder has it: the lease itself is touched over and over, so it says so; now where it can't be read."""
    seen = look(os.fspath(claim.lock_file))
    if seen is None:
        return time.time()
    return seen.since or seen.touched / 1e9
