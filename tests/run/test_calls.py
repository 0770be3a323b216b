"""Calls on the file system that grow with the number of cases: on a parallel file system each may take a millisecond."""

from __future__ import annotations

import re

from tests.conftest import Project
from tests.faults import require


def looks(project: Project, *words: str) -> list[str]:
    """The calls of a command's own that name something in a case's folder, by path."""
    require("strace", root=False)
    log = project.path / "log"
    project.call(*words, prefix=["strace", "-qq", "-s", "4096", "-o", str(log), "-e", "trace=%file", "-e", "signal=none"])
    return [line for line in log.read_text().splitlines() if f'"{project.path}/case' in line]


def test_looks_at_a_case_before_and_while_it_runs(project: Project) -> None:
    """Its folder once listed, its script looked for, read, and looked at again when it has run; three more."""
    project.copies(12)
    project.call("build", "case1/script.py")
    few, many = (looks(project, "run", "-j1", *[f"case{number}/script.py" for number in range(1, count + 1)]) for count in (4, 12))
    assert len(many) - len(few) <= 8 * 7, "\n".join(many)


def test_looks_at_a_case_that_resume_leaves_as_it_is(project: Project) -> None:
    """One whether it is there, one for its bytes, one for its lock."""
    project.copies(12)
    project.call("run", "case*/script.py")
    assert len(looks(project, "run", "--resume")) <= 12 * 3


def test_rows_of_one_script_are_one_script_to_resume(project: Project) -> None:
    project.script("case/script.py")
    (project.path / "table.csv").write_text("n\n" + "".join(f"{number}\n" for number in range(20)))
    project.call("run", "--table", "table.csv", "case/script.py", "--", "{n}")
    assert len(looks(project, "run", "--resume")) <= 3


def test_scripts_that_come_slowly_are_read_several_at_a_time(project: Project) -> None:
    require("strace", root=False)
    scripts = project.copies(40)
    keys = project.call("key", "case*/script.py").stdout
    log = project.path / "log"
    slow = ["strace", "-f", "-qq", "-o", str(log), *(word for script in scripts for word in ("-P", str(script)))]
    done = project.call("key", "case*/script.py", prefix=[*slow, "-e", "trace=openat", "-e", "inject=openat:delay_exit=5000"])
    assert done.stdout == keys
    assert len(set(re.findall(r"^\d+", log.read_text(), re.MULTILINE))) > 1
