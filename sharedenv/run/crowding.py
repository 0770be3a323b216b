"""What the kernel refuses for the number of what there is already. Pure."""

from __future__ import annotations

import errno

#: no process, descriptor or memory to be had now: wait for one that runs to end
_CROWDED = frozenset({errno.EAGAIN, errno.EMFILE, errno.ENFILE, errno.ENOMEM})
#: what says how much of it is to be had
_LIMITS = {errno.EAGAIN: "ulimit -u", errno.EMFILE: "ulimit -n"}


def is_crowded(error: OSError) -> bool:
    """Whether it may be had once something that runs has ended."""
    return error.errno in _CROWDED


def refusal(error: OSError) -> str:
    """Why, in words, with the command that tells the limit."""
    limit = f" (see {_LIMITS[error.errno]})" if error.errno in _LIMITS else ""
    return f"{error.strerror}{limit}"
