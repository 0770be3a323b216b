"""Hints are commands that work when they are copied; causes stay on one screen."""

from __future__ import annotations

import json
import os
import re
import shlex
import subprocess
import sys
from pathlib import Path

import pytest

from sharedenv.build.interpreter import way_to_python
from sharedenv.build.uv_words import LINES, gist
from sharedenv.key.requires_python import narrowness
from tests.conftest import UNPRIVILEGED, Project


def test_what_can_not_be_met_is_mended_and_built_again(project: Project) -> None:
    project.script("my script.py", ["alpha==99"])
    done = project.call("build", "my script.py", status=3)
    assert done.stderr.endswith("hint: grep -in -e alpha 'my script.py'\n")
    assert 'alpha==99' in project.shell(done.stderr.rpartition("hint: ")[2])


@pytest.mark.parametrize(
    ("request_", "requires", "hint"),
    [
        ("3.12", "", "uv python install 3.12"),
        ("", ">=3.14,<3.15", "uv python install 3.14"),
        ("", "==3.9.*", "uv python install 3.9"),
        ("", ">=3.10,<=3.10", "uv python install 3.10.0"),
        ("", "==3.10.4", "uv python list"),
        ("", "<3.7", "uv python list"),
        ("/opt/python", "", "uv python list"),
    ],
)
def test_the_way_to_a_python_that_is_not_here(request_: str, requires: str, hint: str) -> None:
    assert way_to_python(request_, requires) == hint


@pytest.mark.parametrize(
    ("requires", "effect", "instead"),
    [
        (">=3.10,<=3.10", "admits 3.10.0 alone, since <=3.10 means <=3.10.0", ">=3.10,<3.11"),
        (">=3.9,<=3.10", "excludes 3.10.1 and all later, since <=3.10 means <=3.10.0", ">=3.9,<3.11"),
        ("==3.9", "admits 3.9.0 alone, since ==3.9 means ==3.9.0", "==3.9.*"),
    ],
)
def test_a_requires_python_that_is_narrower_than_it_looks(requires: str, effect: str, instead: str) -> None:
    assert narrowness(requires) == f"{requires} {effect}; write {instead} instead"


@pytest.mark.parametrize("requires", [">=3.10", "==3.10.*", ">=3.10,<=3.10.5", "==3.10.1", "<3.11", "~=3.10"])
def test_a_requires_python_that_says_what_is_meant(requires: str) -> None:
    assert narrowness(requires) is None


def test_a_shim_of_pyenv_adds_no_noise(project: Project, tmp_path: Path) -> None:
    shim = tmp_path / "python3.9"
    shim.write_text("#!/bin/sh\necho \"pyenv: python3.9: command not found\n\nThe python3.9 command exists in 3.9.18\" >&2\nexit 127\n")
    shim.chmod(0o755)
    project.script("s.py", requires_python="==3.9.*")
    done = project.call("build", "s.py", status=3, env={"PATH": f"{tmp_path}{os.pathsep}/usr/bin:/bin"})
    assert str(shim) in done.stderr and "pyenv:" not in done.stderr
    (log,) = (project.pool / "logs").iterdir()
    assert "pyenv: python3.9: command not found" in log.read_text()


def test_long_words_lose_their_middle() -> None:
    lines = gist("\n".join(map(str, range(100)))).splitlines()
    assert len(lines) == LINES
    assert lines[0] == "0" and lines[-1] == "99" and "more lines" in lines[-4]
    assert gist("one\n\ntwo") == "one\ntwo"


def test_hints_name_what_was_called_and_what_is_there(project: Project, tmp_path: Path) -> None:
    project.script("case 1/s.py", ["alpha"])
    assert project.call("key", "case 1", status=2).stderr.endswith("hint: sharedenv run 'case 1/*.py'\n")
    for command in ("build", "key", "which", "run"):
        assert f"hint: sharedenv {command} 'case*/script.py'" in project.call(command, status=2).stderr
        assert "nothing was done" in project.call(command, "nowhere.py", status=2).stderr
    which = project.call("which", "case 1/s.py", status=1).stderr
    assert "an environment is not built in the pool" in which and which.endswith("hint: sharedenv build 'case 1/s.py'\n")
    assert "no pool at" in project.call("show", "zzzz", status=2).stderr
    project.call("build", "case 1/s.py")
    assert "no environment's key begins with 'zzzz'" in project.call("show", "zzzz", status=2).stderr


