"""What the fast way needs to know of a pool. Imports next to nothing: every start pays for it."""

import errno
import fcntl
import os
import stat
import time

FOLDER = ".sharedenv"
MANIFEST = "sharedenv.json"  #: in each environment
USED_INTERVAL = 3600.0  #: seconds: last use is noted at most this often


def nearest_above(folder: str) -> str | None:
    """The nearest `.sharedenv/` in this folder (absolute) or above it, or None.

    A link counts wherever it leads: on a disk that is not mounted it is still the project's pool, and no other one is.
    """
    while True:
        candidate = os.path.join(folder, FOLDER)
        if _is_folder_or_link(candidate):
            return candidate
        parent = os.path.dirname(folder)
        if parent == folder:
            return None
        folder = parent


def _is_folder_or_link(path: str) -> bool:
    try:
        mode = os.lstat(path).st_mode
    except OSError:
        return False
    return stat.S_ISDIR(mode) or stat.S_ISLNK(mode)


def indexed(pool: str, fingerprint: str) -> str | None:
    """Path of the environment that a fingerprint is linked to, or None. A link that leads anywhere but envs/ is none."""
    try:
        target = os.readlink(f"{pool}/index/{fingerprint}")
    except OSError:
        return None
    head, _, name = target.rpartition("/")
    return f"{pool}/envs/{name}" if head == "../envs" and name[12:13] == "-" else None


def note_use(path: str) -> None:
    """Notes in this file of used/ that an environment is used now, at most once an hour. Never fails: a pool may be read-only."""
    try:
        age = time.time() - os.stat(path).st_mtime
    except OSError:
        age = None
    try:
        if age is None:
            _touch(path)
        elif age > USED_INTERVAL:
            os.utime(path)
    except PermissionError:
        # in a shared pool the note may be a colleague's: another takes its place
        try:
            os.unlink(path)
            _touch(path)
        except OSError:
            pass
    except OSError:
        pass


def _touch(path: str) -> None:
    os.close(os.open(path, os.O_CREAT | os.O_WRONLY | os.O_CLOEXEC, 0o666))


#: what a file system without flock answers (ENOSYS, ENOLCK, ENOTSUP, and the kernel's ENOTSUPP, which has no name here)
NO_FLOCK = (errno.ENOSYS, errno.ENOLCK, errno.EOPNOTSUPP, errno.EINVAL, 524)


class Vanished(Exception):
    """The environment was taken away between the look-up and the hold: look up again."""


def hold(environment: str) -> int:
    """Takes the shared lock of the environment at this path and returns the descriptor that keeps it, to be inherited.

    Where flock is missing the descriptor holds nothing, and the other guards of `prune` stand alone. Raises Vanished.
    """
    path = os.path.join(environment, MANIFEST)
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
