"""`plan` and `join`: real workers of one run, who come, go, are killed, sleep; each script is run once."""

from __future__ import annotations

import json
import os
import random
import re
import signal
import subprocess
import time
from collections import Counter
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.care.test_prune import age
from tests.conftest import Project
from tests.faults import bound, other_host, require

#: says in a file of its own that it has begun, then takes its time
BODY = """
import os, sys, time
begun = os.open("../begun", os.O_WRONLY | os.O_CREAT | os.O_APPEND)
os.write(begun, (os.path.basename(os.getcwd()) + "\\n").encode())
time.sleep({seconds})
os.write(os.open("../ended", os.O_WRONLY | os.O_CREAT | os.O_APPEND), (os.path.basename(os.getcwd()) + "\\n").encode())
print("said", os.path.basename(os.getcwd()))
"""


def plan(project: Project, count: int, *options: str, seconds: float = 0.05, body: str = BODY) -> str:
    """A run over so many copies of a script; its name."""
    project.copies(count, body=body.replace("{seconds}", str(seconds)))
    return project.call("plan", *options, "case*/script.py").stdout.strip()


def begun(project: Project) -> Counter[str]:
    """How often each case has begun."""
    path = project.path / "begun"
    return Counter(path.read_text().split()) if path.exists() else Counter()


def wait_for(condition: Callable[[], bool], seconds: float = 30.0) -> None:
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline, "waited in vain"
        time.sleep(0.01)


def wait_for_cases(project: Project, count: int) -> None:
    wait_for(lambda: begun(project).total() >= count)


def folder(project: Project, run: str) -> Path:
    return project.pool / "runs" / run


def holds(project: Project, run: str, pid: int | None = None, host: str = "") -> bool:
    """Whether the worker of this number, or on this host, has claimed what it has not begun."""
    for journal in folder(project, run).glob("results-worker.*"):
        first = journal.read_text().partition("\n")[0]
        if first and (owner := json.loads(first)["owner"]) and (owner["pid"] == pid or owner["host"] == host):
            worker = journal.name.removeprefix("results-").removesuffix(".1.jsonl")
            return any(token.name.endswith(f"-{worker}") for token in folder(project, run).glob("tokens/*"))
    return False


def test_what_the_page_shows_first(project: Project) -> None:
    project.copies(3, [], "print('done')")
    told = project.call("plan", "case*/script.py")
    run = told.stdout.strip()
    where = "to work on it, here or on any machine that sees this disk"
    assert f"planned 3 scripts: run {run}; {where}: sharedenv join {run}\n" in told.stderr
    assert project.call("join", run).stdout == "done\n" * 3


def test_two_workers_run_each_script_once_and_leave_two_files_besides_plan_and_versions(project: Project) -> None:
    run = plan(project, 30)
    workers = [project.start("join", run, "-j2") for _ in range(2)]
    said = [worker.communicate(timeout=120) for worker in workers]
    assert [worker.returncode for worker in workers] == [0, 0]
    assert begun(project) == Counter({f"case{number}": 1 for number in range(1, 31)})
    lines = [line for stdout, _ in said for line in stdout.splitlines()]
    assert sorted(lines) == sorted(f"said case{number}" for number in range(1, 31))
    assert all(len(stdout.splitlines()) for stdout, _ in said), "one of them did nothing"
    assert {path.name.partition(".")[0] for path in folder(project, run).iterdir()} == {"claims", "plan", "results-worker", "run", "versions"}
    assert not list((project.pool / "runs" / ".living").iterdir())
    stdout = project.call("status", run).stdout
    assert "done, every script succeeded" in stdout
    assert "2 workers\n" in stdout
    late = project.call("join", run)
    assert "nothing is left to begin" in late.stderr
    assert late.stdout == ""


def test_status_names_each_worker_and_what_it_is_at_work_on(project: Project) -> None:
    run = plan(project, 4, seconds=60)
    assert f"to go on: sharedenv join {run}" in project.call("status", run).stdout
    worker = project.start("join", run, "-j2")
    wait_for(lambda: len(begun(project)) == 2)
    stdout = project.call("status", run).stdout
    assert "1 worker, 1 at work" in stdout
    assert re.search(rf"process {worker.pid}: case1/script.py [\d.]+ m?s, case2/script.py", stdout)
    (told,) = json.loads(project.call("status", run, "--json").stdout)["workers"]
    assert (told["pid"], told["at_work"], [one["sequence"] for one in told["running"]]) == (worker.pid, True, [1, 2])
    assert os.listdir(project.pool / "runs" / ".living") == [run]


