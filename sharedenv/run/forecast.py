"""How long a batch has still to go, where it is known how long some of its cases took before. Pure."""

from __future__ import annotations

from collections.abc import Mapping, Sequence


class Forecast:
    """``known``: seconds that cases took in an earlier run, by sequence; the others take as long as those that have ended here."""

    def __init__(self, known: Mapping[int, float]) -> None:
        self._known = known
        self._left = sum(known.values())  # of those that have not ended
        self._unended = len(known)
        self._before = self._now = 0.0  # of those that have ended and were known: how long they took before, and here
        self._seconds, self._ended = 0.0, 0  # of all that have ended here

    def ended(self, sequence: int, seconds: float) -> None:
        """A case has ended for good here, after so long."""
        self._seconds += seconds
        self._ended += 1
        if (before := self._known.get(sequence)) is not None:
            self._left -= before
            self._unended -= 1
            self._before += before
            self._now += seconds

    def left(self, running: Sequence[tuple[int, float]], waiting: int) -> float | None:
        """Seconds until all have ended, by those at work (sequence, seconds for which it has run) and the number of those that wait.

        None where it is known of too few of them: less than half.
        """
        at_work = [(self._known.get(sequence), age) for sequence, age in running]
        waiting_known = self._unended - sum(before is not None for before, _ in at_work)
        if not at_work or 2 * waiting_known < waiting:
            return None
        pace = self._now / self._before if self._before and self._now else 1.0
        usual = self._seconds / self._ended if self._ended else pace * self._left / max(self._unended, 1)
        rests = [max((usual if before is None else pace * before) - age, 0.0) for before, age in at_work]
        to_come = pace * (self._left - sum(before for before, _ in at_work if before is not None))
        return max((max(to_come, 0.0) + usual * max(waiting - waiting_known, 0) + sum(rests)) / len(at_work), *rests)
