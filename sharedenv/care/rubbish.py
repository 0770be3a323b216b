"""What dead builds and removals left behind, and links and notes that lead to nothing. A live build's staging is never touched."""

from __future__ import annotations

import os
import re
import stat
from collections.abc import Iterator

from sharedenv.pool.layout import UNFINISHED, UNFINISHED_RUN, Layout
from sharedenv.pool.owner import is_here, lives
from sharedenv.pool.staging import OWNER, builder_of
from sharedenv.pool.store import bury, remove_tree
from sharedenv.pool.undertaker import clear_away, is_abandoned
from sharedenv.start.access import again
from sharedenv.start.staged import identity
from sharedenv.values import frozen

SILENCE = 24 * 3600.0  #: seconds without a sign of life after which a build on another machine counts as dead
FRESH = 300.0  #: seconds: a lease is touched far more often while its holder lives
SHORT_LIVED = 3600.0  #: seconds: links and files in tmp/, and a run that is being written, live for an instant
REMOVED = ".removed-"  #: stands behind a pool's name while `prune --all` removes it
CREW = ".crew-"  #: how the folders in runs/ begin that say which runs the tasks of an array work on (run/crews)
_ARCHIVE = re.compile(r"[0-9a-f]{12}-[1-9][0-9]*-[0-9a-f]{12}\.[0-9a-f]{64}\.tar")  #: `<identity>.<sha256>.tar`
QUEUED = 90 * 24 * 3600.0  #: seconds: no task comes later than that to the run of its array
FORGOTTEN = 30 * 24 * 3600.0  #: seconds: logs and failures of keys that have no environment


@frozen
class Rubbish:
    """One entry that leads nowhere, or may be: ``live``, its builder may still be at work. ``removed``: it is gone now."""

    path: str
    reason: str
    live: bool
    removed: bool


def clear_rubbish(layout: Layout, now: float, *, dry_run: bool) -> Iterator[Rubbish]:
    """Removes rubbish; yields what went and the staging folders that stay. ``now``: the file system's time."""
    short = [*_staging(layout, now), *_locks(layout, now), *_trash(layout), *_unfinished(layout, now), *_pools(layout, now)]
    for path, reason in [*short, *_dangling(layout), *_forgotten(layout, now)]:
        if reason is None:
            yield Rubbish(path, "its builder lives, or was heard of within a day", live=True, removed=False)
        else:
            yield Rubbish(path, reason, live=False, removed=not dry_run and _remove(layout, path, now))


def _staging(layout: Layout, now: float) -> Iterator[tuple[str, str | None]]:
    for path, found in _entries(layout.tmp):
        age = now - found.st_mtime
        if not stat.S_ISDIR(found.st_mode):
            yield path, "left by a process that ended" if age >= SHORT_LIVED else None
            continue
        owner = builder_of(path)
        if owner is not None and is_here(owner):
            yield path, None if lives(owner, 0.0) else f"its builder, pid {owner.pid}, has ended"
        elif owner is None and set(names_in(path)) <= {OWNER}:  # it is signed at once, before anything else is put there
            yield path, "left by a process that ended" if age >= SHORT_LIVED else None
        elif _lease_is_fresh(layout, os.path.basename(path), now) or now - _newest(path) < SILENCE:
            yield path, None
        else:
            yield path, f"no sign of its builder{f' on {owner.host}' if owner else ''} for a day"


def _locks(layout: Layout, now: float) -> Iterator[tuple[str, str]]:
    for path, _ in _entries(layout.locks):
        if is_abandoned(path, now):
            yield path, "a lease whose holder died"


def _trash(layout: Layout) -> Iterator[tuple[str, str]]:
    # somebody else may be deleting it at this moment: two may do that
    return ((path, "left by a removal that was cut short") for path, _ in _entries(layout.trash))


def _dangling(layout: Layout) -> Iterator[tuple[str, str]]:
    for folder in (layout.keys, layout.index):
        for path, found in _entries(folder):
            if stat.S_ISLNK(found.st_mode) and _leads_nowhere(path):
                yield path, "leads to no environment"
    for path, _ in _entries(layout.used):
        if _is_gone(os.path.join(layout.envs, os.path.basename(path))):
            yield path, "notes the use of no environment"
    for path, _ in _entries(layout.archives):
        copies = os.path.basename(path).partition(".")[0]
        environment = os.path.join(layout.envs, copies.rpartition("-")[0])
        if not _ARCHIVE.fullmatch(os.path.basename(path)):
            continue
        if _is_gone(environment) or _is_another(environment, copies):
            yield path, "holds no environment of the pool"
    if names_in(layout.packed):
        from sharedenv.copies.pack import superseded  # noqa: PLC0415 - a run loads this module, and nothing of that

        for path in superseded(layout):
            yield path, "its environment is in the pool unpacked, or built anew"


