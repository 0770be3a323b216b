"""`submit`, `status`, `cancel` and `--resume` on a real Grid Engine of two nodes: nothing is lost, and nothing runs twice."""

from __future__ import annotations

import json
import os
import re
import signal
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from sharedenv.cluster.crew import task_in_name
from sharedenv.run.journal.runs import open_run
from tests.cluster.test_slurm import BODY, cases
from tests.conftest import Project
from tests.grid_engine import GridEngine, require_grid_engine, running_grid_engine
from tests.slurm import wait_until

pytestmark = [pytest.mark.root, pytest.mark.xdist_group("gridengine"), pytest.mark.timeout(600)]


class Submitting(Project):
    """A project on a Grid Engine."""

    def __init__(self, project: Project, engine: GridEngine) -> None:
        variables = {**project.env, **engine.env, "SHAREDENV_SCHEDULER": "gridengine", "TMPDIR": str(project.path.parent)}
        super().__init__(project.path, {**variables, "PATH": f"{engine.bin}:{project.env['PATH']}"})
        self.engine = engine

    def ran(self) -> Counter[str]:
        """How often each case was started."""
        path = self.path / "ran"
        return Counter(path.read_text().split()) if path.exists() else Counter()

    def submit(self, *arguments: str, **options: Any) -> tuple[str, str]:
        """Submits; the names of the run and of the job."""
        done = self.call("submit", *arguments, **options)
        found = re.search(r"job (\d+) of Grid Engine", done.stderr)
        assert found, done.stderr
        return done.stdout.strip(), found[1]

    def status(self, run: str) -> dict[str, Any]:
        """What `status --json` says."""
        value: dict[str, Any] = json.loads(self.call("status", run, "--json").stdout)
        return value

    def wait(self, run: str) -> None:
        """Until no task of a run is in the queue."""
        wait_until(lambda: not any(job["waiting"] + job["running"] for job in self.status(run)["jobs"]), "the jobs are over")

    def printed(self, run: str) -> str:
        """What all tasks have printed."""
        return "".join(path.read_text() for path in sorted((self.pool / "runs" / run / "jobs").glob("*/*.out")))


@pytest.fixture(scope="module")
def engine() -> Iterator[GridEngine]:
    require_grid_engine()
    with running_grid_engine(nodes=2, slots=4) as engine:
        yield engine


@pytest.fixture
def on(project: Project, engine: GridEngine) -> Iterator[Submitting]:
    """A project whose shell reaches the cluster; its jobs are gone afterwards."""
    submitting = Submitting(project, engine)
    yield submitting
    (project.path / "hold").unlink(missing_ok=True)
    engine.call("qdel", "-f", "-u", "root", check=False)
    wait_until(lambda: not engine.states(), "the queue is empty")
    submitting.end()


def test_one_command_from_scripts_to_results(on: Submitting) -> None:
    """Each case once, in its own folder, with its arguments and the variables of the shell; nobody asked for the scheduler."""
    on.copies(20, ["alpha"], "import alpha, os\nprint(os.environ['ODD'])\n" + BODY)
    tools = on.path.parent / "without-slurm"
    tools.mkdir()
    for program in Path("/usr/bin").iterdir():
        if program.name not in ("sbatch", "squeue") and not (on.engine.bin / program.name).exists():
            (tools / program.name).symlink_to(program)
    path = f"{on.engine.bin}:{tools}"
    odd = 'a,b=c "x" $HOME\nsecond line'
    done = on.call("submit", "--wait", "case*/script.py", "--", "a b", "$HOME", env={"PATH": path, "SHAREDENV_SCHEDULER": "", "ODD": odd})
    assert on.ran() == cases(*range(1, 21))
    run = done.stdout.strip()
    assert re.search(rf"submitted 20 scripts for 8 workers, job \d+ of Grid Engine: run {run}\n", done.stderr)  # as many as it has slots
    assert f"what they print: .sharedenv/runs/{run}/jobs/1/" in done.stderr
    assert "20 scripts in" in done.stderr and "20 succeeded" in done.stderr
    assert len(on.environments) == 1
    printed = on.printed(run)
    assert sorted(re.findall("hello from (case.*) a b \\$HOME", printed)) == sorted(cases(*range(1, 21)))
    assert printed.count(odd) == 20
    assert "every script succeeded" in on.call("status", run).stdout


