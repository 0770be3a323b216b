"""Slots, devices and CPUs of the tasks of a job, on a real Slurm."""

from __future__ import annotations

import json
import sys
from typing import Any

import pytest

from tests.cluster.test_slurm import Submitting, on
from tests.run.test_places import BODY, assert_apart
from tests.slurm import wait_until

__all__ = ["on"]

pytestmark = [pytest.mark.slurm, pytest.mark.xdist_group("second slurm"), pytest.mark.timeout(600)]


def copies(on: Submitting, count: int, seconds: str) -> None:
    on.copies(count, ["alpha"], BODY.replace("{seconds}", seconds).replace("{log!r}", repr(str(on.path / "log"))))


def told(on: Submitting) -> list[dict[str, Any]]:
    lines = [json.loads(line) for line in (on.path / "log").read_text().splitlines()]
    (on.path / "log").unlink()
    return lines


def test_a_task_shares_out_what_it_was_given(on: Submitting) -> None:
    copies(on, 6, "0.1")
    words = ("--gpus-per-case", "1", "--setup", "export CUDA_VISIBLE_DEVICES=GPU-a,GPU-b", "--tasks", "2", "--cwd", "w{number}")
    run = on.call("submit", *words, "--capture", "out-{slot}", "--wait", "case*/script.py").stdout.strip()
    lines = told(on)
    assert {(line["SHAREDENV_CASE_NUMBER"], line["SHAREDENV_CASE_RUN"]) for line in lines} == {(str(n), run) for n in range(1, 7)}
    assert {(line["CUDA_VISIBLE_DEVICES"], line["SHAREDENV_CASE_SLOT"]) for line in lines} == {("GPU-a", "1"), ("GPU-b", "2")}
    assert all((on.path / f"w{line['SHAREDENV_CASE_NUMBER']}/out-{line['SHAREDENV_CASE_SLOT']}").exists() for line in lines)


def test_a_task_gets_the_cpus_that_its_scripts_need(on: Submitting) -> None:
    copies(on, 2, "0.1")
    script = on.call("submit", "--cpus-per-case", "2", "-j", "3", "--print", "case*/script.py").stdout
    assert "#SBATCH --cpus-per-task=6" in script
    other = on.call("submit", "--cpus-per-case", "2", "--sbatch", "--exclusive", "--print", "case*/script.py").stdout
    assert "cpus-per-task" not in other
    refused = on.call("submit", "--cpus-per-case", "2", "-j", "3", "-c", "4", "case*/script.py", status=2)
    assert "can't run 3 scripts at a time with 2 CPUs each in a task of 4" in refused.stderr
    on.call("submit", "--cpus-per-case", "1", "--wait", "case*/script.py")
    assert {(len(line["cpus"]), line["OMP_NUM_THREADS"]) for line in told(on)} == {(1, "1")}


def test_a_task_that_can_not_says_so(on: Submitting) -> None:
    copies(on, 1, "0")
    done = on.call("submit", "--gpus-per-case", "3", "--setup", "export CUDA_VISIBLE_DEVICES=0", "--wait", "case1/script.py", status=1)
    [log] = on.path.glob(".sharedenv/runs/*/slurm/1/*.out")
    assert "can't give each script 3 GPUs" in log.read_text() and "1 GPU here (CUDA_VISIBLE_DEVICES=0)" in log.read_text(), done.stderr


def test_workers_of_one_step_on_a_node(on: Submitting) -> None:
    """Two tasks of one job that join one run: on one node they share its slots."""
    copies(on, 12, "0.2")
    run = on.call("plan", "--gpus-per-case", "1", "case*/script.py").stdout.strip()
    job_script = on.path / "job.sh"
    join = f"'{sys.executable}' -m sharedenv join {run}"
    job_script.write_text(f"#!/bin/bash\n#SBATCH --ntasks=2 --nodes=1 --overcommit --output=%j.out\nexport CUDA_VISIBLE_DEVICES=3,5\nsrun -n2 --overcommit {join}\n")
    job = on.cluster.call("sbatch", "--parsable", str(job_script), cwd=on.path, env=on.env).strip()
    on.cluster.wait_for_end(job)
    wait_until((on.path / "log").exists, (on.path / f"{job}.out").read_text())
    lines = told(on)
    assert len(lines) == 12, (on.path / f"{job}.out").read_text()
    assert assert_apart(lines, "CUDA_VISIBLE_DEVICES") == {"3", "5"}
    assert assert_apart(lines, "SHAREDENV_CASE_SLOT") == {"1", "2"}
