"""`status --follow`: a run until its end."""

from __future__ import annotations

import contextlib
import os
import time
from collections.abc import Callable

from sharedenv.cli.look import Look, look_at, tell_run
from sharedenv.cli.slurm import is_on_slurm, slurm_lines, tell_slurm
from sharedenv.cluster.status import look
from sharedenv.errors import EXIT_FAILED, EXIT_INTERRUPTED
from sharedenv.pool.layout import Layout
from sharedenv.report.board import Board
from sharedenv.report.console import Console, columns
from sharedenv.report.progress import Rate, live_line, next_plain, plain_line
from sharedenv.report.words import printable, short_path
from sharedenv.run.journal.run import Run
from sharedenv.run.journal.standing import stand
from sharedenv.run.journal.watched import watched
from sharedenv.run.workers import DONE
from sharedenv.start.environ import current_folder

_LOOK = 2.0  # seconds between looks, ten times as long as a look takes where that is more
_ASKED = 10.0  # the same where a scheduler is asked, once it has been asked a few times


def follow_run(layout: Layout, run: Run, console: Console) -> int:
    """Tells of a run until it has ended, then how; its exit status. Ctrl-C leaves it as it is."""
    try:
        status = _until_over(watched(run), _Teller(console))
    except KeyboardInterrupt:
        return EXIT_INTERRUPTED
    if is_on_slurm(run):
        tell_slurm(run, console, current_folder(os.environ))
    else:
        tell_run(layout, run, console)
    return status


def _until_over(run: Run, teller: _Teller) -> int:
    pause = _LOOK
    while True:
        began = time.monotonic()
        console = teller.console
        seen = _look_on_slurm(run, console) if is_on_slurm(run) else look_at(run, console, console.style, bar=True)
        if seen.over:
            teller.clear()
            return seen.status
        teller.tell(seen)
        pause = min(pause * 1.5, _ASKED) if seen.asked else _LOOK
        time.sleep(max(pause, 10 * (time.monotonic() - began)))


class _Teller:
    """Shows each look: on a terminal over the one before, elsewhere in a line now and then."""

    def __init__(self, console: Console) -> None:
        self.console = console
        self._board = Board()
        self._began = time.monotonic()
        self._due = 0.0
        self._state = ""

    def tell(self, seen: Look) -> None:
        """Where the run stands now."""
        here = current_folder(os.environ)
        name: Callable[[str], str] = lambda path: printable(short_path(path, here))  # noqa: E731 - a name for two calls
        pace = Rate(seen.seconds, seen.rate)
        if self.console.live:
            with contextlib.suppress(OSError):  # the terminal has gone
                self._board.draw(seen.lines, live_line(seen.counts, pace, columns(), self.console.style, name))
            return
        now = time.monotonic() - self._began
        if (state := seen.lines[0].partition(",")[0]) != self._state:
            self._state = state
            self.console.say(seen.lines[0])
        elif now < self._due:
            return
        self._due = next_plain(now)
        self.console.say(plain_line(seen.counts, pace, name))

    def clear(self) -> None:
        """What was drawn gives way to how the run ended."""
        with contextlib.suppress(OSError):
            self._board.clear()


def _look_on_slurm(run: Run, console: Console) -> Look:
    stands = look(run, os.environ)
    lines = slurm_lines(run, stands, console, current_folder(os.environ), console.style)
    seconds = stand(len(stands.states), stands.results, stands.sessions, time.time()).seconds
    status = 0 if stands.count(DONE) == len(stands.states) else EXIT_FAILED
    rate = stands.rate if stands.counts.running else None  # what waits in the queue has no pace
    return Look(tuple(lines), stands.counts, seconds, rate, stands.over and not stands.climbs, status, asked=True)
