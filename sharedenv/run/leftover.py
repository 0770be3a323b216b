"""Scripts that outlived their run: its process was killed, theirs were not. Linux only: looks into /proc."""

from __future__ import annotations

import os
import time
from collections.abc import Iterable, Mapping

from sharedenv.errors import EXIT_USAGE, SharedenvError
from sharedenv.pool.owner import is_here
from sharedenv.run.case import Case, Result
from sharedenv.run.groups import Groups
from sharedenv.run.journal import SessionState
from sharedenv.run.orders import GRACE
from sharedenv.run.starter import FORK_SERVER

NAMED = 3  #: scripts named


def leftover(sessions: Iterable[SessionState], cases: Iterable[Case]) -> list[tuple[int, Case]]:
    """Those of these cases that run on this machine, left by a session that was killed: process group and case of each process."""
    lost = [session for session in sessions if not session.ended and not session.alive]
    return processes_of(cases) if any(session.owner is not None and is_here(session.owner) for session in lost) else []


def without_result(cases: Iterable[Case], results: Mapping[int, Result]) -> list[Case]:
    """Those that were not run to their end."""
    return [case for case in cases if (result := results.get(case.sequence)) is None or result.interrupted]


def named(found: Iterable[tuple[int, Case]]) -> str:
    """Their scripts, in a few words."""
    scripts = list(dict.fromkeys(case.script for _, case in found))
    return ", ".join(map(os.path.relpath, scripts[:NAMED])) + (f" and {len(scripts) - NAMED:,} more" if len(scripts) > NAMED else "")


def refuse_leftover(run_id: str, sessions: Iterable[SessionState], cases: Iterable[Case]) -> None:
    """Raises SharedenvError when one of these cases is left over: a second process in its folder would mix with it."""
    if found := leftover(sessions, cases):
        raise SharedenvError(
            f"scripts of run {run_id} are still running: {named(found)}",
            cause="the process that had started them was killed, they were not",
            hint=f"sharedenv cancel {run_id}, or wait for them",
            exit_code=EXIT_USAGE,
        )


def end_leftover(found: Iterable[tuple[int, Case]]) -> None:
    """Ends them as a run ends its scripts: TERM to their process groups, a grace, KILL."""
    groups = Groups(GRACE)
    for group in {group for group, _ in found}:
        groups.end(group, time.monotonic())
    while groups.busy:
        time.sleep(groups.next_look(time.monotonic()))
        groups.watch(time.monotonic(), set())


def processes_of(cases: Iterable[Case]) -> list[tuple[int, Case]]:
    """The process group of each process that was started as one of these cases, with the case."""
    cases = list(cases)
    wanted = {tuple(map(os.fsencode, (case.script, *case.arguments))): case for case in cases}
    folders = {os.fsencode(os.path.realpath(case.folder)): case for case in cases}
    found = []
    for name in os.listdir("/proc") if os.path.isdir("/proc/self") else ():
        if name.isdigit():
            try:
                with open(f"/proc/{name}/cmdline", "rb") as file:
                    words = file.read().split(b"\0")  # PYTHON SCRIPT ARGUMENT… and an empty one
                case = wanted.get(tuple(words[1:-1]))
                if case is None and words[1:3] == [b"-m", FORK_SERVER.encode()]:
                    # the fork of a server, which shows the server's command line: where it is says which case it is
                    case = folders.get(os.readlink(f"/proc/{name}/cwd".encode()))
                if case:
                    found.append((os.getpgid(int(name)), case))
            except OSError:
                continue  # it has ended meanwhile, or is not ours to look at
    return found
