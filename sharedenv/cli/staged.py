"""Environments on a node's own disk, for tasks of an array."""

from __future__ import annotations

import os

from sharedenv.errors import SharedenvError
from sharedenv.pool.layout import Layout
from sharedenv.report.console import Console


def staged(layout: Layout, console: Console, pooled: str) -> str:
    """Path of the copy on this node, made if need be; the pool's own when there can be none, which is said."""
    from sharedenv.copies.archive import make_archive  # noqa: PLC0415 - other tasks do without tar and locks
    from sharedenv.copies.stage import stage, stage_folder  # noqa: PLC0415 - as above
    from sharedenv.pool.manifest import ManifestError, read_manifest  # noqa: PLC0415 - as above
    from sharedenv.pool.store import Environment  # noqa: PLC0415 - as above

    try:
        environment = Environment(pooled, read_manifest(pooled))
        done = stage(environment, stage_folder(None, os.environ), lambda: make_archive(layout, environment, lambda *_: None))
    except (SharedenvError, ManifestError, OSError) as error:
        cause = f"{error.message}: {error.cause}" if isinstance(error, SharedenvError) else str(error)
        console.warn(f"running from the pool, as {cause}")
        return pooled
    if done.seconds is not None:
        console.say(f"staged environment {done.environment.name} to {os.path.dirname(done.path)} in {done.seconds:.1f} s")
    return done.path
