"""Never two processes in one case's folder, and never a stranger's job ended: clusters that share a disk, on a real Slurm."""

from __future__ import annotations

import contextlib
import re
import shlex
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from sharedenv.run.journal.runs import list_runs
from tests.cluster.test_slurm import BODY, Submitting, cases, on
from tests.pool.test_clocks import BODY as FAILS_FIRST
from tests.pool.test_clocks import LIBRARIES
from tests.slurm import Cluster, require_slurm, running_cluster, wait_until

__all__ = ["on"]  # the fixture

pytestmark = [pytest.mark.slurm, pytest.mark.xdist_group("second slurm"), pytest.mark.timeout(600)]


@pytest.fixture(scope="module", params=["local", "other"])
def other(request: pytest.FixtureRequest) -> Iterator[Cluster]:
    """A second cluster on the same disk, of another name or, as admins do, of the same."""
    require_slurm()
    with running_cluster(nodes=1, cpus=2, name=request.param) as cluster:
        yield cluster


def test_another_cluster_does_not_run_what_is_at_work(on: Submitting, other: Cluster) -> None:
    """Its squeue knows nothing of the job: the tasks' own signs count."""
    on.copies(4, [], BODY)
    (on.path / "hold").touch()
    run, job = on.submit("--tasks", "4", "case*/script.py")
    wait_until(lambda: on.ran() == cases(1, 2, 3, 4), "all run")
    there = {**on.env, **other.env}
    assert "4 running" in on.call("status", run, env=there).stdout
    assert "4 still in the queue" in on.call("submit", "--resume", env=there).stderr
    assert f"error: run {run} may not be over" in on.call("run", "--resume", env=there, status=2).stderr
    assert f"error: this cluster doesn't have the job of run {run}" in on.call("cancel", run, env=there, status=1).stderr
    (on.path / "hold").unlink()
    assert set(on.cluster.wait_for_end(job).values()) == {"COMPLETED"}
    assert "4 done" in on.call("status", run, env=there).stdout
    assert on.ran() == cases(1, 2, 3, 4)


def test_a_stranger_s_job_of_the_same_number_lives(on: Submitting, other: Cluster) -> None:
    """The number is given on each cluster, and again by a controller that numbers anew: ours is the one with our script."""
    on.copies(2, [], BODY)
    (on.path / "hold").touch()
    run, job = on.submit("--tasks", "2", "case*/script.py")
    wait_until(lambda: on.ran() == cases(1, 2), "both run")
    held = [other.call("sbatch", "--parsable", "-H", "-o", "/dev/null", "--wrap", "true")]
    while int(held[-1]) < int(job):
        held.append(other.call("sbatch", "--parsable", "-H", "-o", "/dev/null", "--wrap", "true"))
    if held[-1] != job:
        pytest.skip("the other cluster has given that number in an earlier test")
    there = {**on.env, **other.env}
    assert "this cluster doesn't have the job" in on.call("cancel", run, env=there, status=1).stderr
    assert other.states(job) == {job: "PENDING"}
    other.call("scancel", *held)
    assert on.counts(run) == {"running": 2}
    (on.path / "hold").unlink()
    wait_until(lambda: on.counts(run) == {"done": 2}, "the end")


def test_what_waits_on_another_cluster_is_not_submitted_here(on: Submitting, other: Cluster) -> None:
    """It has given no sign yet: where the clusters have names of their own, that of the submission is known."""
    if "ClusterName=local" in (other.folder / "slurm.conf").read_text():
        pytest.skip("two clusters of one name can't be told apart before a task gives a sign")
    on.copies(2, [], BODY)
    run, job = on.submit("--sbatch", "--hold", "case*/script.py")
    there = {**on.env, **other.env}
    assert "it was submitted to cluster local" in on.call("status", run, env=there).stdout
    assert "2 still in the queue" in on.call("submit", "--resume", env=there).stderr
    assert "it was submitted to cluster local" in on.call("run", "--resume", env=there, status=2).stderr
    assert "this cluster doesn't have the job" in on.call("cancel", run, env=there, status=1).stderr
    assert set(on.cluster.states(job).values()) == {"PENDING"}
    assert f"cancelled job {job}" in on.call("cancel", run).stderr


