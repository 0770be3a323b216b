"""What on this machine would hurt a pool: looked at, and tried where looking is not enough. Nothing is left behind."""

from __future__ import annotations

import contextlib
import errno
import os
import shlex
import stat
import tempfile
from collections.abc import Callable, Iterator, Mapping
from enum import Enum

from sharedenv.build.remedy import Scene, remedy
from sharedenv.build.uv import Uv, ask_index, cache_folder, find_uv
from sharedenv.build.uv_words import OUTSIDE, Kind, trouble
from sharedenv.care.exposed import find_exposed
from sharedenv.care.rubbish import clear_rubbish
from sharedenv.care.survey import survey
from sharedenv.errors import SharedenvError
from sharedenv.key.plan import UNREAD, read_file
from sharedenv.pool.create import check_format
from sharedenv.pool.files import file_system_time
from sharedenv.pool.layout import PARTS, Layout
from sharedenv.pool.location import strays_below
from sharedenv.pool.mounts import FileSystem, Locks, file_system
from sharedenv.pool.store import Unusable, environments
from sharedenv.pool.trial import ANOTHER, TRIALS, Trial, elsewhere, lock_fault, no_chmod_helps, trial_folder, try_out
from sharedenv.script.metadata import uv_options
from sharedenv.start.distrust import Distrust, check_folders, group_name, user_name
from sharedenv.start.trust import check_pool, is_shared
from sharedenv.start.uv_variables import is_on
from sharedenv.values import frozen

LITTLE_SPACE = 2 * 10**9  #: bytes: a handful of scientific packages
_LOOKS = 20_000  #: folders below the project's that are looked at for pools that stand in the way
FEW_INODES = 50_000  #: and the entries that they take


class Level(Enum):
    """How bad it is."""

    GOOD = "ok"
    NOTE = "note"
    WARNING = "warning"
    PROBLEM = "problem"


@frozen
class Finding:
    """One thing looked at: its name, how bad it is, what was found, and the one line that mends it (None: nothing to do)."""

    subject: str
    level: Level
    text: str
    remedy: str | None = None


def examine_machine(layout: Layout, environ: Mapping[str, str], unfinished: Callable[[str], bool]) -> Iterator[Finding]:
    """Every finding, in the order in which a user should read them. The pool need not exist yet.

    ``unfinished``: whether a pool (its path) holds a run that is not finished.
    """
    where = _nearest_folder(layout.path)
    system = file_system(where)
    uv, finding = _uv(environ)
    yield finding
    yield _file_system(layout, where, system)
    writable = _is_writable(where, system)
    if writable:
        yield from _tried(where, system, layout)
    if uv is not None:
        yield _cache(uv, where if writable else None, layout, environ)
    yield from _readable("space", _space(where))
    yield from _readable("TMPDIR", map(_temporary_folder, [environ]))
    yield from _readable("pool", _pool(layout))
    yield from _strays(layout, environ, unfinished)
    yield from _readable("interpreter", _interpreters(layout, system))
    if system is not None and system.network:
        text = f"lines that several nodes add to one file on {system.type} may tear: give each --shard a --joblog of its own"
        yield Finding("joblog", Level.NOTE, text, "sharedenv run --shard 1/4 --joblog jobs-1.log …")
    yield from _readable("first line", _first_lines(layout))


def _strays(layout: Layout, environ: Mapping[str, str], unfinished: Callable[[str], bool]) -> Iterator[Finding]:
    if strays := strays_below(layout.root, environ, unfinished, _LOOKS):
        number = f"{len(strays):,} pools lie" if len(strays) > 1 else "a pool lies"
        text = f"{number} below it, and the scripts there pass over what is in the way; no run needs it"
        remedy = f"sharedenv --pool {shlex.quote(strays[0])} prune --all"
        if len(strays) > 1:
            remedy = f'for pool in {shlex.join(strays[:10])}; do sharedenv --pool "$pool" prune --all; done'
        yield Finding("strays", Level.WARNING, text, remedy)


