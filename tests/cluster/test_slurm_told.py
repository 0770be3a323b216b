"""What a run on Slurm says of its end is what has happened: on a real Slurm."""

from __future__ import annotations

import json
import os
import re
import shlex
import shutil
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.cluster.test_slurm import BODY, Submitting, cases, on
from tests.conftest import Project
from tests.slurm import Cluster, require_slurm, running_cluster, wait_until

__all__ = ["on"]

pytestmark = [pytest.mark.slurm, pytest.mark.xdist_group("second slurm"), pytest.mark.timeout(600)]


def assert_alike(on: Submitting, run: str, endings: dict[str, tuple[int, ...]]) -> None:
    """`status --list` and `--json` name the scripts that ended so, by their numbers, and the text counts them."""
    named = {ending: [f"case{number}/script.py" for number in numbers] for ending, numbers in endings.items()}
    assert {ending: on.call("status", run, "--list", ending).stdout.split() for ending in endings} == named
    document = json.loads(on.call("status", run, "--json").stdout)
    interrupted = named["interrupted"]
    assert [os.path.relpath(case["script"], on.path) for case in document["interrupted"]] == interrupted
    found = [case for case in document["slurm"]["cases"] if case["state"] == "interrupted"]
    assert [os.path.relpath(case["script"], on.path) for case in found] == interrupted
    text = on.call("status", run).stdout
    for word, ending in (("interrupted", "interrupted"), ("not run", "not-run")):
        assert (f"{len(endings[ending])} {word}: " in text) == bool(endings[ending]), text


def test_what_was_at_work_at_the_time_limit_is_interrupted(on: Submitting) -> None:
    on.copies(8, [], BODY)
    (on.path / "hold").touch()
    run, job = on.submit("--tasks", "2", "--time", "10", "--grace", "300", "case*/script.py")
    wait_until(lambda: on.ran() == cases(1, 2), "both tasks are at work")
    for task in (1, 2):
        on.cluster.call("scontrol", "update", f"jobid={job}_{task}", "EndTime=now+2")
    assert set(on.cluster.wait_for_end(job, 240).values()) == {"TIMEOUT"}
    assert_alike(on, run, {"interrupted": (1, 2), "not-run": (3, 4, 5, 6, 7, 8), "failed": (), "succeeded": ()})
    again = on.call("submit", "--resume", "--print").stderr
    assert "cut off at the time limit before, which is still the same (--time): case1/script.py, case2/script.py\n" in again
    assert "cut off" not in on.call("submit", "--resume", "--time", "20", "--print").stderr


def test_what_was_at_work_when_its_task_was_cancelled_is_interrupted(on: Submitting) -> None:
    on.copies(4, [], BODY)
    (on.path / "case2" / "hold").touch()
    run, job = on.submit("--tasks", "1", "case*/script.py")
    wait_until(lambda: on.ran() == cases(1, 2), "the second case runs")
    on.call("cancel", run)
    on.cluster.wait_for_end(job)
    assert_alike(on, run, {"interrupted": (2,), "not-run": (3, 4), "lost": (), "failed": (), "succeeded": (1,)})


@pytest.mark.parametrize("way", ["afterok", "afternotok", "aftercorr"])
def test_a_dependency_that_can_never_be_met_ends_the_run(on: Submitting, way: str) -> None:
    """Whoever waits is told, and --resume has nothing in its way."""
    on.copies(2, [], BODY)
    before = on.cluster.call("sbatch", "--parsable", "--hold", "-o", "/dev/null", "--wrap", f"exit {int(way != 'afternotok')}", env=on.env)
    waits = on.start("submit", "--wait", "--tasks", "2", "--sbatch", f"--dependency={way}:{before}", "case*/script.py")
    wait_until(lambda: "Dependency" in on.cluster.call("squeue", "-h", "-o", "%r"), "it is in the queue")
    on.cluster.call("scontrol", "release", before)
    _, told = waits.communicate(timeout=90)
    assert waits.returncode == 1
    assert "2 not run: the job that it depends on did not end as --dependency asks\n    case1/script.py, case2/script.py\n" in told
    assert not on.ran()
    [again] = re.findall("to go on: sharedenv (.*)", told)
    goes_on = on.call(*again.split(), "--print")
    assert "2 to run" in goes_on.stderr
    assert "--dependency" not in goes_on.stdout


