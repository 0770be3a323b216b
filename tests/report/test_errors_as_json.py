"""--json: one document on stdout whatever happens, errors inside it."""

from __future__ import annotations

import json

import pytest

from tests.conftest import Project


@pytest.mark.parametrize(
    "command",
    [
        "build --json",
        "build --json bad.py",
        "build --check --json bad.py nowhere.py",
        "status --json",
        "key --json",
        "key --json --explain bad.py",
        "key --json --nonsense",
        "which --json nowhere.py",
        "list --json extra",
        "prune --json --unused-for never",
        "verify --json 0123",
        "show --json 0123",
        "--nonsense list --json",
        "--pool bad.py/x doctor --json",
    ],
)
def test_an_error_is_a_document(project: Project, command: str) -> None:
    project.script("bad.py", ["alpha >="])
    done = project.call(*command.split(), status=2)
    document = json.loads(done.stdout)
    assert document["schema"] == 1
    (error,) = document["errors"]
    assert error["exit_code"] == 2
    assert f"error: {error['message']}" in done.stderr


def test_the_variable_asks_for_it_too(project: Project) -> None:
    assert json.loads(project.call("list", env={"SHAREDENV_JSON": "1"}, status=2).stdout)["errors"]


def test_what_is_the_scripts_own_asks_for_nothing(project: Project) -> None:
    assert project.call("exec", "nowhere.py", "--json", status=125).stdout == ""
    assert project.call("run", "nowhere.py", "--", "--json", status=2).stdout == ""
