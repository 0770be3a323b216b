"""The tasks of an array as workers of one run, on a real Slurm."""

from __future__ import annotations

import sys
from collections import Counter

import pytest

from tests.slurm import wait_until
from tests.test_slurm import Submitting, on

__all__ = ["on"]

pytestmark = [pytest.mark.slurm, pytest.mark.xdist_group("slurm"), pytest.mark.timeout(600)]

BODY = "import os, time; time.sleep(0.2); open('../begun', 'a').write(os.path.basename(os.getcwd()) + ' ')"


@pytest.mark.parametrize(("array", "tasks"), [("1-3", 3), ("7,2-8:3", 4)], ids=["a range", "gaps and steps"])
def test_the_tasks_of_an_array_join(on: Submitting, array: str, tasks: int) -> None:
    on.copies(12, ["alpha"], BODY)
    run = on.call("plan", "case*/script.py").stdout.strip()
    job_script = on.path / "job.sh"
    job_script.write_text(f"#!/bin/bash\n#SBATCH --array={array} --output=%A_%a.out\n'{sys.executable}' -m sharedenv join {run}\n")
    job = on.cluster.call("sbatch", "--parsable", str(job_script), cwd=on.path, env=on.env).strip()
    on.cluster.wait_for_end(job)
    assert Counter((on.path / "begun").read_text().split()) == Counter({f"case{number}": 1 for number in range(1, 13)})
    status = on.call("status", run).stdout
    assert "every script succeeded" in status and f"{tasks} workers\n" in status


def test_a_task_that_is_cancelled_leaves_the_rest_to_the_others(on: Submitting) -> None:
    on.copies(6, ["alpha"], BODY.replace("0.2", "1"))
    run = on.call("plan", "case*/script.py").stdout.strip()
    job_script = on.path / "job.sh"
    job_script.write_text(f"#!/bin/bash\n#SBATCH --array=1-2 --output=%A_%a.out\nexec '{sys.executable}' -m sharedenv join {run}\n")
    job = on.cluster.call("sbatch", "--parsable", str(job_script), cwd=on.path, env=on.env).strip()
    wait_until((on.path / "begun").exists, "a case is at work")
    on.cluster.call("scancel", f"{job}_1")
    on.cluster.wait_for_end(job)
    on.call("run", "--resume", "--run-id", run, "--lost-too")
    begun = Counter((on.path / "begun").read_text().split())
    assert set(begun) == {f"case{number}" for number in range(1, 7)}
    assert "every script succeeded" in on.call("status", run).stdout


def test_a_run_that_was_planned_is_submitted_as_an_array_of_workers(on: Submitting) -> None:
    """Held at first; its tasks are told, cancelled and gone on with as on any scheduler."""
    on.copies(5, ["alpha"], BODY)
    run = on.call("plan", "case*/script.py").stdout.strip()
    submitted = on.call("submit", "--resume", "--run-id", run, "--tasks", "2", "--sbatch", "--hold", "--time", "10").stderr
    assert "submitted 5 scripts for 2 workers" in submitted and " of Slurm: run" in submitted
    assert "of Slurm: 2 waiting of 2 tasks" in on.call("status", run).stdout
    assert "nothing to submit" in on.call("submit", "--resume", "--run-id", run).stderr
    assert f"of run {run}" in on.call("cancel", run).stderr
    done = on.call("submit", "--resume", "--run-id", run, "--tasks", "3", "--wait")
    assert "5 succeeded" in done.stderr
    assert Counter((on.path / "begun").read_text().split()) == Counter({f"case{number}": 1 for number in range(1, 6)})
