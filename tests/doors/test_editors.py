"""Editors, type checkers and notebooks find a script's Python as docs/editors.md says: the real programs, and the real numpy."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
from collections.abc import Iterator, Mapping
from pathlib import Path

import pytest
from uv import find_uv_bin

from tests.conftest import UNPRIVILEGED, Project, make_removable
from tests.doors.conftest import Tools
from tests.doors.language_server import LanguageServer
from tests.faults import require
from tests.readme import all_blocks, read

registry = pytest.mark.registry
pytestmark = pytest.mark.timeout(600)
BODY = "import numpy as np\n\nmean = np.linspace(0, 1, 5).mean()\nprint(mean)"


def block_of(test: str, kind: str = "bash") -> str:
    """The block of the page that a test holds."""
    [text] = [block.text for block in all_blocks(read("editors")) if block.held == f"test_editors.py::{test}" and block.kind == kind]
    return text


@pytest.fixture(scope="module")
def built(tmp_path_factory: pytest.TempPathFactory, clean_env: dict[str, str]) -> Iterator[Project]:
    """A project with a script that needs numpy, built; `sharedenv` is on its PATH. Tests leave it as it is."""
    folder = tmp_path_factory.mktemp("editors") / "w" / "project"
    folder.mkdir(parents=True)
    project = Project(folder, clean_env)
    project.env["PATH"] = f"{project.command}:{project.env['PATH']}"
    project.script("case1/script.py", ["numpy"], BODY)
    project.call("build", "--no-compile", "case1/script.py")
    yield project
    project.end()
    make_removable(folder)
    shutil.rmtree(folder.parent)  # 200 MB


def with_tools(project: Project, folder: str) -> dict[str, str]:
    """The project's variables with programs of this folder on PATH, first."""
    return {**project.env, "PATH": f"{folder}:{project.env['PATH']}"}


def assert_finds_numpy(server: str, project: Project, env: Mapping[str, str], settings: Mapping[str, object] | None = None) -> None:
    """A language server says that `linspace` comes from the numpy of the project's environment."""
    words = {"pyright": ["pyright-langserver", "--stdio"], "ty": ["ty", "server"]}[server]
    program = next(path for folder in env["PATH"].split(":") if (path := Path(folder, words[0])).exists())
    with LanguageServer([str(program), *words[1:]], project.path, env, settings or {}) as running:
        source = running.source_of(project.path / "case1/script.py", "linspace")
    environment = json.loads(project.call("which", "--json", "case1/script.py").stdout)["scripts"][0]["environment"]
    assert source.is_relative_to(environment), source


@registry
@pytest.mark.parametrize("server", ["pyright", "ty"])
def test_a_server_started_from_an_active_environment_finds_numpy(built: Project, tools: Tools, tmp_path: Path, server: str) -> None:
    require("node", root=False)
    shell = with_tools(built, tools("pyright", "ty"))
    with pytest.raises(AssertionError):
        assert_finds_numpy(server, built, shell)
    editor = tmp_path / "editor"
    editor.write_text(f'#!/bin/sh\nenv -0 >"{tmp_path}/seen"\n')
    editor.chmod(0o755)
    built.shell(block_of("test_a_server_started_from_an_active_environment_finds_numpy"), {**shell, "EDITOR": str(editor)})
    seen = dict(line.split("=", 1) for line in (tmp_path / "seen").read_text().rstrip("\0").split("\0"))
    assert_finds_numpy(server, built, seen)


@registry
def test_each_checker_finds_numpy_by_its_option(built: Project, tools: Tools) -> None:
    require("node", root=False)
    shell = with_tools(built, tools("pyright", "ty", "mypy", "ruff"))
    lines = block_of("test_each_checker_finds_numpy_by_its_option").splitlines()
    assert len(lines) == 4
    for line in lines:
        built.shell(line, shell)
    script = built.path / "case1/script.py"
    good = script.read_text()
    script.write_text(good.replace("np.linspace", "np.no_such_name"))
    for line in lines[:3]:  # they have looked into it
        with pytest.raises(AssertionError, match="no_such_name"):
            built.shell(line, shell)
    script.write_text(good)


