"""Which runs of a pool somebody may be at work on, so that no other need be read to know who is; and which are over: all that was asked
of them was run, and no process or job will come back to them.

`runs/.living/` holds a link to each run that somebody may be at work on. A pool gathers thousands of runs, and most of them are over.
Telling so takes a look at the end of each of their files; that they are is noted in one file, `runs/.over`, with the time of each run's
folder, which changes when somebody goes on with it. It is a hint: without it, or where it can't be believed, the runs are looked at.
"""

from __future__ import annotations

import contextlib
import json
import os
import time
from collections.abc import Iterator, Mapping

from sharedenv.pool.files import make_folders, private, readable_as
from sharedenv.pool.layout import OVER, STANDING, UNFINISHED_RUN
from sharedenv.pool.owner import STALE, is_here
from sharedenv.run.journal.run import Run, first_owner, last_line, says_its_end, session_files
from sharedenv.run.journal.sessions import LOCAL
from sharedenv.start.regular import MOST, read_regular

LIVING = ".living"


def _link(run: Run) -> str:
    return os.path.join(os.path.dirname(run.path), LIVING, run.id)


def note_living(run: Run) -> None:
    """Somebody works on a run now. Where it can't be noted, without a word."""
    link = _link(run)
    with contextlib.suppress(FileExistsError, PermissionError):
        try:
            os.symlink(f"../{run.id}", link)
        except FileNotFoundError:
            make_folders(os.path.dirname(link))
            os.symlink(f"../{run.id}", link)


def forget_living(run: Run) -> None:
    """Nobody works on it any more."""
    with contextlib.suppress(OSError):
        os.unlink(_link(run))


def is_noted_living(run: Run) -> bool:
    """Whether somebody may be at work on it."""
    return os.path.lexists(_link(run))


def living_runs(runs: str) -> list[str]:
    """The names of runs that somebody may be at work on; whether he still is, their sessions tell. ``runs``: the pool's folder of them."""
    try:
        return sorted(os.listdir(os.path.join(runs, LIVING)))
    except OSError:
        return []


_MANY = 16  #: newly found to be over: then the note is written anew
_SETTLED = 600.0  # seconds: a folder changed more recently may change again within one tick of its file system's clock
#: what is in a run beside its sessions, if it was never added to and never met Slurm
_LONELY = {"run.json", "plan.jsonl", "versions", STANDING}


def going_on(runs: str) -> list[str]:
    """The names of those that are not over, as far as can be told, newest first by name. Raises OSError, not for a missing folder."""
    known = _noted(runs)
    over: dict[str, int] = {}
    left = []
    now = time.time_ns()
    try:
        with os.scandir(runs) as entries:
            for entry in entries:
                if entry.name.startswith("."):
                    continue
                changed = entry.stat(follow_symlinks=False).st_mtime_ns
                if known.get(entry.name) == changed:
                    over[entry.name] = changed
                elif not _is_over(entry.path):
                    left.append(entry.name)
                elif now - changed > _SETTLED * 1e9:
                    over[entry.name] = changed
    except FileNotFoundError:
        return []
    if len(over.keys() - known.keys()) >= _MANY:
        _note(runs, over)
    return sorted(left, reverse=True)


def unended(runs: str) -> Iterator[str]:
    """The names of those whose last process on this machine, or a living one on another, has not said how it ended."""
    try:
        names = going_on(runs)
    except OSError:
        return
    for name in names:
        path = os.path.join(runs, name)
        with contextlib.suppress(OSError):
            number = max((number for writer, number, _ in session_files(path) if writer == LOCAL), default=0)
            session = os.path.join(path, f"results-{LOCAL}.{number}.jsonl")
            if number and not says_its_end(session) and _concerns_us(session):
                yield name


def _concerns_us(session: str) -> bool:
    owner = first_owner(session)
    return owner is None or is_here(owner) or abs(time.time() - os.stat(session).st_mtime) < STALE


def _is_over(run: str) -> bool:
    try:
        names = os.listdir(run)
        sessions = [name for name in names if name not in _LONELY]
        if not sessions or not all(name.startswith(f"results-{LOCAL}.") for name in sessions):
            return False
        json.loads(read_regular(os.path.join(run, "run.json"), MOST))  # what can't be read may need anything
        return all(last_line(os.path.join(run, name)).startswith(b'{"ended":"done"') for name in sessions)
    except (OSError, ValueError, RecursionError):
        return False


def _noted(runs: str) -> Mapping[str, int]:
    try:
        lines = read_regular(os.path.join(runs, OVER), MOST).decode("utf-8", "surrogateescape").splitlines()
        return {name: int(changed) for name, changed in (line.split(" ") for line in lines)}
    except (OSError, ValueError):
        return {}


def _note(runs: str, over: Mapping[str, int]) -> None:
    temporary = os.path.join(runs, f"{UNFINISHED_RUN}over-{os.urandom(4).hex()}")
    with contextlib.suppress(OSError):  # read-only, full …
        with open(temporary, "wb", opener=private) as file:
            file.writelines(os.fsencode(f"{name} {changed}\n") for name, changed in over.items() if not {" ", "\n"} & set(name))
        readable_as(temporary, runs)
        os.replace(temporary, os.path.join(runs, OVER))
