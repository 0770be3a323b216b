"""Workers of one list, for real: killed at 100 system calls, coming and going, asleep, on two hosts, 200 at once (see scripts/soak)."""

from __future__ import annotations

import contextlib
import multiprocessing
import os
import random
import signal
import statistics
import subprocess
import sys
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

from own_python import ROOT  # first: what follows is found by it

from sharedenv.pool.owner import STALE
from sharedenv.run.claims.blocks import decode_block, decode_token
from sharedenv.run.claims.claims import Claims
from sharedenv.run.claims.folder import DiskFolder
from sharedenv.run.claims.list_end import fold
from tests.faults import bound, other_host

#: notes by its number that it begins, in one write, and takes its time
SCRIPT = """\
# /// script
# requires-python = ">=3.8"
# dependencies = []
# ///
import os, sys, time
os.write(os.open(sys.argv[1], os.O_WRONLY | os.O_CREAT | os.O_APPEND), (sys.argv[2] + "\\n").encode())
time.sleep(float(sys.argv[3]))
"""
#: system calls at which workers are killed: those of a claim, of a begin, of a start, of an end and of its record
CALLS = (
    "chdir", "clone3", "close", "fchdir", "fsync", "fdatasync", "munmap", "newfstatat", "openat", "pipe2", "poll", "pread64", "read",
    "readlink", "rename", "symlink", "unlink", "wait4", "waitid", "write",
)  # fmt: skip


class Field:
    """A run of so many cases, each a row of a table, and the workers that were started on it."""

    def __init__(self, folder: Path, count: int, seconds: float) -> None:
        self.path = folder / "project"
        self.path.mkdir(parents=True)
        self.count = count
        (self.path / "s.py").write_text(SCRIPT)
        (self.path / "rows.csv").write_text("n\n" + "".join(f"{number}\n" for number in range(count)))
        self.env = {**os.environ, "PYTHONPATH": str(ROOT), "UV_PYTHON": sys.executable, "UV_NO_INDEX": "1"}
        self.run = self.call("plan", "--table", "rows.csv", "s.py", "--", str(folder / "begun"), "{n}", str(seconds))
        self.folder = self.path / ".sharedenv" / "runs" / self.run
        self._begun = folder / "begun"

    def start(self, *words: str, prefix: Sequence[str] = (), cwd: Path | None = None) -> subprocess.Popen[str]:
        """Starts sharedenv."""
        return subprocess.Popen([*prefix, sys.executable, "-m", "sharedenv", "-q", *words], cwd=cwd or self.path, env=self.env,
                                stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True)  # fmt: skip

    def join(self, *words: str, prefix: Sequence[str] = (), cwd: Path | None = None) -> subprocess.Popen[str]:
        """Starts a worker."""
        return self.start("join", self.run, *words, prefix=prefix, cwd=cwd)

    def call(self, *words: str) -> str:
        """Runs sharedenv to its end; what it says on stdout."""
        return self.start(*words).communicate()[0].strip()

    def held(self) -> set[str]:
        """The tokens of what is claimed and not begun."""
        folder, found = DiskFolder(str(self.folder)), set()
        for name in folder.names("tokens"):
            token, block = decode_token(name), decode_block(folder.read(f"tokens/{name}"))
            if token and block and token.begun < block.size and decode_block(folder.read(f"claims/{block.number}")) == block:
                found.add(name)
        return found

    def begun(self) -> Counter[str]:
        """How often each case has begun."""
        return Counter(self._begun.read_text().split()) if self._begun.exists() else Counter()

    def result(self, *resume: str, **more: object) -> dict[str, object]:
        """What has come of it, once no worker is left: works the list off, and resumes what was cut off, with more words."""
        self.join("-j8").communicate()
        once = self.begun()
        cut_off = len(self.call("status", self.run, "--list", "interrupted").splitlines())
        again, began = ("run", "--resume", "--run-id", self.run, *resume), time.monotonic()
        while self.start(*again).wait() and time.monotonic() - began < 2 * STALE:
            time.sleep(5)  # who was killed on another host counts as at work until his sign is old
        done = len(self.call("status", self.run, "--list", "succeeded").splitlines())
        twice = sum(times > 1 for times in once.values())
        return {"cases": self.count, **more, "begun twice": twice, "cut off": cut_off, "of these never started": self.count - len(once),
                "done after --resume": done, "failed": twice + (done < self.count)}  # fmt: skip


