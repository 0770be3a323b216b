"""A run has one set of versions: under `plan` and `join`, whoever comes when (DESIGN, section 3b)."""

from __future__ import annotations

import json
import signal
from pathlib import Path

from tests.conftest import Project, opened
from tests.faults import preloaded, wait_for
from tests.pool.test_held import index, purge
from tests.pool.test_sets import BODY, NO_LINK, fail, kept, seen
from tests.wheels import make_wheel

__all__ = ["index"]


def planned(project: Project) -> str:
    """A run of four cases on alpha 1.0, of which a first worker has done two and been told to end; then alpha 1.1 appears. Its name."""
    project.copies(4, ["alpha"], BODY)
    run = project.call("plan", "--order", "given", "case*/script.py").stdout.strip()
    (project.path / "case2" / "hold").touch()
    first = project.start("join", run, "-j1")
    wait_for((project.path / "case2" / "seen").exists)
    first.send_signal(signal.SIGTERM)
    (project.path / "case2" / "hold").unlink()
    first.communicate(timeout=60)
    make_wheel(index_of(project), "alpha", "1.1")
    assert seen(project) == ["1.0"] * 2
    return run


def index_of(project: Project) -> Path:
    return Path(project.env["UV_FIND_LINKS"])


def test_an_upgrade_between_two_workers_does_not_reach_the_second(project: Project, index: Path) -> None:
    run = planned(project)
    told = project.call("build", "--upgrade", "case1/script.py").stderr
    assert f"run {run} " in told and "alpha 1.0 → 1.1" in told
    project.call("prune", "--unused-for", "0s")
    project.call("join", run)
    assert seen(project) == ["1.0"] * 4 and kept(project, run) == ["1.0"]
    document = json.loads(project.call("status", run, "--json").stdout)
    assert [one["cases"] for one in document["versions"]] == [[1, 2, 3, 4]] and not document["mixed"]
    assert document["versions"][0]["environments"] == [min(path.name for path in project.environments)]
    assert "alpha==1.0" in project.call("export", "--run", run).stdout


def test_an_upgrade_before_the_first_worker_reaches_none(project: Project, index: Path) -> None:
    """What the run is computed with was decided when it was planned."""
    project.copies(2, ["alpha"], BODY)
    run = project.call("plan", "case*/script.py").stdout.strip()
    make_wheel(index, "alpha", "1.1")
    project.call("build", "--upgrade", "case1/script.py")
    project.call("join", run)
    assert seen(project) == ["1.0"] * 2 and kept(project, run) == ["1.0"]


def test_a_lock_between_two_workers_does_not_reach_the_second(project: Project, index: Path) -> None:
    run = planned(project)
    project.call("lock", "--upgrade", "case*/script.py")
    project.call("build", "case*/script.py")
    project.call("join", run)
    assert seen(project) == ["1.0"] * 4 and kept(project, run) == ["1.0"]


def test_what_was_purged_is_built_again_and_joined(project: Project, index: Path) -> None:
    run = planned(project)
    purge(project)
    project.call("build", "case1/script.py")
    project.call("join", run)
    assert seen(project) == ["1.0"] * 4


def test_a_worker_who_finds_no_environment_with_the_set_says_so_with_one_command(project: Project, index: Path) -> None:
    run = planned(project)
    project.call("build", "--upgrade", "case1/script.py")
    old = min(project.environments, key=lambda path: int(path.name[13:]))
    with opened(old):
        (old / "sharedenv.json").unlink()
    told = project.call("join", run, status=3).stderr
    assert f"versions have moved since run {run} began, and no environment has those that it began with" in told
    assert "a worker builds none" in told and f"hint: sharedenv run --resume --upgrade --run-id {run}\n" in told
    assert seen(project) == ["1.0"] * 2
    fail(project)
    project.call("run", "--resume", "--upgrade", "--run-id", run)
    assert seen(project) == ["1.0", "1.0", "1.1", "1.1"] and kept(project, run) == ["1.0", "1.1"]
    assert "results with 2 sets of versions" in project.call("status", run).stdout


def test_a_disk_that_takes_no_set_leaves_no_plan(project: Project, index: Path, tmp_path: Path) -> None:
    project.copies(2, ["alpha"], BODY)
    project.call("build", "case*/script.py")
    told = project.call("plan", "case*/script.py", env=preloaded(tmp_path, NO_LINK), status=1).stderr
    assert "No space left on device" in told and "hint: df -h -i " in told
    assert [path.name for path in (project.pool / "runs").iterdir() if path.name[0] != "."] == []
