"""Environments that are looked up and never built: --no-build, tasks of an array, `which`."""

from __future__ import annotations

import os
import shlex
from collections.abc import Iterable, Mapping, Sequence
from itertools import islice

from sharedenv.errors import EXIT_BUILD, SharedenvError
from sharedenv.key.payload import Payload
from sharedenv.key.plan import Need, Plan
from sharedenv.key.project_lock import NAME
from sharedenv.pool.layout import Layout
from sharedenv.pool.store import Environment, Unusable, environments, inspect, look_up
from sharedenv.script.problems import shown
from sharedenv.start.access import SHORT
from sharedenv.start.environ import current_folder

PACKED = "it was not used for long; a build unpacks it, without a resolution or the network"
NAMED = 5  #: scripts in a hint: one of each of the first environments that are missing


def look_up_all(
    layout: Layout, plan: Plan, *, thorough: bool = False, strict: bool = False
) -> tuple[dict[str, Environment], dict[str, Unusable | None]]:
    """The environments of a plan that are there, and those that are missing (None) or must not be used, by key.

    ``thorough``: and every entry that was built is there and none else, which takes a walk through each; ``strict``: as look_up has it.
    """
    look = inspect if thorough else look_up
    ready: dict[str, Environment] = {}
    missing: dict[str, Unusable | None] = {}
    for key, need in plan.needs.items():
        found = look(layout, need.payload, strict=strict)
        if isinstance(found, Environment):
            ready[key] = found
        else:
            missing[key] = found
    return ready, missing


def missing_error(
    layout: Layout, needs: Mapping[str, Need], missing: Mapping[str, Unusable | None], options: Sequence[str]
) -> SharedenvError:
    """The error for environments that are not there and may not be built. ``options``: of the user, by which a build finds the same."""
    lines = []
    packed = {key for key, found in missing.items() if found is None and is_packed(layout, needs[key].payload)}
    there = [found.manifest.payload for found in environments(layout) if isinstance(found, Environment)]
    for key, unusable in missing.items():
        scripts = needs[key].scripts
        more = f" and {len(scripts) - 1:,} more" if len(scripts) > 1 else ""
        reason = unusable.reason if unusable else PACKED if key in packed else _nearest(needs[key].payload, there)
        why = f": {reason}".rstrip(": ")
        lines.append(f"{key[:SHORT]} for {shown(scripts[0], current_folder(os.environ))}{more}{why}")
    number = "an environment is" if len(missing) == 1 else f"{len(missing):,} environments are"
    return SharedenvError(
        f"{number} {'packed' if len(packed) == len(missing) else 'not built'} in the pool {layout.path}",
        cause="\n".join(lines),
        hint=build_command(needs, missing, options),
        exit_code=EXIT_BUILD,
    )


def is_packed(layout: Layout, payload: Payload) -> bool:
    """Whether the environment of a payload is there as an archive, which a build unpacks."""
    if not os.path.isdir(layout.packed):
        return False
    from sharedenv.pool.packed import find_packed  # noqa: PLC0415 - it loads what reads archives

    return bool(find_packed(layout, payload))


def build_command(needs: Mapping[str, Need], keys: Iterable[str], options: Sequence[str]) -> str:
    """What builds the environments of these keys: by a script of each, the first few."""
    some = [os.path.relpath(needs[key].scripts[0]) for key in islice(keys, NAMED)]
    return shlex.join(["sharedenv", "build", *options, *some])


def uncovered_error(layout: Layout, plan: Plan, python: str | None) -> SharedenvError | None:
    """The error for scripts that the project's sharedenv.lock does not cover; None where it covers all, or there is none."""
    needs = [need for need in plan.needs.values() if need.payload.unlocked]
    if not needs:
        return None
    here = current_folder(os.environ)
    lines = []
    for need in needs[:NAMED]:
        more = f" and {len(need.scripts) - 1:,} more" if len(need.scripts) > 1 else ""
        lines.append(f"{shown(need.scripts[0], here)}{more}: {need.payload.unlocked}")
    if len(needs) > NAMED:
        lines.append(f"… and {len(needs) - NAMED:,} more kinds of scripts")
    total = sum(len(need.scripts) for need in needs)
    some = [shown(need.scripts[0], here) for need in needs[:NAMED]]
    return SharedenvError(
        f"{total:,} {'script is' if total == 1 else 'scripts are'} not covered by {os.path.relpath(os.path.join(layout.root, NAME), here)}",
        cause="\n".join(lines),
        hint=shlex.join(["sharedenv", "lock", *(["--python", python] if python else []), *some]),
        exit_code=EXIT_BUILD,
    )


def _nearest(payload: Payload, there: list[Payload]) -> str:
    """What sets a missing environment apart from the nearest one that is there; "" when the pool is empty."""
    from sharedenv.key.difference import brief, nearest  # noqa: PLC0415 - most commands find what they need

    other = nearest(payload, there)
    return f"{brief(payload, other)} from {other.key[:SHORT]}, the nearest there" if other else ""