def test_no_answer_of_squeue_counts_as_living(on: Submitting) -> None:
    on.copies(1, [], BODY)
    run, job = on.submit("--sbatch", "--hold", "case1/script.py")
    there = (on.cluster.folder / "slurm.conf").read_text()
    (on.path / "slurm.conf").write_text(re.sub("SlurmctldPort=.*", "SlurmctldPort=1", there))  # where no controller listens
    silent = {**on.env, "SLURM_CONF": str(on.path / "slurm.conf")}
    assert f"error: run {run} may not be over" in on.call("run", "--resume", env=silent, status=2).stderr
    on.call("run", "--resume", "--insist", env=silent)
    assert on.ran() == cases(1)
    on.cluster.call("scancel", job)


def test_a_job_in_a_hidden_partition_is_in_the_queue(on: Submitting) -> None:
    on.copies(1, [], BODY)
    run, _ = on.submit("--sbatch", "--hold", "case1/script.py")
    on.cluster.call("scontrol", "update", "PartitionName=debug", "Hidden=yes")
    try:
        assert on.counts(run) == {"waiting": 1}
        assert "is still in Slurm's queue" in on.call("run", "--resume", status=2).stderr
    finally:
        on.cluster.call("scontrol", "update", "PartitionName=debug", "Hidden=no")


def test_a_task_requeued_while_its_node_lives_runs_no_case_twice(on: Submitting) -> None:
    """What a node that doesn't answer for long does: Slurm requeues its task, whose processes run on."""
    on.copies(4, [], BODY)
    (on.path / "case1/hold").touch()
    run, job = on.submit("--tasks", "1", "-j", "1", "case*/script.py")
    wait_until(lambda: on.ran() == cases(1), "the first case runs")
    node = on.cluster.call("squeue", "-h", "-r", "-j", job, "-o", "%N")
    with on.cluster.silent_node(node):
        wait_until(lambda: "PENDING" in on.cluster.states(job).values(), "Slurm puts it back")

        def waits() -> bool:
            with contextlib.suppress(AssertionError):
                on.cluster.call("scontrol", "update", f"jobid={job}_1", "StartTime=now")
            return on.log(run, job, 1).count("task 1 of 1 of run") == 2

        wait_until(waits, "it is started again")
        wait_until(lambda: on.counts(run) == {"running": 1, "done": 3}, "the second start has run what the first one had not begun")
        (on.path / "case1/hold").unlink()
        wait_until(lambda: on.counts(run) == {"done": 4}, "the first start ends its case")
    assert on.ran() == cases(1, 2, 3, 4)


@pytest.mark.skipif(not LIBRARIES, reason="needs libfaketime (apt-get install faketime)")
@pytest.mark.parametrize("stat", ["", "NO_FAKE_STAT=1"])
def test_what_a_later_array_has_done_is_done_though_clocks_were_ahead(on: Submitting, stat: str) -> None:
    """The tasks of the first one ran on nodes whose clocks were ahead: by their times they came last."""
    on.copies(2, [], FAILS_FIRST)
    ahead = f"export LD_PRELOAD={LIBRARIES[0]} FAKETIME=+10m FAKETIME_DONT_FAKE_MONOTONIC=1 {stat}"
    on.call("submit", "case*/script.py", "--tasks", "1", "--wait", "--setup", ahead, status=1)
    on.call("submit", "--resume", "--wait", "--setup", "true")
    assert "2 done" in on.call("status").stdout
    assert "nothing to submit" in on.call("submit", "--resume", "--setup", "true").stderr
    assert "nothing to run" in on.call("run", "--resume").stderr


