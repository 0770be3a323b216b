"""`submit --mem 4G,8G --time 1:00:00,4:00:00`: what the limits of one array end goes on in the next. Real Slurm; for memory by real cgroups
where this machine lets Slurm make some, and everywhere emulated: a script that takes too much kills itself, and squeue is made to say why.
"""

from __future__ import annotations

import os
import re
import signal
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from sharedenv.run.journal.runs import open_run
from tests.cluster.test_slurm import BODY, Submitting, cases, on
from tests.cluster.test_slurm_told import in_place_of_squeue
from tests.conftest import Project
from tests.slurm import Cluster, cgroups_for_memory, require_slurm, running_cluster, wait_until

__all__ = ["on"]  # the fixture

pytestmark = [pytest.mark.slurm, pytest.mark.xdist_group("second slurm"), pytest.mark.timeout(600)]

#: takes as many MB as a file `megabytes` says; where nothing holds it to its memory, it does what the kernel would
HOG = BODY + """\
if os.path.exists("megabytes"):
    megabytes = int(open("megabytes").read())
    if "EMULATED" in os.environ and megabytes > int(os.environ["SLURM_MEM_PER_NODE"]):
        os.kill(os.getpid(), 9)
    taken = [b"x" * 1_000_000 for _ in range(megabytes)]
"""


@pytest.fixture(scope="module")
def limiting() -> Iterator[Cluster]:
    """A cluster whose tasks are held to their memory by cgroups."""
    require_slurm()
    if not (cgroups := cgroups_for_memory()):
        pytest.skip("nobody may make cgroups here: what these tests see is emulated in the others")
    with running_cluster(nodes=2, cpus=2, cgroups=cgroups) as cluster:
        yield cluster


@pytest.fixture
def starving(project: Project, limiting: Cluster) -> Iterator[Submitting]:
    """A project on that cluster."""
    wait_until(lambda: limiting.answers, "the controller answers")
    yield Submitting(project, limiting)
    limiting.call("scancel", "--user", str(os.getuid()))
    wait_until(lambda: not limiting.call("squeue", "-h"), "the queue is empty")


def emulate(on: Submitting, folder: Path) -> None:
    """From here on tasks that failed are said to have run out of memory, by the squeue of jobs, too."""
    on.env.update(in_place_of_squeue(on, folder, r"s/\|FAILED\|[^|]*\|/|OUT_OF_MEMORY||/;s/\|FAILED\|/|OUT_OF_MEMORY|/"), EMULATED="1")


def test_what_ran_out_of_memory_goes_on_with_more(starving: Submitting) -> None:
    climb(starving)


def test_what_is_said_to_have_run_out_of_memory_goes_on_with_more(on: Submitting, tmp_path: Path) -> None:
    emulate(on, tmp_path)
    climb(on)


def climb(on: Submitting) -> None:
    """One case needs the second value, one the third; a third fails by itself, and is not repeated."""
    on.copies(6, [], HOG)
    for number, megabytes in ((1, 150), (2, 350)):
        (on.path / f"case{number}" / "megabytes").write_text(str(megabytes))
    (on.path / "case3" / "bad").touch()
    done = on.call("submit", "--mem", "100M,250M,500M", "--tasks", "2", "--wait", "case*/script.py", status=1)
    run = done.stdout.strip()
    assert re.search(r"what runs out of that goes on by itself: rung 2 \(250M\), job \d+\n", done.stderr)
    assert on.ran() == cases(1, 2, 3, 4, 5, 6) + cases(1, 2) + cases(2)
    told = on.call("status", run).stdout
    assert "6 scripts: 5 done, 1 failed\n  rung 1 (100M)" in told and "1 × exit 1: negative density" in told, told
    assert re.search(r"rung 2 \(250M\), job \d+: 1 script; taken over: up to 2 for memory\n", told), told
    assert re.search(r"rung 3 \(500M\), job \d+: 1 script; taken over: 1 for memory\n", told), told
    assert on.call("status", run, "--list", "succeeded", "--rung", "2").stdout == "case1/script.py\n"
    on.call("report", run, "-o", "r.html")
    table = (on.path / "r.html").read_text().partition("was enough for</h3>")[2].partition("</table>")[0]
    rows = {label: re.findall(r"<td>([^<]*)", cells) for label, cells in re.findall(r'<tr><th scope="row">([^<]*)</th>(.*)</tr>', table)}
    assert rows["scripts begun"] == ["6", "2", "1"] and rows["succeeded"] == ["3", "1", "1"]
    assert rows["killed where memory ran out"] == ["2", "1", "0"] and rows["failed otherwise"] == ["1", "0", "0"]
    rungs = on.slurm(run)["rungs"]
    assert [(rung["rung"], rung["memory"], rung["scripts"]) for rung in rungs] == [(1, "100M", 4), (2, "250M", 1), (3, "500M", 1)]
    assert [[Path(name).parent.name for name in rung["taken"]["memory"]] for rung in rungs] == [[], ["case1", "case2"], ["case2"]]


