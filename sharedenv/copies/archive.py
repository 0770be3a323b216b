"""One environment as one file, `archives/<identity>.<sha256>.tar`: made once, read in one stream by every node.

No compression: a node unpacks as fast as its disk writes. The same environment gives the same bytes, so that two that
make the archive at once publish the same file.
"""

from __future__ import annotations

import contextlib
import hashlib
import os
import tarfile
from collections.abc import Callable
from typing import IO

from sharedenv.errors import SharedenvError
from sharedenv.pool.create import create_pool
from sharedenv.pool.durable import sync_descriptor
from sharedenv.pool.layout import Layout
from sharedenv.pool.lease import lease
from sharedenv.pool.private import private, readable_as
from sharedenv.pool.staging import staging
from sharedenv.pool.store import Environment
from sharedenv.start.regular import open_regular
from sharedenv.start.staged import identity
from sharedenv.values import frozen


@frozen
class Archive:
    """One archive: its path, and the sha256 of its bytes (64 hex digits), which stands in its name."""

    path: str
    digest: str


class Damaged(Exception):
    """An archive that must not be used: why, in words that follow "its archive in the pool"."""


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
                digest = write_archive(environment.path, file)
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


def write_archive(environment: str, file: IO[bytes]) -> str:
    """Writes the environment at this path as a tar archive; returns the sha256 of what was written."""
    digest = hashlib.sha256()

    class Digesting:
        def write(self, data: bytes) -> int:
            digest.update(data)
            return file.write(data)

    # a stream: nothing is sought, so that what is hashed is what is written
    with tarfile.open(fileobj=Digesting(), mode="w|", format=tarfile.PAX_FORMAT) as tar:  # type: ignore[call-overload]  # a writer is enough
        for path in _entries(environment):
            member = tar.gettarinfo(os.path.join(environment, path), arcname=path)
            if member.islnk():  # hard links into uv's cache: each is a file of its own here
                member = _as_file(member, os.path.join(environment, path))
            member.uid = member.gid = 0
            member.uname = member.gname = ""
            member.mtime = int(member.mtime)  # bytecode names its source by whole seconds
            if member.isreg():
                with open(open_regular(os.path.join(environment, path)), "rb") as source:
                    tar.addfile(member, source)
            else:
                tar.addfile(member)
    return digest.hexdigest()


def _entries(environment: str) -> list[str]:
    """Relative paths of all below, folders before what they hold, in one order everywhere."""
    found = []
    for folder, folders, files in os.walk(environment):
        folders.sort()
        below = os.path.relpath(folder, environment)
        names = [*files, *folders]
        found += [name if below == "." else os.path.join(below, name) for name in names]
    return sorted(found)


def _as_file(member: tarfile.TarInfo, path: str) -> tarfile.TarInfo:
    member.type = tarfile.REGTYPE
    member.linkname = ""
    member.size = os.stat(path).st_size
    return member
