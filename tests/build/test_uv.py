"""Which uv is used, and what is said of one that can't be."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from sharedenv.build import uv
from sharedenv.errors import EXIT_BUILD, SharedenvError
from tests.conftest import Project


def pretend(path: Path, words: str, status: int = 0) -> Path:
    """A program that says these words, whatever it is asked."""
    path.write_text(f"#!/bin/sh\necho {words!r}\nexit {status}\n")
    path.chmod(0o755)
    return path


def refused(environ: dict[str, str]) -> SharedenvError:
    """The error of a look for uv."""
    with pytest.raises(SharedenvError) as caught:
        uv.find_uv({"PATH": os.environ["PATH"], **environ})
    assert caught.value.exit_code == EXIT_BUILD
    return caught.value


def test_without_any_choice_it_is_the_one_that_came_along(tmp_path: Path) -> None:
    pretend(tmp_path / "uv", "uv 99.0.0")
    found = uv.find_uv({"PATH": f"{tmp_path}:{os.environ['PATH']}"})
    assert found.path == uv._packaged()
    assert tuple(map(int, found.version.split("."))) >= uv.MINIMUM


def test_where_none_came_along_it_is_the_one_on_path(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(uv, "_packaged", lambda: None)
    pretend(tmp_path / "uv", "uv 99.0.0 (abc 2030-01-01)")
    assert uv.find_uv({"PATH": str(tmp_path)}) == uv.Uv(str(tmp_path / "uv"), "99.0.0")
    pretend(tmp_path / "uv", "uv 0.8.3")
    error = refused({"PATH": str(tmp_path)})
    assert error.message == f"{tmp_path}/uv is too old: uv 0.8.3"
    assert error.cause == "sharedenv needs uv 0.8.4 or newer"
    assert error.hint == "pip install --upgrade uv"
    error = refused({"PATH": str(tmp_path / "empty")})
    assert (error.message, error.hint) == ("uv is not installed", "pip install uv")


@pytest.mark.parametrize(
    ("words", "status", "message"),
    [("uv 0.4.1", 0, "is too old: uv 0.4.1"), ("pip 25.0", 0, "is not uv"), ("uv 0.13.0", 1, "is not uv")],
)
def test_a_chosen_one_that_can_not_be_used_is_named(tmp_path: Path, words: str, status: int, message: str) -> None:
    path = pretend(tmp_path / "my uv", words, status)
    error = refused({"SHAREDENV_UV": str(path)})
    assert error.message == f"{path}, which SHAREDENV_UV names, {message}"
    assert error.hint == "unset SHAREDENV_UV"


def test_a_chosen_one_that_is_not_there_is_named(tmp_path: Path) -> None:
    error = refused({"SHAREDENV_UV": str(tmp_path / "none")})
    assert error.message == f"can't start uv: {tmp_path}/none, which SHAREDENV_UV names"
    assert error.cause == "No such file or directory"


def test_a_chosen_one_may_be_relative_or_a_name_on_path(project: Project) -> None:
    project.script("s.py", ["alpha"])
    (project.path / "tools").mkdir()
    (project.path / "tools" / "my-uv").symlink_to(str(uv._packaged()))
    path = f"{project.path}/tools{os.pathsep}{project.env['PATH']}"
    for name, env in (("tools/my-uv", {}), ("my-uv", {"PATH": path})):
        project.call("build", "--rebuild", "s.py", env={"SHAREDENV_UV": name, **env})