def _readable(subject: str, findings: Iterator[Finding]) -> Iterator[Finding]:
    """The findings, as far as the file system lets us look; where it does not is one of them."""
    try:
        yield from findings
    except OSError as error:
        where = [os.fsdecode(error.filename)] if error.filename else []
        remedy = shlex.join(["ls", "-ld", *where]) if where else None
        yield Finding(subject, Level.PROBLEM, f"can't be looked at: {': '.join([str(error.strerror), *where])}", remedy)


def _uv(environ: Mapping[str, str]) -> tuple[Uv | None, Finding]:
    try:
        uv = find_uv(environ)
    except SharedenvError as error:
        cause = f": {error.cause}" if error.cause else ""
        return None, Finding("uv", Level.PROBLEM, f"{error.message}{cause}", error.hint)
    return uv, Finding("uv", Level.GOOD, f"{uv.version} at {uv.path}")


def _file_system(layout: Layout, where: str, system: FileSystem | None) -> Finding:
    if system is None:
        return Finding("file system", Level.NOTE, f"of {where}: this machine doesn't tell")
    text = f"{layout.path} is on {system.type}, mounted at {system.mount}"
    if not _is_writable(where, system):
        return Finding("file system", Level.WARNING, f"{text}, and can't be written from here",
                       "build on a node that may write there: what is built runs here")
    return Finding("file system", Level.GOOD, text)


def _is_writable(where: str, system: FileSystem | None) -> bool:
    return os.access(where, os.W_OK) and not (system is not None and "ro" in system.options)


def _tried(where: str, system: FileSystem | None, layout: Layout) -> Iterator[Finding]:
    """What a pool needs, tried in the pool's tmp/ or, before there is one, in the folder it would be in."""
    folder = layout.tmp if os.path.isdir(layout.tmp) else where
    try:
        with trial_folder(folder) as path:
            for trial in TRIALS:
                yield _attempt(trial, path, system)
            fault = lock_fault(os.path.join(path, "lock"))
    except OSError as error:
        yield Finding("trials", Level.WARNING, f"can't be made in {folder}: {error.strerror}", f"ls -ld {shlex.quote(folder)}")
        return
    advice = "sharedenv prune keeps what was used within a day; nothing else leans on these locks"
    if fault is not None:
        yield Finding("locks", Level.WARNING, f"flock is missing here: {fault}", advice)
    elif system is not None and system.locks is Locks.BLIND:
        yield Finding("locks", Level.NOTE, f"flock on {system.type} is {system.locks.value}", advice)
    else:
        yield Finding("locks", Level.GOOD, f"flock holds{f' ({system.locks.value})' if system else ''}")


def _attempt(trial: Trial, folder: str, system: FileSystem | None) -> Finding:
    fault = try_out(trial, folder)
    if fault is None:
        return Finding(trial.subject, Level.GOOD, trial.does)
    if trial.needed:
        return Finding(trial.subject, Level.PROBLEM, f"{trial.does}: it does not ({fault})", elsewhere(system))
    return Finding(trial.subject, Level.NOTE, f"{trial.does}: it does not ({fault}); {trial.otherwise}")


def _cache(uv: Uv, where: str | None, layout: Layout, environ: Mapping[str, str]) -> Finding:
    """Whether uv can work with its cache, and link files of it into ``where`` (None: nothing can be written there)."""
    cache = cache_folder(uv, environ)
    if cache is None:
        return Finding("uv's cache", Level.NOTE, "uv doesn't say where it is")
    source = os.path.join(_nearest_folder(cache), f".sharedenv-doctor-{os.urandom(8).hex()}")
    target = os.path.join(where, f"{os.path.basename(source)}-link") if where is not None else None
    try:
        if fault := lock_fault(source):
            return Finding("uv's cache", Level.WARNING, f"{cache} can't be locked ({fault}): uv may refuse to work with it",
                           'export UV_CACHE_DIR="$(mktemp -d)"')
        if target is not None:
            os.link(source, target)
    except OSError as error:
        if error.errno in (errno.EXDEV, errno.EPERM, errno.EMLINK, errno.EOPNOTSUPP):
            return Finding(
                "uv's cache", Level.WARNING,
                f"{cache} can't be linked into the pool ({error.strerror}): each environment takes its full size and is copied",
                f"export UV_CACHE_DIR={shlex.quote(os.path.join(layout.root, '.uv-cache'))}",
            )
        text = f"{cache} or the pool can't be written: {error.strerror}"
        return Finding("uv's cache", Level.WARNING, text, f"ls -ld {shlex.quote(cache)}")
    finally:
        for path in filter(None, (source, target)):
            with contextlib.suppress(OSError):
                os.unlink(path)
    if (who := _others_in(cache)) is not None:
        return Finding("uv's cache", Level.WARNING, f"{who} may write into {cache}: what is put there is installed into environments",
                       f"chmod -R go-w {shlex.quote(cache)}")
    linked = " is linked into the pool: files are on the disk once" if target is not None else " can be locked"
    return Finding("uv's cache", Level.GOOD, f"{cache}{linked}")


