"""--pool and SHAREDENV_POOL: what a folder's name stands for, and what can't be a pool."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from sharedenv.cli.main import _own_words
from sharedenv.errors import SharedenvError
from sharedenv.pool.location import named_pool
from tests.conftest import Project


def named(path: Path) -> str:
    """The pool that --pool PATH stands for."""
    found = named_pool(str(path), {}, "/")
    assert found is not None
    return found.path


def test_a_folder_that_is_named_stands_for_its_pool(tmp_path: Path) -> None:
    assert named(tmp_path) == str(tmp_path)  # empty
    assert named(tmp_path / "new") == str(tmp_path / "new")
    (tmp_path / ".git").mkdir()
    with pytest.raises(SharedenvError) as caught:
        named(tmp_path)
    assert caught.value.exit_code == 2
    assert f"--pool {tmp_path}/.sharedenv" in str(caught.value.hint)
    (tmp_path / ".sharedenv").mkdir()
    assert named(tmp_path) == named(tmp_path / ".sharedenv") == str(tmp_path / ".sharedenv")
    (tmp_path / "pool.json").write_text("{}")
    assert named(tmp_path) == str(tmp_path)


def test_a_pool_that_another_process_is_making_is_one(tmp_path: Path) -> None:
    for name in ("envs", "keys"):
        (tmp_path / name).mkdir()
    (tmp_path / ".pool.json.12345678").write_text("")
    assert named(tmp_path) == str(tmp_path)


def test_a_project_is_not_littered(project: Project) -> None:
    project.script("s.py", [], "print('ran')")
    done = project.call("--pool", ".", "build", "s.py", status=2)
    assert "hint: sharedenv --pool" in done.stderr
    assert os.listdir(project.path) == ["s.py"]
    project.call("build", "s.py")
    assert sorted(os.listdir(project.path)) == [".sharedenv", "s.py"]
    assert project.call("--pool", ".", "exec", "s.py").stdout == "ran\n"
    assert str(project.pool) in project.call("--pool", ".", "list").stderr
    for command in ("which", "exec"):
        by_variable = project.call(command, "s.py", env={"SHAREDENV_POOL": str(project.path)})
        assert by_variable.stdout == project.call(command, "s.py").stdout


@pytest.mark.parametrize("path", ["file", "file/below", ".sharedenv"])
@pytest.mark.parametrize("command", ["build", "which", "key"])
def test_a_file_is_no_pool(project: Project, path: str, command: str) -> None:
    project.script("s.py")
    for name in ("file", ".sharedenv"):
        (project.path / name).write_text("")
    done = project.call("--pool", path, command, "s.py", status=2)
    assert "Not a directory" in done.stderr
    assert "hint: ls -ld" in done.stderr


def test_the_report_of_a_bug_names_options_without_values() -> None:
    words = ["--pool", "/secret", "build", "--python=secret", "-j4", "s.py", "--", "--token=secret"]
    assert _own_words(words) == ["--pool", "build", "--python", "-j"]
    assert _own_words(["exec", "--no-build", "s.py", "--password", "secret"]) == ["exec", "--no-build"]


def test_a_new_pool_is_announced_once(project: Project) -> None:
    project.script("s.py")
    assert f"made the pool {project.pool}\n" in project.call("build", "s.py").stderr
    assert "made the pool" not in project.call("build", "--rebuild", "s.py").stderr
    assert "made the pool" not in project.call("-q", "--pool", "other", "build", "s.py").stderr
    assert "made the pool" in project.call("--pool", "third", "build", "--shared-group", "s.py").stderr