def test_a_worker_that_is_told_to_end_gives_back_what_it_has_not_begun(project: Project) -> None:
    run = plan(project, 12, seconds=0.5)
    first = project.start("join", run, "-j1")
    wait_for(lambda: len(begun(project)) >= 3 and holds(project, run, first.pid))
    first.terminate()
    _, stderr = first.communicate(timeout=60)
    assert first.returncode == 130
    assert f"to go on: sharedenv join {run}" in stderr
    project.call("join", run, "-j4")
    assert begun(project) == Counter({f"case{number}": 1 for number in range(1, 13)})


def test_who_was_killed_before_he_said_who_he_is_has_nothing_in_hand(project: Project) -> None:
    run = plan(project, 3)
    name = "worker.0123456789"
    (folder(project, run) / f"results-{name}.1.jsonl").touch()
    os.utime(folder(project, run) / f"results-{name}.1.jsonl", (1, 1))
    token = folder(project, run) / "tokens" / f"{name}-1-0-{name}"
    token.parent.mkdir(exist_ok=True)
    token.touch()
    assert "may still be at work elsewhere" in project.call("run", "--resume", "--run-id", run, status=2).stderr
    token.unlink()
    project.call("run", "--resume", "--run-id", run)
    assert begun(project) == Counter({f"case{number}": 1 for number in range(1, 4)})


@pytest.mark.slow
def test_whenever_workers_are_killed_each_script_begins_once_and_what_is_lost_is_run_by_resume(project: Project) -> None:
    chance = random.Random(23)
    run = plan(project, 400, seconds=0.1)
    killed = 0
    while killed < 30:
        some = chance.randrange(16)  # none: they are killed on their way, too
        least = begun(project).total() + some
        workers = [project.start("join", run, "-j2", stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL) for _ in range(2)]
        wait_for_cases(project, least)
        time.sleep(chance.uniform(0.0, 0.1 if some else 0.5))
        for worker in workers:
            worker.send_signal(signal.SIGKILL)
            worker.wait()
            killed += 1
    time.sleep(0.2)  # what they had started ends by itself
    assert 20 < len(begun(project)) < 380
    project.call("join", run, "-j8")
    times = begun(project)
    assert max(times.values()) == 1
    lost = {f"case{number}" for number in range(1, 401)} - times.keys()
    assert len(lost) <= killed  # killed between the claim of a case and its start
    project.call("run", "--resume", "--run-id", run)
    assert "400 succeeded" in project.call("status", run).stdout
    assert {f"case{number}" for number in range(1, 401)} == begun(project).keys()


def test_who_sleeps_for_longer_than_the_takeover_begins_nothing_afterwards_that_another_has_taken(project: Project) -> None:
    run = plan(project, 40, seconds=0.3)
    sleeper = project.start("join", run, "-j2", "--takeover", "1")
    wait_for(lambda: len(begun(project)) >= 5 and holds(project, run, sleeper.pid))
    os.kill(sleeper.pid, signal.SIGSTOP)
    assert holds(project, run, sleeper.pid)
    other = project.start("join", run, "-j4", "--takeover", "1")
    other.communicate(timeout=120)
    assert other.returncode == 0
    assert sum(begun(project).values()) == 40  # the sleeper's too, which it had claimed and not begun
    os.kill(sleeper.pid, signal.SIGCONT)
    sleeper.communicate(timeout=60)
    assert begun(project) == Counter({f"case{number}": 1 for number in range(1, 41)})
    assert "40 succeeded" in project.call("status", run).stdout


