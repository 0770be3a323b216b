"""Environments that are needed and not there: each built once, several side by side, whoever else builds them too."""

from __future__ import annotations

import errno
import os
import shlex
import threading
import time
from collections.abc import Iterable, Mapping
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import replace as with_fields
from functools import partial
from typing import TYPE_CHECKING, Protocol

from sharedenv.build import failure
from sharedenv.build.construction import Construction
from sharedenv.build.exact import not_held
from sharedenv.build.interpreter import Fetches
from sharedenv.build.options import BuildOptions
from sharedenv.build.uv import Uv, UvFailed, find_uv
from sharedenv.errors import EXIT_BUILD, SharedenvError
from sharedenv.key.make import moves
from sharedenv.key.plan import Need
from sharedenv.key.project_lock import NAME
from sharedenv.key.settings import Settings
from sharedenv.key.versions import Versions
from sharedenv.pool.create import ELSEWHERE, create_pool, way_out
from sharedenv.pool.held import fits, held_as_locked, hold, known_versions, moving, replace_held
from sharedenv.pool.index import forget
from sharedenv.pool.layout import Layout
from sharedenv.pool.staging import staging
from sharedenv.pool.store import DRIFTED, Environment, Unusable, adopt, inspect, publish, published
from sharedenv.process import beside, helping, limit_error, stopping
from sharedenv.start.access import SHORT
from sharedenv.start.environ import current_folder

if TYPE_CHECKING:
    from sharedenv.build.construct import Built


class BuildObserver(Protocol):
    """Who is told how builds go on; called from several threads."""

    def started(self, need: Need, reason: str | None) -> None:
        """A build begins; ``reason``: what is wrong with the environment that is there, None when there is none."""

    def made_pool(self, path: str) -> None:
        """There was no pool; now there is one."""

    def waiting(self, need: Need, holder: str, since: float) -> None:
        """Another process builds this one (``since``: seconds since the epoch)."""

    def step(self, need: Need, text: str) -> None:
        """What a build is doing."""

    def note(self, text: str) -> None:
        """What the user should know; told once, however many builds say it."""

    def warn(self, text: str) -> None:
        """A warning, such as of what one might expect of a build and what is not done; told once, as a note is."""

    def built(self, need: Need, environment: Environment, seconds: float) -> None:
        """A build of ours was published."""

    def unpacked(self, need: Need, environment: Environment, seconds: float) -> None:
        """What was packed was published again."""

    def failed(self, need: Need, error: SharedenvError) -> None:
        """A build failed, ours or the one we waited for."""


