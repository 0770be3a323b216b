"""Versions moved on purpose: which environments are concerned, and what has moved."""

from __future__ import annotations

import shlex
from collections.abc import Collection, Iterable, Iterator, Mapping
from dataclasses import replace

from sharedenv.errors import EXIT_USAGE, SharedenvError
from sharedenv.key.plan import Need, Plan
from sharedenv.key.versions import Versions, moved
from sharedenv.pool.held import known_versions
from sharedenv.pool.layout import Layout
from sharedenv.report.words import short_path
from sharedenv.start.access import SHORT


def versions_of(layout: Layout, needs: Iterable[Need]) -> dict[str, Versions]:
    """What the keys of these needs are held at, or hold; keys that were never built are left out."""
    found = {need.payload.key: known_versions(layout, need.payload) for need in needs}
    return {key: versions for key, versions in found.items() if versions is not None}


def split(plan: Plan, names: Collection[str], before: Mapping[str, Versions], here: str) -> tuple[Plan, Plan]:
    """The environments of a plan that have one of these packages or were never built, and the others. ``here``: the current folder.

    Raises SharedenvError when none has one of them.
    """
    for name in names:
        if before and not any(name in versions.names for versions in before.values()):
            raise SharedenvError(
                f"can't upgrade {name}: no environment of these scripts has it",
                cause="it takes the name of a package that is installed, in normal form",
                hint=shlex.join(["sharedenv", "show", short_path(plan.scripts[0][0], here)]),
                exit_code=EXIT_USAGE,
            )
    concerned = {key: need for key, need in plan.needs.items() if key not in before or before[key].names.keys() & set(names)}
    others = {key: need for key, need in plan.needs.items() if key not in concerned}
    return replace(plan, needs=concerned), replace(plan, needs=others)


def movements(before: Mapping[str, Versions], after: Mapping[str, Versions]) -> Iterator[tuple[str, tuple[str, ...]]]:
    """Key and what has moved in it, for each that was there before."""
    return ((key, moved(old, after[key])) for key, old in before.items() if key in after)


def movement_lines(key: str, lines: Collection[str]) -> str:
    """What has moved in one environment, for the user."""
    name = f"environment {key[:SHORT]}"
    return "\n  ".join([f"{name}: versions moved", *lines]) if lines else f"{name}: no version moved"
