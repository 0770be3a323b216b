"""`submit`, `status` and `cancel` on a real Slurm: arrays, throttle, requeue, cancelled tasks, dead nodes, time limits."""

from __future__ import annotations

import itertools
import json
import os
import re
import shlex
import shutil
import signal
import subprocess
import sys
import sysconfig
import time
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

import sharedenv
from sharedenv.run.journal.runs import open_run
from tests.conftest import Project
from tests.slurm import Cluster, require_slurm, running_cluster, wait_until

pytestmark = [pytest.mark.slurm, pytest.mark.xdist_group("slurm"), pytest.mark.timeout(600)]

PYTHON = shlex.quote(sys.executable)  #: as a shell takes it: a checkout may lie in a folder whose name has a space
#: a case that notes that it ran, and where; it waits while there is a file `hold`, and fails while there is a file `bad`
BODY = """\
import os, sys, time
with open("../ran", "a") as file:
    file.write(os.path.basename(os.getcwd()) + "\\n")
print("hello from", os.path.basename(os.getcwd()), *sys.argv[1:])
while os.path.exists("hold") or os.path.exists("../hold"):
    time.sleep(0.05)
if os.path.exists("bad"):
    sys.exit("negative density")
"""


class Submitting(Project):
    """A project on a cluster."""

    def __init__(self, project: Project, cluster: Cluster) -> None:
        super().__init__(project.path, {**project.env, **cluster.env, "TMPDIR": str(project.path.parent)})
        self.cluster = cluster

    def ran(self) -> Counter[str]:
        """How often each case was started."""
        path = self.path / "ran"
        return Counter(path.read_text().split()) if path.exists() else Counter()

    def submit(self, *arguments: str, **options: Any) -> tuple[str, str]:
        """Submits; the names of the run and of the array's job."""
        done = self.call("submit", *arguments, **options)
        found = re.search(r"of job (\d+)", done.stderr)
        assert found, done.stderr
        return done.stdout.strip(), found[1]

    def slurm(self, run: str) -> dict[str, Any]:
        """What `status --json` says of Slurm."""
        value: dict[str, Any] = json.loads(self.call("status", run, "--json").stdout)["slurm"]
        return value

    def counts(self, run: str) -> dict[str, int]:
        """How many cases stand how; words that count none are left out."""
        counts = self.slurm(run)["counts"]
        assert isinstance(counts, dict)
        return {word: number for word, number in counts.items() if number}

    def log(self, run: str, job: str, task: int) -> str:
        """Output of a task."""
        return (self.pool / "runs" / run / "slurm" / "1" / f"{job}_{task}.out").read_text()


@pytest.fixture
def on(project: Project, cluster: Cluster) -> Iterator[Submitting]:
    """A project whose shell reaches the cluster; its jobs are gone afterwards."""
    cluster.await_controller()
    yield Submitting(project, cluster)
    (project.path / "hold").unlink(missing_ok=True)
    cluster.await_controller()
    cluster.call("scancel", "--user", str(os.getuid()))
    wait_until(lambda: not cluster.call("squeue", "-h"), "the queue is empty")


def cases(*numbers: int) -> Counter[str]:
    return Counter(f"case{number}" for number in numbers)


def test_one_command_from_scripts_to_results(on: Submitting) -> None:
    """Each case once, in its own folder, with its arguments; many to a task; one environment; logs a task."""
    on.copies(30, ["alpha"], "import alpha\n" + BODY)
    done = on.call("submit", "--wait", "case*/script.py", "--", "a b", "$HOME")
    assert on.ran() == cases(*range(1, 31))
    assert "submitted 30 scripts in 8 tasks of job" in done.stderr  # what the cluster can run at once
    assert "30 scripts: 30 done" in done.stderr
    run = done.stdout.strip()
    assert f"what they print: .sharedenv/runs/{run}/slurm/1/" in done.stderr
    assert len(on.environments) == 1
    job = str(on.slurm(run)["jobs"][0])
    logs = "".join(on.log(run, job, task) for task in range(1, 9))
    assert sorted(re.findall("hello from (case.*) a b \\$HOME", logs)) == sorted(cases(*range(1, 31)))
    assert "30 scripts: 30 done" in on.call("status").stdout


@pytest.mark.parametrize("way", [(), ("--preload",)])
def test_a_task_starts_cases_as_a_shell_in_their_folders_would(way: tuple[str, ...], on: Submitting) -> None:
    """PWD is each case's folder, and commands of packages start, in a pool that was built for another place, too."""
    body = 'import os, subprocess\nout = open(os.path.join(os.environ["PWD"], "result.txt"), "a")\nsubprocess.run(["tool"], stdout=out)\n'
    on.copies(3, ["tool"], body)
    on.call("build", "case*/script.py")
    on.path = on.path.rename(on.path.parent / "moved")
    try:
        on.call("submit", "--wait", "--tasks", "1", *way, "case*/script.py")
        [environment] = on.environments
        for number in (1, 2, 3):
            assert (on.path / f"case{number}" / "result.txt").read_text() == f"tool in {environment}\n"
    finally:
        on.path.rename(on.path.parent / "project")


def test_a_failing_case_is_named_and_resume_runs_exactly_it(on: Submitting) -> None:
    on.copies(10, [], BODY)
    (on.path / "case7" / "bad").touch()
    done = on.call("submit", "--wait", "--tasks", "3", "case*/script.py", status=1)
    assert "9 done, 1 failed" in done.stderr
    assert "exit 1: negative density" in done.stderr
    assert "case7/script.py" in done.stderr
    run = done.stdout.strip()
    [again] = re.findall("to go on: sharedenv (.*)", done.stderr)
    assert again == f"submit --resume --run-id {run}"
    (on.path / "case7" / "bad").unlink()
    on.call(*again.split(), "--wait")
    assert on.ran() == cases(*range(1, 11)) + cases(7)
    assert on.counts(run) == {"done": 10}
    assert "nothing to submit" in on.call("submit", "--resume").stderr
    on.copies(12, [], BODY)
    assert "2 scripts in" in on.call("submit", "--resume", "--wait", "case*/script.py").stderr
    assert on.ran() == cases(*range(1, 13)) + cases(7)


def test_what_failed_on_slurm_and_succeeds_here_is_done(on: Submitting) -> None:
    on.copies(2, [], BODY)
    bad = [on.path / f"case{number}" / "bad" for number in (1, 2)]
    for path in bad:
        path.touch()
    run = on.call("submit", "--wait", "case*/script.py", status=1).stdout.strip()
    for path in bad:
        path.unlink()
    on.call("run", "--retry-failed")
    assert on.counts(run) == {"done": 2}
    told = on.call("status").stdout
    assert "2 scripts: 2 done" in told
    assert "to go on" not in told


