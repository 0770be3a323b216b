"""Sources that change under one key: `build` publishes a new generation, and what runs keeps the old one."""

from __future__ import annotations

import os
import subprocess
import time
from pathlib import Path

import pytest

from tests.conftest import Project
from tests.key.test_canonical import PRINT_LIB, make_library


def change(library: Path) -> None:
    """A new release of `lib`: its module, and its pyproject.toml, which uv looks at."""
    (library / "lib.py").write_text("VALUE = '2'\n")
    pyproject = library / "pyproject.toml"
    pyproject.write_text(pyproject.read_text() + "\n# changed\n")
    later = time.time() + 10
    os.utime(pyproject, (later, later))


@pytest.mark.parametrize("options", ["", ", editable = true"])
def test_a_changed_folder_is_a_new_generation(project: Project, tmp_path: Path, options: str) -> None:
    scratch = tmp_path / "scratch"
    scratch.mkdir()
    library = make_library(project.path / "lib")
    project.script("s.py", ["lib"], PRINT_LIB, extra=f'[tool.uv.sources]\nlib = {{ path = "lib"{options} }}')
    project.call("build", "s.py")
    assert len(project.environments) == 1
    project.call("build", "s.py", env={"TMPDIR": str(scratch)})  # asks uv, which leaves nothing there
    assert list(scratch.iterdir()) == []
    assert len(project.environments) == 1
    before = project.call("key", "s.py").stdout
    change(library)
    assert project.call("exec", "s.py").stdout == "1\n"
    done = project.call("build", "s.py")
    assert "its sources have changed" in done.stderr
    assert project.call("exec", "s.py").stdout == "2\n"
    assert project.call("key", "s.py").stdout == before
    project.call("build", "s.py")
    assert len(project.environments) == 2


def test_what_runs_keeps_the_old_one(project: Project) -> None:
    library = make_library(project.path / "lib")
    wait = "import pathlib, time\npathlib.Path('started').touch()\nwhile not pathlib.Path('go').exists():\n    time.sleep(0.05)\n"
    project.script("s.py", ["lib"], wait + PRINT_LIB, extra='[tool.uv.sources]\nlib = { path = "lib" }')
    project.call("build", "s.py")
    process = project.start("exec", "s.py")
    deadline = time.monotonic() + 120
    while not (project.path / "started").exists():
        assert time.monotonic() < deadline
        assert process.poll() is None
        time.sleep(0.05)
    change(library)
    project.call("build", "s.py")
    (project.path / "go").touch()
    stdout, stderr = process.communicate(timeout=120)
    assert stdout == "1\n", stderr
    assert project.call("exec", "s.py").stdout == "2\n"


def test_a_new_commit_of_a_branch_is_a_new_generation(project: Project, tmp_path: Path) -> None:
    library = make_library(tmp_path / "lib")

    def git(*arguments: str) -> None:
        argv = ["git", "-c", "user.name=x", "-c", "user.email=x@example.org", *arguments]
        subprocess.run(argv, cwd=library, env=project.env, check=True, capture_output=True)

    git("init", "--initial-branch=main")
    git("add", ".")
    git("commit", "-m", "1")
    project.script("s.py", ["lib"], PRINT_LIB, extra=f'[tool.uv.sources]\nlib = {{ git = "file://{library}", branch = "main" }}')
    project.call("build", "s.py")
    change(library)
    project.call("build", "s.py")
    assert len(project.environments) == 1
    git("commit", "-a", "-m", "2")
    project.call("build", "s.py")
    assert project.call("exec", "s.py").stdout == "2\n"
    assert len(project.environments) == 2


def test_rebuild_takes_the_folder_as_it_is_now(project: Project) -> None:
    library = make_library(project.path / "lib")
    project.script("s.py", ["lib"], PRINT_LIB, extra='[tool.uv.sources]\nlib = { path = "lib" }')
    project.call("build", "s.py")
    (library / "lib.py").write_text("VALUE = '2'\n")
    project.call("build", "--rebuild", "s.py")
    assert project.call("exec", "s.py").stdout == "2\n"


def test_a_source_that_is_gone_loses_nothing(project: Project) -> None:
    library = make_library(project.path / "lib")
    project.script("s.py", ["lib"], PRINT_LIB, extra='[tool.uv.sources]\nlib = { path = "lib" }')
    project.call("build", "s.py")
    library.rename(project.path / "away")
    done = project.call("-v", "build", "s.py")
    assert "can't tell whether its sources have changed" in done.stderr
    assert project.call("exec", "s.py").stdout == "1\n"
    assert len(project.environments) == 1


def test_what_uv_says_of_a_source_is_told_without_credentials(project: Project, tmp_path: Path) -> None:
    make_library(project.path / "lib")
    extra = '[tool.uv]\nextra-index-url = ["http://me:open-sesame@127.0.0.1:9/simple?token=swordfish"]\n[tool.uv.sources]\nlib = { path = "lib" }'
    project.script("s.py", ["lib"], PRINT_LIB, extra=extra)
    project.call("build", "s.py")
    uv = tmp_path / "uv"
    uv.write_text(
        '#!/bin/sh\ncase "$*" in *--check*) ;; *) exec uv "$@";; esac\n'
        "while [ $# -gt 0 ] && [ $1 != --script ]; do shift; done\nsed -n 's/.*\\(http.*\\)\".*/can not reach \\1/p' \"$2\" >&2\nexit 2\n"
    )
    uv.chmod(0o755)
    done = project.call("-v", "build", "s.py", env={"SHAREDENV_UV": str(uv)})
    assert "can't tell whether its sources have changed: can not reach http://" in done.stderr
    assert "sesame" not in done.stderr and "swordfish" not in done.stderr


def test_a_script_that_is_edited_while_its_environment_is_built(project: Project) -> None:
    """The index must not hold its new bytes for the environment of the old."""
    library = make_library(project.path / "lib")
    wait = "import os, time\nopen('asked', 'w').close()\nwhile not os.path.exists('go'):\n    time.sleep(0.05)\n"
    (library / "backend.py").write_text(wait + (library / "backend.py").read_text())
    extra = '[tool.uv.sources]\nlib = { path = "lib" }'
    project.script("s.py", ["lib"], "print('old')", extra=extra)
    process = project.start("build", "s.py")
    deadline = time.monotonic() + 120
    while not (library / "asked").exists():
        assert time.monotonic() < deadline
        assert process.poll() is None, process.communicate()
        time.sleep(0.05)
    project.script("s.py", ["lib", "alpha"], "import lib, alpha; print(alpha.VERSION)", extra=extra)
    (library / "go").touch()
    process.communicate(timeout=120)
    assert process.returncode == 0
    assert project.call("exec", "s.py").stdout == "2.0\n"