class Builder:
    """Builds environments of one pool. uv is looked for when the first one is missing, not before."""

    def __init__(
        self, layout: Layout, settings: Settings, options: BuildOptions, environ: Mapping[str, str], observer: BuildObserver
    ) -> None:
        self._layout = layout
        self._settings = settings
        self._options = options
        self._environ = environ
        self._cwd = current_folder(os.environ)
        self._observer = observer
        self._uv: Uv | None = None
        self._uv_lock = threading.Lock()
        self._fetches = Fetches()

    def build_all(self, needs: Iterable[Need], jobs: int) -> dict[str, Future[Environment]]:
        """Starts the builds, ``jobs`` at a time, and returns the future of each key: an Environment or a SharedenvError.

        What is there already is looked up at once, and its future is done when this returns.
        """
        futures: dict[str, Future[Environment]] = {}
        missing: list[Need] = []
        for need in needs:
            found = None if self._options.rebuild else inspect(self._layout, need.payload, strict=self._options.strict)
            future: Future[Environment] = Future()
            futures[need.payload.key] = future
            if isinstance(found, Environment) and not (self._options.drift and _may_move(need, found)):
                future.set_result(found)
            else:
                missing.append(need)
        if missing:
            if create_pool(self._layout):
                self._observer.made_pool(self._layout.path)
            executor = ThreadPoolExecutor(jobs, "build", initializer=helping())
            refused: list[RuntimeError] = []
            for need in missing:
                try:
                    executor.submit(self._fulfil, need, futures[need.payload.key])
                except RuntimeError as error:  # no thread: it waits for one of those that there are
                    refused.append(error)
            if len(refused) == len(missing):
                raise limit_error(refused[0], EXIT_BUILD) or refused[0]
            executor.shutdown(wait=False)
        return futures

    def build(self, need: Need) -> Environment:
        """The environment of ``need``: the one that is there, or a new one. Raises SharedenvError (exit status 3)."""
        try:
            return self._build(need)
        except OSError as error:
            told = write_error(self._layout, error)
            found = inspect(self._layout, need.payload, strict=self._options.strict)
            if isinstance(found, Unusable):  # there is one, and why it doesn't do is what the user wants to know first
                told.cause = f"{os.path.basename(found.path)} is to be built anew: {found.reason}\n{told.cause}"
            raise told from None

    def _build(self, need: Need) -> Environment:
        if self._uv is None:
            beside(self._find_uv)  # what is wrong with it, who needs it tells
        from sharedenv.pool.lease import lease  # noqa: PLC0415 - loaded while uv is asked for its version

        layout, payload, observer = self._layout, need.payload, self._observer
        before, failed_before = published(layout, payload.key), failure.stamp(layout, payload.key)
        with lease(
            layout,
            payload.key,
            waiting=lambda holder, since: observer.waiting(need, holder, since),
            timeout=self._options.lock_timeout,
        ) as contended:
            found = inspect(layout, payload, strict=self._options.strict)
            if found is None and (there := self._take_up(need)) is not None:
                before, found = there.path, inspect(layout, payload, strict=self._options.strict)
            # what another process has published meanwhile is as new as ours would be, but for an upgrade, which resolves anew;
            # times would compare the clocks of two nodes
            old = isinstance(found, Environment) and found.path == before
            drifted = isinstance(found, Environment) and old and self.has_drifted(need, found)
            if isinstance(found, Environment) and not drifted and not (self._options.rebuild and (old or self._options.upgrade)):
                return found
            if contended and failure.stamp(layout, payload.key) != failed_before:
                error = failure.recorded(layout, payload.key)
                if error is not None:
                    raise error
            reason = DRIFTED if drifted else found.reason if isinstance(found, Unusable) else None
            if payload.document["lock"] is None:  # else what had a say is in the lock file
                for text in self._settings.left_out:
                    observer.warn(text)
            observer.started(need, reason)
            return self._construct(need, replace=found is not None)

    def _take_up(self, need: Need) -> Environment | None:
        """What was built of ``need`` and no key leads to: left by a builder who was killed, or packed. None where there is none."""
        layout, payload, name = self._layout, need.payload, need.payload.key[:SHORT]
        may_be = partial(fits, self._held(need))
        if not self._options.rebuild and (orphan := adopt(layout, payload, may_be)):
            return orphan
        if not os.path.isdir(layout.packed):
            return None
        from sharedenv.copies.archive import Damaged  # noqa: PLC0415 - few pools have packed what is wanted
        from sharedenv.copies.pack import bring_back  # noqa: PLC0415 - as above

        started = time.monotonic()
        self._observer.step(need, "unpacking")
        try:
            unpacked = bring_back(layout, payload, may_be)
        except Damaged as error:
            self._observer.warn(f"environment {name} is built anew: its archive in the pool {error}")
            return None
        if unpacked is not None:
            self._observer.unpacked(need, unpacked, time.monotonic() - started)
        return unpacked

    def has_drifted(self, need: Need, environment: Environment) -> bool:
        """Whether uv would install something else now, where sources that can move are to be looked at. Raises SharedenvError."""
        if not self._options.drift or not _may_move(need, environment):
            return False
        from sharedenv.build.drift import has_drifted  # noqa: PLC0415 - few sources move

        try:
            return has_drifted(need, self._work(need), environment.path)
        except (UvFailed, OSError) as failure:
            # a server out of reach is no reason to lose what is there
            name = f"environment {need.payload.key[:SHORT]}"
            words = failure.words.splitlines()[0] if isinstance(failure, UvFailed) else f"{failure.strerror}: {failure.filename}"
            self._observer.warn(f"{name}: can't tell whether its sources have changed: {words}")
            return False

    def _construct(self, need: Need, *, replace: bool) -> Environment:
        layout, observer = self._layout, self._observer
        started = time.monotonic()
        try:
            environment = self._publish(need, self._held(need), replace=replace)
        except OSError as error:
            told = write_error(layout, error)
            failure.record(layout, need.payload.key, told)
            raise told from None
        except SharedenvError as error:
            if not stopping():  # else it is we who ended uv: who waits for this build is to try it
                failure.record(layout, need.payload.key, error)
            raise
        failure.clear(layout, need.payload.key)
        observer.built(need, environment, time.monotonic() - started)
        return environment

    def _held(self, need: Need) -> Versions | None:
        """What the key is held at, or was built with by an older sharedenv, which held nothing. Of one whose sources move, what
        stays where packages to move are named.
        """
        options = self._options
        if not_held(need.payload) and not (options.upgrade_packages and need.payload.document["lock"] is None):
            return None
        if locked := need.payload.aside.versions if NAME in need.payload.document else None:
            return held_as_locked(self._layout, need.payload, locked)
        script = need.scripts[0].removeprefix(self._cwd + os.sep)
        return known_versions(self._layout, need.payload, script, exact=not options.upgrade)

    def _publish(self, need: Need, held: Versions | None, *, replace: bool) -> Environment:
        """Builds, holds what was built if nothing is held, and publishes it. Raises SharedenvError, OSError."""
        from sharedenv.build.construct import construct  # noqa: PLC0415 - as above

        layout, key = self._layout, need.payload.key
        with staging(layout, key) as folder:
            built = construct(need, self._work(need), folder, held)
            kept = built.versions
            # an upgrade or the project's lock decides, whatever is held
            if built.versions is not None and (self._options.upgrade or NAME in need.payload.document):
                since = held.since if held is not None and held.digest == built.versions.digest else built.versions.since
                with moving(layout, key, with_fields(built.versions, since=since)):
                    return self._link(built, need, replace=replace or self._options.upgrade)
            if built.versions is not None:
                kept = self._hold(key, held, built.versions)
            if kept == built.versions:
                return self._link(built, need, replace=replace)
        # somebody else has built it first, and chose other versions meanwhile: the key has one set
        self._observer.step(need, "another build held other versions first: installing those")
        return self._publish(need, kept, replace=replace)

    def _link(self, built: Built, need: Need, *, replace: bool) -> Environment:
        """Publishes what was built. No fingerprint leads to an older generation then, nor where this is killed in between."""
        if replace:
            forget(self._layout, need.payload.key)
        environment = publish(self._layout, built.settle, need.payload, replace=replace)
        if replace:
            forget(self._layout, need.payload.key)
        return environment

    def _hold(self, key: str, held: Versions | None, versions: Versions) -> Versions:
        """Sees to it that what was built is held; what is held now, which is another set where somebody else was faster."""
        kept = hold(self._layout, key, versions)
        if (kept.python, kept.pins) == (versions.python, versions.pins):
            return versions
        if kept == held and kept.digest == versions.digest:  # more is known now of where they are had from
            replace_held(self._layout, key, versions)
            return versions
        return kept

    def _work(self, need: Need) -> Construction:
        def step(text: str) -> None:
            self._observer.step(need, text)

        return Construction(
            self._layout,
            self._settings,
            self._find_uv(),
            self._options,
            self._environ,
            self._cwd,
            self._fetches,
            step,
            self._observer.note,
            self._observer.warn,
        )

    def _fulfil(self, need: Need, future: Future[Environment]) -> None:
        try:
            future.set_result(self.build(need))
        except SharedenvError as error:
            self._observer.failed(need, error)
            future.set_exception(error)
        except BaseException as error:  # the future must end, whatever it was: somebody waits for it
            future.set_exception(limit_error(error, EXIT_BUILD) or error)

    def _find_uv(self) -> Uv:
        with self._uv_lock:
            if self._uv is None:
                self._uv = find_uv(self._environ)
            return self._uv