def test_a_run_on_slurm_is_not_hidden_by_a_smaller_later_one(on: Submitting) -> None:
    on.copies(3, [], BODY)
    (on.path / "hold").touch()
    run, job = on.submit("--tasks", "1", "case*/script.py")
    wait_until(lambda: on.ran().total() == 1, "it runs")
    on.script("small/script.py")
    on.call("run", "small/script.py")
    queued = f"run {run} has job {job} in the queue: sharedenv status {run} or sharedenv cancel {run}\n"
    assert on.call("status").stdout.endswith(queued)
    for words in (("submit", "--resume"), ("run", "--retry-failed"), ("cancel",)):
        assert on.call(*words).stderr.endswith(queued)
    nowhere = {"PATH": _path_without_slurm(on)}
    assert f"run {run} may have a job in the queue, Slurm doesn't say: sharedenv status {run}" in on.call("status", env=nowhere).stdout
    on.call("cancel", run)
    on.cluster.wait_for_end(job)
    left = f"run {run} is unfinished (3 left to run): sharedenv submit --resume --run-id {run}\n"
    assert on.call("status").stdout.endswith(left)
    assert on.call("submit", "--resume").stderr.endswith(left)
    assert "unfinished" not in on.call("cancel").stderr  # there is nothing of it to cancel
    (on.path / "hold").unlink()
    on.call("submit", "--resume", "--run-id", run, "--wait")
    assert "Slurm doesn't say" not in on.call("status", env=nowhere).stdout  # nothing to ask about


def test_a_script_edited_before_its_task_starts_has_run_as_it_is(on: Submitting) -> None:
    on.copies(3, [], BODY)
    run, job = on.submit("--tasks", "1", "--sbatch", "--hold", "case*/script.py")
    path = on.path / "case2/script.py"
    path.write_text(path.read_text() + "print('the new text')\n")
    (on.path / "case3" / "hold").touch()
    on.cluster.call("scontrol", "release", job)
    wait_until(lambda: on.ran().total() == 3, "the last one runs")
    path = on.path / "case3/script.py"
    path.write_text(path.read_text() + "# later\n")
    (on.path / "case3" / "hold").unlink()
    on.cluster.wait_for_end(job)
    log = on.log(run, job, 1)
    assert "the new text" in log
    assert "warning: edited since they were submitted, run as they are now in the environments of then: case2/script.py\n" in log
    assert "warning: edited while the task was at work, so results may be of either text: case3/script.py\n" in log
    told = on.call("submit", "--resume", "--wait", "--sbatch", "--comment=not on hold").stderr
    assert "changed since they succeeded, run again: case3/script.py\n" in told
    assert on.ran() == cases(1, 2, 3) + cases(3)


def test_a_job_script_that_fails_is_named_with_what_it_printed(on: Submitting) -> None:
    on.copies(4, [], BODY)
    done = on.call("submit", "--wait", "--tasks", "2", "--setup", "no-such-module load gcc || exit 9", "case*/script.py", status=1)
    assert "4 not run: its job script failed, before its first script\n" in done.stderr
    [log] = re.findall(r"^    see (\S+) and 1 more$", done.stderr, re.MULTILINE)
    assert "no-such-module" in (on.path / log).read_text()


def test_no_more_tasks_at_once_than_asked(on: Submitting) -> None:
    on.copies(6, [], "import os, time\nopen('begin', 'w').close()\ntime.sleep(0.3)\nopen('end', 'w').close()")
    on.call("submit", "--wait", "--per-task", "2", "--max-running", "1", "case*/script.py")
    spans = sorted(
        ((on.path / f"case{n}/begin").stat().st_mtime, (on.path / f"case{n}/end").stat().st_mtime) for n in range(1, 7)
    )
    assert all(end <= begin for (_, end), (begin, _) in itertools.pairwise(spans))


def test_scripts_at_a_time_in_a_task(on: Submitting) -> None:
    """As many as the task has CPUs, unless -j says otherwise."""
    on.copies(3, [], "import os\nopen('begin', 'w').close()\n" + BODY)
    (on.path / "hold").touch()
    run, _ = on.submit("--tasks", "1", "-c", "2", "case*/script.py")
    wait_until(lambda: len(on.ran()) == 2, "two cases run")
    wait_until(lambda: on.counts(run) == {"running": 2, "waiting": 1}, "the heartbeat tells of them")
    time.sleep(0.5)
    assert len(on.ran()) == 2
    (on.path / "hold").unlink()
    wait_until(lambda: on.counts(run) == {"done": 3}, "the end")


@pytest.mark.parametrize("option", ["--exclusive", "--ntasks=4"])
def test_a_task_uses_all_the_cpus_it_has(on: Submitting, option: str) -> None:
    on.copies(5, [], BODY)
    (on.path / "hold").touch()
    on.submit("--tasks", "1", "--sbatch", option, "case*/script.py")
    wait_until(lambda: on.ran() == cases(1, 2, 3, 4), "as many as CPUs of the node run")


def test_run_in_a_job_of_one_s_own_uses_its_cpus(on: Submitting) -> None:
    """One, on a cluster that binds no job to its CPUs, however many the machine has."""
    on.copies(2, [], "import time\nprint('began', time.time())\ntime.sleep(0.3)\nprint('ended', time.time())\n")
    on.call("build", "case*/script.py")
    command = f"{PYTHON} -m sharedenv run --no-build 'case*/script.py'"
    job = on.cluster.call("sbatch", "--parsable", f"--output={on.path}/out", "--wrap", command, env=on.env, cwd=on.path)
    on.cluster.wait_for_end(job)
    words = [line.split() for line in (on.path / "out").read_text().splitlines() if line.startswith(("began", "ended"))]
    assert [word for word, _ in sorted(words, key=lambda pair: float(pair[1]))] == ["began", "ended"] * 2


def test_a_requeued_task_goes_on_where_it_stopped(on: Submitting) -> None:
    on.copies(6, [], BODY)
    (on.path / "case4" / "hold").touch()
    run, job = on.submit("--tasks", "1", "case*/script.py")
    wait_until(lambda: on.ran() == cases(1, 2, 3, 4), "the fourth case runs")
    on.cluster.call("scontrol", "requeue", f"{job}_1")
    wait_until(lambda: on.cluster.states(job) == {f"{job}_1": "PENDING"}, "it waits again")
    assert on.counts(run) == {"done": 3, "waiting": 3}
    (on.path / "case4" / "hold").unlink()

    # after cred_expire, for which Slurm lets a requeued job wait (two minutes where it is not set). To start it sooner, by
    # `scontrol update`, can end it by the word of its first start that comes late
    wait_until(lambda: on.counts(run) == {"done": 6}, "it starts again and ends")
    assert on.ran() == cases(1, 2, 3, 4, 5, 6) + cases(4)
    assert "task 1: 3 succeeded, 0 failed" in on.log(run, job, 1)
    assert on.counts(run) == {"done": 6}


