"""The loop that runs cases, through its Python interface, with this Python as the environment's."""

from __future__ import annotations

import itertools
import os
import resource
import signal
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest

from sharedenv.errors import SharedenvError
from sharedenv.run import batch as batches
from sharedenv.run.batch import Batch
from sharedenv.run.case import Case, Result
from sharedenv.run.groups import Groups
from sharedenv.run.observer import AtWork
from sharedenv.run.queue import Queue
from sharedenv.run.spool import Spool
from sharedenv.run.starter import PlainStarter, Prepared
from sharedenv.run.telling import last_lines
from sharedenv.run.terms import BatchOptions, Outcome
from sharedenv.run.witness import hesitation

KEY = "k" * 64


class Watcher:
    """An observer that remembers everything."""

    def __init__(self) -> None:
        self.outputs: dict[int, tuple[bytes, bytes]] = {}
        self.late: dict[int, tuple[bytes, bytes]] = {}
        self.lost: list[int] = []
        self.starts: list[int] = []
        self.records: list[tuple[Result, bool]] = []
        self.notices: list[str] = []
        self.broken_output = False
        self.broken_journal = False

    def output(self, case: Case, result: Result, stdout: Spool, stderr: Spool) -> None:  # noqa: ARG002 - the observer's signature
        if self.broken_output:
            raise OSError(28, "No space left on device")
        self.outputs[case.sequence] = b"".join(stdout.chunks()), b"".join(stderr.chunks())

    def late_output(self, case: Case, stdout: Spool, stderr: Spool) -> None:
        self.late[case.sequence] = b"".join(stdout.chunks()), b"".join(stderr.chunks())

    def lost_output(self, cases: Sequence[Case]) -> None:
        self.lost += [case.sequence for case in cases]

    def record(self, case: Case, result: Result, last: bool) -> str:  # noqa: ARG002 - the observer's signature
        self.records.append((result, last))
        return "the journal is full" if self.broken_journal else ""

    def started(self, case: Case, group: int, *, result_follows: bool) -> None:  # noqa: ARG002 - the observer's signature
        self.starts.append(case.sequence)

    def tick(self, batch: AtWork) -> None:
        pass

    def unbuilt(self, cases: Sequence[Case], text: str) -> None:
        self.notices.append(f"{len(cases)}: {text}")

    def notice(self, text: str) -> None:
        self.notices.append(text)


