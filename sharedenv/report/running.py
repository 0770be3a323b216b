"""One screen for all that happens during a run: outputs of scripts, news of builds, failures, and the progress line under them."""

from __future__ import annotations

import contextlib
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING

from sharedenv.report.console import Console
from sharedenv.report.output import Output
from sharedenv.report.progress import Progress
from sharedenv.report.summary import words
from sharedenv.report.words import case_name, duration, printable
from sharedenv.run.case import UNBUILT, Case, Result
from sharedenv.run.observer import AtWork
from sharedenv.run.spool import Spool
from sharedenv.run.terms import Counts
from sharedenv.values import frozen

if TYPE_CHECKING:
    from sharedenv.report.building import BuildProgress
    from sharedenv.run.forecast import Forecast

LONG = 5.0  #: seconds after which a run looks how long its cases took before
FAILURES = 10  #: failures told as they happen; the summary tells the rest


class Screen:
    """Writes one thing at a time, from whatever thread, with the progress line out of the way."""

    def __init__(self, console: Console, output: Output, name: Callable[[str], str]) -> None:
        self.console = console
        self.output = output
        self._name = name
        self._progress = Progress(console, name=lambda path: printable(name(path)))
        self._lock = threading.RLock()
        self._told = 0
        self._unbuilt: set[str] = set()  # why environments could not be built, as was told
        self._builds: BuildProgress | None = None
        self._known: Callable[[], Mapping[int, float]] | None = None
        self._ended: list[tuple[int, float]] = []  # sequence and seconds, until it is known how long they took before
        self._forecast: Forecast | None = None

    def expect(self, known: Callable[[], Mapping[int, float]]) -> None:
        """``known`` tells how long cases took before (seconds, by sequence): it is asked once, in a run that takes its time."""
        self._known = known

    def say(self, text: str) -> None:
        """A line for people."""
        with self._lock:
            self._make_room()
            self._end_line()
            self.console.say(text)

    def warn(self, text: str) -> None:
        """A warning."""
        self.say(f"{self.console.style('warning', 'warning:')} {text}")

    def detail(self, text: str) -> None:
        """A line that only -v shows."""
        if self.console.verbosity > 0:
            self.say(text)

    def builds(self) -> BuildProgress:
        """Who tells here of builds that go on meanwhile."""
        from sharedenv.report.building import BuildProgress  # noqa: PLC0415 - most runs find all built

        with self._lock:
            if self._builds is None:
                self._builds = BuildProgress(ScreenConsole(self.console.verbosity, self.console.color, self.console.pool, self))
            return self._builds

    def may_wait(self, size: int) -> bool:
        """Whether passing on so many bytes may take its time."""
        return self.output.may_wait(size)

    def pass_on(self, case: Case, stdout: Spool, stderr: Spool, *, late: bool = False) -> None:
        """The output of one script; ``late``: of what it left running. Raises OSError."""
        if stdout.size or stderr.size:
            with self._lock:
                self._make_room()
                self.output.write(case, stdout, stderr, late=late)
            if text := self.output.crowded:
                self.output.crowded = ""
                self.say(f"{text}; TMPDIR names another place")

    def lost(self, cases: Sequence[Case]) -> None:
        """A line for what scripts have left running, whose outputs go nowhere from now on."""
        more = f" and {len(cases) - 1:,} more" if len(cases) > 1 else ""
        whose = f"{case_name(cases[0], self._name)}{more}"
        self.say(f"left running by {whose}, and able to write still: what it writes from now on is lost")

    def settled(self, sequence: int) -> None:
        """Nothing more comes from this case. Raises OSError when what has waited for it can't be passed on."""
        self.output.settled(sequence)

    def ended(self, case: Case, result: Result, last: bool) -> None:
        """A line for a failure, or with -v for each attempt."""
        if last and not (result.done_before or result.interrupted):
            if self._forecast is not None:
                self._forecast.ended(case.sequence, result.seconds)
            elif self._known is not None:
                self._ended.append((case.sequence, result.seconds))
        if result.succeeded:
            if self.console.verbosity > 0:
                took = "done before" if result.done_before else duration(result.seconds)
                self.say(f"done: {case_name(case, self._name)} ({took})")
            return
        if result.interrupted or result.unbuilt:
            return
        self._told += 1
        if self._told <= FAILURES or self.console.verbosity > 0:
            how = self.console.style("error", "failed:" if last else "failed, will be tried again:")
            self.say(f"{how} {case_name(case, self._name, values=True)}: {words(case, result)}")
        elif self._told == FAILURES + 1:
            self.say("further failures are told at the end")

    def unbuilt(self, cases: Sequence[Case], text: str) -> None:
        """A line for an environment that could not be built, whatever the number of its scripts."""
        more = f" and {len(cases) - 1:,} more" if len(cases) > 1 else ""
        why = f"{UNBUILT}, for the same reason" if text in self._unbuilt else text
        self._unbuilt.add(text)
        self.say(f"{self.console.style('error', 'failed:')} {case_name(cases[0], self._name)}{more}: {printable(why)}")

    def tick(self, batch: AtWork) -> None:
        """Draws the progress line when it is time."""
        if self._progress.due():
            with self._lock:
                self._make_room()
                self._end_line()
                self._progress.show(self._foretold(batch.counts()), self._builds.doing if self._builds else "")

    def _foretold(self, counts: Counts) -> Counts:
        """With the time that is left, where an earlier run tells."""
        if self._known is not None and counts.began is not None and time.monotonic() - counts.began > LONG:
            from sharedenv.run.forecast import Forecast  # noqa: PLC0415 - most runs have ended by then

            self._forecast, self._known = Forecast(self._known()), None
            for sequence, seconds in self._ended:
                self._forecast.ended(sequence, seconds)
            self._ended.clear()
        if self._forecast is None:
            return counts
        running = [(case.sequence, age) for case, age in zip(counts.cases, counts.ages, strict=True)]
        return replace(counts, left=self._forecast.left(running, counts.waiting))

    def finish(self) -> None:
        """Nothing more comes: passes on what still waits for its turn, and tells what was built. What follows starts on a line of
        its own, without the progress line.
        """
        with contextlib.suppress(OSError):
            self.output.finish()
        with self._lock:
            self._make_room()
            self._end_line()
        if self._builds is not None:
            from sharedenv.report.building import summary  # noqa: PLC0415 - loaded already

            if text := summary(self._builds.built_environments):
                self.console.say(text)

    def _make_room(self) -> None:
        self._progress.hide()
        if self.console.live:
            self._end_line()

    def _end_line(self) -> None:
        # a script's last line has no end: what we write must not run on in it
        if self.output.open_line and self.console.verbosity >= 0:
            self.console.say("")
            self.output.open_line = False


@frozen
class ScreenConsole(Console):
    """A console for those who tell of builds while a screen is shown."""

    screen: Screen | None = None

    @property
    def live(self) -> bool:
        """The one live line is the run's own."""
        return False

    def say(self, text: str) -> None:
        """A line for people."""
        if self.screen is not None:
            self.screen.say(text)

    def detail(self, text: str) -> None:
        """A line that only -v shows."""
        if self.screen is not None:
            self.screen.detail(text)