def test_a_cancelled_task_leaves_its_case_to_resume_and_the_rest_to_the_others(on: Submitting) -> None:
    on.copies(6, [], BODY)
    (on.path / "hold").touch()
    run, job = on.submit("--tasks", "2", "case*/script.py")
    wait_until(lambda: on.ran() == cases(1, 2), "both tasks are at work")
    on.cluster.call("scancel", f"{job}_2")
    wait_until(lambda: on.cluster.states(job)[f"{job}_2"] == "CANCELLED", "one is cancelled")
    (on.path / "hold").unlink()
    wait_until(lambda: on.cluster.wait_for_end(job), "the other ends")
    assert on.counts(run) == {"done": 5, "interrupted": 1}
    told = on.call("status", run).stdout
    [cut_off] = re.findall("1 interrupted: its task was cancelled\n    case([12])/script.py\n", told)
    on.call("submit", "--resume", "--wait")
    assert on.counts(run) == {"done": 6}
    assert on.ran() == cases(1, 2, 3, 4, 5, 6) + cases(int(cut_off))


def test_what_all_tasks_left_is_told_with_what_ended_them(on: Submitting) -> None:
    on.copies(6, [], BODY)
    (on.path / "hold").touch()
    run, job = on.submit("--tasks", "2", "case*/script.py")
    wait_until(lambda: on.ran() == cases(1, 2), "both tasks are at work")
    on.cluster.call("scancel", job)
    on.cluster.wait_for_end(job)
    assert on.counts(run) == {"interrupted": 2, "left": 4}
    told = on.call("status", run).stdout
    assert "2 interrupted: its task was cancelled\n    case1/script.py, case2/script.py\n" in told
    assert "4 not run: its task was cancelled\n    case3/script.py, case4/script.py, case5/script.py and 1 more\n" in told


def test_a_dead_node_loses_cases_that_resume_runs(on: Submitting) -> None:
    """The node goes without a word: what ran there is lost, named with the node's failure, and run again; the rest others run."""
    on.copies(8, [], BODY)
    (on.path / "hold").touch()
    run, job = on.submit("--tasks", "2", "-j", "1", "--sbatch", "--no-requeue", "--sbatch", "--exclusive", "case*/script.py")
    wait_until(lambda: on.ran() == cases(1, 2), "both tasks are at work, each on its node")
    try:
        on.cluster.kill_node("node2")
        wait_until(lambda: "NODE_FAIL" in on.cluster.states(job).values(), "Slurm knows")
        (on.path / "hold").unlink()
        on.cluster.wait_for_end(job)
        assert on.counts(run) == {"done": 7, "interrupted": 1}
        assert len(on.call("status", run, "--list", "lost").stdout.split()) == 1
        told = on.call("status", run).stdout
        assert re.search(r"1 interrupted: its node failed \(\S+\)\n    case[12]/script.py\n", told)
    finally:
        on.cluster.revive_node("node2")
    on.call("submit", "--resume", "--wait")
    assert on.counts(run) == {"done": 8}
    assert on.ran().total() == 9


def test_a_task_requeued_by_a_dead_node_does_not_take_again_what_was_lost(on: Submitting) -> None:
    on.copies(4, [], BODY)
    (on.path / "hold").touch()
    run, job = on.submit("--tasks", "2", "-j", "1", "--sbatch", "--exclusive", "case*/script.py")
    wait_until(lambda: on.ran() == cases(1, 2), "both tasks are at work, each on its node")
    try:
        on.cluster.kill_node("node2")
        wait_until(lambda: "PENDING" in on.cluster.states(job).values(), "Slurm puts it back")
        (on.path / "hold").unlink()
        wait_until(lambda: on.counts(run) == {"done": 3, "interrupted": 1}, "the other task ends")
        told = r"1 interrupted: its task was started anew \(\S+ was silent\)\n    case[12]/script.py\n"
        assert re.search(told, on.call("status", run).stdout)
    finally:
        on.cluster.revive_node("node2")
    on.cluster.wait_for_end(job)
    assert re.search(told, on.call("status", run).stdout), "its second start has failed, since a case of the first is lost"


def test_the_time_limit_is_told_and_resumed(on: Submitting) -> None:
    """KILL at the limit: whatever the case was, nothing of it is taken for done."""
    on.copies(3, [], "import signal\nsignal.signal(signal.SIGTERM, signal.SIG_IGN)\n" + BODY)
    (on.path / "case2" / "hold").touch()
    # a grace beyond Slurm's own: it is Slurm that kills
    run, job = on.submit("--tasks", "1", "--time", "10", "--grace", "300", "case*/script.py")
    wait_until(lambda: on.ran() == cases(1, 2), "the second case runs")
    on.cluster.call("scontrol", "update", f"jobid={job}_1", "EndTime=now+2")
    assert set(on.cluster.wait_for_end(job, 240).values()) == {"TIMEOUT"}
    assert on.counts(run) == {"done": 1, "interrupted": 1, "left": 1}
    assert "1 interrupted: its task met its time limit" in on.call("status", run).stdout
    (on.path / "case2" / "hold").unlink()
    told = on.call("submit", "--resume", "--wait").stderr
    assert "cut off at the time limit before, which is still the same (--time): case2/script.py\n" in told
    assert on.ran() == cases(1, 2, 3) + cases(2)


def test_term_before_the_limit_lets_cases_finish_and_reports(on: Submitting) -> None:
    """What --signal=B:TERM@ sends: the case at work ends well, no other starts, and the task says so."""
    on.copies(3, [], BODY)
    (on.path / "case1" / "hold").touch()
    run, job = on.submit("--tasks", "1", "case*/script.py")
    wait_until(lambda: on.ran() == cases(1), "the first case runs")
    on.cluster.call("scancel", "--batch", "--signal=TERM", f"{job}_1")
    wait_until(lambda: "starting nothing more" in on.log(run, job, 1), "it drains")
    (on.path / "case1" / "hold").unlink()
    on.cluster.wait_for_end(job)
    assert on.counts(run) == {"done": 1, "left": 2}
    told = on.call("status", run).stdout
    assert "2 not run: its task started nothing more: SIGTERM, as comes near the time limit\n" in told
    assert f"    see .sharedenv/runs/{run}/slurm/1/{job}_1.out\n" in told
    on.call("submit", "--resume", "--wait")
    assert on.ran() == cases(1, 2, 3)


