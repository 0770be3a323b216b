"""What a batch is told of how to run, and what it tells of where it stands and what came of it. Pure."""

from __future__ import annotations

from collections.abc import Collection

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