@pytest.mark.parametrize("more", [(), ("--build-job",)])
def test_a_line_of_setup_that_fails_is_told_and_no_script_is_run(on: Submitting, more: tuple[str, ...]) -> None:
    on.copies(4, ["alpha"] if more else [], BODY)
    told = on.call("submit", "--wait", "--tasks", "2", *more, "--setup", "no-such-module load gcc/99", "case*/script.py", status=1).stderr
    if more:
        [log] = re.findall("4 not run: the job that builds for it failed: see (.*)", told)
        assert "error: --setup failed with status 127: no-such-module load gcc/99\n" in (on.path / log).read_text()
    else:
        assert "4 not run: its job script failed, before its first script\n" in told
        assert re.search("    see .*_1.out and 1 more\n      error: --setup failed with status 127: no-such-module load gcc/99\n", told)
    assert not on.ran()


def test_a_job_script_that_ends_by_itself_has_run_nothing(on: Submitting) -> None:
    on.copies(2, [], BODY)
    told = on.call("submit", "--wait", "--tasks", "1", "--setup", "echo no licence today; exit 0", "case*/script.py", status=1).stderr
    assert "2 not run: its task ended without reporting\n" in told
    assert "_1.out\n      no licence today\n" in told


def test_a_script_that_takes_its_task_down_again_and_again_is_run_last_and_named(on: Submitting) -> None:
    on.copies(4, [], BODY + 'if os.path.exists("deadly"):\n    os.kill(os.getppid(), 9)\n')
    (on.path / "case2/deadly").touch()
    on.call("submit", "--wait", "--tasks", "1", "case*/script.py", status=1)
    assert on.ran() == cases(1, 2)
    told = on.call("submit", "--resume", "--wait", "--tasks", "1", status=1).stderr
    assert (on.path / "ran").read_text().split() == ["case1", "case2", "case3", "case4", "case2"]
    assert "3 done, 1 interrupted\n" in told
    assert "warning: took their worker down: case2/script.py (2 times)\n" in told
    assert "warning: took their worker down: case2/script.py (2 times)\n" in on.call("status").stdout


@pytest.mark.parametrize("where", ["", "logs"])
def test_a_node_that_may_not_write_is_named_with_what_slurm_says(on: Submitting, where: str) -> None:
    """Here a folder is in the place of the output: what the node meets when it opens it is an error, as on a disk that is read-only there."""
    on.copies(2, [], BODY)
    output = ("--sbatch", f"--output={where}/%A_%a.out") if where else ()
    (on.path / "logs").mkdir()
    run, job = on.submit("--tasks", "1", "--sbatch", "--hold", *output, "case*/script.py")
    folder = on.path / where if where else on.pool / "runs" / run / "slurm/1"
    (folder / f"{job}_1.out").mkdir()
    on.cluster.call("scontrol", "release", job)
    on.cluster.wait_for_end(job)
    told = on.call("status", run).stdout
    assert re.search(r"2 not run: Slurm could not start its task on node[12] \(JobLaunchFailure\): does that node see the folder of its output,", told)
    assert f"{on.pool}/runs/{run}/slurm/1 unless --output says otherwise, and may it write there?\n" in told


def in_place_of_squeue(on: Submitting, tmp_path: Path, change: str) -> dict[str, str]:
    """The real squeue, whose words are changed by an expression of sed: there are no cgroups here by which Slurm would see to memory."""
    (tmp_path / "squeue").write_text(f'#!/bin/sh\n{shutil.which("squeue")} "$@" | sed -E {shlex.quote(change)}\n')
    (tmp_path / "squeue").chmod(0o755)
    return {"PATH": f"{tmp_path}:{on.env['PATH']}"}


def test_a_task_out_of_memory_whose_scripts_succeeded_is_told(on: Submitting, tmp_path: Path) -> None:
    """A worker that a script had started was killed, and the script went on without it: `--wait` and `status` say so."""
    on.copies(4, [], BODY)
    starved = in_place_of_squeue(on, tmp_path, r"s/\|1\|(COMPLETED|FAILED)\|/|1|OUT_OF_MEMORY|/")
    done = on.call("submit", "--wait", "--tasks", "1", "case*/script.py", env=starved)
    run = done.stdout.strip()
    told = re.compile(
        "4 scripts: 4 done\n  warning: task 1 ran out of memory, though 4 scripts of it succeeded\n"
        "    case1/script.py, case2/script.py, case3/script.py and 1 more\n    see .*/slurm/1/.*_1.out\n"
    )
    assert told.search(done.stderr)
    assert told.search(on.call("status", run, env=starved).stdout)
    document = json.loads(on.call("status", run, "--json", env=starved).stdout)["slurm"]["out_of_memory"]
    assert [(task["task"], len(task["succeeded"])) for task in document] == [(1, 4)]
    assert "out of memory" not in on.call("status", run).stdout


