"""Runs that were cut short, and how they go on: real processes, real signals."""

from __future__ import annotations

import contextlib
import json
import os
import re
import shutil
import signal
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest

from sharedenv.cluster.arrays import How, create_array
from sharedenv.run.case import INTERRUPTED, Case, Result
from sharedenv.run.journal.choose import choose, find_run, outcomes
from sharedenv.run.journal.runs import create_run, list_runs
from tests.conftest import Project

#: notes that it started, and waits until the file `go` is there
WAITING = (
    "import os, time\nwith open('../started', 'a') as f: f.write(os.path.basename(os.getcwd()) + '\\n')\n"
    "end = time.time() + 200\nwhile not os.path.exists('../go') and time.time() < end: time.sleep(0.02)\nprint('done', os.getcwd())"
)


def wait_for(condition: Callable[[], bool], seconds: float = 120) -> None:
    end = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < end, "waited too long"
        time.sleep(0.02)


def started(project: Project) -> list[str]:
    file = project.path / "started"
    return file.read_text().split() if file.exists() else []


def begin(project: Project, *options: str, count: int = 5, body: str = WAITING) -> subprocess.Popen[str]:
    """A run of slow scripts, two at a time, after its first two have started."""
    project.copies(count, body=body)
    process = project.start("run", "-j2", "case*/script.py", *options)
    wait_for(lambda: len(started(project)) >= 2 or process.poll() is not None)
    return process


def alone(project: Project) -> bool:
    """Whether no process of this project's scripts is left."""
    for name in os.listdir("/proc"):
        if name.isdigit():
            try:
                words = Path(f"/proc/{name}/cmdline").read_bytes()
            except OSError:
                continue
            if os.fsencode(project.path) in words and b"script.py" in words and b"sharedenv\0run" not in words:
                return False
    return True


def test_ctrl_c_ends_all_and_resume_goes_on(project: Project) -> None:
    process = begin(project)
    process.send_signal(signal.SIGINT)
    _, stderr = process.communicate(timeout=120)
    assert process.returncode == 130, stderr
    assert "SIGINT: ending 2 that run" in stderr
    assert "5 scripts in" in stderr and ": 2 interrupted, 3 not run" in stderr
    assert "  interrupted: case1/script.py, case2/script.py\n" in stderr
    assert ": 2 interrupted, 3 not run" in project.call("status").stdout
    assert "--resume --run-id" in stderr
    assert alone(project)
    (project.path / "go").touch()
    done = project.call("run", "--resume", "-j2")
    assert "5 succeeded" in done.stderr
    assert len(done.stdout.splitlines()) == 5
    assert Counter(started(project)) == {"case1": 2, "case2": 2, "case3": 1, "case4": 1, "case5": 1}
    assert "5 scripts" in project.call("status").stdout


def test_kill_minus_nine_loses_only_what_was_in_flight(project: Project) -> None:
    body = WAITING.replace("'../go'", "'../go' if os.getcwd()[-1] in '345' else '.'")
    process = begin(project, count=6, body=body)
    wait_for(lambda: len(started(project)) == 4)  # 1 and 2 have ended, 3 and 4 wait
    process.kill()
    process.communicate(timeout=120)
    status = project.call("status").stdout
    assert "lost, its process died without a word" in status
    assert "6 scripts in" in status and ": 2 succeeded, 2 running, 2 not run" in status
    assert "interrupted" not in status.partition("\n6 scripts")[2]
    refused = project.call("run", "--resume", status=2).stderr
    assert "are still running: case3/script.py, case4/script.py" in refused
    assert re.search(r"hint: sharedenv cancel \S+, or wait for them", refused)
    assert "still running without it: case3/script.py, case4/script.py; to end them: sharedenv cancel" in status
    beside = project.call("run", "case3/script.py", status=2).stderr  # two processes in one folder
    assert "are still running: case3/script.py\n" in beside
    (project.path / "go").touch()
    wait_for(lambda: alone(project))
    status = project.call("status").stdout
    assert ": 2 succeeded, 2 interrupted, 2 not run" in status
    assert "  interrupted: case3/script.py, case4/script.py\n" in status
    document = json.loads(project.call("status", "--json").stdout)
    assert [case["sequence"] for case in document["interrupted"]] == [3, 4]
    listed = {how: project.call("status", "--list", how).stdout.split() for how in ("failed", "interrupted", "lost", "not-run", "succeeded")}
    numbers = {"failed": (), "interrupted": (3, 4), "lost": (3, 4, 5, 6), "not-run": (5, 6), "succeeded": (1, 2)}
    assert listed == {how: [f"case{number}/script.py" for number in found] for how, found in numbers.items()}
    done = project.call("run", "--resume", "-j2", "case*/script.py")
    assert "4 to run, 2 left as they are" in done.stderr
    assert Counter(started(project)) == {"case1": 1, "case2": 1, "case3": 2, "case4": 2, "case5": 1, "case6": 1}
    assert "6 succeeded" in project.call("status").stdout


