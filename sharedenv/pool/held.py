"""The versions that keys install, on disk: `versions/<key>-<minor>.toml`. Made once, complete; replaced only on purpose."""

from __future__ import annotations

import os
import shlex
from collections.abc import Mapping
from functools import partial

from sharedenv.errors import EXIT_BUILD, SharedenvError
from sharedenv.payload import Payload
from sharedenv.pool.create import mark_holding
from sharedenv.pool.layout import Layout
from sharedenv.pool.manifest import Manifest, ManifestError, read_manifest
from sharedenv.pool.pins import distributions
from sharedenv.pool.private import make_folders, private, readable_as
from sharedenv.pool.store import generations, sync_folder
from sharedenv.start.access import SHORT, again
from sharedenv.versions import Pin, UnknownSchema, Versions, VersionsError, differences, parse_versions


def read_held(layout: Layout, key: str, script: str = "SCRIPT") -> Versions | None:
    """What a key installs; None while nothing is held. Raises SharedenvError (exit status 3); ``script`` stands in its hint.

    Of two Pythons, which only builders on two machines whose locks fail can have chosen, the one that was chosen first counts.
    """
    found = []
    for path in _paths(layout, key):
        try:
            with open(again(partial(os.open, path, os.O_RDONLY | os.O_NOFOLLOW | os.O_CLOEXEC)), encoding="utf-8") as file:
                found.append(parse_versions(file.read()))
        except FileNotFoundError:
            continue  # it was moved at this moment
        except (OSError, VersionsError) as error:
            cause = error.strerror or str(error) if isinstance(error, OSError) else str(error)
            # who writes a newer schema holds them well: an upgrade of the packages would throw them away
            upgrade = "pip install --upgrade sharedenv" if isinstance(error, UnknownSchema) else None
            raise SharedenvError(
                f"can't read the versions that environment {key[:SHORT]} is held at",
                cause=f"{path}: {cause}",
                hint=upgrade or f"sharedenv build --upgrade {shlex.quote(script)}",
                exit_code=EXIT_BUILD,
            ) from None
    return min(found, key=lambda versions: (versions.since, versions.python), default=None)


def known_versions(layout: Layout, payload: Payload, script: str = "SCRIPT", *, exact: bool = False) -> Versions | None:
    """What a key is held at, or what its newest environment holds; None when it was never built.

    ``exact``: it is what will be installed. So held versions that can't be read are an error, as read_held has it, and count as
    none without; and an environment with a package that is used in its folder, which can't be held, counts as none.
    """
    try:
        held = read_held(layout, payload.key, script)
    except SharedenvError:
        if exact:
            raise
        held = None
    return held or _taken_over(layout, payload, exact)


def hold(layout: Layout, key: str, versions: Versions) -> Versions:
    """Holds these versions unless some are held: those that are. Raises OSError, and SharedenvError as read_held does."""
    if (held := read_held(layout, key)) is not None:
        return held
    mark_holding(layout)
    temporary = _write(layout, versions)
    path = _path(layout, key, versions)
    try:
        os.link(temporary, path)
    except OSError:  # somebody was faster; or there are no hard links here, where the rename of one comes last
        if not os.path.lexists(path):
            os.rename(temporary, path)
    finally:
        if os.path.lexists(temporary):
            os.unlink(temporary)
    sync_folder(layout.versions)
    return read_held(layout, key) or versions


def replace_held(layout: Layout, key: str, versions: Versions) -> None:
    """Holds these versions from now on, whatever was held before. Raises OSError."""
    mark_holding(layout)
    path = _path(layout, key, versions)
    os.replace(_write(layout, versions), path)
    for other in _paths(layout, key):
        if other != path:
            os.unlink(other)
    sync_folder(layout.versions)


def forget_unused(layout: Layout) -> None:
    """Lets go of the versions of all keys that have no environment. What can't be removed stays."""
    for name in _names(layout):
        if not generations(layout, name[:SHORT]):
            try:
                os.unlink(os.path.join(layout.versions, name))
            except OSError:
                pass


def _taken_over(layout: Layout, payload: Payload, exact: bool) -> Versions | None:
    """What the newest environment that was built for a payload holds, by its manifest and its dist-infos: of one that an older
    sharedenv built, no more is known.
    """
    for path in reversed(generations(layout, payload.key)):
        try:
            manifest = read_manifest(path)
        except ManifestError:
            continue
        if manifest.payload.text != payload.text:
            continue
        try:
            found = {distribution.pin.name: distribution for distribution in distributions(path)}
        except (OSError, ValueError):  # a purge has been there
            found = {}
        if exact and any(distribution.linked for distribution in found.values()):
            return None
        named = [Pin(package.name, package.version) for package in manifest.packages]
        pins = tuple(found[pin.name].pin if pin.name in found and found[pin.name].pin.version == pin.version else pin for pin in named)
        return Versions(minor(manifest.interpreter.version), utc(os.stat(path).st_mtime), pins)
    return None


def fits(versions: Versions | None, manifest: Manifest) -> bool:
    """Whether an environment holds what is held."""
    if versions is None:
        return True
    return not differences(versions, packages(manifest)) and versions.python == minor(manifest.interpreter.version)


def packages(manifest: Manifest) -> Mapping[str, str]:
    """Package → version, of an environment."""
    return {package.name: package.version for package in manifest.packages}


def minor(version: str) -> str:
    """3.11 of 3.11.7."""
    return ".".join(version.split(".")[:2])


def utc(seconds: float) -> str:
    """Seconds since the epoch in UTC, ISO 8601."""
    import time  # noqa: PLC0415 - for what is written alone

    return time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime(seconds))


def _path(layout: Layout, key: str, versions: Versions) -> str:
    return os.path.join(layout.versions, f"{key}-{versions.python}.toml")


def _paths(layout: Layout, key: str) -> list[str]:
    return [os.path.join(layout.versions, name) for name in _names(layout) if name.startswith(key + "-")]


def _names(layout: Layout) -> list[str]:
    try:
        return sorted(name for name in os.listdir(layout.versions) if name.endswith(".toml"))
    except FileNotFoundError:
        return []


def _write(layout: Layout, versions: Versions) -> str:
    """A complete temporary file of the pool's."""
    make_folders(layout.versions)
    temporary = os.path.join(layout.tmp, f"versions-{os.urandom(8).hex()}")
    with open(temporary, "x", encoding="utf-8", opener=private) as file:
        file.write(versions.text)
        file.flush()
        os.fsync(file.fileno())
    readable_as(temporary, layout.versions)
    return temporary
