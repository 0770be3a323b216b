"""sharedenv.lock: which entries scripts need, what is taken over and what is chosen anew, and the file written."""

from __future__ import annotations

import contextlib
import fcntl
import os
import shlex
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from functools import partial

from sharedenv.app.project import Project
from sharedenv.build.construction import Construction
from sharedenv.build.interpreter import Fetches
from sharedenv.build.options import BuildOptions
from sharedenv.build.resolve import Resolver, staying, with_sources_of
from sharedenv.build.uv import TARGETS, find_uv
from sharedenv.errors import EXIT_BUILD, EXIT_USAGE, SharedenvError
from sharedenv.key.make import local_packages, maker, may_be
from sharedenv.key.plan import Need, Plan, make_plan
from sharedenv.key.project_lock import ASKED, NAME, LockEntry, NotLocked, ProjectLock, identify
from sharedenv.key.settings import Settings, read_project_lock
from sharedenv.key.versions import Versions, VersionsError, moved
from sharedenv.pool.files import sync_descriptor
from sharedenv.pool.held import known_versions
from sharedenv.start.environ import current_folder
from sharedenv.start.regular import read_regular
from sharedenv.values import frozen

PLATFORMS = tuple(TARGETS)  #: those that can be locked for
AT_ONCE = 4  #: resolutions side by side: they wait for indexes

_AS_IT_IS = "what a folder or file of this machine holds is installed as it is"


@frozen
class LockOrder:
    """What is to be locked. ``pythons``: requests, none for the one that a build takes; ``platforms``: none for this one.

    ``upgrade``: choose versions anew; ``packages``: of these alone (normal names).
    """

    pythons: tuple[str, ...] = ()
    platforms: tuple[str, ...] = ()
    upgrade: bool = False
    packages: tuple[str, ...] = ()
    offline: bool = False

    @property
    def moves(self) -> bool:
        """Whether versions are to be chosen anew that are locked."""
        return self.upgrade or bool(self.packages)


@frozen
class Locked:
    """One table: which scripts it is for, and how it came about.

    source  kept, pool or resolved; "loose" where nothing can be locked
    moved   what differs from the table before, a line each
    """

    scripts: tuple[str, ...]
    entry: LockEntry
    platform: str
    versions: Versions | None
    source: str
    moved: tuple[str, ...] = ()


@frozen
class LockOutcome:
    """``path``: of the file; ``own``: scripts that have a lock file of their own, which comes first; ``changed``: it was written."""

    path: str
    locked: tuple[Locked, ...]
    own: tuple[str, ...]
    errors: tuple[SharedenvError, ...]
    changed: bool


@frozen
class _Wanted:
    """One table to be: the needs by which the pool may hold it, the first of them the one that is resolved."""

    need: Need
    others: tuple[Need, ...]
    entry: LockEntry
    request: str | None
    platform: str

    @property
    def table(self) -> Versions | None:
        """What is locked for it already."""
        try:
            return self.entry.choose(self.platform, partial(may_be, self.request))
        except NotLocked:
            return None


def lock(project: Project, order: LockOrder, environ: Mapping[str, str], tell: Callable[[str], None]) -> LockOutcome:
    """Locks what a project's scripts need, and writes the file; ``tell``: what is being done. Raises BadScripts, SharedenvError."""
    before = read_project_lock(project.layout.root) or ProjectLock()
    wanted, own = _wanted(project, order, before)
    _check_names(order.packages, wanted)
    work = _work(project, order, environ, tell)
    done, errors = _each(wanted, lambda one: _lock_one(one, order, work))
    path = os.path.join(project.layout.root, NAME)
    changed = _write(path, done)
    return LockOutcome(path, tuple(done), own, tuple(errors), changed)


def missing(project: Project, order: LockOrder) -> list[tuple[tuple[str, ...], str]]:
    """Scripts that the file does not cover, and why: what `lock --check` finds. Raises as lock does."""
    before = read_project_lock(project.layout.root) or ProjectLock()
    found = []
    for one in _wanted(project, order, before)[0]:
        try:
            before.find(one.need.payload.document).choose(one.platform, partial(may_be, one.request))
        except NotLocked as error:
            found.append((one.need.scripts, str(error)))
    return found


def _wanted(project: Project, order: LockOrder, before: ProjectLock) -> tuple[list[_Wanted], tuple[str, ...]]:
    """The tables to be, and the scripts that have a lock file of their own."""
    settings = replace(project.settings, lock=None)
    plan = make_plan(project.paths, maker(settings))
    requests: Sequence[str | None] = order.pythons or (settings.python,)
    plans = [plan if request == settings.python else _plan_for(project, settings, request) for request in requests]
    own = tuple(script for need in plan.needs.values() if need.payload.document["lock"] is not None for script in need.scripts)
    found: list[_Wanted] = []
    for need in (need for one in plans for need in one.needs.values() if need.payload.document["lock"] is None):
        document = need.payload.document
        asked = LockEntry({name: document[name] for name in ASKED})
        entry = before.entries.get(asked.id, asked)
        others = tuple(other for other in plan.needs.values() if identify(other.payload.document) == entry.id and other is not need)
        here = [_Wanted(need, others, entry, document["python"], platform) for platform in order.platforms or (settings.platform,)]
        if order.moves and not (order.platforms or order.pythons):  # all that is locked for it, or it would be locked at two sets
            there = [_Wanted(need, others, entry, python, platform) for platform, python in entry.tables]
            here = there + [one for one in here if one.table is None]
        found += here
    return found, own


def _plan_for(project: Project, settings: Settings, request: str | None) -> Plan:
    return make_plan(project.paths, maker(replace(settings, python=request, pinned=False)))