def test_of_a_task_out_of_memory_what_succeeded_is_named_beside_what_failed(on: Submitting, tmp_path: Path) -> None:
    on.copies(4, [], BODY)
    (on.path / "case2" / "bad").touch()
    starved = in_place_of_squeue(on, tmp_path, r"s/\|1\|(COMPLETED|FAILED)\|/|1|OUT_OF_MEMORY|/")
    told = on.call("submit", "--wait", "--tasks", "1", "case*/script.py", env=starved, status=1).stderr
    assert "3 done, 1 failed" in told
    assert "task 1 ran out of memory, though 3 scripts of it succeeded\n    case1/script.py, case3/script.py, case4/script.py\n" in told


def test_of_a_task_out_of_memory_of_which_a_script_was_killed_nothing_else_is_suspected(on: Submitting, tmp_path: Path) -> None:
    """Of 250 tasks with a script that takes too much, each had three lines of warning."""
    on.copies(3, [], BODY + "if os.path.exists('kill'):\n    os.kill(os.getpid(), 9)\n")
    (on.path / "case2" / "kill").touch()
    starved = in_place_of_squeue(on, tmp_path, r"s/\|1\|(COMPLETED|FAILED)\|/|1|OUT_OF_MEMORY|/")
    told = on.call("submit", "--wait", "--tasks", "1", "case*/script.py", env=starved, status=1).stderr
    assert "1 × killed by SIGKILL\n    case2/script.py\n" in told and "though" not in told


def test_what_the_accounting_knows_of_memory_is_told_when_squeue_has_forgotten(on: Submitting, tmp_path: Path) -> None:
    on.copies(2, [], BODY)
    run = on.call("submit", "--wait", "--tasks", "1", "case*/script.py").stdout.strip()
    job = on.slurm(run)["jobs"][0]
    forgotten = in_place_of_squeue(on, tmp_path, "d")
    (tmp_path / "sacct").write_text(f"#!/bin/sh\necho '{job}_1|OUT_OF_MEMORY|node1'\n")
    (tmp_path / "sacct").chmod(0o755)
    assert "task 1 ran out of memory, though 2 scripts of it succeeded\n    case1/script.py, case2/script.py\n" in on.call("status", run, env=forgotten).stdout


@pytest.fixture(scope="module")
def threaded() -> Iterator[Cluster]:
    """A cluster whose cores have two threads each, and that gives out whole cores."""
    require_slurm()
    with running_cluster(nodes=1, cpus=8, threads=2) as cluster:
        yield cluster


@pytest.mark.parametrize(
    ("asked", "at_once"),
    [
        ((), 1),
        (("--mem", "100"), 1),
        (("-c", "1"), 1),
        (("-c", "2"), 2),
        (("-j", "2"), 2),
        (("--sbatch", "--ntasks=1"), 1),
        (("--sbatch", "--ntasks=3"), 3),
        (("--sbatch", "--exclusive"), 8),
    ],
)
def test_one_script_at_a_time_where_one_cpu_was_asked(asked: tuple[str, ...], at_once: int, project: Project, threaded: Cluster) -> None:
    """The task's memory is for what was asked, though a core's second thread comes with the first."""
    on = Submitting(project, threaded)
    on.copies(9, [], BODY)
    (on.path / "hold").touch()
    _, job = on.submit("--tasks", "1", *asked, "case*/script.py")
    try:
        wait_until(lambda: len(on.ran()) == at_once, f"{at_once} at once")
        time.sleep(0.5)
        assert len(on.ran()) == at_once
    finally:
        (on.path / "hold").unlink()
        threaded.wait_for_end(job)


def test_a_job_can_follow_the_run(on: Submitting) -> None:
    on.copies(2, [], BODY)
    (on.path / "hold").touch()
    done = on.call("submit", "--tasks", "2", "case*/script.py")
    [follow] = re.findall("for a job that is to follow it: (sbatch .*)", done.stderr)
    job = on.cluster.call(*follow.split(), "--parsable", "-o", "/dev/null", "--wrap", f"cp {on.path}/ran {on.path}/seen", env=on.env)
    wait_until(lambda: on.ran() == cases(1, 2), "both run")
    assert on.cluster.states(job) == {job: "PENDING"}
    (on.path / "hold").unlink()
    assert on.cluster.wait_for_end(job) == {job: "COMPLETED"}
    assert (on.path / "seen").read_text() == (on.path / "ran").read_text()


