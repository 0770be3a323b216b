"""The tasks of an array as workers of one run, on a real Slurm."""

from __future__ import annotations

import contextlib
import re
import sys
from collections import Counter

import pytest

from sharedenv.run.journal.run import Run
from sharedenv.run.journal.runs import list_runs
from tests.cluster.test_slurm import Submitting, on
from tests.readme import all_blocks, read
from tests.slurm import wait_until

__all__ = ["on"]

pytestmark = [pytest.mark.slurm, pytest.mark.xdist_group("second slurm"), pytest.mark.timeout(600)]

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


def sbatch(on: Submitting, text: str, *options: str) -> str:
    """Submits a job script; the job."""
    (on.path / "job.sh").write_text("#!/bin/bash\n" + text.replace("sharedenv", f"'{sys.executable}' -m sharedenv"))
    return on.cluster.call("sbatch", "--parsable", "--output=%A_%a.out", *options, str(on.path / "job.sh"), cwd=on.path, env=on.env).strip()


def order(on: Submitting) -> list[str]:
    return (on.path / "begun").read_text().split()


def runs(on: Submitting) -> list[Run]:
    return list_runs(str(on.pool / "runs"))


def test_an_array_of_one_line(on: Submitting) -> None:
    """Gaps, a throttle, and a second line, which keeps behind the first one; nothing was built before."""
    on.copies(12, ["alpha"], BODY)
    for number in (1, 2, 3):
        on.script(f"post{number}/script.py", ["alpha"], BODY)
    [block] = [block for block in all_blocks(read("join")) if "test_an_array_of_one_line" in block.held]
    job = sbatch(on, block.text)
    assert set(on.cluster.wait_for_end(job).values()) == {"COMPLETED"}, [path.read_text() for path in on.path.glob("*.out")]
    done = order(on)
    assert Counter(done[:12]) == Counter(f"case{number}" for number in range(1, 13))
    assert Counter(done[12:]) == Counter(f"post{number}" for number in range(1, 4))
    assert len(runs(on)) == 2


def test_a_task_that_is_put_back_into_the_queue_and_one_that_comes_late_join(on: Submitting) -> None:
    """What was at work then is lost, and not begun again. Of a task that was requeued Slurm says another time of submission."""
    on.copies(6, ["alpha"], "import os, time; open('../begun', 'a').write(os.path.basename(os.getcwd()) + ' '); time.sleep(1)")
    job = sbatch(on, "sharedenv run --array -j1 'case*/script.py'", "--array=3,9%1", "--requeue")
    wait_until(lambda: (on.path / "begun").exists() and len(order(on)) == 2, "two cases have begun")
    on.cluster.call("scontrol", "requeue", f"{job}_3")

    def over() -> bool:
        states = on.cluster.states(job)
        for task in (task for task, state in states.items() if state == "PENDING"):
            with contextlib.suppress(AssertionError):  # it has just begun
                on.cluster.call("scontrol", "update", f"jobid={task}", "StartTime=now")
        return not {"PENDING", "RUNNING", "COMPLETING"} & set(states.values())

    wait_until(over, "the end of the array")
    assert Counter(order(on)) == Counter(f"case{number}" for number in range(1, 7))
    [run] = runs(on)
    told = (on.path / f"{job}_3.out").read_text()
    assert run.id in told


def test_a_number_that_a_controller_gives_again_is_another_array(on: Submitting) -> None:
    """What was made before the array was submitted is not its run, however short a time ago that was."""
    on.copies(2, ["alpha"], BODY)
    job = sbatch(on, "sharedenv run --array 'case*/script.py'", "--array=1")
    on.cluster.wait_for_end(job)
    [first] = runs(on)
    record = (on.pool / "runs" / first.id / "run.json").read_text()
    created = re.sub(r'"created": ?[0-9.]+', f'"created":{first.asked.created - 1000}', record)
    assert created != record
    (on.pool / "runs" / first.id / "run.json").write_text(created)
    job = sbatch(on, f"export SLURM_ARRAY_JOB_ID={job}\nsharedenv run --array 'case*/script.py'", "--array=1-2%1")
    on.cluster.wait_for_end(job)
    assert Counter(order(on)) == Counter({"case1": 2, "case2": 2})
    assert len(runs(on)) == 2


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
