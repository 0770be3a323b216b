"""Workers killed by KILL at named system calls: whichever it is, each script begins once, and what was cut off is told."""

from __future__ import annotations

import os
import signal
import subprocess
from collections import Counter

import pytest

from tests.conftest import Project
from tests.faults import require
from tests.run.test_join import begun, plan, wait_for

#: the system call at which a worker is killed → whether it had begun a script, and started its process
INSTANTS = {
    "symlink": (False, False),  # there is neither a token nor a claim
    "rename": (False, False),  # claimed, and not begun
    "unlink": (True, False),  # begun
    "chdir": (True, False),  # on its way into the script's folder
    "fchdir": (True, True),  # the process has just been started: nothing says so yet
    "waitid": (True, True),  # it has ended, and nothing says so yet
}


def killed_at(project: Project, call: str, *words: str) -> None:
    """Runs `sharedenv WORDS` until KILL ends it as it is about to make the first such call."""
    require("strace", root=False)
    strace = ["strace", "-qq", "-o", os.devnull, "-e", f"trace={call}", "-e", f"inject={call}:signal=KILL:when=1"]
    process = project.start(*words, prefix=strace, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    assert process.wait(60) == -signal.SIGKILL


def test_whatever_call_kills_a_worker_each_script_begins_once_and_what_was_cut_off_is_told(project: Project) -> None:
    run = plan(project, 12)
    for call in INSTANTS:
        killed_at(project, call, "join", run, "-j1")
    never = sum(begins and not starts for begins, starts in INSTANTS.values())
    cut_off = sum(begins for begins, _ in INSTANTS.values())
    told = project.call("join", run, "-j4").stderr
    wait_for(lambda: len((project.path / "ended").read_text().split()) == 12 - never)  # what a killed one had started ends by itself
    assert begun(project) == Counter(dict.fromkeys(begun(project), 1))
    again = f"sharedenv run --resume --run-id {run}"
    assert f"cut off with a worker: {cut_off} scripts of run {run}; to go on: {again}\n" in told
    stdout = project.call("status", run).stdout
    assert f"{12 - cut_off} succeeded, {cut_off} interrupted" in stdout
    assert "not run" not in stdout
    assert f"to go on: {again}\n" in stdout
    assert len(project.call("status", run, "--list", "interrupted").stdout.splitlines()) == cut_off
    project.call("run", "--resume", "--run-id", run)
    assert "12 succeeded" in project.call("status", run).stdout
    assert begun(project).total() == 12 + cut_off - never


@pytest.mark.parametrize("words", [("join",), ("run",), ("run", "--launcher", "env -u NOTHING")], ids=" ".join)
def test_what_a_killed_process_had_just_started_is_found_before_it_is_run_again(project: Project, words: tuple[str, ...]) -> None:
    """Its number was put down a moment after its start, and a process killed in that moment left it unknown, to be run twice at once."""
    run = plan(project, 2, seconds=60)
    if words[0] == "join":
        killed_at(project, "fchdir", "join", run, "-j1")
    else:
        killed_at(project, "fchdir", *words, "-j1", "case*/script.py")
        run = max(path.name for path in (project.pool / "runs").iterdir() if path.name[0] != ".")
    wait_for(lambda: begun(project).total() == 1)
    assert "still running without it: case1/script.py" in project.call("status", run).stdout
    for again in (("--resume", "--run-id", run), ("case1/script.py",)):
        assert f"scripts of run {run} are still running: case1/script.py" in project.call("run", *again, status=2).stderr
    assert "ended what the killed run" in project.call("cancel", run).stderr
    for script in project.path.glob("case*/script.py"):
        script.write_text(script.read_text().replace("60", "0"))
    variables = {"SHAREDENV_CASE_RUN": run, "SHAREDENV_CASE_NUMBER": "2"}  # and other words than those of a script
    with subprocess.Popen(["sleep", "60"], env={**project.env, **variables}) as stranger:
        project.call("run", "--resume", "--run-id", run)
        stranger.kill()
    assert begun(project) == Counter(case1=2, case2=1)


def test_what_outlives_a_killed_worker_no_other_run_begins_though_other_workers_have_ended(project: Project) -> None:
    run = plan(project, 3, seconds=60)
    worker = project.start("join", run, "-j1")
    wait_for(lambda: begun(project).total() == 1)
    worker.kill()
    worker.wait()
    for number in (2, 3):
        script = project.path / f"case{number}/script.py"
        script.write_text(script.read_text().replace("60", "0"))
    assert f"cut off with a worker: 1 script of run {run}" in project.call("join", run).stderr
    for command in ("run", "plan"):
        assert f"scripts of run {run} are still running: case1/script.py" in project.call(command, "case1/script.py", status=2).stderr
    project.call("run", "case2/script.py")
    project.call("cancel", run)
    project.call("plan", "case1/script.py")
    assert begun(project) == Counter(case1=1, case2=2, case3=1)
    script = project.path / "case1/script.py"
    script.write_text(script.read_text().replace("60", "0"))
    project.call("run", "--resume", "--run-id", run)
    assert not list((project.pool / "runs/.living").iterdir())
