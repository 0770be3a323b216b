"""A damaged environment built anew, as a new generation: from the scripts it was built for, else from its manifest alone."""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import replace

from sharedenv.build.builder import Builder, BuildObserver
from sharedenv.build.options import BuildOptions
from sharedenv.care.survey import Surveyed
from sharedenv.errors import EXIT_BUILD, SharedenvError
from sharedenv.key.make import maker
from sharedenv.key.plan import Need, make_plan
from sharedenv.key.settings import Settings, gather_settings
from sharedenv.pool.layout import Layout
from sharedenv.pool.manifest import Manifest
from sharedenv.pool.store import Environment
from sharedenv.start.access import SHORT


def repair(
    layout: Layout, item: Surveyed, options: BuildOptions, environ: Mapping[str, str], observer: BuildObserver
) -> Environment:
    """The new generation in place of a damaged environment that its key leads to. Raises SharedenvError (exit status 3)
    when it can't be built from what is known.
    """
    if item.manifest is None or item.manifest.payload.key != item.key:
        fault = "gone or damaged" if item.manifest is None else "another environment's"
        raise SharedenvError(
            f"environment {item.name} can't be built anew from its manifest",
            cause=f"its manifest is {fault}, so only the scripts that need it say what to build",
            hint="sharedenv build 'case*/script.py'",
            exit_code=EXIT_BUILD,
        )
    need, settings = _need(layout, item.manifest, environ)
    return Builder(layout, settings, replace(options, rebuild=True), environ, observer).build(need)


def _need(layout: Layout, manifest: Manifest, environ: Mapping[str, str]) -> tuple[Need, Settings]:
    payload = manifest.payload
    settings = gather_settings(layout.root, environ, payload.document["python"])
    paths = [os.path.join(layout.root, script) for script in manifest.scripts]
    for path in filter(os.path.isfile, paths):
        # a script knows what no manifest holds: the lock file's bytes, credentials
        try:
            if found := make_plan([path], maker(settings)).needs.get(payload.key):
                return found, settings
        except SharedenvError:
            continue
    if payload.document["lock"] is not None:
        raise SharedenvError(
            f"environment {payload.key[:SHORT]} was built from a lock file that is not at hand",
            cause="of the scripts it was built for, none is where it was with the same lock file",
            hint="sharedenv build --rebuild 'case*/script.py'",
            exit_code=EXIT_BUILD,
        )
    return Need(payload, tuple(paths) or (layout.path,)), settings
