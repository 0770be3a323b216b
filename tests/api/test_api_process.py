"""The API in somebody else's process: threads, signals, folders; Ctrl-C, errors of observers, and the death of the caller."""

from __future__ import annotations

import asyncio
import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

import sharedenv
from sharedenv import SharedenvError, process
from tests.conftest import Project

#: writes its number into `begun`, and goes on until `go` is there
WAITS = """
import os, time
with open("begun.new", "w") as file:
    file.write(str(os.getpid()))
os.rename("begun.new", "begun")
while not os.path.exists("../go"):
    time.sleep(0.02)
"""
HEARD = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP, signal.SIGUSR1, signal.SIGUSR2, signal.SIGCHLD, signal.SIGTSTP, signal.SIGALRM)


def wait_until(condition: Callable[[], object]) -> None:
    """Waits for something that is bound to come."""
    deadline = time.monotonic() + 60
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.02)


def _lives(pid: int) -> bool:
    try:
        return "Z" not in Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0]
    except OSError:
        return False


def _begun(project: Project, number: int) -> int:
    path = project.path / f"case{number}" / "begun"
    wait_until(path.exists)
    return int(path.read_text())


def _always() -> dict[str, object]:
    """What of this process others may rely on at any time, by any thread."""
    return {
        "handlers": [signal.getsignal(number) for number in HEARD],
        "cwd": os.getcwd(),
        "umask": process.umask(),
        "environ": dict(os.environ),
        "argv": list(sys.argv),
        "affinity": os.sched_getaffinity(0),
    }


def _state() -> dict[str, object]:
    """What of it, by the main thread, they may rely on between two calls."""
    wakeup = signal.set_wakeup_fd(-1)
    signal.set_wakeup_fd(wakeup)
    return {
        **_always(),
        "wakeup": wakeup,
        "blocked": signal.pthread_sigmask(signal.SIG_BLOCK, ()),
        "threads": set(threading.enumerate()),
        "priority": os.getpriority(os.PRIO_PROCESS, 0),
        "descriptors": set(os.listdir("/proc/self/fd")),
    }


def _children() -> set[str]:
    """Of this process: what other tests have started, such as a cluster, is among them."""
    return {pid for task in Path("/proc/self/task").iterdir() for pid in (task / "children").read_text().split()}


def test_a_process_is_as_it_was(project: Project) -> None:
    """With handlers of its own, from which a build and a run keep their hands."""
    project.copies(3, ["alpha"])
    heard: list[int] = []
    old = {number: signal.signal(number, lambda number, _frame: heard.append(number)) for number in HEARD if number != signal.SIGCHLD}
    (reader, writer) = os.pipe()
    os.set_blocking(writer, False)
    wakeup = signal.set_wakeup_fd(writer)
    try:
        with project.inside():
            sharedenv.build("case1/script.py")  # the first call loads modules
            sharedenv.run("case1/script.py")
            before, children = _state(), _children()
            always, within = _always(), list[dict[str, object]]()
            project.script("other.py", ["beta"])
            sharedenv.build("other.py", on_event=lambda _: within.append(_always()))
            sharedenv.run("case*/script.py", on_result=lambda _: within.append(_always()))
            assert _state() == before
        assert len(within) > 3
        assert all(state == always for state in within)
    finally:
        signal.set_wakeup_fd(wakeup)
        for number, handler in old.items():
            signal.signal(number, handler)
        os.close(reader)
        os.close(writer)
    assert not heard
    assert _children() <= children, "no child is left"


def test_from_a_thread_while_another_looks(project: Project) -> None:
    project.copies(2, body=WAITS)
    with project.inside(), ThreadPoolExecutor(1) as threads:
        running = threads.submit(sharedenv.run, "case*/script.py", jobs=2)
        for number in (1, 2):
            _begun(project, number)
        run = sharedenv.status()
        assert (run.state, run.running, run.succeeded, run.left, run.total) == ("running", 2, 0, 2, 2)
        assert len(sharedenv.results(run.id)) == 0
        with pytest.raises(SharedenvError, match="works on 2 scripts of these") as told:
            sharedenv.run("case*/script.py")
        assert "--insist" in str(told.value.hint)
        (project.path / "go").touch()
        assert running.result().raise_for_failures().id == run.id
        assert sharedenv.status(run.id).state == "done"


