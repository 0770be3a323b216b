"""A process on a host, and whether it still lives, seen from any host."""

from __future__ import annotations

import contextlib
import os
import platform
from collections.abc import Mapping
from dataclasses import asdict
from typing import Any

from sharedenv.values import frozen

#: a writer touches its file this often (seconds) …
HEARTBEAT = 5.0
#: … and is taken for dead on another host when it has not for this long
STALE = 60.0
_UNKNOWN = "alive"  # the start of a process that is there, and no more is known


@frozen
class Owner:
    """One process.

    host     name of the node
    machine  boot id and process namespace: two owners with the same one share process numbers
    pid      process number
    start    start time in the kernel's own ticks, so that a number used again is not taken for the same process
    """

    host: str
    machine: str
    pid: int
    start: str

    def record(self) -> dict[str, Any]:
        """For a JSON record."""
        return asdict(self)


def this_process() -> Owner:
    """The process that calls."""
    return Owner(platform.node(), _machine(), os.getpid(), _start_of(os.getpid()))


def owner_of(record: Mapping[str, Any]) -> Owner:
    """The owner in a JSON record."""
    return Owner(str(record["host"]), str(record["machine"]), int(record["pid"]), str(record["start"]))


def lives(owner: Owner, silence: float) -> bool:
    """Whether an owner still lives; ``silence`` is how long ago (seconds) it was last heard of.

    On this machine the kernel knows, however long a process was stopped or busy; elsewhere, and where /proc hides the
    processes of others (hidepid), silence decides.
    """
    if is_here(owner):
        start = _start_of(owner.pid)
        if start != _UNKNOWN or owner.start == _UNKNOWN:
            return start == owner.start
    return silence < STALE


def may_hold(owner: Owner, path: str) -> bool:
    """Whether an owner on this machine has a file open: in a copy of the file nobody has. True where that can't be seen."""
    descriptors = f"/proc/{owner.pid}/fd"
    try:
        wanted = os.stat(path)
        names = os.listdir(descriptors)
    except OSError:
        return True
    for name in names:
        with contextlib.suppress(OSError):
            if os.path.samestat(os.stat(f"{descriptors}/{name}"), wanted):
                return True
    return False


def is_here(owner: Owner) -> bool:
    """Whether an owner's process number means something on this machine."""
    return owner.machine == _machine()


def _machine() -> str:
    try:
        with open("/proc/sys/kernel/random/boot_id") as file:
            boot = file.read().strip()
        return f"{boot} {os.readlink('/proc/self/ns/pid')}"
    except OSError:
        return platform.node()


def _start_of(pid: int) -> str:
    """Start time of a process; "" when there is none (a zombie counts as none), `_UNKNOWN` when it can't be seen."""
    try:
        with open(f"/proc/{pid}/stat", "rb") as file:
            fields = file.read().rpartition(b")")[2].split()
        return "" if fields[0] in (b"Z", b"X") else fields[19].decode()
    except (FileNotFoundError, PermissionError):
        pass  # it is gone, or hidden (hidepid), or there is no /proc (macOS): the number alone has to do
    except OSError:
        return ""
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return ""
    except PermissionError:
        pass
    return _UNKNOWN


def is_alive(pid: int) -> bool:
    """Whether a process of this machine is there and no zombie."""
    return bool(_start_of(pid))