WAITS = """\
echo 'sbatch: error: Slurm temporarily unable to accept job, sleeping and retrying' >&2
echo $$ >"$MARK"
until [ -e "$MARK.go" ]; do sleep 0.1; done
exec "$sbatch" "$@"
"""


def _waiting_submit(on: Submitting, tmp_path: Path) -> tuple[subprocess.Popen[str], int]:
    """`submit` in front of a full queue, and the number of its sbatch."""
    # named sbatch, as the real one is while it retries
    text = WAITS.replace("$MARK", str(tmp_path / "mark")).replace("$sbatch", str(shutil.which("sbatch")))
    (tmp_path / "sbatch").write_text(f"#!/bin/bash\n[ -n \"$AGAIN\" ] || AGAIN=1 exec -a sbatch bash \"$0\" \"$@\"\n{text}")
    (tmp_path / "sbatch").chmod(0o755)
    env = {"PATH": f"{tmp_path}:{on.env['PATH']}"}
    process = on.start("submit", "case*/script.py", "--tasks", "2", env={**on.env, **env})
    wait_until(lambda: (tmp_path / "mark").exists() and (tmp_path / "mark").read_text().strip(), "sbatch waits")
    return process, int((tmp_path / "mark").read_text())


@pytest.mark.parametrize("number", [signal.SIGHUP, signal.SIGTERM])
def test_a_lost_ssh_ends_the_sbatch_that_waits(on: Submitting, tmp_path: Path, number: signal.Signals) -> None:
    """It went on by itself, and got its job in beside that of `submit --resume`."""
    on.copies(2, [], BODY)
    process, sbatch = _waiting_submit(on, tmp_path)
    time.sleep(1.5)
    process.send_signal(number)
    _, told = process.communicate(timeout=60)
    assert "Slurm temporarily unable to accept job, sleeping and retrying" in told
    assert process.returncode == 130
    wait_until(lambda: not Path(f"/proc/{sbatch}").exists(), "sbatch has ended")
    (tmp_path / "mark.go").touch()
    on.call("submit", "--resume", "--wait")
    assert on.ran() == cases(1, 2)


def test_while_the_sbatch_of_a_submit_that_was_killed_waits_it_is_being_submitted(on: Submitting, tmp_path: Path) -> None:
    on.copies(2, [], BODY)
    process, _ = _waiting_submit(on, tmp_path)
    process.kill()
    process.communicate()
    assert "2 waiting: it is being submitted" in on.call("status").stdout
    assert "is being submitted" in on.call("submit", "--resume", status=2).stderr
    assert "it is being submitted" in on.call("run", "--resume", status=2).stderr
    (tmp_path / "mark.go").touch()
    wait_until(lambda: on.ran() == cases(1, 2), "the job has come in")
    assert "nothing to submit" in on.call("submit", "--resume").stderr
    assert on.ran() == cases(1, 2)


def test_srun_with_several_tasks_runs_nothing_twice(on: Submitting) -> None:
    """#SBATCH --ntasks=2 with srun in front: the tasks of the step are workers of one run, and so are those of all tasks of an array."""
    on.copies(4, [], BODY)
    on.call("build", "case*/script.py")
    own = f"{shlex.quote(sys.executable)} -m sharedenv"
    script = on.path / "job.sh"
    for array in ("", "--array=1,4"):
        script.write_text(f"#!/bin/bash\n#SBATCH --ntasks=2\nsrun {own} run {array and '--array'} -j1 'case*/script.py'\n")
        job = on.cluster.call("sbatch", "--parsable", *filter(None, [array]), f"--output={on.path}/out", str(script), env=on.env, cwd=on.path)
        assert set(on.cluster.wait_for_end(job).values()) == {"COMPLETED"}, (on.path / "out").read_text()
        assert on.ran() == cases(1, 2, 3, 4)
        (on.path / "ran").unlink()
    assert len(list_runs(str(on.pool / "runs"))) == 2
