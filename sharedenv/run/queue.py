"""Where a batch takes its cases from: a protocol, and the list of one process that has them all. Pure."""

from __future__ import annotations

import heapq
from collections import deque
from collections.abc import Collection, Iterable
from typing import Protocol

from sharedenv.run.case import Case


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
