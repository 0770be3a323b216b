"""A folder in memory and workers in threads of which one runs at a time: which, and for how long, a seed decides.

Every call on the folder is a place where a worker can be put to sleep or killed, before the call or after it; time is made up.
"""

from __future__ import annotations

import heapq
import random
import threading
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

from sharedenv.run.claims.blocks import FREE, decode_token
from sharedenv.run.claims.claims import Begun, Claims

TAKEOVER = 180.0


class Killed(BaseException):
    """The end of a worker, at whatever it was doing."""


class Lab:
    """Made-up time, and who runs next. ``latency``: seconds that a call on the folder takes."""

    def __init__(self, seed: int, latency: float = 0.003) -> None:
        self.random = random.Random(seed)
        self.now = 0.0
        self.calls: Counter[str] = Counter()
        self.files: dict[str, bytes] = {}
        self.latency = latency
        self._waiting: list[tuple[float, float, Actor]] = []
        self._over = threading.Lock()

    def add(self, actor: Actor, at: float = 0.0) -> None:
        """Lets an actor begin at a time."""
        heapq.heappush(self._waiting, (at, self.random.random(), actor))

    def run(self) -> None:
        """Until nobody wants to run any more."""
        self._over.acquire()
        self._wake_next(None)
        self._over.acquire()
        self._over.release()

    def pass_turn(self, actor: Actor, at: float | None) -> None:
        """Gives the turn to who is next; ``at``: when this actor wants it again, None for never."""
        if at is not None:
            self.add(actor, at)
        if self._wake_next(actor) and at is not None:
            actor.go.acquire()

    def _wake_next(self, actor: Actor | None) -> bool:
        """Whether it is another's turn now: one who is next himself runs on, which saves most of the time of a simulation."""
        if not self._waiting:
            self._over.release()
            return True
        at, _, following = heapq.heappop(self._waiting)
        self.now = max(self.now, at)
        if following is actor:
            return False
        following.go.release()
        return True


class Actor:
    """A worker: `body` runs in a thread, one stretch between two calls at a time."""

    def __init__(self, lab: Lab, name: str) -> None:
        self.lab, self.name = lab, name
        self.go = threading.Lock()
        self.go.acquire()
        self.dead = False
        self.frozen_since = -1.0
        self.doom = 0.0  # chance to be killed at a call
        self.drowsy = 0.0  # chance to be put to sleep at a call
        self.naps: Sequence[float] = (1.0, 100.0, 400.0)
        threading.Thread(target=self._thread, daemon=True).start()

    def body(self) -> None:
        raise NotImplementedError

    def _thread(self) -> None:
        self.go.acquire()
        try:
            self.body()
        except Killed:
            pass
        finally:
            self.dead = True
            self.lab.pass_turn(self, None)

    def sleep(self, seconds: float) -> None:
        self.lab.pass_turn(self, self.lab.now + seconds)

    def touch(self) -> None:
        """A place where something may happen to it."""
        lab = self.lab
        if lab.random.random() < self.doom:
            raise Killed
        if lab.random.random() < self.drowsy:
            self.frozen_since = lab.now
            self.sleep(lab.random.choice(self.naps))
            self.frozen_since = -1.0


class MemoryFolder:
    """The lab's files, as an actor sees them (`Folder`)."""

    def __init__(self, lab: Lab, actor: Actor) -> None:
        self._lab, self._actor = lab, actor

    def _call(self, name: str, many: int = 1) -> None:
        self._lab.calls[self._actor.name] += many
        self._lab.calls[name] += many
        self._actor.touch()
        self._actor.sleep(self._lab.latency * many * self._lab.random.uniform(0.5, 1.5))

    def make(self, name: str, line: bytes) -> bool:
        self._call("make")
        there = name in self._lab.files
        self._lab.files.setdefault(name, line)
        self._actor.touch()
        return not there

    def mark(self, name: str) -> bool:
        self._call("mark", 2)
        there = name in self._lab.files
        self._lab.files.setdefault(name, b"")
        self._actor.touch()
        return not there

    def rename(self, source: str, target: str) -> bool:
        self._call("rename")
        if source not in self._lab.files:
            return False
        self._lab.files[target] = self._lab.files.pop(source)
        self._note(source, target)
        self._actor.touch()
        return True

    def _note(self, source: str, target: str) -> None:
        before, after = (decode_token(name.partition("/")[2]) for name in (source, target))
        assert before and after and (before.maker, before.serial) == (after.maker, after.serial)
        assert before.holder in (FREE, self._actor.name) or before.begun == after.begun, "a case of another's block was begun"
        assert after.begun in (before.begun, before.begun + 1)

    def read(self, name: str, *, sure: bool = False) -> bytes | None:  # noqa: ARG002 - the protocol's signature
        self._call("read")
        return self._lab.files.get(name)

    def exists(self, name: str) -> bool:
        self._call("exists")
        return name in self._lab.files

    def remove(self, name: str) -> None:
        self._call("remove")
        self._lab.files.pop(name, None)
        self._actor.touch()

    def names(self, folder: str) -> list[str]:
        self._call("names", 3)
        return [name.partition("/")[2] for name in list(self._lab.files) if name.startswith(folder + "/")]


