"""Differences from `uv run` that docs/from-uv-run.md lists, the real uv beside: what is no difference any more fails here.

Those that other tests hold are named there.
"""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest
from uv import find_uv_bin

from tests.build.test_interpreter import LOOSE
from tests.conftest import Project
from tests.pythons import BASE, MINOR, wrapper
from tests.wheels import make_wheel

RAN = "print('ran')"


def uv_run(project: Project, *words: str, env: Mapping[str, str] | None = None, stdin: str = "") -> subprocess.CompletedProcess[str]:
    """`uv run WORDS` in the project."""
    return subprocess.run(
        [find_uv_bin(), "run", *words], cwd=project.path, env={**project.env, **(env or {})}, input=stdin,
        capture_output=True, text=True, check=False,
    )  # fmt: skip


# what is a script


def test_a_script_without_a_block_is_refused(project: Project) -> None:
    (project.path / "s.py").write_text(RAN + "\n")
    assert uv_run(project, "s.py").stdout == "ran\n"
    assert "no `# /// script` block in it" in project.call("exec", "s.py", status=125).stderr


def test_what_comes_from_a_pipe_is_no_script(project: Project) -> None:
    text = project.script("s.py", body=RAN).read_text()
    assert uv_run(project, "-", stdin=text).stdout == "ran\n"
    for command, status in (("exec", 125), ("run", 2)):
        assert "- can't be used" in project.call(command, "-", status=status).stderr


def test_what_uv_would_add_by_an_option_stands_in_the_block(project: Project) -> None:
    project.script("s.py", body="import alpha; print(alpha.VERSION)")
    assert uv_run(project, "--with", "alpha", "s.py").stdout == "2.0\n"
    for option in ("--with", "--env-file", "--isolated", "--module"):
        assert f"no such option '{option}'" in project.call("exec", option, "alpha", "s.py", status=125).stderr


# Python


@LOOSE
@pytest.mark.parametrize("requires", [f"=={MINOR}.0", f">={MINOR},<={MINOR}", f">=3.8,<={MINOR}"])
def test_a_bound_at_a_minor_version_takes_all_of_it_in(project: Project, requires: str) -> None:
    project.env["PATH"] = str(BASE.parent)  # no other Python, which might fit
    project.script("s.py", body=RAN, requires_python=requires)
    assert "No interpreter found" in uv_run(project, "s.py").stderr
    done = project.call("exec", "s.py")
    assert done.stdout == "ran\n" and "warning: requires-python is read as" in done.stderr


def test_a_pin_of_three_numbers_is_that_of_two(project: Project) -> None:
    for name, requires in (("two", "==3.12"), ("three", "==3.12.0")):
        project.script(f"{name}.py", requires_python=requires)
    assert len({line.split()[0] for line in project.call("key", "two.py", "three.py").stdout.splitlines()}) == 1


def test_an_active_environment_does_not_choose_the_python(project: Project, tmp_path: Path) -> None:
    other = wrapper(tmp_path / "other" / BASE.name)
    for folder in (tmp_path / "active", project.path / ".venv"):
        subprocess.run([find_uv_bin(), "venv", "-q", "--python", other, folder], env=project.env, check=True)
    project.script("s.py", body="import sys; print(open(sys.prefix + '/pyvenv.cfg').read())")
    env = {"VIRTUAL_ENV": str(tmp_path / "active")}
    assert f"home = {other.parent}" in uv_run(project, "s.py", env=env).stdout
    assert str(other.parent) not in project.call("exec", "s.py", env=env).stdout


def test_a_list_of_versions_is_not_read(project: Project) -> None:
    (project.path / ".python-versions").write_text("3.99\n")
    project.script("s.py", body=RAN)
    assert "No interpreter found for Python 3.99" in uv_run(project, "s.py").stderr
    assert project.call("exec", "s.py").stdout == "ran\n"


def test_a_version_file_that_asks_for_no_python_is_refused(project: Project) -> None:
    (project.path / ".python-version").write_text("mine-of-pyenv\n")
    project.script("s.py", body=RAN)
    done = uv_run(project, "s.py")
    assert done.stdout == "ran\n" and "Ignoring unsupported Python request" in done.stderr
    assert "no Python here is mine-of-pyenv" in project.call("exec", "s.py", status=125).stderr


@pytest.mark.parametrize("where", ["project", "case"])
def test_a_version_file_counts_in_the_projects_folder_alone(project: Project, where: str) -> None:
    project.script("case/s.py", body=RAN)
    project.call("init")
    (project.path / ("case" if where == "case" else "") / ".python-version").write_text("3.99\n")
    assert "No interpreter found for Python 3.99" in uv_run(project, "case/s.py").stderr
    assert project.call("exec", "case/s.py", status=None).returncode == {"case": 0, "project": 125}[where]


# settings


def test_a_pyproject_that_cannot_be_read_is_refused(project: Project) -> None:
    (project.path / "pyproject.toml").write_text("[tool.uv]\nresolution = 3\n")
    project.script("s.py", body=RAN)
    assert uv_run(project, "s.py").stdout == "ran\n"
    assert "[tool.uv] resolution: " in project.call("exec", "s.py", status=125).stderr


