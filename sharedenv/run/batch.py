"""The loop that runs cases, N at a time.

One thread, asleep until a child ends, a signal comes, an environment gets ready or a time is up. A freed slot is
filled before the ended case is reported, so that writing output costs no script its turn. The current folder is
changed before each start (Python can't ask posix_spawn to do it): whatever else runs in this process uses absolute
paths. Large outputs are looked after by a thread of their own (relief.py).
"""

from __future__ import annotations

import errno
import os
import platform
import signal
import time
from collections import deque
from collections.abc import Iterable, Sequence
from dataclasses import replace
from typing import Protocol

from sharedenv.errors import SharedenvError
from sharedenv.run.case import INTERRUPTED, UNBUILT, Case, Result
from sharedenv.run.groups import Groups
from sharedenv.run.orders import Counts, Options, Outcome
from sharedenv.run.queue import Queue
from sharedenv.run.relief import Relief
from sharedenv.run.scheduling import calm, wake_promptly
from sharedenv.run.signals import Stage, Stopping
from sharedenv.run.slot import Slot, close_slot, result_of, spools_of
from sharedenv.run.spool import Spool, open_streams
from sharedenv.run.starter import Prepared, Starter
from sharedenv.run.telling import last_words, telling_line
from sharedenv.run.wakeup import Wakeup

#: no process, descriptor or memory to be had now: wait for one that runs to end
_CROWDED = frozenset({errno.EAGAIN, errno.EMFILE, errno.ENFILE, errno.ENOMEM})
#: what says how much of it is to be had
_LIMITS = {errno.EAGAIN: "ulimit -u", errno.EMFILE: "ulimit -n"}
_MANY = 100  # cases from which on a word with the scheduler pays
_TICK = 0.5  # seconds between looks at the display, when nothing else happens


class Observer(Protocol):
    """Who is told. Called from the loop: be quick."""

    def started(self, case: Case, group: int, *, result_follows: bool) -> None:
        """An attempt at a case has begun, as this process group. ``result_follows``: `record` comes next, for another case."""

    def output(self, case: Case, result: Result, stdout: Spool, stderr: Spool) -> None:
        """A case ended for good: pass on what it wrote. OSError when that fails: the case counts as failed, the
        batch drains.
        """

    def record(self, case: Case, result: Result, last: bool) -> str:
        """An attempt ended (``last``: no other follows): put it down. A text when that fails: the batch drains and
        says so.
        """

    def tick(self, batch: Batch) -> None:
        """Something may have changed, or half a second went by."""

    def unbuilt(self, cases: Sequence[Case], text: str) -> None:
        """Cases that need one environment will never run, and why; `record` follows for each."""

    def notice(self, text: str) -> None:
        """Something the user should know now."""


