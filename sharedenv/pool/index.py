"""fingerprint → environment: what the full way has found, noted so that the next start of the same bytes is a look-up."""

from __future__ import annotations

import os
from collections.abc import Mapping

from sharedenv.block import BlockError, find_block
from sharedenv.fingerprint import fingerprint, surroundings
from sharedenv.pool.layout import Layout
from sharedenv.pool.store import SHORT, Environment, replace_link


def remember(layout: Layout, environ: Mapping[str, str], found: Mapping[str, Environment], python: str | None = None) -> None:
    """Links the fingerprints of these scripts (absolute path → its environment) in the index.

    ``python`` is the --python option. Never fails: a pool may be read-only, and without the link the full way is taken.
    """
    around = surroundings(layout.root, environ, python)
    if around is None:
        return
    for path, environment in found.items():
        try:
            with open(path, "rb") as file:
                block = find_block(file.read())
            name = None if block is None else fingerprint(around, block.content, path)
            if name is not None:
                _link(layout, name, f"../envs/{environment.name}")
        except (OSError, BlockError):
            continue


def forget(layout: Layout, key: str) -> None:
    """Takes the older generations of a key out of the index: the next look-up goes the full way and finds the new one."""
    try:
        with os.scandir(layout.index) as entries:
            for entry in entries:
                if os.path.basename(os.readlink(entry.path)).startswith(key[:SHORT]):
                    os.unlink(entry.path)
    except OSError:
        pass


def _link(layout: Layout, name: str, target: str) -> None:
    link = os.path.join(layout.index, name)
    try:
        if os.readlink(link) == target:
            return
    except OSError:
        pass
    replace_link(layout, link, target)
