"""Entering an environment: all who start a script refuse the same links, and hold what they enter."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from sharedenv.cluster.arrays import How, create_array
from sharedenv.run.journal.runs import create_run, list_runs
from sharedenv.start.access import Vanished, as_built, enter, is_name, published
from tests.conftest import Project

KEY = "0123456789ab" + "c" * 52


@pytest.mark.parametrize("name", ["0123456789ab-1", "0123456789ab-20"])
def test_names_of_environments(name: str) -> None:
    assert is_name(name)


@pytest.mark.parametrize(
    "name", ["", "-", "0123456789ab", "0123456789ab-", "0123456789ab-0", "0123456789ab-01", "0123456789ab-1x", "0123456789aB-1",
             "0123456789a-1", "0123456789abc-1", "0123456789ab_1", "0123456789ab-\N{SUPERSCRIPT TWO}", "..", "0123456789ab-1/.."]
)
def test_other_names(name: str) -> None:
    assert not is_name(name)


@pytest.mark.parametrize(
    ("target", "leads"),
    [
        ("../envs/0123456789ab-3", True),
        ("../envs/0123456789ab-x", False),
        ("../envs/ffffffffffff-1", False),  # another key's
        ("../envs/../envs/0123456789ab-3", False),
        ("../../elsewhere/envs/0123456789ab-3", False),
        ("/envs/0123456789ab-3", False),
        ("0123456789ab-3", False),
    ],
)
def test_where_the_link_of_a_key_may_lead(tmp_path: Path, target: str, leads: bool) -> None:
    (tmp_path / "keys").mkdir()
    (tmp_path / "keys" / KEY).symlink_to(target)
    assert published(str(tmp_path), KEY) == (f"{tmp_path}/envs/0123456789ab-3" if leads else None)


def test_what_is_replaced_between_the_look_up_and_the_hold_is_not_entered(project: Project) -> None:
    project.script("s.py")
    project.call("build", "s.py")
    [environment] = map(str, project.environments)
    open_before = len(os.listdir("/proc/self/fd"))
    with pytest.raises(Vanished):
        enter(str(project.pool), environment, lambda: environment.replace("-1", "-2"))
    assert len(os.listdir("/proc/self/fd")) == open_before
    descriptor = enter(str(project.pool), environment, lambda: environment)
    assert as_built(descriptor, environment)
    assert not as_built(descriptor, environment, "f" * 64), "its key is another one"
    os.close(descriptor)


def _task(project: Project) -> subprocess.CompletedProcess[str]:
    """The task of an array over all that the last run has, without Slurm."""
    cases = list_runs(str(project.pool / "runs"))[0].cases()
    run = create_run(str(project.pool / "runs"), cases, command=("sharedenv", "submit"))
    create_array(run, 1, cases, 1, How(jobs=1))
    argv = [sys.executable, "-c", "import sys, sharedenv.cli.worker as task; sys.exit(task.main())", run.path, "1"]
    return subprocess.run(argv, env={**project.env, "SLURM_ARRAY_TASK_ID": "1"}, capture_output=True, text=True, check=False)


@pytest.mark.parametrize("kind", ["odd name", "out of the pool", "a link in its place"])
def test_a_link_that_nobody_follows_is_followed_by_no_task(project: Project, kind: str) -> None:
    """A task took an environment of any name, and one that was a link to somewhere else."""
    project.script("s.py", [], "print('ran')")
    project.call("run", "s.py")
    assert _task(project).stdout == "ran\n"
    [environment] = project.environments
    [link] = (project.pool / "keys").iterdir()
    environment.chmod(0o755)
    name = environment.name
    if kind == "odd name":
        name = f"{name}x"
        environment.rename(environment.with_name(name))
    elif kind == "out of the pool":
        shutil.move(environment, project.path / name)
        name = f"../../{name}"
    else:
        shutil.move(environment, project.path / name)
        environment.symlink_to(project.path / name)
    link.unlink()
    link.symlink_to(f"../envs/{name}")
    done = _task(project)
    assert (done.returncode, done.stdout) == (3, "")
    assert "can't be used, and a task builds none" in done.stderr
    assert project.call("which", "s.py", status=1).stdout == "", "nor does anybody else"
