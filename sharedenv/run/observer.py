"""Who is told of what happens in a batch, and what of the batch they may ask."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Protocol

from sharedenv.run.case import Case, Result
from sharedenv.run.spool import Spool
from sharedenv.run.terms import Counts


class AtWork(Protocol):
    """What a batch is to its observer."""

    @property
    def going(self) -> bool:
        """Whether it starts cases still."""

    def counts(self) -> Counts:
        """Where it stands."""

    def drain(self, reason: str) -> None:
        """Starts nothing more; what runs may finish. Without a reason, nothing happens."""


class BatchObserver(Protocol):
    """Who is told. Called from the loop: be quick."""

    def started(self, case: Case, group: int, *, result_follows: bool) -> None:
        """An attempt at a case has begun, as this process group. ``result_follows``: `record` comes next, for another case."""

    def output(self, case: Case, result: Result, stdout: Spool, stderr: Spool) -> None:
        """A case ended for good: pass on what it wrote. OSError when that fails: the case counts as failed, the
        batch drains.
        """

    def late_output(self, case: Case, stdout: Spool, stderr: Spool) -> None:
        """The same for what something that a case left running wrote, when the case was recorded already."""

    def lost_output(self, cases: Sequence[Case]) -> None:
        """Something that these have left running holds their output still, and nobody reads it any more."""

    def record(self, case: Case, result: Result, last: bool) -> str:
        """An attempt ended (``last``: no other follows): put it down. A text when that fails: the batch drains and
        says so.
        """

    def tick(self, batch: AtWork) -> None:
        """Something may have changed, or half a second went by."""

    def unbuilt(self, cases: Sequence[Case], text: str) -> None:
        """Cases that need one environment will never run, and why; `record` follows for each."""

    def notice(self, text: str) -> None:
        """Something the user should know now."""


def pass_on(observer: BatchObserver, case: Case, result: Result, spools: Sequence[Spool]) -> tuple[Result, str]:
    """Hands over what a script has written. Where that can't be, its result is a failure, and why nothing more is to be started is told."""
    try:
        observer.output(case, result, *spools)
    except OSError as error:
        passed, written = ("passed on", "written") if error.filename is None else (f"kept in {error.filename} for its turn",) * 2
        failed = replace(result, error=result.error or f"its output could not be {passed}: {error.strerror}")
        return failed, f"output can't be {written} ({error.strerror}): starting nothing more"
    return result, ""
