"""Leases of the dead: who is dead, and how his lease is taken away by what holds on every file system.

On the same machine the kernel knows who is dead. On another one, silence tells: a live holder touches its lease over and
over, and one that stays the same for long enough, by the watcher's own steady clock, has none. No clocks of two nodes are compared.

Taking it away is a race: several who wait see the same dead lease, and one of them may be slow. When he comes to remove it, a
faster one has removed it already and holds a new lease of the same name, which must stay. So there is a right to bury each
lease, and it is given once: to whoever creates its grave, a file beside it that is named after the token in the dead lease.
Exclusive creation has one winner everywhere, and no other lease has that token: the slow one finds the grave and keeps his
hands off. The grave stays until its digger is done with the lease, since a node may see for seconds what is gone. A digger
who is killed before he has removed the lease leaves both; then the others go on after `STILLBORN` seconds. Only so may two of
them bury at once, and the worst of it is a build done twice.

Never renameat2: network file systems refuse its flags (EINVAL), and filelock, which exchanges the dead lease for its own by
them, then tries again for ever. Our own look comes first, and filelock is only asked to create.
"""

from __future__ import annotations

import contextlib
import json
import math
import os
import stat
import time

from sharedenv.pool.files import private
from sharedenv.pool.owner import Owner, lives, owner_of, this_process
from sharedenv.start.regular import open_regular
from sharedenv.values import frozen

STILLBORN = 10.0  #: seconds after which a lease with nothing in it counts as that of one who died while taking it
ABANDONED = 3600.0  #: seconds after which one look is enough, by the file system's clock: a live holder touches it far more often
_MOST = 4096  # bytes of a lease
_GRAVE = ".dead-"  #: stands between a lease's name and its token in the name of its grave
_SIGNATURE = b"sharedenv="  #: begins the line of a lease that says who holds it, as pool/owner has it
_TOKEN = b"token="  #: begins filelock's line with a random number, no two alike


@frozen
class Seen:
    """What one look at a lease showed. ``text`` is None where it can't be read; ``touched``: its mtime in nanoseconds.

    ``regular``: it is a file of the size of a lease; nobody holds one by anything else.
    """

    inode: int
    touched: int
    text: bytes | None
    regular: bool = True

    @property
    def owner(self) -> Owner | None:
        """Who holds it; None when it doesn't say so, or not yet."""
        try:
            return owner_of(json.loads(self._line(_SIGNATURE)))
        except (ValueError, KeyError, TypeError):
            return None

    @property
    def since(self) -> float | None:
        """When its holder took it, by his clock (seconds since the epoch); None when it doesn't say so."""
        try:
            return float(json.loads(self._line(_SIGNATURE))["since"])
        except (ValueError, KeyError, TypeError):
            return None

    @property
    def name(self) -> str:
        """What no other lease of the same key is called."""
        token = self._line(_TOKEN).decode("ascii", "replace")
        return token if token.isalnum() else str(self.inode)

    @property
    def owner_lives(self) -> bool | None:
        """Whether its holder lives, where the kernel of this machine knows; else None."""
        owner = self.owner
        if owner is None:
            return None
        lives_though_silent, lives_if_heard = lives(owner, math.inf), lives(owner, 0.0)
        return lives_if_heard if lives_though_silent == lives_if_heard else None

    def _line(self, beginning: bytes) -> bytes:
        lines = (self.text or b"").splitlines()
        return next((line[len(beginning) :] for line in lines if line.startswith(beginning)), b"")


def signature() -> bytes:
    """The line that says that this process holds a lease. filelock passes over lines that it doesn't know."""
    return _SIGNATURE + json.dumps({**this_process().record(), "since": round(time.time(), 3)}).encode() + b"\n"


def look(path: str) -> Seen | None:
    """The lease at this path; None when there seems to be none. NFS says so for a while of one that is there: creating it tells."""
    try:
        descriptor = open_regular(path)
        try:
            found = os.fstat(descriptor)
            return Seen(found.st_ino, found.st_mtime_ns, os.read(descriptor, _MOST), found.st_size <= _MOST)
        finally:
            os.close(descriptor)
    except OSError:
        pass  # it is gone, or a colleague's, or no file
    try:
        found = os.lstat(path)
    except OSError:
        return None
    return Seen(found.st_ino, found.st_mtime_ns, None, stat.S_ISREG(found.st_mode))


class Undertaker:
    """Watches one lease, and takes it away when its holder is dead. To be closed when the lease was had and is given back."""

    def __init__(self, path: str, duration: float) -> None:
        self._path = path
        self._duration = duration
        self._seen: Seen | None = None
        self._since = 0.0
        self._found: dict[str, float] = {}
        self._dug: set[str] = set()

    def clears(self) -> bool:
        """Looks at the lease; whether there is none, or none any more, since it was a dead holder's. Raises OSError."""
        seen = look(self._path)
        if seen is None:
            return True
        if seen != self._seen:
            self._seen, self._since = seen, time.monotonic()
        patience = STILLBORN if seen.text == b"" else self._duration
        dead = not seen.regular or seen.owner_lives is False or time.monotonic() - self._since >= patience
        return dead and self._bury(seen)

    def clears_abandoned(self, now: float) -> bool:
        """As `clears`, for who doesn't wait: an old one is a dead holder's. ``now``: the file system's time. Raises OSError."""
        seen = look(self._path)
        return seen is None or (_is_dead(seen, now) and self._bury(seen))

    @property
    def silence(self) -> float | None:
        """Seconds for which nothing was heard of the holder; None where the kernel knows that it lives, or there is none."""
        return None if self._seen is None or self._seen.owner_lives else time.monotonic() - self._since

    def close(self) -> None:
        """Removes the graves that were dug. Never fails: prune takes what stays."""
        for grave in self._dug:
            with contextlib.suppress(OSError):
                os.unlink(grave)

    def _bury(self, seen: Seen) -> bool:
        grave = f"{self._path}{_GRAVE}{seen.name}"
        try:
            with open(grave, "xb", buffering=0, opener=private) as file:
                self._dug.add(grave)
                file.write(signature())
        except (FileExistsError, PermissionError):
            if not os.path.lexists(grave):  # who is too late on sshfs reads EPERM as often as EEXIST
                raise
            if time.monotonic() - self._found.setdefault(grave, time.monotonic()) < STILLBORN:
                return False
        self._dug.add(grave)
        if look(self._path) != seen:
            return False
        with contextlib.suppress(FileNotFoundError):
            try:
                os.unlink(self._path)
            except IsADirectoryError:
                os.rmdir(self._path)
        return True


def is_abandoned(path: str, now: float) -> bool:
    """Whether one look is enough to know that who holds a lease, or dug a grave, is dead. ``now``: the file system's time."""
    seen = look(path)
    return seen is not None and _is_dead(seen, now)


def clear_away(path: str, now: float) -> None:
    """Removes an abandoned lease, or a grave. Raises OSError."""
    if _GRAVE in os.path.basename(path):
        os.unlink(path)
        return
    with contextlib.closing(Undertaker(path, math.inf)) as undertaker:  # who waits may have buried it, and hold another now
        undertaker.clears_abandoned(now)


def _is_dead(seen: Seen, now: float) -> bool:
    patience = STILLBORN if seen.text == b"" else ABANDONED
    return not seen.regular or seen.owner_lives is False or now - seen.touched / 1e9 >= patience
