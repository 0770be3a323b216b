"""What `run` and the tasks of an array do with what their batch tells them. Without click: tasks are started many times."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, Protocol

from sharedenv.run.case import Case, Result
from sharedenv.run.edited import edited_digest
from sharedenv.run.journal.writer import Session
from sharedenv.run.observer import AtWork
from sharedenv.run.spool import Spool
from sharedenv.run.starter import Prepared

if TYPE_CHECKING:
    from sharedenv.build.builder import BuildObserver
    from sharedenv.run.joblog import Joblog


class Teller(Protocol):
    """Who tells people what they should know; called from any thread."""

    def say(self, text: str) -> None:
        """A line for people."""

    def warn(self, text: str) -> None:
        """A warning."""


class Display(Teller, Protocol):
    """Who shows a run while it goes on. `builds` is called from any thread, too."""

    def builds(self) -> BuildObserver:
        """Who tells of builds that go on meanwhile."""

    def may_wait(self, size: int) -> bool:
        """Whether passing on so many bytes may take its time."""

    def pass_on(self, case: Case, stdout: Spool, stderr: Spool, *, late: bool = False) -> None:
        """What a script wrote; ``late``: what it left running. Raises OSError."""

    def lost(self, cases: Sequence[Case]) -> None:
        """What these have left running may write still, and nobody gets it."""

    def settled(self, sequence: int) -> None:
        """Nothing more comes from this case. Raises OSError."""

    def ended(self, case: Case, result: Result, last: bool) -> None:
        """An attempt ended; ``last``: no other follows."""

    def unbuilt(self, cases: Sequence[Case], text: str) -> None:
        """Cases that need one environment will never run, and why."""

    def tick(self, batch: AtWork) -> None:
        """Something may have changed."""

    def finish(self) -> None:
        """Nothing more comes."""


class Recorder:
    """The batch's observer: passes what happens on to the screen, the journal and the joblog.

    digests  of scripts that are not what the run's plan says, by sequence
    since    when the scripts had been read, seconds since the epoch
    """

    def __init__(
        self, display: Display, session: Session, digests: Mapping[int, str], since: float, joblog: Joblog | None = None
    ) -> None:
        self._display = display
        self._session = session
        self._joblog = joblog
        self._digests = digests
        self._since = since
        self._prepared: dict[str, Prepared] = {}
        self._told: set[str] = set()  # keys whose environment the journal knows
        self.unwritten: list[Result] = []
        self.edited: list[Case] = []

    def ready(self, key: str, prepared: Prepared) -> None:
        """The environment of a key: what its results name, and whose interpreter the joblog has. From any thread."""
        self._prepared[key] = prepared

    def started(self, case: Case, group: int, *, result_follows: bool) -> None:
        """Puts down that a case runs, and before the first of a key, in what."""
        if case.key not in self._told and (prepared := self._prepared.get(case.key)):
            self._told.add(case.key)
            self._session.write({"environment": prepared.name, "key": case.key, "versions": prepared.versions})
        self._session.start(case.sequence, group, result_follows=result_follows)

    def output(self, case: Case, result: Result, stdout: Spool, stderr: Spool) -> None:  # noqa: ARG002 - the batch's signature
        """Passes on what a script wrote. Raises OSError."""
        if self._display.may_wait(stdout.size + stderr.size):
            self._session.put_down_started()  # what has taken its place is known meanwhile
        self._display.pass_on(case, stdout, stderr)

    def late_output(self, case: Case, stdout: Spool, stderr: Spool) -> None:
        """Passes on what something that a script left running wrote. Raises OSError."""
        if self._display.may_wait(stdout.size + stderr.size):
            self._session.put_down_started()
        self._display.pass_on(case, stdout, stderr, late=True)

    def lost_output(self, cases: Sequence[Case]) -> None:
        """Tells of what nobody reads any more."""
        self._display.lost(cases)

    def record(self, case: Case, result: Result, last: bool) -> str:
        """Puts an attempt down; a text when that fails."""
        if digest := self._digests.get(case.sequence):
            result = replace(result, digest=digest)
        trouble = ""
        if not self._session.append(result, self._prepared[case.key].name if case.key in self._told and not result.done_before else ""):
            self.unwritten.append(result)
            reason = self._session.error.strerror if self._session.error else "unknown"
            trouble = f"the journal {self._session.path} can't be written ({reason}): starting nothing more"
        what = "the joblog"
        try:
            if self._joblog is not None and not result.done_before:
                self._joblog.append(case, result, self._prepared.get(case.key))
            what = "output"
            if last:
                self._display.settled(case.sequence)
        except OSError as error:
            trouble = trouble or f"{what} can't be written ({error.strerror}): starting nothing more"
        self._display.ended(case, result, last)
        if last and edited_digest(case, self._since):
            self.edited.append(case)
        return trouble

    def unbuilt(self, cases: Sequence[Case], text: str) -> None:
        """Tells of scripts that have no environment."""
        self._display.unbuilt(cases, text)

    def tick(self, batch: AtWork) -> None:
        """Draws, and looks whether the run is still ours."""
        self._display.tick(batch)
        if self._session.lost:
            batch.drain("another process has taken this run meanwhile: starting nothing more")

    def notice(self, text: str) -> None:
        """Something the user should know now."""
        self._display.say(text)