def test_a_retry_that_is_killed_leaves_its_scripts_to_be_named_and_ended(project: Project) -> None:
    """The results of before are no news of what runs."""
    project.copies(3, body=WAITING.replace("print(", "raise SystemExit("))
    (project.path / "go").touch()
    project.call("run", "case*/script.py", status=1)
    (project.path / "go").unlink()
    (project.path / "started").unlink()
    process = project.start("run", "--retry-failed", "-j2")
    wait_for(lambda: len(started(project)) >= 2)
    status = project.call("status").stdout
    assert ": 2 running, 1 to go" in status
    assert "still running without it" not in status
    assert re.search(r"^running: case\d/script.py \d[\d.]* s, case\d/script.py \d", status, re.MULTILINE)
    document = json.loads(project.call("status", "--json").stdout)
    assert (document["failed"], document["running"], document["left"]) == (0, 2, 3)
    assert [case["sequence"] for case in document["at_work"]] == [1, 2]
    process.kill()
    process.communicate(timeout=120)
    status = project.call("status").stdout
    assert ": lost, its process died without a word" in status
    assert "still running without it: case1/script.py, case2/script.py; to end them: sharedenv cancel" in status
    assert ": 1 failed, 2 running" in status
    assert "are still running: case1/script.py, case2/script.py" in project.call("run", "--resume", status=2).stderr
    assert "had left running: case1/script.py, case2/script.py" in project.call("cancel").stderr
    assert alone(project)
    assert ": 1 failed, 2 interrupted" in project.call("status").stdout


def test_what_a_script_has_become_or_left_is_found_and_what_only_looks_like_it_is_not(project: Project) -> None:
    """The journal has the process groups: neither the command line nor the folder of a process says whose it is."""
    note = "import os, subprocess, time\nopen('../started', 'a').write(os.path.basename(os.getcwd()) + '\\n')\n"
    project.script("case1/script.py", body=note + "os.execvp('sleep', ['sleep', '300'])")
    project.script("case2/script.py", body=note + "subprocess.Popen(['sleep', '300']); os.kill(os.getpid(), 9)")
    project.script("case3/script.py", body=note + "time.sleep(300)")
    process = project.start("run", "-j3", "case*/script.py")
    wait_for(lambda: len(started(project)) == 3)
    wait_for(lambda: "2 running" in project.call("status").stdout)  # what case 2 left is a run's own to end, or to leave
    process.kill()
    process.communicate(timeout=120)
    looks = subprocess.Popen(["tail", str(project.path / "case3/script.py"), "-f"], stdout=subprocess.DEVNULL)
    editor = subprocess.Popen(["cat", str(project.path / "case1/script.py"), "-"], stdin=subprocess.PIPE, stdout=subprocess.DEVNULL)
    named = "still running without it: case1/script.py, case3/script.py; to end them"
    assert named in project.call("status").stdout
    assert len(json.loads(project.call("status", "--json").stdout)["left_running"]) == 2
    assert "are still running: case1/script.py, case3/script.py" in project.call("run", "--resume", status=2).stderr
    assert "had left running: case1/script.py, case3/script.py" in project.call("cancel").stderr
    assert "is not at work" in project.call("cancel").stderr
    assert looks.poll() is editor.poll() is None
    looks.kill()
    looks.wait()
    editor.communicate()


def test_the_scripts_of_another_run_are_not_taken_for_those_of_a_killed_one(project: Project) -> None:
    process = begin(project, count=3)
    process.kill()
    process.communicate(timeout=120)
    project.call("cancel")
    killed = project.call("status", "--all").stdout.splitlines()[1].split()[0]
    project.start("run", "-j2", "case*/script.py")
    wait_for(lambda: len(started(project)) >= 4)
    assert "still running" not in project.call("status", killed).stdout
    assert f"run {killed} is not at work" in project.call("cancel", killed).stderr
    (project.path / "go").touch()
    assert "3 succeeded" in project.call("run", "--resume", "--run-id", killed).stderr


def test_a_retry_says_what_it_left_undone(project: Project) -> None:
    project.copies(3, body="import os, sys, time\nif os.getcwd()[-1] == '1': sys.exit(not os.path.exists('../mended'))\ntime.sleep(300)")
    process = project.start("run", "-j2", "case*/script.py")
    wait_for(lambda: "1 failed" in project.call("status", status=None).stdout)
    process.send_signal(signal.SIGINT)
    process.communicate(timeout=120)
    (project.path / "mended").touch()
    told = project.call("run", "--retry-failed", status=1).stderr
    assert re.search(r"\n2 scripts never ran to the end: sharedenv run --resume --run-id \S+\n", told)


def test_what_a_run_has_at_work_no_other_begins(project: Project) -> None:
    """Neither here nor on Slurm, which isn't asked for it; of runs that have ended nobody is in the way."""
    process = begin(project, count=3)
    for command in ("run", "submit"):
        told = project.call(command, "case[13]/script.py", status=2).stderr
        assert re.search(rf"error: run \S+ works on 2 scripts of these\n  cause: process {process.pid} on ", told)
        assert re.search(r"hint: sharedenv status \S+, or --insist to begin them here as well", told)
    assert len(started(project)) == 2
    (project.path / "go").touch()
    process.communicate(timeout=120)
    assert "2 succeeded" in project.call("run", "case[13]/script.py").stderr


@pytest.mark.parametrize("arguments", [("--insist",), ("--", "another case"), ("--cwd", "case2")])
def test_a_run_beside_one_at_work_where_that_is_meant(project: Project, arguments: tuple[str, ...]) -> None:
    """With other arguments, or in another folder, a case is another one."""
    process = begin(project, count=3)
    beside = project.start("run", "-j2", "case[13]/script.py", *arguments)
    wait_for(lambda: len(started(project)) >= 4)
    (project.path / "go").touch()
    process.communicate(timeout=120)
    stderr = beside.communicate(timeout=120)[1]
    assert "2 succeeded" in stderr
    told = re.search(r"warning: run \S+ \(process (\d+) on \S+\) runs 2 scripts of these as well, in the same folders", stderr)
    assert (told and told[1]) == (str(process.pid) if arguments == ("--insist",) else None)