def kills(folder: Path, count: int) -> dict[str, object]:
    """SIGKILL of workers as they make a drawn system call after their first claim, three at a time."""
    field = Field(folder, 60 * count, 0.02)
    trace = folder / "trace"
    probe = Field(folder / "probe", 6, 0.0)
    probe.join("-j2", prefix=["strace", "-qq", "-s", "4096", "-o", str(trace)]).communicate()
    lines = trace.read_text().splitlines()
    first = next(number for number, line in enumerate(lines) if line.startswith("symlink(") and "/claims/1" in line)
    before = Counter(line.partition("(")[0] for line in lines[:first])  # how many calls of each kind come before the first claim
    chance = random.Random(23)
    died: Counter[str] = Counter()

    def work() -> None:
        while died.total() < count and len(field.begun()) < field.count:
            call, number = chance.choice(CALLS), chance.randrange(1, 9)
            inject = ["-e", f"trace={call}", "-e", f"inject={call}:signal=KILL:when={before[call] + number}"]
            worker = field.join("-j2", prefix=["strace", "-qq", "-o", os.devnull, *inject])
            worker.communicate()
            died[call] += worker.returncode == -signal.SIGKILL

    at_once([work] * 3)
    return field.result(killed=died.total(), at=dict(sorted(died.items())))


def at_once(works: Sequence[Callable[[], None]]) -> None:
    """Does them in threads, to their ends."""
    threads = [threading.Thread(target=work) for work in works]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()


def coming(folder: Path, count: int) -> dict[str, object]:
    """Workers that join and are told to leave (TERM) whenever it is."""
    field, chance = Field(folder, 15 * count, 0.05), random.Random(7)
    workers, told = [], 0
    for _ in range(count):
        workers.append(field.join("-j2"))
        time.sleep(chance.uniform(0.0, 0.6))
        if chance.random() < 0.8 and (alive := [worker for worker in workers if worker.poll() is None]):
            chance.choice(alive).terminate()
            told += 1
    for worker in workers:
        worker.communicate()
    return field.result(workers=count, left=told)


def asleep(folder: Path, count: int) -> dict[str, object]:
    """Workers stopped for longer than the takeover, while another takes what they had claimed, to the end of the list; then they go on."""
    results, taken = [], 0
    for number in range(count):
        field = Field(folder / str(number), 60, 0.1)
        sleeper = field.join("-j2", "--takeover", "1")
        held: set[str] = set()
        while not held and sleeper.poll() is None:
            sleeper.send_signal(signal.SIGCONT)
            time.sleep(0.05)
            sleeper.send_signal(signal.SIGSTOP)
            held = field.held()
        field.join("-j4", "--takeover", "1").communicate()
        taken += not held & field.held()
        sleeper.send_signal(signal.SIGCONT)
        sleeper.communicate()
        results.append(field.result())
    twice, cut_off = (sum(int(str(result[name])) for result in results) for name in ("begun twice", "cut off"))
    failed = sum(bool(result["failed"]) for result in results)
    return {"sleepers": count, "whose cases were taken": taken, "begun twice": twice, "cut off": cut_off, "failed": failed}


def hosts(folder: Path, count: int) -> dict[str, object]:
    """Two mounts by bindfs, without flock from one to the other, two host names and process name spaces; on each one is killed in turn."""
    field, chance = Field(folder, 40 * count, 0.1), random.Random(5)
    with bound(field.path, folder / "m1") as one, bound(field.path, folder / "m2") as two:
        for number in range(count):
            join = ("-j2", "--takeover", "4")
            pair = [field.join(*join, prefix=other_host(f"node{host}"), cwd=path) for host, path in ((1, one), (2, two))]
            time.sleep(chance.uniform(1.0, 4.0))
            for child in children(pair[number % 2].pid):
                with contextlib.suppress(ProcessLookupError):
                    os.kill(child, signal.SIGKILL)
            pair[number % 2].communicate()
            time.sleep(chance.uniform(0.0, 6.0))
            for child in children(pair[1 - number % 2].pid):
                with contextlib.suppress(ProcessLookupError):
                    os.kill(child, signal.SIGTERM)
            pair[1 - number % 2].communicate()
    began = time.monotonic()
    while (said := field.join("-j4", "--takeover", "4").wait()) and time.monotonic() - began < 60:
        pass
    return field.result("--lost-too", killed=count, last=said)


def children(pid: int) -> list[int]:
    """The process that `unshare` has started, which is the worker (and first of its name space), by our numbers."""
    return [int(word) for file in Path(f"/proc/{pid}/task").glob("*/children") for word in file.read_text().split()]