def test_several_at_once(project: Project) -> None:
    """Runs in threads over different scripts, while the folder of the process changes."""
    for name in "abc":
        for number in range(3):
            project.script(f"{name}{number}/script.py", body="import os; print(os.path.basename(os.getcwd()))")
    with project.inside():
        sharedenv.build("*/script.py")
        written: list[bytes] = []
        here = str(project.path)
        with ThreadPoolExecutor(3) as threads:
            found = list(threads.map(lambda name: sharedenv.run(f"{here}/{name}*/script.py", on_output=lambda one: written.append(one.stdout)), "abc"))
        assert len({result.raise_for_failures().id for result in found}) == 3
    assert sorted(written) == sorted(f"{name}{number}\n".encode() for name in "abc" for number in range(3))


def test_under_a_loop_of_asyncio(project: Project) -> None:
    project.copies(2, ["alpha"])

    async def both() -> int:
        child = await asyncio.create_subprocess_exec("sleep", "0.1")
        result = await asyncio.to_thread(sharedenv.run, "case*/script.py")
        assert await child.wait() == 0
        return len(result.raise_for_failures())

    with project.inside():
        assert asyncio.run(both()) == 2


def _caller(project: Project, code: str) -> subprocess.Popen[str]:
    """A program in the project's folder."""
    caller = subprocess.Popen(
        [sys.executable, "-c", f"import sharedenv, threading, sys\n{code}"], cwd=project.path, env=project.env, text=True,
        stdout=subprocess.PIPE, stderr=subprocess.PIPE,
    )  # fmt: skip
    project._started.append(caller)
    return caller


def test_ctrl_c_leaves_a_journal_to_go_on_with(project: Project) -> None:
    project.copies(3, body=WAITS)
    caller = _caller(project, "sharedenv.run('case*/script.py', jobs=2)")
    pids = [_begun(project, number) for number in (1, 2)]
    caller.send_signal(signal.SIGINT)
    assert caller.communicate(timeout=60)[1].rstrip().endswith("KeyboardInterrupt")
    assert not any(map(_lives, pids))
    (project.path / "go").touch()
    with project.inside():
        run = sharedenv.status()
        assert (run.state, run.left, run.running) == ("interrupted", 3, 0)
        assert [case.interrupted for case in sharedenv.results(run.id)] == [True, True]
        assert len(sharedenv.run(resume=True).raise_for_failures()) == 3


def test_what_an_observer_raises_ends_the_run(project: Project) -> None:
    project.script("case1/script.py")
    project.script("case2/script.py", body=WAITS)

    class Enough(Exception):
        pass

    def leave(_: object) -> None:
        _begun(project, 2)
        raise Enough

    with project.inside():
        with pytest.raises(Enough):
            sharedenv.run("case*/script.py", jobs=2, on_result=leave)
        assert not _lives(_begun(project, 2))
        run = sharedenv.status()
        assert (run.state, run.succeeded, run.left) == ("interrupted", 1, 1)


@pytest.mark.parametrize("thread", [False, True], ids=["main thread", "another thread"])
def test_where_the_caller_dies_its_cases_are_ended(project: Project, thread: bool) -> None:
    project.copies(2, body=WAITS)
    call = "lambda: sharedenv.run('case*/script.py', jobs=2)"
    caller = _caller(project, f"threading.Thread(target={call}).start()" if thread else f"({call})()")
    pids = [_begun(project, number) for number in (1, 2)]
    caller.kill()
    wait_until(lambda: not any(map(_lives, pids)))
    with project.inside():
        wait_until(lambda: sharedenv.status().state == "interrupted")
        (project.path / "go").touch()
        sharedenv.run(resume=True).raise_for_failures()


def test_where_the_process_that_works_is_killed_the_caller_is_told(project: Project) -> None:
    project.script("case1/script.py", body=WAITS)

    def kill() -> None:
        pid = _begun(project, 1)
        parent = int(Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[1])
        os.kill(parent, signal.SIGKILL)
        (project.path / "go").touch()

    killer = threading.Thread(target=kill)
    killer.start()
    with project.inside(), pytest.raises(SharedenvError, match="has died") as told:
        sharedenv.run("case1/script.py")
    killer.join()
    wait_until(lambda: not _lives(_begun(project, 1)))  # it has outlived who started it
    assert told.value.cause == "killed by SIGKILL"
    assert told.value.hint == "sharedenv status"