@pytest.mark.parametrize("stubborn", [False, True])
def test_cancel_ends_what_outlived_a_kill(project: Project, stubborn: bool) -> None:
    body = WAITING if not stubborn else "import signal\nsignal.signal(signal.SIGTERM, signal.SIG_IGN)\n" + WAITING
    process = begin(project, "--grace", "0.2", body=body)
    process.kill()
    process.communicate(timeout=120)
    assert "to end them: sharedenv --pool .sharedenv cancel " in project.call("--pool", ".sharedenv", "status").stdout
    stranger = subprocess.Popen([sys.executable, "-c", "import sys; sys.stdin.read()", str(project.path / "case1/script.py")], stdin=subprocess.PIPE)
    began = time.monotonic()
    told = project.call("--pool", ".sharedenv", "cancel").stderr
    assert time.monotonic() - began < 8  # the grace that the run has promised: 10 s where it names none
    assert "had left running: case1/script.py, case2/script.py" in told
    assert stranger.poll() is None
    stranger.communicate()
    assert alone(project)
    assert "is not at work" in project.call("cancel").stderr
    assert "still running" not in project.call("status").stdout
    (project.path / "go").touch()
    assert "5 succeeded" in project.call(*re.findall(r"sharedenv (--pool .sharedenv run --resume .*)", told)[0].split()).stderr


@pytest.mark.skipif(sys.platform != "linux", reason="forks are shared on Linux only")
def test_forks_of_a_server_that_outlive_a_kill_are_named_too(project: Project) -> None:
    process = begin(project, "--preload")
    process.kill()
    process.communicate(timeout=120)
    refused = project.call("run", "--resume", status=2).stderr
    assert "are still running: case1/script.py, case2/script.py" in refused
    (project.path / "go").touch()
    wait_for(lambda: alone(project))
    assert "5 to run" in project.call("run", "--resume").stderr


@pytest.mark.skipif(sys.platform != "linux", reason="forks are shared on Linux only")
@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGUSR1])
def test_a_signal_while_preload_imports(project: Project, tmp_path: Path, number: int) -> None:
    (tmp_path / "modules").mkdir()
    (tmp_path / "modules" / "slow.py").write_text(f"import time\nopen({str(tmp_path / 'importing')!r}, 'w').close()\ntime.sleep(200)\n")
    project.copies(3, body="import slow")
    project.build("case1/script.py")
    process = project.start("run", "--preload", "case*/script.py", env={"PYTHONPATH": str(tmp_path / "modules")})
    wait_for((tmp_path / "importing").exists)
    process.send_signal(number)
    _, stderr = process.communicate(timeout=60)
    assert process.returncode == 130, stderr
    assert "3 scripts in" in stderr and ": 3 not run" in stderr
    assert "could not be built" not in stderr
    assert "3 not run" in project.call("status").stdout
    # the import is not waited for, nor does it live on
    assert not any(b"sharedenv-fork-server" in line and os.fsencode(project.path) in line for line in _command_lines())


def _command_lines() -> list[bytes]:
    found = []
    for path in Path("/proc").glob("[0-9]*/cmdline"):
        with contextlib.suppress(OSError):  # it has ended meanwhile
            found.append(path.read_bytes())
    return found


def test_a_share_goes_on_only_with_its_scripts_named(project: Project) -> None:
    """The last run may be that of another share."""
    project.copies(4, body="import os, sys; sys.exit(os.path.exists('fails'))")
    (project.path / "case4/fails").touch()
    project.call("run", "--shard", "2/2", "case*/script.py", status=1)
    project.call("run", "--shard", "1/2", "case*/script.py")
    for flag in ("--resume", "--retry-failed"):
        told = project.call("run", flag, "--shard", "2/2", status=2).stderr
        assert f"hint: sharedenv run {flag} --shard 2/2 'case*/script.py'" in told
    (project.path / "case4/fails").unlink()
    assert "1 to run" in project.call("run", "--resume", "--shard", "2/2", "case*/script.py").stderr


def test_a_share_that_never_began_runs_when_the_array_goes_on(project: Project) -> None:
    project.copies(4)
    project.call("run", "--shard", "1/2", "case*/script.py")
    assert "nothing failed" not in project.call("run", "--retry-failed", "--shard", "2/2", "case*/script.py", status=2).stderr
    done = project.call("run", "--resume", "--shard", "2/2", "case*/script.py")
    assert "share 2/2 was never begun: running all of it" in done.stderr
    assert "2 scripts" in done.stderr and "2 succeeded" in done.stderr
    assert "nothing to run" in project.call("run", "--resume", "--shard", "2/2", "case*/script.py").stderr


def test_a_share_that_never_began_runs_though_one_of_its_scripts_was_tried_before(project: Project) -> None:
    project.copies(4)
    assert "share 1/2 was never begun" in project.call("run", "--resume", "--shard", "1/2", "case*/script.py").stderr  # nor a pool
    project.call("run", "case2/script.py")
    done = project.call("run", "--resume", "--shard", "2/2", "case*/script.py")
    assert "share 2/2 was never begun: running all of it" in done.stderr
    assert "2 succeeded" in done.stderr


def test_the_shares_of_an_array_go_on_side_by_side_with_what_one_run_began(project: Project) -> None:
    process = begin(project)
    process.send_signal(signal.SIGINT)
    process.communicate(timeout=120)
    [run] = list_runs(str(project.pool / "runs"))
    shares = [project.start("run", "--resume", "--shard", f"{index}/3", "-j1", "case*/script.py") for index in (1, 2, 3)]
    wait_for(lambda: len(started(project)) == 5)  # the first two again
    for words in (("--resume",), ("--resume", "--shard", "1/3", "case*/script.py"), ("--resume", "--shard", "1/2", "case*/script.py")):
        assert "is at work: process" in project.call("run", *words, status=2).stderr
    (project.path / "go").touch()
    for share in shares:
        assert share.wait(120) == 0
    assert [len(list_runs(str(project.pool / "runs"))), len(run.results())] == [1, 5]
    assert "5 succeeded" in project.call("status").stdout
    assert len(started(project)) == 7  # two of them were ended with the first run


