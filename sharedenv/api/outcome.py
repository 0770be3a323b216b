"""What a run gives back: how each case ended, and how the whole stands."""

from __future__ import annotations

import shlex
from collections.abc import Iterator, Mapping

from sharedenv.errors import EXIT_FAILED, SharedenvError
from sharedenv.report.summary import words
from sharedenv.report.words import count
from sharedenv.run.case import Case, Result
from sharedenv.run.journal.run import Run
from sharedenv.values import frozen

_GROUPS = 10  # kinds of failures in an error


@frozen
class CaseResult:
    """How the last attempt at a case ended.

    number       of the case in its run, from 1
    script       absolute path
    arguments    that it was given after its path
    row          of the table that it was made from, column → value; None without one
    status       exit status; -1 when a signal or the run ended it, or when it never started
    signal       the signal that ended it, 0 for none
    reason       why it failed, in one line: "exit 1: ValueError: negative density", "timed out after 10 s"; "" where it succeeded
    interrupted  it was ended with the run, and counts as not run
    attempt      1 for the first
    started      seconds since the epoch
    seconds      wall time
    cpu          seconds, user and system, of the script and the children it waited for
    memory       peak resident bytes of the largest of these processes, None where that is not known
    host         name of the node it ran on
    environment  name of the environment it ran in, "" where that is not known
    stderr       the last lines of it, of what failed
    done_before  what `creates` names was there, so that it was not started
    """

    number: int
    script: str
    arguments: tuple[str, ...]
    row: Mapping[str, str] | None
    status: int
    signal: int
    reason: str
    interrupted: bool
    attempt: int
    started: float
    seconds: float
    cpu: float
    memory: int | None
    host: str
    environment: str
    stderr: str
    done_before: bool

    @property
    def succeeded(self) -> bool:
        """Whether the case needs no further attempt."""
        return not self.reason


def case_result(case: Case, result: Result) -> CaseResult:
    """How an attempt ended, for the caller."""
    return CaseResult(
        case.sequence,
        case.script,
        tuple(map(case.fill, case.arguments)),
        None if case.row is None else case.row.by_name,
        result.status,
        result.signal,
        "" if result.succeeded else words(case, result),
        result.interrupted,
        result.attempt,
        result.start,
        result.seconds,
        result.cpu,
        result.memory,
        result.host,
        result.environment,
        result.tail,
        result.done_before,
    )


@frozen
class RunResult:
    """How a run stands after a call that worked on it: iterable, a CaseResult for each case that has a result, in the order asked.

    id       of the run: what `status`, `results`, `report` and `run(resume=…)` take
    path     of its folder; in a pool that is read-only, "": it is known to nobody else
    results  of the whole run, whoever ran a case, and when
    total    cases of the run
    seconds  wall time of this call's work
    errors   of environments that could not be built; the cases that need them have failed
    """

    id: str
    path: str
    results: tuple[CaseResult, ...]
    total: int
    seconds: float
    errors: tuple[SharedenvError, ...] = ()

    def __iter__(self) -> Iterator[CaseResult]:
        return iter(self.results)

    def __len__(self) -> int:
        return len(self.results)

    @property
    def failures(self) -> tuple[CaseResult, ...]:
        """The cases that have failed for good."""
        return tuple(one for one in self.results if not one.succeeded and not one.interrupted)

    @property
    def left(self) -> int:
        """How many cases have not been run to an end."""
        return self.total - sum(not one.interrupted for one in self.results)

    def raise_for_failures(self) -> RunResult:
        """Itself, where every case has succeeded. Raises RunFailed where one has failed, or was not run to its end."""
        if self.failures or self.left:
            raise RunFailed(self)
        return self


def result_of_run(run: Run, seconds: float, errors: tuple[SharedenvError, ...] = ()) -> RunResult:
    """What its journal says of a run. Raises SharedenvError."""
    cases = run.cases()
    found, _ = run.read(tails=True)
    ended = [case_result(case, found[case.sequence]) for case in cases if case.sequence in found]
    return RunResult(run.id, run.path, tuple(ended), len(cases), seconds, errors)


class RunFailed(SharedenvError):
    """A run in which a case has failed, or was not run to its end: ``result``."""

    def __init__(self, result: RunResult) -> None:
        failures, left = result.failures, result.left
        told = [f"{len(failures):,} failed"] if failures else []
        told += [f"{left:,} not run to the end"] if left else []
        kinds: dict[str, list[CaseResult]] = {}
        for one in failures:
            kinds.setdefault(one.reason, []).append(one)
        lines = [f"{len(ones):,} × {reason} ({ones[0].script})" for reason, ones in list(kinds.items())[:_GROUPS]]
        if len(kinds) > _GROUPS:
            lines.append(f"and {len(kinds) - _GROUPS:,} other things")
        message = f"run {result.id}: {' and '.join(told)} of {count(result.total, 'case')}"
        hint = shlex.join(["sharedenv", "status", result.id]) if result.path else None
        super().__init__(message, cause="\n".join(lines) or None, hint=hint, exit_code=EXIT_FAILED)
        self.result = result


@frozen
class RunStatus:
    """Where a run stands, whoever works on it.

    id, path     of the run and its folder
    state        running, done, interrupted, stopped, lost, planned or submitted (docs/run.md)
    total        cases planned
    succeeded    cases whose last result is a success
    failed       cases whose last result is a failure
    running      cases at work
    done_before  of those that succeeded, the ones that were not started, as what `creates` names was there
    created      when it was planned, seconds since the epoch
    seconds      that somebody worked on it
    command      the words that asked for it
    """

    id: str
    path: str
    state: str
    total: int
    succeeded: int
    failed: int
    running: int
    done_before: int
    created: float
    seconds: float
    command: tuple[str, ...]

    @property
    def left(self) -> int:
        """Cases without a result."""
        return self.total - self.succeeded - self.failed
