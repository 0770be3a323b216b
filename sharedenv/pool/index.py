"""fingerprint → environment: what the full way has found, noted so that the next start of the same bytes is a look-up.

It is looked up in two places: by entry.py, and here for the commands that take many scripts. Neither parses a requirement.
"""

from __future__ import annotations

import contextlib
import os
import shlex
from collections.abc import Callable, Iterable, Mapping
from dataclasses import replace

from sharedenv.errors import EXIT_BUILD, SharedenvError
from sharedenv.key.payload import Aside, Maker, Payload
from sharedenv.key.plan import make_plan, read_file
from sharedenv.pool.files import make_folders
from sharedenv.pool.layout import Layout
from sharedenv.pool.manifest import ManifestError, read_manifest
from sharedenv.pool.store import Environment, replace_link
from sharedenv.script.metadata import Metadata
from sharedenv.start.access import SHORT, again, indexed
from sharedenv.start.block import BlockError, find_block
from sharedenv.start.fingerprint import fingerprint, fingerprint_with, may_be_bound, surroundings


def known(layout: Layout, environ: Mapping[str, str], python: str | None, full: Callable[[], Maker]) -> Maker:
    """Payloads for `make_plan`: those that the index knows are read from their environments' manifests, others made in full.

    ``python`` is the --python option. ``full`` gives the full way once it is needed.
    """
    around = surroundings(layout.root, environ, python)
    manifests: dict[str, Payload | None] = {}

    def make(metadata: Metadata, path: str, lock: bytes | None) -> Payload:
        block = metadata.block.content
        # whether a block is bound to its folder only the full way knows: one that is not is made once for all folders
        found = None if around is None or may_be_bound(block, lock or b"") else look_up(fingerprint_with(around, block, path, lock))
        if found is None:
            return full()(metadata, path, lock)
        return replace(found, late=lambda: _aside(found, full()(metadata, path, lock), path))

    def look_up(name: str) -> Payload | None:
        environment = indexed(layout.path, name)
        if environment is None:
            return None
        if environment not in manifests:
            manifests[environment] = _payload(environment)
        return manifests[environment]

    return make


def _aside(known: Payload, made: Payload, path: str) -> Aside:
    """What goes with a payload that was looked up, now that the full way has made it, too."""
    if made.key != known.key:
        raise SharedenvError(
            f"what {os.path.relpath(path)} needs is not what the index of the pool says: {made.key[:SHORT]}, not {known.key[:SHORT]}",
            cause="a configuration was changed while it was read, or the index was; a build looks at the scripts alone",
            hint=shlex.join(["sharedenv", "build", os.path.relpath(path)]),
            exit_code=EXIT_BUILD,
        )
    return made.aside


def _payload(environment: str) -> Payload | None:
    try:
        payload = read_manifest(environment).payload
    except (ManifestError, OSError):
        return None
    return payload if os.path.basename(environment).startswith(payload.key[:SHORT]) else None


def remember(layout: Layout, environ: Mapping[str, str], found: Mapping[str, Environment], python: str | None) -> None:
    """Links the fingerprints of these scripts (absolute path → its environment) in the index.

    ``python`` is the request that --python or SHAREDENV_PYTHON made. Never fails: a pool may be read-only, and without the
    link the full way is taken. A build takes minutes, in which a script, a lock or a configuration can change: what is linked
    is looked at again.
    """
    before = surroundings(layout.root, environ, python)
    if before is None:
        return
    names: dict[str, str] = {}  # fingerprint → a script that has it
    for path, environment in found.items():
        name = _name(before, path)
        if name is not None and _linked(layout, name) != _target(environment):
            names.setdefault(name, path)
    keys = _keys(layout, environ, names.values(), python) if names else {}
    after = surroundings(layout.root, environ, python) if keys else None
    if after is not None:
        with contextlib.suppress(OSError):
            make_folders(layout.index)  # what purges a disk of old files takes folders that are empty, too
    for name, path in names.items():
        # what sharedenv.lock covers otherwise or not at all was had past it, and is to be had so again or not at all; and the key of a
        # script whose fingerprint is the same before and after is that of these bytes
        if after is not None and keys.get(path) == found[path].key and _name(after, path) == name:
            with contextlib.suppress(OSError):
                replace_link(layout, os.path.join(layout.index, name), _target(found[path]))


def forget(layout: Layout, key: str) -> None:
    """Takes the older generations of a key out of the index: the next look-up goes the full way and finds the new one."""
    try:
        names = os.listdir(layout.index)
    except OSError:
        return
    for name in names:
        if os.path.basename(_linked(layout, name) or "").startswith(key[:SHORT]):
            with contextlib.suppress(OSError):
                os.unlink(os.path.join(layout.index, name))


def _target(environment: Environment) -> str:
    return f"../envs/{environment.name}"


def _name(around: bytes, path: str) -> str | None:
    """The fingerprint of a script; None for one that can't be read, or is none."""
    try:
        block = find_block(read_file(path))
        return None if block is None else fingerprint(around, block.content, path, linked=os.path.islink(path))
    except (OSError, BlockError):
        return None


def _keys(layout: Layout, environ: Mapping[str, str], paths: Iterable[str], python: str | None) -> dict[str, str]:
    """Script → key, of those that can be used and that sharedenv.lock covers; the settings are read once for all."""
    from sharedenv.key.make import maker  # noqa: PLC0415 - to look something up, nothing is parsed
    from sharedenv.key.settings import gather_settings  # noqa: PLC0415 - as above

    try:
        plan = make_plan(paths, maker(gather_settings(layout.root, environ, python)), skip_bad=True)
    except (OSError, SharedenvError):
        return {}
    return {path: key for path, key in plan.scripts if not plan.needs[key].payload.unlocked}


def _linked(layout: Layout, name: str) -> str | None:
    try:
        return again(lambda: os.readlink(os.path.join(layout.index, name)))
    except OSError:
        return None
