"""The cases of one worker: a batch takes from them as from any other (`run.queue.Source`), and claims are made behind it."""

from __future__ import annotations

import contextlib
import time
from collections.abc import Iterator

from sharedenv.run.case import Case, Result
from sharedenv.run.claims.claims import Claims
from sharedenv.run.claims.suspicion import Suspicion
from sharedenv.run.listing import Listing

TOO_LONG = "what comes next takes longer than this job has left: starting nothing more"  #: why a worker near its time limit ends


class ClaimedCases:
    """What `claims` give, as cases of a ``listing``. Every environment is ready: a worker claims nothing before."""

    keys: tuple[str, ...] = ()

    def __init__(self, claims: Claims, listing: Listing, suspicion: Suspicion, until: float | None = None) -> None:
        """``until``: when this process is ended, seconds since the epoch; what is known to take longer is not begun."""
        self._claims, self._listing, self._suspicion = claims, listing, suspicion
        self._until = until
        if until is not None:
            claims.fits = self._fits
        self._places: dict[int, tuple[int, int]] = {}  # by sequence, of what is begun: position, attempts before
        self._closed = False
        self.trouble = ""  #: why nothing more is claimed, in words for the user

    @property
    def left(self) -> int:
        """Cases that are still to be begun by somebody."""
        return 0 if self._closed else self._claims.left

    @property
    def startable(self) -> bool:
        """Whether to ask for one is worth the while."""
        return self.left > 0 and (self._claims.held > 0 or time.monotonic() >= self._claims.due)

    def open(self, key: str) -> None:
        """It is ready anyway."""

    def drop(self, key: str) -> list[Case]:  # noqa: ARG002 - the protocol's signature
        """No case waits for an environment."""
        return []

    def take(self) -> Case | None:
        """Begins a case, for good; None when there is none to be had now."""
        try:
            begun = self._claims.begin()
        except OSError as error:
            self._close(f"nothing can be claimed ({error.strerror or error}): starting nothing more")
            return None
        if begun is None:
            self._heed_stop()
            return None
        case = self._listing.case(begun.position)
        self._places[case.sequence] = (begun.position, begun.attempts)
        return case

    def attempts(self, case: Case) -> int:
        """Attempts that were made at it before, by whomever."""
        return self._places[case.sequence][1]

    def put_back(self, case: Case) -> None:
        """Whoever comes next may have it, with the same attempt to make."""
        position, attempts = self._places.pop(case.sequence)
        with self._heeding():
            self._claims.put_back(position, attempts)

    def put_again(self, case: Case) -> None:
        """Whoever comes next may try it once more."""
        position, attempts = self._places.pop(case.sequence)
        with self._heeding():
            self._claims.try_again(position, attempts + 1)

    def ended(self, result: Result) -> None:
        """An attempt has ended."""
        self._claims.ended(None if result.done_before else result.seconds)
        if not result.interrupted and not result.done_before:
            self._suspicion.ended(result.seconds, succeeded=result.succeeded)
            self._claims.pace.cautious = self._suspicion.cautious
        if self._suspicion.broken:
            self._close("every script has failed at once here, so this machine may be at fault: starting nothing more")

    def tick(self, *, going: bool) -> str:
        """Gives back what waits too long, and all when nothing more is started (not ``going``). Why that must be, or ""."""
        with self._heeding():
            self._claims.tick()
            if not going or self._closed:
                self._claims.let_go()
        if going:
            self._heed_stop()
        return self.trouble

    def _heed_stop(self) -> None:
        if self._claims.stopped:
            self._close("the run was told to stop: starting nothing more")

    def _fits(self, position: int) -> bool:
        fits = self._until is None or time.time() + self._listing.seconds(position) < self._until
        if not fits:
            self._close(TOO_LONG)
        return fits

    def stop(self) -> None:
        """No worker is to begin anything more."""
        with self._heeding():
            self._claims.stop()

    def close(self) -> None:
        """Lets go of what is left, whatever happened."""
        with contextlib.suppress(OSError):
            self._claims.let_go()
        self._listing.close()

    @contextlib.contextmanager
    def _heeding(self) -> Iterator[None]:
        try:
            yield
        except FileNotFoundError:
            pass  # the run has ended without us, and its list was folded
        except OSError as error:
            self._close(f"nothing can be given back ({error.strerror or error}): starting nothing more")

    def _close(self, trouble: str) -> None:
        self._closed = True
        self.trouble = self.trouble or trouble
