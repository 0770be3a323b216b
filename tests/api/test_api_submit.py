"""`sharedenv.submit`, on a real Slurm; and what it raises where there is none."""

from __future__ import annotations

from pathlib import Path

import pytest

import sharedenv
from sharedenv import SharedenvError
from tests.cluster.test_slurm import BODY, Submitting, on
from tests.conftest import Project
from tests.slurm import wait_until

__all__ = ["on"]


@pytest.mark.slurm
@pytest.mark.xdist_group("slurm")
@pytest.mark.timeout(600)
def test_submitted_looked_at_and_read(on: Submitting, capfd: pytest.CaptureFixture[str]) -> None:
    """A table over two tasks, one row of which fails; it is gone on with by its id."""
    on.script("case1/script.py", ["alpha"], BODY)
    (on.path / "table.csv").write_text("name\na b\nsecond\nthird\n")
    (on.path / "case1" / "bad").touch()
    lines: list[str] = []
    with on.inside():
        run = sharedenv.submit("case1/script.py", table=Path("table.csv"), arguments=["{name}", "-x"], tasks=2, time="10",
                               options=["--timeout", "5m"], on_event=lines.append)  # fmt: skip
        wait_until(lambda: sharedenv.status(run).state == "done", "the run is done")
        found = sharedenv.results(run)
        assert [case.arguments for case in found] == [("a b", "-x"), ("second", "-x"), ("third", "-x")]
        assert {case.reason for case in found} == {"exit 1: negative density"}
        assert sharedenv.status(run).command[:2] == ("sharedenv", "submit")
        (on.path / "case1" / "bad").unlink()
        wait_until(lambda: not on.cluster.call("squeue", "-h"), "the queue is empty")
        assert sharedenv.submit(options=["--resume", "--run-id", run], tasks=1) == run
        wait_until(lambda: sharedenv.status(run).succeeded == 3, "all has succeeded")
        assert sharedenv.results(run).raise_for_failures().total == 3
    assert capfd.readouterr() == ("", "")
    assert any(line.startswith("submitted 3 cases in 2 tasks of job ") for line in lines)


@pytest.mark.slurm
@pytest.mark.xdist_group("slurm")
@pytest.mark.timeout(600)
def test_a_name_that_looks_like_an_option_is_a_script(on: Submitting, capfd: pytest.CaptureFixture[str]) -> None:
    """`-x.py`, `--print`, `-*.py`; and where all has succeeded, that nothing is submitted is told with the command that says why."""
    for name in ("-x.py", "--print", "-2.py"):
        on.script(name, body="print(1)\n")
    with on.inside():
        run = sharedenv.submit(["-x.py", Path("--print"), "-2*.py"], scheduler="slurm", time="10")
        wait_until(lambda: sharedenv.status(run).succeeded == 3, "all has succeeded")
        assert [Path(case.script).name for case in sharedenv.results(run)] == ["-x.py", "--print", "-2.py"]
        wait_until(lambda: not on.cluster.call("squeue", "-h"), "the queue is empty")
        with pytest.raises(SharedenvError, match="nothing was submitted") as told:
            sharedenv.submit("-x.py", options=["--resume"], scheduler="slurm")
    assert (told.value.hint, told.value.exit_code) == (f"sharedenv status {run}", 3)
    assert capfd.readouterr() == ("", "")


@pytest.fixture
def nowhere(project: Project) -> Project:
    """A project where no scheduler is."""
    project.script("script.py")
    empty = project.path.parent / "empty"
    empty.mkdir()
    project.env["PATH"] = str(empty)
    return project


@pytest.mark.parametrize(
    ("script", "options", "message"),
    [
        ("script.py", {}, "Slurm is not to be found here"),
        ("script.py", {"scheduler": "slurm"}, "Slurm is not to be found here"),
        ("none.py", {"scheduler": "slurm"}, "can't be used"),
        ("script.py", {"scheduler": "other"}, "other"),
        ("script.py", {"options": ["--nothing"]}, "--nothing"),
        ("script.py", {"tasks": 0}, "tasks"),
        ("script.py", {"tasks": 1, "per_task": 1}, "--per-task"),
    ],
)
def test_what_can_not_be_submitted(
    nowhere: Project, capfd: pytest.CaptureFixture[str], script: str, options: dict[str, object], message: str
) -> None:
    with nowhere.inside(), pytest.raises(SharedenvError) as told:
        sharedenv.submit(script, **options)  # type: ignore[arg-type]  # wrong on purpose
    assert message in str(told.value)
    assert told.value.hint
    assert capfd.readouterr() == ("", "")


@pytest.mark.slurm
@pytest.mark.xdist_group("slurm")
@pytest.mark.timeout(600)
def test_a_build_that_fails_before_a_submission_is_raised(on: Submitting, capfd: pytest.CaptureFixture[str]) -> None:
    on.script("bad.py", ["nowhere"])
    with on.inside(), pytest.raises(SharedenvError, match="nowhere") as told:
        sharedenv.submit("bad.py", scheduler="slurm")
    assert told.value.hint
    assert capfd.readouterr() == ("", "")