def test_the_margin_reaches_slurm(on: Submitting) -> None:
    on.copies(1, [], BODY)
    (on.path / "hold").touch()
    _, job = on.submit("--time", "30", "--margin", "2m", "case*/script.py")
    assert "TimeLimit=00:30:00" in on.cluster.call("scontrol", "show", "job", job)
    script = next((on.pool / "runs").glob("*/slurm/1/job.sh")).read_text()
    assert "#SBATCH --signal=B:TERM@120\n" in script
    done = on.call("submit", "--print", "case*/script.py", env={"SBATCH_TIMELIMIT": "2"})
    assert "#SBATCH --signal=B:TERM@12\n" in done.stdout


def test_a_build_job_comes_first(on: Submitting) -> None:
    on.copies(4, ["alpha"], "import alpha\n" + BODY)
    done = on.call("submit", "--build-job", "--wait", "case*/script.py")
    assert re.search(r"after job \d+ has built", done.stderr)
    assert not re.search("^built environment", done.stderr, re.MULTILINE)
    assert on.ran() == cases(1, 2, 3, 4)
    again = on.call("submit", "--build-job", "--wait", "case*/script.py")
    assert "has built" not in again.stderr  # nothing was missing


def test_options_of_building_reach_the_build_job(on: Submitting) -> None:
    on.copies(2, ["alpha"], BODY)  # which imports nothing: root may write bytecode into an environment
    on.call("submit", "--build-job", "--no-compile", "--offline", "--lock-timeout", "60", "--wait", "case*/script.py")
    [environment] = on.environments
    assert not list(environment.rglob("*.pyc"))
    assert "--offline --lock-timeout=60" in next((on.pool / "runs").glob("*/slurm/1/build.sh")).read_text()


def test_a_build_job_that_fails_ends_the_array(on: Submitting) -> None:
    """Not one task starts, nothing waits for ever, and the reason is told with the build's log."""
    on.copies(4, ["no-such-package"], BODY)
    run = on.call("submit", "--build-job", "--wait", "case*/script.py", status=1).stdout.strip()
    assert not on.ran()
    assert on.counts(run) == {"left": 4}
    told = on.call("status", run).stdout
    [log] = re.findall(r"4 not run: the job that builds for it failed: see (.*)", told)
    assert "no-such-package" in (on.path / log).read_text()


def test_a_build_that_fails_here_submits_nothing(on: Submitting) -> None:
    on.copies(4, ["no-such-package"], BODY)
    done = on.call("submit", "case*/script.py", status=3)
    assert "no-such-package" in done.stderr
    assert not on.cluster.call("squeue", "-h")
    assert not list((on.pool / "runs").iterdir())


def test_an_array_larger_than_the_cluster_takes(project: Project) -> None:
    """MaxArraySize is read from Slurm: the default packing fits, more than fits is an error that says what would."""
    require_slurm()
    with running_cluster(nodes=1, cpus=64, max_array_size=6) as cluster:
        on = Submitting(project, cluster)
        on.copies(12, [], BODY)
        done = on.call("submit", "--per-task", "1", "case*/script.py", status=2)
        assert "12 tasks are more than this cluster takes in one array: 5" in done.stderr
        assert "hint: sharedenv submit --per-task 3" in done.stderr
        assert "in 5 tasks" in on.call("submit", "--wait", "case*/script.py").stderr
        assert on.ran() == cases(*range(1, 13))


def test_ctrl_c_leaves_the_job(on: Submitting) -> None:
    on.copies(2, [], BODY)
    (on.path / "hold").touch()
    # a suite that runs in the background of a shell has INT ignored, and so have its children
    printed = on.path / "printed"
    with open(printed, "w") as file:
        process = on.start("submit", "--wait", "case*/script.py", prefix=("env", "--default-signal=INT"), stdout=file)
    wait_until(lambda: on.ran() == cases(1, 2), "it runs")
    # the run's name comes before the wait, and nothing between them takes its time
    wait_until(lambda: printed.read_text() and ") S " in Path(f"/proc/{process.pid}/stat").read_text(), "it waits")
    process.send_signal(signal.SIGINT)
    _, stderr = process.communicate(timeout=60)
    run = printed.read_text().strip()
    assert process.returncode == 130
    assert f"where it stands: sharedenv status {run}" in stderr
    (on.path / "hold").unlink()
    wait_until(lambda: on.counts(run) == {"done": 2}, "the job went on")


def test_who_waits_is_told_once_that_squeue_does_not_answer(on: Submitting, tmp_path: Path) -> None:
    on.copies(1, [], BODY)
    (on.path / "hold").touch()
    real = shutil.which("squeue", path=on.env["PATH"])
    (tmp_path / "squeue").write_text(f'#!/bin/sh\n[ ! -e {tmp_path}/down ] || {{ echo >> {tmp_path}/asked; echo no answer >&2; exit 1; }}\nexec {real} "$@"\n')
    (tmp_path / "squeue").chmod(0o755)
    (tmp_path / "down").touch()
    process = on.start("submit", "--wait", "case*/script.py", env={"PATH": f"{tmp_path}{os.pathsep}{on.env['PATH']}"})
    wait_until(lambda: (tmp_path / "asked").exists() and (tmp_path / "asked").stat().st_size > 1, "squeue is asked twice")
    (tmp_path / "down").unlink()
    (on.path / "hold").unlink()
    _, stderr = process.communicate(timeout=60)
    assert process.returncode == 0
    assert re.findall("warning: squeue does not answer.*", stderr) == [
        "warning: squeue does not answer, so this goes by the run's own files: no answer"
    ]


def test_a_run_that_waits_in_the_queue_is_called_submitted(on: Submitting) -> None:
    on.copies(2, [], BODY)
    (on.path / "case2" / "hold").touch()
    run, job = on.submit("--tasks", "2", "--sbatch", "--hold", "case*/script.py")

    def state() -> str:
        (listed,) = json.loads(on.call("status", "--all", "--json").stdout)["runs"]
        assert listed["state"] == json.loads(on.call("status", run, "--json").stdout)["state"]
        return str(listed["state"])

    assert state() == "submitted"
    assert f"{run}  submitted  0/2" in on.call("status", "--all").stdout
    on.cluster.call("scontrol", "release", f"{job}_1")
    wait_until(lambda: on.counts(run) == {"done": 1, "running": 1}, "one task is at work")
    assert state() == "running"
    on.cluster.call("scancel", f"{job}_1")
    wait_until(lambda: on.counts(run) == {"done": 1, "interrupted": 1}, "one task ends")
    assert state() == "submitted"
    on.cluster.call("scontrol", "release", f"{job}_2")
    wait_until(lambda: on.cluster.states(job)[f"{job}_2"] == "COMPLETED", "the other finds nothing to begin")
    (on.path / "case2" / "hold").unlink()
    on.call("submit", "--resume", "--wait")
    on.cluster.wait_for_end(job)
    assert state() == "done"