def test_a_failing_case_is_named_and_resume_runs_exactly_it(on: Submitting) -> None:
    on.copies(6, [], BODY)
    (on.path / "case4" / "bad").touch()
    done = on.call("submit", "--wait", "--tasks", "3", "case*/script.py", status=1)
    assert "5 succeeded, 1 failed" in done.stderr and "exit 1: negative density" in done.stderr and "case4/script.py" in done.stderr
    run = done.stdout.strip()
    [again] = re.findall("to go on: sharedenv (.*)", done.stderr)
    assert again == f"submit --resume --run-id {run}"
    (on.path / "case4" / "bad").unlink()
    on.call(*again.split(), "--wait")
    assert on.ran() == cases(*range(1, 7)) + cases(4)
    assert "nothing to submit" in on.call("submit", "--resume").stderr


@pytest.mark.slow
def test_five_hundred_cases_each_exactly_once(on: Submitting) -> None:
    on.copies(500, [], BODY)
    run, _ = on.submit("--tasks", "8", "--preload", "case*/script.py")
    on.wait(run)
    assert on.ran() == cases(*range(1, 501))
    assert on.status(run)["succeeded"] == 500


def test_status_and_a_second_submission_while_tasks_wait(on: Submitting) -> None:
    """A run is its own while it waits in the queue, too, and so is each of its cases; cancelled, it is nobody's."""
    on.copies(4, [], BODY)
    run, job = on.submit("--qsub", "-h", "--tasks", "2", "case*/script.py")
    assert f"job {job} of Grid Engine: 2 waiting of 2 tasks" in (told := on.call("status", run).stdout)
    assert f"run {run}: submitted" in told and "to go on" not in told
    refused = on.call("submit", "case*/script.py", status=2).stderr
    assert f"run {run} works on 4 scripts of these" in refused and f"its job {job} is in the queue of Grid Engine" in refused
    assert f"run {run} works on 4 scripts" in on.call("run", "case2/script.py", "case*/script.py", status=2).stderr
    assert f"nothing to submit: job {job} of run {run} is in the queue still" in on.call("submit", "--resume").stderr
    assert f"cancelled job {job} of run {run}" in on.call("cancel", run).stderr
    assert on.status(run)["jobs"][0]["waiting"] == 0
    again = on.call("submit", "--resume", "--run-id", run, "--tasks", "2", "--qsub", "-h").stdout.strip()
    assert again != run, "a list that was told to stop is gone on with as a run of its own"
    on.call("prune", "--unused-for", "0s")
    assert len(on.environments) == 1  # tasks that wait need it
    on.engine.call("qrls", "-u", "root")
    on.wait(again)
    assert on.ran() == cases(1, 2, 3, 4)


def test_cancel_ends_what_runs_and_resume_goes_on(on: Submitting) -> None:
    on.copies(6, [], BODY)
    (on.path / "hold").touch()
    run, job = on.submit("--tasks", "2", "--jobs", "1", "case*/script.py")
    wait_until(lambda: len(on.ran()) == 2, "two cases are at work")
    assert f"cancelled job {job} of run {run}" in on.call("cancel").stderr
    on.wait(run)
    status = on.status(run)
    assert len(status["interrupted"]) == 2 and status["succeeded"] == 0
    assert "SIGUSR2" in on.printed(run)  # it was told before it was killed
    (on.path / "hold").unlink()
    begun = on.ran()
    assert "submitted 6 scripts for" in on.call("submit", "--resume", "--wait").stderr
    assert on.ran() == cases(*range(1, 7)) + begun


def test_before_the_time_limit_a_task_starts_nothing_more_and_resume_takes_what_is_left(on: Submitting) -> None:
    on.copies(6, [], BODY.replace("print(", "time.sleep(1.5)\nprint(", 1))
    run, _ = on.submit("--tasks", "1", "--jobs", "1", "--time", "0:40", "--margin", "37", "case*/script.py")
    on.wait(run)
    begun = on.ran()
    assert 0 < len(begun) < 6 and on.status(run)["succeeded"] == len(begun)
    assert "SIGUSR1" in on.printed(run)
    done = on.call("submit", "--resume", "--tasks", "2", "--time", "10", "--wait")
    assert f"going on with run {run}: {6 - len(begun)} scripts not begun" in done.stderr
    assert on.ran() == cases(*range(1, 7))


def test_a_task_that_is_requeued_goes_on_elsewhere(on: Submitting) -> None:
    on.copies(5, [], BODY)
    (on.path / "hold").touch()
    run, job = on.submit("--tasks", "1", "--jobs", "1", "case*/script.py")
    wait_until(lambda: len(on.ran()) == 1, "a case is at work")
    [interrupted] = on.ran()
    on.engine.call("qmod", "-rj", f"{job}.1")
    wait_until(lambda: on.ran()[interrupted] == 1 and len(on.ran()) == 2, "it was started anew, and takes the next")
    wait_until(lambda: on.status(run)["interrupted"], "the first start is dead: what it ran can't end well any more")
    (on.path / "hold").unlink()
    on.wait(run)
    assert on.ran() == cases(1, 2, 3, 4, 5)  # what was cut off is not repeated by itself
    assert [case["script"] for case in on.status(run)["interrupted"]] == [str(on.path / interrupted / "script.py")]
    on.call("submit", "--resume", "--wait")
    assert on.ran() == cases(1, 2, 3, 4, 5) + Counter([interrupted])


