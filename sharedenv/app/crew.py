"""Tasks that were started alike work on one run: who comes first makes it, all others find it.

It is found by the crew (cluster/crew.py), by the folder and by the words of the command; nobody but its maker looks at what the words
mean. The notes that say so: run/crews.py.
"""

from __future__ import annotations

import os
import random
import shlex
import time
from collections.abc import Callable, Iterable, Mapping

from sharedenv.cluster.crew import Crew, submitted
from sharedenv.errors import EXIT_FAILED, EXIT_USAGE, SharedenvError
from sharedenv.pool.create import way_out
from sharedenv.pool.files import file_system_time
from sharedenv.pool.layout import Layout
from sharedenv.pool.owner import STALE
from sharedenv.report.words import count
from sharedenv.run.claims.blocks import STOP
from sharedenv.run.claims.folder import DiskFolder
from sharedenv.run.claims.list_end import not_begun
from sharedenv.run.claims.liveness import Heartbeats
from sharedenv.run.crews import Line, add_line, crew_digest, crew_folder, has_joined, last_failure, note_failure, note_joined, read_lines
from sharedenv.run.journal.living import is_noted_living
from sharedenv.run.journal.run import Run, says_its_end, session_files
from sharedenv.run.journal.runs import open_run
from sharedenv.values import frozen

_DAY = 86400.0  #: seconds after the end of a run from which it is taken for that of an array of long ago with the same number
_LONGEST = 60 * _DAY  #: the same after the last sign of a run of which something is left: no queue is that long
_CLOCKS = 300.0  #: seconds by which a controller's clock and that of the disk may differ: with more, munge lets no job start
_PATIENCE = 1.0  #: seconds of waiting before the user is told
_LOOK = 0.25, 2.0  #: seconds between two looks for the run that another makes: at first, and at most
_ABSENT = 30.0  #: seconds in which nobody is at work on a line before it counts as left: one may just be coming
_THOROUGH = 15.0  #: seconds between two looks at all who work on a line


@frozen
class Call:
    """A task's call: its crew, the pool in which its notes are, and the line as it was given there (without a run)."""

    crew: Crew
    home: Layout
    line: Line

    @property
    def digest(self) -> str:
        """Stands for the crew among others."""
        return crew_digest([str(os.getuid()), self.crew.scheduler, self.crew.cluster, self.crew.job])

    @property
    def folder(self) -> str:
        """Of its notes."""
        return crew_folder(self.home.runs, self.digest)


def run_of_crew(
    call: Call, freeze: Callable[[], Run], *, wait: bool, say: Callable[[str], None], environ: Mapping[str, str]
) -> Run:
    """The run to work on: made by ``freeze``, where no other task of the crew has made it. It is noted that this task has joined it.

    A further line of an array's job script waits until the runs of those before it have ended (``wait``; else it is a line by itself).
    Raises SharedenvError, also for what ``freeze`` raised in another task while this one waited.
    """
    search = _Search(call, environ)
    try:
        run = search.own() or _wait_or_freeze(search, freeze, wait=wait, say=say)
        note_joined(run.path, call.crew.task)
    except OSError as error:
        cause = f"{error.strerror}: {error.filename}"
        message = f"can't note which run {call.crew.text} works on"
        raise SharedenvError(message, cause=cause, hint=way_out(call.home, error), exit_code=EXIT_FAILED) from None
    return run


class _Search:
    """Looks at the notes of a crew, and judges each run once."""

    def __init__(self, call: Call, environ: Mapping[str, str]) -> None:
        self.call = call
        self._environ = environ
        self._judged: dict[str, Run | None] = {}
        self._submitted: list[float | None] = []
        self.noted = 0  # lines, at the last look

    def lines(self) -> list[tuple[Line, Run]]:
        """The lines of this crew so far, with their runs: not those of one that had the same number before."""
        noted = read_lines(self.call.folder)
        self.noted = len(noted)
        return [(line, run) for line in noted if (run := self._judge(line)) is not None]

    def own(self) -> Run | None:
        """The run of our line."""
        return next((run for line, run in reversed(self.lines()) if line.is_as(self.call.line)), None)

    def _judge(self, line: Line) -> Run | None:
        if line.run not in self._judged:
            runs, name = os.path.split(line.run)
            try:
                run = open_run(runs, name, owned=True)
            except SharedenvError as error:
                if error.exit_code != EXIT_USAGE or os.path.lexists(line.run):
                    raise
                self._judged[line.run] = None  # somebody has removed it
            else:
                self._judged[line.run] = None if self._is_strange(run) else run
        return self._judged[line.run]

    def _is_strange(self, run: Run) -> bool:
        """Whether a run is that of another job that had the same number."""
        now = file_system_time(run.path)
        if now - run.asked.created < STALE or _lives(run, now):
            return False
        if not self._submitted:
            self._submitted = [submitted(self.call.crew, self._environ)]
        [since] = self._submitted
        if since is not None:
            return run.asked.created < since - _CLOCKS
        return now - _last_sign(run) > (_LONGEST if not_begun(DiskFolder(run.path), run.asked.count) else _DAY)