class House:
    """A folder of scripts and a batch over them."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.watcher = Watcher()
        self.cases: list[Case] = []

    def add(self, body: str, *arguments: str, key: str = KEY) -> Case:
        number = len(self.cases) + 1
        folder = self.path / f"case{number}"
        folder.mkdir()
        (folder / "script.py").write_text(body)
        case = Case(number, str(folder / "script.py"), arguments, key)
        self.cases.append(case)
        return case

    def batch(self, **options: Any) -> Batch:
        return Batch(Queue(self.cases), PlainStarter(), BatchOptions(**{"jobs": 2, **options}), self.watcher)

    def run(self, keys: Sequence[str] = (KEY,), leases: tuple[int, ...] = (), **options: object) -> Outcome:
        batch = self.batch(**options)
        for key in keys:
            batch.deliver(key, prepared(leases))
        return batch.run()


def prepared(leases: tuple[int, ...] = ()) -> Prepared:
    return Prepared(sys.executable, {**os.environ, "PYTHONDONTWRITEBYTECODE": "1"}, leases)


@pytest.fixture
def house(tmp_path: Path) -> House:
    return House(tmp_path)


def gone(pid: int, seconds: float = 30) -> bool:
    """Whether a process ends in time (a zombie has ended)."""
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        try:
            state = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0]
        except (FileNotFoundError, ProcessLookupError):
            return True
        if state in "ZX":
            return True
        time.sleep(0.02)
    return False


def test_a_script_that_gets_one_pipe_of_two_gives_it_back(house: House, monkeypatch: pytest.MonkeyPatch) -> None:
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    for _ in range(3):
        house.add("")
    batch = house.batch()

    def tick(_: AtWork) -> None:
        if resource.getrlimit(resource.RLIMIT_NOFILE)[0] == soft and not house.watcher.records:
            free = [os.dup(0) for _ in range(3)]
            for descriptor in free:
                os.close(descriptor)
            resource.setrlimit(resource.RLIMIT_NOFILE, (max(free) + 1, hard))  # three more, and no fourth
            batch.deliver(KEY, prepared())

    monkeypatch.setattr(house.watcher, "tick", tick)  # what else a loop can be met by in the middle
    before = set(os.listdir("/proc/self/fd"))
    try:
        outcome = batch.run()
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))
    assert {result.error for result in outcome.results.values()} == {"its output can't be kept: Too many open files (see ulimit -n)"}
    assert set(os.listdir("/proc/self/fd")) == before


def _inheritable(descriptor: int) -> bool:
    try:
        return os.get_inheritable(descriptor)
    except OSError:
        return False


def test_each_script_runs_once_in_its_own_folder_with_its_arguments(house: House) -> None:
    body = "import os, sys\nopen('ran', 'a').write('x')\nprint(os.getcwd(), sys.argv[1:])\nsys.exit(int(sys.argv[1]))"
    for number in range(5):
        house.add(body, str(number % 2), "two words")
    before = os.getcwd()
    outcome = house.run()
    assert os.getcwd() == before
    assert (outcome.left, outcome.interrupted) == (0, False)
    for case in house.cases:
        result = outcome.results[case.sequence]
        assert result.status == (case.sequence - 1) % 2
        assert result.succeeded == (result.status == 0)
        assert (Path(case.folder) / "ran").read_text() == "x"
        assert house.watcher.outputs[case.sequence][0].decode() == f"{case.folder} {list(case.arguments)}\n"
        assert result.cpu > 0
        assert result.seconds > 0
        assert result.output == len(house.watcher.outputs[case.sequence][0])


def test_as_many_at_a_time_as_asked_and_no_more(house: House) -> None:
    # each waits until three are there; a fourth would see four
    body = (
        "import os, time, sys\nopen('../at-' + str(os.getpid()), 'x')\nend = time.time() + 60\n"
        "while len([n for n in os.listdir('..') if n.startswith('at-')]) < int(sys.argv[1]) and time.time() < end: time.sleep(.01)\n"
        "print(len([n for n in os.listdir('..') if n.startswith('at-')]))\ntime.sleep(.05)\nos.unlink('../at-' + str(os.getpid()))"
    )
    for number in range(9):
        house.add(body, "3" if number < 3 else "1")
    house.run(jobs=3)
    seen = [int(out) for out, _ in house.watcher.outputs.values()]
    assert max(seen) == 3
    assert len(seen) == 9


def test_a_script_has_no_input_its_own_group_and_no_descriptor_of_ours_but_the_lease(house: House, tmp_path: Path) -> None:
    lease, other = os.open(tmp_path, os.O_RDONLY), os.open(tmp_path, os.O_RDONLY)
    inherited = {number for number in map(int, os.listdir("/proc/self/fd")) if _inheritable(number)}
    body = (
        "import os, signal, sys\nprint(repr(sys.stdin.read()), os.getpgrp() == os.getpid(), signal.pthread_sigmask(0, []))\n"
        "held = [int(n) for n in os.listdir('/proc/self/fd')]\nprint(*[n for n in held if os.path.exists(f'/proc/self/fd/{n}')])"
    )
    case = house.add(body)
    house.run(leases=(lease,))
    first, second = house.watcher.outputs[case.sequence][0].decode().splitlines()
    assert first == "'' True set()"
    assert set(map(int, second.split())) == inherited | {0, 1, 2, lease}
    assert not os.get_inheritable(lease)
    os.close(lease)
    os.close(other)


def test_signals_that_python_ignores_are_not_ignored_in_a_script(house: House) -> None:
    case = house.add("grep SigIgn /proc/self/status")
    batch = house.batch()
    batch.deliver(KEY, Prepared("/bin/sh", dict(os.environ)))  # a Python would ignore them again by itself
    batch.run()
    ignored = int(house.watcher.outputs[case.sequence][0].split()[1], 16)
    assert not ignored & (1 << (signal.SIGPIPE - 1))
    assert not ignored & (1 << (signal.SIGXFSZ - 1))


def test_those_whose_environment_is_ready_run_while_others_are_built(house: House) -> None:
    late, early = "a" * 64, "b" * 64
    first = house.add("print(1)", key=late)
    second = house.add("print(2)", key=early)
    batch = house.batch()
    batch.deliver(early, prepared())
    ended: list[Result] = []

    def build() -> None:
        end = time.monotonic() + 60
        while not house.watcher.records and time.monotonic() < end:
            time.sleep(0.01)
        ended.extend(result for result, _ in house.watcher.records)
        batch.deliver(late, prepared())

    builder = threading.Thread(target=build)
    builder.start()
    outcome = batch.run()
    builder.join()
    assert [result.sequence for result in ended] == [second.sequence]
    assert outcome.results[first.sequence].succeeded


def test_an_environment_that_cannot_be_built_fails_its_scripts_only(house: House) -> None:
    bad = house.add("print(1)", key="a" * 64)
    good = house.add("print(2)", key="b" * 64)
    batch = house.batch(tries=3)
    batch.deliver("a" * 64, SharedenvError("no such package"))
    batch.deliver("b" * 64, prepared())
    outcome = batch.run()
    assert "no such package" in outcome.results[bad.sequence].error
    assert outcome.results[good.sequence].succeeded


def test_the_order_asked_is_the_order_of_starts(house: House) -> None:
    for number in range(6):
        house.add("pass", key=("a" if number % 2 else "b") * 64)
    outcome = house.run(keys=("a" * 64, "b" * 64), jobs=1)
    starts = [outcome.results[case.sequence].start for case in house.cases]
    assert starts == sorted(starts)


def test_a_script_that_takes_too_long_is_ended_with_all_it_started(house: House) -> None:
    body = (
        "import signal, subprocess, sys, time\nsignal.signal(signal.SIGTERM, signal.SIG_IGN)\n"
        "child = subprocess.Popen([sys.executable, '-c', 'import signal, time; signal.signal(15, signal.SIG_IGN); time.sleep(600)'], "
        "start_new_session={})\n"
        "print(child.pid, flush=True)\nprint('was here', file=sys.stderr, flush=True)\ntime.sleep(600)"
    )
    slow = [house.add(body.format(new_session)) for new_session in (False, True)]  # True: as launchers of MPI start their processes
    quick = house.add("pass")
    outcome = house.run(jobs=3, timeout=3.0, grace=0.5)
    for case in slow:
        result = outcome.results[case.sequence]
        assert result.error == "timed out after 3 s"
        assert (result.status, result.signal) == (-1, signal.SIGKILL)
        assert result.tail == "was here"
        assert gone(int(house.watcher.outputs[case.sequence][0]))
    assert outcome.results[quick.sequence].succeeded


def test_what_fails_is_tried_again_after_the_others_and_told_once(house: House) -> None:
    body = "import sys\nopen('n', 'a').write('x')\nn = len(open('n').read())\nprint('try', n)\nsys.exit(n < 3)"
    flaky = house.add(body)
    other = house.add("import sys; sys.exit(1)")
    outcome = house.run(jobs=1, tries=3)
    assert outcome.results[flaky.sequence].succeeded
    assert [(r.sequence, r.attempt, last) for r, last in house.watcher.records] == [
        (1, 1, False), (2, 1, False), (1, 2, False), (2, 2, False), (1, 3, True), (2, 3, True),
    ]  # fmt: skip
    assert house.watcher.outputs[flaky.sequence][0] == b"try 3\n"
    assert outcome.results[other.sequence].attempt == 3


def test_what_waited_for_another_try_has_failed_when_the_end_comes(house: House) -> None:
    house.add("import sys; sys.exit(3)")
    house.add("import os, signal, time; os.kill(os.getppid(), signal.SIGTERM); time.sleep(0.5)")
    house.add("pass")
    outcome = house.run(jobs=1, tries=2)
    assert {sequence: result.status for sequence, result in outcome.results.items()} == {1: 3, 2: 0}
    assert outcome.left == 2


def test_fail_fast_starts_nothing_more(house: House) -> None:
    for body in ("pass", "raise SystemExit(3)", "pass", "pass"):
        house.add(body)
    outcome = house.run(jobs=1, fail_fast=True)
    assert sorted(outcome.results) == [1, 2]
    assert outcome.left == 2
    assert any("--fail-fast" in text for text in house.watcher.notices)


def test_a_script_that_is_ended_together_with_us_has_not_run(house: House) -> None:
    """As Slurm ends a job: TERM to all at once. The dead script and our own signal are seen in one look."""

    class Ending(Watcher):
        def tick(self, batch: AtWork) -> None:
            if batch.counts().running:
                os.waitid(os.P_ALL, 0, os.WEXITED | os.WNOWAIT)
                os.kill(os.getpid(), signal.SIGTERM)

    house.add("import os, signal\nos.kill(os.getpid(), signal.SIGTERM)\n")
    house.add("raise SystemExit('it was started')")
    house.watcher = Ending()
    outcome = house.run(jobs=1, hesitation=1.0)
    assert [(result.sequence, result.interrupted) for result, _ in house.watcher.records] == [(1, True)]
    assert ([result.interrupted for result in outcome.results.values()], outcome.left) == ([True], 2)


@pytest.mark.parametrize("all_told", [True, False])
def test_a_script_gets_term_once_whoever_sends_it(all_told: bool, house: House) -> None:
    """A batch system that ends a job may tell all its processes, or ours alone."""

    class Ending(Watcher):
        def tick(self, batch: AtWork) -> None:
            if batch.counts().running and (house.path / "case1" / "began").exists() and len(self.notices) < 2:
                for pid in children() if all_told and self.notices else ():
                    os.kill(pid, signal.SIGTERM)
                for _ in range(2 if all_told and self.notices else 1):  # Slurm's warning and the end, in one instant
                    os.kill(os.getpid(), signal.SIGTERM)

    house.add(
        "import signal, sys, time\nsignal.signal(signal.SIGTERM, lambda *_: print('TERM', flush=True))\nopen('began', 'w').close()\n"
        "end = time.time() + 2\nwhile time.time() < end: time.sleep(0.02)"
    )
    house.watcher = Ending()
    before = set(children())
    house.run(jobs=1, hesitation=0.5)
    assert house.watcher.outputs[1][0] == b"TERM\n"
    assert set(children()) == before


@pytest.mark.parametrize(
    ("name", "seconds"),
    [("SLURM_JOB_ID", 1), ("PBS_JOBID", 1), ("LSB_JOBID", 1), ("SGE_TASK_ID", 1), ("FLUX_JOB_ID", 1), ("SLURM_CONF", 0), ("JOB_ID", 0)],
)
def test_where_a_batch_system_may_tell_scripts_itself(name: str, seconds: float) -> None:
    assert hesitation({"PATH": "/bin", name: "1"}) == seconds


def children() -> list[int]:
    """Processes that this one has started and not waited for."""
    return [int(pid) for task in Path("/proc/self/task").iterdir() for pid in (task / "children").read_text().split()]


def test_a_delay_lies_between_starts(house: House) -> None:
    for _ in range(3):
        house.add("pass")
    outcome = house.run(jobs=3, delay=0.3)
    starts = sorted(result.start for result in outcome.results.values())
    assert all(later - earlier >= 0.28 for earlier, later in itertools.pairwise(starts))


def test_what_vanished_fails_by_itself(house: House) -> None:
    no_folder = house.add("pass")
    (house.path / "case1" / "script.py").unlink()
    (house.path / "case1").rmdir()
    no_script = house.add("pass")
    (house.path / "case2" / "script.py").unlink()
    a_file = house.add("pass")
    (house.path / "case3" / "script.py").unlink()
    (house.path / "case3").rmdir()
    (house.path / "case3").write_text("")
    good = house.add("pass")
    outcome = house.run()
    assert outcome.results[no_folder.sequence].error.startswith("its folder can't be entered: No such")
    assert outcome.results[no_script.sequence].error == "the script is gone"
    assert outcome.results[a_file.sequence].error.endswith("Not a directory")
    assert outcome.results[good.sequence].succeeded
    assert outcome.left == 0


@pytest.mark.parametrize("jobs", [1, 2])
def test_who_finds_no_descriptor_waits_for_those_of_one_that_ends(house: House, jobs: int) -> None:
    class Narrow(Watcher):
        def started(self, case: Case, group: int, *, result_follows: bool) -> None:
            super().started(case, group, result_follows=result_follows)
            if len(self.starts) == 1:  # from now on, what the first one has is all there is
                free = [os.dup(0) for _ in range(2)]  # where its ends of the pipes were
                for descriptor in free:
                    os.close(descriptor)
                resource.setrlimit(resource.RLIMIT_NOFILE, (max(free) + 1, hard))

    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    house.watcher = Narrow()
    for _ in range(3):
        house.add("print('ran')")
    try:
        outcome = house.run(jobs=jobs)
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))
    assert [result.error for result in outcome.results.values()] == [""] * 3
    assert [stdout for stdout, _ in house.watcher.outputs.values()] == [b"ran\n"] * 3


def test_a_python_that_is_gone_is_named(house: House) -> None:
    case = house.add("pass")
    batch = house.batch()
    batch.deliver(KEY, Prepared("/nowhere/bin/python", {}))
    assert batch.run().results[case.sequence].error == "its Python can't be started: No such file or directory"


def test_output_that_cannot_be_passed_on_counts_as_failure_and_stops_the_rest(house: House) -> None:
    for _ in range(4):
        house.add("print(1)")
    house.watcher.broken_output = True
    outcome = house.run(jobs=1)
    assert 1 <= len(outcome.results) <= 2
    assert all("could not be passed on" in result.error for result in outcome.results.values())
    assert outcome.left == 4 - len(outcome.results)


def test_a_journal_that_cannot_be_written_stops_the_rest(house: House) -> None:
    for _ in range(4):
        house.add("print(1)")
    house.watcher.broken_journal = True
    outcome = house.run(jobs=1)
    assert 1 <= len(outcome.results) <= 2
    assert house.watcher.notices == ["the journal is full"]


def test_what_a_script_leaves_behind_does_not_hold_the_batch(house: House) -> None:
    body = (
        "import subprocess, sys\nchild = subprocess.Popen([sys.executable, '-c', 'import time; time.sleep(600)'])\n"
        "print(child.pid)"
    )
    case = house.add(body)
    assert house.run().results[case.sequence].succeeded
    pid = int(house.watcher.outputs[case.sequence][0])
    os.kill(pid, 0)  # left alone, as GNU parallel and xargs do
    os.kill(pid, signal.SIGKILL)


def test_a_group_that_has_gone_is_forgotten_before_a_stranger_has_its_number() -> None:
    groups = Groups(grace=10.0)
    with subprocess.Popen([sys.executable, "-c", "input()"], stdin=subprocess.PIPE, process_group=0) as left:
        groups.leader_ended(left.pid)
        groups.look()
        assert groups._left_behind == {left.pid}
    groups.look()
    groups.end_left_behind(0.0)
    assert not groups.busy


def test_output_that_has_no_room_on_disk_stays_whole_in_memory(house: House, monkeypatch: pytest.MonkeyPatch) -> None:
    case = house.add("import time\nfor _ in range(12): print('x' * (1 << 20))\ntime.sleep(0.5)")
    monkeypatch.setattr(tempfile, "tempdir", str(house.path / "nowhere"))
    assert house.run().results[case.sequence].succeeded
    assert house.watcher.outputs[case.sequence][0] == (b"x" * (1 << 20) + b"\n") * 12
    [told] = house.watcher.notices
    assert "stays in memory" in told


def test_who_ends_beside_a_child_of_another_thread_is_told_and_that_child_left_to_it(house: House) -> None:
    starter = PlainStarter()
    strange = [subprocess.Popen(["true"]) for _ in range(2)]  # ended, and not waited for
    for process in strange:
        os.waitid(os.P_PID, process.pid, os.WEXITED | os.WNOWAIT)
    batch = Batch(Queue([house.add("print('here')")]), starter, BatchOptions(jobs=1), house.watcher)
    batch.deliver(KEY, prepared())
    assert batch.run().results[1].succeeded
    assert [process.wait() for process in strange] == [0, 0]


def test_a_word_with_the_scheduler_is_for_many_cases(house: House, monkeypatch: pytest.MonkeyPatch) -> None:
    words: list[int] = []
    monkeypatch.setattr(batches, "wake_promptly", lambda: words.append(len(house.cases)))
    for _ in range(2):
        house.add("")
    house.run()
    house.cases = [Case(number, house.cases[0].script, (), KEY) for number in range(1, 101)]
    batch = house.batch()
    batch.drain("enough")  # nothing of these is to run
    assert batch.run().left == 100
    assert words == [100]


def test_no_descriptor_is_left_open(house: House) -> None:
    house.add("pass")
    house.run()
    house.cases.clear()
    before = set(os.listdir("/proc/self/fd"))
    for number in range(3):
        (house.path / f"more{number}").mkdir()
        house.path.joinpath(f"more{number}", "script.py").write_text("print(1)")
        house.cases.append(Case(number + 1, str(house.path / f"more{number}" / "script.py"), (), KEY))
    starter = PlainStarter()
    batch = Batch(Queue(house.cases), starter, BatchOptions(jobs=2), house.watcher)
    batch.deliver(KEY, prepared())
    batch.run()
    starter.close()
    assert set(os.listdir("/proc/self/fd")) == before


def test_output_beyond_the_limit_goes_to_disk_and_comes_back_whole() -> None:
    spool = Spool()
    block = bytes(range(256)) * 4096
    for _ in range(12):
        spool.add(block)
        spool.relieve(limit=2 << 20)
    spool.add(b"the end\n")
    assert spool.kept <= 3 << 20
    assert spool.size == 12 * len(block) + 8
    assert b"".join(spool.chunks()) == block * 12 + b"the end\n"
    assert spool.tail(12) == block[-4:] + b"the end\n"
    spool.close()


def test_a_capture_holds_both_outputs_in_order(house: House) -> None:
    case = house.add("import os\nos.write(1, b'one\\n')\nos.write(2, b'two\\n')\nos.write(1, b'three\\n')\nraise SystemExit(4)")
    outcome = house.run(capture="out.txt")
    assert (Path(case.folder) / "out.txt").read_bytes() == b"one\ntwo\nthree\n"
    assert house.watcher.outputs == {}
    assert house.watcher.records[-1][0].tail == "one\ntwo\nthree"
    assert outcome.results[case.sequence].tail == "three"


def test_of_what_failed_no_more_is_kept_in_memory_than_is_shown(house: House) -> None:
    """4 KB of stderr for each of 100,000 cases that fail were 400 MB at the end of a night."""
    case = house.add("import sys\nsys.exit('\\n'.join(['x' * 700] * 4 + ['y' * 1200]))")
    outcome = house.run(tries=2)
    assert [len(result.tail) for result, _ in house.watcher.records] == [4 * 701 + 1200] * 2  # the journal's
    assert outcome.results[case.sequence].tail == "y" * 1000


@pytest.mark.parametrize(
    ("data", "lines"),
    [(b"", ""), (b"a\n\n b\n\n", "a\n b"), (b"\xff\xfe\n", "\\xff\\xfe"), (b"1\n2\n3\n4\n5\n6\n7", "3\n4\n5\n6\n7")],
)
def test_last_lines(data: bytes, lines: str) -> None:
    assert last_lines(data) == lines
