"""What is asked of a run and of each of its cases, and what a batch tells of where it stands and what came of it. Pure."""

from __future__ import annotations

import shlex
from collections.abc import Collection, Mapping
from dataclasses import asdict
from typing import Any

from sharedenv.run.case import Case, Result
from sharedenv.values import frozen

GRACE = 10.0  #: seconds from TERM to KILL, where nobody says otherwise


@frozen
class BatchOptions:
    """How to run.

    jobs       at a time
    timeout    seconds for each attempt, None for no end
    grace      seconds between TERM and KILL
    tries      attempts at most for each case
    fail_fast  start nothing more after the first case that failed for good
    delay      seconds between two starts
    hesitation seconds to wait for a signal of our own when a script was ended by TERM: a batch system that ends a job tells
               its processes one after the other, and such a script counts as not run. 0 outside of one
    capture    name of a file in each case's folder that gets its output, None to keep it for the observer
    creates    names of files in each case's folder: a case for which they are there is done, one that ends without them has failed
    begun      sequences of cases that were begun before: what is there of them may be half of what they write
    """

    jobs: int
    timeout: float | None = None
    grace: float = GRACE
    tries: int = 1
    fail_fast: bool = False
    delay: float = 0.0
    hesitation: float = 0.0
    capture: str | None = None
    creates: tuple[str, ...] = ()
    begun: Collection[int] = frozenset()


@frozen
class Counts:
    """Where a batch stands; what was done before counts nowhere.

    building  environments that cases wait for
    began     monotonic time of the first start, None before it
    waiting   cases that are still to be started
    ages      seconds for which each of those at work has run, the longest first
    cases     those at work, in the same order
    limit     seconds for each attempt, None for no end
    left      seconds until the last one ends, where an earlier run tells (forecast.py)
    """

    total: int
    succeeded: int
    failed: int
    running: int
    building: int
    began: float | None = None
    waiting: int = 0
    ages: tuple[float, ...] = ()
    cases: tuple[Case, ...] = ()
    limit: float | None = None
    left: float | None = None

    @property
    def oldest(self) -> str:
        """The path of the script that has been at work for the longest, "" where that is not known."""
        return self.cases[0].script if self.cases else ""

    def left_at(self, rate: float) -> float:
        """Seconds until the last one ends: all that wait start at this rate (a second), each at work takes as long as others did."""
        if self.left is not None:
            return self.left
        usual = self.running / rate
        rest = sum(max(usual - age, 0.0) for age in self.ages)
        return self.waiting / rate + (rest / len(self.ages) if self.ages else 0.0)


@frozen
class Outcome:
    """What came of a batch.

    results  the last result of each case that ended, by sequence; of one that was ended with the run, that. Of the tail, the
             last words alone: the rest is the observer's
    left     cases that never ended by themselves
    reason   why there are such
    """

    results: dict[int, Result]
    left: int
    reason: str = ""
    interrupted: bool = False


@frozen
class Needs:
    """So many GPUs and so many CPUs for each case, None for nothing of its own."""

    gpus: int | None = None
    cpus: int | None = None

    def __bool__(self) -> bool:
        return self.gpus is not None or self.cpus is not None

    def __str__(self) -> str:
        return " and ".join(counted(number, what) for number, what in ((self.gpus, "GPU"), (self.cpus, "CPU")) if number is not None)


@frozen
class Resources:
    """Who takes places.

    jobs       cases at a time that the user asked for, None for as many as there is room for
    cpus       its part of the job's CPUs on this node
    variables  of its process
    """

    jobs: int | None
    cpus: int
    variables: Mapping[str, str]


def counted(number: int, what: str) -> str:
    """A number of things, in words."""
    return f"{number} {what}{'' if number == 1 else 's'}"


ORDERS = ("longest", "given")  #: in which the cases of a list may be begun: what is not known or took longest before, or as it was given


@frozen
class Terms:
    """What `plan` was given: `run` has the same options.

    timeout, grace  seconds
    tries           attempts at a case, by all workers together
    fail_fast       the first failure ends all workers' claims
    joblog          absolute path, None for none: the last worker makes it
    """

    timeout: float | None = None
    grace: float = GRACE
    tries: int = 1
    fail_fast: bool = False
    capture: str | None = None
    threads: int | None = None
    preload: bool = False
    joblog: str | None = None
    creates: tuple[str, ...] = ()
    launcher: tuple[str, ...] = ()
    gpus_per_case: int | None = None
    cpus_per_case: int | None = None

    @property
    def needs(self) -> Needs:
        """What each case gets for itself."""
        return Needs(self.gpus_per_case, self.cpus_per_case)

    def record(self) -> dict[str, Any]:
        """For a JSON record."""
        return asdict(self)

    def words(self) -> tuple[str, ...]:
        """What a command line says for it, but for what belongs to one call (fail_fast, joblog)."""
        said = {
            "--timeout": self.timeout,
            "--grace": None if self.grace == GRACE else self.grace,
            "--retries": None if self.tries == 1 else self.tries,
            "--capture": self.capture,
            "--launcher": shlex.join(self.launcher) or None,
            "--threads": self.threads,
            "--gpus-per-case": self.gpus_per_case,
            "--cpus-per-case": self.cpus_per_case,
        }
        once = [word for name, value in said.items() if value is not None for word in (name, str(value))]
        return (*once, *[word for name in self.creates for word in ("--creates", name)], *(("--preload",) if self.preload else ()))

    def options(self, jobs: int, delay: float, hesitation: float) -> BatchOptions:
        """Of a worker's batch: the rest is the worker's own."""
        return BatchOptions(
            jobs=jobs,
            timeout=self.timeout,
            grace=self.grace,
            tries=self.tries,
            fail_fast=self.fail_fast,
            delay=delay,
            hesitation=hesitation,
            capture=self.capture,
            creates=self.creates,
        )


def terms_of(extra: Mapping[str, Any]) -> Terms:
    """The terms that a run's maker has noted (`Asked.extra`); what a later version notes beside them is passed over."""
    noted = extra.get("terms", {})
    known: dict[str, Any] = {name: noted[name] for name in asdict(Terms()) if name in noted}
    return Terms(**{**known, **{name: tuple(known.get(name, ())) for name in ("creates", "launcher")}})
