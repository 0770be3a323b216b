"""What travels through a run: a case to run, and how one attempt at it ended. Pure."""

from __future__ import annotations

import functools
import os
from dataclasses import field

from sharedenv.run.filling import filled
from sharedenv.values import frozen


@frozen
class Row:
    """A row of a table (`--table`).

    line     of the table in which it begins, from 1
    columns  their names, in the order of the table
    values   one for each of them
    """

    line: int
    columns: tuple[str, ...]
    values: tuple[str, ...]

    @property
    def by_name(self) -> dict[str, str]:
        """Column → value."""
        return dict(zip(self.columns, self.values, strict=True))

    @property
    def identity(self) -> tuple[tuple[str, ...], tuple[str, ...]]:
        """What makes it the same row in two tables: its values, wherever it stands and however the columns are ordered."""
        columns, order = _ordered(self.columns)
        return columns, tuple([self.values[place] for place in order])


@functools.lru_cache(16)
def _ordered(columns: tuple[str, ...]) -> tuple[tuple[str, ...], tuple[int, ...]]:
    """Names of columns in order, and the place of each as they stand."""
    order = sorted(range(len(columns)), key=columns.__getitem__)
    return tuple(columns[place] for place in order), tuple(order)


Identity = tuple[str, tuple[str, ...], str, tuple[tuple[str, ...], tuple[str, ...]] | None]


CaseWork = tuple[str, tuple[str, ...]]


@frozen
class Case:
    """One script to run with its arguments.

    sequence   1 for the first case of a run
    script     absolute path
    arguments  given to the script after its path
    key        of the environment it runs in
    digest     sha256 of the script's bytes when the run was planned, 64 hex digits
    cwd        where it starts, absolute; None for the script's own folder
    row        of the table that it was made from, None where there was none
    """

    sequence: int
    script: str
    arguments: tuple[str, ...] = ()
    key: str = ""
    digest: str = ""
    cwd: str | None = None
    row: Row | None = None

    @property
    def folder(self) -> str:
        """The folder it starts in, absolute; with `{slot}` in it, where that is known once it starts (Place.folder)."""
        if self.cwd is None:
            return os.path.dirname(self.script)
        return filled(self.cwd, {"number": str(self.sequence)})

    @property
    def values(self) -> dict[str, str]:
        """What stands for `{number}`, and for the columns of its row: these first, should one be called so."""
        number = {"number": str(self.sequence)}
        return number if self.row is None else {**number, **self.row.by_name}

    @property
    def identity(self) -> Identity:
        """What makes it the same case in two runs: script, arguments, folder and row."""
        return (self.script, self.arguments, self.folder, None if self.row is None else self.row.identity)

    @property
    def work(self) -> CaseWork:
        """Script and arguments: wherever it runs, it takes as long."""
        return self.script, self.arguments

    def fill(self, text: str) -> str:
        """A text of the command line with the values of this case for `{column}`; as it stands for a case of no table."""
        return text if self.row is None else filled(text, self.values)


@frozen
class Result:
    """How one attempt at a case ended.

    attempt  1 for the first
    start    seconds since the epoch
    seconds  wall time
    cpu      CPU seconds, user and system, of the script and the children it waited for
    memory   peak resident bytes of the largest of these processes; None when it stayed below our own peak, since the
             kernel (Linux) counts a child's peak from its parent's at the start. Of a fork (--preload): what it didn't share
    status   exit status; -1 when a signal or we ended it, or when it never started
    signal   the signal that ended it, 0 for none
    error    why it failed where the exit status doesn't say: "timed out after 10 s", "its folder is gone"
    tail     last lines of its stderr, for what failed
    digest   of the script when it ran, where that is not the plan's
    output   bytes written to stdout
    environment  name of the environment it ran in, `<key12>-<n>`, once it is read from a journal; "" where there was none
    versions  digest of the set of versions in that; "" in a journal of an older sharedenv
    session  when the process that ran it began to work on the run, by the file system's clock, once it is read from a journal
    done_before  its products were there, so that it was not started
    slot     that it had, 0 where it was not started, or an older sharedenv did
    gpus     that it saw (--gpus-per-case), by the names that the job has for them
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
    done_before: bool = False
    slot: int = 0
    gpus: tuple[str, ...] = ()

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
