"""What claims need of a file system: a protocol, and the folder of a run.

Exclusive creation, link and rename hold on every file system; locks, listings and the times of one node don't.
"""

from __future__ import annotations

import contextlib
import errno
import os
from collections.abc import Callable
from typing import Protocol, TypeVar

from sharedenv.pool.durable import sync_descriptor
from sharedenv.pool.private import FILE
from sharedenv.start.regular import open_regular

Answer = TypeVar("Answer")
_GONE = (errno.ENOENT, errno.ESTALE, errno.ENOTDIR)


class Folder(Protocol):
    """Files by name, of one folder that several processes share. Names hold a slash at most.

    All raise OSError for what is not told here.
    """

    def create(self, name: str, data: bytes) -> None:
        """Writes a file that is this process's own: complete and on disk when this returns."""

    def mark(self, name: str) -> bool:
        """Makes an empty file; False when it is there already."""

    def link(self, source: str, name: str) -> bool:
        """Gives a file a second name; False when that exists already, be it by this very call, whose answer was lost and which was
        sent again.
        """

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

    def create(self, name: str, data: bytes) -> None:
        """By one write, and fsync: what a full disk has not taken whole is never linked."""
        descriptor = os.open(self._path + name, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC, FILE)
        try:
            if os.write(descriptor, data) < len(data):
                raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC), self._path + name)
            sync_descriptor(descriptor)
        finally:
            os.close(descriptor)

    def mark(self, name: str) -> bool:
        """By exclusive creation."""
        try:
            os.close(os.open(self._path + name, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, FILE))
        except FileExistsError:
            return False
        return True

    def link(self, source: str, name: str) -> bool:
        """By link(2). Some file systems say EPERM for a name that exists."""
        try:
            os.link(self._path + source, self._path + name)
        except FileExistsError:
            return False
        except PermissionError:
            if self.read(name, sure=True) is None:
                raise
            return False
        return True

    def rename(self, source: str, target: str) -> bool:
        """By rename(2). An answer may be lost here, too: nobody else makes the target."""
        try:
            os.rename(self._path + source, self._path + target)
        except OSError as error:
            if error.errno not in _GONE:
                raise
            return os.path.exists(self._path + target)
        return True

    def read(self, name: str, *, sure: bool = False) -> bytes | None:
        """By open, which asks the server where a stat may come from a cache."""
        found = _unless_gone(lambda: _read(self._path + name))
        if found is None and sure:
            # to look at the folder drops what this node remembers of names that were not there
            _unless_gone(lambda: os.close(os.open(os.path.dirname(self._path + name), os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)))
            found = _unless_gone(lambda: _read(self._path + name))
        return found

    def exists(self, name: str) -> bool:
        """By stat: half the calls of a read."""
        return os.path.exists(self._path + name)

    def remove(self, name: str) -> None:
        """By unlink."""
        with contextlib.suppress(FileNotFoundError):
            os.unlink(self._path + name)

    def names(self, folder: str) -> list[str]:
        """By a listing."""
        return _unless_gone(lambda: os.listdir(self._path + folder)) or []


def _read(path: str) -> bytes:
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
