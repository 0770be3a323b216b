"""`submit` is a plan and an array of joins: no task waits for another, each case is begun once, whatever happens to a task. Real Slurm."""

from __future__ import annotations

import json
import os
import re
import signal
from collections import Counter
from pathlib import Path

import pytest

from sharedenv.cluster.arrays import task_of
from sharedenv.run.journal.runs import open_run
from sharedenv.run.journal.sessions import SessionState
from tests.cluster.test_slurm import BODY, Submitting, cases, on
from tests.slurm import wait_until

__all__ = ["on"]  # the fixture

pytestmark = [pytest.mark.slurm, pytest.mark.xdist_group("second slurm"), pytest.mark.timeout(600)]


def _sessions(on: Submitting, run: str) -> list[SessionState]:
    return open_run(str(on.pool / "runs"), run).sessions()


def _session_of(on: Submitting, run: str, task: int) -> SessionState:
    [session] = [one for one in _sessions(on, run) if (found := task_of(one.writer)) and found[1] == task]
    return session


def _at_work(on: Submitting, run: str, sequence: int) -> SessionState:
    [session] = [one for one in _sessions(on, run) if sequence in one.running]
    return session


def test_no_task_waits_for_another(on: Submitting) -> None:
    """One has a case that takes long: the other works off the rest, all of it."""
    on.copies(8, [], BODY)
    (on.path / "case1" / "hold").touch()
    run, _ = on.submit("--tasks", "2", "case*/script.py")
    wait_until(lambda: on.counts(run) == {"running": 1, "done": 7}, "the rest is done")
    document = json.loads(on.call("status", run, "--json").stdout)
    assert [worker["at_work"] for worker in document["workers"]].count(True) >= 1
    told = on.call("status", run).stdout
    assert re.search(r"^2 workers, . at work\n  \S+, process \d+: case1/script.py", told, re.MULTILINE)
    (on.path / "case1" / "hold").unlink()
    wait_until(lambda: on.counts(run) == {"done": 8}, "the end")
    assert on.ran() == cases(*range(1, 9))


def test_a_killed_task_leaves_its_claims_to_the_others_and_no_case_twice(on: Submitting) -> None:
    on.copies(6, [], BODY)
    (on.path / "hold").touch()
    run, job = on.submit("--tasks", "2", "--sbatch", "--no-requeue", "case*/script.py")
    wait_until(lambda: on.ran() == cases(1, 2), "both are at work")
    killed = _at_work(on, run, 1)
    assert killed.owner is not None
    os.kill(killed.owner.pid, signal.SIGKILL)
    os.killpg(killed.groups[1], signal.SIGKILL)
    (on.path / "hold").unlink()
    on.cluster.wait_for_end(job)
    assert on.counts(run) == {"done": 5, "interrupted": 1}
    assert "1 interrupted: its job script failed" in on.call("status", run).stdout
    assert "1 script in 1 task" in on.call("submit", "--resume", "--wait").stderr
    assert on.ran() == cases(*range(1, 7)) + cases(1)
    assert on.counts(run) == {"done": 6}


def test_a_task_that_sleeps_beyond_the_takeover_begins_nothing_twice(on: Submitting) -> None:
    """Who joins by hand takes what it has claimed; when it goes on it starts none of that."""
    on.copies(12, [], "import time\n" + BODY + "time.sleep(0.05)\n")
    (on.path / "hold").touch()
    run, job = on.submit("--tasks", "1", "-j", "2", "case*/script.py")
    wait_until(lambda: on.ran().total() == 2, "it is at work")
    owner = _session_of(on, run, 1).owner
    assert owner is not None
    os.kill(owner.pid, signal.SIGSTOP)
    (on.path / "hold").unlink()
    on.call("join", run, "-j", "1", "--takeover", "1", status=None)
    assert on.ran() == cases(*range(1, 13))
    os.kill(owner.pid, signal.SIGCONT)
    on.cluster.wait_for_end(job)
    assert on.ran() == cases(*range(1, 13))
    assert on.counts(run) == {"done": 12}


def test_what_waits_in_the_queue_is_refused_to_others_and_can_be_joined(on: Submitting) -> None:
    on.copies(3, [], BODY)
    run, job = on.submit("--tasks", "2", "--sbatch", "--hold", "case*/script.py")
    for words in (("run", "case1/script.py"), ("submit", "case*/script.py"), ("plan", "case2/script.py")):
        told = on.call(*words, status=2).stderr
        assert f"error: run {run} works on " in told and f"its job {job} is in Slurm's queue" in told
        assert f"hint: sharedenv join {run}, or --insist to begin them here as well" in told
    on.call("run", "case1/script.py", "--", "another")  # other arguments: another case
    on.call("run", "--insist", "case3/script.py")
    assert on.ran() == cases(1, 3)
    assert "has ended" in on.call("join", run).stderr
    assert on.ran() == cases(1, 3) + cases(1, 2, 3)
    on.cluster.call("scontrol", "release", job)
    assert set(on.cluster.wait_for_end(job).values()) == {"COMPLETED"}
    assert on.ran() == cases(1, 3) + cases(1, 2, 3)
    assert on.counts(run) == {"done": 3}
    on.call("run", "case1/script.py")  # it is over


