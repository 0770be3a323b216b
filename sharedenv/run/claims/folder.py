"""What claims need of a file system: a protocol, and the folder of a run.

Exclusive creation, symlink and rename hold on every file system; locks, listings and the times of one node don't.
"""

from __future__ import annotations

import contextlib
import errno
import os
from collections.abc import Callable
from typing import Protocol, TypeVar

from sharedenv.pool.files import FILE, private, sync_descriptor
from sharedenv.run.claims.blocks import LINKED
from sharedenv.start.regular import open_regular

Answer = TypeVar("Answer")
_GONE = (errno.ENOENT, errno.ESTALE, errno.ENOTDIR)


class Folder(Protocol):
    """Files by name, of one folder that several processes share. Names hold a slash at most.

    All raise OSError for what is not told here.
    """

    def make(self, name: str, line: bytes) -> bool:
        """Makes a file of one line, whole for whoever sees it, after a crash of the machine, too; False when the name exists already,
        be it by this very call, whose answer was lost and which was sent again.
        """

    def mark(self, name: str) -> bool:
        """Makes an empty file; False when it is there already."""

    def rename(self, source: str, target: str) -> bool:
        """Renames a file to a name that only this process gives; False when the source is not there."""

    def read(self, name: str, *, sure: bool = False) -> bytes | None:
        """What a file holds, None when it isn't there; ``sure``: it is, so that a look that says no is an old answer."""

    def exists(self, name: str) -> bool:
        """Whether a file is there. A yes is true; a no may be half a minute old."""

    def remove(self, name: str) -> None:
        """Removes a file, if it is there."""

    def names(self, folder: str) -> list[str]:
        """The names in a folder, as they were some time ago; none when it is not there."""


class DiskFolder:
    """The folder at a path (`Folder`)."""

    def __init__(self, path: str) -> None:
        self._path = path + "/"
        self._makes: Callable[[str, bytes], None] | None = None

    def make(self, name: str, line: bytes) -> bool:
        """By symlink(2), whose one call makes name and text in one, without waiting for a disk; by a file in lists that have those."""
        if self._makes is None:
            self._makes = _make_link if os.path.lexists(f"{self._path}{LINKED}") else _make_file
        try:
            self._makes(self._path + name, line)
        except FileExistsError:
            return False
        except PermissionError:  # some file systems say so of a name that exists
            if self.read(name, sure=True) is None:
                raise
            return False
        return True

    def mark(self, name: str) -> bool:
        """By exclusive creation."""
        try:
            os.close(os.open(self._path + name, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, FILE))
        except FileExistsError:
            return False
        return True

    def rename(self, source: str, target: str) -> bool:
        """By rename(2). An answer may be lost here, too: nobody else makes the target."""
        try:
            os.rename(self._path + source, self._path + target)
        except OSError as error:
            if error.errno not in _GONE:
                raise
            return os.path.lexists(self._path + target)
        return True

    def read(self, name: str, *, sure: bool = False) -> bytes | None:
        """By readlink, of a file by open: a stat might come from a cache."""
        found = _unless_gone(lambda: _read(self._path + name))
        if found is None and sure:
            # to look at the folder drops what this node remembers of names that were not there
            _unless_gone(lambda: os.close(os.open(os.path.dirname(self._path + name), os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)))
            found = _unless_gone(lambda: _read(self._path + name))
        return found

    def exists(self, name: str) -> bool:
        """By lstat."""
        return os.path.lexists(self._path + name)

    def remove(self, name: str) -> None:
        """By unlink."""
        with contextlib.suppress(FileNotFoundError):
            os.unlink(self._path + name)

    def names(self, folder: str) -> list[str]:
        """By a listing."""
        return _unless_gone(lambda: os.listdir(self._path + folder)) or []


def _make_link(path: str, line: bytes) -> None:
    os.symlink(line.decode("ascii").rstrip("\n"), path)


def _make_file(path: str, line: bytes) -> None:
    """As the workers of older versions do, who may be at work on the same list: by link(2) of a file that is on disk."""
    staging = os.path.join(os.path.dirname(path), f".{os.urandom(8).hex()}")
    try:
        with open(staging, "wb", opener=private) as file:
            file.write(line)
            file.flush()
            sync_descriptor(file.fileno())
        os.link(staging, path)
    finally:
        with contextlib.suppress(FileNotFoundError):
            os.unlink(staging)


def _read(path: str) -> bytes:
    try:
        return os.readlink(path).encode("ascii", "replace") + b"\n"
    except OSError as error:
        if error.errno != errno.EINVAL:
            raise
    return _read_file(path)


def _read_file(path: str) -> bytes:
    descriptor = open_regular(path)
    try:
        return os.read(descriptor, 4096)
    finally:
        os.close(descriptor)


def _unless_gone(call: Callable[[], Answer]) -> Answer | None:
    try:
        return call()
    except OSError as error:
        if error.errno not in _GONE:
            raise
        return None
