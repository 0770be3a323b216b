"""How files and folders of a pool are made: nobody but who makes them may change them, whatever the umask.

In a pool that is shared in a group the folders of the pool itself are open to the group (create.py), and nothing else is.
"""

from __future__ import annotations

import os
import stat
from collections.abc import Iterator

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
