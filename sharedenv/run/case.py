"""What travels through a run: a case to run, and how one attempt at it ended. Pure."""

from __future__ import annotations

import os
from dataclasses import field

from sharedenv.run.filling import filled
from sharedenv.values import frozen


@frozen
class Case:
    """One script to run with its arguments.

    sequence   1 for the first case of a run
    script     absolute path
    arguments  given to the script after its path
    key        of the environment it runs in
    digest     sha256 of the script's bytes when the run was planned, 64 hex digits
    cwd        where it starts, absolute; None for the script's own folder
    """

    sequence: int
    script: str
    arguments: tuple[str, ...] = ()
    key: str = ""
    digest: str = ""
    cwd: str | None = None

    @property
    def folder(self) -> str:
        """The folder it starts in, absolute; with `{slot}` in it, where that is known once it starts (Place.folder)."""
        if self.cwd is None:
            return os.path.dirname(self.script)
        return filled(self.cwd, number=str(self.sequence))

    @property
    def identity(self) -> tuple[str, tuple[str, ...]]:
        """What makes it the same case in two runs."""
        return (self.script, self.arguments)


@frozen
class Result:
    """How one attempt at a case ended.

    attempt  1 for the first
    start    seconds since the epoch
    seconds  wall time
    cpu      CPU seconds, user and system, of the script and the children it waited for
    memory   peak resident bytes of the largest of these processes; None when it stayed below our own peak, since the
             kernel (Linux) counts a child's peak from its parent's at the start
    status   exit status; -1 when a signal or we ended it, or when it never started
    signal   the signal that ended it, 0 for none
    error    why it failed where the exit status doesn't say: "timed out after 10 s", "its folder is gone"
    tail     last lines of its stderr, for what failed
    digest   of the script when it ran, where that is not the plan's
    output   bytes written to stdout
    environment  name of the environment it ran in, `<key12>-<n>`, once it is read from a journal; "" where there was none
    versions  digest of the set of versions in that; "" in a journal of an older sharedenv
    session  when the process that ran it began to work on the run, by the file system's clock, once it is read from a journal
    """

    sequence: int
    attempt: int
    start: float
    seconds: float = 0.0
    cpu: float = 0.0
    memory: int | None = None
    status: int = -1
    signal: int = 0
    host: str = ""
    error: str = ""
    tail: str = ""
    digest: str = ""
    output: int = 0
    environment: str = ""
    versions: str = ""
    session: float = field(default=0.0, compare=False)

    @property
    def order(self) -> tuple[float, float]:
        """Of two results of one case, the later one has the greater. Clocks of nodes differ: ``start`` decides within a session alone."""
        return self.session, self.start

    @property
    def succeeded(self) -> bool:
        """Whether the case needs no further attempt."""
        return self.status == 0 and not self.signal and not self.error

    @property
    def unbuilt(self) -> bool:
        """Whether it failed for want of its environment, as others that need the same did."""
        return self.error.startswith(UNBUILT)

    @property
    def interrupted(self) -> bool:
        """Whether it failed only because the run was ended: it counts as not run yet."""
        return self.error == INTERRUPTED


INTERRUPTED = "ended with the run"
UNBUILT = "its environment could not be built"  #: how the error of a case begins that had no environment to run in
