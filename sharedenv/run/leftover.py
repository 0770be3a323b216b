"""Scripts that outlived their run: its process was killed, theirs were not. Linux only: looks into /proc."""

from __future__ import annotations

import os
from collections.abc import Iterable

from sharedenv.errors import EXIT_USAGE, SharedenvError
from sharedenv.pool.owner import is_here
from sharedenv.run.case import Case
from sharedenv.run.journal import SessionState
from sharedenv.run.starter import FORK_SERVER

NAMED = 3  #: scripts named


def refuse_leftover(run_id: str, sessions: Iterable[SessionState], cases: Iterable[Case]) -> None:
    """Raises SharedenvError when one of these cases still runs on this machine, left by a session that was killed: a second
    process in its folder would mix with it.
    """
    lost = [session for session in sessions if not session.ended and not session.alive]
    if not any(session.owner is not None and is_here(session.owner) for session in lost):
        return
    found = processes_of(cases)
    if not found:
        return
    groups = sorted({group for group, _ in found})
    scripts = list(dict.fromkeys(case.script for _, case in found))
    named = ", ".join(map(os.path.relpath, scripts[:NAMED])) + (", …" if len(scripts) > NAMED else "")
    raise SharedenvError(
        f"scripts of run {run_id} are still running: {named}",
        cause="the process that had started them was killed, they were not",
        hint=f"kill -- {' '.join(f'-{group}' for group in groups)}, or wait for them",
        exit_code=EXIT_USAGE,
    )


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