def _wait_or_freeze(search: _Search, freeze: Callable[[], Run], *, wait: bool, say: Callable[[str], None]) -> Run:
    from sharedenv.pool.lease import try_lease  # noqa: PLC0415 - filelock is loaded by who makes a run, or waits for it

    call = search.call
    failed = last_failure(call.folder)
    began, pause, told = time.monotonic(), _LOOK[0], False
    while True:
        lines, noted = search.lines(), search.noted
        if call.crew.array and wait:
            _keep_order(call, lines, say)
        with try_lease(call.home, f"crew-{call.digest}") as holder:
            if holder is None and (run := search.own()) is not None:
                return run
            if holder is None and search.noted == noted:  # else a line has come between, which may be one to wait for
                return _freeze(search, freeze)
        if holder is None:
            continue
        if not told and time.monotonic() - began >= _PATIENCE:
            told = True
            say(f"waiting for the run of {call.crew.text}, which {holder} makes")
        time.sleep(random.uniform(pause / 2, pause))
        pause = min(_LOOK[1], 1.5 * pause)
        if (run := search.own()) is not None:
            return run
        if (failure := last_failure(call.folder)) is not None and (failed is None or failure[0] != failed[0]):
            raise failure[1]


def _freeze(search: _Search, freeze: Callable[[], Run]) -> Run:
    call = search.call
    try:
        run = freeze()
    except SharedenvError as error:
        note_failure(call.folder, error)
        raise
    line = Line(call.line.folder, call.line.words, run.path)
    while not add_line(call.folder, search.noted + 1, line):  # our lease was taken for a dead one's
        if (other := search.own()) is not None:
            return other
    return run


def _keep_order(call: Call, lines: Iterable[tuple[Line, Run]], say: Callable[[str], None]) -> None:
    """Lets the lines before ours end first. Raises SharedenvError where ours is no line of the array's job script, but this task's own."""
    before = [(line, run) for line, run in lines if not line.is_as(call.line)]
    if not before:
        return
    if not any(has_joined(run.path, call.crew.task) for _, run in before):
        raise SharedenvError(
            f"{call.crew.text} works on another list, so this task has no part in it",
            cause=f"that was begun by: {shlex.join(['sharedenv', *before[0][1].asked.command[1:]])}",
            hint='without --array this task runs what it names; or --shard "I/N" for a share of it',
            exit_code=EXIT_USAGE,
        )
    for _, run in before:
        _wait_for_end(run, say)


def _wait_for_end(run: Run, say: Callable[[str], None]) -> None:
    """Until every case of a run has ended that will be begun at all. Raises SharedenvError where some are left that nobody works on."""
    others = Heartbeats(run.path)
    folder = DiskFolder(run.path)
    told = False
    absent: float | None = None
    while True:
        looked = time.monotonic()
        left = 0 if folder.exists(STOP) else not_begun(folder, run.asked.count)
        if _nobody_works(run, others):
            absent = looked if absent is None else absent
            if not left:
                return
            if looked - absent >= _ABSENT:
                raise SharedenvError(
                    f"{count(left, 'script')} of run {run.id}, of the line before, not begun, and nobody is at work on it",
                    cause="this line has to wait for them",
                    hint=f"sharedenv join {run.id}, or --no-wait",
                    exit_code=EXIT_FAILED,
                )
        else:
            absent = None
        if not told:
            told = True
            say(f"waiting until all scripts of run {run.id} have ended: sharedenv status {run.id}")
        while is_noted_living(run) and time.monotonic() - looked < _THOROUGH:
            time.sleep(_LOOK[1] / 2)
        time.sleep(_LOOK[0])


def _nobody_works(run: Run, others: Heartbeats) -> bool:
    """Whether each of its workers has said that it ends, is dead, or has given no sign for as long as a worker may be silent."""
    found = [(writer, os.path.join(run.path, name)) for writer, _, name in session_files(run.path)]
    # each of them is looked at, each time: how long one keeps silent is seen by looking
    return not [writer for writer, path in found if not says_its_end(path) and not others.gone(writer)]


def _lives(run: Run, now: float) -> bool:
    """Whether one of its workers has given a sign just now. Most often the first that is looked at has."""
    if not is_noted_living(run):
        return False
    return any(now - _time_of(os.path.join(run.path, name)) < STALE for _, _, name in session_files(run.path))


def _last_sign(run: Run) -> float:
    return max([run.asked.created, *(_time_of(os.path.join(run.path, name)) for _, _, name in session_files(run.path))])


def _time_of(path: str) -> float:
    return os.stat(path).st_mtime