@pytest.mark.root
@pytest.mark.slow
def test_two_mounts_of_one_folder_on_two_hosts_of_which_one_dies(project: Project, tmp_path: Path) -> None:
    """Locks are local to each mount and process numbers to each host: what a dead host had claimed is taken after a time of silence."""
    require("bindfs", "unshare")
    run = plan(project, 60, seconds=0.3)
    with bound(project.path, tmp_path / "m1") as one, bound(project.path, tmp_path / "m2") as two:
        join = ("join", run, "-j2", "--takeover", "7")
        first, second = (
            project.start(*join, prefix=other_host(host), cwd=folder, start_new_session=True)
            for host, folder in (("node1", one), ("node2", two))
        )
        wait_for(lambda: len(begun(project)) >= 10 and holds(project, run, host="node2"))
        stdout = project.call("status", run).stdout
        wait_for(lambda: holds(project, run, host="node1"))
        os.killpg(first.pid, signal.SIGKILL)
        assert holds(project, run, host="node1")
        second.communicate(timeout=120)
    assert re.search(r"node1, process \d+: case", stdout)
    assert re.search(r"node2, process \d+: case", stdout)
    assert second.returncode == 0
    times = begun(project)
    assert max(times.values()) == 1
    assert len(times) >= 58  # but for what it had taken and was about to start


def test_workers_that_join_and_leave_at_random(project: Project) -> None:
    chance = random.Random(7)
    run = plan(project, 120, seconds=0.05)
    workers = []
    for _ in range(8):
        workers.append(project.start("join", run, "-j1", stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL))
        time.sleep(chance.uniform(0.0, 0.4))
        if chance.random() < 0.5:
            workers[chance.randrange(len(workers))].terminate()
    for worker in workers:
        worker.wait(timeout=120)
    project.call("join", run)
    assert begun(project) == Counter({f"case{number}": 1 for number in range(1, 121)})


#: every second one fails twice
FLAKY = """
import os, pathlib, sys
with open("tried", "a") as file: file.write("x")
sys.exit(len(pathlib.Path("tried").read_text()) < 3 and int(os.path.basename(os.getcwd())[4:]) % 2 == 0)
"""


def tried(project: Project) -> Counter[str]:
    return Counter(path.read_text() for path in project.path.glob("case*/tried"))


def test_attempts_are_counted_over_all_workers(project: Project) -> None:
    run = plan(project, 12, "--retries", "3", "--joblog", "log", body=FLAKY)
    workers = [project.start("join", run, "-j2") for _ in range(3)]
    for worker in workers:
        worker.communicate(timeout=120)
    assert tried(project) == {"x": 6, "xxx": 6}
    assert "12 succeeded" in project.call("status", run).stdout
    rows = [line.split("\t") for line in (project.path / "log").read_text().splitlines()[1:]]  # by the last worker
    assert Counter(row[0] for row in rows) == Counter({str(number): 1 if number % 2 else 3 for number in range(1, 13)})
    project.call("status", run, "--joblog", "again")
    assert (project.path / "again").read_bytes() == (project.path / "log").read_bytes()


def test_too_few_attempts_are_a_failure_of_who_made_the_last(project: Project) -> None:
    run = plan(project, 2, "--retries", "2", body=FLAKY)
    project.call("join", run, "-j2", status=1)
    assert tried(project) == {"x": 1, "xx": 1}
    assert "1 succeeded, 1 failed" in project.call("status", run).stdout


def test_fail_fast_ends_the_claims_of_all_workers(project: Project) -> None:
    body = BODY + "sys.exit(os.path.basename(os.getcwd()) == 'case3')"
    run = plan(project, 60, "--fail-fast", seconds=0.3, body=body)
    workers = [project.start("join", run, "-j2") for _ in range(2)]
    said = [worker.communicate(timeout=120)[1] for worker in workers]
    assert sorted(worker.returncode for worker in workers) in ([0, 1], [1, 1])
    assert sum("told to stop" in stderr for stderr in said) == 1
    assert len(begun(project)) < 30
    refused = project.call("join", run, status=2)
    assert "was told to stop" in refused.stderr
    assert f"hint: sharedenv run --resume --run-id {run}" in refused.stderr
    stdout = project.call("status", run).stdout
    assert f"to go on: sharedenv run --resume --run-id {run}" in stdout