def test_a_task_notes_what_slurm_forgets(starving: Submitting, tmp_path: Path) -> None:
    """An array takes hours, squeue remembers minutes, and there is no accounting here."""
    on = starving
    on.copies(2, [], HOG)
    (on.path / "case1" / "megabytes").write_text("150")
    on.env.update(in_place_of_squeue(on, tmp_path, "d"))
    on.call("submit", "--mem", "100M,250M", "--tasks", "1", "case*/script.py")
    wait_until(lambda: on.ran() == cases(1, 2) + cases(1), "it goes on")


def test_of_a_task_that_is_killed_all_its_scripts_go_on(on: Submitting, tmp_path: Path) -> None:
    """Some Slurms end the whole task, and its worker with it: nobody has said a word."""
    emulate(on, tmp_path)
    on.copies(4, [], BODY)
    (on.path / "hold").touch()
    run, job = on.submit("--mem", "100M,200M", "--tasks", "1", "-j", "2", "--order", "given", "case*/script.py")
    wait_until(lambda: on.ran() == cases(1, 2), "two are at work")
    [session] = open_run(str(on.pool / "runs"), run).sessions()
    assert session.owner is not None
    os.kill(session.owner.pid, signal.SIGKILL)
    for group in session.groups.values():
        os.killpg(group, signal.SIGKILL)
    (on.path / "hold").unlink()
    wait_until(lambda: on.counts(run) == {"done": 4}, "all go on")
    assert on.ran() == cases(1, 2) + cases(1, 2, 3, 4)
    assert "1 script; taken over" not in (told := on.call("status", run).stdout)
    assert "4 scripts; taken over: up to 2 for memory, 2 that its tasks had to leave\n" in told, told
    assert on.cluster.wait_for_end(str(int(job) + 1)).popitem()[1] == "COMPLETED"


def test_until_it_begins_what_is_to_go_on_waits(on: Submitting, tmp_path: Path) -> None:
    """`status` says where for, others are refused it, and --resume leaves it where it is."""
    emulate(on, tmp_path)
    on.copies(3, [], HOG)
    (on.path / "case1" / "megabytes").write_text("150")
    (on.path / "case2" / "bad").touch()
    (on.path / "hold").touch()
    run, job = on.submit("--mem", "100M,200M", "--tasks", "1", "case*/script.py")
    above = str(int(job) + 1)
    on.cluster.call("scontrol", "hold", above)
    (on.path / "hold").unlink()
    on.cluster.wait_for_end(job)
    assert on.counts(run) == {"done": 1, "failed": 1, "waiting": 1}
    told = on.call("status", run).stdout
    assert "1 waiting: rung 2 (200M), for more memory\n    case1/script.py\n" in told
    assert f"rung 2 (200M), job {above}: nothing yet\n" in told and "to go on" not in told
    assert on.call("status", run, "--list", "failed").stdout == "case2/script.py\n"
    assert f"run {run} works on 1 script of these" in on.call("run", "case1/script.py", status=2).stderr
    (on.path / "case2" / "bad").unlink()
    assert "submitted 1 script in 1 task" in on.call("submit", "--resume").stderr
    on.cluster.call("scontrol", "release", above)
    wait_until(lambda: on.counts(run) == {"done": 3}, "all have ended")
    assert on.ran() == cases(1, 2, 3) + cases(2) + cases(1)


