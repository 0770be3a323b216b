"""The page about files and JSON names each field that is there, and no other."""

from __future__ import annotations

import json
import re
import time
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

import pytest

from sharedenv.app.queued import standing_of
from sharedenv.pool.layout import PARTS, STANDING
from sharedenv.run.case import Case
from sharedenv.run.journal.runs import create_run
from sharedenv.run.journal.standing import FEW
from tests.conftest import Project
from tests.readme import section


def fields(title: str, heading: str) -> tuple[set[str], set[str]]:
    """The fields that are named under a heading of the third level: all of them, and those that are there `only` at times."""
    text = section(title, "files")
    found = re.search(rf"^### {re.escape(heading)}\n(.*?)(?=^### |\Z)", text, re.MULTILINE | re.DOTALL)
    assert found, heading
    named, sometimes = set(), set()
    for names, said in re.findall(r"^- ((?:`\w+`(?: \(`\w+`\))?(?:, )?)+)(.*)$", found[1], re.MULTILINE):
        both = {name for name in re.findall(r"`(\w+)`", names) if not re.search(rf"\(`{name}`\)", names)}
        named |= both
        if "only" in said or "(`" in names:
            sometimes |= both
    assert named, heading
    return named, sometimes


def names(values: Iterable[Any]) -> set[str]:
    """The names of the fields in documents."""
    return {name for value in values if isinstance(value, Mapping) for name in value}


def assert_described(there: set[str], title: str, heading: str) -> None:
    """What is there is named; what is named is there, or is at times only."""
    named, sometimes = fields(title, heading)
    assert not there - named, "say in sharedenv/docs/files.md what these are"
    assert not named - sometimes - there, "these are not there"


@pytest.fixture
def done(project: Project) -> Project:
    """A project after a run in which a case failed."""
    project.copies(3, ["alpha"], "import os; assert not os.path.exists('bad'), 'it broke'")
    (project.path / "case2" / "bad").touch()
    project.call("run", "case*/script.py", status=1)
    return project


#: words after the command → the lists in its document whose entries are described with it
DOCUMENTS: dict[str, tuple[list[str], list[str]]] = {
    "build": (["case*/script.py"], ["environments"]),
    "which": (["case*/script.py"], ["scripts"]),
    "key": (["case*/script.py"], ["scripts"]),
    "list": ([], ["environments"]),
    "verify": ([], ["environments"]),
    "prune": (["--dry-run"], ["kept"]),
    "status": ([], ["failures"]),
    "doctor": ([], ["findings"]),
}


@pytest.mark.parametrize("command", DOCUMENTS)
def test_the_documents(done: Project, command: str) -> None:
    words, lists = DOCUMENTS[command]
    document = json.loads(done.call(command, *words, "--json", status=None).stdout)
    assert names(document["errors"]) <= {"message", "cause", "hint", "exit_code"}
    assert ("pool" in document) == (command not in ("build", "which", "key", "status"))
    of_all = {"schema", "errors", "pool"}
    there = (document.keys() - of_all) | names(entry for name in lists for entry in document[name])
    heading = "`list` and `show`" if command == "list" else f"`{command}`"
    if command == "list":
        shown = json.loads(done.call("show", "case1/script.py", "--json").stdout)
        assert shown["environment"].keys() - {"linked_bytes"} == names(document["environments"])
        there |= {"linked_bytes", *(shown.keys() - of_all)}
    if command == "key":
        there -= {"path", "key"}  # named within the line of `scripts`
    assert_described(there, "`--json`", heading)


def test_the_list_of_runs_has_the_fields_down_to_extra(done: Project) -> None:
    [run] = json.loads(done.call("status", "--all", "--json").stdout)["runs"]
    named = re.findall(r"^- ((?:`\w+`(?:, )?)+)", section("`--json`", "files").partition("### `status`")[2].partition("- `failures`")[0], re.MULTILINE)
    assert run.keys() == {name for part in named for name in re.findall(r"`(\w+)`", part)} - {"runs"}


def test_the_journal(done: Project) -> None:
    [folder] = (done.pool / "runs").glob("*-*")
    assert_described(names([json.loads((folder / "run.json").read_text())]), "The journal of a run", "`run.json`")
    plan = [json.loads(line) for line in (folder / "plan.jsonl").read_text().splitlines()]
    assert_described(names(plan), "The journal of a run", "`plan.jsonl`")
    [results] = folder.glob("results-*.jsonl")
    lines = [json.loads(line) for line in results.read_text().splitlines()]
    assert_described(names(line for line in lines if "attempt" in line), "The journal of a run", "`results-….jsonl`")
    assert "ended" in lines[-1]


def test_the_folders_of_the_pool() -> None:
    assert re.findall(r"^\| `(\w+)/`", section("The pool's folder", "files"), re.MULTILINE) == list(PARTS)


def test_the_standing_of_a_run(tmp_path: Path) -> None:
    run = create_run(str(tmp_path / "runs"), [Case(number, f"/p/case{number}/s.py") for number in range(1, FEW + 1)])
    run.begin().close("interrupted")
    standing_of(run, time.time())
    assert_described(names([json.loads(Path(run.path, STANDING).read_text())]), "The journal of a run", "`standing.json`")
