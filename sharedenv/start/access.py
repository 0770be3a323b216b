"""Entering an environment: which one a link of the pool names, held while it runs, and still what was built.

One protocol for all who start something (exec, which, activate, run, a task of an array) and for prune, who takes away.
Imports next to nothing (see environ): every start pays for it.
"""

import fcntl
import posix
import time

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import TypeVar

    _Read = TypeVar("_Read")

# Of st_mode, as importlib has them, too; and below some of errno where a call has failed: a start would pay for all of their names.
KIND, IS_FILE, IS_FOLDER, IS_LINK = 0o170000, 0o100000, 0o040000, 0o120000
GROUP, ALL = 0o020, 0o002  #: the right to write, of the group and of all
OTHERS = GROUP | ALL  #: the right to write that no file of a pool gives
MANIFEST = "sharedenv.json"  #: in each environment
INVENTORY = "sharedenv.inventory"  #: beside it
VERSIONS = "versions"  #: the note of a manifest that holds the digest of what was installed
SHORT = 12  #: digits of a key that stand for it in names and messages; a short name never decides
_PLACE = b'\n  "place": "'  # so far in, it can only be one of the notes
_NOTED = f'\n  "{VERSIONS}": "'.encode()
USED_INTERVAL = 3600.0  #: seconds: last use is noted at most this often


def again(read: "Callable[[], _Read]", folder: str = "") -> "_Read":
    """What ``read`` returns: for what others replace by a rename. It is called a second time where it came in between.

    ``folder``: where the name stands that is read, and that others may have made since somebody here missed it (see refresh).
    """
    try:
        return read()
    except OSError as error:
        import errno  # noqa: PLC0415 - a start would pay for all of its names

        # what GlusterFS and NFS say of a file that is replaced between the look at its name and the open
        if error.errno not in (errno.ESTALE, errno.ENOENT):
            raise
    if folder:
        refresh(folder)
    return read()


def refresh(folder: str) -> None:
    """Opens a folder and closes it. Never fails.

    On NFS a name that was missed once stays missing here for up to half a minute after another node has made it; but whoever
    opens the folder asks the server (close-to-open).
    """
    try:
        posix.close(posix.open(folder, posix.O_RDONLY | posix.O_DIRECTORY | posix.O_NONBLOCK | posix.O_CLOEXEC))
    except OSError:
        pass


def is_name(name: str) -> bool:
    """Whether this is how an environment's folder is called: `<key12>-<n>`."""
    digits, number = name[:SHORT], name[SHORT + 1 :]
    hexadecimal = len(digits) == SHORT and not digits.strip("0123456789abcdef")
    return hexadecimal and name[SHORT : SHORT + 1] == "-" and number.isdigit() and number.isascii() and number[0] != "0"


def indexed(pool: str, fingerprint: str) -> str | None:
    """Path of the environment that a fingerprint is linked to, or None."""
    return _linked(pool, "index", fingerprint)


def published(pool: str, key: str) -> str | None:
    """Path of the environment that a key (64 digits) is linked to, or None."""
    path = _linked(pool, "keys", key)
    return path if path is not None and key.startswith(path.rpartition("/")[2][:SHORT]) else None


def _linked(pool: str, folder: str, name: str) -> str | None:
    # a link that leads anywhere but to an environment of this pool is none: what is there is not ours
    try:
        target = again(lambda: posix.readlink(f"{pool}/{folder}/{name}"), f"{pool}/{folder}")
    except OSError:
        return None
    above, _, environment = target.rpartition("/")
    return f"{pool}/envs/{environment}" if above == "../envs" and is_name(environment) else None


def note_use(pool: str, environment: str) -> None:
    """Notes that an environment is used now, at most once an hour. Never fails: a pool may be read-only."""
    path = f"{pool}/used/{environment.rpartition('/')[2]}"
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
    posix.close(posix.open(path, posix.O_CREAT | posix.O_EXCL | posix.O_WRONLY | posix.O_CLOEXEC, 0o644))


def is_without_flock(error: OSError) -> bool:
    """Whether this is what a file system without flock answers."""
    import errno  # noqa: PLC0415 - as in again

    # the last is the kernel's ENOTSUPP, which has no name here
    return error.errno in (errno.ENOSYS, errno.ENOLCK, errno.EOPNOTSUPP, errno.EINVAL, 524)


class Vanished(Exception):
    """The environment was taken away between the look-up and the hold: look up again."""


def enter(pool: str, environment: str, look_again: "Callable[[], str | None]") -> int:
    """Holds an environment that has just been looked up and is about to be run: its use is noted, and it is still the one.

    ``look_again`` gives what the pool names now, a path. Returns the descriptor that holds it (see hold). Raises Vanished,
    OSError.

    The order settles the race with a prune on another node that sees no lock of ours: it unlinks the key first and then
    looks at the last use again, we note the use first and then look at the key again. One of the two sees the other.
    """
    note_use(pool, environment)
    descriptor = hold(environment)
    if look_again() != environment:
        posix.close(descriptor)
        raise Vanished
    return descriptor


def hold(environment: str) -> int:
    """Takes the shared lock of the environment at this path and returns the descriptor that keeps it, to be inherited.

    The kernel drops the lock when the last process that has the descriptor ends. Where flock is missing the descriptor
    holds nothing, and the other guards of `prune` stand alone. Raises Vanished, OSError.
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
        if not is_without_flock(error):
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


def identity(python: "posix.stat_result") -> str:
    """What stat says of the file behind an interpreter's path: another one there has another size or time."""
    return f"{python.st_size}-{python.st_mtime_ns}"


def as_built(descriptor: int, environment: str, key: str = "") -> bytes | None:
    """The manifest (open) where interpreter and C library are those that it names, and the key is where one is given; else None,
    and where others could have written it.

    Where not, pool/health says in words what has changed.
    """
    try:
        if posix.fstat(descriptor).st_mode & OTHERS:
            return None
        python = posix.stat(f"{environment}/bin/python")
        manifest = read_open(descriptor)
        libc = posix.confstr("CS_GNU_LIBC_VERSION") or ""
    except (OSError, ValueError):
        return None
    recorded = [f'"identity": "{identity(python)}"', f'"libc": "{libc}"', *([f'"key": "{key}"'] if key else [])]
    return manifest if python.st_mode & KIND == IS_FILE and all(entry.encode() in manifest for entry in recorded) else None


def read_open(descriptor: int) -> bytes:
    """The bytes of a manifest that is open. Raises OSError."""
    return posix.pread(descriptor, 1 << 24, 0)


def noted_versions(manifest: bytes) -> str:
    """The digest of the versions in an environment, out of its manifest's notes; "" where an older sharedenv built it."""
    _, _, rest = manifest.partition(_NOTED)
    return rest.partition(b'"')[0].decode("ascii")


def noted_place(manifest: bytes) -> str:
    """The path for which an environment's entry points were written, out of its manifest's notes; "" where they fit any."""
    start = manifest.find(_PLACE)
    if start < 0:
        return ""
    start += len(_PLACE) - 1
    text = manifest[start : manifest.index(b"\n", start)].decode("ascii").rstrip(",")
    if "\\" not in text:
        return text[1:-1]
    import json  # noqa: PLC0415 - only for a path with letters beyond ASCII

    return str(json.loads(text))
