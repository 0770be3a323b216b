"""A broken node must not eat the list: each case that it takes fails at once, so that it takes more than all others. Pure."""

from __future__ import annotations

from collections.abc import Callable, Iterable

FIRST = 3  #: cases that fail at once before a worker is suspected; more where it runs more at a time
MORE = 3  #: that it may claim one by one then
_AT_ONCE = 5.0  # seconds, where no case has succeeded elsewhere
_PART = 10  # of the median of successes elsewhere, the failures take less than one in so many


class Suspicion:
    """What one worker thinks of itself.

    jobs       cases that it runs at a time
    elsewhere  seconds that successes of others took; asked for once, when its first cases have failed
    """

    def __init__(self, jobs: int, elsewhere: Callable[[], Iterable[float]]) -> None:
        self._first = max(FIRST, jobs)
        self._elsewhere = elsewhere
        self._failures: list[float] = []
        self._cleared = False
        self._limit = _AT_ONCE

    @property
    def cautious(self) -> bool:
        """Whether it is to claim one case at a time."""
        return not self._cleared and len(self._failures) >= self._first

    @property
    def broken(self) -> bool:
        """Whether it is to claim nothing more."""
        return not self._cleared and len(self._failures) >= self._first + MORE

    def ended(self, seconds: float, *, succeeded: bool) -> None:
        """A case took so long."""
        if self._cleared:
            return
        self._failures.append(seconds)
        if len(self._failures) == self._first and (others := list(self._elsewhere())):
            self._limit = sorted(others)[len(others) // 2] / _PART
        known = len(self._failures) >= self._first
        self._cleared = succeeded or (known and any(taken >= self._limit for taken in self._failures))
