"""Scripts that outlived their run: its process was killed, theirs were not. Linux only: looks into /proc."""

from __future__ import annotations

import os
import time
from collections.abc import Container, Iterable, Mapping

from sharedenv.errors import EXIT_USAGE, SharedenvError
from sharedenv.pool.owner import is_here
from sharedenv.run.case import Case, Result
from sharedenv.run.groups import Groups
from sharedenv.run.orders import GRACE
from sharedenv.run.session_state import SessionState
from sharedenv.run.starter import FORK_SERVER

NAMED = 3  #: scripts named


def leftover(sessions: Iterable[SessionState], cases: Iterable[Case]) -> list[tuple[int, Case]]:
    """Those of these cases that run on this machine, left by a session that was killed: process group and case of each process."""
    here = [session for session in sessions if session.owner is not None and is_here(session.owner)]
    if not any(not session.ended and not session.alive for session in here):
        return []
    # other tasks of the same run may be at work here: what these have started has not been left
    return processes_of(cases, {session.owner.pid for session in here if session.alive and session.owner})


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


def processes_of(cases: Iterable[Case], parents: Container[int] = ()) -> list[tuple[int, Case]]:
    """The process group of each process that was started as one of these cases, with the case; not those below ``parents``."""
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
                if case and not _descends(int(name), parents):
                    found.append((os.getpgid(int(name)), case))
            except OSError:
                continue  # it has ended meanwhile, or is not ours to look at
    return found


def _descends(pid: int, parents: Container[int]) -> bool:
    """Whether one of these processes has started this one, or what started it. Raises OSError when it has ended."""
    while pid > 1 and pid not in parents:
        with open(f"/proc/{pid}/stat", "rb") as file:
            pid = int(file.read().rpartition(b")")[2].split()[1])
    return pid in parents
