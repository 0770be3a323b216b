"""Environments by the set of versions in them: what a run has begun with is what it goes on with.

A set is named by its digest, which each manifest notes (`Versions.digest`). It loads little: every run asks.
"""

from __future__ import annotations

import os
from collections.abc import Iterator

from sharedenv.pool.layout import Layout
from sharedenv.pool.store import Environment, examine, generations, published
from sharedenv.start import access
from sharedenv.start.access import VERSIONS
from sharedenv.start.regular import read_regular

_HEAD = 400  # bytes of held versions, in which their digest stands


def set_of(environment: Environment) -> str:
    """The digest of the versions in an environment. Raises OSError where an older sharedenv built it and a purge has been there."""
    noted = environment.manifest.notes.get(VERSIONS)
    if isinstance(noted, str):
        return noted
    from sharedenv.pool.held import versions_of  # noqa: PLC0415 - for what an older sharedenv has built

    return versions_of(environment.path, environment.manifest).digest


def find_set(layout: Layout, key: str, digest: str) -> Environment | None:
    """The environment of a key with this set of versions: the one that the key leads to, else the newest that has it; or None.

    None, too, where the key leads to nothing: then it is to be built, or to be taken up again, first.
    """
    for path in _newest_first(layout, key):
        found = examine(layout, path)
        if isinstance(found, Environment) and found.key == key and _has(found, digest):
            return found
    return None


def enter_set(layout: Layout, environment: Environment) -> int:
    """As store.enter, also of an older generation, where a run wants that one. Raises Vanished, OSError."""

    def look_again() -> str | None:
        leads_to = published(layout, environment.key)  # to nothing: prune is about to take it
        return environment.path if leads_to is not None and os.path.isdir(environment.path) else leads_to

    return access.enter(layout.path, environment.path, look_again)


def _has(environment: Environment, digest: str) -> bool:
    try:
        return set_of(environment) == digest
    except OSError:
        return False


def _newest_first(layout: Layout, key: str) -> Iterator[str]:
    first = published(layout, key)
    if first is None:
        return
    yield first
    for path in reversed(generations(layout, key)):
        if path != first:
            yield path


def set_text(layout: Layout, environment: Environment) -> bytes:
    """The set of an environment as TOML: as it is held, with the files of packages, else as the environment tells it."""
    minor = ".".join(environment.manifest.interpreter.version.split(".")[:2])
    try:
        held = read_regular(os.path.join(layout.versions, f"{environment.key}-{minor}.toml"))
    except OSError:
        held = b""
    if (digest := set_of(environment)) == digest_in(held):
        return held
    from sharedenv.pool.held import held_text, versions_of  # noqa: PLC0415 - most environments have what is held

    return held_text(layout, environment.key, digest) or versions_of(environment.path, environment.manifest).text.encode()


def digest_in(text: bytes) -> str:
    """The digest that held versions (TOML) name; "" where they name none."""
    _, _, rest = (b"\n" + text[:_HEAD]).partition(b'\ndigest = "')
    return rest.partition(b'"')[0].decode("ascii", "replace")
