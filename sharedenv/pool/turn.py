"""One process of a node at a time, as long as it gets on: a lock that saves work, and that nobody waits for in vain.

The folder of copies may be everybody's. A lock that a stranger has put there counts for nothing, and ours can be opened by those
alone who share the folder on purpose. One of us may be stopped while it has the turn (Ctrl-Z, a debugger): whoever sees no
sign of it for a while goes on without the lock. What is made in a turn appears by a rename, so that two at once are two times the work.
"""

from __future__ import annotations

import contextlib
import fcntl
import os
import stat
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager

from sharedenv.start.access import is_without_flock
from sharedenv.start.regular import NOT_REGULAR, open_regular
from sharedenv.start.trust import file_fault

SILENCE = 30.0  #: seconds without a sign of the holder after which nobody waits for it any more
_BEAT = 5.0
_POLL = 0.05


@contextmanager
def turn(path: str, pool: str, sign: Callable[[], object]) -> Iterator[None]:
    """Holds the lock at this path while the body runs, where that can be had; it says whose ``pool`` (a path) the work is for.

    ``sign`` gives what changes while the holder gets on. Raises OSError.
    """
    descriptor = _open_lock(path, pool)
    try:
        if descriptor is not None:
            _wait(descriptor, sign)
        yield
    finally:
        if descriptor is not None:
            os.close(descriptor)


@contextmanager
def heartbeat(folder: str) -> Iterator[None]:
    """Touches a folder over and over while the body runs: a sign that this process gets on."""
    over = threading.Event()

    def beat() -> None:
        while not over.wait(_BEAT):
            with contextlib.suppress(OSError):
                os.utime(folder)

    thread = threading.Thread(target=beat, daemon=True)
    with contextlib.suppress(RuntimeError):  # no thread to be had: what is written into the folder has to do
        thread.start()
    try:
        yield
    finally:
        over.set()


def _wait(descriptor: int, sign: Callable[[], object]) -> None:
    seen, since = sign(), time.monotonic()
    while True:
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            pass
        except OSError as error:
            if not is_without_flock(error):
                raise
            return
        else:
            return
        if (now := sign()) != seen:
            seen, since = now, time.monotonic()
        elif time.monotonic() - since >= SILENCE:
            return
        time.sleep(_POLL)


def _open_lock(path: str, pool: str) -> int | None:
    """A descriptor to lock: of a new file, or of the one that is there where it is to be believed. Raises OSError."""
    try:
        descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600)
    except FileExistsError:
        return _open_theirs(path, pool)
    os.write(descriptor, os.fsencode(pool))
    folder = os.stat(os.path.dirname(path)).st_mode
    if folder & stat.S_IWGRP and not folder & stat.S_IWOTH:
        os.fchmod(descriptor, 0o640)
    return descriptor


def _open_theirs(path: str, pool: str) -> int | None:
    for flags in (os.O_RDWR, os.O_RDONLY):  # another user's: to lock it, reading is enough
        try:
            descriptor = open_regular(path, flags)
        except PermissionError:
            continue
        except OSError as error:
            if error.errno in NOT_REGULAR:
                return None
            raise
        if file_fault(os.fstat(descriptor), path, os.environ, os.stat(pool)) is None:
            return descriptor
        os.close(descriptor)
        return None
    return None
