"""What was done is done, and the last run is the last one, however the clocks of nodes differ: real runs under libfaketime."""

from __future__ import annotations

import glob

import pytest

from tests.conftest import Project

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