def test_the_pool_above_scripts_that_lie_elsewhere_is_worked_out(project: Project, tmp_path: Path) -> None:
    scripts = [str(path) for path in project.copies(2)]
    hint = project.call("build", *scripts, cwd=project.path / "case1", status=2).stderr.splitlines()[-1]
    assert hint == f"hint: sharedenv --pool {project.pool} build '{project.path}/**/script.py'"
    project.call(*shlex.split(hint)[2:], cwd=tmp_path)
    assert len(project.environments) == 1


def test_hints_are_for_the_command_that_was_called(project: Project) -> None:
    project.copies(2)
    for options in (["--time"], ["--tasks"]):
        assert project.call("submit", "case1/script.py", *options, status=2).stderr.endswith("hint: sharedenv submit --help\n")
    assert "hint: sharedenv submit … without --capture" in project.call("submit", "--capture", "../log", "case*/script.py", status=2).stderr


def test_a_wrong_value_names_the_variable_it_came_from(project: Project) -> None:
    project.script("s.py")
    told = project.call("run", "s.py", status=2, env={"SHAREDENV_JOBS": "many"}).stderr
    assert told.startswith("error: SHAREDENV_JOBS: invalid value for '--jobs'")
    assert project.call("run", "s.py", "--jobs", "many", status=2, env={"SHAREDENV_JOBS": "2"}).stderr.startswith("error: invalid value for '--jobs'")


def test_names_that_end_with_nul_ask_for_their_option(project: Project) -> None:
    project.copies(2)
    names = b"case1/script.py\0case2/script.py\0"
    (project.path / "list").write_bytes(names)
    told = project.call("build", "--from-file", "list", status=2).stderr
    assert "the list list holds NUL bytes" in told
    assert "hint: sharedenv build -0 --from-file list" in told
    project.call("build", "-0", "--from-file", "list")


@pytest.mark.parametrize(
    ("command", "said"),
    [
        ("build --check --rebuild s.py", "--check changes nothing and --rebuild does"),
        ("build --check --upgrade s.py", "--check changes nothing and --upgrade does"),
        ("build --check --shared-group s.py", "--check changes nothing and --shared-group does"),
        ("status nonsense --all", "RUN names one run and --all lists them all"),
        ("run -0 s.py", "no list is named\n\nhint: sharedenv run -0 --from-file LIST"),
    ],
)
def test_an_option_that_would_be_of_no_effect_is_refused(command: str, said: str, project: Project) -> None:
    project.script("s.py")
    project.call("build", "s.py")
    assert said in project.call(*command.split(), status=2).stderr


def test_hints_go_on_where_the_command_was(project: Project) -> None:
    """With its pool and its Python: without them, the next try failed in the same way."""
    script = project.script("case 1/bad.py", ["no-such-package"])
    pool = ("--pool", "the pool")
    told = project.call(*pool, "build", "--offline", str(script), status=3, env={"UV_OFFLINE": "0"}).stderr
    [hint] = [line for line in told.splitlines() if line.startswith("hint: ")]
    assert hint == "hint: sharedenv --pool 'the pool' build 'case 1/bad.py'"
    document = json.loads(project.call(*pool, "build", "--offline", "--json", str(script), status=3, env={"UV_OFFLINE": "0"}).stdout)
    assert f"hint: {document['errors'][0]['hint']}" == hint
    project.script("s.py")
    for command in ("run --no-build --python 3.13 s.py", "which --python 3.13 s.py", "stage --python 3.13 s.py"):
        assert "hint: sharedenv --pool 'the pool' build --python 3.13 s.py" in project.call(*pool, *command.split(), status=None).stderr


def test_an_unfinished_run_of_a_pool_with_a_space_can_be_pasted(project: Project) -> None:
    project.copies(2, body="import os, signal\nif os.path.exists('stop'): os.kill(os.getppid(), signal.SIGINT)")
    (project.path / "case1" / "stop").touch()
    pool = ("--pool", "the pool")
    project.call(*pool, "run", "-j1", "case*/script.py", status=130)
    project.call(*pool, "run", "case2/script.py")
    assert "sharedenv --pool 'the pool' run --resume --run-id" in project.call(*pool, "status").stdout


