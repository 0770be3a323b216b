"""Scripts that outlived their run: its process was killed, theirs were not. Linux only: looks into /proc."""

from __future__ import annotations

import os
import time
from collections.abc import Iterable, Mapping

from sharedenv.errors import EXIT_USAGE, SharedenvError
from sharedenv.pool.owner import is_here
from sharedenv.run.case import Case, Result
from sharedenv.run.groups import Groups
from sharedenv.run.journal.sessions import SessionState
from sharedenv.run.place import NUMBER
from sharedenv.run.variables import RUN

NAMED = 3  #: scripts named
_SKEW = 30.0  # seconds by which the journal's time of a start may differ from the kernel's: clocks are set, machines sleep


def leftover(run_id: str, sessions: Iterable[SessionState], cases: Iterable[Case]) -> list[tuple[int, Case]]:
    """Those of these cases of a run that run on this machine, left by a session that was killed: process group and case of each.

    A group is known by the number that the journal has, and by when its leader was started, or, where that has ended, its others. Who was
    killed before he had put the number down has left a process that is known by its variables and words (with --preload, by nothing).
    """
    wanted = {case.sequence: case for case in cases}
    sessions = list(sessions)
    dead = [session for session in sessions if not session.alive and session.owner is not None and is_here(session.owner)]
    candidates = [
        (group, session.running[sequence], wanted[sequence])
        for session in dead
        for sequence, group in session.groups.items()
        if sequence in wanted
    ]
    members = _groups() if candidates else {}
    found = [(group, case) for group, since, case in candidates if _is_of(members.get(group, {}), group, since)]
    known = {case.sequence for _, case in found} | {sequence for session in sessions if session.alive for sequence in session.running}
    unnoted = {sequence: case for sequence, case in wanted.items() if sequence not in known}
    if unnoted and any(not session.ended for session in dead):
        found += _by_variables(run_id, unnoted)
    return found


def _by_variables(run_id: str, wanted: Mapping[int, Case]) -> list[tuple[int, Case]]:
    """Process group and case of each process of ours that has the variables of one of these cases, and its script among its words."""
    found: dict[int, Case] = {}
    for name in filter(str.isdigit, os.listdir("/proc") if os.path.isdir("/proc") else ()):
        try:
            with open(f"/proc/{name}/environ", "rb") as file:
                variables = dict(word.partition(b"=")[::2] for word in file.read().split(b"\0"))
            number = variables.get(NUMBER.encode(), b"")
            if variables.get(RUN.encode()) != os.fsencode(run_id) or not number.isdigit() or (case := wanted.get(int(number))) is None:
                continue
            with open(f"/proc/{name}/cmdline", "rb") as file:
                if os.fsencode(case.script) in file.read().split(b"\0"):
                    found[os.getpgid(int(name))] = case
        except OSError:
            continue  # it has ended meanwhile, or is another user's
    return list(found.items())


def _groups() -> dict[int, dict[int, float]]:
    """The processes of each process group and when they were started (seconds since the epoch). What has ended, reaped or not, is none."""
    found: dict[int, dict[int, float]] = {}
    try:
        with open("/proc/uptime") as file:
            booted = time.time() - float(file.read().split()[0])
    except OSError:  # no /proc (macOS)
        return found
    tick = os.sysconf("SC_CLK_TCK")
    for name in filter(str.isdigit, os.listdir("/proc")):
        try:
            with open(f"/proc/{name}/stat", "rb") as file:
                fields = file.read().rpartition(b")")[2].split()
        except OSError:
            continue  # it has ended meanwhile
        if fields[0] not in (b"Z", b"X"):
            found.setdefault(int(fields[2]), {})[int(name)] = booted + int(fields[19]) / tick
    return found


def _is_of(members: Mapping[int, float], group: int, since: float) -> bool:
    """Whether these members of a process group are of the one that a case began at this time, not of a later one of that number."""
    if group in members:
        return abs(members[group] - since) < _SKEW
    return any(start > since - _SKEW for start in members.values())


def without_result(cases: Iterable[Case], results: Mapping[int, Result]) -> list[Case]:
    """Those that were not run to their end."""
    return [case for case in cases if (result := results.get(case.sequence)) is None or result.interrupted]


def named(found: Iterable[tuple[int, Case]]) -> str:
    """Their scripts, in a few words."""
    scripts = list(dict.fromkeys(case.script for _, case in found))
    return ", ".join(map(os.path.relpath, scripts[:NAMED])) + (f" and {len(scripts) - NAMED:,} more" if len(scripts) > NAMED else "")


def refuse_leftover(run_id: str, sessions: Iterable[SessionState], cases: Iterable[Case]) -> None:
    """Raises SharedenvError when one of these cases is left over: a second process in its folder would mix with it."""
    if found := leftover(run_id, sessions, cases):
        raise SharedenvError(
            f"scripts of run {run_id} are still running: {named(found)}",
            cause="the process that had started them was killed, they were not",
            hint=f"sharedenv cancel {run_id}, or wait for them",
            exit_code=EXIT_USAGE,
        )


def end_leftover(found: Iterable[tuple[int, Case]], grace: float) -> None:
    """Ends them as a run ends its scripts: TERM to their process groups, a grace (seconds), KILL."""
    groups = Groups(grace)
    for group in {group for group, _ in found}:
        groups.end(group, time.monotonic())
    while groups.busy:
        time.sleep(groups.next_look(time.monotonic()))
        groups.watch(time.monotonic(), set())
