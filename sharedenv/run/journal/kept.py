"""The standing of a run that has ended, kept in `runs/<run-id>/standing.json`.

What has ended doesn't change, and to count the results of 200 runs of 20,000 cases takes 40 s. The file says of which journal it tells,
by the names, sizes and times of that one's files: once somebody goes on with the run, it tells of another. It is a copy: whoever can't
believe it reads the journal, and it may be removed at any time.
"""

from __future__ import annotations

import contextlib
import json
import math
import os
import time
from collections.abc import Mapping, Sequence
from typing import Any

from sharedenv.pool.files import private, readable_as
from sharedenv.pool.layout import STANDING
from sharedenv.pool.owner import is_here
from sharedenv.run.case import Result
from sharedenv.run.journal.owned import open_file
from sharedenv.run.journal.records import LINE, decode_lines
from sharedenv.run.journal.run import Run, last_line, session_files
from sharedenv.run.journal.sessions import LOCAL, SessionReading, SessionState
from sharedenv.run.journal.standing import FEW, STOPPED, Standing, stand
from sharedenv.run.listing import ARRAYS
from sharedenv.run.workers import DONE, INTERRUPTED, LOST
from sharedenv.start.fingerprint import sha256
from sharedenv.start.regular import read_regular

_SCHEMA = 1
_MOST = 4096  # bytes: more than it has
_STATES = (DONE, INTERRUPTED, STOPPED, LOST)
_COUNTS = ("total", "succeeded", "failed", "before")
_TIMES = ("seconds", "heard")


def journal_sign(run: str) -> str:
    """What stands for the journal of the run at a path as it is now: another, when anything was added to it. Raises OSError."""
    lines = []
    for name in sorted(filter(_tells, os.listdir(run))):
        found = os.lstat(os.path.join(run, name))
        lines.append(f"{name} {found.st_size} {found.st_mtime_ns}\n")
    return str(sha256("".join(lines).encode("utf-8", "surrogateescape")).hexdigest())


def _tells(name: str) -> bool:
    return name in ("run.json", ARRAYS) or (name.startswith(("results-", "plan")) and name.endswith(".jsonl"))


def kept_standing(run: str, sign: str) -> Standing | None:
    """The standing kept for the journal of this sign, None where there is none that can be believed."""
    try:
        record = json.loads(read_regular(os.path.join(run, STANDING), _MOST))
        if record["schema"] != _SCHEMA or record["journal"] != sign or record["state"] not in _STATES:
            return None
        counts, times = [record[name] for name in _COUNTS], [record[name] for name in _TIMES]
    except (OSError, ValueError, KeyError, TypeError, RecursionError):
        return None
    if not all(type(number) is int and number >= 0 for number in counts) or not all(map(_is_time, times)):
        return None
    (total, succeeded, failed, before), (seconds, heard) = counts, times
    return Standing(record["state"], total, succeeded, failed, {}, (), seconds, heard, before)


def _is_time(value: Any) -> bool:
    return type(value) is float and math.isfinite(value)


def keep_standing(run: Run, sign: str, standing: Standing, sessions: Sequence[SessionState]) -> None:
    """Keeps where a run stands that has ended, and that is this user's. ``sign``: that its journal had before it was read.

    Never fails: without it the journal is read.
    """
    if standing.total < FEW or not _has_ended(standing, sessions):
        return
    with contextlib.suppress(OSError):
        mine = os.stat(run.path).st_uid == os.geteuid()  # root leaves nothing of its own in the folders of others
        waits = standing.left and os.path.lexists(os.path.join(run.path, ARRAYS))  # tasks of an array may be about to begin
        if mine and not waits:
            told = {name: getattr(standing, name) for name in ("state", *_COUNTS, *_TIMES)}
            _write(run.path, {"schema": _SCHEMA, "journal": sign, **told})


def keep_own(run: Run, results: Mapping[int, Result]) -> None:
    """Keeps the standing of a new run that this process alone has worked on, and has closed. ``results``: all that it has written."""
    if run.asked.count < FEW:
        return
    with contextlib.suppress(OSError):
        sign = journal_sign(run.path)
        files = session_files(run.path)
        if len(files) == 1:  # nobody has gone on with it meanwhile
            [(_, number, name)] = files
            sessions = [_session_by_its_ends(os.path.join(run.path, name), number)]
            keep_standing(run, sign, stand(run.count, results, sessions, time.time()), sessions)


def _session_by_its_ends(path: str, number: int) -> SessionState:
    """A session that has ended, by the first and the last line of its file. Raises OSError."""
    reading = SessionReading(LOCAL, number)
    with open_file(path) as file:
        reading.touched = os.fstat(file.fileno()).st_mtime
        reading.hear(decode_lines(file.readline(LINE) + last_line(path)))
    return reading.state(time.time)


def _has_ended(standing: Standing, sessions: Sequence[SessionState]) -> bool:
    """Whether nothing more comes: each has said its end, or the kernel says that it is dead. Elsewhere, silence is no death."""
    return standing.state in _STATES and all(
        session.ended or (not session.alive and session.owner is not None and is_here(session.owner)) for session in sessions
    )


def _write(run: str, record: Mapping[str, Any]) -> None:
    temporary = os.path.join(run, f"{STANDING}-{os.urandom(4).hex()}")
    try:
        with open(temporary, "xb", opener=private) as file:
            file.write(json.dumps(record).encode("ascii") + b"\n")
        readable_as(temporary, os.path.dirname(run))
        os.replace(temporary, os.path.join(run, STANDING))
    except BaseException:
        with contextlib.suppress(OSError):
            os.unlink(temporary)
        raise