def test_cancel_stops_workers_and_those_to_come(project: Project) -> None:
    run = plan(project, 20, seconds=60)
    worker = project.start("join", run, "-j2")
    wait_for(lambda: len(begun(project)) == 2)
    stderr = project.call("cancel", run).stderr
    assert f"run {run} was told to stop: 18 scripts will not be begun" in stderr
    worker.communicate(timeout=60)
    assert worker.returncode == 130
    project.call("join", run, status=2)
    assert "nothing" not in project.call("cancel", run).stderr
    assert len(begun(project)) == 2


def test_a_machine_on_which_every_script_fails_at_once_does_not_eat_the_list(project: Project) -> None:
    run = plan(project, 40, body="import os, sys\nsys.exit('BROKEN' in os.environ)")
    broken = project.call("join", run, "-j2", env={"BROKEN": "1"}, status=1)
    assert "every script has failed at once here, so this machine may be at fault" in broken.stderr
    assert re.search(rf"3\d scripts of run {run} not begun; to go on: sharedenv join {run}", broken.stderr)
    project.call("join", run, "-j2")
    stdout = project.call("status", run).stdout
    failed = re.search(r"(\d+) failed", stdout)
    assert failed is not None
    assert 6 <= int(failed[1]) <= 8  # three, three one by one, and what ran beside them
    assert re.search(r"process \d+: every script has failed at once here", stdout)


def test_one_failure_among_successes_makes_no_machine_suspect(project: Project) -> None:
    body = BODY + "sys.exit(int(os.path.basename(os.getcwd())[4:]) % 2)"
    run = plan(project, 20, body=body)
    project.call("join", run, "-j2", status=1)
    assert "10 succeeded, 10 failed" in project.call("status", run).stdout


def test_resume_runs_what_failed_and_what_was_lost_and_no_worker_begins_anything_beside_it(project: Project) -> None:
    run = plan(project, 10, seconds=30)
    worker = project.start("join", run, "-j2")
    wait_for(lambda: len(begun(project)) == 2)
    refused = project.call("run", "--resume", "--run-id", run, status=2)
    assert f"run {run} is at work" in refused.stderr
    assert f"hint: sharedenv join {run}" in refused.stderr
    worker.kill()
    worker.wait()
    refused = project.call("run", "--resume", "--run-id", run, status=2)  # its scripts live on
    assert "still running" in refused.stderr
    project.call("cancel", run)
    for script in project.path.glob("case*/script.py"):
        script.write_text(script.read_text().replace("sleep(30)", "sleep(0)"))
    project.call("run", "--resume", "--run-id", run)
    assert begun(project) == Counter({"case1": 2, "case2": 2, **{f"case{number}": 1 for number in range(3, 11)}})
    assert "nothing is left to begin" in project.call("join", run).stderr


def test_a_worker_of_another_machine_that_keeps_silent_is_not_dead(project: Project) -> None:
    run = plan(project, 10, seconds=30)
    worker = project.start("join", run, "-j2")
    wait_for(lambda: len(begun(project)) == 2)
    worker.kill()
    worker.wait()
    project.call("cancel", run)
    (journal,) = folder(project, run).glob("results-worker*")
    lines = journal.read_text().splitlines(keepends=True)
    first = json.loads(lines[0])
    first["owner"].update(host="node7", machine="elsewhere")
    journal.write_text("".join([json.dumps(first) + "\n", *lines[1:]]))
    os.utime(journal, (time.time() - 4000,) * 2)
    refused = project.call("run", "--resume", "--run-id", run, status=2)
    assert re.search(r"node7, process \d+, which had begun .*case1/script.py and 1 more: no sign for (3,9|4,0)\d\d s", refused.stderr)
    assert "--lost-too" in refused.stderr
    for script in project.path.glob("case*/script.py"):
        script.write_text(script.read_text().replace("sleep(30)", "sleep(0)"))
    project.call("run", "--resume", "--run-id", run, "--lost-too")
    assert "10 succeeded" in project.call("status", run).stdout