@pytest.mark.slow
def test_a_node_that_dies_takes_along_what_it_ran_and_no_more(on: Submitting) -> None:
    on.copies(8, [], BODY)
    for number in range(1, 9):
        (on.path / f"case{number}" / "hold").touch()
    run, job = on.submit("--tasks", "1", "--jobs", "2", "--partition", "all.q@node1", "case*/script.py")
    try:
        wait_until(lambda: len(on.ran()) == 2, "two cases are at work")
        lost = on.ran()
        on.engine.kill_node("node1")
        for number in range(1, 9):
            (on.path / f"case{number}" / "hold").unlink()
        wait_until(lambda: on.status(run)["jobs"][0]["stuck"], "Grid Engine misses the node")
        said = on.call("status", run).stdout
        [remedy] = re.findall(f"task 1 of job {job} is stuck: node1 doesn't answer; when that is mended: (qmod .*)", said)
        on.engine.call("qalter", "-q", "all.q@node2", job)
        on.engine.call(*remedy.split())
        on.wait(run)
        assert on.ran() == cases(*range(1, 9))
        assert len(on.status(run)["interrupted"]) == 2
    finally:
        on.engine.start_node("node1")
    on.call("submit", "--resume", "--wait")
    assert on.ran() == cases(*range(1, 9)) + lost


@pytest.mark.slow
def test_the_death_of_a_daemon_alone_changes_nothing(on: Submitting) -> None:
    on.copies(4, [], BODY)
    (on.path / "hold").touch()
    run, _ = on.submit("--tasks", "1", "--jobs", "2", "--partition", "all.q@node2", "case*/script.py")
    wait_until(lambda: len(on.ran()) == 2, "two cases are at work")
    on.engine.kill_daemon("node2")
    on.engine.start_node("node2")
    (on.path / "hold").unlink()
    on.wait(run)
    assert on.ran() == cases(1, 2, 3, 4) and on.status(run)["succeeded"] == 4


def test_a_task_that_grid_engine_could_not_start_is_told_with_what_helps(on: Submitting) -> None:
    on.copies(2, [], BODY)
    run, job = on.submit("--tasks", "1", "--setup", "test -e ready || exit 100", "case*/script.py")
    wait_until(lambda: on.status(run)["jobs"][0]["stuck"], "its task is in error")
    said = on.call("status", run).stdout
    [(reason, remedy)] = re.findall(f"task 1 of job {job} is stuck: (.*); when that is mended: (.*)", said)
    assert "100" in reason and remedy == f"qmod -cj {job}.1"
    (on.path / "ready").touch()
    on.engine.call(*remedy.split(), check=False)  # 1 where it has done so
    on.wait(run)
    assert on.ran() == cases(1, 2)


def test_cpus_are_slots_of_the_one_environment_that_gives_them_on_one_node(on: Submitting) -> None:
    on.copies(1, [], "import os; print('slots', os.environ['NSLOTS'])")
    done = on.call("submit", "--wait", "-c", "3", "case1/script.py")
    assert "slots 3\n" in on.printed(done.stdout.strip())
    on.engine.call("qconf", "-dattr", "queue", "pe_list", "smp", "all.q")
    on.engine.call("qconf", "-dp", "smp")
    try:
        refused = on.call("submit", "--print", "-c", "3", "case1/script.py", status=2).stderr
        assert "which parallel environment" in refused and "--qsub '-pe NAME 3'" in refused
    finally:
        on.engine.add_environment()


@pytest.mark.parametrize(
    ("words", "told"),
    [
        (("--mem", "4G"), "--qsub '-l h_vmem=4G'"),
        (("--sbatch", "--exclusive"), "--sbatch is not for Grid Engine"),
        (("--stage",), "--stage is not for workers"),
        (("--build-job",), "--build-job is not for workers"),
        (("--tasks", "90000"), None),
        (("--account", "nobody"), "the requested project"),
        (("--partition", "none.q"), "unknown queue"),
    ],
)
def test_what_it_cannot_do_is_refused_and_leaves_no_run(on: Submitting, words: tuple[str, ...], told: str | None) -> None:
    on.copies(1, [], BODY)
    if told is None:  # more tasks than scripts are as many as scripts
        on.call("submit", "--print", *words, "case1/script.py")
        return
    done = on.call("submit", *words, "case1/script.py", status=None)
    assert done.returncode in (1, 2) and told in done.stderr
    assert not list((on.pool / "runs").glob("2*"))


