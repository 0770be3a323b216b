"""What anything of a script writes, by whatever way, arrives in its order, as through a pipe, and is limited by nothing."""

from __future__ import annotations

import os
import resource
import shlex
import signal
import sys
from pathlib import Path

import pytest

from sharedenv.report.output import Output
from sharedenv.run.case import Case, Result
from sharedenv.run.leftovers import MANY, Leftovers
from sharedenv.run.pipe import Pipe, open_pipes
from sharedenv.run.reader import Reader
from sharedenv.run.slot import Slot
from sharedenv.run.spool import Overflow, Spool
from tests.conftest import Project
from tests.faults import wait_for
from tests.run.test_batch import House, Watcher

#: ways to write a line to both outputs by their names, each of which empties a file or begins at its first byte
BY_NAME = [
    "echo mid | tee /dev/stderr",
    "echo mid >/dev/fd/1; echo mid >/proc/self/fd/2",
    "echo mid | dd of=/dev/stdout status=none; echo mid | dd of=/dev/stderr status=none",
    f"{shlex.quote(sys.executable)} -c \"for name in 'out', 'err': open('/dev/std' + name, 'w').write('mid\\n')\"",
    """awk 'BEGIN { print "mid" >"/dev/stdout"; fflush(); system("echo mid >/dev/stderr") }'""",
]
WRITES_BETWEEN = (
    "import os, sys\n"
    "for stream, name in (sys.stdout, 'first'), (sys.stderr, 'e-first'): print(name, file=stream, flush=True)\n"
    "os.system(open('by').read())\n"
    "for stream, name in (sys.stdout, 'last'), (sys.stderr, 'e-last'): print(name, file=stream, flush=True)\n"
)


@pytest.fixture
def house(tmp_path: Path) -> House:
    return House(tmp_path)


def _writers(project: Project) -> int:
    for script, command in zip(project.copies(len(BY_NAME), body=WRITES_BETWEEN), BY_NAME, strict=True):
        script.with_name("by").write_text(command)
    return len(BY_NAME)


@pytest.mark.parametrize("options", [(), ("-k",), ("--preload",)])
def test_who_opens_an_output_by_its_name_wipes_nothing(project: Project, options: tuple[str, ...]) -> None:
    count = _writers(project)
    told = project.call("-q", "run", "case*/script.py", *options)
    assert told.stdout == "first\nmid\nlast\n" * count
    assert told.stderr == "e-first\nmid\ne-last\n" * count


def test_nor_does_it_in_a_capture(project: Project) -> None:
    count = _writers(project)
    project.call("run", "case*/script.py", "--capture", "out")
    for number in range(1, count + 1):
        captured = (project.path / f"case{number}/out").read_text()
        assert captured == "first\ne-first\nmid\nmid\nlast\ne-last\n", BY_NAME[number - 1]


# --- what is written after the script's end ------------------------------------------------------------------------------------

#: leaves a process that runs this and has the script's outputs
LEAVES = "import subprocess, sys\nsubprocess.Popen([sys.executable, '-c', {!r}])\nprint('main')\n"
#: what such a process may do first
#: waits for a file, or for the end of the test, which takes the folder along
WHEN = "import os, time\nwhile os.path.isdir(os.path.dirname({0!r})) and not os.path.exists({0!r}): time.sleep(0.01)\n"


def test_what_comes_soon_after_the_end_is_part_of_the_output(house: House) -> None:
    case = house.add(LEAVES.format("import os, time\ntime.sleep(0.2); os.write(1, b'late\\n'); os.write(2, b'later\\n')"))
    house.run()
    assert house.watcher.outputs == {case.sequence: (b"main\nlate\n", b"later\n")}
    assert house.watcher.late == {} and house.watcher.lost == []


def test_an_output_that_goes_through_another_process_is_whole(house: House) -> None:
    """`tee` has the last lines still when the script has ended: why it failed, most often."""
    slow = "import sys, time\nfor line in sys.stdin: time.sleep(0.1); sys.stderr.write(line)"
    case = house.add(
        "import os, subprocess, sys\n"
        f"tee = subprocess.Popen([sys.executable, '-c', {slow!r}], stdin=subprocess.PIPE)\n"
        "os.dup2(tee.stdin.fileno(), 2)\nsys.exit('why it failed')"
    )
    assert house.run().results[case.sequence].tail == "why it failed"


def test_what_comes_while_the_run_lasts_is_passed_on_when_it_ends(house: House, monkeypatch: pytest.MonkeyPatch) -> None:
    reported, wrote = str(house.path / "reported"), str(house.path / "wrote")
    writes = f"os.write(2, b'late\\n'); open({wrote!r}, 'w').close(); time.sleep(0.1); os.write(2, b'and more\\n')"
    house.add(LEAVES.format(WHEN.format(reported) + writes))
    house.add(WHEN.format(wrote) + "time.sleep(1)")
    record = house.watcher.record

    def noted(case: Case, result: Result, last: bool) -> str:
        Path(reported).touch()
        return record(case, result, last)

    monkeypatch.setattr(house.watcher, "record", noted)
    house.run()
    assert house.watcher.outputs[1] == (b"main\n", b"")
    assert house.watcher.late == {1: (b"", b"late\nand more\n")}
    assert house.watcher.lost == []


