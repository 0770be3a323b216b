"""What a run that goes on is computed with, and what it does not mix without being told to."""

from __future__ import annotations

import shlex
from collections.abc import Callable, Collection, Mapping
from dataclasses import replace

from sharedenv.app.project import Project
from sharedenv.app.work import Work
from sharedenv.build.exact import not_held
from sharedenv.errors import EXIT_USAGE, SharedenvError
from sharedenv.key.plan import Plan
from sharedenv.key.versions import Versions, moved
from sharedenv.pool.held import hold, known_versions
from sharedenv.pool.sets import set_of
from sharedenv.pool.store import Environment, look_up
from sharedenv.run.journal.run import Run
from sharedenv.run.sets import pinned, sets_of
from sharedenv.start.access import SHORT

Build = Callable[[Project, Plan], object]


def settled(work: Work, command: str, build: Build | None, *, upgrade: bool, queued: Collection[int] = ()) -> Work:
    """The same work with the set of each key that it goes on with. Raises SharedenvError (exit status 2) where results would mix.

    command  that goes on with the run: run or submit
    build    builds what was never built, since only that tells its versions; None where nothing may be built
    upgrade  the rest is to be computed with what is asked for now, whatever there is
    queued   sequences that are in Slurm's queue, and will be computed with what the run has
    """
    run = work.run
    if run is None:
        return work
    had = pinned(run.path)
    asked = _asked(work, had)
    unknown = {key: need for key, need in work.needed.needs.items() if key not in asked}
    if unknown and build is not None and (had or any(result.versions for result in work.found.values())):
        build(work.project, replace(work.plan, needs=unknown))
        asked |= _asked(work, had)
    if not upgrade:
        lines = _mixing(work, run, asked, had, queued)
        if lines:
            raise _refused(run, command, lines)
    work = replace(work, sets=asked)
    if build is not None:
        _take_over(work)
    return work


def _asked(work: Work, had: Mapping[str, str]) -> dict[str, str]:
    """Key → the set that it has in the pool, or would have if it was built; else the one that the run has.

    Left out is what only a build can tell.
    """
    found = {}
    for key, need in work.needed.needs.items():
        there = look_up(work.layout, need.payload)
        if isinstance(there, Environment):
            found[key] = set_of(there)
        elif not_held(need.payload) is None:
            known = known_versions(work.layout, need.payload)
            found[key] = known.digest if known else had.get(key, "")
    return {key: digest for key, digest in found.items() if digest}


def _mixing(work: Work, run: Run, asked: Mapping[str, str], had: Mapping[str, str], queued: Collection[int]) -> list[str]:
    """How the versions of what is to run differ from those of results that stay, a line each; none where nothing would mix."""
    again = {case.sequence for case in work.cases}
    stay: dict[str, set[str]] = {}
    seen: dict[str, set[str]] = {}
    if any(session.alive for session in work.known or ()):  # another share of it is at work: its results are to come
        stay = {group: {digest} for group, digest in had.items()}
    for sequence, group in work.groups.items():
        result = work.found.get(sequence)
        if result is not None and result.versions and not result.interrupted:
            seen.setdefault(group, set()).add(result.versions)
            if sequence not in again:
                stay.setdefault(group, set()).add(result.versions)
        if sequence in queued and group in had:
            stay.setdefault(group, set()).add(had[group])
    lines: dict[str, None] = {}
    for group, key in dict.fromkeys((work.groups.get(case.sequence, case.key), case.key) for case in work.cases):
        digest = asked.get(key)
        known = seen.get(group, set()) | ({had[key]} if group == key and key in had else set())
        if digest and digest not in known and stay.get(group):
            lines |= dict.fromkeys(_difference(work, run, max(stay[group]), key, digest))
    return list(lines)


def _difference(work: Work, run: Run, old: str, key: str, new: str) -> list[str]:
    before = sets_of(run.path).get(old)
    after = known_versions(work.layout, work.plan.needs[key].payload)
    if before is None or after is None or after.digest != new:
        return [f"versions {old[:SHORT]} → {new[:SHORT]}"]
    return list(moved(before, after)) or [f"versions {old[:SHORT]} → {new[:SHORT]}"]


def _refused(run: Run, command: str, lines: list[str]) -> SharedenvError:
    again = shlex.join(["sharedenv", command, "--resume", "--upgrade", "--run-id", run.id])
    anew = shlex.join(["sharedenv", *run.asked.command[1:]])
    return SharedenvError(
        f"run {run.id} has results that were computed with other versions than what is left of it would be",
        cause="\n".join(lines),
        hint=f"{again} computes the rest with the new ones; or all of it in a new run: {anew}",
        exit_code=EXIT_USAGE,
    )


def _take_over(work: Work) -> None:
    """Sees to it that what is to be built for a run is what it has, where the pool holds nothing (any more). Raises SharedenvError."""
    if work.run is None or not work.sets:
        return
    kept: Mapping[str, Versions] | None = None
    for key, digest in work.sets.items():
        payload = work.plan.needs[key].payload
        if not_held(payload) is None and known_versions(work.layout, payload) is None:
            kept = sets_of(work.run.path) if kept is None else kept
            if digest in kept:
                hold(work.layout, key, kept[digest])
