"""The versions that keys install, on disk: `versions/<key>-<minor>.toml`. Made once, complete; replaced only on purpose."""

from __future__ import annotations

import contextlib
import os
import shlex
from collections.abc import Iterator, Mapping
from dataclasses import replace
from functools import partial
from time import time
from typing import TYPE_CHECKING

from sharedenv.errors import EXIT_BUILD, SharedenvError
from sharedenv.key.payload import Payload, payload_from
from sharedenv.key.project_lock import NAME
from sharedenv.key.versions import Pin, UnknownSchema, Versions, differences, parse_versions
from sharedenv.pool.create import mark_holding
from sharedenv.pool.files import make_folders, private, readable_as, sync_descriptor, sync_folder
from sharedenv.pool.layout import Layout
from sharedenv.pool.manifest import Manifest, ManifestError, read_manifest
from sharedenv.pool.store import discard, generations, published
from sharedenv.start.access import SHORT, VERSIONS, again
from sharedenv.start.regular import read_regular

if TYPE_CHECKING:
    from sharedenv.pool.dist_info import Distribution

_HELD, _ANNOUNCED = ".toml", ".next"  # endings: what is held, and what an upgrade is about to hold


def read_held(layout: Layout, key: str, script: str = "SCRIPT") -> Versions | None:
    """What a key installs; None while nothing is held. Raises SharedenvError (exit status 3); ``script`` stands in its hint.

    Of two Pythons, which only builders on two machines whose locks fail can have chosen, the one that was chosen first counts.
    """
    found = []
    for path in _announced(layout, key) or _paths(layout, key):
        try:
            found.append(parse_versions(again(partial(read_regular, path)).decode()))
        except FileNotFoundError:
            continue  # it was moved at this moment
        except (OSError, ValueError) as error:
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


def held_as_locked(layout: Layout, payload: Payload, locked: Versions) -> Versions:
    """What sharedenv.lock says that a payload installs; as the pool holds it, for it or for the same without a lock, where it does:
    more is known there of where it is had from.
    """
    without = payload_from({name: value for name, value in payload.document.items() if name != NAME})
    for key in (payload.key, without.key):
        try:
            held = read_held(layout, key)
        except SharedenvError:  # what counts is the lock
            continue
        if held is not None and held.digest == locked.digest and _has_bytes_of(held, locked):
            return held
    return replace(locked, since=utc(time()))


def _has_bytes_of(held: Versions, locked: Versions) -> bool:
    admitted = {pin.name: {file.sha256 for file in pin.files} for pin in locked.pins}
    return all({file.sha256 for file in pin.files} <= admitted[pin.name] for pin in held.pins if admitted[pin.name])


def hold(layout: Layout, key: str, versions: Versions) -> Versions:
    """Holds these versions unless some are held: those that are. Raises OSError, and SharedenvError as read_held does."""
    if (held := read_held(layout, key)) is not None:
        if announced := _announced(layout, key):  # by an upgrade that was killed when it had published
            _settle(layout, key, announced[0], _path(layout, key, held))
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
    _discard_folders(layout, key)
    os.replace(_write(layout, versions), path)
    for other in _paths(layout, key):
        if other != path:
            os.unlink(other)
    sync_folder(layout.versions)


@contextlib.contextmanager
def moving(layout: Layout, key: str, versions: Versions) -> Iterator[None]:
    """Holds these versions from now on, if the body publishes an environment with them. Raises OSError.

    Killed at any instant, both have moved or neither has: they are announced before, and count as held from the moment at which
    the key leads to an environment that has them.
    """
    mark_holding(layout)
    path = _path(layout, key, versions)
    announced = f"{path.removesuffix(_HELD)}-{versions.digest[:SHORT]}{_ANNOUNCED}"
    os.replace(_write(layout, versions), announced)
    sync_folder(layout.versions)
    try:
        yield
    except BaseException:
        with contextlib.suppress(OSError):
            os.unlink(announced)
        raise
    _settle(layout, key, announced, path)


