"""What a pool needs of its file system, tried in a folder of it: before a pool is made, and by `doctor`."""

from __future__ import annotations

import errno
import fcntl
import mmap
import os
import shlex
from collections.abc import Callable, Iterator
from contextlib import contextmanager

from sharedenv.pool.files import FOLDER, private
from sharedenv.pool.mounts import FileSystem
from sharedenv.pool.store import remove_tree
from sharedenv.start.access import is_without_flock
from sharedenv.start.trust import file_fault
from sharedenv.values import frozen

#: says nothing of what a file system can do: no room, no right to write here, a folder that others have removed
_CIRCUMSTANCES = (errno.ENOSPC, errno.EDQUOT, errno.EACCES, errno.EROFS, errno.ENOENT, errno.EMFILE, errno.ENFILE, errno.ENOMEM)

ANOTHER = "take a folder on another file system: sharedenv --pool DIR/.sharedenv …"  #: the way out
TRIAL = ".trial."  #: how the folder begins in which is tried


@frozen
class Trial:
    """One thing that is tried: its name, what a file system that can do it does, and how that is seen.

    attempt   is given an empty folder, and raises OSError where it doesn't
    needed    no pool can be without; otherwise what does without it
    """

    subject: str
    does: str
    attempt: Callable[[str], None]
    needed: bool = True
    otherwise: str = ""


@contextmanager
def trial_folder(above: str) -> Iterator[str]:
    """A folder to try in, for the length of the body. Raises OSError."""
    path = os.path.join(above, f"{TRIAL}{os.urandom(8).hex()}")
    os.mkdir(path, FOLDER)
    try:
        yield path
    finally:
        remove_tree(path)


def try_out(trial: Trial, folder: str) -> str | None:
    """Why a file system doesn't do what is tried, in words, or None. ``folder``: of `trial_folder`. Raises OSError."""
    path = os.path.join(folder, trial.subject)
    os.mkdir(path, FOLDER)
    try:
        trial.attempt(path)
    except OSError as error:
        if error.errno in _CIRCUMSTANCES:
            raise
        return f"{error.strerror}"
    return None


def lacking(folder: str) -> list[str]:
    """What the file system of a folder lacks that a pool needs, each in words. Raises OSError."""
    with trial_folder(folder) as path:
        found = [(trial, try_out(trial, path)) for trial in TRIALS if trial.needed]
    return [f"{trial.subject}: {fault}" for trial, fault in found if fault is not None]


def no_chmod_helps(folder: str) -> str | None:
    """Why what is open to others in a folder stays so: its file system has modes of its own. None where a chmod would help."""
    try:
        with trial_folder(folder) as path:
            return try_out(MODES, path)
    except OSError:
        return None  # it can't be tried


def elsewhere(system: FileSystem | None) -> str:
    """A hint where a file system can hold no pool."""
    if system is not None and system.type == "fuse.sshfs":  # of its links the newer ones show none that leads up, or elsewhere
        return f"sshfs -o no_contain_symlinks HOST:DIR {shlex.quote(system.mount)}, or {ANOTHER}"
    return ANOTHER


def named(system: FileSystem | None) -> str:
    """A file system in words."""
    return f"{system.type}, mounted at {system.mount}," if system else "its file system"


@contextmanager
def _asked(call: str) -> Iterator[None]:
    """Adds to an error which call was answered so: `Operation not permitted` alone says nothing of a folder that can be written."""
    try:
        yield
    except OSError as error:
        raise OSError(error.errno, f"{call}: {error.strerror}") from None


def _fault(text: str) -> OSError:
    return OSError(errno.EIO, text)


def _try_modes(folder: str) -> None:
    file, inside = os.path.join(folder, "file"), os.path.join(folder, "folder")
    os.close(private(file, os.O_CREAT | os.O_EXCL | os.O_WRONLY))
    os.mkdir(inside, FOLDER)
    for path in (file, inside):
        with _asked("chmod"):
            os.chmod(path, 0o755)
        found = os.stat(path)
        if found.st_mode & 0o022:
            raise _fault(f"what is made with mode 755 shows {found.st_mode & 0o777:o}, and no chmod changes that: "
                         "others may write into it, as far as can be seen")
        if not found.st_mode & 0o100:
            raise _fault(f"what is made with mode 755 shows {found.st_mode & 0o777:o}: it can't be executed")
        if fault := file_fault(found, path, os.environ):
            raise _fault(f"what you make there is not yours: {fault}")
    with _asked("chmod"):
        os.chmod(inside, 0o555)
        os.chmod(inside, 0o755)


