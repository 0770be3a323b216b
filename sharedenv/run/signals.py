"""What a signal means to a batch. Pure.

TERM or USR1      start nothing more, let what runs finish (GNU parallel's way; Slurm's `--signal=B:USR1@300` before
the time is up) TERM after that   end: TERM to every script, a grace, KILL
INT, HUP          end at once
any while ending  KILL now
USR2              end at once; nothing while ending (`sharedenv cancel`, which doesn't know the stage)
TSTP              stop every script and ourselves, until continued
"""

from __future__ import annotations

import enum
import signal

_GENTLE = (signal.SIGTERM, signal.SIGUSR1)
CANCEL = signal.SIGUSR2  #: whatever the stage, what runs gets its grace; who ignores INT hears it too


class Stage(enum.Enum):
    """How far a batch is on its way to an end."""

    GOING = "going"
    DRAINING = "draining"
    ENDING = "ending"
    KILLING = "killing"


class Stopping:
    """The stage of a batch, and why it is in it."""

    def __init__(self) -> None:
        self.stage = Stage.GOING
        self.reason = ""

    @property
    def ends(self) -> bool:
        """Whether the user cut short what was running."""
        return self.stage in (Stage.ENDING, Stage.KILLING)

    @property
    def signalled(self) -> bool:
        """Whether it was a signal that ended the going."""
        return self.reason.startswith("SIG")

    def drain(self, reason: str) -> bool:
        """Starts nothing more; True when that is news."""
        if self.stage is not Stage.GOING:
            return False
        self.stage, self.reason = Stage.DRAINING, reason
        return True

    def drains(self, number: int) -> bool:
        """Whether this signal is the first gentle one."""
        return number in _GENTLE and self.stage is Stage.GOING

    def suspends(self, number: int) -> bool:
        """Whether this signal is Ctrl-Z."""
        return number == signal.SIGTSTP

    def signal(self, number: int, running: int) -> str:
        """Takes a signal into account; the words for the user, "" when it changes nothing."""
        name = signal.Signals(number).name
        if number in _GENTLE and self.drain(f"{name}: starting nothing more"):
            return f"{name}: starting nothing more, waiting for {running} that run (again, or Ctrl-C, to end them)"
        if self.ends and number == CANCEL:
            return ""
        if self.ends:
            self.stage = Stage.KILLING
            return f"{name}: killing what still runs"
        if number == signal.SIGUSR1:
            return ""
        self.stage, self.reason = Stage.ENDING, name
        return f"{name}: ending {running} that run (Ctrl-C again to kill them)" if running else f"{name}: ending"