def test_cancel(on: Submitting) -> None:
    on.copies(3, [], BODY)
    (on.path / "hold").touch()
    run, job = on.submit("--tasks", "3", "--max-running", "1", "case*/script.py")
    wait_until(lambda: on.ran().total() == 1, "one task runs")
    assert f"cancelled job {job} of run {run}" in on.call("cancel").stderr
    assert set(on.cluster.wait_for_end(job).values()) == {"CANCELLED"}
    assert on.ran().total() == 1
    assert on.counts(run) == {"interrupted": 1, "left": 2}
    assert "no job in the queue" in on.call("cancel", run).stderr


def test_what_outlived_a_kill_of_its_task_is_named_and_ended(on: Submitting) -> None:
    """Slurm without cgroups leaves the children of a task that was killed; those of other tasks on the node are healthy."""
    on.copies(2, [], BODY)
    (on.path / "hold").touch()
    run, job = on.submit("--tasks", "2", "--sbatch", "--no-requeue", "case*/script.py")
    wait_until(lambda: on.ran() == cases(1, 2), "both tasks are at work")
    [killed] = [state for state in open_run(str(on.pool / "runs"), run).sessions() if 1 in state.running]
    assert killed.owner is not None
    os.kill(killed.owner.pid, signal.SIGKILL)
    wait_until(lambda: "FAILED" in on.cluster.states(job).values(), "Slurm knows")
    left = f"still running without it: case1/script.py; to end them: sharedenv cancel {run}\n"
    assert left in on.call("status", run).stdout
    assert "scripts of run" in on.call("submit", "--resume", status=2).stderr
    done = on.call("cancel", run).stderr
    assert f"cancelled job {job}" in done and "had left running: case1/script.py\n" in done
    on.cluster.wait_for_end(job)
    assert "still running" not in on.call("status", run).stdout
    (on.path / "hold").unlink()
    on.call(*re.findall(r"to go on: sharedenv (.*)", done)[0].split(), "--wait")
    assert on.counts(run) == {"done": 2}
    assert "no job in the queue" in on.call("cancel", run).stderr


def test_what_is_still_in_the_queue_is_not_submitted_again(on: Submitting) -> None:
    on.copies(4, [], BODY)
    (on.path / "case1" / "hold").touch()
    (on.path / "case2" / "bad").touch()
    run, job = on.submit("--tasks", "2", "case*/script.py")
    wait_until(lambda: "FAILED" in on.cluster.states(job).values(), "one task ends")
    (on.path / "case2" / "bad").unlink()
    done = on.call("run", "--resume", status=2)  # here, a case could run twice
    assert f"job {job} is still in Slurm's queue" in done.stderr
    done = on.call("submit", "--resume")
    assert "1 to run, 2 left as they are, 1 still in the queue" in done.stderr
    assert "submitted 1 script in 1 task" in done.stderr
    (on.path / "case1" / "hold").unlink()
    wait_until(lambda: on.counts(run) == {"done": 4}, "the end")
    assert on.ran() == cases(1, 2, 3, 4) + cases(2)


def test_what_is_given_with_resume_comes_first(on: Submitting) -> None:
    """Though the same was said with --sbatch then; and --hold is not asked again."""
    on.copies(1, [], BODY)
    (on.path / "case1/bad").touch()
    first = ["--sbatch", "--time=5", "--sbatch", "--mem-per-cpu 90", "--sbatch", "-H", "--sbatch", "--comment=kept"]
    _, job = on.submit(*first, "case1/script.py")
    on.cluster.call("scontrol", "release", job)
    assert set(on.cluster.wait_for_end(job).values()) == {"FAILED"}
    (on.path / "hold").touch()
    run, job = on.submit("--resume", "-t", "30", "--mem", "100")
    wait_until(lambda: on.counts(run) == {"running": 1}, "it runs, not held")
    shown = on.cluster.call("scontrol", "show", "job", job)
    assert "TimeLimit=00:30:00" in shown
    assert "MinMemoryNode=100M" in shown
    assert "Comment=kept" in shown
    assert "#SBATCH --signal=B:TERM@60\n" in (on.pool / "runs" / run / "slurm/2/job.sh").read_text()


def test_wait_belongs_to_one_call(on: Submitting) -> None:
    on.copies(1, [], BODY)
    (on.path / "case1/bad").touch()
    on.call("submit", "--wait", "case1/script.py", status=1)
    (on.path / "hold").touch()
    assert "where it stands: " in on.call("submit", "--resume").stderr


def test_resume_follows_what_is_still_in_the_queue(on: Submitting) -> None:
    """With --wait, whether there is something to submit beside it or not; what is told before is what is done."""
    on.copies(3, [], BODY)
    (on.path / "case1/hold").touch()
    (on.path / "case2/bad").touch()
    run, _ = on.submit("--tasks", "3", "case*/script.py")
    wait_until(lambda: on.counts(run) == {"running": 1, "done": 1, "failed": 1}, "two end")
    (on.path / "case2/bad").unlink()
    assert f"{run}/slurm/2" in on.call("submit", "--resume", "--print").stdout
    first = on.start("submit", "--resume", "--wait")
    wait_until(lambda: on.counts(run) == {"running": 1, "done": 2}, "the one that failed is run again")
    with open(said := on.path / "said", "w") as file:
        second = on.start("submit", "--resume", "--wait", stderr=file)
    wait_until(lambda: "nothing to submit" in said.read_text(), "it has begun to wait, too")
    assert first.poll() is None and second.poll() is None
    (on.path / "case1/hold").unlink()
    assert "1 to run, 1 left as they are, 1 still in the queue" in first.communicate(timeout=60)[1]
    second.communicate(timeout=60)
    told = said.read_text()
    assert "0 to run, 2 left as they are, 1 still in the queue" in told
    assert "3 scripts: 3 done" in told
    assert (first.returncode, second.returncode) == (0, 0)


def test_a_script_that_is_gone_is_not_submitted(on: Submitting) -> None:
    on.copies(2, [], BODY)
    for number in (1, 2):
        (on.path / f"case{number}/bad").touch()
    on.call("submit", "--wait", "case*/script.py", status=1)
    (on.path / "case1/script.py").unlink()
    told = on.call("submit", "--resume").stderr
    assert "1 to run, 0 left" in told
    assert "gone: case1/script.py" in told
    assert "submitted 1 script in" in told