class Counted(DiskFolder):
    """Counts its system calls, as strace sees them."""

    calls = 0

    def make(self, name: str, line: bytes) -> bool:
        self.calls += 1 if self.calls else 2  # the first looks for which kind of names the list has
        return super().make(name, line)

    def mark(self, name: str) -> bool:
        self.calls += 2
        return super().mark(name)

    def rename(self, source: str, target: str) -> bool:
        self.calls += 1
        return super().rename(source, target)

    def read(self, name: str, *, sure: bool = False) -> bytes | None:
        self.calls += 1
        return super().read(name, sure=sure)

    def exists(self, name: str) -> bool:
        self.calls += 1
        return super().exists(name)

    def remove(self, name: str) -> None:
        self.calls += 1
        super().remove(name)

    def names(self, folder: str) -> list[str]:
        self.calls += 4
        return super().names(folder)


class Living:
    """All workers live (`Liveness`)."""

    def gone(self, _worker: str) -> bool:
        return False


def stub(path: str, number: int, total: int, seconds: float, arrive: float, start: Any, queue: Any) -> None:
    """A worker who comes within ``arrive`` seconds and whose cases only sleep; what it has seen goes into the queue."""
    folder = Counted(path)
    claims = Claims(folder, f"worker.{number}", 1, total, Living(), time.monotonic, time.sleep)
    before = 0
    begins: list[tuple[int, float]] = []
    gets: list[tuple[int, float]] = []
    positions: list[int] = []
    start.wait()
    time.sleep(random.uniform(0, arrive))
    while claims.left:
        held, calls, began = claims.held, folder.calls, time.perf_counter()
        begun = claims.begin()
        took = time.perf_counter() - began
        if begun is None:
            time.sleep(max(0.01, claims.due - time.monotonic()))
            continue
        before = before or folder.calls
        (begins if held else gets).append((folder.calls - calls, took))
        positions.append(begun.position)
        time.sleep(seconds)
        claims.ended(seconds)
        claims.tick()
    queue.put((before, folder.calls, claims.claimed, positions, begins, gets))


def many(folder: Path, count: int, total: int = 20_000, arrive: float = 4.0) -> dict[str, object]:
    """So many processes join one run within ``arrive`` seconds, as 50 starts a second come; its cases are stubs."""
    field = Field(folder, total, 0.0)
    context = multiprocessing.get_context("fork")
    start, queue = context.Event(), context.Queue()
    arguments = (total, 0.5, arrive, start, queue)
    processes = [context.Process(target=stub, args=(str(field.folder), number, *arguments)) for number in range(count)]
    for process in processes:
        process.start()
    time.sleep(1)
    began = time.monotonic()
    start.set()
    found = [queue.get() for _ in processes]
    seconds = time.monotonic() - began
    for process in processes:
        process.join()
    entries = sum(len(list((field.folder / name).iterdir())) for name in ("claims", "tokens", "again", "taken"))
    fold(str(field.folder))
    times = Counter(position for one in found for position in one[3])
    begins, gets = ([each for one in found for each in one[which]] for which in (4, 5))
    firsts = sorted(one[0] for one in found)
    failed = sum(number > 1 for number in times.values()) + total - len(times)
    return {
        "workers": count, "cases": total, "failed": failed, "seconds": round(seconds, 1),
        "calls before the first case": {"middle": firsts[count // 2], "most": firsts[-1], "all": sum(firsts)},
        "calls a case": round(sum(one[1] for one in found) / total, 1), "claims a case": round(sum(one[2] for one in found) / total, 2),
        "a begin": _cost(begins), "a begin with a claim before it": _cost(gets), "entries": entries,
        "entries when folded": [path.name for path in field.folder.iterdir()],
    }  # fmt: skip


def rush(folder: Path, count: int) -> dict[str, object]:
    """The same, all in one instant."""
    return many(folder, count, arrive=0.0)


def _cost(each: Sequence[tuple[int, float]]) -> str:
    calls, seconds = [one for one, _ in each], [one for _, one in each]
    return f"{statistics.median(calls):.0f} calls, {1000 * statistics.median(seconds):.2f} ms in the middle, of {len(each):,}"


def soaks(scale: float) -> Iterator[tuple[str, Callable[[Path], dict[str, object]]]]:
    """Each by its name; ``scale``: times the counts."""
    for test, count in ((kills, 100), (coming, 40), (asleep, 8), (hosts, 10), (many, 200), (rush, 200)):
        yield test.__name__, lambda folder, test=test, count=count: test(folder, max(3, round(count * scale)))  # type: ignore[misc]
