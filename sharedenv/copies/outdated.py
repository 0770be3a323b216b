"""Copies on node-local disk that nobody will start anything from any more: of environments that a pool has replaced, or lost."""

from __future__ import annotations

import os
import re
import time
from collections.abc import Iterator

from sharedenv.pool.holders import claimed
from sharedenv.pool.layout import Layout
from sharedenv.pool.manifest import ManifestError, read_manifest
from sharedenv.pool.store import published, remove_tree
from sharedenv.start.regular import read_regular
from sharedenv.start.staged import identity

TEMPORARY = ".tmp-"  #: how the copies begin that are being made, or removed
_COPY = re.compile(r"([0-9a-f]{12}-[1-9][0-9]*)-[0-9a-f]{12}")  # see start/staged.identity
_ABANDONED = 86400.0  # seconds after which the unfinished copy of a killed process is rubbish


def clear_copies(folder: str, pool: str) -> None:
    """Removes from a folder of copies what this user has made for the pool at this path and nobody needs any more. Never waits."""
    now = time.time()
    with os.scandir(folder) as entries:
        own = [(entry.name, entry.stat(follow_symlinks=False).st_mtime) for entry in entries if _is_own(entry)]
    for name, time_ in own:
        path = os.path.join(folder, name)
        if name.startswith(TEMPORARY):
            if now - time_ > _ABANDONED:
                remove_tree(path)
        elif _is_over(path, pool):
            aside = os.path.join(folder, f"{TEMPORARY}{name}-{os.urandom(6).hex()}-old")
            os.chmod(path, 0o700)
            os.rename(path, aside)
            os.unlink(path + ".lock")
            remove_tree(aside)


def _is_own(entry: os.DirEntry[str]) -> bool:
    try:
        return entry.is_dir(follow_symlinks=False) and entry.stat(follow_symlinks=False).st_uid == os.geteuid()
    except OSError:
        return False  # gone meanwhile


def _is_over(copy: str, pool: str) -> bool:
    """Whether a copy is of an environment of this pool that was replaced or removed, and nothing runs from it."""
    name = os.path.basename(copy)
    found = _COPY.fullmatch(name)
    try:
        if found is None or read_regular(copy + ".lock") != os.fsencode(pool) or any(_running_from(copy)):
            return False
        environment = os.path.join(pool, "envs", found[1])
        if not os.path.lexists(environment):
            return os.path.isdir(os.path.dirname(environment))  # else a disk that is not mounted
        if identity(environment) != name:
            return True  # removed, and another built under its name
        key = read_manifest(environment).payload.key
        if published(Layout(pool), key) in (None, environment):
            return False
        with claimed(environment) as claim:  # who runs from a copy holds the pool's
            return claim.taken and not claim.missing
    except (OSError, ManifestError):
        return False  # doubt


def _running_from(copy: str) -> Iterator[str]:
    """Processes of this machine whose command line names the copy."""
    beginning = os.fsencode(copy) + b"/"
    for pid in filter(str.isdigit, os.listdir("/proc") if os.path.isdir("/proc/self") else ()):
        try:
            with open(f"/proc/{pid}/cmdline", "rb") as file:
                if beginning in file.read():
                    yield pid
        except OSError:
            continue