def test_what_holds_an_output_when_the_run_ends_is_told_and_lives_on(house: House) -> None:
    """No pipe without a reader ends it, and none that is full holds it."""
    go, done = str(house.path / "go"), house.path / "done"
    writes = f"os.write(1, b'x' * 1_000_000); os.write(2, b'x'); open({str(done)!r}, 'w').close()"
    house.add(LEAVES.format("import os, signal\nsignal.signal(signal.SIGHUP, signal.SIG_IGN)\n" + WHEN.format(go) + writes))
    house.add("print('nothing left')")
    house.run()
    assert house.watcher.outputs[1] == (b"main\n", b"")
    assert house.watcher.lost == [1]
    Path(go).touch()
    wait_for(done.exists)


def test_a_capture_takes_what_comes_after_the_run(house: House) -> None:
    go = str(house.path / "go")
    house.add(LEAVES.format(WHEN.format(go) + "os.write(1, b'late\\n'); os.write(2, b'later\\n')"))
    house.run(capture="out")
    captured = house.path / "case1/out"
    assert captured.read_bytes() == b"main\n"
    assert house.watcher.lost == []
    Path(go).touch()
    wait_for(lambda: captured.read_bytes() == b"main\nlate\nlater\n")


def test_an_attempt_that_is_made_again_is_passed_on_by_its_last_one_alone(house: House) -> None:
    late = "import os, time\ntime.sleep(0.7); os.write(1, b'late\\n')"
    first = "import os, time\nif os.path.exists('again'): time.sleep(1.5); sys.exit(print('again'))\nopen('again', 'w').close()\n"
    house.add("import sys\n" + first + LEAVES.format(late) + "sys.exit(1)")
    house.run(tries=2)
    assert house.watcher.outputs == {1: (b"again\n", b"")}
    assert house.watcher.late == {}


def test_no_script_takes_the_place_of_one_that_failed_before_that_is_told(house: House) -> None:
    house.add(LEAVES.format(WHEN.format(str(house.path / "go"))) + "sys.exit(1)")
    house.add("print('never')")
    outcome = house.run(jobs=1, fail_fast=True)
    (house.path / "go").touch()
    assert (house.watcher.starts, outcome.left) == ([1], 1)


def test_one_that_never_stops_writing_holds_nobody(house: House) -> None:
    yes = "subprocess.Popen(['sh', '-c', 'read until_the_script_ends; exec yes'], stdin=subprocess.PIPE)"
    house.add(f"import subprocess\nprint({yes}.pid, flush=True)")
    house.add("print('here')")
    outcome = house.run()
    assert [result.succeeded for result in outcome.results.values()] == [True, True]
    pid = int(house.watcher.outputs[1][0].split()[0])
    assert house.watcher.lost == [1]
    os.kill(pid, signal.SIGKILL)


def test_thousands_that_leave_something_behind_need_no_thousands_of_descriptors(house: House) -> None:
    used = len(os.listdir("/proc/self/fd"))
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    for _ in range(24):
        house.add(LEAVES.format(WHEN.format(str(house.path / "go")) + "os.write(1, b'x'); open('alive', 'w').close()"))
    resource.setrlimit(resource.RLIMIT_NOFILE, (used + 24, hard))
    try:
        outcome = house.run(jobs=2)
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))
    (house.path / "go").touch()
    wait_for(lambda: len(list(house.path.glob("case*/alive"))) == 24)
    assert [result.error for result in outcome.results.values()] == [""] * 24
    assert [stdout for stdout, _ in house.watcher.outputs.values()] == [b"main\n"] * 24
    assert sorted(house.watcher.lost) == list(range(1, 25))


