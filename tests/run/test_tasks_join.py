"""The tasks of an array as workers of its list: started again while an earlier start lives or has ended, and near their limit. Real tasks,
without Slurm.
"""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

import pytest

from sharedenv.run.journal.runs import open_run
from tests.cluster.test_restart import BODY
from tests.conftest import Project
from tests.slurm import wait_until

ALL = Counter(f"case{number}" for number in (1, 2, 3, 4))


class Tasks:
    """An array of two tasks over four cases, the first of which waits while there is a file `hold`."""

    def __init__(self, project: Project, tmp_path: Path) -> None:
        self.project = project
        project.copies(4, [], BODY)
        for name, text in {"sbatch": "echo 4711", "scontrol": "exit 1", "sinfo": "exit 1", "squeue": "exit 0"}.items():
            (tmp_path / name).write_text(f"#!/bin/sh\n[ {name} = scontrol ] && echo 'MaxArraySize = 10' && exit 0\n{text}\n")
            (tmp_path / name).chmod(0o755)
        project.env["PATH"] = f"{tmp_path}:{project.env['PATH']}"
        self.started: list[subprocess.Popen[str]] = []

    def submit(self, *options: str) -> None:
        """Submits, and holds the first case from now on."""
        self.run = self.project.call("submit", "--tasks", "2", "-j", "1", *options, "case*/script.py").stdout.strip()
        self.path = self.project.pool / "runs" / self.run
        (self.project.path / "case1/hold").touch()

    def start(self, task: int = 1, restarts: int = 0, **variables: str) -> subprocess.Popen[str]:
        """Starts a task as Slurm does for the first time (0) or again."""
        env = {**self.project.env, "SLURM_ARRAY_TASK_ID": str(task), "SLURM_RESTART_COUNT": str(restarts), **variables}
        code = "import sys; from sharedenv.cli.worker import main; sys.exit(main())"
        argv = [sys.executable, "-c", code, str(self.path), "1"]
        process = subprocess.Popen(argv, env=env, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)
        self.started.append(process)
        return process

    def ran(self) -> Counter[str]:
        """How often each case was started."""
        path = self.project.path / "ran"
        return Counter(path.read_text().split()) if path.exists() else Counter()

    def counts(self) -> dict[str, int]:
        """How many cases stand how."""
        document = json.loads(self.project.call("status", self.run, "--json").stdout)
        return {word: number for word, number in document["slurm"]["counts"].items() if number}

    def go_on(self) -> None:
        """Lets the first case end."""
        (self.project.path / "case1/hold").unlink(missing_ok=True)

    def begin(self) -> subprocess.Popen[str]:
        """A first task, at work on the first case, as it has put down."""
        first = self.start()
        wait_until(lambda: self.ran() == Counter(["case1"]), "the first case runs")
        wait_until(lambda: open_run(str(self.project.pool / "runs"), self.run).sessions()[0].running, "it has put that down")
        return first

    def end_with_its_case(self, task: subprocess.Popen[str]) -> None:
        """As Slurm ends a task: TERM to all its processes."""
        running: dict[int, int] = {}
        while not running:
            [session] = open_run(str(self.project.pool / "runs"), self.run).sessions()
            running = dict(session.groups)
        for group in running.values():
            os.killpg(group, signal.SIGTERM)
        task.send_signal(signal.SIGTERM)
        assert task.wait(60) == 1


@pytest.fixture
def tasks(project: Project, tmp_path: Path) -> Iterator[Tasks]:
    found = Tasks(project, tmp_path)
    yield found
    found.go_on()
    for process in found.started:
        if process.poll() is None:
            process.kill()
        process.communicate()


def test_the_second_start_runs_what_the_first_has_not_begun(tasks: Tasks) -> None:
    """Slurm holds the first node for dead; it lives. Nobody waits for it."""
    tasks.submit()
    first = tasks.begin()
    second = tasks.start(restarts=1)
    text, _ = second.communicate(timeout=60)
    assert "3 succeeded" in text and tasks.ran() == ALL and first.poll() is None
    assert second.returncode == 1  # the task as a whole has not done its part yet
    tasks.go_on()
    first.communicate(timeout=60)
    assert first.returncode == 0 and tasks.ran() == ALL


def test_what_ended_with_a_task_its_next_start_takes_up_once(tasks: Tasks) -> None:
    tasks.submit()
    tasks.end_with_its_case(tasks.begin())
    tasks.go_on()
    assert tasks.start(restarts=1).wait(60) == 0
    assert tasks.ran() == ALL + Counter(["case1"])
    assert tasks.start(restarts=2).wait(60) == 0
    assert tasks.ran() == ALL + Counter(["case1"])
    assert "4 done" in tasks.project.call("status", tasks.run).stdout


def test_another_task_takes_up_nothing_that_ended_with_one(tasks: Tasks) -> None:
    tasks.submit()
    tasks.end_with_its_case(tasks.begin())
    assert tasks.start(task=2).wait(60) == 0
    assert tasks.ran() == ALL
    assert tasks.counts() == {"done": 3, "interrupted": 1}


def test_a_start_that_was_killed_leaves_its_case_to_resume(tasks: Tasks) -> None:
    tasks.submit()
    first = tasks.begin()
    first.kill()
    first.wait()
    tasks.go_on()
    assert tasks.start(restarts=1).wait(60) == 1  # what it was at work on is nobody's
    assert tasks.ran() == ALL
    assert tasks.counts() == {"done": 3, "interrupted": 1}


def test_what_is_known_to_outlast_the_job_is_left_to_others(tasks: Tasks) -> None:
    script = tasks.project.path / "case3/script.py"
    script.write_text(script.read_text() + "time.sleep(1)\n")
    tasks.project.call("run", "case3/script.py")
    (tasks.project.path / "ran").unlink()
    tasks.submit("--order", "longest")
    tasks.go_on()
    soon = tasks.start(SLURM_JOB_END_TIME=str(int(time.time()) - 1))
    text, _ = soon.communicate(timeout=60)
    assert "takes longer than this job has left" in text and soon.returncode == 1
    assert "case3" not in tasks.ran()
    assert tasks.start(task=2, SLURM_JOB_END_TIME=str(int(time.time()) + 600)).wait(60) == 0
    assert tasks.ran() == ALL


def test_a_task_that_comes_when_all_is_done_ends_at_once(tasks: Tasks) -> None:
    tasks.submit()
    tasks.go_on()
    assert tasks.start().wait(60) == 0
    assert (tasks.path / "slurm/1/claims.list").exists()
    late = tasks.start(task=2)
    assert "nothing is left to begin" in late.communicate(timeout=60)[0] and late.returncode == 0
    assert tasks.counts() == {"done": 4}
    assert tasks.ran() == ALL