class Simulated(Actor):
    """A worker as the batch is one: ``jobs`` slots, filled as they get free.

    seconds  that each case takes, by position
    fails    how often a case fails before it succeeds, by position
    lies     chance that it takes one who lives for gone
    """

    def __init__(
        self,
        lab: Lab,
        name: str,
        jobs: int,
        seconds: Sequence[float],
        *,
        fails: Mapping[int, int] | None = None,
        lies: float = 0.0,
        folder: type[MemoryFolder] = MemoryFolder,
    ) -> None:
        super().__init__(lab, name)
        self.jobs, self.seconds, self.fails, self.lies = jobs, seconds, fails or {}, lies
        self.begun: list[tuple[float, Begun]] = []
        self.finished: list[tuple[float, Begun]] = []
        self.others: dict[str, Simulated] = {}
        self.calls_before_first = 0
        self.leaves = False  # after its first case
        self._seen: dict[str, float] = {}
        self.folder = folder(lab, self)
        self.claims = Claims(self.folder, name, jobs, len(seconds), self, lambda: lab.now, self.sleep)

    def gone(self, worker: str) -> bool:
        other = self.others[worker]
        if other.dead or self.lab.random.random() < self.lies:
            return True
        return other.frozen_since >= 0 and self.lab.now - other.frozen_since > TAKEOVER

    def body(self) -> None:
        lab, claims = self.lab, self.claims
        ends: list[tuple[float, float, Begun]] = []
        while True:
            while len(ends) < self.jobs and lab.now >= claims.due and (begun := claims.begin()) is not None:
                if not self.begun:
                    self.calls_before_first = lab.calls[self.name]
                self.begun.append((lab.now, begun))
                heapq.heappush(ends, (lab.now + self.seconds[begun.position], lab.random.random(), begun))
            if self.leaves and self.begun:
                return
            if not ends and not claims.left:
                return
            until = min([lab.now + 0.5, *([ends[0][0]] if ends else []), *([claims.due] if len(ends) < self.jobs and claims.due > lab.now else [])])
            self.sleep(max(0.0, until - lab.now))
            while ends and ends[0][0] <= lab.now:
                _, _, begun = heapq.heappop(ends)
                claims.ended(self.seconds[begun.position])
                self.finished.append((lab.now, begun))
                if begun.attempts < self.fails.get(begun.position, 0):
                    claims.try_again(begun.position, begun.attempts + 1)
            claims.tick()


def work(lab: Lab, workers: Sequence[Simulated], at: Callable[[int], float] = lambda _: 0.0) -> None:
    """Lets them work until all have left or died; each knows the others."""
    known = {worker.name: worker for worker in workers}
    for number, worker in enumerate(workers):
        worker.others = known
        lab.add(worker, at(number))
    lab.run()


def list_scheduled(seconds: Sequence[float], slots: int) -> float:
    """When the last case ends if each free slot takes the next."""
    free = [0.0] * slots
    heapq.heapify(free)
    for one in seconds:
        heapq.heappush(free, heapq.heappop(free) + one)
    return max(free)


def check_twice(workers: Sequence[Simulated]) -> None:
    """No attempt at a case was begun twice."""
    begun = Counter((begun.position, begun.attempts) for worker in workers for _, begun in worker.begun)
    assert max(begun.values()) == 1, f"begun twice: {[case for case, times in begun.items() if times > 1]}"


def pareto(seed: int, count: int = 400) -> list[float]:
    """Seconds with a heavy tail."""
    chance = random.Random(seed)
    return [min(8.0, 0.05 * chance.paretovariate(0.8)) for _ in range(count)]


ORDERS: dict[str, Callable[[int], list[float]]] = {
    "drawn": pareto,
    "ascending": lambda seed: sorted(pareto(seed)),
    "descending": lambda seed: sorted(pareto(seed), reverse=True),
    "period": lambda seed: [(2.0 if position % 8 == 0 else 0.05) * random.Random(seed + position).uniform(0.9, 1.1) for position in range(400)],
}


@dataclass(frozen=True, slots=True)
class Simulation:
    """What workers have done who took all cases of a list.

    ratio         first start to last end, over what list scheduling of the same list takes
    calls         on the folder, for each case
    claims        for each case
    before_first  calls of a worker before its first case: the most; ``before_firsts``: of all together
    """

    ratio: float
    calls: float
    claims: float
    before_first: int
    before_firsts: int


def simulate(seed: int, seconds: Sequence[float], workers: int, jobs: int, *, arrive: float) -> Simulation:
    """Workers of so many jobs each, who come within ``arrive`` seconds, take the cases of a list, each of which takes so long."""
    lab = Lab(seed, latency=0.0002)
    found = [Simulated(lab, f"w{number}", jobs, seconds) for number in range(workers)]
    work(lab, found, lambda _: lab.random.uniform(0.0, arrive))
    check_twice(found)
    assert sum(len(worker.finished) for worker in found) == len(seconds)
    span = max(at for worker in found for at, _ in worker.finished) - min(at for worker in found for at, _ in worker.begun)
    firsts = [worker.calls_before_first for worker in found]
    return Simulation(
        span / list_scheduled(seconds, workers * jobs),
        sum(lab.calls[worker.name] for worker in found) / len(seconds),
        sum(worker.claims.claimed for worker in found) / len(seconds),
        max(firsts),
        sum(firsts),
    )
