"""Holding an environment while it is run: a shared flock on its manifest, which the kernel drops with the last process."""

from __future__ import annotations

import errno
import fcntl
import os

from sharedenv.pool.layout import Layout
from sharedenv.pool.manifest import FILE
from sharedenv.pool.store import Environment, note_use, published

#: what a file system without flock answers (ENOSYS, ENOLCK, ENOTSUP, and the kernel's ENOTSUPP, which has no name here)
NO_FLOCK = (errno.ENOSYS, errno.ENOLCK, errno.EOPNOTSUPP, errno.EINVAL, 524)


class Vanished(Exception):
    """The environment was taken away between the look-up and the hold: look up again."""


def hold(environment: str) -> int:
    """Takes the shared lock of the environment at this path and returns the descriptor that keeps it, to be inherited.

    Where flock is missing the descriptor holds nothing, and the other guards of `prune` stand alone. Raises Vanished.
    """
    path = os.path.join(environment, FILE)
    try:
        descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
    except OSError:
        raise Vanished from None
    try:
        fcntl.flock(descriptor, fcntl.LOCK_SH | fcntl.LOCK_NB)
    except BlockingIOError:
        # only prune takes it exclusively, and what prune has taken is on its way out
        os.close(descriptor)
        raise Vanished from None
    except OSError as error:
        if error.errno not in NO_FLOCK:
            os.close(descriptor)
            raise
    # between open and flock the environment may have been pruned and built again: the file must still be the pool's
    try:
        still = os.path.samestat(os.fstat(descriptor), os.stat(path))
    except OSError:
        still = False
    if not still:
        os.close(descriptor)
        raise Vanished
    return descriptor


def enter(layout: Layout, environment: Environment) -> int:
    """Holds an environment that has just been looked up and is about to be run: its use is noted, and it is still the key's.

    The order settles the race with a prune on another node that sees no lock of ours: it unlinks the key first and then
    looks at the last use again, we note the use first and then look at the key again. One of the two sees the other.
    Raises Vanished.
    """
    note_use(layout, environment)
    descriptor = hold(environment.path)
    if published(layout, environment.key) != environment.path:
        os.close(descriptor)
        raise Vanished
    return descriptor
