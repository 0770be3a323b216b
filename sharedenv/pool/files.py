"""How files and folders of a pool are made, brought to disk, and dated.

Nobody but who makes them may change them, whatever the umask. In a pool that is shared in a group the folders of the pool itself are open
to the group (create.py), and nothing else is.

What was written is on the disk before a name leads to it: file systems put names on disk long before what is in the files (ext4 keeps that
back for half a minute), and an environment that was renamed and linked in time would be there after a power cut, with empty files in it.

Ages of files are told by the file system's clock, since clocks of nodes differ.
"""

from __future__ import annotations

import contextlib
import errno
import os
import stat
import time
from collections.abc import Iterator

from sharedenv.start.regular import open_regular

FILE = 0o644  #: a umask takes away from it and adds nothing
FOLDER = 0o755


def private(path: str, flags: int) -> int:
    """For `open(PATH, MODE, opener=private)`."""
    return os.open(path, flags | os.O_CLOEXEC, FILE)


def make_folders(path: str) -> None:
    """Makes a folder, and those above it, where they are missing. Raises OSError."""
    try:
        os.mkdir(path, FOLDER)
    except FileExistsError:
        if not os.path.isdir(path):
            raise
    except FileNotFoundError:
        above = os.path.dirname(path)
        if os.path.isdir(above):  # some file systems answer so where they let nothing be made, such as /proc
            raise
        make_folders(above)
        make_folders(path)


def readable_as(path: str, folder: str) -> None:
    """Lets the group read a file or enter a folder made in ``folder`` where it may write there: a pool shared on purpose.

    A umask of 077 would keep colleagues from failures and runs that concern them. Raises OSError.
    """
    if os.stat(folder).st_mode & stat.S_IWGRP:
        mode = os.stat(path).st_mode
        os.chmod(path, stat.S_IMODE(mode) | stat.S_IRGRP | (stat.S_IXGRP if stat.S_ISDIR(mode) else 0))


def entries(folder: str) -> Iterator[tuple[str, os.stat_result]]:
    """Path and stat of all below a folder of the pool that is acted upon, links not followed.

    What the tasks of an array print is not: Slurm writes it there under their umask, for people to read.
    """
    for above, folders, files in os.walk(folder):
        for path in (os.path.join(above, name) for name in [*folders, *files]):
            try:
                found = os.lstat(path)
            except FileNotFoundError:
                continue  # it was there for an instant
            if not (path.endswith(".out") and stat.S_ISREG(found.st_mode)):
                yield path, found


#: what is answered where a file or a folder can't be put on disk by itself; any other answer means that data is lost
_CAN_NOT = (errno.EINVAL, errno.ENOSYS, errno.EOPNOTSUPP)


def sync_descriptor(descriptor: int) -> None:
    """Puts an open file on disk, or which names a folder has; where a file system can't, without a word. Raises OSError."""
    try:
        os.fsync(descriptor)
    except OSError as error:
        if error.errno not in _CAN_NOT:
            raise


def sync_folder(path: str) -> None:
    """Puts on disk which names a folder has; where a file system refuses that, without a word. Raises OSError without the folder."""
    descriptor = os.open(path, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        os.fsync(descriptor)
    except OSError:
        pass  # some network file systems refuse it on folders
    finally:
        os.close(descriptor)


def sync_tree(root: str) -> None:
    """Puts all that is below a folder on disk; links are not followed. Raises OSError where some of it can't be written.

    By one call for its whole file system, syncfs(2): 0.1 s for 6,000 files, where one call for each takes a second. It may
    fail for files of others, too: then, and where there is no such call, each of ours is asked for.
    """
    if _sync_file_system(root):
        return
    for folder, _, files in os.walk(root):
        for name in files:
            path = os.path.join(folder, name)
            if not os.path.islink(path):
                _sync_file(path)
        sync_folder(folder)


def _sync_file_system(path: str) -> bool:
    import ctypes  # noqa: PLC0415 - three milliseconds for what is built alone

    try:
        call = ctypes.CDLL(None).syncfs
    except (AttributeError, OSError):
        return False
    descriptor = os.open(path, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        return bool(call(descriptor) == 0)
    finally:
        os.close(descriptor)


def _sync_file(path: str) -> None:
    descriptor = open_regular(path)
    try:
        sync_descriptor(descriptor)
    except OSError as error:
        error.filename = path
        raise
    finally:
        os.close(descriptor)


CLOCK = "clock-"  #: how the files begin that tell the time, for an instant


def file_system_time(folder: str) -> float:
    """Seconds since the epoch as a file in ``folder`` would be stamped now; this machine's clock where none can be written."""
    path = os.path.join(folder, CLOCK + os.urandom(8).hex())
    try:
        descriptor = os.open(path, os.O_CREAT | os.O_EXCL | os.O_WRONLY | os.O_CLOEXEC, 0o600)
    except OSError:
        return time.time()
    try:
        return os.fstat(descriptor).st_mtime
    finally:
        os.close(descriptor)
        with contextlib.suppress(OSError):  # prune takes it
            os.unlink(path)
