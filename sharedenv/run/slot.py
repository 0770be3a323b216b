"""One attempt at a case, from its start until it is reported, and what it came to."""

from __future__ import annotations

import os
import signal
import time
from collections.abc import Iterable

from sharedenv.run.case import Case, Result
from sharedenv.run.groups import Marks
from sharedenv.run.pipe import Pipe
from sharedenv.run.place import NOWHERE, Place
from sharedenv.run.products import lacking
from sharedenv.run.spool import Capture, Spool
from sharedenv.run.starter import ProcessEnd
from sharedenv.run.telling import last_lines

#: seconds for which an attempt whose script has ended is not reported yet while something that it started holds its output:
#: most often what the output went through (`tee`), which has the last lines still
LINGER = 0.5


LAUNCHER = "its launcher"  #: how an error begins that tells of a launcher
#: status → what it means, of whoever starts a command (POSIX, of env and of a shell)
_NOT_FOUND = {126: "it could not start a command", 127: "it did not find a command"}
def at_work(slots: Iterable[Slot]) -> tuple[tuple[float, ...], tuple[Case, ...]]:
    """Seconds for which each attempt has run, the longest first, and their cases."""
    now, found = time.monotonic(), sorted(slots, key=lambda slot: slot.began)
    return tuple(now - slot.began for slot in found), tuple(slot.case for slot in found)


Outputs = tuple[Spool | Capture, Spool | Capture]


class Slot:
    """What the loop keeps of an attempt: its place and outputs, when it began, when its time is up, why it was ended, and how it ended;
    ``marks``: of what a launcher has started for it, none without one.
    """

    __slots__ = (
        "attempt", "began", "case", "deadline", "ended", "marks", "pipes", "place", "reason", "seconds", "start", "stderr", "stdout",
    )

    def __init__(self, case: Case, attempt: int, stdout: Pipe, stderr: Pipe, place: Place = NOWHERE, marks: Marks = ()) -> None:
        self.marks = marks
        self.case = case
        self.attempt = attempt
        self.place = place
        self.stdout = stdout
        self.stderr = stderr
        self.pipes = (stdout,) if stdout is stderr else (stdout, stderr)
        self.start = time.time()
        self.began = time.monotonic()
        self.deadline = float("inf")
        self.reason = ""
        self.ended: ProcessEnd | None = None  #: None while the script runs
        self.seconds = 0.0  #: for which it ran

    @property
    def terminated(self) -> bool:
        """Whether TERM has ended its script; of a launcher's, its status says so, as a shell's does."""
        return self._signal == signal.SIGTERM

    @property
    def killed(self) -> bool:
        """Whether a signal has ended it, as far as its status says."""
        return self._signal > 0

    @property
    def _signal(self) -> int:
        code = 0 if self.ended is None else os.waitstatus_to_exitcode(self.ended.status)
        return code - 128 if self.marks and 128 < code < 128 + signal.NSIG else -code

    @property
    def writes(self) -> bool:
        """Whether something may still write."""
        return self.stdout.open or self.stderr.open

    @property
    def due(self) -> float:
        """When an attempt that has ended is reported at the latest, by the monotonic clock."""
        return self.began + self.seconds + LINGER

    def started(self) -> None:
        """Its script runs: what it writes to is its own."""
        for pipe in self.pipes:
            pipe.started()

    def end(self, ended: ProcessEnd) -> None:
        """The script was waited for: takes what it has written."""
        self.seconds = time.monotonic() - self.began
        self.ended = ended
        self.drain()

    def drain(self) -> None:
        """Takes what is there to be read now."""
        for pipe in self.pipes:
            pipe.drain()

    def take(self) -> Outputs:
        """What has come of stdout and stderr until now; what comes later is kept apart."""
        return self.stdout.take(), self.stderr.take()

    def close(self) -> None:
        """Gives back its outputs."""
        for pipe in self.pipes:
            pipe.close()


def spools_of(outputs: Outputs) -> tuple[Spool, ...]:
    """Stdout and stderr where they are kept for the observer; none where they go to a file of the user's."""
    return tuple(output for output in outputs if isinstance(output, Spool))


def result_of(slot: Slot, outputs: Outputs, host: str, creates: tuple[str, ...] = ()) -> Result:
    """What an attempt came to whose script has ended; ``creates``: as Options has it."""
    assert slot.ended is not None
    stdout, stderr = outputs
    code = os.waitstatus_to_exitcode(slot.ended.status)
    error = slot.reason or (stdout.error if isinstance(stdout, Capture) else "")
    if code == 2 and not error and not os.path.exists(slot.case.script):
        error = "the script is gone"
    if slot.marks and not error and code in _NOT_FOUND:
        error = f"{LAUNCHER} ended with {code}: {_NOT_FOUND[code]}"
    if code == 0 and not error and creates:
        error = lacking(slot.case, creates, slot.place.folder(slot.case))
    return Result(
        slot.case.sequence,
        slot.attempt,
        slot.start,
        slot.seconds,
        slot.ended.cpu,
        slot.ended.memory,
        code if code >= 0 and not slot.reason else -1,
        -code if code < 0 else 0,
        host,
        error,
        last_lines(stderr.tail()) if code or error else "",
        output=stdout.size,
        slot=slot.place.slot,
        gpus=slot.place.gpus,
    )
