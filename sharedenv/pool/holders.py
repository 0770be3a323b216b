"""Who runs in an environment: the shared locks on its manifest, asked without taking one, and the exclusive one of prune."""

from __future__ import annotations

import errno
import fcntl
import os
from collections.abc import Iterator
from contextlib import contextmanager

from sharedenv.pool.owner import is_alive
from sharedenv.start.access import MANIFEST, is_without_flock
from sharedenv.start.regular import NOT_REGULAR, open_regular
from sharedenv.values import frozen


@frozen
class Claim:
    """The answer to an exclusive lock that nobody waits for.

    taken    nobody on the nodes that this file system's locks reach runs in the environment
    missing  the file system has no locks: nothing is known
    """

    taken: bool
    missing: bool


def processes(environment: str) -> list[int]:
    """Processes of this machine that hold the environment at this path, as far as this user may see; never raises."""
    try:
        found = os.stat(os.path.join(environment, MANIFEST))
    except OSError:
        return []
    locked = set(_lockers(found))
    return sorted(pid for pid in locked if is_alive(pid)) or (sorted(_openers(found)) if locked else [])


@contextmanager
def claimed(environment: str) -> Iterator[Claim]:
    """Tries for the exclusive lock on an environment's manifest, and keeps it while the body runs. Raises OSError."""
    path = os.path.join(environment, MANIFEST)
    try:
        # NFS makes a byte-range lock of it, and wants a descriptor that may write for the exclusive kind
        descriptor = open_regular(path, os.O_RDWR)
    except PermissionError:
        descriptor = open_regular(path)
    except OSError as error:
        if error.errno not in NOT_REGULAR:
            raise
        yield Claim(taken=True, missing=True)  # nobody can lock it
        return
    try:
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
            claim = Claim(taken=True, missing=False)
        except BlockingIOError:
            claim = Claim(taken=False, missing=False)
        except OSError as error:
            if error.errno != errno.EBADF and not is_without_flock(error):
                raise
            claim = Claim(taken=True, missing=True)
        yield claim
    finally:
        os.close(descriptor)


def _lockers(found: os.stat_result) -> Iterator[int]:
    # proc_locks(5): `1: FLOCK  ADVISORY  READ 4711 fd:01:1234567 0 EOF`; device numbers are hexadecimal. A file system with
    # several volumes (btrfs) shows another device there than in stat, so the inode decides, and openers confirm
    try:
        with open("/proc/locks", encoding="ascii", errors="replace") as file:
            lines = file.read().splitlines()
    except OSError:
        return
    for line in lines:
        fields = line.split()
        if len(fields) >= 6 and fields[1] == "FLOCK" and fields[5].rpartition(":")[2] == str(found.st_ino):
            device = fields[5].rpartition(":")[0]
            if device == f"{os.major(found.st_dev):02x}:{os.minor(found.st_dev):02x}" or _has_open(int(fields[4]), found):
                yield int(fields[4])


def _openers(found: os.stat_result) -> Iterator[int]:
    # the process that took the lock has ended, and one that it started keeps it
    for name in os.listdir("/proc") if os.path.isdir("/proc/self") else ():
        if name.isdigit() and int(name) != os.getpid() and _has_open(int(name), found):
            yield int(name)


def _has_open(pid: int, found: os.stat_result) -> bool:
    folder = f"/proc/{pid}/fd"
    try:
        for descriptor in os.listdir(folder):
            try:
                if os.path.samestat(os.stat(f"{folder}/{descriptor}"), found):
                    return True
            except OSError:
                continue
    except OSError:
        pass
    return False