def test_options_and_variables_of_sbatch(on: Submitting) -> None:
    """An option beats its variable, a variable beats our default, and --sbatch takes any other."""
    on.copies(1, [], BODY)
    (on.path / "hold").touch()
    variables = {"SBATCH_TIMELIMIT": "5", "SBATCH_JOB_NAME": "mine", "SBATCH_WAIT": "1", "SBATCH_ARRAY_INX": "1-9"}
    _, job = on.submit("--time", "7", "--sbatch", "--comment=it's a \"test\"", "--mem", "100", "case*/script.py", env=variables)
    shown = on.cluster.call("scontrol", "show", "job", job)
    assert "TimeLimit=00:07:00" in shown
    assert "JobName=mine" in shown
    assert "Comment=it's a \"test\"" in shown
    assert "MinMemoryNode=100M" in shown
    assert list(on.cluster.states(job)) == [f"{job}_1"]


def test_setup_lines_run_first_in_the_folder_of_the_submission(on: Submitting) -> None:
    on.copies(1, [], "import os\nprint('got', os.environ['MINE'])\n")
    (on.path / "profile").write_text("MINE='from the profile'\n")
    done = on.call("submit", "--wait", "--setup", ". ./profile", "--setup", "export MINE", "case*/script.py")
    log = next((on.pool / "runs" / done.stdout.strip()).glob("slurm/1/*_1.out")).read_text()
    assert "got from the profile" in log


def test_a_task_learns_of_ends_though_sigchld_was_ignored(on: Submitting) -> None:
    on.copies(6, [], "import signal, time\nprint(signal.getsignal(signal.SIGCHLD).name)\ntime.sleep(0.2)\n")
    done = on.call("submit", "--wait", "--preload", "--tasks", "1", "-j1", "--setup", "trap '' CHLD", "case*/script.py")
    assert "6 scripts: 6 done" in done.stderr
    log = "".join(path.read_text() for path in (on.pool / "runs" / done.stdout.strip()).glob("slurm/1/*.out"))
    assert log.count("SIG_DFL") == 6
    assert "ChildProcessError" not in log


def test_variables_for_another_python_reach_the_scripts_and_not_us(on: Submitting, tmp_path: Path) -> None:
    """What `module load` sets: neither the job that builds nor a task stumbles over it."""
    modules = tmp_path / "modules"
    modules.mkdir()
    for name in ("json", "click", "sharedenv"):
        (modules / f"{name}.py").write_text("raise SystemExit('not this one')")
    on.copies(1, ["alpha"], "import os\nprint('got', *map(os.environ.get, ('PYTHONPATH', 'PYTHONHOME', 'PYTHONEXECUTABLE')))\n")
    setup = f"export PYTHONPATH={modules} PYTHONHOME={tmp_path} PYTHONEXECUTABLE=/usr/bin/python3"
    run = on.call("submit", "--wait", "--build-job", "--setup", setup, "case*/script.py").stdout.strip()
    assert f"got {modules} None None" in next((on.pool / "runs" / run).glob("slurm/1/*_1.out")).read_text()


def test_jobs_find_us_where_a_variable_alone_says_where_we_are(on: Submitting, tmp_path: Path) -> None:
    """`pip install --target`: PYTHONPATH is known where one submits, a task need not have it."""
    packages = tmp_path / "packages"
    packages.mkdir()
    for path in [*Path(sysconfig.get_path("purelib")).iterdir(), Path(sharedenv.__file__).parent]:
        if not (packages / path.name).exists():
            (packages / path.name).symlink_to(path)
    on.copies(1, ["alpha"], BODY)
    subprocess.run(
        [os.path.realpath(sys.executable), "-m", "sharedenv", "submit", "--wait", "--build-job", "--setup", "unset PYTHONPATH", "case1/script.py"],
        env={**on.env, "PYTHONPATH": str(packages)}, cwd=on.path, timeout=120, check=True,
    )
    assert on.ran() == cases(1)


def test_an_output_of_one_s_own_is_where_it_is_said_to_be(on: Submitting) -> None:
    """From the folder of the submission, though its tasks run elsewhere; in a pool whose name Slurm would expand, too."""
    on.copies(1, [], BODY)
    (on.path / "logs").mkdir()
    pool = on.path / "100%" / ".sharedenv"
    done = on.call("--pool", str(pool), "submit", "--wait", "--sbatch", "--output=logs/%A_%a.out", "case1/script.py")
    [told] = re.findall("what they print: (.*)", done.stderr)
    [log] = on.path.glob(told)
    assert log.parent == on.path / "logs"
    assert "hello from case1" in log.read_text()


def test_a_dependency_of_one_s_own_leaves_the_build_first(on: Submitting) -> None:
    on.copies(1, ["alpha"], BODY)
    run, job = on.submit("--build-job", "--sbatch", "--dependency=singleton", "--sbatch", "--hold", "case*/script.py")
    build = json.loads((on.pool / "runs" / run / "slurm/1/job.json").read_text())["build"]
    shown = on.cluster.call("squeue", "-h", "-j", job, "-o", "%E")
    assert set(re.findall(r"[^,()]+(?=\()", shown)) == {f"afterok:{build}", "singleton"}
    on.call("cancel")
    assert "1 not run: the job that builds for it was cancelled" in on.call("status", run).stdout


def test_print_shows_the_script_and_does_nothing(on: Submitting) -> None:
    on.copies(30, ["alpha"], BODY)
    done = on.call("submit", "--print", "--time", "1:00:00", "--setup", "module load gcc", "case*/script.py")
    assert done.stdout.startswith("#!/bin/bash\n#SBATCH --job-name=sharedenv-RUN\n")
    assert "#SBATCH --array=1-8\n" in done.stdout
    assert "\nmodule load gcc\ntrap - ERR\nunset PYTHONEXECUTABLE\nexec " in done.stdout
    assert "--dependency" not in done.stdout
    assert "#SBATCH --dependency=afterok:BUILD\n" in on.call("submit", "--print", "--build-job", "case*/script.py").stdout
    assert not on.cluster.call("squeue", "-h")
    assert not on.pool.exists()


def test_a_job_that_sbatch_refuses_leaves_nothing(on: Submitting) -> None:
    on.copies(2, [], BODY)
    done = on.call("submit", "--partition", "nowhere", "case*/script.py", status=1)
    assert "sbatch did not take the job" in done.stderr
    assert "invalid partition" in done.stderr
    assert not list((on.pool / "runs").glob("[!.]*")) and not list((on.pool / "runs" / ".living").iterdir())