def test_folders_that_a_pattern_matches_are_told_from_nothing(project: Project) -> None:
    project.copies(2)
    told = project.call("run", "case*", status=2).stderr
    assert "only folders match this pattern; name the scripts in them" in told
    (hint,) = re.findall(r"hint: (.*)", told)
    assert hint == "sharedenv run 'case*/*.py'"
    assert "no file matches this pattern" in project.call("run", "nothing*", status=2).stderr
    project.shell(hint)


def test_a_place_that_is_denied_is_not_the_only_one(project: Project) -> None:
    project.script("s.py")
    project.path.chmod(0o555)
    told = project.call("build", "s.py", status=3, prefix=UNPRIVILEGED).stderr
    assert "can't make a pool at" in told and "hint: take a folder that you can write to: sharedenv --pool DIR/.sharedenv …" in told
    project.path.chmod(0o755)


def test_what_is_not_built_is_1_and_a_name_that_is_none_is_2(project: Project) -> None:
    project.script("s.py")
    project.script("t.py", ["alpha"])
    project.call("run", "s.py")
    for command in ("show t.py", "verify t.py", "which t.py", "build --check t.py"):
        project.call(*command.split(), status=1)
    for command in ("show deadbeef", "verify deadbeef", "status nonsense", "cancel nonsense", "run --resume --run-id nonsense", "which u.py"):
        project.call(*command.split(), status=2)


def test_a_folder_that_is_gone(project: Project) -> None:
    project.script("s.py")
    project.call("build", "s.py")
    for command, status in ((f"exec {project.path}/s.py", 125), (f"which {project.path}/s.py", 2), ("status", 2), ("--help", 0)):
        gone = project.path / "gone"
        gone.mkdir()
        line = f"rmdir {gone}; {shlex.quote(sys.executable)} -m sharedenv {command}; exit $?"
        done = subprocess.run(["sh", "-c", line], cwd=gone, env=project.env, capture_output=True, text=True, check=False)
        assert done.returncode == status, done.stderr
        assert status == 0 or "error: the current folder can't be used\n  cause: No such file or directory" in done.stderr


@pytest.mark.skipif(not os.path.exists("/dev/full"), reason="needs /dev/full")
@pytest.mark.parametrize("command", ["list", "list --json", "key s.py", "which s.py", "status", "status --json"])
def test_results_that_cant_be_written(project: Project, command: str) -> None:
    project.script("s.py")
    project.call("run", "s.py")
    for where, cause in ((">/dev/full", "No space left on device"), (">&-", "Bad file descriptor")):
        line = f"{shlex.quote(sys.executable)} -m sharedenv {command} {where}"
        done = subprocess.run(["sh", "-c", line], cwd=project.path, env=project.env, stderr=subprocess.PIPE, text=True, check=False)
        assert (done.returncode, done.stderr) == (1, f"error: can't write to standard output\n  cause: {cause}\n")


def test_an_option_that_uv_does_not_know(project: Project) -> None:
    project.script("s.py")
    (project.path / "pyproject.toml").write_text("[tool.uv]\nfoo = 3\n")
    told = project.call("build", "s.py", status=3).stderr
    assert "in the project's uv.toml, or [tool.uv] of its pyproject.toml" in told
    assert "foo" in told
    assert "no Python" not in told


def test_exec_becomes_the_one_script_that_a_pattern_names(project: Project) -> None:
    project.copies(2, body="import sys; print(sys.argv)")
    assert str(project.path / "case1/script.py") in project.call("exec", "case[1]/*.py", "a").stdout
    told = project.call("exec", "case*/script.py", status=125).stderr
    assert "exec becomes one script, and case*/script.py names 2" in told
    assert "hint: sharedenv run 'case*/script.py'" in told


def test_a_link_to_python_that_is_gone(project: Project) -> None:
    project.script("s.py")
    project.call("build", "s.py")
    folder = project.environments[0] / "bin"
    folder.chmod(0o755)
    (folder / "python").unlink()
    assert "its bin/python is gone" in project.call("build", "--check", "s.py", status=1).stderr


def test_what_means_another_file_to_another_process_is_no_script(project: Project) -> None:
    script = project.script("s.py")
    project.call("build", "s.py")
    with script.open("rb") as file:
        assert "not a regular file" in project.call("--pool", ".sharedenv", "run", "/dev/stdin", status=2, stdin=file).stderr