def test_status_does_without_a_controller_that_keeps_silent(on: Submitting, tmp_path: Path) -> None:
    """Of a run whose tasks have all said how they ended, it is not waited for long; who submits again asks with patience."""
    on.copies(3, [], BODY)
    (on.path / "case2" / "bad").touch()
    run = on.call("submit", "--wait", "--tasks", "1", "case*/script.py", status=1).stdout.strip()
    (tmp_path / "squeue").write_text("#!/bin/sh\nexec sleep 100\n")
    (tmp_path / "squeue").chmod(0o755)
    silent = {"PATH": f"{tmp_path}:{on.env['PATH']}"}
    told = on.call("status", run, env=silent).stdout
    assert "3 scripts: 2 done, 1 failed\n" in told
    assert "squeue did not answer, so this is what the run's own files say: no answer within 3 s\n" in told
    assert on.call("status", run, "--list", "failed", env=silent).stdout == "case2/script.py\n"
    assert json.loads(on.call("status", run, "--json", env=silent).stdout)["slurm"]["trouble"] == "no answer within 3 s"


def test_status_of_a_run_at_work_does_without_a_controller_too(on: Submitting, tmp_path: Path) -> None:
    on.copies(3, [], BODY)
    (on.path / "case2" / "hold").touch()
    on.submit("--tasks", "1", "case*/script.py")
    wait_until(lambda: on.ran() == cases(1, 2), "the second case runs")
    for name in ("squeue", "sacct", "scontrol", "sinfo"):
        (tmp_path / name).write_text("#!/bin/sh\nexec sleep 100\n")
        (tmp_path / name).chmod(0o755)
    silent = {"PATH": f"{tmp_path}:{on.env['PATH']}"}
    told = on.call("status", env=silent).stdout
    assert "3 scripts: 1 done, 1 running, 1 waiting; " in told
    assert told.count("squeue did not answer, so this is what the run's own files say: no answer within 5 s\n") == 1
    assert on.call("status", "--list", "succeeded", env=silent).stdout == "case1/script.py\n"


@pytest.mark.parametrize("text", ["all.log", "%A.log"])
def test_a_variable_that_names_one_file_for_all_tasks_is_refused(on: Submitting, text: str) -> None:
    on.copies(2, [], BODY)
    variables = {"SBATCH_ERROR": text}
    told = on.call("submit", "--print", "--tasks", "2", "case*/script.py", env=variables, status=2).stderr
    assert "all 2 tasks would write into one file\n" in told
    [again] = re.findall("hint: sharedenv submit … (.*)", told)
    script = on.call("submit", "--print", "--tasks", "2", *shlex.split(again), "case*/script.py", env=variables).stdout
    assert script[script.rindex("--error") :].startswith(f"--error={on.path}/{text.removesuffix('.log')}-%a.log\n")


IDLE = "warning: this job has 2 nodes, and all the 4 scripts run on this one; on all of them: srun --ntasks-per-node=1 sharedenv run\n"


@pytest.mark.parametrize(
    ("command", "told"),
    [
        ("sharedenv run --no-build 'case*/script.py'", True),
        ("sharedenv run --no-build case1/script.py", False),
        ("srun --ntasks=1 --nodes=1 sharedenv run --no-build 'case*/script.py'", False),
        ("srun --ntasks-per-node=1 sharedenv run --no-build 'case*/script.py'", False),
        ("srun --ntasks-per-node=1 sharedenv join \"$(sharedenv plan 'case*/script.py')\"", False),
    ],
)
def test_a_job_of_two_nodes_says_that_a_run_uses_one(on: Submitting, command: str, told: bool) -> None:
    on.copies(4, [], BODY)
    on.call("build", "case*/script.py")
    text = command.replace("sharedenv", f"{shlex.quote(sys.executable)} -m sharedenv")
    output = on.path / "out"
    job = on.cluster.call("sbatch", "--parsable", "--nodes=2", f"--output={output}", "--wrap", text, env=on.env, cwd=on.path)
    assert on.cluster.wait_for_end(job) == {job: "COMPLETED"}, output.read_text()
    assert (IDLE in output.read_text()) == told
    assert on.ran() == (cases(1) if "case1" in command else cases(1, 2, 3, 4))


#: a case that notes each TERM that it gets, and takes two seconds to end after the first; without one it runs for long
TERMS = """\
import os, signal, time
def note(*_):
    global until
    with open("terms", "a") as file:
        file.write("x")
    until = min(until, time.time() + 2)
until = time.time() + 600
signal.signal(signal.SIGTERM, note)
open("began", "w").close()
while time.time() < until:
    time.sleep(0.05)
"""


