"""Large outputs: what running scripts write must not fill the memory, whoever reads it and however slow the disk is."""

from __future__ import annotations

import sys
import threading
import time
from pathlib import Path

import pytest

from sharedenv.run.reader import Reader
from sharedenv.run.spool import Spool
from tests.conftest import Project
from tests.run.test_batch import House


@pytest.fixture
def house(tmp_path: Path) -> House:
    return House(tmp_path)


#: writes 300 MB, 500 MB a second at most
FLOOD = "import os, time\nblock = (b'x' * 99 + b'\\n') * 10_000\nfor _ in range(300): os.write(1, block); time.sleep(0.002)\n"


def test_a_script_that_writes_faster_than_the_disk_takes_is_held(house: House, monkeypatch: pytest.MonkeyPatch) -> None:
    """As the kernel holds who writes into a file: 300 MB were in memory before the first piece was on disk."""
    most, sizes = [0], []
    relieve = Spool.relieve

    def slow_disk(spool: Spool, limit: int) -> None:
        most[0] = max(most[0], spool.kept)
        if spool.kept > limit:
            time.sleep(0.04)  # 200 MB a second
        relieve(spool, limit)

    monkeypatch.setattr(Spool, "relieve", slow_disk)
    monkeypatch.setattr(house.watcher, "output", lambda *given: sizes.append((given[2].size, given[2].tail(100))))
    case = house.add(FLOOD)
    assert house.run().results[case.sequence].succeeded
    assert 8 << 20 < most[0] < 9 << 20
    assert sizes == [(300 * 10**6, b"x" * 99 + b"\n")]
    assert house.watcher.notices == []


def test_a_script_that_is_held_answers_when_its_time_is_up(house: House, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Spool, "relieve", lambda spool, limit: time.sleep(0.02))  # noqa: ARG005 - 3 MB a second
    monkeypatch.setattr(house.watcher, "output", lambda *_: None)
    goodbye = "import signal, sys, time\nsignal.signal(signal.SIGTERM, lambda *_: (time.sleep(0.3), sys.exit(7)))\n"
    case = house.add(goodbye + "import os\nblock = b'x' * 1_000_000\nfor _ in range(100): os.write(1, block)\nsignal.pause()")
    began = time.monotonic()
    result = house.run(timeout=1.0, grace=20.0).results[case.sequence]
    assert result.error == "timed out after 1 s" and time.monotonic() - began < 15
    assert [record.signal for record, _ in house.watcher.records] == [0]


def test_what_runs_goes_on_while_an_output_waits_for_its_reader(house: House, monkeypatch: pytest.MonkeyPatch) -> None:
    """`sharedenv run … | less`: the loop waits in a write, and what runs goes on writing, to disk in the end."""
    house.add("print('read me')")
    house.add("import os, time\nfor _ in range(40): print('x' * (1 << 20))\nwhile not os.path.exists('moved'): time.sleep(0.02)")
    moved = threading.Event()
    relieve = Spool.relieve

    def noted(spool: Spool, limit: int) -> None:
        relieve(spool, limit)
        if spool.size > 40 << 20 and spool.kept < 16 << 20:
            moved.set()
            (house.path / "case2/moved").touch()

    monkeypatch.setattr(Spool, "relieve", noted)
    read: list[bool] = []
    monkeypatch.setattr(house.watcher, "output", lambda *_: read.append(moved.wait(30)))
    house.run()
    assert read == [True, True]


def test_many_large_outputs_at_a_time_leave_the_memory_free(project: Project) -> None:
    """400 MB of eight scripts; each may have 8 MB in memory."""
    project.copies(8, body="import sys\nfor _ in range(50): sys.stdout.write('x' * 999_999 + '\\n')")
    project.call("build", "case1/script.py")
    # by a small process between: what is started counts the memory of who has started it, and pytest grows
    code = "import resource, subprocess, sys; subprocess.run(sys.argv[1:], stdout=subprocess.DEVNULL, check=True); " \
        "print(resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss)"
    told = project.call("-q", "run", "-j8", "case*/script.py", prefix=(sys.executable, "-c", code))
    assert int(told.stdout) < 230 << 10  # kilobytes


@pytest.mark.parametrize(("jobs", "limit"), [(1, 8 << 20), (16, 8 << 20), (64, 2 << 20), (5000, 256 << 10)])
def test_the_more_scripts_at_a_time_the_less_of_each_stays_in_memory(jobs: int, limit: int) -> None:
    assert Reader(jobs, lambda: None).limit == limit


def test_where_no_thread_can_be_had_scripts_run_all_the_same(house: House, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(_: threading.Thread) -> None:
        raise RuntimeError("can't start new thread")

    monkeypatch.setattr(threading.Thread, "start", refuse)
    case = house.add("print('x' * 20_000_000)")
    silent = house.add("import os, time\nos.close(1), os.close(2)\ntime.sleep(0.3)")
    outcome = house.run()
    assert outcome.results[case.sequence].succeeded and outcome.results[silent.sequence].succeeded
    assert len(house.watcher.outputs[case.sequence][0]) == 20_000_001
