"""A run has one set of versions: on a real Slurm (DESIGN, section 3b)."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.cluster.test_slurm import Submitting, on
from tests.pool.test_held import damage, index, pins, purge
from tests.pool.test_sets import BODY, fail, kept, seen
from tests.slurm import wait_until
from tests.wheels import make_wheel

__all__ = ["index", "on"]

pytestmark = [pytest.mark.slurm, pytest.mark.xdist_group("second slurm"), pytest.mark.timeout(600)]


def repair(on: Submitting) -> None:
    damage(on)
    assert "repaired" in on.call("verify", "--repair").stderr


STORIES: dict[str, Callable[[Submitting], object]] = {
    "purge": purge,
    "repair": repair,
    "rebuild": lambda on: on.call("build", "--rebuild", "case1/script.py"),
    "prune": lambda on: on.call("prune", "--unused-for", "0s"),
}


@pytest.mark.parametrize("story", STORIES)
def test_the_story_under_submit(index: Path, on: Submitting, story: str) -> None:
    on.copies(4, ["alpha"], BODY)
    fail(on, 3, 4)
    run = on.call("submit", "--wait", "case*/script.py", status=1).stdout.strip()
    fail(on)
    make_wheel(index, "alpha", "1.1")
    STORIES[story](on)
    on.call("submit", "--resume", "--wait")
    assert seen(on) == ["1.0"] * 4 and kept(on, run) == ["1.0"]
    assert "sets of versions" not in on.call("status").stdout


def test_an_upgrade_does_not_reach_the_tasks_that_wait(index: Path, on: Submitting) -> None:
    on.copies(4, ["alpha"], BODY)
    (on.path / "case1" / "hold").touch()
    run, job = on.submit("--tasks", "4", "--max-running", "1", "case*/script.py")
    wait_until((on.path / "case1" / "seen").exists, "the first task is at work")
    make_wheel(index, "alpha", "1.1")
    assert f"run {run} " in on.call("build", "--upgrade", "case1/script.py").stderr
    on.call("prune", "--unused-for", "0s")
    (on.path / "case1" / "hold").unlink()
    on.cluster.wait_for_end(job)
    assert seen(on) == ["1.0"] * 4 and kept(on, run) == ["1.0"] and pins(on) == {"alpha": "1.1"}
    document = json.loads(on.call("status", run, "--json").stdout)
    assert [one["cases"] for one in document["versions"]] == [[1, 2, 3, 4]] and not document["mixed"]
    assert document["versions"][0]["environments"] == [min(path.name for path in on.environments)]


def test_a_task_whose_set_is_gone_says_so_with_one_command(index: Path, on: Submitting) -> None:
    on.copies(2, ["alpha"], BODY)
    fail(on, 2)
    run, job = on.submit("--tasks", "2", "--max-running", "1", "--sbatch", "--hold", "case*/script.py")
    make_wheel(index, "alpha", "1.1")
    on.call("build", "--upgrade", "case1/script.py")
    old = min(on.environments, key=lambda path: int(path.name[13:]))
    for folder in [old, *(path for path in old.rglob("*") if path.is_dir() and not path.is_symlink())]:
        folder.chmod(0o755)
    (old / "sharedenv.json").unlink()
    on.cluster.call("scontrol", "release", job)
    on.cluster.wait_for_end(job)
    assert seen(on) == []
    log = on.log(run, job, 1)
    assert f"versions have moved since run {run} began, and no environment has those that it began with" in log
    [hint] = [line.partition("hint: sharedenv ")[2].partition(", ")[0] for line in log.splitlines() if "hint: " in line]
    assert hint == f"submit --resume --upgrade --run-id {run}"
    fail(on)
    on.call(*hint.split(), "--wait")
    assert seen(on) == ["1.1", "1.1"]


def test_the_first_task_after_a_build_job_decides_for_all(index: Path, on: Submitting) -> None:
    on.copies(3, ["alpha"], BODY)
    (on.path / "case1" / "hold").touch()
    run, job = on.submit("--build-job", "--tasks", "3", "--max-running", "1", "case*/script.py")
    wait_until((on.path / "case1" / "seen").exists, "the first task is at work")
    make_wheel(index, "alpha", "1.1")
    on.call("build", "--upgrade", "case1/script.py")
    (on.path / "case1" / "hold").unlink()
    on.cluster.wait_for_end(job)
    assert seen(on) == ["1.0"] * 3 and kept(on, run) == ["1.0"]


def test_a_resume_that_would_mix_is_refused(index: Path, on: Submitting) -> None:
    on.copies(2, ["alpha"], BODY)
    fail(on, 2)
    run = on.call("submit", "--wait", "case*/script.py", status=1).stdout.strip()
    fail(on)
    make_wheel(index, "alpha", "1.1")
    on.call("build", "--upgrade", "case1/script.py")
    told = on.call("submit", "--resume", status=2).stderr
    assert "alpha 1.0 → 1.1" in told and f"hint: sharedenv submit --resume --upgrade --run-id {run} " in told
    on.call("submit", "--resume", "--upgrade", "--wait")
    assert seen(on) == ["1.0", "1.1"] and kept(on, run) == ["1.0", "1.1"]
    assert "results with 2 sets of versions" in on.call("status", run).stdout
