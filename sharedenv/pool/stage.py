"""Environments on node-local disk: each unpacked once a node, whoever comes first, complete or not there at all."""

from __future__ import annotations

import fcntl
import os
import stat
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager

from sharedenv.errors import EXIT_FAILED, SharedenvError
from sharedenv.frozen import frozen
from sharedenv.pool.archive import Archive, Damaged, discard_archive
from sharedenv.pool.entry_points import restage_entry_points
from sharedenv.pool.health import completeness
from sharedenv.pool.inventory import InventoryError
from sharedenv.pool.private import FILE, make_folders, readable_as
from sharedenv.pool.store import Environment, remove_tree
from sharedenv.pool.unpack import unpack
from sharedenv.start.access import SHORT, is_without_flock
from sharedenv.start.staged import copy_fault, identity

_ELSEWHERE = "sharedenv stage --to DIR … with a folder on another disk, or run from the pool"
_BLOCK = 4096  #: bytes that a file takes on a disk at the least, and by which it grows
_ABANDONED = 86400.0  #: seconds after which the unfinished copy of a killed process is rubbish


@frozen
class Staged:
    """One copy: its path, and the seconds that it took (None when it was there already)."""

    environment: Environment
    path: str
    seconds: float | None


def stage_folder(option: str | None, environ: Mapping[str, str]) -> str:
    """The folder of copies: the one asked for, else SLURM_TMPDIR, else a folder of ours (mode 0700) under TMPDIR.

    It is made if need be. Raises SharedenvError when it can't be, or when the one under TMPDIR is somebody else's.
    """
    try:
        if chosen := option or environ.get("SLURM_TMPDIR"):
            path = os.path.abspath(chosen)
            make_folders(path)
            return path
        path = os.path.join(os.path.abspath(environ.get("TMPDIR") or tempfile.gettempdir()), f"sharedenv-{os.getuid()}")
        try:
            os.mkdir(path, 0o700)
        except FileExistsError:
            # TMPDIR is often everybody's: a folder prepared by another user could hold another Python
            found = os.lstat(path)
            if not stat.S_ISDIR(found.st_mode) or found.st_uid != os.getuid() or found.st_mode & 0o077:
                raise SharedenvError(
                    f"can't stage to {path}",
                    cause="it is not a folder that only you can enter",
                    hint="sharedenv stage --to DIR …",
                    exit_code=EXIT_FAILED,
                ) from None
    except OSError as error:
        raise SharedenvError(
            f"can't stage to {error.filename}", cause=error.strerror, hint="sharedenv stage --to DIR …", exit_code=EXIT_FAILED
        ) from None
    return path


def stage(environment: Environment, folder: str, archive: Callable[[], Archive]) -> Staged:
    """Puts a copy of an environment into ``folder``, unless a whole one is there; ``archive`` gives its archive when it is needed.

    Of several processes of a node one unpacks and the others wait. Raises SharedenvError when there is no room, when what
    was unpacked is not what was packed, or when somebody else's copy is in its place.
    """
    path = os.path.join(folder, identity(environment.path))
    if _is_whole(environment, folder, path):
        return Staged(environment, path, None)
    began = time.monotonic()
    try:
        with _turn(path + ".lock"):
            if _is_whole(environment, folder, path):
                return Staged(environment, path, None)
            _clean(folder)
            _check_room(environment, folder)
            _unpack(environment, path, archive)
    except Damaged as error:
        raise _failed(environment, folder, f"its archive in the pool {error}", f"sharedenv verify {environment.name}") from None
    except InventoryError as error:
        raise _failed(environment, folder, str(error), f"sharedenv verify --repair {environment.name}") from None
    except OSError as error:
        raise _failed(environment, folder, error.strerror or str(error)) from None
    return Staged(environment, path, time.monotonic() - began)


