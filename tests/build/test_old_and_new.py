"""Older and newer than what is here: a uv with other options, a Python that uv can't compile for, another kind of Python."""

from __future__ import annotations

import json
import os
import shlex
import subprocess
from pathlib import Path

import pytest

from sharedenv.run.preload.server import unfit_python
from tests.conftest import Project
from tests.ways import pythons

OLD = pythons("3.6", "3.7")
BODY = "import sys; print('%d.%d' % sys.version_info[:2])"


def _uv_that_knows_no(option: str, project: Project, tmp_path: Path) -> dict[str, str]:
    """A uv that refuses an option as uv does: 0.9.0 did so with prerelease-package."""
    real = subprocess.run(["sh", "-c", "command -v uv"], env=project.env, capture_output=True, text=True, check=True).stdout.strip()
    uv = tmp_path / "uv"
    uv.write_text(
        f'#!/bin/sh\ncase "$1" in --version) echo "uv 0.9.0"; exit;; esac\n'
        f'if grep -qs "^\\(# \\)\\?{option} =" script.py uv.toml; then\n'
        f'  echo "error: TOML parse error at line 3, column 1" >&2\n  echo "unknown field \\`{option}\\`" >&2\n'
        f'  grep -qs "^{option} =" uv.toml && echo "Failed to parse: uv.toml" >&2\n  exit 2\nfi\nexec {shlex.quote(real)} "$@"\n'
    )
    uv.chmod(0o755)
    return {"SHAREDENV_UV": str(uv)}


@pytest.mark.parametrize("option", ["a-future-option = true", 'resolver = {strategy = ["x", 1]}', "deps-of = ['a']"])
def test_an_option_that_is_not_known_here_counts_and_goes_to_uv(project: Project, option: str) -> None:
    project.script("s.py", extra=f"[tool.uv]\n{option}")
    project.script("plain.py")
    keys = [line.split()[0] for line in project.call("key", "s.py", "plain.py").stdout.splitlines()]
    assert keys[0] != keys[1]
    name = option.split(maxsplit=1)[0]
    assert name in project.call("key", "--explain", "s.py").stdout
    told = project.call("build", "s.py", "plain.py", status=3).stderr
    assert f"knows no option `{name}`, which stands in [tool.uv] of s.py: it is too old for it, or there is none of that name" in told
    assert "hint: pip install --upgrade uv" in told
    assert len(project.environments) == 1  # the other is built


def test_a_misspelt_option_is_told_with_what_was_meant(project: Project) -> None:
    project.script("s.py", extra="[tool.uv]\nno-buld = true")
    told = project.call("build", "s.py", status=3).stderr
    assert "no option `no-buld`, which stands in [tool.uv] of s.py; did you mean `no-build`?" in told
    assert "hint: grep -n no-buld s.py" in told
    project.script("s.py")
    (project.path / "uv.toml").write_text('resolutoin = "lowest"\n')
    told = project.call("build", "s.py", status=3).stderr
    assert "which stands in the project's uv.toml, or [tool.uv] of its pyproject.toml; did you mean `resolution`?" in told
    assert "hint: grep -n resolutoin uv.toml" in told


@pytest.mark.parametrize("value", ['prerelease-package = {alpha = "allow"}', "system-certs = true"])
def test_a_uv_that_is_too_old_for_an_option_is_told_to_be(project: Project, tmp_path: Path, value: str) -> None:
    option = value.split(maxsplit=1)[0]
    env = _uv_that_knows_no(option, project, tmp_path)
    project.script("s.py", extra=f"[tool.uv]\n{value}")
    told = project.call("build", "s.py", env=env, status=3).stderr
    assert f"uv 0.9.0 knows no option `{option}`, which stands in [tool.uv] of s.py: it is too old for it\n" in told
    assert "hint: unset SHAREDENV_UV" in told
    project.call("build", "s.py")


def test_a_uv_that_is_too_old_for_the_projects_option(project: Project, tmp_path: Path) -> None:
    env = _uv_that_knows_no("prerelease-package", project, tmp_path)
    project.script("s.py")
    (project.path / "uv.toml").write_text('prerelease-package = {alpha = "allow"}\n')
    told = project.call("build", "s.py", env=env, status=3).stderr
    assert "stands in the project's uv.toml, or [tool.uv] of its pyproject.toml: it is too old for it" in told


@pytest.mark.skipif("3.6" not in OLD, reason="needs a Python 3.6")
def test_a_python_that_uv_cannot_compile_for_is_built_without_bytecode(project: Project) -> None:
    project.env["PATH"] = f"{os.path.dirname(OLD['3.6'])}:{project.env['PATH']}"
    project.script("s.py", ["alpha"], BODY, requires_python="==3.6.*")
    project.script("t.py", [], BODY, requires_python="==3.6.*")
    done = project.call("run", "s.py", "t.py")
    assert done.stdout == "3.6\n" * 2
    assert done.stderr.count("warning: no bytecode is compiled: uv can't for Python 3.6.") == 1
    assert "no bytecode" not in project.call("build", "--rebuild", "--no-compile", "s.py").stderr
    done = project.call("run", "--preload", "s.py", "t.py")
    assert done.stdout == "3.6\n" * 2
    assert [line for line in done.stderr.splitlines() if "--preload" in line][1:] == []
    assert "--preload: it needs Python 3.8 or newer, and the environment has 3.6." in done.stderr


@pytest.mark.skipif("3.7" not in OLD, reason="needs a Python 3.7")
def test_a_python_that_uv_can_compile_for_and_the_fork_server_is_too_new_for(project: Project) -> None:
    project.env["PATH"] = f"{os.path.dirname(OLD['3.7'])}:{project.env['PATH']}"
    project.script("s.py", ["alpha"], BODY, requires_python="==3.7.*")
    done = project.call("run", "--preload", "s.py")
    assert done.stdout == "3.7\n"
    assert "no bytecode" not in done.stderr and "--preload: it needs Python 3.8 or newer" in done.stderr
    assert list(project.environments[0].glob("lib/python3.7/site-packages/__pycache__/alpha.*.pyc"))


@pytest.mark.parametrize(
    ("facts", "fault"),
    [
        ("implementation = PyPy\nversion_info = 3.10.14\n", "it needs CPython, and the environment has PyPy"),
        ("implementation = GraalVM\nversion_info = 3.11.7\n", "it needs CPython, and the environment has GraalVM"),
        ("implementation = CPython\nversion_info = 3.7.17\n", "it needs Python 3.8 or newer, and the environment has 3.7.17"),
        ("implementation = CPython\nversion_info = 3.8.0\n", ""),
        ("version = 3.11.2\nhome = /usr/bin\n", ""),
    ],
)
def test_what_the_fork_server_cannot_do(tmp_path: Path, facts: str, fault: str) -> None:
    (tmp_path / "pyvenv.cfg").write_text(facts)
    assert unfit_python(str(tmp_path)) == fault


def test_list_tells_pypy_from_cpython(project: Project) -> None:
    """There is none here: the manifest says what the interpreter of a build was."""
    project.script("a.py")
    project.script("b.py", ["alpha"])
    project.call("build", "a.py", "b.py")
    for environment, kind in zip(project.environments, ("pypy", "graalpy"), strict=True):
        manifest = environment / "sharedenv.json"
        manifest.write_text(manifest.read_text().replace('"cpython"', f'"{kind}"'))
    told = project.call("list").stdout
    assert "pypy 3." in told and "graalpy 3." in told
    items = json.loads(project.call("list", "--json").stdout)["environments"]
    assert {item["implementation"] for item in items} == {"pypy", "graalpy"}
