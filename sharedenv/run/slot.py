"""One attempt at a case while it runs."""

from __future__ import annotations

import time

from sharedenv.run.case import Case
from sharedenv.run.spool import Capture, Spool


class Slot:
    """What the loop keeps of an attempt: its outputs, when it began, when its time is up, and why it was ended."""

    __slots__ = ("attempt", "began", "case", "deadline", "reason", "start", "stderr", "stdout")

    def __init__(self, case: Case, attempt: int, stdout: Spool | Capture, stderr: Spool | Capture) -> None:
        self.case = case
        self.attempt = attempt
        self.stdout = stdout
        self.stderr = stderr
        self.start = time.time()
        self.began = time.monotonic()
        self.deadline = float("inf")
        self.reason = ""


def spools_of(slot: Slot) -> tuple[Spool, ...]:
    """Its streams that are kept in memory."""
    return tuple(spool for spool in (slot.stdout, slot.stderr) if isinstance(spool, Spool))


def close_slot(slot: Slot) -> None:
    """Gives back its streams."""
    slot.stdout.close()
    if slot.stderr is not slot.stdout:
        slot.stderr.close()