def test_a_master_that_does_not_answer_is_said(on: Submitting) -> None:
    on.copies(2, [], BODY)
    run, job = on.submit("--qsub", "-h", "--tasks", "1", "case*/script.py")
    nowhere = {"SGE_QMASTER_PORT": "1"}
    said = on.call("status", run, env=nowhere).stdout
    assert "warning: Grid Engine does not say whether it still has tasks of it" in said
    assert f"can't tell whether job {job} of run {run} is over" in on.call("cancel", run, env=nowhere, status=2).stderr


@pytest.mark.parametrize("taken", [True, False], ids=["it has the job", "it has none"])
def test_an_answer_of_qsub_that_gets_lost_loses_no_case(on: Submitting, taken: bool) -> None:
    on.copies(3, [], BODY)
    broken = on.path.parent / "broken"
    broken.mkdir()
    real = f'{on.engine.bin}/qsub "$@" >&2' if taken else ""
    (broken / "qsub").write_text(f"#!/bin/sh\n{real}\nkill -9 $$\n")
    (broken / "qsub").chmod(0o755)
    path = {"PATH": f"{broken}:{on.env['PATH']}"}
    if taken:
        done = on.call("submit", "--wait", "case*/script.py", env=path)
        assert "submitted 3 scripts" in done.stderr
    else:
        refused = on.call("submit", "case*/script.py", env=path, status=1).stderr
        assert "can't tell whether the job is in Grid Engine's queue" in refused and "hint: qstat" in refused
        [again] = re.findall("if the job is not in the queue: sharedenv (submit .*)", refused)
        on.call(*again.split(), "--wait")
    assert on.ran() == cases(1, 2, 3)


def test_a_run_that_was_planned_is_submitted_to_the_scheduler_that_is_here(on: Submitting) -> None:
    on.copies(4, [], BODY)
    run = on.call("plan", "case*/script.py").stdout.strip()
    on.call("submit", "--resume", "--run-id", run, "--tasks", "2", "--wait")
    assert on.ran() == cases(1, 2, 3, 4) and on.status(run)["jobs"][0]["scheduler"] == "gridengine"


def test_join_by_hand_in_a_job_takes_its_slots(on: Submitting) -> None:
    """The recipe for any scheduler: plan, and an array of `join`."""
    on.copies(6, [], BODY)
    run = on.call("plan", "case*/script.py").stdout.strip()
    script = on.path / "job.sh"
    script.write_text(f"#!/bin/bash\n#$ -S /bin/bash -cwd -V -j y -o out -t 1-2 -pe smp 2\nexec {on.command}/sharedenv join {run}\n")
    on.shell(f"qsub -terse {script}")
    wait_until(lambda: on.status(run)["state"] == "done", "the run is done", 60)
    assert on.ran() == cases(*range(1, 7))
    assert {worker["jobs"] for worker in on.status(run)["workers"]} == {2}


def test_a_worker_whose_task_is_over_is_dead(on: Submitting) -> None:
    """It died without a word on another machine: Grid Engine has seen it end, so --resume needs no --lost-too, and `status` says how."""
    on.copies(3, [], BODY)
    (on.path / "hold").touch()
    run, job = on.submit("--tasks", "1", "--order", "given", "case*/script.py")
    wait_until(lambda: on.ran() == cases(1), "it is at work")
    [session] = open_run(str(on.pool / "runs"), run).sessions()
    assert session.owner is not None and task_in_name(session.writer) == (job, 1, 0)
    os.kill(session.owner.pid, signal.SIGKILL)
    os.killpg(session.groups[1], signal.SIGKILL)
    (on.path / "hold").unlink()
    on.wait(run)
    told = f"task 1 of job {job} died without a word: its task was killed\n"
    wait_until(lambda: told in on.call("status", run).stdout, "the accounting is written")
    assert [one["tasks"] for one in on.status(run)["jobs"][0]["ended"]] == [[1]]
    on.call("submit", "--resume", "--wait", status=1)  # those that nobody has begun
    [journal] = (on.pool / "runs" / run).glob(f"results-{session.writer}*")
    first, _, rest = journal.read_text().partition("\n")
    record = json.loads(first)
    record["owner"].update(host="node7", machine="elsewhere")  # here the kernel would know
    journal.write_text(f"{json.dumps(record)}\n{rest}")
    os.utime(journal, (session.started - 4000,) * 2)
    on.call("submit", "--resume", "--wait")
    assert on.ran() == cases(1, 2, 3) + cases(1)