def _others_in(folder: str) -> str | None:
    """Who else may write into a folder, in words; None when nobody may: the group of a user's name is most often his alone."""
    found = os.stat(_nearest_folder(folder))
    if found.st_mode & stat.S_IWOTH:
        return "anybody"
    if not found.st_mode & stat.S_IWGRP or found.st_uid != os.geteuid() or group_name(found.st_gid) == user_name(found.st_uid):
        return None
    return f"the group {group_name(found.st_gid)}"


def _space(where: str) -> Iterator[Finding]:
    found = os.statvfs(where)
    free, inodes = found.f_bavail * found.f_frsize, found.f_favail
    text = f"{free / 10**9:,.1f} GB free"
    remedy = "sharedenv prune --dry-run"
    yield Finding("space", Level.WARNING, text, remedy) if free < LITTLE_SPACE else Finding("space", Level.GOOD, text)
    if not found.f_files:
        yield Finding("inodes", Level.GOOD, "not limited by the file system; a quota may be")
    elif inodes < FEW_INODES:
        yield Finding("inodes", Level.WARNING, f"{inodes:,} free; an environment may take 10,000", "sharedenv prune --pack --dry-run")
    else:
        yield Finding("inodes", Level.GOOD, f"{inodes:,} free")


def _temporary_folder(environ: Mapping[str, str]) -> Finding:
    folder = environ.get("TMPDIR") or tempfile.gettempdir()
    system = file_system(folder) if os.path.isdir(folder) else None
    if not os.path.isdir(folder):
        return Finding("TMPDIR", Level.PROBLEM, f"{folder} is no folder", "unset TMPDIR")
    if system is not None and system.network:
        return Finding("TMPDIR", Level.WARNING, f"{folder} is on {system.type}, which other nodes share: scripts that use it are slow",
                       "export TMPDIR=/tmp")
    return Finding("TMPDIR", Level.GOOD, f"{folder} is local{f' ({system.type})' if system else ''}")


def _pool(layout: Layout) -> Iterator[Finding]:
    try:
        there = check_pool(layout.path, os.environ) is not None and os.path.exists(layout.marker)
        if there:
            check_folders(layout.path, PARTS)
            check_format(layout)
    except SharedenvError as error:
        told: set[str | None] = set()
        yield Finding("pool", Level.PROBLEM, ": ".join(filter(None, (error.message, error.cause))), error.hint)
    except Distrust as error:
        told = set()
        hint = ANOTHER if (error.hint or "").startswith("chmod ") and no_chmod_helps(layout.path) else error.hint
        yield Finding("trust", Level.PROBLEM, error.message, hint)
    else:
        if not there:
            yield Finding("pool", Level.NOTE, f"none at {layout.path} yet", "sharedenv build 'case*/script.py'")
            return
        exposed = [Finding("trust", Level.PROBLEM, item.text, item.remedy) for item in find_exposed(layout)]
        who = "only the group it is shared with" if is_shared(layout.path) else "nobody else"
        told = {item.remedy for item in exposed}
        yield from exposed or [Finding("trust", Level.GOOD, f"{who} may change what is in the pool")]
    for item in environments(layout):
        if isinstance(item, Unusable):
            name = os.path.basename(item.path)
            if (remedy := f"sharedenv verify --repair {name}") not in told:
                yield Finding("environment", Level.WARNING, f"{name}: {item.reason}", remedy)
    packed = [item for item in survey(layout) if item.packed]
    if packed:
        number = f"{len(packed):,} environments are" if len(packed) > 1 else "1 environment is"
        text = f"{number} packed ({sum(item.bytes for item in packed) / 10**6:,.1f} MB): a build unpacks what is wanted"
        yield Finding("packed", Level.GOOD, text)
    for each in (each for each in packed if each.manifest is None):
        remedy = shlex.join(["ls", "-l", each.path] if each.doubt else ["rm", each.path])
        yield Finding("environment", Level.WARNING, f"{each.name}: {each.doubt or 'its archive is damaged'}", remedy)
    rubbish = [item for item in clear_rubbish(layout, file_system_time(layout.tmp), dry_run=True) if not item.live]
    if rubbish:
        pieces = f"{len(rubbish):,} pieces" if len(rubbish) > 1 else "1 piece"
        yield Finding("rubbish", Level.NOTE, f"{pieces} left by builds or removals that were cut short", "sharedenv prune")


