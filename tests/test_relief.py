"""Large outputs: what running scripts write must not fill the memory, whoever reads it and however slow the disk is."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path

import pytest

from sharedenv.run.case import Case
from sharedenv.run.relief import Relief
from sharedenv.run.slot import Slot, close_slot
from sharedenv.run.spool import Spool
from tests.test_batch import House


@pytest.fixture
def house(tmp_path: Path) -> House:
    return House(tmp_path)


#: writes 300 MB, 500 MB a second at most
FLOOD = "import os, time\nblock = (b'x' * 99 + b'\\n') * 10_000\nfor _ in range(300): os.write(1, block); time.sleep(0.002)\n"


@pytest.mark.skipif(sys.platform != "linux", reason="elsewhere outputs are files from the start")
def test_a_script_that_writes_faster_than_the_disk_takes_is_held(house: House, monkeypatch: pytest.MonkeyPatch) -> None:
    """As the kernel holds who writes into a file: 300 MB were in memory before the first piece was on disk."""
    most, sizes = [0], []
    monkeypatch.setattr("sharedenv.run.relief._LOOK", 0.01)
    relieve = Spool.relieve

    def slow_disk(spool: Spool, limit: int) -> None:
        most[0] = max(most[0], os.fstat(spool.descriptor).st_blocks * 512)
        time.sleep(0.02)  # 200 MB a second
        relieve(spool, limit)

    monkeypatch.setattr(Spool, "relieve", slow_disk)
    monkeypatch.setattr(house.watcher, "output", lambda *given: sizes.append((given[2].size, given[2].tail(100))))
    case = house.add(FLOOD)
    assert house.run().results[case.sequence].succeeded
    assert most[0] < 200 << 20
    assert sizes == [(300 * 10**6, b"x" * 99 + b"\n")]
    [told] = house.watcher.notices
    assert told.startswith("scripts write faster than the disk of TMPDIR takes it: they are stopped now and then")


@pytest.mark.skipif(sys.platform != "linux", reason="as above")
def test_a_script_that_is_held_answers_when_its_time_is_up(house: House, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("sharedenv.run.relief._LOOK", 0.01)
    monkeypatch.setattr(Spool, "relieve", lambda spool, limit: time.sleep(0.02))  # noqa: ARG005 - a disk that takes nothing
    monkeypatch.setattr(house.watcher, "output", lambda *_: None)
    goodbye = "import signal, sys, time\nsignal.signal(signal.SIGTERM, lambda *_: (time.sleep(0.3), sys.exit(7)))\n"
    case = house.add(goodbye + "import os\nblock = b'x' * 1_000_000\nfor _ in range(100): os.write(1, block)\nsignal.pause()")
    began = time.monotonic()
    result = house.run(timeout=1.0, grace=20.0).results[case.sequence]
    assert result.error == "timed out after 1 s" and time.monotonic() - began < 15
    assert [record.signal for record, _ in house.watcher.records] == [0]


@pytest.mark.skipif(sys.platform != "linux", reason="as above")
def test_what_grows_is_moved_while_an_output_waits_for_its_reader(house: House, monkeypatch: pytest.MonkeyPatch) -> None:
    """`sharedenv run … | less`: the loop waits in a write, and what runs goes on writing."""
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


@pytest.mark.skipif(sys.platform != "linux", reason="as above")
def test_what_a_held_script_leaves_behind_goes_on_when_it_is_gone() -> None:
    left = subprocess.Popen(["sh", "-c", "sleep 0.2; exit 9"], start_new_session=True)
    slot = Slot(Case(1, "/case1/script.py"), 1, Spool(), Spool())
    os.killpg(left.pid, signal.SIGSTOP)
    slot.held = True
    Relief({left.pid: slot}, 1).release(left.pid, slot)
    assert left.wait(30) == 9
    close_slot(slot)


@pytest.mark.parametrize(("jobs", "limit"), [(1, 8 << 20), (16, 8 << 20), (64, 2 << 20), (5000, 256 << 10)])
def test_the_more_scripts_at_a_time_the_less_of_each_stays_in_memory(jobs: int, limit: int) -> None:
    assert Relief({}, jobs).limit == limit


def test_where_no_thread_can_be_had_scripts_run_all_the_same(house: House, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(_: threading.Thread) -> None:
        raise RuntimeError("can't start new thread")

    monkeypatch.setattr(threading.Thread, "start", refuse)
    case = house.add("print('x' * 20_000_000)")
    assert house.run().results[case.sequence].succeeded
    assert len(house.watcher.outputs[case.sequence][0]) == 20_000_001