@pytest.mark.parametrize("way", ["cancel", "scancel"])
def test_what_was_cancelled_does_not_go_on(way: str, on: Submitting) -> None:
    on.copies(3, [], BODY)
    (on.path / "hold").touch()
    run, job = on.submit("--mem", "100M,200M,300M", "--tasks", "1", "case*/script.py")
    wait_until(lambda: on.ran().total() == 1, "it is at work")
    if way == "cancel":
        told = on.call("cancel", run).stderr
        assert f"cancelled job {job}, {int(job) + 1}, {int(job) + 2} of run {run}" in told
    else:
        on.cluster.call("scancel", job)
    (on.path / "hold").unlink()
    for number in range(3):
        on.cluster.wait_for_end(str(int(job) + number))
    assert on.ran().total() == 1
    assert on.counts(run) == {"interrupted": 1, "left": 2}
    on.call("submit", "--resume", "--wait")
    assert on.counts(run) == {"done": 3}


def test_a_rung_that_sbatch_refuses_leaves_nothing_in_the_queue(on: Submitting, tmp_path: Path) -> None:
    """What has begun by then is known: the run stays."""
    on.copies(2, [], BODY)
    real = subprocess.run(["sh", "-c", "command -v sbatch"], env=on.env, capture_output=True, text=True, check=True).stdout.strip()
    (tmp_path / "sbatch").write_text(f'#!/bin/sh\ncase "$*" in *afterany*) echo "sbatch: error: QOSMaxSubmitJobPerUserLimit" >&2; exit 1;; esac\nexec {real} "$@"\n')
    (tmp_path / "sbatch").chmod(0o755)
    told = on.call("submit", "--mem", "100M,200M", "case*/script.py", env={"PATH": f"{tmp_path}:{on.env['PATH']}"}, status=1).stderr
    assert "error: sbatch did not take the job of rung 2 (200M)\n  cause: QOSMaxSubmitJobPerUserLimit\n" in told
    [run] = re.findall(r"hint: sharedenv status (\S+)", told)
    wait_until(lambda: not on.cluster.call("squeue", "-h"), "the queue is empty")
    on.call("submit", "--resume", "--wait")
    assert on.counts(run) == {"done": 2}


def test_resume_begins_where_all_that_is_left_has_been(on: Submitting, tmp_path: Path) -> None:
    emulate(on, tmp_path)
    on.copies(3, [], HOG)
    (on.path / "case1" / "megabytes").write_text("250")
    run = on.call("submit", "--mem", "100M,200M", "--tasks", "1", "--wait", "case*/script.py", status=1).stdout.strip()
    assert on.ran() == cases(1, 2, 3) + cases(1)
    assert "rung" not in on.call("submit", "--resume", "--wait", status=1).stderr.partition("submitted")[0]
    assert on.ran()["case1"] == 3  # at 200M, and not at 100M before
    on.call("submit", "--resume", "--mem", "200M,300M", "--wait")
    assert on.counts(run) == {"done": 3} and on.ran()["case1"] == 5


def test_print_shows_the_script_of_each_rung(on: Submitting) -> None:
    on.copies(2, [], BODY)
    shown = on.call("submit", "--print", "--mem", "4G,8G", "--time", "60,2:00:00,1-0", "case*/script.py").stdout
    assert re.findall(r"^#SBATCH --(?:time|mem|dependency)=.*", shown, re.MULTILINE) == [
        "#SBATCH --time=60", "#SBATCH --mem=4G",
        "#SBATCH --dependency=afterany:RUNG1", "#SBATCH --time=2:00:00", "#SBATCH --mem=8G",
        "#SBATCH --dependency=afterany:RUNG2", "#SBATCH --time=1-0", "#SBATCH --mem=8G",
    ]  # fmt: skip
    assert not (on.pool / "runs").exists() or not list((on.pool / "runs").glob("2*"))


@pytest.mark.parametrize(
    ("words", "told"),
    [
        (("--mem", "8G,4G"), "--mem goes down from 8G to 4G"),
        (("--mem", "4G,8G", "--fail-fast"), "--fail-fast leaves nothing to the next of several values"),
        (("--mem", "4G,8G", "--sbatch", "--mem-per-cpu=1G"), "--mem has several values, and --sbatch has one for all"),
        (("--time", "10,20", "--sbatch", "-t 5"), "--time has several values, and --sbatch has one for all"),
        (("--after", "20260101-000000"), "no run '20260101-000000'"),
    ],
)
def test_what_makes_no_ladder_is_refused(words: tuple[str, ...], told: str, on: Submitting) -> None:
    on.copies(1, [], BODY)
    assert told in on.call("submit", *words, "case*/script.py", status=2).stderr
    assert not on.cluster.call("squeue", "-h")


