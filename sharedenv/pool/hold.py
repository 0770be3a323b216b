"""Holding an environment while it is run: a shared flock on its manifest, which the kernel drops with the last process."""

from __future__ import annotations

import os

from sharedenv.pool.layout import Layout
from sharedenv.start.access import Vanished, hold
from sharedenv.pool.store import Environment, note_use, published


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