def _settle(layout: Layout, key: str, announced: str, path: str) -> None:
    _discard_folders(layout, key)
    os.replace(announced, path)
    for other in [*_paths(layout, key), *_paths(layout, key, _ANNOUNCED)]:
        if other != path:
            os.unlink(other)
    sync_folder(layout.versions)


def _discard_folders(layout: Layout, key: str) -> None:
    for path in _paths(layout, key):
        if os.path.isdir(path) and not os.path.islink(path):
            discard(layout, path)  # a slip of the pen, or a copy of the pool


def _announced(layout: Layout, key: str) -> list[str]:
    """The versions that an upgrade had announced when it was killed, where it had published them: they are what is held."""
    paths = _paths(layout, key, _ANNOUNCED)
    environment = published(layout, key) if paths else None
    if environment is None:
        return []
    try:
        noted = str(read_manifest(environment).notes.get(VERSIONS, ""))
    except ManifestError:
        return []
    return [path for path in paths if path.endswith(f"-{noted[:SHORT]}{_ANNOUNCED}")]


def forget_unused(layout: Layout) -> None:
    """Lets go of the versions of all keys that have no environment, nor one that is packed. What can't be removed stays."""
    packed = {name[:SHORT] for name in os.listdir(layout.packed)} if os.path.isdir(layout.packed) else set()
    for name in [*_names(layout), *_names(layout, _ANNOUNCED)]:
        if name[:SHORT] not in packed and not generations(layout, name[:SHORT]):
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
        if exact and linked_packages(path):
            return None
        return versions_of(path, manifest)
    return None


def versions_of(environment: str, manifest: Manifest) -> Versions:
    """What an environment (its path) holds, by its manifest and its dist-infos, without the files of packages. Raises OSError."""
    found = {distribution.pin.name: distribution for distribution in _distributions(environment)}
    named = [Pin(package.name, package.version) for package in manifest.packages]
    pins = tuple(found[pin.name].pin if pin.name in found and found[pin.name].pin.version == pin.version else pin for pin in named)
    return Versions(minor(manifest.interpreter.version), utc(os.stat(environment).st_mtime), pins)


def folder_packages(environment: str) -> list[str]:
    """Names of the packages that came from a folder of this machine: no version holds what is in there."""
    return [distribution.pin.name for distribution in _distributions(environment) if distribution.pin.folder]


def linked_packages(environment: str) -> list[str]:
    """Names of the packages that are used where they lie (editable)."""
    return [distribution.pin.name for distribution in _distributions(environment) if distribution.linked]


def _distributions(environment: str) -> list[Distribution]:
    from sharedenv.pool.dist_info import distributions  # noqa: PLC0415 - of what was built before versions were held, or is damaged

    try:
        return distributions(environment)
    except (OSError, ValueError, KeyError):  # a purge has been there
        return []


def held_text(layout: Layout, key: str, digest: str) -> bytes | None:
    """What a key is held at as TOML, where it is the set of this digest."""
    try:
        held = read_held(layout, key)
    except SharedenvError:
        return None
    return held.text.encode() if held is not None and held.digest == digest else None


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
    return os.path.join(layout.versions, f"{key}-{versions.python}{_HELD}")


def _paths(layout: Layout, key: str, ending: str = _HELD) -> list[str]:
    return [os.path.join(layout.versions, name) for name in _names(layout, ending) if name.startswith(key + "-")]


def _names(layout: Layout, ending: str = _HELD) -> list[str]:
    try:
        return sorted(name for name in os.listdir(layout.versions) if name.endswith(ending))
    except FileNotFoundError:
        return []


def _write(layout: Layout, versions: Versions) -> str:
    """A complete temporary file of the pool's."""
    make_folders(layout.versions)
    temporary = os.path.join(layout.tmp, f"versions-{os.urandom(8).hex()}")
    try:
        with open(temporary, "x", encoding="utf-8", opener=private) as file:
            file.write(versions.text)
            file.flush()
            sync_descriptor(file.fileno())
        readable_as(temporary, layout.versions)
    except OSError:
        with contextlib.suppress(OSError):
            os.unlink(temporary)
        raise
    return temporary