@pytest.mark.parametrize("way", [(), ("--preload",)])
def test_scripts_get_one_term_whoever_ends_the_task(on: Submitting, way: tuple[str, ...]) -> None:
    """At the limit and when it is cancelled Slurm tells every process of a job; a signal for the batch script our process alone."""
    on.copies(5, [], TERMS)
    run, job = on.submit("--tasks", "5", "--time", "10", "--grace", "300", *way, "case*/script.py")
    wait_until(lambda: len(list(on.path.glob("case*/began"))) == 5, "all are at work")

    def term(*tasks: int) -> None:
        on.cluster.call("scancel", "--batch", "--signal=TERM", *(f"{job}_{task}" for task in tasks))
        wait_until(lambda: all("nothing more" in on.log(run, job, task) for task in tasks), "they drain")

    term(1, 3, 5)
    on.cluster.call("scontrol", "update", f"jobid={job}_1", "EndTime=now+2")
    on.cluster.call("scontrol", "update", f"jobid={job}_2", "EndTime=now+2")
    on.cluster.call("scancel", f"{job}_3", f"{job}_4")
    term(5)
    on.cluster.wait_for_end(job, 240)
    assert {number: len((on.path / f"case{number}/terms").read_text()) for number in range(1, 6)} == dict.fromkeys(range(1, 6), 1)


def test_a_run_on_slurm_is_followed_to_its_end(on: Submitting) -> None:
    """From the queue on, by whoever wants to know."""
    on.copies(4, [], BODY)
    (on.path / "hold").touch()
    (on.path / "case2" / "bad").touch()
    run, job = on.submit("--tasks", "2", "--sbatch", "--hold", "case*/script.py")
    following = on.start("status", "--follow", run)
    assert following.stderr is not None
    first, second = following.stderr.readline(), following.stderr.readline()
    assert first == f"run {run}, job {job}\n" and re.fullmatch(r"\S+ s: 0 of 4\n", second), (first, second)
    on.cluster.call("scontrol", "release", job)
    wait_until(lambda: on.ran() == cases(1, 2), "both tasks are at work")
    assert following.poll() is None
    (on.path / "hold").unlink()
    told, _ = following.communicate(timeout=120)
    assert following.returncode == 1 and "\n4 scripts: 3 done, 1 failed\n" in told
    assert told.endswith(f"to go on: sharedenv submit --resume --run-id {run}\n")
    on.call("submit", "--resume", "--sbatch", "--hold")
    following = on.start("status", "--follow", run)
    assert following.stderr is not None
    _, second = following.stderr.readline(), following.stderr.readline()
    assert re.fullmatch(r"\S+ s: 3 of 4\n", second), "how fast those went that have ended says nothing of what waits in the queue"
    on.call("cancel", run)
    following.communicate(timeout=120)


def test_good_scripts_are_submitted_beside_bad_ones(on: Submitting) -> None:
    on.copies(3, [], BODY)
    (on.path / "case2" / "script.py").write_text("# /// script\n# dependencies = [\n# ///\n")
    assert "case2/script.py:3" in on.call("submit", "case*/script.py", status=2).stderr
    done = on.call("submit", "--skip-bad", "--wait", "case*/script.py", status=1)
    assert on.ran() == cases(1, 3) and "2 scripts: 2 done" in done.stderr and "case2/script.py:3" in done.stderr
    run = done.stdout.strip()
    again = on.call("submit", "--resume", "--run-id", run)
    assert "nothing to submit" in again.stderr and on.ran() == cases(1, 3), "what was passed over is no part of the run"


def test_one_group_of_what_failed_is_submitted_again(on: Submitting) -> None:
    on.copies(5, [], BODY + "if os.path.exists('worse'):\n    sys.exit('no mesh')\n")
    for number, how in ((1, "bad"), (2, "worse"), (4, "bad"), (5, "bad")):
        (on.path / f"case{number}" / how).touch()
    run = on.call("submit", "--wait", "case*/script.py", status=1).stdout.strip()
    assert on.call("status", "--list", "failed", "--group", "2").stdout == "case2/script.py\n"
    told = on.call("status", "--failures").stdout
    again = f"  to run them again: sharedenv submit --retry-failed --group 2 --run-id {run}\n"
    assert told.startswith("group 1: 3 × exit 1: negative density\n") and again in told.partition("group 2: 1 × exit 1: no mesh\n")[2]
    (on.path / "case2" / "worse").unlink()
    on.call("submit", "--retry-failed", "--group", "2", "--wait", status=1)
    assert on.ran() == cases(1, 2, 3, 4, 5) + cases(2), "the others of what failed rest"
    assert on.counts(run) == {"done": 2, "failed": 3}
    nine = on.call("submit", "--retry-failed", "--group", "9", "--run-id", run, status=2).stderr
    assert nine.startswith(f"error: run {run} has no group 9 of failures\n  cause: its failures said 1 different thing\n")
