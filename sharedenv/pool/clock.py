"""The clock of the pool's file system: ages of files are told by it, since clocks of nodes differ."""

from __future__ import annotations

import os
import time

from sharedenv.pool.layout import Layout


def file_system_time(layout: Layout) -> float:
    """Seconds since the epoch as the file system would stamp a file now; this machine's clock where it can't be written."""
    path = os.path.join(layout.tmp, f"clock-{os.urandom(8).hex()}")
    try:
        descriptor = os.open(path, os.O_CREAT | os.O_EXCL | os.O_WRONLY | os.O_CLOEXEC, 0o600)
    except OSError:
        return time.time()
    try:
        return os.fstat(descriptor).st_mtime
    finally:
        os.close(descriptor)
        os.unlink(path)