def _in_place_of_sbatch(on: Submitting, tmp_path: Path, text: str) -> dict[str, str]:
    """The real sbatch is called by "$sbatch" in this shell script."""
    (tmp_path / "sbatch").write_text(f"#!/bin/sh\nsbatch={shutil.which('sbatch')}\n{text}\n")
    (tmp_path / "sbatch").chmod(0o755)
    return {"PATH": f"{tmp_path}:{on.env['PATH']}"}


TIMED_OUT = "echo 'sbatch: error: Batch job submission failed: Socket timed out on send/recv operation' >&2; exit 1"


def test_an_answer_of_sbatch_that_got_lost(on: Submitting, tmp_path: Path) -> None:
    """What a busy controller does: it takes the job, and its answer comes too late."""
    on.copies(2, [], BODY)
    lost = _in_place_of_sbatch(on, tmp_path, f'"$sbatch" "$@" >/dev/null; {TIMED_OUT}')
    assert "2 scripts: 2 done" in on.call("submit", "--wait", "case*/script.py", env=lost).stderr
    assert on.ran() == cases(1, 2)


def test_a_job_that_squeue_knows_too_late_is_in_the_queue_for_all_commands(on: Submitting, tmp_path: Path) -> None:
    """No id of it is written down: `run --resume` ran its cases beside it, and `prune --all` took its pool."""
    on.copies(1, [], BODY)
    dead = f'"$sbatch" "$@" >/dev/null; printf "#!/bin/sh\\nexit 1\\n" >{tmp_path}/squeue; chmod +x {tmp_path}/squeue; {TIMED_OUT}'
    env = _in_place_of_sbatch(on, tmp_path, dead)
    assert "can't tell whether the job is in Slurm's queue" in on.call("submit", "--sbatch", "--hold", "case1/script.py", env=env, status=1).stderr
    (run,) = (path.name for path in (on.pool / "runs").glob("[!.]*"))
    assert json.loads((on.pool / "runs" / run / "slurm/1/job.json").read_text())["job"] == ""
    assert "error: squeue does not answer" in on.call("submit", "--resume", "--run-id", run, env=env, status=1).stderr
    old = time.time() - 3600  # what is young is needed in any case
    os.utime(on.pool / "runs" / run / "slurm/1/array.json", (old, old))
    asked = on.pool / "runs" / run / "run.json"
    asked.write_text(json.dumps({**json.loads(asked.read_text()), "created": old}))
    assert f"run {run} is not over: job " in on.call("run", "--resume", "--run-id", run, status=2).stderr
    assert "kept the pool" in on.call("prune", "--all", status=None).stderr
    assert "cancelled job" in on.call("cancel", run).stderr
    assert on.ran() == Counter()


def test_two_that_go_on_with_a_run_at_once(on: Submitting, tmp_path: Path) -> None:
    """Nothing is submitted twice, scripts new to the run included: who comes second is refused in words."""
    on.copies(2, [], BODY)
    (on.path / "case1/bad").touch()
    run = on.call("submit", "--wait", "case*/script.py", status=1).stdout.strip()
    on.copies(4, [], BODY)
    slow = _in_place_of_sbatch(on, tmp_path, 'sleep 1; exec "$sbatch" "$@"')
    both = [on.start("submit", "--resume", "--run-id", run, "case*/script.py", env=slow) for _ in range(2)]
    told = [process.communicate(timeout=60)[1] for process in both]
    assert sorted(process.returncode for process in both) == [0, 2], told
    assert f"error: run {run} is being submitted: " in "".join(told)
    assert "submitted 3 scripts" in "".join(told)
    wait_until(lambda: on.counts(run) == {"done": 3, "failed": 1}, "the end")
    assert on.ran() == cases(1, 2, 3, 4) + cases(1)


def test_a_run_that_another_hands_to_sbatch_is_not_submitted(on: Submitting, tmp_path: Path) -> None:
    on.copies(1, [], BODY)
    slow = _in_place_of_sbatch(on, tmp_path, f'until [ -e {tmp_path}/go ]; do sleep 0.1; done; exec "$sbatch" "$@"')
    process = on.start("submit", "--build-job", "case1/script.py", env=slow)
    wait_until(lambda: list((on.pool / "runs").glob("*/slurm/1/build.sh")), "sbatch is called")
    assert f"process {process.pid} on " in on.call("submit", "--resume", status=2).stderr
    (tmp_path / "go").touch()
    process.communicate(timeout=60)
    wait_until(lambda: on.ran() == cases(1), "the case has run")


def test_a_job_that_may_be_in_the_queue_keeps_its_run(on: Submitting, tmp_path: Path) -> None:
    on.copies(1, [], BODY)
    done = on.call("submit", "case1/script.py", env=_in_place_of_sbatch(on, tmp_path, TIMED_OUT), status=1)
    assert "can't tell whether the job is in Slurm's queue" in done.stderr
    assert "Socket timed out" in done.stderr
    assert "hint: squeue --me " in done.stderr
    [again] = re.findall("if the job is not in the queue: sharedenv (.*)", done.stderr)
    on.call(*again.split(), "--wait")
    assert on.ran() == cases(1)


def test_ctrl_c_while_sbatch_is_at_work(on: Submitting, tmp_path: Path) -> None:
    on.copies(1, [], BODY)
    (on.path / "hold").touch()
    slow = _in_place_of_sbatch(on, tmp_path, '"$sbatch" "$@" >/dev/null; sleep 100')
    process = on.start("submit", "case1/script.py", env=slow, prefix=("env", "--default-signal=INT"))
    wait_until(lambda: on.ran() == cases(1), "the job runs")
    process.send_signal(signal.SIGINT)
    _, stderr = process.communicate(timeout=60)
    assert process.returncode == 130
    [run] = re.findall("run (.*) is kept", stderr)
    wait_until(lambda: on.counts(run) == {"running": 1}, "it is found in the queue")
    assert "nothing to submit" in on.call("submit", "--resume").stderr
    (on.path / "hold").unlink()
    wait_until(lambda: on.counts(run) == {"done": 1}, "the end")
    assert on.ran() == cases(1)


def test_staged_tasks_run_from_the_node_s_own_disk(on: Submitting) -> None:
    on.copies(4, ["tool"], "import sys, tool\nopen('prefix', 'w').write(sys.prefix)")
    on.call("submit", "--wait", "--stage", "--tasks", "2", "case*/script.py")
    prefixes = {(on.path / f"case{n}/prefix").read_text() for n in range(1, 5)}
    [prefix] = prefixes
    assert prefix.startswith(f"{on.path.parent}/sharedenv-{os.getuid()}/")