def test_shares_of_another_count_are_told_which_they_were(project: Project) -> None:
    project.copies(6)
    for index in (1, 2):
        project.call("run", "--shard", f"{index}/2", "case*/script.py")
    told = project.call("run", "--resume", "--shard", "1/3", "case*/script.py", status=2).stderr
    assert "share 1/3 has 1 script that run" in told
    assert "hint: sharedenv run --resume --shard" in told


def test_fail_fast_is_not_taken_over(project: Project) -> None:
    """Else a case that fails again would hold up those behind it for ever."""
    project.copies(4, body="import os, sys; sys.exit(os.getcwd().endswith('case1'))")
    told = project.call("run", "-j1", "--fail-fast", "case*/script.py", status=1).stderr
    assert "1 failed, 3 not run" in told
    assert "3 succeeded, 1 failed" in project.call("run", "--resume", status=1).stderr


def test_scripts_that_are_edited_during_the_run_are_named(project: Project) -> None:
    project.copies(3, body="import os, time\nwhile not os.path.exists('../go'): time.sleep(0.02)")
    process = project.start("run", "-j1", "case*/script.py")
    wait_for(lambda: bool(list(project.pool.glob("runs/*/results*"))))
    path = project.path / "case3/script.py"
    path.write_text(path.read_text() + "# edited\n")
    os.utime(project.path / "case2/script.py")  # touched, and the same
    (project.path / "go").touch()
    _, stderr = process.communicate(timeout=120)
    assert "warning: edited since the run began, so its result may be of either text: case3/script.py; --resume runs it again" in stderr
    assert "1 to run, 2 left" in project.call("run", "--resume").stderr
    assert "edited" not in project.call("run", "case*/script.py").stderr


def test_retry_failed_of_a_run_that_was_cut_short_names_what_never_ran(project: Project) -> None:
    process = begin(project)
    process.send_signal(signal.SIGINT)
    process.communicate(timeout=120)
    told = project.call("run", "--retry-failed", status=1).stderr
    assert re.search(r"nothing failed, but 5 scripts never ran to the end: sharedenv run --resume --run-id \S+\n", told)


def test_resume_takes_no_script_that_is_not_there(project: Project) -> None:
    project.copies(3)
    project.call("run", "case*/script.py")
    before = project.call("status", "--all").stdout
    for name in ("nothing*/script.py", "case9/script.py"):
        assert name in project.call("run", "--resume", name, "case1/script.py", status=2).stderr
    assert project.call("status", "--all").stdout == before


def test_what_is_to_be_typed_next_finds_the_pool_from_where_one_stands(project: Project) -> None:
    project.copies(2, body="import os, sys; sys.exit(not os.path.exists('../mended'))")
    project.build("case1/script.py")
    above, name = project.path.parent, project.path.name
    told = project.call("run", f"{name}/case*/script.py", cwd=above, status=1).stderr
    (again,) = re.findall(r"to run them again: sharedenv (.*)", told)
    (project.path / "mended").touch()
    assert "2 succeeded" in project.call(*again.split(), cwd=above).stderr
    (project.path / "other").mkdir()
    missing = project.call("--pool", "other/pool", "which", "case1/script.py", status=1).stderr
    assert "hint: sharedenv --pool other/pool build case1/script.py" in missing


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGUSR1])
def test_a_first_term_or_usr1_drains(project: Project, number: int) -> None:
    process = begin(project)
    process.send_signal(number)
    time.sleep(0.3)
    assert process.poll() is None
    (project.path / "go").touch()
    stdout, stderr = process.communicate(timeout=120)
    assert process.returncode == 130, stderr
    assert len(stdout.splitlines()) == 2
    assert "starting nothing more, waiting for 2 that run" in stderr
    assert "2 succeeded, 3 not run" in stderr
    project.call("run", "--resume")
    assert set(Counter(started(project)).values()) == {1}


def test_a_second_term_ends(project: Project) -> None:
    process = begin(project)
    process.send_signal(signal.SIGTERM)
    assert process.stderr is not None
    while "waiting for" not in process.stderr.readline():
        pass
    process.send_signal(signal.SIGTERM)
    process.communicate(timeout=120)
    assert process.returncode == 130
    assert alone(project)


def test_a_script_that_ignores_term_is_killed(project: Project) -> None:
    stubborn = "import signal\nsignal.signal(signal.SIGTERM, signal.SIG_IGN)\n" + WAITING
    process = begin(project, "--grace", "0.5", body=stubborn)
    process.send_signal(signal.SIGINT)
    process.communicate(timeout=120)
    assert process.returncode == 130
    assert alone(project)


def test_what_scripts_left_behind_ends_with_ctrl_c(project: Project) -> None:
    leaving = (
        "import subprocess, sys\nsubprocess.Popen([sys.executable, '-c', 'import time; time.sleep(500)', 'script.py', __file__])\n"
        "if not __file__.endswith('case1/script.py'):\n    " + WAITING.replace("\n", "\n    ") + "\n"
    )
    process = begin(project, body=leaving)
    process.send_signal(signal.SIGINT)
    process.communicate(timeout=120)
    assert alone(project)


def test_two_at_once_on_one_run_are_refused(project: Project) -> None:
    process = begin(project)
    refused = project.call("run", "--resume", status=2)
    assert "is at work: process" in refused.stderr
    (project.path / "go").touch()
    process.communicate(timeout=120)
    assert process.returncode == 0


