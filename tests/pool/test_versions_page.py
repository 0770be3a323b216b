"""sharedenv/docs/versions.md: its commands are run one after the other, and what they print is held against its lines."""

from __future__ import annotations

import re
import subprocess
from pathlib import Path

import pytest

from tests.conftest import Project
from tests.house.test_docs import assert_test_exists
from tests.pool.test_sets import run_of
from tests.readme import assert_printed, blocks, commands
from tests.wheels import make_wheel

PAGE = Path(__file__).parent.parent.parent / "sharedenv" / "docs" / "versions.md"
DEPENDENCIES = ["scipy", "numpy", "matplotlib", "pandas"]


@pytest.fixture
def four(project: Project) -> Project:
    """Three copies of a script, the four packages in a small way, and a repository."""
    folder = project.path.parent / "four"
    for name in DEPENDENCIES:
        make_wheel(folder, name, "1.0")
    project.env |= {"UV_FIND_LINKS": str(folder), "PATH": f"{project.command}:{project.env['PATH']}"}
    project.copies(3, DEPENDENCIES, "import scipy")
    project.script("other.py", ["numpy"])
    return project


def test_what_the_page_shows_is_what_is_printed(four: Project) -> None:
    project = four
    found = [one for block in blocks(PAGE.read_text(), "console") for one in commands(block)]
    assert len(found) >= 9
    for command, shown in found:
        if command.startswith("git clone"):
            _commit(project)
            subprocess.run(["bash", "-c", command], cwd=project.path.parent, check=True)
            project = Project(project.path.parent / "again", project.env)
            continue
        printed = project.call("run", "other.py", status=3).stderr if command == "sharedenv run other.py" else _typed(project, command)
        assert_printed([line for line in shown if line], printed)


def _typed(project: Project, command: str) -> str:
    """What a command prints; its run is the newest there."""
    return project.shell(re.sub(r"(?<=--run )\S+", run_of(project), command) if "--run " in command else command)


def test_a_test_stands_behind_each_sentence_that_names_one() -> None:
    named = re.findall(r"<!-- (test_\w+\.py)::(test_\w+) -->", PAGE.read_text())
    assert len(named) >= 10
    for file, name in named:
        assert_test_exists(file, name)


def _commit(project: Project) -> None:
    """The lock can be committed, and the pool is not."""
    git = ("git", "-c", "user.name=a", "-c", "user.email=a@b")
    for words in (("init", "-q"), ("add", "-A"), ("commit", "-qm", "all")):
        subprocess.run([*git, *words], cwd=project.path, check=True, capture_output=True)
    listed = subprocess.run([*git, "ls-files"], cwd=project.path, check=True, capture_output=True, text=True).stdout.splitlines()
    assert "sharedenv.lock" in listed and not any(name.startswith(".sharedenv/") for name in listed)
