"""What has come of the cases of a batch until now. Pure."""

from __future__ import annotations

from sharedenv.run.case import Case, Result


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
