"""Where a batch takes its cases from: a protocol, and one process's list of them all; and what has come of them. Pure."""

from __future__ import annotations

import heapq
from collections import deque
from collections.abc import Collection, Iterable
from typing import Protocol

from sharedenv.run.case import Case, Result


class CaseSource(Protocol):
    """Cases that wait for their environment or for their turn. What is taken is begun, or put back at once."""

    @property
    def left(self) -> int:
        """Cases that are still to be taken, as far as is known now."""

    @property
    def keys(self) -> Collection[str]:
        """Environments that cases still wait for."""

    @property
    def startable(self) -> bool:
        """Whether `take` would give a case."""

    def open(self, key: str, /) -> None:
        """The environment of a key is ready."""

    def drop(self, key: str, /) -> list[Case]:
        """The environment of a key will never be ready: its cases, which are to be taken no more."""

    def take(self) -> Case | None:
        """The next case, or None when none is ready."""

    def attempts(self, case: Case, /) -> int:
        """Attempts that others have made at a case that was taken."""

    def put_back(self, case: Case, /) -> None:
        """It could not be started just now: it is the next one again."""

    def put_again(self, case: Case, /) -> None:
        """It failed and is to be tried once more."""


class Queue:
    """A Source that has all its cases from the start.

    In the order asked, among the cases whose environment is ready; those that are tried again come after all others.
    """

    def __init__(self, cases: Iterable[Case]) -> None:
        self._waiting: dict[str, deque[tuple[int, Case]]] = {}
        self._ready: dict[str, deque[tuple[int, Case]]] = {}
        self._heads: list[tuple[int, str]] = []  # a heap: position of the first case of each ready environment
        self._back: deque[Case] = deque()
        self._again: deque[Case] = deque()
        self.left = 0
        for position, case in enumerate(cases):
            self._waiting.setdefault(case.key, deque()).append((position, case))
            self.left += 1

    @property
    def keys(self) -> tuple[str, ...]:
        """Environments that cases still wait for, first needed first."""
        return tuple(self._waiting)

    def open(self, key: str) -> None:
        """The environment is ready."""
        if cases := self._waiting.pop(key, None):
            self._ready[key] = cases
            heapq.heappush(self._heads, (cases[0][0], key))

    def drop(self, key: str) -> list[Case]:
        """The environment will never be ready: its cases, taken off the queue."""
        cases = [case for _, case in self._waiting.pop(key, ())]
        self.left -= len(cases)
        return cases

    def take(self) -> Case | None:
        """The next case, or None when none is ready."""
        if self._back:
            case = self._back.popleft()
        elif self._heads:
            _, key = heapq.heappop(self._heads)
            cases = self._ready[key]
            case = cases.popleft()[1]
            if cases:
                heapq.heappush(self._heads, (cases[0][0], key))
        elif self._again:
            case = self._again.popleft()
        else:
            return None
        self.left -= 1
        return case

    def attempts(self, _case: Case) -> int:
        """None: there are no others."""
        return 0

    @property
    def startable(self) -> bool:
        """Whether `take` would give a case."""
        return bool(self._back or self._heads or self._again)

    def put_back(self, case: Case) -> None:
        """It could not be started just now: it is the next one again."""
        self._back.append(case)
        self.left += 1

    def put_again(self, case: Case) -> None:
        """It failed and is to be tried once more, after all others."""
        self._again.append(case)
        self.left += 1


class Tally:
    """The last result of each case, and how often it was tried here."""

    def __init__(self) -> None:
        self.results: dict[int, Result] = {}  #: of those that have ended for good, by sequence
        self.succeeded = 0
        self.done_before = 0  #: of these, how many were not started
        self._attempts: dict[int, int] = {}
        self._unsettled: dict[int, Result] = {}  # the last of those that are to be tried again, or were ended with the run

    @property
    def failed(self) -> int:
        """How many have failed for good."""
        return len(self.results) - self.succeeded

    @property
    def every(self) -> dict[int, Result]:
        """The last result of each, as the journal has it: also when an end comes before the next try."""
        return {**self._unsettled, **self.results} if self._unsettled else self.results  # a copy of 100,000 takes 10 MB

    def next_attempt(self, case: Case, others: int) -> int:
        """The number of the next attempt; ``others``: attempts that are known of from elsewhere."""
        return max(self._attempts.get(case.sequence, 0), others) + 1

    def tried(self, case: Case, attempt: int) -> None:
        """An attempt was made."""
        self._attempts[case.sequence] = attempt

    def note(self, case: Case, result: Result, *, again: bool) -> None:
        """What an attempt came to; ``again``: another follows."""
        self._unsettled.pop(case.sequence, None)
        if again or result.interrupted:
            self._unsettled[case.sequence] = result
        else:
            self.results[case.sequence] = result
            self.succeeded += result.succeeded
            self.done_before += result.done_before
