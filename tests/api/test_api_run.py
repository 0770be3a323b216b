"""`sharedenv.run` and what looks at runs: results, going on, tables, errors."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest

import sharedenv
from sharedenv import RunFailed, SharedenvError
from tests.conftest import Project

BODY = """
import os, sys
print("out", *sys.argv[1:], flush=True)
print("err", file=sys.stderr)
if os.path.exists("bad"):
    raise ValueError("it broke")
"""


@pytest.fixture
def three(project: Project) -> Project:
    """Three copies of a script, the second of which fails."""
    project.copies(3, body=BODY)
    (project.path / "case2" / "bad").touch()
    return project


def test_results(three: Project, capfd: pytest.CaptureFixture[str]) -> None:
    seen: list[Any] = []
    lines: list[str] = []
    with three.inside():
        result = sharedenv.run(
            "case*/script.py", arguments=["a b", 3, Path("x")], jobs=1, on_result=seen.append, on_output=seen.append, on_event=lines.append
        )
        assert capfd.readouterr() == ("", "")
        assert [case.succeeded for case in result] == [True, False, True]
        assert [case.script for case in result] == [str(three.path / f"case{number}" / "script.py") for number in (1, 2, 3)]
        assert (len(result), result.total, result.left, result.errors) == (3, 3, 0, ())
        [failed] = result.failures
        assert (failed.reason, failed.status, failed.signal, failed.attempt) == ("exit 1: ValueError: it broke", 1, 0, 1)
        assert failed.stderr.endswith("ValueError: it broke")
        assert failed.arguments == ("a b", "3", "x")
        assert failed.cpu > 0
        assert failed.environment == three.environments[0].name
        assert [(type(one).__name__, one.number) for one in seen] == [
            (kind, number) for number in (1, 2, 3) for kind in ("CaseOutput", "CaseResult")
        ]
        assert (seen[0].stdout, seen[0].stderr) == (b"out a b 3 x\n", b"err\n")
        assert any(line == "failed: case2/script.py: exit 1: ValueError: it broke" for line in lines)
        assert sharedenv.results(result.id).results == result.results
        with pytest.raises(RunFailed, match=f"run {result.id}: 1 failed of 3 cases") as told:
            result.raise_for_failures()
    assert told.value.result is result
    assert told.value.hint == f"sharedenv status {result.id}"


def test_going_on(three: Project) -> None:
    """What failed, by a call and by the command, on the terms that the run was begun with."""
    (three.path / "case3" / "bad").touch()
    with three.inside():
        first = sharedenv.run("case*/script.py", arguments=["x"], capture="log", timeout=60)
        assert len(first.failures) == 2
        (three.path / "case2" / "bad").unlink()
        second = sharedenv.run(retry_failed=first.id)
        assert (second.id, len(second), len(second.failures)) == (first.id, 3, 1)
        assert (three.path / "case2" / "log").read_text() == "out x\nerr\n"
        (three.path / "case3" / "bad").unlink()
        (three.path / "case3" / "log").unlink()
        said = three.call("run", "--resume")
        assert "1 to run, 2 left as they are" in said.stderr
        assert (three.path / "case3" / "log").read_text() == "out x\nerr\n"
        assert sharedenv.results().raise_for_failures().id == first.id
        assert sharedenv.run("case*/script.py", resume=True).raise_for_failures().seconds == 0
        assert [run.id for run in sharedenv.runs()] == [first.id]


def test_going_on_with_a_run_of_the_command(three: Project) -> None:
    three.call("run", "case*/script.py", "--capture", "log", "--python", "3", "--", "y", status=1)
    (three.path / "case2" / "bad").unlink()
    with three.inside():
        sharedenv.run(resume=True).raise_for_failures()
    assert (three.path / "case2" / "log").read_text() == "out y\nerr\n"
    assert len(three.environments) == 1


def test_a_table_of_rows(project: Project) -> None:
    project.script("script.py", body="import sys; print(*sys.argv[1:], sep='|')")
    written: list[bytes] = []
    rows = [{"name": "a b", "value": 0.5, "flag": True}, {"name": "ö", "value": 2, "flag": None}]
    with project.inside():
        result = sharedenv.run("script.py", table=rows, arguments=["{name}", "--v={value}", "{flag}"], jobs=1,
                               on_output=lambda one: written.append(one.stdout))  # fmt: skip
        assert written == [b"a b|--v=0.5|true\n", "ö|--v=2|\n".encode()]
        assert [case.row for case in result] == [{"name": "a b", "value": "0.5", "flag": "true"}, {"name": "ö", "value": "2", "flag": ""}]
        assert result.results[0].arguments == ("a b", "--v=0.5", "true")
        (project.path / "table.csv").write_text("name,value\nq,1\n")
        assert len(sharedenv.run("script.py", table=Path("table.csv"), arguments=["{name}"])) == 1
        with pytest.raises(SharedenvError, match="the table - can't be used"):
            sharedenv.run("script.py", table=rows, arguments=["{none}"])


@pytest.mark.parametrize(
    ("options", "kind"),
    [
        ({"retries": 0}, ValueError),
        ({"threads": -1}, ValueError),
        ({"arguments": "--steps 10"}, TypeError),
        ({"creates": "result.txt"}, TypeError),
        ({"resume": True, "retry_failed": True}, TypeError),
        ({"launcher": ["mpirun"], "preload": True}, TypeError),
    ],
)
def test_wrong_arguments(project: Project, options: dict[str, Any], kind: type[Exception]) -> None:
    project.script("script.py")
    with project.inside(), pytest.raises(kind):
        sharedenv.run("script.py", **options)


def test_what_may_not_be_built(project: Project) -> None:
    project.script("script.py", ["alpha"])
    with project.inside(), pytest.raises(SharedenvError, match="not built in the pool") as told:
        sharedenv.run("script.py", build=False)
    assert told.value.hint == "sharedenv build script.py"
    assert told.value.exit_code == 3


def test_an_environment_that_can_not_be_built_is_part_of_the_result(project: Project) -> None:
    project.script("good.py", ["alpha"])
    project.script("bad.py", ["nowhere"])
    with project.inside():
        result = sharedenv.run(["good.py", "bad.py"])
    assert [case.succeeded for case in result] == [True, False]
    assert "nowhere" in str(result.errors[0].cause)
    assert result.failures[0].reason.startswith("its environment could not be built")


@pytest.mark.parametrize("call", [sharedenv.status, sharedenv.results, sharedenv.report, lambda run: sharedenv.run(resume=run), sharedenv.join])
def test_a_run_that_there_is_not(three: Project, call: Any) -> None:
    with three.inside():
        sharedenv.build("case1/script.py")
        with pytest.raises(SharedenvError, match="no run '19990101-000000'") as told:
            call("19990101-000000")
    assert told.value.hint == "sharedenv status --all"


def test_workers_share_a_list(project: Project) -> None:
    project.copies(20, body="print('done')")
    with project.inside():
        run = sharedenv.plan("case*/script.py", order="given")
        assert sharedenv.status(run).state == "planned"
        begun: list[int] = []
        with ThreadPoolExecutor() as threads:
            parts = [threads.submit(sharedenv.join, run, jobs=1, wait=True, on_result=lambda case: begun.append(case.number)) for _ in range(2)]
            assert all(part.result().raise_for_failures().total == 20 for part in parts)
        assert sorted(begun) == list(range(1, 21))
        assert sharedenv.status(run).state == "done"


def test_plans_of_one_second_by_several_threads(project: Project) -> None:
    project.copies(40)
    with project.inside():
        sharedenv.build("case1/script.py")
        with ThreadPoolExecutor(8) as threads:
            made = list(threads.map(lambda _: sharedenv.plan("case*/script.py", insist=True), range(16)))
        assert len(set(made)) == 16
        assert {(run.id, run.state, run.total) for run in sharedenv.runs()} == {(run, "planned", 40) for run in made}


def test_a_report(three: Project) -> None:
    with three.inside():
        run = sharedenv.run("case*/script.py").id
        assert sharedenv.report(run) == f"report-{run}.html"
        assert sharedenv.report(run, run, output=three.path / "both.html") == str(three.path / "both.html")
    assert (three.path / f"report-{run}.html").read_text().startswith("<!DOCTYPE html>")