def _try_links(folder: str) -> None:
    target, link = os.path.join(folder, "target"), os.path.join(folder, "link")
    # a file: where links are shown as what they lead to, one to a folder can't be removed any more
    os.close(private(target, os.O_CREAT | os.O_EXCL | os.O_WRONLY))
    for text in (f"../{os.path.basename(folder)}/target", target):  # as keys lead to environments, and those to their Python
        with _asked("symlink"):
            os.symlink(text, link + ".new")
        with _asked("rename of a link"):
            os.replace(link + ".new", link)
        with _asked("readlink"):
            found = os.readlink(link)
        if found != text:
            raise _fault(f"a link to {text} reads {found}")
        try:
            followed = os.stat(link)
        except OSError as error:
            raise _fault(f"links are not followed ({error.strerror})") from None
        if not os.path.samestat(followed, os.stat(target)):
            raise _fault(f"a link to {text} leads elsewhere")


def _try_folders(folder: str) -> None:
    source, target = os.path.join(folder, "source"), os.path.join(folder, "target")
    os.makedirs(os.path.join(source, "inside"), FOLDER)
    os.mkdir(target, FOLDER)
    with _asked("rename of a folder"):
        os.rename(source, os.path.join(target, "moved"))
    if not os.path.isdir(os.path.join(target, "moved", "inside")):
        raise _fault("a folder that was renamed is gone")


def _try_leases(folder: str) -> None:
    """What tells builders of each other: one of them creates the lease, and it shows the others that he lives."""
    path = os.path.join(folder, "lease")
    os.close(private(path, os.O_CREAT | os.O_EXCL | os.O_WRONLY))
    try:
        os.close(private(path, os.O_CREAT | os.O_EXCL | os.O_WRONLY))
    except (FileExistsError, PermissionError):  # sshfs says EPERM as often
        pass
    else:
        raise _fault("one name was created twice")
    before = os.stat(path).st_mtime - 100
    with _asked("utime"):
        os.utime(path, (before, before))
    if os.stat(path).st_mtime_ns > (before + 1) * 10**9:
        raise _fault("the time of a file does not change")


def _try_programs(folder: str) -> None:
    with open(os.path.join(folder, "library"), "x+b", opener=private) as file:
        file.write(b"\0" * mmap.PAGESIZE)
        file.flush()
        try:
            mmap.mmap(file.fileno(), mmap.PAGESIZE, prot=mmap.PROT_READ | mmap.PROT_EXEC, flags=mmap.MAP_PRIVATE).close()
        except PermissionError:
            raise _fault("nothing can be executed from it (noexec), and compiled packages can't be loaded") from None


def _try_names(folder: str) -> None:
    path = os.path.join(folder, "file")
    os.close(private(path, os.O_CREAT | os.O_EXCL | os.O_WRONLY))
    with _asked("link"):
        os.link(path, path + ".too")


def _try_disk(folder: str) -> None:
    with open(os.path.join(folder, "file"), "xb", opener=private) as file, _asked("fsync"):
        os.fsync(file.fileno())


def lock_fault(path: str) -> str | None:
    """Why flock does not work on a file, which is made, or None. Two descriptors of one file count as two holders. Raises OSError."""
    with open(path, "w", opener=private) as one, open(path, "w", opener=private) as other:
        try:
            fcntl.flock(one, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError as error:
            if is_without_flock(error):
                return error.strerror or str(error.errno)
            raise
        try:
            fcntl.flock(other, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            return None
        return "two holders got the exclusive lock at once"


MODES = Trial("modes", "gives and shows the modes of files", _try_modes)
TRIALS = (
    MODES,
    Trial("links", "makes symbolic links, follows them, and renames over them", _try_links),
    Trial("folders", "renames folders", _try_folders),
    Trial("leases", "creates a name once only, and shows when it was touched", _try_leases),
    Trial("programs", "lets compiled packages be loaded", _try_programs),
    Trial("names", "gives a file two names", _try_names, False, "each environment takes its full size and is copied"),
    Trial("disk", "tells when a file is on disk", _try_disk, False, "after a power cut, `sharedenv verify --repair`"),
)
