"""A task of an old array that is started again while an earlier start of it lives: each case once. Real tasks, without Slurm."""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
import sys
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

import pytest

from sharedenv.run.claims.blocks import FOLDERS
from tests.conftest import Project
from tests.slurm import wait_until

BODY = """\
import os, time
with open("../ran", "a") as file:
    file.write(os.path.basename(os.getcwd()) + "\\n")
while os.path.exists("hold"):
    time.sleep(0.05)
"""


class Tasks:
    """An array of one task over four cases, the first of which waits while there is a file `hold`."""

    def __init__(self, project: Project, tmp_path: Path) -> None:
        self.project = project
        project.copies(4, [], BODY)
        (project.path / "case1/hold").touch()
        for name, text in {"sbatch": "echo 4711", "scontrol": "exit 1", "sinfo": "exit 1", "squeue": "exit 0"}.items():
            (tmp_path / name).write_text(f"#!/bin/sh\n[ {name} = scontrol ] && echo 'MaxArraySize = 10' && exit 0\n{text}\n")
            (tmp_path / name).chmod(0o755)
        project.env["PATH"] = f"{tmp_path}:{project.env['PATH']}"
        self.run = project.call("submit", "--tasks", "1", "-j", "1", "case*/script.py").stdout.strip()
        self.path = project.pool / "runs" / self.run
        self._make_old(self.path / "slurm" / "1")
        self.started: list[subprocess.Popen[str]] = []

    @staticmethod
    def _make_old(folder: Path) -> None:
        """What a version before lists of cases would have put there."""
        found = json.loads((folder / "array.json").read_text())
        cases = [json.loads(line) for line in (folder / "plan.jsonl").read_text().splitlines()]
        found["cases"] = [[case["sequence"], found["keys"].index(case["key"]), case["digest"]] for case in cases]
        for name in ("format", "sequences"):
            del found[name]
        del found["how"]["joblog"]
        (folder / "array.json").write_text(json.dumps(found))
        for name in ("plan.jsonl", "plan.index"):
            (folder / name).unlink()
        for name in FOLDERS:
            shutil.rmtree(folder / name)

    def start(self, restarts: int) -> subprocess.Popen[str]:
        """Starts the task as Slurm does for the first time (0) or again."""
        env = {**self.project.env, "SLURM_ARRAY_TASK_ID": "1", "SLURM_RESTART_COUNT": str(restarts)}
        code = "import sys; from sharedenv.cli.task import main; sys.exit(main())"
        argv = [sys.executable, "-c", code, str(self.path), "1"]
        process = subprocess.Popen(argv, env=env, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)
        self.started.append(process)
        return process

    def ran(self) -> Counter[str]:
        """How often each case was started."""
        path = self.project.path / "ran"
        return Counter(path.read_text().split()) if path.exists() else Counter()

    def go_on(self) -> None:
        """Lets the first case end."""
        (self.project.path / "case1/hold").unlink(missing_ok=True)


@pytest.fixture
def tasks(project: Project, tmp_path: Path) -> Iterator[Tasks]:
    found = Tasks(project, tmp_path)
    yield found
    found.go_on()
    for process in found.started:
        if process.poll() is None:
            process.kill()
            process.communicate()


ALL = Counter(f"case{number}" for number in (1, 2, 3, 4))


def test_the_second_start_takes_what_the_first_has_not_begun(tasks: Tasks) -> None:
    first = tasks.start(0)
    wait_until(lambda: tasks.ran() == Counter(["case1"]), "the first case runs")
    second = tasks.start(1)
    text, _ = second.communicate(timeout=60)
    assert "waiting until it starts nothing more there" in text and "3 succeeded" in text, text
    assert tasks.ran() == ALL and first.poll() is None
    assert "1 running" in tasks.project.call("status", tasks.run).stdout
    tasks.go_on()
    assert "another process works on this task now" in first.communicate(timeout=60)[0]
    assert tasks.ran() == ALL
    assert "4 done" in tasks.project.call("status", tasks.run).stdout


def test_a_first_start_that_is_stopped_keeps_its_cases_until_it_goes_on_or_dies(tasks: Tasks) -> None:
    """Silence is no death: on the same machine the kernel says that it lives."""
    first = tasks.start(0)
    wait_until(lambda: tasks.ran() == Counter(["case1"]), "the first case runs")
    first.send_signal(signal.SIGSTOP)
    second = tasks.start(1)
    wait_until((tasks.path / "results-1-1r1.1.jsonl").exists, "the second start is there")
    with pytest.raises(subprocess.TimeoutExpired):
        second.wait(3)
    assert tasks.ran() == Counter(["case1"])
    tasks.go_on()  # case 1 ends, and its keeper doesn't see it
    first.send_signal(signal.SIGCONT)
    for process in (first, second):
        process.communicate(timeout=60)
    assert tasks.ran() == ALL


def test_of_three_starts_the_last_has_what_is_left(tasks: Tasks) -> None:
    """The second one waits still when the third begins."""
    first = tasks.start(0)
    wait_until(lambda: tasks.ran() == Counter(["case1"]), "the first case runs")
    first.send_signal(signal.SIGSTOP)
    second = tasks.start(1)
    wait_until((tasks.path / "results-1-1r1.1.jsonl").exists, "the second start is there")
    third = tasks.start(2)
    wait_until((tasks.path / "results-1-1r2.1.jsonl").exists, "the third start is there")
    first.send_signal(signal.SIGCONT)
    tasks.go_on()
    for process in (first, second, third):
        process.communicate(timeout=60)
    assert tasks.ran() == ALL
    assert "4 done" in tasks.project.call("status", tasks.run).stdout


def test_a_first_start_that_died_is_not_waited_for(tasks: Tasks) -> None:
    first = tasks.start(0)
    wait_until(lambda: tasks.ran() == Counter(["case1"]), "the first case runs")
    os.kill(first.pid, signal.SIGKILL)
    first.communicate()
    tasks.go_on()
    text, _ = tasks.start(1).communicate(timeout=60)
    assert "waiting" not in text
    assert tasks.ran() == ALL + Counter(["case1"])
