"""Environments on node-local disk: each unpacked once a node, whoever comes first, complete or not there at all."""

from __future__ import annotations

import contextlib
import functools
import os
import stat
import tempfile
import time
from collections.abc import Callable, Mapping

from sharedenv.copies.archive import Archive, Damaged, discard_archive
from sharedenv.copies.outdated import TEMPORARY, clear_copies
from sharedenv.copies.unpack import unpack
from sharedenv.errors import EXIT_FAILED, SharedenvError
from sharedenv.pool.entry_points import restage_entry_points
from sharedenv.pool.files import make_folders
from sharedenv.pool.health import completeness
from sharedenv.pool.inventory import InventoryError
from sharedenv.pool.store import Environment, remove_tree
from sharedenv.pool.turn import heartbeat, turn
from sharedenv.start.access import SHORT
from sharedenv.start.staged import copy_fault, identity
from sharedenv.start.trust import file_fault
from sharedenv.values import frozen

_ELSEWHERE = "sharedenv stage --to DIR … with a folder on another disk, or run from the pool"
_BLOCK = 4096  #: bytes that a file takes on a disk at the least, and by which it grows


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
    pool = os.path.dirname(os.path.dirname(environment.path))
    try:
        _check_use(environment, folder)
        first = archive()  # before the turn: who waits for another node's archive keeps nobody waiting here
        with turn(path + ".lock", pool, functools.partial(_signs, folder, os.path.basename(path), pool)):
            if _is_whole(environment, folder, path):
                return Staged(environment, path, None)
            clear_copies(folder, pool)
            _check_room(environment, folder)
            _unpack(environment, path, first, archive)
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


def _unpack(environment: Environment, path: str, first: Archive, archive: Callable[[], Archive]) -> None:
    """Puts a whole copy at ``path``, in place of one that is not. Raises Damaged, OSError, what ``archive`` raises."""
    temporary = os.path.join(os.path.dirname(path), f"{TEMPORARY}{os.path.basename(path)}-{os.urandom(6).hex()}")
    old = temporary + "-old"
    try:
        _fill(environment, temporary, path, first, archive)
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


def _fill(environment: Environment, folder: str, path: str, first: Archive, archive: Callable[[], Archive]) -> None:
    """Makes a folder and unpacks into it what will be at ``path``; a damaged archive is made once more. Raises as `_unpack`."""
    for last in (False, True):
        found = archive() if last else first
        inode = os.lstat(found.path).st_ino
        os.mkdir(folder, 0o700)
        try:
            with heartbeat(folder):
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


def _check_use(environment: Environment, folder: str) -> None:
    if os.statvfs(folder).f_flag & getattr(os, "ST_NOEXEC", 0):
        raise _failed(environment, folder, "its disk is mounted noexec, so no compiled module could be loaded from there")


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


def _signs(folder: str, name: str, pool: str) -> list[tuple[str, int]]:
    """What changes while a process unpacks the copy of this name: the times of what we, or those we trust, are making of it."""
    found = []
    beginning = f"{TEMPORARY}{name}-"
    for path in (os.path.join(folder, each) for each in os.listdir(folder) if each.startswith(beginning)):
        with contextlib.suppress(OSError):  # it was there for an instant
            status = os.lstat(path)
            if file_fault(status, path, os.environ, os.stat(pool)) is None:
                found.append((path, status.st_mtime_ns))
    return sorted(found)


def _failed(environment: Environment, folder: str, cause: str, hint: str = _ELSEWHERE) -> SharedenvError:
    return SharedenvError(
        f"can't stage environment {environment.key[:SHORT]} to {folder}",
        cause=cause,
        hint=hint,
        exit_code=EXIT_FAILED,
    )
