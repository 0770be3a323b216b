"""How many cases a worker claims at a time: by the time they take, not by their number. Pure."""

from __future__ import annotations

from collections import deque

WORTH = 3.0  #: seconds that a block is to keep its worker busy
_PART = 4  # of an even part of what is left, a block is at most one in so many


class Pace:
    """What a worker knows of how long cases take. ``jobs``: that it runs at a time."""

    def __init__(self, jobs: int) -> None:
        self._jobs = jobs
        self._seen: deque[float] = deque(maxlen=max(8, 4 * jobs))
        self._sum = 0.0
        self._ended = 0
        self.cautious = False  #: one case at a time

    def ended(self, seconds: float) -> None:
        """A case took so long."""
        self._ended += 1
        if len(self._seen) == self._seen.maxlen:
            self._sum -= self._seen[0]
        self._seen.append(seconds)
        self._sum += seconds

    @property
    def mean(self) -> float | None:
        """Seconds that the last cases took, in the mean; None before any has ended."""
        return max(self._sum, 0.0) / len(self._seen) if self._seen else None

    @property
    def wanted(self) -> int:
        """Cases that keep this worker busy for as long as a block is to, 1 or more; at most twice those that have ended here: the first of
        a sweep may be its cheapest.
        """
        if self.cautious:
            return 1
        mean = self.mean
        return self._jobs if mean is None else max(1, min(int(WORTH * self._jobs / max(mean, 1e-4)), 2 * max(self._ended, self._jobs)))

    def size(self, left: int, slots: int) -> int:
        """Cases to claim of ``left``, 1 or more; ``slots``: those that all workers run at a time."""
        return max(1, min(self.wanted, left * self._jobs // (slots * _PART)))
