"""The loop that runs cases, N at a time.

One thread, asleep until a child ends, a signal comes, an environment gets ready or a time is up. A freed slot is
filled before the ended case is reported, so that writing output costs no script its turn. The current folder is
changed before each start (Python can't ask posix_spawn to do it): whatever else runs in this process uses absolute
paths. What scripts write is read by a thread of its own (reader.py).
"""

from __future__ import annotations

import os
import platform
import time
from collections import deque
from dataclasses import replace

from sharedenv.errors import SharedenvError
from sharedenv.run.case import INTERRUPTED, UNBUILT, Case, Result
from sharedenv.run.filling import has_placeholder
from sharedenv.run.groups import Groups
from sharedenv.run.leftovers import Leftovers
from sharedenv.run.observer import BatchObserver, pass_on
from sharedenv.run.pipe import open_pipes
from sharedenv.run.place import enter
from sharedenv.run.places import Places
from sharedenv.run.products import are_there
from sharedenv.run.queue import CaseSource, Tally
from sharedenv.run.reader import Reader
from sharedenv.run.scheduling import calm, wake_promptly
from sharedenv.run.signals import Stage, Stopping
from sharedenv.run.slot import Slot, at_work, result_of, spools_of
from sharedenv.run.spool import Spool
from sharedenv.run.starter import Prepared, Starter, is_crowded, refusal
from sharedenv.run.telling import last_words, telling_line
from sharedenv.run.terms import BatchOptions, Counts, Outcome
from sharedenv.run.wakeup import Wakeup
from sharedenv.run.witness import Witness

_MANY = 100  # cases: from so many on a word with the scheduler pays; of those that are done already, so many are passed over in one go
_TICK = 0.5  # seconds between looks at the display, when nothing else happens
_ALONE = 0.01  # the same where no other thread reads what scripts write