@registry
def test_pyright_as_a_server_finds_numpy_by_its_setting(built: Project, tools: Tools) -> None:
    require("node", root=False)
    python = json.loads(built.call("which", "--json", "case1/script.py").stdout)["scripts"][0]["python"]
    assert_finds_numpy("pyright", built, with_tools(built, tools("pyright", "ty")), {"python": {"pythonPath": python}})


@registry
def test_ty_finds_numpy_by_its_file(built: Project, tools: Tools) -> None:
    shell = with_tools(built, tools("pyright", "ty"))
    python = built.call("which", "case1/script.py").stdout.strip()
    (built.path / "ty.toml").write_text(f"[environment]\npython = {json.dumps(python)}\n")
    built.shell("ty check case1/script.py", shell)
    assert_finds_numpy("ty", built, shell)
    (built.path / "ty.toml").unlink()


def test_the_path_that_stays(project: Project) -> None:
    project.script("case1/script.py", ["alpha"], "import alpha")
    project.env["PATH"] = f"{project.command}:{project.env['PATH']}"
    [said] = [line.strip("`- ") for line in read("editors").splitlines() if "/keys/" in line]
    seen = set()
    for _ in range(3):
        project.call("build", "--rebuild", "case1/script.py")
        path = project.shell(f"echo {said}").strip()
        done = subprocess.run([path, "-c", "import alpha, sys; print(sys.prefix)"], cwd=project.path, capture_output=True, text=True, check=True)
        seen.add(os.path.realpath(project.path / done.stdout.strip()))
        assert f"{max(seen)}/bin/python\n" == project.call("which", "case1/script.py").stdout
    assert len(seen) == 3


@pytest.mark.parametrize("words", [["sync"], ["pip", "install", "beta"]], ids=" ".join)
def test_uv_installs_nothing_through_a_link(project: Project, words: list[str]) -> None:
    project.script("case1/script.py", ["alpha"], "import alpha; print(alpha.VERSION)")
    project.call("build", "case1/script.py")
    (project.path / ".venv").symlink_to(project.environments[0])
    (project.path / "pyproject.toml").write_text('[project]\nname = "x"\nversion = "0"\nrequires-python = ">=3.8"\ndependencies = ["beta"]\n')
    done = subprocess.run(
        [*UNPRIVILEGED, find_uv_bin(), *words], cwd=project.path, env=project.env, capture_output=True, text=True, check=False
    )
    assert done.returncode != 0
    project.call("verify", "case1/script.py")
    assert project.call("exec", "case1/script.py").stdout == "2.0\n"


@registry
def test_a_notebooks_kernel(built: Project, tools: Tools, tmp_path: Path) -> None:
    (built.path / "kernel.py").write_text(block_of("test_a_notebooks_kernel", "python"))
    env = {**built.env, "JUPYTER_DATA_DIR": str(tmp_path / "jupyter"), "JUPYTER_PLATFORM_DIRS": "0"}
    built.shell(block_of("test_a_notebooks_kernel"), env)
    code = """
from jupyter_client.manager import start_new_kernel

def show(message):
    print(message["content"].get("text", ""), end="")

manager, client = start_new_kernel(kernel_name="sweep")
client.execute_interactive("import numpy, sys; print(sys.prefix, numpy.sqrt(16))", output_hook=show, timeout=240)
manager.shutdown_kernel()
client.stop_channels()
"""
    python = f"{tools('jupyter-client')}/python"
    done = subprocess.run([python, "-c", code], cwd=tmp_path, env=env, capture_output=True, text=True, timeout=300, check=False)
    environment = Path(built.call("which", "kernel.py").stdout).parent.parent
    assert done.stdout == f"{environment} 4.0\n", done.stderr
