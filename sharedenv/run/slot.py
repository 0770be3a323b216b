"""One attempt at a case while it runs, and what it came to."""

from __future__ import annotations

import os
import threading
import time

from sharedenv.run.case import Case, Result
from sharedenv.run.spool import Capture, Spool
from sharedenv.run.starter import Ended
from sharedenv.run.telling import last_lines


class Slot:
    """What the loop keeps of an attempt: its outputs, when it began, when its time is up, and why it was ended.

    While it runs the outputs belong to relief.py, too.
    """

    __slots__ = ("attempt", "began", "case", "deadline", "ended", "held", "lock", "reason", "relieved", "start", "stderr", "stdout")

    def __init__(self, case: Case, attempt: int, stdout: Spool | Capture, stderr: Spool | Capture) -> None:
        self.case = case
        self.attempt = attempt
        self.stdout = stdout
        self.stderr = stderr
        self.start = time.time()
        self.began = time.monotonic()
        self.deadline = float("inf")
        self.reason = ""
        self.ended = False  #: set under the lock: its outputs are the loop's alone
        self.relieved = 0.0  #: when some of what it wrote was last moved to disk
        self.held = False  #: its group was stopped, until what it wrote is on disk
        self.lock = threading.Lock()


def spools_of(slot: Slot) -> tuple[Spool, ...]:
    """Its stdout and stderr where they are kept for the observer; none where they go to a file of the user's."""
    return tuple(spool for spool in (slot.stdout, slot.stderr) if isinstance(spool, Spool))


def close_slot(slot: Slot) -> None:
    """Gives back its streams."""
    slot.stdout.close()
    if slot.stderr is not slot.stdout:
        slot.stderr.close()


def result_of(slot: Slot, ended: Ended, seconds: float, host: str) -> Result:
    """What an attempt came to that took ``seconds``."""
    code = os.waitstatus_to_exitcode(ended.status)
    failed = code != 0 or bool(slot.reason)
    error = slot.reason
    if code == 2 and not error and not os.path.exists(slot.case.script):
        error = "the script is gone"
    return Result(
        slot.case.sequence,
        slot.attempt,
        slot.start,
        seconds,
        ended.cpu,
        ended.memory,
        code if code >= 0 and not slot.reason else -1,
        -code if code < 0 else 0,
        host,
        error,
        last_lines(slot.stderr.tail()) if failed else "",
        output=slot.stdout.size,
    )