def test_longest_first_where_an_earlier_run_knows(project: Project) -> None:
    run = plan(project, 5, body="")
    project.call("join", run, "-j1")
    (journal,) = folder(project, run).glob("results-worker*")  # as if the later ones had taken longer
    journal.write_text(re.sub(r'"sequence":(\d),(.*?)"seconds":[\d.]+', r'"sequence":\1,\2"seconds":\1.5', journal.read_text()))
    project.script("case6/script.py")
    again = project.call("plan", "case*/script.py")
    assert "longest first, by how long 5 scripts took before" in again.stderr
    lines = (folder(project, again.stdout.strip()) / "plan.jsonl").read_text().splitlines()
    assert [json.loads(line)["sequence"] for line in lines] == [6, 5, 4, 3, 2, 1]
    given = project.call("plan", "--order", "given", "case*/script.py").stdout.strip()
    lines = (folder(project, given) / "plan.jsonl").read_text().splitlines()
    assert [json.loads(line)["sequence"] for line in lines] == [1, 2, 3, 4, 5, 6]


def test_wait_tells_of_the_whole_run(project: Project) -> None:
    body = BODY + "sys.exit(os.path.basename(os.getcwd()) == 'case1')"
    run = plan(project, 4, seconds=1, body=body)
    first = project.start("join", run, "-j1")
    wait_for(lambda: begun(project)["case1"] == 1)
    second = project.call("join", run, "-j3", "--wait", status=1)
    assert "3 succeeded, 1 failed" in second.stdout
    first.communicate(timeout=60)


def test_a_missing_environment_is_an_error_before_anything_is_claimed(project: Project) -> None:
    run = plan(project, 3)
    project.call("prune", "--all", "--yes", status=None)
    if project.environments:
        for link in (project.pool / "keys").iterdir():
            link.unlink()
    failed = project.call("join", run, status=3)
    assert "a worker builds none" in failed.stderr
    assert "hint: sharedenv build case1/script.py" in failed.stderr
    assert not begun(project)
    project.call("build", "case*/script.py")
    project.call("join", run)
    assert len(begun(project)) == 3


@pytest.mark.parametrize("command", ["run", "plan"])
def test_what_workers_are_at_work_on_nobody_else_begins(project: Project, command: str) -> None:
    run = plan(project, 3, seconds=60)
    assert project.call("plan", "case*/script.py").stdout  # nobody lives yet
    worker = project.start("join", run, "-j1")
    wait_for(lambda: len(begun(project)) == 1)
    refused = project.call(command, "case2/script.py", "case1/script.py", status=2)
    assert f"run {run} works on 2 scripts of these" in refused.stderr
    assert f"process {worker.pid} on" in refused.stderr
    assert f"hint: sharedenv join {run}, or --insist" in refused.stderr
    project.script("other/script.py")
    project.call(command, "other/script.py")
    project.call("plan", "case2/script.py", "--", "1")  # with other arguments it is another case
    project.call("plan", "--insist", "case2/script.py")
    worker.kill()
    worker.wait()
    project.call("cancel", run)
    project.call("plan", "case2/script.py")


def test_who_is_left_when_the_others_have_died_is_the_last(project: Project) -> None:
    run = plan(project, 4, "--joblog", "log", seconds=2)
    first = project.start("join", run, "-j1")
    wait_for(lambda: len(begun(project)) == 1)
    first.kill()
    first.wait()
    done = project.call("join", run, "-j3")
    again = f"sharedenv run --resume --run-id {run}"
    assert f"nothing is left to begin; cut off with a worker: 1 script of run {run}; to go on: {again}\n" in done.stderr
    assert len((project.path / "log").read_text().splitlines()) == 4  # a head and three: what was lost has no line
    project.call("run", "--resume", "--run-id", run, status=None)
    assert f"run {run} has ended" in project.call("join", run).stderr


def test_who_ends_while_others_work_is_not_the_last(project: Project) -> None:
    run = plan(project, 2, seconds=3)
    slow = project.start("join", run, "-j2")
    wait_for(lambda: len(begun(project)) == 2)
    assert f"run {run} goes on elsewhere" in project.call("join", run).stderr
    slow.communicate(timeout=60)


@pytest.mark.parametrize("kept", [0, 8, 20])
def test_an_index_that_is_cut_off_is_damage_and_no_bug(project: Project, kept: int) -> None:
    run = plan(project, 3)
    os.truncate(folder(project, run) / "plan.index", kept)
    told = project.call("join", run, status=1).stderr
    assert f"error: run {run} can't be read\n  cause: its plan is damaged: " in told
    assert "plan.index is cut off" in told
    assert not begun(project)