def test_a_constraint_of_the_environment_is_none_for_uv_pip_alone(project: Project) -> None:
    (project.path / "site.txt").write_text("alpha<2\n")
    project.script("s.py", ["alpha"], "import alpha; print(alpha.VERSION)")
    env = {"UV_CONSTRAINT": str(project.path / "site.txt")}
    assert uv_run(project, "s.py", env=env).stdout == "2.0\n"
    assert project.call("exec", "s.py", env=env).stdout == "1.1\n"


# what is installed


def test_nothing_is_installed_again_at_a_start(project: Project) -> None:
    project.script("s.py", ["alpha"], RAN, extra='[tool.uv]\nreinstall-package = ["alpha"]')
    for _ in range(2):
        assert "Uninstalled 1 package" in uv_run(project, "s.py").stderr or _ == 0
    project.call("build", "s.py")
    assert project.call("exec", "s.py").stderr == ""


def test_a_later_copy_gets_what_the_first_one_got(project: Project) -> None:
    project.env["UV_FIND_LINKS"] = str(project.path / "own")
    make_wheel(project.path / "own", "alpha", "1.0")
    first, later = (project.script(f"case{number}/s.py", ["alpha"], "import alpha; print(alpha.VERSION)") for number in (1, 2))
    assert uv_run(project, str(first)).stdout == project.call("exec", str(first)).stdout == "1.0\n"
    make_wheel(project.path / "own", "alpha", "1.1")
    assert uv_run(project, str(later)).stdout == "1.1\n"
    assert project.call("exec", str(later)).stdout == "1.0\n"
    project.call("build", "--rebuild", str(later))
    assert project.call("exec", str(later)).stdout == "1.0\n"
    project.call("build", "--upgrade", str(later))
    assert {project.call("exec", str(script)).stdout for script in (first, later)} == {"1.1\n"}


@pytest.mark.parametrize("env", [{}, {"UV_FROZEN": "1"}])
def test_a_lock_file_that_is_out_of_date_is_refused(project: Project, env: dict[str, str]) -> None:
    project.script("s.py", ["alpha<2"], "import alpha; print(alpha.VERSION)")
    subprocess.run([find_uv_bin(), "lock", "-q", "--script", "s.py"], cwd=project.path, env=project.env, check=True)
    project.script("s.py", ["alpha<1.1"], "import alpha; print(alpha.VERSION)")
    assert "its lock file" in project.call("exec", "s.py", env=env, status=125).stderr
    assert uv_run(project, "s.py", env=env).stdout == ("1.1\n" if env else "1.0\n")  # as it stands; made anew


def test_uv_cache_clean_takes_no_environment(project: Project, tmp_path: Path) -> None:
    project.env["UV_CACHE_DIR"] = str(tmp_path / "cache")
    project.script("s.py", ["alpha"], "import alpha, sys; print(sys.prefix)")
    theirs, ours = uv_run(project, "s.py").stdout.strip(), project.call("exec", "s.py").stdout.strip()
    subprocess.run([find_uv_bin(), "cache", "clean", "--quiet"], env=project.env, check=True)
    assert not Path(theirs).exists()
    assert project.call("exec", "--no-build", "s.py").stdout.strip() == ours


# what a script sees


SEEN = """
import json, os, resource
print(json.dumps([os.environ.get("UV"), os.environ.get("FROM_FILE"), resource.getrlimit(resource.RLIMIT_NOFILE)[0], os.getpid()]))
"""


def test_what_uv_adds_for_a_script_is_not_there(project: Project) -> None:
    (project.path / "my.env").write_text("FROM_FILE=1\n")
    project.script("s.py", body=SEEN)
    project.env["UV_ENV_FILE"] = "my.env"
    for way in (["exec", "s.py"], ["run", "s.py"]):
        seen = _limited([sys.executable, "-m", "sharedenv", *way], project)
        assert seen[:3] == [None, None, 256]
    theirs = _limited([find_uv_bin(), "run", "s.py"], project)
    assert theirs[0] and theirs[1] == "1" and theirs[2] > 256


def _limited(words: list[str], project: Project) -> list[Any]:
    done = subprocess.run(
        ["bash", "-c", 'ulimit -Sn 256; exec "$@"', "bash", *words], cwd=project.path, env=project.env, capture_output=True, check=True
    )
    found: list[Any] = json.loads(done.stdout)
    return found


def test_no_process_stays_between(project: Project) -> None:
    project.script("s.py", body=SEEN)
    for words, same in (([sys.executable, "-m", "sharedenv", "exec"], True), ([find_uv_bin(), "run"], False)):
        with subprocess.Popen([*words, "s.py"], cwd=project.path, env=project.env, stdout=subprocess.PIPE) as process:
            stdout, _ = process.communicate(timeout=120)
        assert (json.loads(stdout)[3] == process.pid) == same
