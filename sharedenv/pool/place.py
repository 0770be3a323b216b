"""What the fast way needs to know of a pool. Imports next to nothing (see environ): every start pays for it."""

import _stat as stat
import errno
import fcntl
import posix
import time

FOLDER = ".sharedenv"
MANIFEST = "sharedenv.json"  #: in each environment
INVENTORY = "sharedenv.inventory"  #: beside it
SHORT = 12  #: digits of a key that stand for it in names and messages; a short name never decides
USED_INTERVAL = 3600.0  #: seconds: last use is noted at most this often


def nearest_above(folder: str) -> str | None:
    """The nearest `.sharedenv/` in this folder (absolute) or above it, or None.

    A link counts wherever it leads: on a disk that is not mounted it is still the project's pool, and no other one is.
    """
    folder = folder.rstrip("/")
    while not _is_folder_or_link(candidate := f"{folder}/{FOLDER}"):
        if not folder:
            return None
        folder = folder.rpartition("/")[0]
    return candidate


def _is_folder_or_link(path: str) -> bool:
    try:
        mode = posix.lstat(path).st_mode
    except OSError:
        return False
    return stat.S_ISDIR(mode) or stat.S_ISLNK(mode)


def indexed(pool: str, fingerprint: str) -> str | None:
    """Path of the environment that a fingerprint is linked to, or None. A link that leads anywhere but envs/ is none."""
    try:
        target = posix.readlink(f"{pool}/index/{fingerprint}")
    except OSError:
        return None
    head, _, name = target.rpartition("/")
    return f"{pool}/envs/{name}" if head == "../envs" and name[12:13] == "-" else None


def note_use(path: str) -> None:
    """Notes in this file of used/ that an environment is used now, at most once an hour. Never fails: a pool may be read-only."""
    try:
        age = time.time() - posix.stat(path).st_mtime
    except OSError:
        age = None
    try:
        if age is None:
            _touch(path)
        elif age > USED_INTERVAL:
            posix.utime(path)
    except PermissionError:
        # in a shared pool the note may be a colleague's: another takes its place
        try:
            posix.unlink(path)
            _touch(path)
        except OSError:
            pass
    except OSError:
        pass


def _touch(path: str) -> None:
    posix.close(posix.open(path, posix.O_CREAT | posix.O_WRONLY | posix.O_CLOEXEC, 0o644))


#: what a file system without flock answers (ENOSYS, ENOLCK, ENOTSUP, and the kernel's ENOTSUPP, which has no name here)
NO_FLOCK = (errno.ENOSYS, errno.ENOLCK, errno.EOPNOTSUPP, errno.EINVAL, 524)


class Vanished(Exception):
    """The environment was taken away between the look-up and the hold: look up again."""


def hold(environment: str) -> int:
    """Takes the shared lock of the environment at this path and returns the descriptor that keeps it, to be inherited.

    Where flock is missing the descriptor holds nothing, and the other guards of `prune` stand alone. Raises Vanished.
    """
    path = f"{environment}/{MANIFEST}"
    try:
        descriptor = posix.open(path, posix.O_RDONLY | posix.O_NONBLOCK | posix.O_CLOEXEC)  # a pipe in its place: no wait
    except OSError:
        raise Vanished from None
    try:
        fcntl.flock(descriptor, fcntl.LOCK_SH | fcntl.LOCK_NB)
    except BlockingIOError:
        # only prune takes it exclusively, and what prune has taken is on its way out
        posix.close(descriptor)
        raise Vanished from None
    except OSError as error:
        if error.errno not in NO_FLOCK:
            posix.close(descriptor)
            error.filename = path
            raise
    # between open and flock the environment may have been pruned and built again: the file must still be the pool's
    try:
        held, found = posix.fstat(descriptor), posix.stat(path)
        still = (held.st_dev, held.st_ino) == (found.st_dev, found.st_ino)
    except OSError:
        still = False
    if not still:
        posix.close(descriptor)
        raise Vanished
    return descriptor