def test_a_run_whose_job_was_cancelled_in_the_queue_is_in_nobody_s_way(on: Submitting) -> None:
    on.copies(2, [], BODY)
    run, job = on.submit("--sbatch", "--hold", "case*/script.py")
    on.cluster.call("scancel", job)
    on.call("run", "case1/script.py")
    assert not list((on.pool / "runs" / ".living").glob(run))
    assert "2 not run: its task was cancelled" in on.call("status", run).stdout


def test_a_failure_ends_all_tasks_and_attempts_are_counted_together(on: Submitting, tmp_path: Path) -> None:
    """The joblog is made by the last one."""
    on.copies(6, [], BODY)
    (on.path / "case1" / "bad").touch()
    (on.path / "case2" / "hold").touch()
    joblog = tmp_path / "log"
    run, job = on.submit("--tasks", "2", "--fail-fast", "--retries", "2", "--joblog", str(joblog), "--order", "given", "case*/script.py")
    wait_until(lambda: "failed" in on.counts(run), "one has failed")
    (on.path / "case2" / "hold").unlink()
    assert "FAILED" in on.cluster.wait_for_end(job).values()
    ran = on.ran()
    assert ran["case1"] == 2 and set(ran.values()) <= {1, 2} and ran.total() < 7, ran
    assert "--fail-fast" in on.call("status", run).stdout
    lines = [line.split("\t") for line in joblog.read_text().splitlines()[1:]]
    assert Counter(int(line[0]) for line in lines) == Counter({int(name.removeprefix("case")): number for name, number in ran.items()})
    (on.path / "case1" / "bad").unlink()
    on.call("submit", "--resume", "--wait")
    assert on.counts(run) == {"done": 6}
    assert set((on.ran() - ran).values()) == {1}
    assert len(joblog.read_text().splitlines()) == 1 + on.ran().total()


def test_cancel_stops_the_list_before_it_asks_slurm(on: Submitting, tmp_path: Path) -> None:
    """Who has joined by hand begins nothing more, whatever becomes of the job."""
    on.copies(4, [], BODY)
    (on.path / "hold").touch()
    run, _ = on.submit("--tasks", "1", "case*/script.py")
    wait_until(lambda: on.ran().total() == 1, "it is at work")
    (tmp_path / "scancel").write_text("#!/bin/sh\necho no answer >&2; exit 1\n")
    (tmp_path / "scancel").chmod(0o755)
    assert "scancel failed" in on.call("cancel", run, env={"PATH": f"{tmp_path}:{on.env['PATH']}"}, status=1).stderr
    (on.path / "hold").unlink()
    wait_until(lambda: on.counts(run) == {"done": 1, "left": 3}, "it ends")
    assert "3 not run: its task started nothing more: the run was told to stop" in on.call("status", run).stdout
    assert f"hint: sharedenv submit --resume --run-id {run}" in on.call("join", run, status=2).stderr
    on.call("submit", "--resume", "--wait")
    assert on.ran() == cases(1, 2, 3, 4)


def test_a_killed_and_requeued_task_leaves_to_resume_what_it_was_at_work_on(on: Submitting) -> None:
    """Nobody knows whether that is dead."""
    on.copies(3, [], "import signal\nsignal.signal(signal.SIGTERM, signal.SIG_IGN)\n" + BODY)
    (on.path / "case1" / "hold").touch()
    run, job = on.submit("--tasks", "1", "case*/script.py")
    wait_until(lambda: on.ran() == cases(1), "it is at work")
    first = _session_of(on, run, 1)
    assert first.owner is not None
    os.kill(first.owner.pid, signal.SIGSTOP)  # it can't put down what ends with it
    on.cluster.call("scontrol", "requeue", f"{job}_1")
    wait_until(lambda: on.cluster.states(job) == {f"{job}_1": "PENDING"}, "it waits again")
    wait_until(lambda: on.counts(run) == {"interrupted": 1, "done": 2}, "it starts again and ends")
    assert set(on.cluster.wait_for_end(job).values()) == {"FAILED"}  # a job that depends on it must not start
    (on.path / "case1" / "hold").unlink()
    on.call("submit", "--resume", "--wait")
    assert on.ran() == cases(1, 2, 3) + cases(1)


def test_what_took_longest_is_begun_first(on: Submitting) -> None:
    on.copies(4, [], "import os, time\ntime.sleep(0.4 * os.getcwd().endswith('case3'))\n" + BODY)
    on.call("run", "case*/script.py")
    (on.path / "ran").unlink()
    told = on.call("submit", "--wait", "--tasks", "1", "case*/script.py").stderr
    assert "longest first, by how long 4 scripts took before" in told
    assert (on.path / "ran").read_text().split()[0] == "case3"
    (on.path / "ran").unlink()
    on.call("submit", "--wait", "--tasks", "1", "--order", "given", "case*/script.py")
    assert (on.path / "ran").read_text().split()[0] == "case1"
