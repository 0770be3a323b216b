"""What is in the queue when sharedenv is upgraded: job scripts and run folders as an earlier version wrote them are worked off.

`old_jobs/` is a run of version 0.1.0 (`submit 'case*/script.py' --tasks 2 --time 10 --build-job --sbatch --comment=x -- --steps 10`,
four copies of `old_jobs/script`), taken when a node had failed in the middle of task 1: case 1 has ended, case 3 was begun. Paths
and the key of the environment are filled in. It is never made anew.
"""

from __future__ import annotations

import json
import os
import re
import shlex
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

import sharedenv
from tests.conftest import Project
from tests.slurm import Cluster, wait_until

OLD = Path(__file__).parent.parent / "old_jobs"
RUN = "20261130-125459"
SCRIPTS = tuple(f"case{number}/script.py" for number in range(1, 5))


@pytest.fixture
def old(project: Project) -> Project:
    """A project with that run, and its environment not built."""
    for script in SCRIPTS:
        (project.path / script).parent.mkdir()
        shutil.copy(OLD / "script", project.path / script)
    key = project.call("key", SCRIPTS[0]).stdout.split()[0]
    found = {
        "@PROJECT@": str(project.path), "@PYTHON@": sys.executable, "@PACKAGES@": str(Path(sharedenv.__file__).parent.parent), "@KEY@": key,
    }  # fmt: skip
    run = project.pool / "runs" / RUN
    for path in OLD.rglob("*"):
        if path.is_file() and path.name != "script":
            copy = run / path.relative_to(OLD)
            copy.parent.mkdir(parents=True, exist_ok=True)
            written = shlex.quote if path.suffix == ".sh" else str
            copy.write_text(re.sub("@[A-Z]+@", lambda match: written(found[match[0]]), path.read_text()))  # noqa: B023 - called at once
            os.utime(copy, (1796043299, 1796043299))
    project.env.pop("PYTHONPATH")  # a job has none of ours
    return project


def _slurm(old: Project, name: str) -> Path:
    return old.pool / "runs" / RUN / "slurm" / "1" / name


def _job(old: Project, script: Path, **variables: str) -> str:
    """Runs a job script as slurmd does, and returns what it printed."""
    env = {**old.env, "SLURM_JOB_ID": "4712", "SLURM_ARRAY_JOB_ID": "4711", "SLURM_CPUS_ON_NODE": "1", **variables}
    done = subprocess.run(["bash", str(script)], env=env, cwd=script.parent, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, timeout=100, check=False)
    assert done.returncode == 0, done.stdout
    return done.stdout


def _ran(old: Project) -> dict[str, str]:
    return {script: (old.path / script).with_name("ran").read_text() for script in SCRIPTS if (old.path / script).with_name("ran").exists()}


def _work_off(old: Project, script: Path) -> None:
    first = _job(old, script, SLURM_ARRAY_TASK_ID="1", SLURM_RESTART_COUNT="1")
    assert f"task 1 of 2 of run {RUN}: 1 case, 1 before" in first
    assert "edited" not in first
    _job(old, script, SLURM_ARRAY_TASK_ID="2")
    assert _ran(old) == {"case2/script.py": "2 --steps 10\n", "case3/script.py": "1 --steps 10\n", "case4/script.py": "2 --steps 10\n"}
    assert "4 scripts: 4 done" in old.call("status", RUN).stdout


def test_an_array_in_the_queue_goes_on_where_it_stopped(old: Project) -> None:
    _job(old, _slurm(old, "build.sh"))
    assert len(old.environments) == 1
    _work_off(old, _slurm(old, "job.sh"))


def test_job_scripts_that_name_the_module(old: Project) -> None:
    """As the first versions wrote them: they ended with 0 and had done nothing."""
    old.call("build", *SCRIPTS)
    script = _slurm(old, "job.sh")
    lines = script.read_text().splitlines()
    run = script.parent.parent.parent
    lines[-1] = shlex.join(["exec", sys.executable, "-P", "-m", "sharedenv.cli.task", str(run), "1"])
    script.write_text("\n".join([*lines, ""]))
    old.env["PYTHONPATH"] = str(Path(sharedenv.__file__).parent.parent)
    _work_off(old, script)


def test_what_an_old_run_has_left_is_run_by_resume(old: Project) -> None:
    """The case that was lost and those that never began, not the one that has ended."""
    # the Slurm that had its array doesn't answer here
    assert "may not be over" in old.call("run", "--resume", "--run-id", RUN, *SCRIPTS, "--", "--steps", "10", status=2).stderr
    old.call("run", "--resume", "--insist", "--run-id", RUN, *SCRIPTS, "--", "--steps", "10")
    assert _ran(old) == dict.fromkeys(SCRIPTS[1:], "None --steps 10\n")


@pytest.mark.slurm
def test_an_old_job_script_is_submitted(old: Project, cluster: Cluster) -> None:
    """By Slurm itself: the jobs' variables, folder and output."""
    env = {**old.env, **cluster.env}
    build = cluster.call("sbatch", "--parsable", str(_slurm(old, "build.sh")), env=env)
    script = _slurm(old, "job.sh")
    script.write_text(script.read_text().replace("afterok:4711", f"afterok:{build}"))
    job = cluster.call("sbatch", "--parsable", str(script), env=env)
    _slurm(old, "job.json").write_text(json.dumps({"job": job, "build": build}))
    assert set(cluster.wait_for_end(job).values()) == {"COMPLETED"}
    wait_until(lambda: len(_ran(old)) == 3, "the scripts have run")
    assert "4 scripts: 4 done" in old.call("status", RUN, env=cluster.env).stdout
    assert "task 2 of 2" in _slurm(old, f"{job}_2.out").read_text()


@pytest.mark.slurm
def test_what_an_old_run_has_left_is_resumed_into_a_list_that_tasks_join(old: Project, cluster: Cluster) -> None:
    told = old.call("submit", "--resume", "--run-id", RUN, "--tasks", "2", "--time", "5", "--wait", env={**old.env, **cluster.env}).stderr
    assert "3 to run, 1 left as they are" in told
    assert set(_ran(old)) == set(SCRIPTS[1:])
    assert "4 scripts: 4 done" in old.call("status", RUN, env=cluster.env).stdout
    assert json.loads((old.pool / "runs" / RUN / "slurm/2/array.json").read_text())["format"] == 2
