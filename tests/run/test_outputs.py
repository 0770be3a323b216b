"""--capture and --joblog never write over what a run reads."""

from __future__ import annotations

import os
import re
from pathlib import Path

import pytest

from sharedenv.app.outputs import check_outputs
from sharedenv.errors import SharedenvError
from sharedenv.run.case import Case
from tests.conftest import Project


@pytest.mark.parametrize(
    ("options", "said"),
    [
        (("--capture", "script.py"), "would overwrite"),
        (("--capture", "script.py.lock"), "would overwrite"),
        (("--capture", "./alias"), "would overwrite"),
        (("--joblog", "case2/script.py"), "would overwrite"),
        (("--joblog", "case2/alias"), "would overwrite"),
        (("--joblog", "case2/out", "--capture", "out"), "both name"),
        (("--capture", "../out"), "written by several scripts"),
        (("--capture", "sub/out"), "there is no folder"),
        (("--capture", "folder"), "is a folder"),
    ],
)
def test_what_a_run_reads_is_not_written(project: Project, options: tuple[str, ...], said: str) -> None:
    scripts = project.copies(2, body="print('x')")
    (project.path / "case1/folder").mkdir()
    os.link(scripts[1], project.path / "case2/alias")
    before = [script.read_bytes() for script in scripts]
    commands = [("run",), ("submit", "--print")] if "--joblog" not in options else [("run",)]
    for command in commands:
        told = project.call(*command, "case*/script.py", *options, status=2)
        assert said in told.stderr
        assert not project.pool.exists()
    assert [script.read_bytes() for script in scripts] == before


def test_an_earlier_capture_is_replaced(project: Project) -> None:
    project.copies(2, body="print('x')")
    for _ in range(2):
        project.call("run", "--capture", "out", "case*/script.py")
    assert (project.path / "case2/out").read_text() == "x\n"
    project.call("run", "--joblog", "/dev/null", "case1/script.py")


def test_a_capture_may_be_a_pipe(project: Project) -> None:
    """What a failed script said last can't be read again there: that ended the whole run as a bug of ours."""
    project.copies(2, body="import time\ntime.sleep(0.3)\nraise SystemExit('no luck')")
    os.mkfifo(project.path / "case1/out")
    reader = os.open(project.path / "case1/out", os.O_RDONLY | os.O_NONBLOCK)
    told = project.call("run", "--capture", "out", "case*/script.py", status=1).stderr
    assert "2 failed" in told and "1 × exit 1: no luck" in told
    assert os.read(reader, 100) == b"no luck\n"
    os.close(reader)


def test_a_link_to_another_cases_script_is_seen(tmp_path: Path) -> None:
    (tmp_path / "a").mkdir()
    (tmp_path / "b").mkdir()
    (tmp_path / "b/s.py").touch()
    (tmp_path / "a/out").symlink_to("../b/s.py")
    cases = [Case(1, str(tmp_path / "a/s.py")), Case(2, str(tmp_path / "b/s.py"))]
    with pytest.raises(SharedenvError, match="would overwrite"):
        check_outputs(cases, "out", None)


def test_what_makes_the_folder_for_a_capture_can_be_pasted(project: Project) -> None:
    project.script("case 1/script.py")
    told = project.call("run", "case */script.py", "--capture", "sub/out", status=2).stderr
    (hint,) = re.findall(r"hint: (.*)", told)
    project.shell(hint)
    project.call("run", "case */script.py", "--capture", "sub/out")
    assert (project.path / "case 1" / "sub" / "out").exists()
