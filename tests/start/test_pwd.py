"""PWD is the folder that a script is started in, wherever sharedenv changes it, as `cd` there would have set it."""

from __future__ import annotations

import os
import shlex
import sys

import pytest

from tests.conftest import Project

BODY = """
import os
with open(os.path.join(os.environ["PWD"], "result.txt"), "a", errors="surrogateescape") as file:
    print(os.environ["PWD"], os.environ.get("OLDPWD"), os.path.samefile(os.environ["PWD"], "."), os.getenv("PWD"), file=file)
"""


@pytest.fixture
def cases(project: Project) -> Project:
    project.copies(3, [], BODY)
    project.call("build", "case*/script.py")
    project.env.update(PWD=str(project.path), OLDPWD="/before")
    return project


@pytest.mark.parametrize("way", [(), ("--preload", "-j1"), ("--no-build",), ("--shard", "1/1"), ("--array",)])
@pytest.mark.parametrize("caller", ["set", "absent", "wrong"])
def test_each_case_has_its_own(way: tuple[str, ...], caller: str, cases: Project) -> None:
    if caller == "absent":
        del cases.env["PWD"]
    elif caller == "wrong":
        cases.env["PWD"] = "/nowhere"
    task = {"SLURM_ARRAY_TASK_ID": "1", "SLURM_ARRAY_JOB_ID": "1"} if way == ("--array",) else {}
    cases.call("run", *way, "case*/script.py", env=task)
    for number in (1, 2, 3):
        folder = cases.path / f"case{number}"
        assert (folder / "result.txt").read_text() == f"{folder} /before True {folder}\n"


@pytest.mark.parametrize("way", [(), ("--preload", "-j1")])
def test_cwd_is_one_folder_for_all(way: tuple[str, ...], cases: Project) -> None:
    (cases.path / "out").mkdir()
    cases.call("run", *way, "--cwd", "out", "case*/script.py")
    assert (cases.path / "out" / "result.txt").read_text() == f"{cases.path}/out /before True {cases.path}/out\n" * 3


def test_a_folder_that_is_a_link_is_named_as_it_is_called(cases: Project) -> None:
    (cases.path / "scratch").mkdir()
    (cases.path / "case2").rename(cases.path / "scratch" / "run2")
    (cases.path / "case2").symlink_to("scratch/run2")
    cases.call("run", "case*/script.py")
    assert (cases.path / "scratch" / "run2" / "result.txt").read_text().startswith(f"{cases.path}/case2 ")


def test_a_folder_whose_name_is_no_text(cases: Project) -> None:
    folder = os.fsencode(cases.path) + b"/caf\xe9"
    os.mkdir(folder)
    os.rename(os.fsencode(cases.path) + b"/case1/script.py", folder + b"/script.py")
    for way in ((), ("--preload",)):
        cases.call("run", *way, os.fsdecode(b"caf\xe9/script.py"))
    with open(folder + b"/result.txt", "rb") as file:
        assert file.read().count(b"/caf") >= 2


def test_exec_changes_no_folder(cases: Project) -> None:
    """Neither is PWD what the current folder is called by the kernel, where the shell came by another name."""
    (cases.path / "link").symlink_to("case1")
    for command in ("sharedenv exec script.py", "sharedenv exec -- script.py"):  # the fast way, and the full one
        cases.shell(f"cd link && {command.replace('sharedenv', shlex.quote(sys.executable) + ' -m sharedenv')}")
    assert (cases.path / "case1" / "result.txt").read_text() == f"{cases.path}/link {cases.path} True {cases.path}/link\n" * 2


def test_an_import_that_keeps_it_is_not_shared(cases: Project) -> None:
    modules = cases.path / "modules"
    modules.mkdir()
    (modules / "keeps.py").write_text('import os\nHERE = os.environ["PWD"]\n')
    for number in (1, 2, 3):
        cases.script(f"case{number}/script.py", [], "import keeps\nprint(keeps.HERE)")
    done = cases.call("run", "-j1", "--preload", "case*/script.py", env={"PYTHONPATH": f"{cases.env['PYTHONPATH']}:{modules}"})
    assert done.stdout.split() == [f"{cases.path}/case{number}" for number in (1, 2, 3)]
    assert "keeps.HERE remembers the folder it was imported in" in done.stderr