def test_status_of_a_run_that_goes(project: Project) -> None:
    process = begin(project)
    told = project.call("status").stdout
    assert "running, at work for" in told
    assert f"process {process.pid} on" in told
    assert "running" in project.call("status", "--all").stdout
    (project.path / "go").touch()
    process.communicate(timeout=120)
    assert "done, every script succeeded" in project.call("status").stdout


def test_retry_failed_runs_what_failed_and_no_more(project: Project) -> None:
    body = "import os, sys\nopen('ran', 'a').write('x')\nsys.exit(os.getcwd()[-1] in '24' and not os.path.exists('../mended'))"
    project.copies(4, body=body)
    failed = project.call("run", "case*/script.py", status=1)
    assert "2 succeeded, 2 failed" in failed.stderr
    assert "2 × exit 1" in failed.stderr
    (project.path / "mended").touch()
    run_id = failed.stderr.rpartition("--run-id ")[2].split()[0]
    done = project.call("run", "--retry-failed", "--run-id", run_id)
    assert "2 succeeded" in done.stderr
    assert [len((project.path / f"case{n}/ran").read_text()) for n in (1, 2, 3, 4)] == [1, 2, 1, 2]
    assert "nothing to run" in project.call("run", "--retry-failed").stderr
    assert "nothing to run" in project.call("run", "--resume", "case*/script.py").stderr


def test_a_changed_script_runs_again_and_a_new_one_joins(project: Project) -> None:
    scripts = project.copies(3, body="open('ran', 'a').write('x')")
    project.call("run", "case*/script.py", "--", "--steps", "5")
    scripts[1].write_text(scripts[1].read_text() + "import sys; print(sys.argv[1:])\n")
    project.script("case4/script.py", body="import sys; print('new', sys.argv[1:])")
    scripts[2].unlink()
    done = project.call("run", "--resume", "-k", "case*/script.py")
    assert done.stdout == "['--steps', '5']\nnew ['--steps', '5']\n"
    assert "changed since they succeeded, run again: case2/script.py" in done.stderr
    assert (project.path / "case1/ran").read_text() == "x"
    assert len(list((project.pool / "runs").iterdir())) == 1
    assert "4 scripts" in project.call("status").stdout
    assert "nothing to run" in project.call("run", "--resume", "case*/script.py").stderr


def test_scripts_edited_since_are_known_to_status_and_to_retry_failed(project: Project) -> None:
    scripts = project.copies(6, body="import os; open('ran', 'a').write('x'); assert not os.path.exists('bad'), 'it broke'")
    (project.path / "case5/bad").touch()
    project.call("run", "case*/script.py", status=1)
    assert "edited" not in project.call("status").stdout
    old = os.stat(scripts[1])
    text = scripts[1].read_text()
    scripts[0].touch()  # the same text
    scripts[1].write_text(text + "# other words\n")
    os.utime(scripts[1], ns=(old.st_atime_ns, old.st_mtime_ns))  # as `cp -p` and `tar` do
    scripts[2].write_text(text.replace("dependencies = []", 'dependencies = ["alpha"]'))  # another environment
    (project.path / "other.py").write_text(text + "# moved here\n")
    os.replace(project.path / "other.py", scripts[3])
    scripts[4].write_text(text + "# it failed\n")
    scripts[5].unlink()
    run = json.loads(project.call("status", "--json").stdout)
    assert [case["script"] for case in run["edited"]] == [str(scripts[number]) for number in (1, 2, 3)]
    told = project.call("status").stdout
    again = f"sharedenv run --resume --run-id {run['id']}"
    assert f"edited since they succeeded: case2/script.py and 2 more; to run them again, too: {again}\n" in told
    told = project.call("run", "--retry-failed", status=1).stderr
    assert "1 to run, 5 left as they are" in told
    assert "changed since they succeeded, left as they are (--resume runs them, too): case2/script.py and 2 more\n" in told
    (project.path / "case5/bad").unlink()
    project.call("run", "--resume", "--upgrade")  # the environment of one is another
    assert [len((project.path / f"case{number}/ran").read_text()) for number in range(1, 7)] == [1, 2, 2, 2, 3, 1]
    assert "edited" not in project.call("status").stdout


def test_a_script_that_is_gone_is_told_and_the_rest_goes_on(project: Project) -> None:
    scripts = project.copies(3, body="import os, sys; sys.exit(not os.path.exists('../mended'))")
    project.call("run", "case*/script.py", status=1)
    scripts[0].unlink()
    (project.path / "mended").touch()
    done = project.call("run", "--resume", status=1)
    assert "2 succeeded" in done.stderr
    assert "gone: case1/script.py" in done.stderr
    assert "the script is gone" in project.call("status").stdout


def test_the_last_run_over_these_scripts_is_the_one_that_holds_them(project: Project) -> None:
    project.copies(4, body="open('ran', 'a').write('x')")
    project.call("run", "case*/script.py")
    project.call("run", "case1/script.py")
    done = project.call("run", "--resume", "case*/script.py")
    assert "nothing to run" in done.stderr
    assert (project.path / "case2/ran").read_text() == "x"


