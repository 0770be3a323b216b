"""Where a pool stands and which one a script has, as a user meets it."""

from __future__ import annotations

import json
import os
import shutil
from pathlib import Path

import pytest

from sharedenv.run.journal.runs import list_runs
from tests.conftest import Project, make_removable


def _pools(folder: Path) -> list[str]:
    return sorted(os.path.relpath(path, folder) for path, names, _ in os.walk(folder) if ".sharedenv" in names)


@pytest.fixture
def cases(project: Project) -> Project:
    """Three cases below project/, the folder above it being nobody's."""
    project.copies(3, ["alpha"], "import alpha, os\nprint('ran in', os.path.basename(os.getcwd()))")
    return project


@pytest.mark.parametrize("command", ["exec", "activate"])
def test_no_pool_is_made_in_the_folder_of_a_case(cases: Project, command: str) -> None:
    """What job scripts and Makefiles do: it made a pool of 1,740 entries in each case."""
    case = cases.path / "case2"
    told = cases.call(command, "script.py", cwd=case, status=None)
    assert told.returncode == {"exec": 125, "activate": 2}[command]
    assert told.stderr == (
        "error: no pool found for script.py, and none is made in the folder of a case\n"
        f"  cause: {cases.path}/case1/script.py lies beside it: each would get a pool and an environment of its own\n\n"
        "hint: sharedenv init ..\n"
    )
    assert _pools(cases.path) == []
    cases.call("init", "..", cwd=case)
    assert cases.call("exec", "script.py", cwd=case).stdout == "ran in case2\n"
    assert _pools(cases.path) == ["."]


def test_a_script_of_the_same_name_that_needs_something_else_is_no_copy(project: Project) -> None:
    project.script("one/main.py", ["alpha"], "print('one')")
    project.script("other/main.py", ["beta"])
    (project.path / "third").mkdir()
    (project.path / "third" / "main.py").write_text("print('no metadata')\n")
    assert project.call("exec", "main.py", cwd=project.path / "one").stdout == "one\n"
    assert _pools(project.path) == ["one"]


def test_cases_of_cases_are_cases_too(project: Project) -> None:
    for group in ("low", "high"):
        project.script(f"{group}/case1/script.py", ["alpha"])
    told = project.call("exec", "script.py", cwd=project.path / "low" / "case1", status=125)
    assert "hint: sharedenv init ../..\n" in told.stderr
    project.call("exec", "low/case1/script.py")  # the current folder lies above it
    assert _pools(project.path) == ["."]


def test_a_script_by_itself_gets_a_pool_beside_it_or_at_the_edge_of_its_project(project: Project) -> None:
    project.script("alone/deep/script.py", ["alpha"], "print('ran')")
    elsewhere = project.path.parent / "elsewhere"
    elsewhere.mkdir()
    project.call("exec", str(project.path / "alone/deep/script.py"), cwd=elsewhere)
    assert _pools(project.path) == ["alone/deep"]
    make_removable(project.path / "alone/deep/.sharedenv")
    shutil.rmtree(project.path / "alone/deep/.sharedenv")
    (project.path / "alone" / "pyproject.toml").touch()
    project.call("exec", "script.py", cwd=project.path / "alone/deep")
    assert _pools(project.path) == ["alone"] or (project.path / "alone" / ".sharedenv" / "pool.json").exists()


def test_one_script_has_one_answer_whoever_is_named_beside_it(cases: Project) -> None:
    cases.call("build", "script.py", cwd=cases.path / "case1")  # asked for in so many words
    cases.call("build", "case*/script.py")
    alone = [cases.call("which", f"case{number}/script.py").stdout for number in (1, 2, 3)]
    together = cases.call("which", "case*/script.py")
    assert together.stdout == "".join(alone)
    assert {Path(line).parents[3] for line in together.stdout.splitlines()} == {cases.pool}
    warning = f"warning: passed over the pool case1/.sharedenv: {cases.pool} lies above it, and no run needs it (sharedenv --pool case1/.sharedenv prune --all)\n"
    assert together.stderr == warning
    assert cases.call("run", "case*/script.py").stderr.count("passed over") == 1
    assert cases.call("exec", "script.py", cwd=cases.path / "case1").stdout == "ran in case1\n"
    assert "warning: passed over by the scripts below it: the pool case1/.sharedenv (see" in cases.call("list").stderr
    assert f"hint: sharedenv --pool {cases.path}/case1/.sharedenv prune --all\n" in cases.call("doctor", status=None).stdout