def test_who_can_claim_nothing_says_why(project: Project) -> None:
    run = plan(project, 2)
    place = folder(project, run) / "tokens"
    place.rmdir()
    os.mkfifo(place)
    told = project.call("join", run, status=1).stderr
    assert told.count("nothing can be claimed (Not a directory): starting nothing more") == 1
    assert not begun(project)


def test_a_tag_moves_no_cursor(project: Project) -> None:
    project.script("a\x1b[2Jb/s.py", body="print('out')")
    run = project.call("plan", "a*/s.py").stdout.strip()
    assert project.call("join", "--tag", run).stdout == "a\\x1b[2Jb/s.py\tout\n"


@pytest.mark.parametrize("damage", ["worker.1 1 0", "no claim"])
def test_a_damaged_claim_is_told_with_what_goes_on(project: Project, damage: str) -> None:
    run = plan(project, 4)
    worker = project.start("join", run, "-j1")
    wait_for(lambda: bool(begun(project)))
    worker.terminate()
    worker.communicate(timeout=60)
    claims = folder(project, run) / "claims"
    last = max(claims.iterdir(), key=lambda path: int(path.name))
    last.unlink()
    last.symlink_to(damage)
    told = project.call("join", run, status=1).stderr
    assert "can't be begun by workers" in told
    assert told.endswith(f"hint: sharedenv run --resume --run-id {run}\n")
    project.call("run", "--resume", "--run-id", run)
    assert begun(project) == Counter({f"case{number}": 1 for number in range(1, 5)})


def test_a_list_of_an_older_version_goes_on_with_files(project: Project) -> None:
    run = plan(project, 20, body=BODY.replace("time.sleep({seconds})", 'while not os.path.exists("../go"): time.sleep(0.01)'))
    claims = folder(project, run) / "claims"
    (claims / "0").unlink()  # it had none
    workers = [project.start("join", run, "-j2") for _ in range(2)]
    wait_for(lambda: len(begun(project)) == 4, 60)
    assert sorted(path.name for path in claims.iterdir()) == ["1", "2"]
    assert not any(path.is_symlink() for path in claims.iterdir())
    (project.path / "go").touch()
    for worker in workers:
        worker.communicate(timeout=60)
    assert begun(project) == Counter({f"case{number}": 1 for number in range(1, 21)})


@pytest.mark.parametrize("which", ["claims/1", "tokens/w-0-0-w"])
def test_a_link_of_somebody_else_among_the_claims_is_refused(project: Project, which: str) -> None:
    require(root=True)
    run = plan(project, 2)
    link = folder(project, run) / which
    link.symlink_to("w 1 0 0 1 1 0")
    os.lchown(link, 12345, 12345)
    assert f"{link}: it belongs to " in project.call("run", "--resume", "--run-id", run, status=2).stderr


def test_a_link_elsewhere_in_a_run_is_refused(project: Project) -> None:
    run = plan(project, 2)
    (folder(project, run) / "results-worker.1.1.jsonl").symlink_to("/dev/zero")
    assert "results-worker.1.1.jsonl: it is a link" in project.call("cancel", run, status=2).stderr


def test_what_can_not_be_joined_says_so(project: Project) -> None:
    project.copies(2)
    project.call("run", "case*/script.py")
    (run,) = (path.name for path in (project.pool / "runs").iterdir() if not path.name.startswith("."))
    refused = project.call("join", run, status=2)
    assert f"run {run} is none that others can join" in refused.stderr
    assert "no run 'nonsense'" in project.call("join", "nonsense", status=2).stderr


def test_prune_keeps_what_a_plan_waits_for(project: Project) -> None:
    plan(project, 2)
    age(project, 90)
    (run_json,) = (project.pool / "runs").glob("*/run.json")
    run_json.write_text(re.sub(r'"created":[\d.]+', f'"created":{time.time() - 5000}', run_json.read_text()))
    project.call("prune", "--unused-for", "1d")
    assert len(project.environments) == 1
    project.call("cancel")
    project.call("prune", "--unused-for", "1d")
    assert not project.environments

