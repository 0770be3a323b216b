"""One attempt at a case while it runs, and what it came to."""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Iterable

from sharedenv.run.case import Case, Result
from sharedenv.run.spool import Capture, Spool
from sharedenv.run.starter import Ended
from sharedenv.run.telling import last_lines


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


class Relief:
    """Keeps the outputs of running attempts from filling the memory. ``notice`` is told, once, of a disk that takes no more."""

    def __init__(self, notice: Callable[[str], None]) -> None:
        self._notice: Callable[[str], None] | None = notice

    def give(self, slots: Iterable[Slot]) -> bool:
        """Moves what is large to disk; whether there is any that goes on growing there."""
        large = False
        for spool in (spool for slot in slots for spool in spools_of(slot)):
            try:
                large |= spool.relieve()
            except OSError as error:
                if self._notice is not None:
                    import tempfile  # noqa: PLC0415 - loaded already, for the file that could not be made

                    self._notice(
                        f"a large output can't be moved to {tempfile.gettempdir()} ({error.strerror}): it stays in memory; "
                        "TMPDIR names another place"
                    )
                    self._notice = None
        return large