class Batch:
    """One batch of cases. `deliver` may be called from any thread, before and during `run`; the rest belongs to the loop."""

    def __init__(
        self, source: CaseSource, starter: Starter, options: BatchOptions, observer: BatchObserver, places: Places | None = None
    ) -> None:
        self.options = options
        self._places = places or Places()
        self._source = source
        self._total = source.left
        self._starter = starter
        self._observer = observer
        self._prepared: dict[str, Prepared] = {}
        self._arrivals: deque[tuple[str, Prepared | SharedenvError]] = deque()
        self._slots: dict[int, Slot] = {}
        self._ended: list[Slot] = []  # their scripts have ended; they hold their descriptors until they are reported
        self._tally = Tally()
        self._groups = Groups(options.grace)
        self._stopping = Stopping()
        self._witness = Witness(options.hesitation)
        self._crowded = False
        self._reporting = 0  # attempts that are being reported
        self._began: float | None = None
        self._next_start = 0.0
        self._watching = 0.0
        self._reader = Reader(options.jobs, self._poke)
        self._leftovers = Leftovers(observer, self._reader)
        self._host = platform.node()
        self._wakeup: Wakeup | None = None
        self._home = -1

    def deliver(self, key: str, outcome: Prepared | SharedenvError) -> None:
        """The environment of a key is ready, or will never be."""
        self._arrivals.append((key, outcome))
        self._poke()

    def _poke(self) -> None:
        if (wakeup := self._wakeup) is not None:
            wakeup.poke()

    def drain(self, reason: str) -> None:
        """Starts nothing more; what runs may finish. Without a reason, nothing happens."""
        if reason and self._stopping.drain(reason):
            self._observer.notice(reason)

    @property
    def going(self) -> bool:
        """Whether it starts cases still."""
        return self._stopping.stage is Stage.GOING

    def counts(self) -> Counts:
        """Where it stands."""
        tally, (ages, cases) = self._tally, at_work(self._slots.values())
        total, succeeded = self._total - tally.done_before, tally.succeeded - tally.done_before
        counts = Counts(total, succeeded, tally.failed, len(ages), len(self._source.keys), self._began, self._source.left)
        return replace(counts, ages=ages, cases=cases, limit=self.options.timeout)

    def run(self) -> Outcome:
        """Runs until all is done or the user ends it. Main thread only: signals are its business meanwhile."""
        if self._total >= _MANY:
            wake_promptly()
            calm()
        self._home = os.open(".", getattr(os, "O_PATH", os.O_RDONLY) | os.O_CLOEXEC)
        with Wakeup() as wakeup, self._reader, self._witness:
            self._wakeup = wakeup
            for descriptor in self._starter.descriptors():
                wakeup.watch(descriptor)
            try:
                self._loop(wakeup)
                self.drain(self._leftovers.look(0))
            finally:
                self._wakeup = None
                self._abandon()
                os.close(self._home)
        return Outcome(self._tally.every, self._total - len(self._tally.results), self._stopping.reason, self._stopping.ends)

    def _loop(self, wakeup: Wakeup) -> None:
        while True:
            self._receive()
            self._fill()
            if not self._slots and not self._ended and not self._groups.busy and not (self.going and self._source.left):
                return
            self._observer.tick(self)
            for number in filter(self._witness.is_news, wakeup.wait(self._patience())):  # each is looked at once the one before was heeded
                self._signal(number)
            if self._reader.alone:
                self._reader.serve(0)
            self._collect()
            self._watch()

    def _patience(self) -> float:
        now = time.monotonic()
        times = [now + (_ALONE if self._reader.alone else _TICK), *(slot.due for slot in self._ended)]
        times += [slot.deadline for slot in self._slots.values()]
        if self._groups.busy:
            times.append(now + self._groups.next_look(now))
        if self._next_start and len(self._slots) < self.options.jobs and self._source.startable:
            times.append(self._next_start)
        return min(times) - now

    def _receive(self) -> None:
        while self._arrivals:
            key, outcome = self._arrivals.popleft()
            if isinstance(outcome, Prepared):
                self._prepared[key] = outcome
                self._source.open(key)
                continue
            dropped = self._source.drop(key)
            text = f"{UNBUILT}: {telling_line(outcome)}"
            if dropped:
                self._observer.unbuilt(dropped, text)
            for case in dropped:
                self._settle(case, Result(case.sequence, 1, time.time(), host=self._host, error=text))

    def _fill(self) -> None:
        enough = self._tally.done_before + _MANY
        while (
            len(self._slots) < self.options.jobs
            and self.going
            and not (self._crowded and self._busy)
            and not (self.options.fail_fast and self._ended)
            and self._source.startable
        ):
            if self.options.delay:
                now = time.monotonic()
                if now < self._next_start:
                    return
                self._next_start = now + self.options.delay
            case = self._source.take()
            if case is not None:
                self._start(case)
            if self._tally.done_before >= enough:
                self._poke()  # signals are heard between them
                return

    def _start(self, case: Case) -> None:
        attempt = self._tally.next_attempt(case, self._source.attempts(case))
        if attempt == 1 and case.sequence not in self.options.begun and are_there(case, self.options.creates):
            self._next_start = 0.0
            self._settle(case, Result(case.sequence, 1, time.time(), status=0, host=self._host, done_before=True))
            return
        slot, place, what = None, None, "no slot can be had for it"
        try:
            place = self._places.take()
            what = "its folder can't be entered"
            enter(place.folder(case), make=has_placeholder(case.cwd))
            capture = place.file(self.options.capture, case)
            what = "its output can't be kept" + ("" if capture is None else f" in {capture}")
            prepared = self._prepared[case.key]
            slot = Slot(case, attempt, *open_pipes(capture), place, prepared.marks(case, attempt))
            what = prepared.unstarted
            pid = self._starter.start(case, prepared, slot.stdout.writer, slot.stderr.writer, place.at(case, attempt))
        except OSError as error:
            if slot is not None:
                slot.close()
            if place is not None:
                self._places.give_back(place)
            self._not_started(case, attempt, what, error)
            return
        finally:
            os.fchdir(self._home)
        if self.options.timeout is not None:
            slot.deadline = slot.began + self.options.timeout
        self._slots[pid] = slot
        slot.started()
        self._reader.follow(slot)
        self._observer.started(case, pid, result_follows=self._reporting > 0)
        self._began = slot.began if self._began is None else self._began

    def _not_started(self, case: Case, attempt: int, what: str, error: OSError) -> None:
        if is_crowded(error) and (self._busy or self._leftovers):
            self._crowded = True
            self._source.put_back(case)
            if not self._busy:
                self.drain(self._leftovers.look(0))  # nothing else has what it lacks
            return
        self._tally.tried(case, attempt)
        self._settle(case, Result(case.sequence, attempt, time.time(), host=self._host, error=f"{what}: {refusal(error)}"))

    @property
    def _busy(self) -> bool:
        """Whether attempts hold processes or descriptors that they will give back."""
        return bool(self._slots or self._ended or self._reporting)

    def _collect(self) -> None:
        for one in self._starter.reap():
            if (slot := self._slots.pop(one.pid, None)) is not None:
                self._places.give_back(slot.place)
                self._tally.tried(slot.case, slot.attempt)
                slot.end(one)
                self._groups.leader_ended(one.pid, slot.marks if slot.killed else ())
                self._ended.append(slot)
        now = time.monotonic()
        if silent := [slot for slot in self._ended if not slot.writes or now >= slot.due]:
            self._ended = [slot for slot in self._ended if slot not in silent]
            self._report(silent)

    def _report(self, slots: list[Slot]) -> None:
        self._crowded = False
        self._reporting = len(slots)
        if self.options.hesitation:
            self._hesitate([slot for slot in slots if slot.terminated])
        if not self.options.fail_fast:
            self._fill()
        for slot in slots:
            held = slot.writes  # before: what comes between is late
            outputs = slot.take()
            again = self._settle(slot.case, result_of(slot, outputs, self._host, self.options.creates), spools_of(outputs))
            if held:
                self._leftovers.follow(slot, wanted=not again)
            else:
                self._reader.forget(slot)
                slot.close()
        self._reporting = 0

    def _settle(self, case: Case, result: Result, spools: tuple[Spool, ...] = ()) -> bool:
        """Reports an attempt; whether another follows."""
        again = (
            not result.succeeded
            and not result.interrupted
            and result.attempt < self.options.tries
            and self._stopping.stage is Stage.GOING
            and case.key in self._prepared
        )
        if spools and not again:
            result, trouble = pass_on(self._observer, case, result, spools)
            self.drain(trouble)
        self.drain(self._observer.record(case, result, not again))
        for spool in spools:
            spool.close()
        if result.tail:
            result = replace(result, tail=last_words(result.tail))  # the journal has the rest: 4 KB each of thousands that fail
        self._tally.note(case, result, again=again)
        if again:
            self._source.put_again(case)
        elif self.options.fail_fast and not result.succeeded and not result.interrupted:
            self.drain("a script failed: starting nothing more (--fail-fast)")
        return again

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
            stopped = self._groups.suspend(set(self._slots))
            for slot in self._slots.values():
                slot.deadline += stopped
            return
        if text := self._stopping.signal(number, len(self._slots)):
            self._observer.notice(text)
        now = time.monotonic()
        if self._stopping.stage is Stage.ENDING and before is not Stage.ENDING:
            told = self._witness.heard(number)
            for pid, slot in self._slots.items():
                slot.reason = slot.reason or INTERRUPTED
                self._groups.end(pid, now, told=told)
            self._groups.end_left_behind(now)
        elif self._stopping.stage is Stage.KILLING:
            self._groups.kill_all(now)
            for pid in self._slots:
                self._starter.insist(pid)

    def _watch(self) -> None:
        now = time.monotonic()
        for pid, slot in self._slots.items():
            if now >= slot.deadline and not slot.reason:
                slot.reason = f"timed out after {self.options.timeout:g} s"
                self._groups.end(pid, now)
                slot.deadline = float("inf")
        if self._groups.busy:
            for pid in self._groups.watch(now, set(self._slots)):
                self._starter.insist(pid)
        if now >= self._watching:
            self._groups.look()
            self._watching = now + _TICK
        if self._leftovers:
            self.drain(self._leftovers.look())
        while self._reader.news:
            self._observer.notice(self._reader.news.popleft())

    def _abandon(self) -> None:
        # only after an error of our own is something still running here: it must not outlive us
        now = time.monotonic()
        for pid in self._slots:
            self._groups.kill(pid, now)
        for slot in (*self._slots.values(), *self._ended):
            slot.close()
        self._leftovers.look(0)