def test_a_full_journal_is_said_and_no_case_is_lost(project: Project) -> None:
    # what a failure said goes into the journal: it grows faster than the plan
    body = "import os, sys\nopen('ran', 'a').write('x')\nsys.exit(None if os.path.exists('../mended') else 'x' * 2000)"
    project.copies(60, body=body)
    project.call("build", "case*/script.py")
    process = subprocess.Popen(
        ["bash", "-c", 'ulimit -f 20; exec "$0" "$@"', *map(str, command()), "run", "-j1", "--grace", "1", "case*/script.py"],
        env=project.env, cwd=project.path, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
    )  # fmt: skip
    _, stderr = process.communicate(timeout=120)
    assert process.returncode == 1, stderr
    assert "can't be written (File too large): starting nothing more" in stderr
    assert "could not be written to the journal" in stderr
    (project.path / "mended").touch()
    assert "60 to run" in project.call("run", "--resume").stderr
    assert "60 succeeded" in project.call("status").stdout
    counts = Counter(len((project.path / f"case{n}/ran").read_text()) for n in range(1, 61))
    assert set(counts) == {1, 2}  # once where it had not run, again where it had failed


def command() -> list[str]:
    import sys

    return [sys.executable, "-m", "sharedenv"]


def test_there_is_nothing_to_resume(project: Project) -> None:
    project.copies(1)
    assert "no pool at" in project.call("run", "--resume", status=2).stderr
    project.build("case1/script.py")
    assert "no run in" in project.call("run", "--resume", status=2).stderr
    assert "no earlier run over these scripts" in project.call("run", "--resume", "case1/script.py", status=2).stderr
    assert "no run 'x'" in project.call("run", "--resume", "--run-id", "x", status=2).stderr
    assert "give one of" in project.call("run", "--resume", "--retry-failed", status=2).stderr


def test_arguments_belong_to_what_a_run_is_over(project: Project) -> None:
    project.copies(2)
    project.call("run", "case*/script.py", "--", "--old")
    asked = "run", "--resume", "case*/script.py", "--", "--new", "a b"
    assert "no earlier run over these scripts with the arguments --new 'a b'" in project.call(*asked, status=2).stderr


def test_without_scripts_arguments_choose_among_the_cases_of_the_last_run(project: Project) -> None:
    project.copies(2, body="import sys; sys.exit('no')")
    project.call("run", "case*/script.py", "--", "--old", status=1)
    refused = project.call("run", "--resume", "--", "--new", status=2).stderr
    assert re.search(r"error: no script of run \S+ was given the arguments --new\n", refused)
    assert "2 to run" in project.call("run", "--resume", "--", "--old", status=1).stderr
    refused = project.call("run", "--resume", "--cwd", "case1", status=2).stderr
    assert re.search(r"error: run \S+ goes on where it was begun: each script in its own folder\n", refused)
    project.call("run", "case*/script.py", "--cwd", "case1", status=1)
    assert "2 to run" in project.call("run", "--resume", "--cwd", "case1", status=1).stderr
    assert f"where it was begun: --cwd {project.path}/case1\n" in project.call("run", "--resume", "--cwd", "case2", status=2).stderr


def test_options_given_by_variables_are_taken_over_as_well(project: Project) -> None:
    project.copies(1, body="import os, sys; sys.exit('threads ' + os.environ.get('OMP_NUM_THREADS', 'unset'))")
    assert "threads 3" in project.call("run", "case1/script.py", env={"SHAREDENV_THREADS": "3"}, status=1).stderr
    assert "threads 3" in project.call("run", "--resume", status=1).stderr
    assert "threads 5" in project.call("run", "--resume", env={"SHAREDENV_THREADS": "5"}, status=1).stderr
    assert "threads 2" in project.call("run", "--resume", "--threads", "2", env={"SHAREDENV_THREADS": "5"}, status=1).stderr


def test_flags_that_variables_turn_off_stay_off(project: Project) -> None:
    project.copies(1, body="print('said'); raise SystemExit('no')")
    project.call("run", "case1/script.py", "--lock-timeout", "1000000", env={"SHAREDENV_TAG": "0", "SHAREDENV_OFFLINE": "0"}, status=1)
    again = json.loads(next((project.pool / "runs").glob("*/run.json")).read_text())["extra"]["again"]
    assert again == ["--lock-timeout", "1000000"]
    assert project.call("run", "--resume", status=1).stdout == "said\n"


def test_a_retry_asks_nothing_of_what_it_leaves_as_it_is(project: Project) -> None:
    project.copies(3, body="import os, sys; sys.exit(os.getcwd()[-1] == '2')")
    project.call("run", "case*/script.py", status=1)
    (project.path / "case3/script.py").write_text("")
    assert "1 to run, 2 left as they are" in project.call("run", "--retry-failed", status=1).stderr
    assert "case3/script.py: no `# /// script` block" in project.call("run", "--resume", status=2).stderr  # it would run it again


@pytest.mark.parametrize("more", [("--resume",), ("--retry-failed", "case1/script.py")])
def test_nothing_is_gone_on_with_in_a_pool_that_anybody_may_change(project: Project, more: tuple[str, ...]) -> None:
    project.copies(1, body="open('ran', 'w'); raise SystemExit('no')")
    project.call("run", "case1/script.py", status=1)
    (project.path / "case1/ran").unlink()
    project.pool.chmod(0o777)
    assert "anybody may write into the pool" in project.call("run", *more, status=2).stderr
    assert "anybody may write into the pool" in project.call("cancel", status=2).stderr
    assert not (project.path / "case1/ran").exists()


def case(number: int, digest: str = "d") -> Case:
    return Case(number, f"/p/case{number}/s.py", (), "k", digest)