def _forgotten(layout: Layout, now: float) -> Iterator[tuple[str, str]]:
    names = {name[:12] for folder in (layout.envs, layout.packed) for name in names_in(folder)}
    for folder in (layout.logs, layout.failures):
        for path, found in _entries(folder):
            if os.path.basename(path)[:12] not in names and now - found.st_mtime >= FORGOTTEN:
                yield path, "tells of no environment, and is older than 30 days"
    for path, found in _entries(layout.runs, CREW):
        if now - found.st_mtime >= QUEUED:
            yield path, "notes of an array that is older than 90 days"


def _unfinished(layout: Layout, now: float) -> Iterator[tuple[str, str]]:
    """Files and runs that were being written, and were to get their names when they are whole."""
    entries = [(path, found) for path, found in _entries(layout.path) if os.path.basename(path).startswith(UNFINISHED)]
    entries += _entries(layout.runs, UNFINISHED_RUN)
    entries += [(path, found) for path, found in _entries(layout.archives) if not _ARCHIVE.fullmatch(os.path.basename(path))]
    for path, found in entries:
        if now - found.st_mtime >= SHORT_LIVED:
            yield path, "left by a process that ended"


def _pools(layout: Layout, now: float) -> Iterator[tuple[str, str]]:
    """Pools that stood here, renamed to be removed."""
    pool = os.path.realpath(layout.path)
    for path, found in _entries(os.path.dirname(pool), os.path.basename(pool) + REMOVED):
        # the folder around a pool may be everybody's
        if found.st_uid == os.stat(pool).st_uid and now - _newest(path) >= SILENCE:
            yield path, "left by a removal that was cut short"


def _remove(layout: Layout, path: str, now: float) -> bool:
    if os.path.dirname(path) in (layout.trash, os.path.dirname(os.path.realpath(layout.path))):
        remove_tree(path)
    elif os.path.isdir(path) and not os.path.islink(path):
        bury(layout, path)
    else:
        try:
            if os.path.dirname(path) == layout.packed:
                from sharedenv.copies.pack import remove_superseded  # noqa: PLC0415 - as above

                remove_superseded(layout, path)
            elif os.path.dirname(path) == layout.locks:
                clear_away(path, now)
            else:
                os.unlink(path)
        except OSError:
            return False
    return not os.path.lexists(path)


def _lease_is_fresh(layout: Layout, name: str, now: float) -> bool:
    return any(
        os.path.basename(path).startswith(name[:12]) and now - found.st_mtime < FRESH
        for path, found in _entries(layout.locks)
    )


def _newest(path: str) -> float:
    """The latest time at which an entry appeared anywhere below a folder; now-ish when it can't be told."""
    newest = 0.0
    for folder, _, _ in os.walk(path):
        try:
            newest = max(newest, os.lstat(folder).st_mtime)
        except OSError:
            return float("inf")
    return newest


def _leads_nowhere(link: str) -> bool:
    try:
        return _is_gone(os.path.join(os.path.dirname(link), again(lambda: os.readlink(link))))
    except OSError:  # another prune was faster, or the disk fails
        return False


def _is_gone(path: str) -> bool:
    # only "there is none" counts: an error of the disk proves nothing
    try:
        os.lstat(path)
    except (FileNotFoundError, NotADirectoryError):
        return True
    except OSError:
        return False
    return False


def _is_another(environment: str, copies: str) -> bool:
    """Whether the environment is a later build than the one that has copies of this name."""
    try:
        return identity(environment) != copies
    except OSError:
        return False


def _entries(folder: str, beginning: str = "") -> Iterator[tuple[str, os.stat_result]]:
    for name in sorted(name for name in names_in(folder) if name.startswith(beginning)):
        path = os.path.join(folder, name)
        try:
            yield path, os.lstat(path)
        except OSError:
            continue


def names_in(folder: str) -> list[str]:
    """The names in a folder; none where it can't be read."""
    try:
        return os.listdir(folder)
    except OSError:
        return []