class Batch:
    """One batch of cases. `deliver` may be called from any thread, before and during `run`; the rest belongs to the
    loop.
    """

    def __init__(self, cases: Iterable[Case], starter: Starter, options: Options, observer: Observer) -> None:
        self.options = options
        self._queue = Queue(cases)
        self._total = self._queue.left
        self._starter = starter
        self._observer = observer
        self._prepared: dict[str, Prepared] = {}
        self._arrivals: deque[tuple[str, Prepared | SharedenvError]] = deque()
        self._slots: dict[int, Slot] = {}
        self._attempts: dict[int, int] = {}
        self._results: dict[int, Result] = {}
        self._unsettled: dict[int, Result] = {}  # the last of those that are to be tried again, or were ended with the run
        self._succeeded = 0
        self._groups = Groups(options.grace)
        self._stopping = Stopping()
        self._crowded = False
        self._unclosed = 0  # attempts that have ended and hold their descriptors still
        self._began: float | None = None
        self._next_start = 0.0
        self._watching = 0.0
        self._relief = Relief(self._slots, options.jobs)
        self._host = platform.node()
        self._wakeup: Wakeup | None = None
        self._home = -1

    def deliver(self, key: str, outcome: Prepared | SharedenvError) -> None:
        """The environment of a key is ready, or will never be."""
        self._arrivals.append((key, outcome))
        if (wakeup := self._wakeup) is not None:
            wakeup.poke()

    def drain(self, reason: str) -> None:
        """Starts nothing more; what runs may finish."""
        if self._stopping.drain(reason):
            self._observer.notice(reason)

    def counts(self) -> Counts:
        """Where it stands."""
        done = len(self._results)
        building = len(self._queue.keys)
        return Counts(self._total, self._succeeded, done - self._succeeded, len(self._slots), building, self._began)

    def run(self) -> Outcome:
        """Runs until all is done or the user ends it. Main thread only: signals are its business meanwhile."""
        if self._total >= _MANY:
            wake_promptly()
            calm()
        self._home = os.open(".", getattr(os, "O_PATH", os.O_RDONLY) | os.O_CLOEXEC)
        with Wakeup() as wakeup, self._relief:
            self._wakeup = wakeup
            for descriptor in self._starter.descriptors():
                wakeup.watch(descriptor)
            try:
                self._loop(wakeup)
            finally:
                self._wakeup = None
                self._abandon()
                os.close(self._home)
        results = {**self._unsettled, **self._results}  # as the journal has it, when an end comes before the next try
        return Outcome(results, self._total - len(self._results), self._stopping.reason, self._stopping.ends)

    def _loop(self, wakeup: Wakeup) -> None:
        while True:
            self._receive()
            self._fill()
            if not self._slots and not self._groups.busy and not self._more_to_come():
                return
            self._observer.tick(self)
            for number in wakeup.wait(self._patience()):
                self._signal(number)
            self._collect()
            self._watch()

    def _more_to_come(self) -> bool:
        return self._stopping.stage is Stage.GOING and self._queue.left > 0

    def _patience(self) -> float:
        now = time.monotonic()
        seconds = _TICK
        if self._groups.busy:
            seconds = min(seconds, self._groups.next_look(now))
        if self.options.timeout is not None and self._slots:
            seconds = min(seconds, min(slot.deadline for slot in self._slots.values()) - now)
        if self._next_start and len(self._slots) < self.options.jobs and self._queue.startable:
            seconds = min(seconds, self._next_start - now)
        return seconds

    def _receive(self) -> None:
        while self._arrivals:
            key, outcome = self._arrivals.popleft()
            if isinstance(outcome, Prepared):
                self._prepared[key] = outcome
                self._queue.open(key)
                continue
            dropped = self._queue.drop(key)
            text = f"{UNBUILT}: {telling_line(outcome)}"
            if dropped:
                self._observer.unbuilt(dropped, text)
            for case in dropped:
                self._settle(case, Result(case.sequence, 1, time.time(), host=self._host, error=text))

    def _fill(self) -> None:
        while (
            len(self._slots) < self.options.jobs
            and self._stopping.stage is Stage.GOING
            and not (self._crowded and (self._slots or self._unclosed))
            and self._queue.startable
        ):
            if self.options.delay:
                now = time.monotonic()
                if now < self._next_start:
                    return
                self._next_start = now + self.options.delay
            case = self._queue.take()
            if case is not None:
                self._start(case)

    def _start(self, case: Case) -> None:
        attempt = self._attempts.get(case.sequence, 0) + 1
        slot = None
        what = "its folder can't be entered"
        try:
            os.chdir(case.folder)
            what = "its output can't be kept" + ("" if self.options.capture is None else f" in {self.options.capture}")
            stdout, stderr = open_streams(self.options.capture)
            slot = Slot(case, attempt, stdout, stderr)
            what = "its Python can't be started"
            prepared = self._prepared[case.key]
            pid = self._starter.start(case, prepared, stdout.descriptor, stderr.descriptor)
        except OSError as error:
            if slot is not None:
                close_slot(slot)
            self._not_started(case, attempt, what, error)
            return
        finally:
            os.fchdir(self._home)
        if self.options.timeout is not None:
            slot.deadline = slot.began + self.options.timeout
        self._slots[pid] = slot
        self._observer.started(case, pid, result_follows=self._unclosed > 0)
        if self._began is None:
            self._began = slot.began

    def _not_started(self, case: Case, attempt: int, what: str, error: OSError) -> None:
        if error.errno in _CROWDED and (self._slots or self._unclosed):
            self._crowded = True
            self._queue.put_back(case)
            return
        self._attempts[case.sequence] = attempt
        limit = f" (see {_LIMITS[error.errno]})" if error.errno in _LIMITS else ""
        text = f"{what}: {error.strerror}{limit}"
        self._settle(case, Result(case.sequence, attempt, time.time(), host=self._host, error=text))

    def _collect(self) -> None:
        ended = list(self._starter.reap())
        slots = []
        for one in ended:
            if (slot := self._slots.pop(one.pid, None)) is not None:
                self._relief.release(one.pid, slot)
                self._groups.leader_ended(one.pid)
                self._attempts[slot.case.sequence] = slot.attempt
                slots.append((slot, one, time.monotonic() - slot.began))
        if not slots:
            return
        self._crowded = False
        self._unclosed = len(slots)
        if self.options.hesitation:
            self._hesitate([slot for slot, one, _ in slots if os.WIFSIGNALED(one.status) and os.WTERMSIG(one.status) == signal.SIGTERM])
        if not self.options.fail_fast:
            self._fill()
        for slot, one, seconds in slots:
            self._settle(slot.case, result_of(slot, one, seconds, self._host), spools_of(slot))
            close_slot(slot)
        self._unclosed = 0

    def _settle(self, case: Case, result: Result, spools: tuple[Spool, ...] = ()) -> None:
        again = (
            not result.succeeded
            and not result.interrupted
            and result.attempt < self.options.tries
            and self._stopping.stage is Stage.GOING
            and case.key in self._prepared
        )
        if spools and not again:
            try:
                self._observer.output(case, result, *spools)
            except OSError as error:
                passed, written = ("passed on", "written") if error.filename is None else (f"kept in {error.filename} for its turn",) * 2
                result = replace(result, error=result.error or f"its output could not be {passed}: {error.strerror}")
                self.drain(f"output can't be {written} ({error.strerror}): starting nothing more")
        if trouble := self._observer.record(case, result, not again):
            self.drain(trouble)
        if result.tail:
            result = replace(result, tail=last_words(result.tail))  # the journal has the rest: 4 KB each of thousands that fail
        self._unsettled.pop(case.sequence, None)
        if again:
            self._queue.put_again(case)
        if again or result.interrupted:
            self._unsettled[case.sequence] = result
        else:
            self._results[case.sequence] = result
            self._succeeded += result.succeeded
            if self.options.fail_fast and not result.succeeded:
                self.drain("a script failed: starting nothing more (--fail-fast)")

    def _hesitate(self, terminated: list[Slot]) -> None:
        """Whether the scripts that TERM has ended were ended with us, or each for itself."""
        asked = [slot for slot in terminated if not slot.reason]
        deadline = time.monotonic() + self.options.hesitation
        while asked and not self._stopping.signalled and (rest := deadline - time.monotonic()) > 0 and self._wakeup:
            for number in self._wakeup.wait(rest):
                self._heed(number)
        if self._stopping.signalled:
            for slot in asked:
                slot.reason = INTERRUPTED

    def _signal(self, number: int) -> None:
        if self._stopping.drains(number):
            self._heed(number)  # first: a script that TERM has ended beside us was ended with us, and none takes its slot
            self._collect()
        else:
            self._collect()  # first: what has ended already is not ended by us
            self._heed(number)

    def _heed(self, number: int) -> None:
        before = self._stopping.stage
        if self._stopping.suspends(number):
            began = time.monotonic()
            self._groups.suspend(set(self._slots))
            for slot in self._slots.values():
                slot.deadline += time.monotonic() - began
            return
        if text := self._stopping.signal(number, len(self._slots)):
            self._observer.notice(text)
        now = time.monotonic()
        if self._stopping.stage is Stage.ENDING and before is not Stage.ENDING:
            for pid, slot in self._slots.items():
                slot.reason = slot.reason or INTERRUPTED
                self._groups.end(pid, now)
            self._groups.end_left_behind(now)
        elif self._stopping.stage is Stage.KILLING:
            self._groups.kill_all(now)
            for pid in self._slots:
                self._starter.insist(pid)

    def _watch(self) -> None:
        now = time.monotonic()
        if self.options.timeout is not None:
            for pid, slot in self._slots.items():
                if now >= slot.deadline and not slot.reason:
                    slot.reason = f"timed out after {self.options.timeout:g} s"
                    self._groups.end(pid, now)
                    slot.deadline = float("inf")
        if self._groups.busy:
            for pid in self._groups.watch(now, set(self._slots)):
                self._starter.insist(pid)
        if now >= self._watching:
            self._groups.forget_gone()
            self._watching = now + _TICK
        while self._relief.news:
            self._observer.notice(self._relief.news.popleft())

    def _abandon(self) -> None:
        # only after an error of our own is something still running here: it must not outlive us
        now = time.monotonic()
        for pid, slot in self._slots.items():
            self._groups.kill(pid, now)
            self._relief.release(pid, slot)
            close_slot(slot)