@pytest.mark.parametrize(
    ("folder", "commands"),
    [
        ("runs", [["status"], ["status", "--all"], ["run", "--resume"], ["cancel"]]),
        ("envs", [["list"], ["verify"], ["prune"]]),
        ("keys", [["list"], ["verify"], ["prune"]]),
    ],
)
def test_what_the_file_system_refuses_is_told_as_that(project: Project, folder: str, commands: list[list[str]]) -> None:
    """A link that leads to itself: as a folder closed to this user, which a test as root can't have."""
    project.copies(1)
    project.call("run", "case1/script.py")
    (project.pool / folder).rename(project.path / "away")
    (project.pool / folder).symlink_to(folder)
    for command in commands:
        told = project.call(*command, status=None)
        assert told.returncode in (1, 2), (command, told.stderr)
        assert "bug" not in told.stderr and "Traceback" not in told.stderr, told.stderr
        assert "symbolic links" in told.stderr or "is a link" in told.stderr


@pytest.mark.parametrize("command", ["key", "build", "run", "exec"])
def test_a_bad_block_is_shown_and_not_asked_for_again(project: Project, command: str) -> None:
    project.script("my script.py", extra="x = ")
    told = project.call(command, "my script.py", status=None).stderr
    assert told.endswith("hint: sed -n 4p 'my script.py'\n"), told
    assert project.shell(told.split("hint: ")[1]) == "# x =\n"


@pytest.mark.parametrize(
    ("name", "data", "shows"),
    [
        ("uv.toml", b"\nx = \n", "sed -n 2p {}"),
        ("uv.toml", b'\nresolution = "newest"\n', "grep -n resolution {}"),
        ("uv.toml", b"[sources]\nx = 1\n[pip]\n[exclude-newer-package]\na = 3\n", "grep -n exclude-newer-package {}"),
        ("uv.toml", b"# ok\n# \xff\n", "env LC_ALL=C.UTF-8 grep -naxv '.*' {}"),
        ("pyproject.toml", b"[tool.uv\n", "sed -n 1p {}"),
        (".python-version", b"\xff\n", "env LC_ALL=C.UTF-8 grep -naxv '.*' {}"),
        ("uv.toml", None, "ls -ld {}"),
        (".python-version", None, "ls -ld {}"),
    ],
)
def test_a_configuration_that_cannot_be_read_is_shown(project: Project, name: str, data: bytes | None, shows: str) -> None:
    project.script("s.py")
    project.call("build", "s.py")
    path = project.path / name
    if data is None:
        path.mkdir()
    else:
        path.write_bytes(data)
    told = project.call("key", "s.py", status=2).stderr
    assert told.startswith(f"error: can't read {path}\n") and told.endswith(f"hint: {shows.format(path)}\n"), told
    assert int(project.shell(told.split("hint: ")[1].rstrip() + " | wc -l")) > 0


@pytest.mark.parametrize("text", ["garbage", "python-of-mine", "no/such/python"])
def test_a_python_version_that_names_nothing_is_taken_away(project: Project, text: str) -> None:
    project.script("s.py", [], "print('ran')")
    project.call("init")
    (project.path / ".python-version").write_text(text + "\n")
    told = project.call("build", "s.py", status=3).stderr
    assert told.endswith(f"hint: rm {project.path}/.python-version\n"), told
    project.shell(told.split("hint: ")[1])
    assert project.call("exec", "s.py").stdout == "ran\n"


@pytest.mark.parametrize("inside", [False, True], ids=["empty", "with something in it"])
def test_held_versions_that_a_folder_has_replaced(project: Project, inside: bool) -> None:
    """The hint's command ran into the folder itself, and named itself again."""
    project.script("s.py", ["alpha"], "print('ran')")
    project.call("build", "s.py")
    (held,) = (project.pool / "versions").iterdir()
    held.unlink()
    held.mkdir()
    if inside:
        (held / "file").touch()
    told = project.call("build", "--rebuild", "s.py", status=3).stderr
    project.shell(f"{shlex.quote(sys.executable)} -m {told.rpartition('hint: ')[2]}")
    assert held.is_file() and project.call("build", "--rebuild", "s.py")