def _interpreters(layout: Layout, system: FileSystem | None) -> Iterator[Finding]:
    if system is None or not system.network:
        return
    seen = {item.manifest.interpreter.path for item in survey(layout) if item.manifest is not None}
    for path in sorted(seen):
        base = file_system(path) if os.path.exists(path) else None
        if base is not None and not base.network:
            yield Finding(
                "interpreter", Level.WARNING,
                f"{path} is on this machine's own {base.type}, and the pool is on {system.type}: other nodes may lack it",
                f"uv python install --install-dir {shlex.quote(os.path.join(layout.root, 'pythons'))}",
            )


def _first_lines(layout: Layout) -> Iterator[Finding]:
    """Options of uv in the first line of scripts that the pool was built for (each environment notes the first three)."""
    noted = {os.path.join(layout.root, name) for item in survey(layout) if item.manifest for name in item.manifest.scripts}
    found: dict[str, list[str]] = {}
    for path in sorted(noted):
        with contextlib.suppress(OSError):
            if options := uv_options(read_file(path)):
                found.setdefault(options, []).append(path)
    for options, paths in found.items():
        more = f" and {len(paths) - 1:,} more" if len(paths) > 1 else ""
        yield Finding("first line", Level.WARNING, f"{UNREAD.format(options)} ({paths[0]}{more})",
                      shlex.join(["sharedenv", "key", "--explain", paths[0]]))


def _nearest_folder(path: str) -> str:
    while not os.path.isdir(path):
        path = os.path.dirname(path)
    return path


_PATIENCE = 5  #: seconds that an index has for each answer


def examine_index(uv: Uv, layout: Layout, environ: Mapping[str, str]) -> Finding:
    """Asks the index of the project for a package that every index of Python packages has. Where the network is switched off, it isn't."""
    if is_on(environ.get("UV_OFFLINE", "")):
        return Finding("index", Level.NOTE, "not asked: UV_OFFLINE keeps uv from it", "unset UV_OFFLINE  # where there is a network")
    asking = {**environ, "UV_HTTP_TIMEOUT": str(_PATIENCE), "UV_HTTP_CONNECT_TIMEOUT": str(_PATIENCE), "UV_HTTP_RETRIES": "0"}
    words = ask_index(uv, asking, layout.root, 2.0 * _PATIENCE)
    if "`offline` (" in words:  # uv refuses to ask anew
        text = "not asked: `offline` in a uv.toml keeps uv from it"
        return Finding("index", Level.NOTE, text, "export UV_OFFLINE=0  # where there is a network")
    found = trouble(words) if words else None
    if found is None or found.kind not in OUTSIDE:  # also one that has no such package has answered
        return Finding("index", Level.GOOD if not words or found else Level.NOTE, "answers" if not words or found else "uv can't ask it")
    text, hint = remedy(found, Scene(None, "SCRIPT", None, layout, uv, asking, offline=False))
    return Finding("index", Level.NOTE if found.kind is Kind.OFFLINE else Level.WARNING, text.split("\n")[0], hint)