def test_after_another_run_that_climbs(on: Submitting, tmp_path: Path) -> None:
    """It begins when the last rung has ended well, though the first one has failed; and never where a script has."""
    emulate(on, tmp_path)
    for folder in ("first", "second"):
        (on.path / folder).mkdir()
    on.copies(4, [], HOG)
    (on.path / "case1" / "megabytes").write_text("150")
    (on.path / "hold").touch()
    first, job = on.submit("--mem", "100M,200M", "--tasks", "1", "case1/script.py", "case2/script.py")
    done = on.call("submit", "--after", first, "case3/script.py")
    assert f"begins when run {first} has ended well: job {int(job) + 1}\n" in done.stderr
    assert on.counts(done.stdout.strip()) == {"waiting": 1}
    (on.path / "hold").unlink()
    wait_until(lambda: on.counts(done.stdout.strip()) == {"done": 1}, "it has begun")
    assert on.counts(first) == {"done": 2}
    assert on.ran() == cases(1, 2) + cases(1) + cases(3)
    assert f"run {first} has ended well: nothing to wait for\n" in on.call("submit", "--after", first, "--wait", "case4/script.py").stderr


def test_after_a_run_that_fails_nothing_begins(on: Submitting, tmp_path: Path) -> None:
    emulate(on, tmp_path)
    on.copies(4, [], HOG)
    (on.path / "case1" / "megabytes").write_text("150")
    (on.path / "case2" / "bad").touch()
    (on.path / "hold").touch()
    first, _ = on.submit("--mem", "100M,200M", "--tasks", "1", "case1/script.py", "case2/script.py")
    after, job = on.submit("--after", first, "case3/script.py")
    (on.path / "hold").unlink()
    assert set(on.cluster.wait_for_end(job).values()) == {"CANCELLED"}
    assert on.counts(first) == {"done": 1, "failed": 1}
    assert "1 not run: the job that it depends on did not end as --dependency asks" in on.call("status", after).stdout
    told = on.call("submit", "--after", first, "case4/script.py", status=2).stderr
    assert told == (
        f"error: run {first} does not end well, so nothing can follow it\n  cause: 1 failed\n\nhint: sharedenv submit --resume --run-id {first}\n"
    )


def test_after_a_run_of_this_machine(on: Submitting) -> None:
    """One that is over can be followed, one that failed or that no queue knows can't."""
    on.copies(3, [], BODY)
    (on.path / "case2" / "bad").touch()
    on.call("run", "case1/script.py")

    def names() -> list[str]:
        return sorted(path.name for path in (on.pool / "runs").glob("2*"))

    [well] = names()
    on.call("submit", "--after", well, "--wait", "case3/script.py")
    on.call("run", "case2/script.py", status=1)
    told = on.call("submit", "--after", names()[-1], "case3/script.py", status=2).stderr
    assert "did not end well, so nothing can follow it\n  cause: 1 script of it did not succeed\n" in told
    assert f"hint: sharedenv run --resume --run-id {names()[-1]}\n" in told


@pytest.mark.slow  # a limit of a minute, which Slurm looks at each half minute
def test_what_had_its_time_goes_on_with_more(on: Submitting) -> None:
    """One has all of the first limit; the others, which nobody could begin, have proven nothing, and are done, too."""
    on.copies(4, [], BODY + 'if not os.path.exists("../first"):\n    open("../first", "w").close()\n    time.sleep(300)\n')
    done = on.call("submit", "--time", "1,2", "--tasks", "1", "--order", "given", "--wait", "case*/script.py")
    run = done.stdout.strip()
    assert on.counts(run) == {"done": 4}
    assert on.ran() == cases(1, 2, 3, 4) + cases(1)
    taken = on.slurm(run)["rungs"][1]["taken"]
    assert {why: [Path(name).parent.name for name in some] for why, some in taken.items()} == {
        "memory": [], "time": ["case1"], "rest": ["case2", "case3", "case4"],
    }  # fmt: skip
    assert "4 scripts; taken over: 1 for time, 3 that its tasks had to leave\n" in on.call("status", run).stdout
