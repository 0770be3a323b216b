"""What was done is done, and the last run is the last one, however the clocks of nodes differ: real runs under libfaketime."""

from __future__ import annotations

import glob
from pathlib import Path

import pytest

from tests.conftest import Project
from tests.faults import preloaded, wait_for

LIBRARIES = glob.glob("/usr/lib/*/faketime/libfaketime.so.1")
pytestmark = pytest.mark.skipif(not LIBRARIES, reason="needs libfaketime (apt-get install faketime)")

#: fails the first time
BODY = 'import os, sys\nfirst = not os.path.exists("ran")\nopen("ran", "a").write("start\\n")\nsys.exit("lost the license" if first else 0)\n'


def node(project: Project, offset: str, *, files_too: bool) -> dict[str, str]:
    """The environment of a node whose clock is off; ``files_too``: it sees the times of files so, too, as no real node does."""
    more = {} if files_too else {"NO_FAKE_STAT": "1"}
    return {**project.env, "LD_PRELOAD": LIBRARIES[0], "FAKETIME": offset, "FAKETIME_DONT_FAKE_MONOTONIC": "1", **more}


@pytest.mark.parametrize("files_too", [False, True])
@pytest.mark.parametrize("offset", ["+1d", "-1d", "+10m"])
def test_the_run_begun_last_is_the_last_one(project: Project, offset: str, files_too: bool) -> None:
    if offset.startswith("-") and files_too:
        pytest.skip("a node that sees files as older than they are: there is none")
    project.script("good/script.py")
    project.script("bad/script.py", [], "raise SystemExit(3)\n")
    skewed, right = node(project, offset, files_too=files_too), project.env
    if offset.startswith("+"):
        project.call("run", "good/script.py", env=skewed)
        project.call("run", "bad/script.py", env=right, status=1)
        assert "1 failed" in project.call("run", "--retry-failed", status=1).stderr
    else:
        project.call("run", "bad/script.py", env=right, status=1)
        project.call("run", "good/script.py", env=skewed)
        assert "every script succeeded" in project.call("status").stdout
        assert "nothing to run" in project.call("run", "--retry-failed").stderr


@pytest.mark.parametrize("files_too", [False, True])
@pytest.mark.parametrize("offset", ["+10m", "-10m", "+1d"])
def test_what_succeeded_later_is_done(project: Project, offset: str, files_too: bool) -> None:
    """Two writers: one share of a run, gone on with as a whole; with the clock of the one ahead, or of the other behind."""
    if offset.startswith("-") and files_too:
        pytest.skip("a node that sees files as older than they are: there is none")
    project.copies(2, [], BODY)
    skewed, right = node(project, offset, files_too=files_too), project.env
    first, second = (skewed, right) if offset.startswith("+") else (right, skewed)
    project.call("run", "case*/script.py", status=1, env=first)
    project.call("run", "--resume", "--shard", "1/1", "case*/script.py", env=second)
    ran = [(project.path / f"case{number}/ran").read_text() for number in (1, 2)]
    assert ran == ["start\nstart\n"] * 2
    assert "nothing to run" in project.call("run", "--resume").stderr
    assert "every script succeeded" in project.call("status").stdout
    assert [(project.path / f"case{number}/ran").read_text() for number in (1, 2)] == ran


#: a clock that is ahead by the seconds that a file says; libfaketime's can't be set while Python sleeps
SET_CLOCK = """\
#define _GNU_SOURCE
#include <dlfcn.h>
#include <fcntl.h>
#include <stdlib.h>
#include <time.h>
#include <unistd.h>
int clock_gettime(clockid_t id, struct timespec *found) {
    static int (*real)(clockid_t, struct timespec *);
    if (!real) real = dlsym(RTLD_NEXT, "clock_gettime");
    int status = real(id, found);
    if (id == CLOCK_REALTIME) {
        char text[32] = "";
        int file = open(getenv("AHEAD"), O_RDONLY | O_CLOEXEC);
        if (file >= 0 && read(file, text, 31) > 0) found->tv_sec += atol(text);
        close(file);
    }
    return status;
}
"""


@pytest.mark.parametrize("command", ["join", "run"])
def test_a_clock_that_is_set_during_a_run_changes_nothing_but_what_is_printed(project: Project, tmp_path: Path, command: str) -> None:
    """A day on, and two days back, as ntpd and admins do; another worker has the right time."""
    project.copies(24, [], 'import time; open("ran", "a").write("x"); time.sleep(0.1)')
    ahead = tmp_path / "ahead"
    ahead.write_text("0")
    moving = {**project.env, **preloaded(tmp_path, SET_CLOCK), "AHEAD": str(ahead)}
    if command == "join":
        run = project.call("plan", "case*/script.py").stdout.strip()
        started = [project.start("join", run, "-j1", env=environ) for environ in (moving, project.env)]
    else:
        started = [project.start("run", "-j2", "case*/script.py", env=moving)]
    for part, seconds in ((6, 86400), (14, -86400)):
        wait_for(lambda part=part: len(list(project.path.glob("case*/ran"))) >= part)  # type: ignore[misc]
        ahead.write_text(str(seconds))
    said = [process.communicate(timeout=120) for process in started]
    assert [process.returncode for process in started] == [0] * len(started), said
    assert {path.read_text() for path in project.path.glob("case*/ran")} == {"x"}
    assert "24 succeeded" in project.call("status").stdout
    assert project.call("status", "--list", "interrupted").stdout == ""
    assert "nothing to run" in project.call("run", "--resume").stderr