def test_choice() -> None:
    """Succeeded rests, unless its bytes changed; failed, interrupted and unknown run; --retry-failed takes failures only."""
    results = {
        1: Result(1, 1, 1.0, status=0),
        2: Result(2, 1, 1.0, status=1),
        3: Result(3, 1, 1.0, error=INTERRUPTED),
        5: Result(5, 1, 1.0, status=0, digest="e"),
    }
    old = [case(number) for number in (1, 2, 3, 4, 5)]
    now = [case(1), case(2, "new"), case(3), case(4), case(5, "e")]
    earlier = outcomes(old, results)
    chosen = choose(now, earlier, failed_only=False)
    assert [c.sequence for c in chosen.cases] == [2, 3, 4]
    assert (chosen.changed, chosen.resting) == ((), 2)
    changed = choose([case(1, "new"), case(5, "d")], earlier, failed_only=False)
    assert [c.sequence for c in changed.changed] == [1, 5]
    assert [c.sequence for c in choose(now, earlier, failed_only=True).cases] == [2]


def test_which_run_is_meant(tmp_path: Path) -> None:
    runs = str(tmp_path / "runs")
    all_ = create_run(runs, [case(1), case(2), case(3)], now=1e9)
    part = create_run(runs, [case(1)], now=1.1e9)
    other = create_run(runs, [Case(1, "/p/case1/s.py", ("x",), "k", "d")], now=1.2e9)
    found = list_runs(runs)
    assert found == [other, part, all_]
    assert find_run(found, ["/p/case1/s.py"]) == other
    assert find_run(found, ["/p/case1/s.py"], ()) == part
    assert find_run(found, ["/p/case1/s.py", "/p/case2/s.py"]) == all_
    assert find_run(found, ["/p/case3/s.py", "/p/case9/s.py"]) == all_
    assert find_run(found, ["/p/case9/s.py"]) is None


def test_cancel_ends_a_run_that_ignores_int(project: Project) -> None:
    # as a shell without job control starts what is to run in the background
    project.copies(3, body=WAITING)
    command = [sys.executable, "-m", "sharedenv", "run", "-j2", "case*/script.py"]
    shell = ["sh", "-c", 'trap "" INT; exec "$@"', "sh", *command]
    with subprocess.Popen(shell, env=project.env, cwd=project.path, stderr=subprocess.PIPE, text=True) as process:
        wait_for(lambda: len(started(project)) >= 2 or process.poll() is not None)
        told = project.call("cancel").stderr
        assert "has ended" in told, told
        process.communicate(timeout=120)
    assert process.returncode == 130
    assert alone(project)
    assert "interrupted, ended by the user" in project.call("status").stdout
    assert "is not at work" in project.call("cancel").stderr


def test_cancel_in_a_copy_of_a_project_lets_the_original_s_run_go_on(project: Project, tmp_path: Path) -> None:
    process = begin(project)
    copy = tmp_path / "copy"
    shutil.copytree(project.path, copy, symlinks=True)
    told = project.call("cancel", cwd=copy, status=1).stderr
    assert re.fullmatch(
        r"error: run \S+ is not at work here\n"
        rf"  cause: process {process.pid} works on it in the pool that this one was copied from\n\n"
        rf"hint: readlink /proc/{process.pid}/cwd\n",
        told,
    )
    assert process.poll() is None
    assert "has ended" in project.call("cancel").stderr
    process.communicate(timeout=120)


@pytest.mark.parametrize("before", [0, 1, 2])
def test_cancel_leaves_scripts_their_grace_whatever_came_before(project: Project, before: int) -> None:
    """A run that already starts nothing more (TERM, --fail-fast), or ends, was killed at once."""
    saves = "import signal, sys, time\ndef save(*_):\n    time.sleep(1.5)\n    open('saved', 'w')\n    sys.exit(1)\nsignal.signal(15, save)\n"
    process = begin(project, count=2, body=saves + WAITING)
    assert process.stderr is not None
    for said in ("starting nothing more", "ending 2")[:before]:
        process.send_signal(signal.SIGTERM)
        while said not in process.stderr.readline():
            pass
    project.call("cancel")
    process.communicate(timeout=120)
    assert [(project.path / f"case{i}/saved").exists() for i in (1, 2)] == [True, True]
    assert "2 interrupted" in project.call("status").stdout


def test_cancel_does_not_call_ended_what_goes_on(project: Project) -> None:
    body = "import signal\nsignal.signal(signal.SIGTERM, signal.SIG_IGN)\n" + WAITING
    process = begin(project, "--grace", "100", count=2, body=body)
    impatient = "import sharedenv.cli.cancel as command, sharedenv.cli.main as entry; command._WAIT = 1.0; entry.main(['cancel'])"
    told = subprocess.run([sys.executable, "-c", impatient], env=project.env, cwd=project.path, stderr=subprocess.PIPE, text=True, check=True).stderr
    assert "is ending" in told
    (project.path / "go").touch()
    process.communicate(timeout=120)


def test_the_options_of_a_run_are_taken_over_and_overridden(project: Project) -> None:
    body = "import os, sys\nprint(os.environ.get('OMP_NUM_THREADS'))\nsys.exit(not os.path.exists('../go'))"
    project.copies(3, body=body)
    options = ["--capture", "out", "--threads", "3", "--retries", "2", "--joblog", "log"]
    told = project.call("run", "case*/script.py", *options, status=1).stderr
    assert re.search(r"to run them again: sharedenv run --retry-failed --run-id [0-9-]+$", told)
    (project.path / "case1/out").write_text("")
    done = project.call("run", "--retry-failed", "--retries", "1", status=1, cwd=project.path / "case2")
    assert done.stdout == ""
    assert (project.path / "case1/out").read_text() == "3\n"
    assert len((project.path / "log").read_text().splitlines()) == 1 + 6 + 3
    (project.path / "go").touch()
    project.call("run", "--resume", "--threads", "2", "--capture", "other")
    assert (project.path / "case1/other").read_text() == "2\n"