def test_a_task_without_its_environment_says_so(on: Submitting) -> None:
    on.copies(2, ["alpha"], BODY)
    on.call("build", "case1/script.py")
    # hold the job until the environment is gone
    run, job = on.submit("--tasks", "1", "--sbatch", "--hold", "case*/script.py")
    for key in (on.pool / "keys").iterdir():
        key.unlink()
    on.cluster.call("scontrol", "release", job)
    on.cluster.wait_for_end(job)
    assert not on.ran()
    assert "it is not in the pool" in on.log(run, job, 1)
    assert on.counts(run) == {"left": 2}
    on.call("submit", "--resume", "--wait")  # which does not hold again
    assert on.counts(run) == {"done": 2}


def test_a_task_whose_run_was_purged_says_so(on: Submitting) -> None:
    on.copies(1, [], BODY)
    run, job = on.submit("--sbatch", "--hold", "case1/script.py")
    (on.pool / "runs" / run / "slurm" / "1" / "plan.jsonl").unlink()
    on.cluster.call("scontrol", "release", job)
    on.cluster.wait_for_end(job)
    log = on.log(run, job, 1)
    assert f"\nerror: run {run} can't be read\n  cause: No such file or directory: " in log
    assert "Traceback" not in log


def test_a_slurm_that_may_not_be_started(on: Submitting) -> None:
    on.copies(1, [], BODY)
    run = on.call("submit", "--wait", "case1/script.py").stdout.strip()
    nowhere = _path_without_slurm(on)
    (on.path.parent / "no-slurm/squeue").touch()
    told = on.call("status", run, env={"PATH": nowhere}).stdout
    assert "squeue did not answer" in told
    assert "Permission denied" in told


def test_status_without_slurm_says_what_the_files_say(on: Submitting) -> None:
    on.copies(2, [], BODY)
    run, job = on.submit("case*/script.py")
    on.cluster.wait_for_end(job)
    nowhere = {"PATH": _path_without_slurm(on)}
    done = on.call("status", run, env=nowhere)
    assert "2 scripts: 2 done" in done.stdout
    assert "squeue did not answer" in done.stdout
    assert "hint: sharedenv run" in on.call("submit", "case*/script.py", env=nowhere, status=2).stderr
    kept = f"kept {on.environments[0].name}: run {run} may need it: Slurm can't be asked whether it is over\n"
    assert kept in on.call("prune", "--unused-for", "0d", env=nowhere).stdout
    assert "needs it" not in on.call("prune", "--unused-for", "0d", "--dry-run").stdout


def test_a_task_starts_no_uv_opens_no_connection_and_writes_to_no_environment(on: Submitting, tmp_path: Path) -> None:
    if shutil.which("strace") is None:
        pytest.skip("no strace on this machine")
    on.copies(3, ["tool"], "import tool\n" + BODY)
    on.call("build", "case1/script.py")
    trace = tmp_path / "trace"
    attach = f"strace -f -qq -y -s 4096 -o {trace} -e trace=execve,connect,%file,fchmod,fchown,ftruncate -p $$ & sleep 2"
    on.call("submit", "--wait", "--tasks", "1", "--setup", attach, "case*/script.py")
    assert on.ran() == cases(1, 2, 3)
    lines = trace.read_text(errors="replace").splitlines()
    programs = {match[1] for line in lines if (match := re.search(r'execve\("([^"]*)".* = 0', line))}
    assert any(program.endswith("/bin/python") for program in programs), programs
    assert not [program for program in programs if os.path.basename(program).startswith("uv")]
    assert not [line for line in lines if "connect(" in line and "AF_INET" in line]
    guarded = "|".join(re.escape(str(on.pool / name)) + "/" for name in ("envs", "keys", "index"))
    changes = r"O_WRONLY|O_RDWR|O_CREAT|mkdir|rename|unlink|symlink|\blink|rmdir|chmod|chown|truncate|utime"
    assert not [line for line in lines if re.search(guarded, line) and re.search(changes, line) and "ENOENT" not in line]


def test_sharedenv_run_in_an_array_job_of_one_s_own(on: Submitting) -> None:
    """Whatever their numbers: a range with a step, a list with gaps. Each array runs all, once."""
    on.copies(23, [], BODY)
    on.call("build", "case*/script.py")
    command = f"{PYTHON} -m sharedenv run --no-build --array 'case*/script.py'"
    for array in ("5-50:5", "1,3,7"):
        job = on.cluster.call(
            "sbatch", "--parsable", f"--array={array}", f"--output={on.path}/%a.out", "--wrap", command, env=on.env, cwd=on.path
        )
        assert set(on.cluster.wait_for_end(job).values()) == {"COMPLETED"}
        assert on.ran() == cases(*range(1, 24))
        (on.path / "ran").unlink()


def test_srun_with_a_task_prolog(on: Submitting, tmp_path: Path) -> None:
    on.script("case1/script.py", ["tool"])
    on.call("build", "case1/script.py")
    prolog = tmp_path / "prolog.sh"
    prolog.write_text(f"#!/bin/sh\ncd {on.path}\nexec {PYTHON} -m sharedenv activate --no-build --taskprolog case1/script.py\n")
    prolog.chmod(0o755)
    done = subprocess.run(
        ["srun", f"--task-prolog={prolog}", "-n", "2", "tool"],
        env=on.env, cwd=on.path, capture_output=True, text=True, timeout=120, check=True,
    )
    assert done.stdout == f"tool in {on.environments[0]}\n" * 2
    (on.pool / "keys").rename(on.pool / "no keys")
    (on.pool / "index").rename(on.pool / "no index")
    done = subprocess.run(
        ["srun", f"--task-prolog={prolog}", "-n", "1", "tool"], env=on.env, cwd=on.path, capture_output=True, text=True, timeout=120, check=False
    )
    assert done.returncode != 0
    assert done.stdout.startswith("error: an environment is not built")
    assert "hint: sharedenv build case1/script.py" in done.stdout


def _path_without_slurm(on: Submitting) -> str:
    folder = on.path.parent / "no-slurm"
    folder.mkdir(exist_ok=True)
    rest = on.env["PATH"].split(os.pathsep)[:2]
    # Debian's Python lies beside Slurm
    python = [] if all(shutil.which("squeue", path=entry) is None for entry in rest) else ["python3", f"python3.{sys.version_info.minor}"]
    for program in ("sh", "bash", "env", "ldd", *python):
        if (found := shutil.which(program)) and not (folder / program).exists():
            (folder / program).symlink_to(found)
    return os.pathsep.join([str(folder), *(entry for entry in rest if shutil.which("squeue", path=entry) is None)])