def _work(project: Project, order: LockOrder, environ: Mapping[str, str], tell: Callable[[str], None]) -> Construction:
    settings = replace(project.settings, lock=None)
    options = BuildOptions(offline=order.offline)
    here = current_folder(environ)
    return Construction(project.layout, settings, find_uv(environ), options, environ, here, Fetches(), tell, tell, tell)


def _each(wanted: Sequence[_Wanted], lock_one: Callable[[_Wanted], Locked]) -> tuple[list[Locked], list[SharedenvError]]:
    done: list[Locked] = []
    errors: list[SharedenvError] = []
    with ThreadPoolExecutor(max_workers=AT_ONCE, thread_name_prefix="lock") as executor:
        for future in [executor.submit(lock_one, one) for one in wanted]:
            try:
                done.append(future.result())
            except SharedenvError as error:
                errors.append(error)
    return done, errors


def _lock_one(one: _Wanted, order: LockOrder, work: Construction) -> Locked:
    """One table: the one that is there, what the pool holds, or what is chosen now. Raises SharedenvError."""
    if local := local_packages(one.need.payload):
        return _loose(one, f"{', '.join(local)}: {_AS_IT_IS}")
    own = one.platform == work.settings.platform
    resolver = Resolver(one.need, work)
    there = one.table
    touched = order.upgrade or (there is not None and bool(set(order.packages) & there.names.keys()))
    if there is not None and not touched:
        return Locked(one.need.scripts, one.entry, one.platform, there, "kept")
    held = _held(one, work) if own and not order.upgrade else None
    if held is not None and (folders := [pin.name for pin in held.pins if pin.folder]):
        return _loose(one, f"{', '.join(folders)}: {_AS_IT_IS}")
    base = there or held
    if held is not None and there is None and not set(order.packages) & held.names.keys():
        versions = resolver.complete(held)
        return Locked(one.need.scripts, one.entry.with_table(one.platform, versions), one.platform, versions, "pool")
    python = base.python if base is not None else _minor_for(one, work, resolver)
    moving = () if order.upgrade else order.packages
    kept = staying(base, moving) if base is not None and moving else ()
    try:
        versions = replace(resolver, kept=kept).resolve(python, one.platform, fresh=order.upgrade or bool(moving))
    except VersionsError as error:
        return _loose(one, f"{error}, and is installed as it is")
    if base is not None and moving:
        versions = with_sources_of(versions, base, moving)
    told = moved(base, versions) if base is not None else ()
    return Locked(one.need.scripts, one.entry.with_table(one.platform, versions), one.platform, versions, "resolved", told)


def _minor_for(one: _Wanted, work: Construction, resolver: Resolver) -> str:
    """For another platform, the Python that is locked for one already: what was made for a sweep goes on there."""
    if one.platform != work.settings.platform and one.entry.python and may_be(one.request, one.entry.python):
        return one.entry.python
    return resolver.python()


def _loose(one: _Wanted, why: str) -> Locked:
    return Locked(one.need.scripts, replace(one.entry, loose=why, python="", tables={}), one.platform, None, "loose")


def _held(one: _Wanted, work: Construction) -> Versions | None:
    """What the pool holds of it, of a Python that may be meant. Raises SharedenvError."""
    for need in (one.need, *one.others):
        versions = known_versions(work.layout, need.payload, os.path.relpath(need.scripts[0], work.cwd), exact=True)
        if versions is not None and may_be(one.request, versions.python):
            return versions
    return None


def _check_names(names: Iterable[str], wanted: Sequence[_Wanted]) -> None:
    for name in names:
        tables = [versions for one in wanted for versions in one.entry.tables.values()]
        if tables and not any(name in versions.names for versions in tables):
            raise SharedenvError(
                f"can't upgrade {name}: {NAME} has it for none of these scripts",
                cause="it takes the name of a package that is installed, in normal form",
                hint=f"grep -n {shlex.quote(name)} {NAME}",
                exit_code=EXIT_USAGE,
            )


def _write(path: str, done: Sequence[Locked]) -> bool:
    """Puts tables into the file, whoever has written other entries meanwhile; whether it has changed. Raises SharedenvError."""
    path = os.path.realpath(path)
    try:
        with _alone(os.path.dirname(path)):
            old = read_project_lock(os.path.dirname(path))
            entries: dict[str, LockEntry] = {}
            for one in done:
                entry = entries.get(one.entry.id) or (old.entries.get(one.entry.id) if old else None)
                entries[one.entry.id] = one.entry if entry is None or one.versions is None else entry.with_table(one.platform, one.versions)
            text = (old or ProjectLock()).with_entries(entries.values()).text
            if not entries or (old is not None and _read(path) == text):
                return False
            temporary = f"{path}.{os.urandom(4).hex()}"
            with open(temporary, "x", encoding="utf-8") as file:
                file.write(text)
                file.flush()
                sync_descriptor(file.fileno())
            os.replace(temporary, path)
            return True
    except OSError as error:
        hint = f"ls -ld {shlex.quote(os.path.dirname(path))}"
        raise SharedenvError(f"can't write {path}", cause=error.strerror, hint=hint, exit_code=EXIT_BUILD) from None


def _read(path: str) -> str:
    return read_regular(path).decode()


@contextlib.contextmanager
def _alone(folder: str) -> Iterator[None]:
    """While no other `lock` writes in this folder; where a file system has no flock, the later one wins."""
    descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        with contextlib.suppress(OSError):
            fcntl.flock(descriptor, fcntl.LOCK_EX)
        yield
    finally:
        os.close(descriptor)
