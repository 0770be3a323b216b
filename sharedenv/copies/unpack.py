"""From an archive to a copy of its environment, and to nothing else, whoever has written it.

In a pool that is shared any member may have. So owner and digest are looked at before anything is unpacked, and every entry
must be what the environment's own inventory has under its name. Each is made here and none by tarfile, which would follow a
link that came before, and whose filters refuse the link to a Python outside that every environment has. Links are made last:
while files are written there is none that could lead out of the folder, not even where `A` and `a` are one name.
"""

from __future__ import annotations

import errno
import hashlib
import io
import os
import tarfile
from collections.abc import Iterable, Mapping
from typing import IO, Literal

from sharedenv.copies.archive import Archive, Damaged
from sharedenv.pool.inventory import Inventory, parse_inventory, read_inventory
from sharedenv.pool.manifest import parse_manifest
from sharedenv.pool.packed import UNREADABLE, read_member
from sharedenv.pool.store import Environment
from sharedenv.start.access import INVENTORY, MANIFEST
from sharedenv.start.regular import MOST, NOT_REGULAR, SMALL, open_regular, read_regular
from sharedenv.start.trust import file_fault
from sharedenv.values import frozen

_PIECE = 1 << 20  # bytes read at a time


def unpack(archive: Archive, environment: Environment, folder: str) -> None:
    """Unpacks the archive of an environment into an empty folder. Raises Damaged, InventoryError, OSError."""
    recorded = read_inventory(environment.path, environment.manifest.inventory)
    own = {name: _described(read_regular(os.path.join(environment.path, name), MOST)) for name in (MANIFEST, INVENTORY)}
    with open_archive(archive, os.path.dirname(os.path.dirname(environment.path))) as file:
        _unpack(file, "r|", _Expected({**recorded.files, **own}, recorded), folder)


def unpack_alone(archive: Archive, pool: str, folder: str) -> None:
    """Unpacks a compressed archive of the pool at this path by the manifest and the inventory that it begins with. Raises Damaged,
    OSError.
    """
    with open_archive(archive, pool) as file:
        try:
            with tarfile.open(fileobj=file, mode="r|gz") as tar:
                manifest, inventory = read_member(tar, MANIFEST, SMALL), read_member(tar, INVENTORY, MOST)
            recorded = parse_inventory(inventory, parse_manifest(manifest.decode()).inventory)
        except UNREADABLE as error:
            raise Damaged(f"is damaged: {error}") from None
        file.seek(0)
        own = {MANIFEST: _described(manifest), INVENTORY: _described(inventory)}
        _unpack(file, "r|gz", _Expected({**recorded.files, **own}, recorded), folder)


def open_archive(archive: Archive, pool: str) -> io.BufferedReader:
    """The archive, read from its beginning, where what its name says is what is in it. Raises Damaged, OSError."""
    file = _open(archive, pool)
    found = hashlib.file_digest(file, "sha256").hexdigest()
    if found != archive.digest:
        file.close()
        raise Damaged(f"is damaged: its sha256 is {found}")
    file.seek(0)
    return file


@frozen
class _Expected:
    """What may be in an archive: ``files`` with their size and sha256, those of our own included; links and folders."""

    files: Mapping[str, tuple[int, str]]
    recorded: Inventory


def _unpack(file: IO[bytes], mode: Literal["r|", "r|gz"], expected: _Expected, folder: str) -> None:
    files, recorded = expected.files, expected.recorded
    # what a member of the group has built may have an inventory that lies
    if outside := [name for name in (*files, *recorded.links, *recorded.directories) if not _is_inside(name)]:
        raise Damaged(f"is of an environment that would lie elsewhere: {outside[0]}")
    try:
        for name in sorted(recorded.directories):
            os.mkdir(os.path.join(folder, name), 0o700)
        with tarfile.open(fileobj=file, mode=mode) as tar:
            folders = _write_files(tar, expected, folder)
        for name, target in recorded.links.items():
            os.symlink(target, os.path.join(folder, name))
        _finish(folder, recorded.directories, folders)
    except UNREADABLE as error:
        raise Damaged(f"is damaged: {error}") from None


def _described(data: bytes) -> tuple[int, str]:
    return len(data), hashlib.sha256(data).hexdigest()


def _is_inside(name: str) -> bool:
    return "\0" not in name and not {"", ".", ".."}.intersection(name.split("/"))


def _open(archive: Archive, pool: str) -> io.BufferedReader:
    try:
        file = os.fdopen(open_regular(archive.path), "rb")
    except OSError as error:
        if error.errno in (errno.EACCES, *NOT_REGULAR):  # a colleague's, closed by their umask; no file
            raise Damaged(f"can't be read: {error.strerror}") from None
        raise
    found = os.fstat(file.fileno())
    if fault := file_fault(found, archive.path, os.environ, os.stat(pool)):
        file.close()
        raise Damaged(f"is not to be believed: {fault}")
    return file


def _write_files(tar: tarfile.TarFile, expected: _Expected, folder: str) -> dict[str, tarfile.TarInfo]:
    """Writes the files of an archive; returns the members that are folders, by name. Raises Damaged, OSError."""
    folders: dict[str, tarfile.TarInfo] = {}
    links, directories = expected.recorded.links, set(expected.recorded.directories)
    for member in tar:
        if member.type == tarfile.REGTYPE and member.name in expected.files:
            source = tar.extractfile(member)
            assert source is not None  # it is a file
            _write_file(source, member, expected.files[member.name], os.path.join(folder, member.name))
        elif member.isdir() and member.name in directories:
            folders[member.name] = member
        elif not (member.issym() and links.get(member.name) == member.linkname) and "__pycache__" not in member.name.split("/"):
            # bytecode that Python has added since counts for nothing
            raise Damaged(f"is damaged: {member.name!r} is not what was built")
    return folders


def _write_file(source: IO[bytes], member: tarfile.TarInfo, expected: tuple[int, str], path: str) -> None:
    digest = hashlib.sha256()
    try:
        descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC, 0o600)
    except FileExistsError:
        raise Damaged(f"is damaged: {member.name!r} is in it twice") from None
    with open(descriptor, "wb") as file:
        while member.size == expected[0] and (data := source.read(_PIECE)):
            digest.update(data)
            file.write(data)
        os.fchmod(descriptor, member.mode & 0o755)
    if (member.size, digest.hexdigest()) != expected:
        raise Damaged(f"is damaged: {member.name!r} is not what was built")
    os.utime(path, (member.mtime, member.mtime))


def _finish(folder: str, directories: Iterable[str], members: Mapping[str, tarfile.TarInfo]) -> None:
    """Gives folders their modes and times: what is written into one changes its time, and into a read-only one nothing can be."""
    for name in sorted(directories, reverse=True):
        path, member = os.path.join(folder, name), members.get(name)
        if member is not None:
            os.utime(path, (member.mtime, member.mtime))
        os.chmod(path, 0o555 if member is None else member.mode & 0o755)