def test_a_pool_below_another_that_holds_an_unfinished_run_or_was_made_on_purpose_counts(cases: Project) -> None:
    script = cases.path / "case1" / "script.py"
    script.write_text(script.read_text() + "raise SystemExit(not os.path.exists('go'))\n")
    cases.call("run", "script.py", "--fail-fast", cwd=cases.path / "case1", status=1)
    cases.call("build", "case2/script.py")
    inner = cases.path / "case1" / ".sharedenv"
    assert cases.call("which", "case1/script.py").stdout.startswith(str(cases.pool)), "a run that has ended is no reason"
    [run] = list_runs(str(inner / "runs"))
    for session in Path(run.path).glob("results-*"):
        session.unlink()  # as one that never began
    assert cases.call("which", "case1/script.py").stdout.startswith(str(inner))
    told = cases.call("run", "case*/script.py", status=2).stderr
    assert told.startswith("error: these 3 scripts belong to 2 pools\n")
    assert f"{cases.pool}: {cases.path}/case2/script.py and 1 more" in told and f"{inner}: {script}" in told
    assert f"hint: sharedenv --pool {cases.pool} …" in told
    for command in ("key", "which"):
        done = cases.call(command, "case*/script.py", status=None)
        assert len(done.stdout.splitlines()) >= 2 and "belong to" not in done.stderr, command
    shutil.rmtree(run.path)
    cases.call("init", "case1")
    assert cases.call("which", "case1/script.py").stdout.startswith(str(inner))


def test_a_pool_at_home_is_not_that_of_all_projects(cases: Project) -> None:
    home = cases.path.parent
    cases.script("../own.py", ["alpha"])
    env = {"HOME": str(home)}
    cases.call("build", "own.py", cwd=home, env=env)
    assert cases.call("key", "case1/script.py", env=env).stdout == cases.call("key", "case2/script.py", env=env).stdout.replace("case2", "case1")
    cases.call("build", "case*/script.py", env=env)
    assert _pools(home) == [".", "project"]
    assert cases.call("which", "case1/script.py", env=env).stdout.startswith(str(cases.pool))
    assert cases.call("which", "own.py", env=env, cwd=home).stdout.startswith(f"{home}/.sharedenv")


def test_a_case_that_is_a_link_to_scratch_runs_in_the_pool_of_its_project(cases: Project) -> None:
    scratch = cases.path.parent / "scratch"
    scratch.mkdir()
    (cases.path / "case3").rename(scratch / "case3")
    (cases.path / "case3").symlink_to(scratch / "case3")
    cases.call("build", "case*/script.py")
    assert cases.shell(f"cd case3 && PATH={cases.command}:$PATH && sharedenv exec script.py && sharedenv which script.py").endswith(
        cases.call("which", "case1/script.py").stdout
    )
    assert _pools(cases.path.parent) == ["project"]


def test_what_worked_goes_on(cases: Project) -> None:
    """A pool in the current folder for scripts that lie elsewhere; a project that is copied or moved; a pool that is a link."""
    elsewhere = cases.path.parent / "elsewhere"
    (elsewhere / ".sharedenv").mkdir(parents=True)
    cases.call("build", "../project/case1/script.py", cwd=elsewhere)
    assert cases.call("which", "../project/case1/script.py", cwd=elsewhere).stdout.startswith(str(elsewhere))
    cases.call("build", "case*/script.py")
    copy = cases.path.parent / "copy"
    shutil.copytree(cases.path, copy, symlinks=True)
    assert cases.call("exec", "script.py", cwd=copy / "case1").stdout == "ran in case1\n"
    assert cases.call("which", "case1/script.py", cwd=copy).stdout.startswith(str(copy))
    (cases.path.parent / "disk").mkdir()
    cases.pool.rename(cases.path.parent / "disk" / "pool")
    cases.pool.symlink_to(cases.path.parent / "disk" / "pool")
    assert cases.call("which", "case1/script.py").stdout.startswith(str(cases.pool))


def test_init_makes_a_pool_that_reaches_into_projects_below(project: Project) -> None:
    project.script("sub/case1/script.py", ["alpha"], "print('ran')")
    (project.path / "sub" / ".git").mkdir()
    told = project.call("init").stderr
    assert told == f"made the pool {project.pool}\n"
    assert json.loads((project.pool / "pool.json").read_text())["init"] is True
    assert project.call("exec", "script.py", cwd=project.path / "sub" / "case1").stdout == "ran\n"
    assert _pools(project.path) == ["."]
    assert "is there already" in project.call("init").stderr
    assert "not a folder" in project.call("init", "sub/case1/script.py", status=2).stderr
    assert "there is no folder" in project.call("init", "nowhere", status=2).stderr


def test_init_of_a_pool_that_was_made_by_the_way(cases: Project) -> None:
    cases.call("build", "case*/script.py")
    before = cases.call("which", "case1/script.py").stdout
    (cases.path / "case1" / "pyproject.toml").touch()  # a project of its own now
    case = cases.path / "case1"
    assert "is not built" in cases.call("which", "script.py", cwd=case, status=1).stderr
    assert "from now on" in cases.call("init").stderr
    assert cases.call("which", "script.py", cwd=case).stdout == before