def _is_whole(environment: Environment, folder: str, path: str) -> bool:
    """Whether a copy is there with all its files: what cleans /tmp by age takes single ones. Raises SharedenvError."""
    if not os.path.lexists(path):
        return False
    if fault := copy_fault(environment.path, path):
        raise _failed(environment, folder, f"{path} is in the way: {fault}")
    return completeness(path, environment.manifest) is None


def _unpack(environment: Environment, path: str, archive: Callable[[], Archive]) -> None:
    """Puts a whole copy at ``path``, in place of one that is not. Raises Damaged, OSError, what ``archive`` raises."""
    temporary = os.path.join(os.path.dirname(path), f".tmp-{os.path.basename(path)}-{os.urandom(6).hex()}")
    old = temporary + "-old"
    try:
        _fill(environment, temporary, path, archive)
        try:
            os.rename(temporary, path)
        except OSError:
            if completeness(path, environment.manifest) is None:
                return  # locks don't work here, and another process was first
            os.rename(path, old)  # what runs from it finds the same files in the new one
            os.rename(temporary, path)
        os.chmod(path, 0o555)
    finally:
        remove_tree(temporary)
        remove_tree(old)


def _fill(environment: Environment, folder: str, path: str, archive: Callable[[], Archive]) -> None:
    """Makes a folder and unpacks into it what will be at ``path``; a damaged archive is made once more. Raises as `_unpack`."""
    for last in (False, True):
        found = archive()
        inode = os.lstat(found.path).st_ino
        os.mkdir(folder, 0o700)
        try:
            unpack(found, environment, folder)
            _check_copy(environment, folder)
            if place := environment.manifest.notes.get("place"):
                restage_entry_points(folder, path, place)
        except Damaged:
            if last:
                raise
            discard_archive(found, inode)
            remove_tree(folder)
        else:
            return


def _check_room(environment: Environment, folder: str) -> None:
    manifest = environment.manifest
    entries = manifest.files + manifest.directories + 1
    needed = manifest.bytes + entries * _BLOCK
    disk = os.statvfs(folder)
    free = disk.f_bavail * disk.f_frsize
    if free < needed:
        raise _failed(environment, folder, f"it needs {needed:,} bytes, and {free:,} are free there")
    if disk.f_files and disk.f_favail < entries:
        raise _failed(environment, folder, f"it needs {entries:,} inodes, and {disk.f_favail:,} are free there")


def _check_copy(environment: Environment, copy: str) -> None:
    if fault := completeness(copy, environment.manifest):
        raise Damaged(f"is damaged: {fault}")
    if not os.path.exists(os.path.join(copy, "bin", "python")):
        raise Damaged("is damaged: it has no Python")


def _clean(folder: str) -> None:
    now = time.time()
    with os.scandir(folder) as entries:
        for entry in entries:
            if entry.name.startswith(".tmp-") and now - entry.stat(follow_symlinks=False).st_mtime > _ABANDONED:
                remove_tree(entry.path)


@contextmanager
def _turn(path: str) -> Iterator[None]:
    """One process of this node at a time; the kernel lets go when a holder dies. Without flock, all at once."""
    descriptor = _open_lock(path)
    try:
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX)
        except OSError as error:
            if not is_without_flock(error):
                raise
        yield
    finally:
        os.close(descriptor)


def _open_lock(path: str) -> int:
    """A descriptor to lock: of a new file that who shares the folder may open, too, or of the one that is there. Raises OSError."""
    try:
        descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, FILE)
    except FileExistsError:
        try:
            return os.open(path, os.O_RDWR | os.O_CLOEXEC)
        except PermissionError:  # another user's: to lock it, reading is enough
            return os.open(path, os.O_RDONLY | os.O_CLOEXEC)
    readable_as(path, os.path.dirname(path))
    return descriptor


def _failed(environment: Environment, folder: str, cause: str, hint: str = _ELSEWHERE) -> SharedenvError:
    return SharedenvError(
        f"can't stage environment {environment.key[:SHORT]} to {folder}",
        cause=cause,
        hint=hint,
        exit_code=EXIT_FAILED,
    )
