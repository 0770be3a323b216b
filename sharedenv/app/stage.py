"""Environments on a node's own disk: their archives, and the copies."""

from __future__ import annotations

import contextlib
import errno
import functools
import os
import shlex
import time
from collections.abc import Iterable, Iterator, Mapping

from sharedenv.app.recorder import Teller
from sharedenv.copies.archive import Archive, make_archive
from sharedenv.copies.stage import Staged, stage, stage_folder
from sharedenv.errors import EXIT_BUILD, EXIT_FAILED, SharedenvError
from sharedenv.pool.layout import Layout
from sharedenv.pool.manifest import ManifestError, read_manifest
from sharedenv.pool.store import Environment, enter
from sharedenv.start.access import SHORT, Vanished
from sharedenv.start.distrust import user_name
from sharedenv.start.trust import is_shared

_ELSEWHERE = "stage once where the pool can be written (a login node), which makes the archive; or run from the pool"


def staged(layout: Layout, tell: Teller, environ: Mapping[str, str], pooled: str) -> str:
    """Path of the copy on this node, made if need be; the pool's own when there can be none, which is said. For tasks of an array."""
    try:
        environment = Environment(pooled, read_manifest(pooled))
        done = stage(environment, stage_folder(None, environ), lambda: make_archive(layout, environment, lambda *_: None))
    except (SharedenvError, ManifestError, OSError) as error:
        cause = f"{error.message}: {error.cause}" if isinstance(error, SharedenvError) else str(error)
        tell.warn(f"running from the pool, as {cause}")
        return pooled
    if done.seconds is not None:
        tell.say(f"staged environment {done.environment.name} to {os.path.dirname(done.path)} in {done.seconds:.1f} s")
    return done.path


def stage_all(layout: Layout, environments: Iterable[Environment], folder: str, tell: Teller) -> Iterator[Staged]:
    """Stages environments, one after the other. Raises SharedenvError."""
    for environment in environments:
        with _held(layout, environment):
            done = stage(environment, folder, functools.partial(archive_of, layout, environment, tell))
        yield done


@contextlib.contextmanager
def _held(layout: Layout, environment: Environment) -> Iterator[None]:
    """No prune takes the environment while it is packed. Raises SharedenvError when one was faster."""
    try:
        descriptor = enter(layout, environment)
    except Vanished:
        raise SharedenvError(
            f"environment {environment.key[:SHORT]} was taken away while it was wanted",
            cause="a prune, or a build that replaced it, was faster",
            hint=_again(environment),
            exit_code=EXIT_BUILD,
        ) from None
    try:
        yield
    finally:
        os.close(descriptor)


def _again(environment: Environment) -> str:
    scripts = environment.manifest.scripts
    return shlex.join(["sharedenv", "build", *scripts[:1]]) if scripts else "sharedenv build SCRIPT…"


def archive_of(layout: Layout, environment: Environment, tell: Teller) -> Archive:
    """The archive of an environment, made if need be. Raises SharedenvError."""

    def waiting(holder: str, since: float) -> None:
        at = time.strftime("%H:%M:%S", time.localtime(since))
        tell.say(f"waiting for the archive of environment {environment.key[:SHORT]}: {holder} makes it since {at}")

    try:
        return make_archive(layout, environment, waiting)
    except OSError as error:
        raise SharedenvError(
            f"can't make the archive of environment {environment.key[:SHORT]}",
            cause=f"{error.strerror}: {error.filename}",
            hint=_way_to_archive(layout, error),
            exit_code=EXIT_FAILED,
        ) from None


def _way_to_archive(layout: Layout, error: OSError) -> str:
    if error.errno not in (errno.EROFS, errno.EACCES, errno.EPERM):
        return shlex.join(["df", "-h", "-i", layout.path])
    if is_shared(layout.path) and os.path.isdir(layout.archives) and not os.access(layout.archives, os.W_OK):
        # an older version has left it to its maker alone; their next build or stage opens it, too
        return f"ask {user_name(os.stat(layout.archives).st_uid)} to run: {shlex.join(['chmod', 'g+w', layout.archives])}"
    return _ELSEWHERE
