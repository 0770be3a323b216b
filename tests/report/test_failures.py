"""Failures in groups: shown whole, named, run again alone."""

from __future__ import annotations

from tests.conftest import Project

BODY = """\
import os, sys
kind = open("kind").read()
if kind == "good" or os.path.exists("../mended"):
    sys.exit()
print("reading", file=sys.stderr)
sys.exit("no input" if kind == "early" else "it diverged")
"""


def failed_run(project: Project) -> str:
    """A run of six in which one says one thing, three another, and two succeed; its name."""
    project.copies(6, body=BODY)
    for number, kind in enumerate(("late", "early", "late", "good", "late", "good"), 1):
        (project.path / f"case{number}" / "kind").write_text(kind)
    project.call("run", "-j1", "case*/script.py", status=1)
    (run,) = (path.name for path in (project.pool / "runs").iterdir() if not path.name.startswith("."))
    return run


def test_groups_of_failures(project: Project) -> None:
    run = failed_run(project)
    assert project.call("status", "--failures").stdout == (
        "group 1: 3 × exit 1: it diverged\n"
        "  the last lines of case1/script.py:\n"
        "    reading\n"
        "    it diverged\n"
        f"  to run them again: sharedenv run --retry-failed --group 1 --run-id {run}\n"
        "  case1/script.py\n"
        "  case3/script.py\n"
        "  case5/script.py\n"
        "group 2: 1 × exit 1: no input\n"
        "  the last lines of case2/script.py:\n"
        "    reading\n"
        "    no input\n"
        f"  to run them again: sharedenv run --retry-failed --group 2 --run-id {run}\n"
        "  case2/script.py\n"
    )
    assert project.call("status", "--list", "failed", "--group", "2").stdout == "case2/script.py\n"
    assert project.call("status", run, "--list", "failed", "-0", "--group", "1").stdout == "case1/script.py\0case3/script.py\0case5/script.py\0"
    assert project.call("status", "--list", "failed", "--group", "3", status=2).stderr == (
        f"error: run {run} has no group 3 of failures\n  cause: its failures said 2 different things\n\nhint: sharedenv status --failures {run}\n"
    )
    for words in (("--list", "succeeded", "--group", "1"), ("--group", "1")):
        assert "--group names a group of what failed" in project.call("status", *words, status=2).stderr

    (project.path / "mended").touch()
    again = project.call("run", "--retry-failed", "--group", "1").stderr
    assert "3 to run, 3 left as they are" in again and "3 succeeded" in again
    assert project.call("status", "--list", "failed").stdout == "case2/script.py\n"
    assert "1 × exit 1: no input" in project.call("status", "--failures").stdout
    assert "1 to run, 5 left as they are" in project.call("run", "--retry-failed", "--group", "1", "--run-id", run).stderr
    assert project.call("status", "--failures").stderr == f"nothing failed in run {run}\n"
    assert "cause: nothing failed in it" in project.call("run", "--retry-failed", "--group", "1", status=2).stderr


def test_a_group_without_failures_to_retry_is_refused(project: Project) -> None:
    project.copies(1)
    assert project.call("run", "--group", "1", "case1/script.py", status=2).stderr == (
        "error: --group names a group of what failed\n\nhint: sharedenv run --retry-failed --group 1\n"
    )