def test_an_unfinished_run_is_not_hidden_by_a_smaller_later_one(project: Project) -> None:
    process = begin(project)
    process.send_signal(signal.SIGINT)
    process.communicate(timeout=120)
    (project.path / "go").touch()
    project.call("run", "case1/script.py")
    [_, first] = list_runs(str(project.pool / "runs"))
    said = f"run {first.id} is unfinished (5 left to run): sharedenv run --resume --run-id {first.id}"
    assert said in project.call("run", "--resume").stderr
    assert said in project.call("status").stdout
    project.call("run", "--resume", "--run-id", first.id)
    assert "unfinished" not in project.call("run", "--resume").stderr
    assert "unfinished" not in project.call("status").stdout


def test_a_resume_of_what_is_at_work_says_nothing_but_that(project: Project) -> None:
    process = begin(project)
    told = project.call("run", "--resume", status=2).stderr
    assert "is at work: process" in told and "going on with" not in told
    process.send_signal(signal.SIGTERM)
    (project.path / "go").touch()
    process.communicate(timeout=120)
    assert "stopped, it ended before every script was run" in project.call("status").stdout


def test_status_of_one_share_tells_how_all_of_them_stand(project: Project) -> None:
    """Each share has a run of its own: a glance at the last says nothing of one that failed before."""
    project.copies(8, body="import os, sys; sys.exit(os.path.exists('fails'))")
    (project.path / "case6/fails").touch()

    def task(number: int, array: str, *words: str, status: int = 0) -> str:
        environ = {"SLURM_ARRAY_TASK_ID": str(number), "SLURM_ARRAY_JOB_ID": array}
        return project.call("run", "--shard", f"{number}/4", *words, "case*/script.py", status=status, env=environ).stderr

    task(1, "68")
    assert "share 2/4 was never begun" in task(2, "69", "--resume")
    assert "share 2/4; the 2 that have begun: 4 of 4 scripts succeeded\n  not begun: share 3, 4\n" in project.call("status").stdout
    for number in (1, 2, 3, 4):
        task(number, "70", status=number == 3)
    assert "share 4/4; all 4 together: 7 of 8 scripts succeeded, 1 failed\n" in project.call("status").stdout
    for number in (3, 1):  # the same array, submitted again
        task(number, "71", status=number == 3)
    failed = next(run for run in list_runs(str(project.pool / "runs")) if run.asked.extra["share"] == "3/4")
    told = project.call("status").stdout
    assert told.endswith(
        "share 1/4; the 2 that have begun: 3 of 4 scripts succeeded, 1 failed\n"
        f"  share 3/4: done, 1 failed: sharedenv run --retry-failed --run-id {failed.id}\n"
        "  not begun: share 2, 4\n"
    )
    shares = json.loads(project.call("status", "--json").stdout)["shares"]
    assert [(one["share"], one["failed"]) for one in shares] == [(1, 0), (3, 1)]
    project.call("run", "case1/script.py")
    assert "share " not in project.call("status").stdout


def test_a_script_that_took_the_place_of_one_whose_output_nobody_reads_is_known(project: Project) -> None:
    """`sharedenv run … | less` waits with the output for its reader: what runs meanwhile is in the journal all the same."""
    project.copies(3, body="import os, sys\nif os.getcwd().endswith('case1'): sys.exit(print('x' * 200_000))\n" + WAITING)
    process = project.start("run", "-j1", "case*/script.py")
    wait_for(lambda: "case2" in started(project))
    process.kill()
    process.wait()
    assert project.call("status", "--list", "interrupted").stdout.split() == ["case1/script.py", "case2/script.py"]
    assert "case2/script.py" in project.call("run", "--resume", status=2).stderr
    project.call("cancel")
    process.communicate()


def test_cancel_of_one_share_names_those_still_at_work(project: Project) -> None:
    project.copies(4, body=WAITING)
    shares = [project.start("run", "--shard", f"{number}/2", "-j1", "case*/script.py") for number in (1, 2)]
    wait_for(lambda: len(started(project)) == 2)
    runs = {run.asked.extra["share"]: run.id for run in list_runs(str(project.pool / "runs"))}
    told = project.call("cancel", runs["2/2"]).stderr
    assert told.endswith(f"share 1 is still at work: sharedenv cancel {runs['1/2']}\n")
    assert "still at work" not in project.call("cancel", runs["1/2"]).stderr
    assert [share.wait(60) for share in shares] == [130, 130]
    for share in shares:
        share.communicate()


def test_a_task_puts_down_what_takes_the_place_of_one_whose_output_nobody_reads(project: Project) -> None:
    """As above; --output may be a pipe, or a file on a disk that is slow."""
    project.copies(3, body="import os, sys\nif os.getcwd().endswith('case1'): sys.exit(print('x' * 200_000))\n" + WAITING)
    project.call("run", "--shard", "1/1", "case1/script.py", "--capture", "out")
    [once] = list_runs(str(project.pool / "runs"))
    cases = [replace(once.cases()[0], sequence=number, script=str(project.path / f"case{number}/script.py")) for number in (1, 2, 3)]
    run = create_run(str(project.pool / "runs"), cases, command=("sharedenv", "submit"), now=time.time() + 5)
    create_array(run, 1, cases, 1, How(jobs=1))
    argv = [sys.executable, "-c", "import sharedenv.cli.worker as task; task.main()", run.path, "1"]
    with subprocess.Popen(argv, env={**project.env, "SLURM_ARRAY_TASK_ID": "1"}, stdout=subprocess.PIPE) as task:
        wait_for(lambda: "case2" in started(project))
        task.kill()
    [lost] = run.sessions()
    assert list(lost.running) == [1, 2]
    (project.path / "go").touch()
    wait_for(lambda: alone(project))
