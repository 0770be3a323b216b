"""`run --preload`: a script that lets go of its streams ends as under Python, and a server that was stopped is noticed."""

from __future__ import annotations

import os
import re
import select
import signal
import subprocess
import sys
import time

import pytest

from tests.run.test_preload import PYTHON, Bench, bench

__all__ = ["bench"]  # a fixture
pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="forks are shared on Linux only")

STREAMS = {
    "deleted": "del sys.stdout",
    "deleted, with what it was first": "del sys.stdout, sys.__stdout__",
    "all": "del sys.stdin, sys.stdout, sys.stderr, sys.__stdin__, sys.__stdout__, sys.__stderr__",
    "none": "sys.stdout = None",
    "errors": "del sys.stderr\nraise ValueError(3)",
    "errors of none": "sys.stderr = sys.__stderr__ = None\nraise ValueError(3)",
    "exits": "del sys.stdout\nsys.exit(5)",
    "closed": "sys.stdout.close()",
    "another": "import io\nsys.stdout = io.StringIO()\nprint('lost')",
}


@pytest.mark.parametrize("what", STREAMS)
def test_a_script_that_lets_go_of_its_streams_ends_as_under_python(bench: Bench, what: str) -> None:
    bench.module("heavy.py", "")
    text = f"import heavy, sys\nprint('written')\n{STREAMS[what]}\n"
    path = bench.path / "plain.py"
    path.write_text(text)
    plain = subprocess.run([PYTHON, path], env=bench.variables, capture_output=True, text=True, check=False)
    status, stdout, stderr = bench.run(text)
    assert (status, stdout) == (plain.returncode, plain.stdout)
    where = re.compile(r"0x[0-9a-f]+")  # the interpreter's own words about an exception that it can't tell
    assert where.sub("", stderr.replace(str(bench.path / "case1/script.py"), str(path))) == where.sub("", plain.stderr)
    assert bench.servers(), "it was started as a fork"


def test_cases_of_a_server_that_was_stopped_are_seen_to_end(bench: Bench) -> None:
    """Nothing would ever have been told of them, and the run would have waited for good."""
    bench.module("heavy.py", "")
    pids = [bench.start("import heavy, os, time\nwhile not os.path.exists('../go'): time.sleep(0.01)\nos._exit(7)\n")[0] for _ in range(3)]
    [server] = bench.servers()
    os.kill(server, signal.SIGSTOP)
    (bench.path / "go").touch()
    assert [bench.wait(pid) for pid in pids] == [7, 7, 7]


def test_a_case_that_a_stopped_server_has_not_heard_of_is_started_the_plain_way(bench: Bench) -> None:
    bench.module("heavy.py", "")
    assert bench.run("import heavy\n")[0] == 0
    [server] = bench.servers()
    os.kill(server, signal.SIGSTOP)
    began = time.monotonic()
    assert bench.run("import heavy\nprint('ran')\n")[:2] == (0, "ran\n")
    assert time.monotonic() - began < 30
    assert server not in bench.servers()


def test_a_server_that_goes_on_soon_is_left_alone(bench: Bench) -> None:
    """As after Ctrl-Z and fg, when all of us were stopped."""
    bench.module("heavy.py", "")
    pid, _ = bench.start("import heavy, os, time\nwhile not os.path.exists('../go'): time.sleep(0.01)\n")
    [server] = bench.servers()
    for _ in range(3):
        os.kill(server, signal.SIGSTOP)
        time.sleep(0.4)
        list(bench.starter.reap())
        os.kill(server, signal.SIGCONT)
        time.sleep(0.8)
        list(bench.starter.reap())
    (bench.path / "go").touch()
    select.select(bench.starter.descriptors(), [], [], 10)
    assert bench.wait(pid) == 0
    assert bench.servers() == [server]