def _may_move(need: Need, environment: Environment) -> bool:
    """Whether an environment has sources that can change: the script names some, or brings some along."""
    from sharedenv.pool.dist_info import local_packages  # noqa: PLC0415 - of what is built, uv is started before it is loaded

    try:
        return moves(need.payload) or bool(local_packages(environment.path))
    except (OSError, ValueError, KeyError):  # a purge has been there
        return False


def write_error(layout: Layout, error: OSError) -> SharedenvError:
    """The error for a pool that can't be written (exit status 3), with the way out that its cause has."""
    if told := limit_error(error, EXIT_BUILD):
        return told
    where = os.fspath(error.filename or "")
    hint = way_out(layout, error)
    message = f"can't write to the pool {layout.path}"
    if error.errno == errno.EROFS:
        message = f"the pool {layout.path} is read-only here"
        hint = "build where the pool can be written (a login node), or take another: sharedenv --pool DIR/.sharedenv build …"
    elif error.errno in (errno.EACCES, errno.EPERM) and os.stat(layout.path).st_uid != os.geteuid():
        hint = ELSEWHERE
    elif error.errno in (errno.EACCES, errno.EPERM):
        hint = shlex.join(["ls", "-ld", layout.path, *filter(None, [where])])
    elif error.errno == errno.EDQUOT:
        hint = "sharedenv prune --dry-run"
    return SharedenvError(
        message, cause=f"{error.strerror}: {where}".rstrip(": "), hint=hint, exit_code=EXIT_BUILD
    )