def test_of_very_many_the_oldest_are_let_go() -> None:
    watcher = Watcher()
    leftovers = Leftovers(watcher, Reader(1, lambda: None))
    slots = [Slot(Case(number, f"/case{number}/s.py"), 1, *open_pipes(None)) for number in range(1, MANY + 2)]
    for slot in slots:
        leftovers.follow(slot, wanted=True)
        os.write(slot.stdout.writer, b"late")
    kept = [os.dup(slot.stdout.writer) for slot in slots]  # what a process has that was left running
    leftovers.look()
    assert [slot.writes for slot in slots] == [False] * (len(slots) - MANY // 2) + [True] * (MANY // 2)
    for writer in kept:
        os.write(writer, b"no error")
        os.close(writer)
    leftovers.look(0)
    assert watcher.late[1] == (b"late", b"") and len(watcher.late) == len(slots)
    assert watcher.lost == [slot.case.sequence for slot in slots]


def test_what_comes_while_an_output_is_passed_on_is_kept_apart() -> None:
    pipe = Pipe(Spool())
    os.write(pipe.writer, b"first")
    pipe.drain()
    first = pipe.take()
    os.write(pipe.writer, b"second")
    pipe.drain()
    assert (first.tail(), pipe.take().tail()) == (b"first", b"second")
    pipe.close()


def test_the_command_passes_on_what_is_late_and_names_whose_is_lost(project: Project) -> None:
    lives = LEAVES.format(WHEN.format(str(project.path / "go")))
    project.script("case1/script.py", body=LEAVES.format("import os, time\ntime.sleep(0.8); os.write(1, b'late\\n')"))
    project.script("case2/script.py", body=lives)
    project.script("case3/script.py", body="import time\ntime.sleep(1.5)\nprint('end')")
    told = project.call("run", "-k", "--tag", "case*/script.py")
    (project.path / "go").touch()
    assert told.stdout.split("\n")[:3] == ["case1/script.py\tmain", "case2/script.py\tmain", "case1/script.py\tlate"]
    assert "left running by case2/script.py, and able to write still: what it writes from now on is lost" in told.stderr


def test_what_is_late_waits_for_its_turn_with_the_rest(capfdbinary: pytest.CaptureFixture[bytes]) -> None:
    output = Output(order=(1, 2, 3))
    cases = {number: Case(number, f"/case{number}/s.py") for number in (1, 2, 3)}

    def write(number: int, text: bytes, *, late: bool = False) -> None:
        spool = Spool()
        spool.add(text)
        output.write(cases[number], spool, Spool(), late=late)

    write(2, b"two\n")
    output.settled(2)
    write(2, b"late two\n", late=True)
    write(1, b"one\n")
    output.settled(1)
    write(1, b"late one\n", late=True)
    write(3, b"three\n")
    assert capfdbinary.readouterr().out == b"one\ntwo\nlate two\nlate one\nthree\n"


# --- ulimit -f -----------------------------------------------------------------------------------------------------------------

LIMITED = ("bash", "-c", 'ulimit -f 1000; exec "$@"', "-")  #: files of 1,024,000 bytes at most


@pytest.mark.parametrize("options", [(), ("-k", "-j3"), ("--preload",)])
def test_a_limit_of_files_is_none_of_what_is_printed(project: Project, options: tuple[str, ...]) -> None:
    body = "import sys, time\ntime.sleep({})\nsys.stdout.write('x' * {})\nsys.stderr.write('e' * 2_000_000)"
    project.script("case1/script.py", body=body.format(0.5, 20_000_000))  # more than stays in memory; the others wait for it
    project.script("case2/script.py", body=body.format(0, 3_000_000))
    project.script("case3/script.py", body=body.format(0, 3_000_000))
    project.call("build", "case1/script.py")
    told = project.call("-q", "run", "case*/script.py", *options, prefix=LIMITED)
    assert told.stdout == "x" * 26_000_000
    assert told.stderr == "e" * 6_000_000


def test_a_limit_of_files_counts_for_those_of_the_user(project: Project) -> None:
    project.script("case1/script.py", body="open('own', 'w').write('x' * 3_000_000)")
    project.script("case2/script.py", body="print('x' * 3_000_000)")
    project.call("build", "case1/script.py")
    assert "File too large" in project.call("run", "case1/script.py", prefix=LIMITED, status=1).stderr
    told = project.call("run", "case2/script.py", "--capture", "out", prefix=LIMITED, status=1)
    assert "its output could not be written: File too large" in told.stderr
    assert (project.path / "case1/own").stat().st_size == (project.path / "case2/out").stat().st_size == 1_024_000


def test_where_no_file_may_hold_anything_memory_does() -> None:
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    spool = Spool()
    resource.setrlimit(resource.RLIMIT_FSIZE, (0, hard))
    try:
        spool.add(b"x" * 1000)
        with pytest.raises(OSError, match="File too large"):
            spool.relieve(100)
        spool.add(b"y" * 500)
        spool.relieve(100)  # not asked again so soon
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
    assert b"".join(spool.chunks()) == b"x" * 1000 + b"y" * 500
    spool.add(b"z" * 1000)
    spool.relieve(100)
    assert spool.kept == 0
    assert spool.tail(1500) == b"y" * 500 + b"z" * 1000
    spool.close()


def test_what_a_limit_cuts_into_several_files_is_read_as_one() -> None:
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    kept = Overflow()
    data = os.urandom(10_000)
    resource.setrlimit(resource.RLIMIT_FSIZE, (4096, hard))
    try:
        for start in range(0, len(data), 3000):
            kept.append(data[start : start + 3000])
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
    assert kept.size == len(data)
    read, position = b"", 1
    while chunk := kept.read(position, 1500):
        read += chunk
        position += len(chunk)
    assert read == data[1:]
    kept.close()
