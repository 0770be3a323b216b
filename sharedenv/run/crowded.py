"""A case that could not be started: whether a later try may do, and why in words. Pure."""

from __future__ import annotations

import errno

#: no process, descriptor or memory to be had now: wait for one that runs to end
CROWDED = frozenset({errno.EAGAIN, errno.EMFILE, errno.ENFILE, errno.ENOMEM})
#: what says how much of it is to be had
_LIMITS = {errno.EAGAIN: "ulimit -u", errno.EMFILE: "ulimit -n"}


def why_not(what: str, error: OSError) -> str:
    """The words; ``what``: what failed."""
    limit = f" (see {_LIMITS[error.errno]})" if error.errno in _LIMITS else ""
    return f"{what}: {error.strerror}{limit}"
