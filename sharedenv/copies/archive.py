"""One environment as one file. `archives/<identity>.<sha256>.tar` is made once and read in one stream by every node.

No compression there: a node unpacks as fast as its disk writes. What stays for long instead of its environment (copies/pack)
is compressed. The same environment gives the same bytes, so that two that make the archive at once publish the same file.
"""

from __future__ import annotations

import contextlib
import gzip
import hashlib
import os
import stat
import tarfile
from collections.abc import Callable, Iterable
from typing import IO, Protocol

from sharedenv.errors import SharedenvError
from sharedenv.pool.create import create_pool
from sharedenv.pool.files import private, readable_as, sync_descriptor
from sharedenv.pool.inventory import Inventory
from sharedenv.pool.layout import Layout
from sharedenv.pool.lease import lease
from sharedenv.pool.staging import staging
from sharedenv.pool.store import Environment
from sharedenv.start.access import INVENTORY, MANIFEST
from sharedenv.start.regular import open_regular
from sharedenv.start.staged import identity
from sharedenv.values import frozen

_LEVEL = 4  #: of zlib: 4 % more bytes than its own 6, in half the time


@frozen
class Archive:
    """One archive: its path, and the sha256 of its bytes (64 hex digits), which stands in its name."""

    path: str
    digest: str


class Damaged(Exception):
    """An archive that must not be used, or an environment of which none can be made: why, in words that follow its name."""


def find_archive(layout: Layout, name: str) -> Archive | None:
    """The archive of an identity, or None."""
    try:
        names = os.listdir(layout.archives)
    except OSError:
        return None
    for each in names:
        stem, _, digest = each.removesuffix(".tar").rpartition(".")
        if stem == name and each.endswith(".tar") and len(digest) == 64:
            return Archive(os.path.join(layout.archives, each), digest)
    return None


def make_archive(layout: Layout, environment: Environment, waiting: Callable[[str, float], None]) -> Archive:
    """The archive of an environment, made if need be by whoever comes first; see `lease` for ``waiting``. Raises OSError."""
    name = identity(environment.path)
    if found := find_archive(layout, name):
        return found
    with contextlib.suppress(SharedenvError):  # what can't be written is told by what comes next
        create_pool(layout)  # purges, or an older version, may have left no archives/ that all who share the pool can write
    with lease(layout, f"archive-{name}", waiting=waiting):
        if found := find_archive(layout, name):
            return found
        with staging(layout, environment.key) as folder:
            temporary = os.path.join(folder, "archive.tar")
            with open(temporary, "xb", opener=private) as file:
                digest = write_archive(environment.path, file, _entries(environment.path))
                sync_descriptor(file.fileno())
            readable_as(temporary, layout.archives)
            archive = Archive(os.path.join(layout.archives, f"{name}.{digest}.tar"), digest)
            os.rename(temporary, archive.path)
            return archive


def discard_archive(archive: Archive, inode: int) -> None:
    """Removes an archive that was found damaged, unless another of the same name has taken its place. Never fails."""
    try:
        if os.lstat(archive.path).st_ino == inode:
            os.unlink(archive.path)
    except OSError:
        pass  # read-only, or somebody else's: who unpacks it next finds the same


class _Writer(Protocol):
    def write(self, data: bytes, /) -> int:
        """Writes all of it."""


class _Digesting:
    """A stream: nothing is sought, so that what is hashed is what is written, or read."""

    def __init__(self, file: IO[bytes]) -> None:
        self._file = file
        self.sha256 = hashlib.sha256()

    def write(self, data: bytes) -> int:
        self.sha256.update(data)
        return self._file.write(data)

    def flush(self) -> None:
        self._file.flush()

    def read(self, size: int) -> bytes:
        data = self._file.read(size)
        self.sha256.update(data)
        return data


def write_archive(environment: str, file: IO[bytes], names: Iterable[str]) -> str:
    """Writes these entries of the environment at this path as a tar archive; returns the sha256 of what was written."""
    writer = _Digesting(file)
    _write(environment, writer, names, None)
    return writer.sha256.hexdigest()


def write_compressed(environment: str, file: IO[bytes], recorded: Inventory) -> str:
    """The same, compressed, of all that was built: manifest and inventory come first, and who reads it needs nothing else.

    Raises Damaged where an entry is not what is recorded.
    """
    names = [MANIFEST, INVENTORY, *sorted([*recorded.files, *recorded.links, *recorded.directories])]
    writer = _Digesting(file)
    with gzip.GzipFile(filename="", mode="wb", compresslevel=_LEVEL, fileobj=writer, mtime=0) as compressor:
        _write(environment, compressor, names, recorded)
    return writer.sha256.hexdigest()


def _write(environment: str, writer: _Writer, names: Iterable[str], recorded: Inventory | None) -> None:
    with tarfile.open(fileobj=writer, mode="w|", format=tarfile.PAX_FORMAT) as tar:  # type: ignore[call-overload]  # a writer is enough
        for name in names:
            path = os.path.join(environment, name)
            member = _described(path, name)
            found: tuple[int, str] | str = member.linkname
            if member.isreg():
                with open(open_regular(path), "rb") as file:
                    source = _Digesting(file)
                    tar.addfile(member, source)
                found = member.size, source.sha256.hexdigest()
            else:
                tar.addfile(member)
            if recorded is not None and not _is_recorded(member, found, recorded):
                raise Damaged(f"{name} is not what was built")


def _is_recorded(member: tarfile.TarInfo, found: tuple[int, str] | str, recorded: Inventory) -> bool:
    if member.name in (MANIFEST, INVENTORY):
        return member.isreg()
    expected = recorded.files.get(member.name) or recorded.links.get(member.name)
    return member.isdir() if expected is None else expected == found


def _entries(environment: str) -> list[str]:
    """Relative paths of all below, folders before what they hold, in one order everywhere."""
    found = []
    for folder, folders, files in os.walk(environment):
        folders.sort()
        below = os.path.relpath(folder, environment)
        names = [*files, *folders]
        found += [name if below == "." else os.path.join(below, name) for name in names]
    return sorted(found)


def _described(path: str, name: str) -> tarfile.TarInfo:
    # tarfile's own would look up names of users, and tell hard links (into uv's cache) from files: each is a file of its own here
    found = os.lstat(path)
    member = tarfile.TarInfo(name)
    member.mode = stat.S_IMODE(found.st_mode)
    member.mtime = int(found.st_mtime)  # bytecode names its source by whole seconds
    if stat.S_ISREG(found.st_mode):
        member.size = found.st_size
    elif stat.S_ISDIR(found.st_mode):
        member.type = tarfile.DIRTYPE
    elif stat.S_ISLNK(found.st_mode):
        member.type, member.linkname = tarfile.SYMTYPE, os.readlink(path)
    else:
        raise Damaged(f"{name} is no file")
    return member
