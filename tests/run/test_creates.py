"""`--creates`: a case whose products are there is done; one that ends well without them has failed."""

from __future__ import annotations

import json
import os
from pathlib import Path

import pytest

from tests.cluster.test_slurm import Submitting, on
from tests.conftest import Project
from tests.run.test_table import write_csv
from tests.slurm import wait_until

__all__ = ["on"]

#: creates what a file `makes` names beside it, then ends as a file `ends` says; notes that it ran
BODY = """
import os, sys, time
open("ran", "a").write("x")
for name in open("makes").read().split() if os.path.exists("makes") else ():
    open(name, "w").write("half" if os.path.exists("ends") else "whole")
while os.path.exists("hold"):
    time.sleep(0.05)
if os.path.exists("ends"):
    sys.exit(int(open("ends").read()))
"""


def cases(project: Project, count: int, makes: str = "out.npz") -> list[Path]:
    folders = [script.parent for script in project.copies(count, body=BODY)]
    for folder in folders:
        (folder / "makes").write_text(makes)
    return folders


def ran(folders: list[Path]) -> list[int]:
    """How often each case was started."""
    return [len((folder / "ran").read_text()) if (folder / "ran").exists() else 0 for folder in folders]


def test_what_is_there_is_not_made_again(project: Project) -> None:
    folders = cases(project, 4)
    for folder in folders[:2]:
        (folder / "out.npz").touch()
    told = project.call("run", "--dry-run", "case*/script.py", "--creates", "out.npz")
    assert told.stdout.count("\n") == 2 and "2 scripts done before" in told.stderr
    told = project.call("run", "case*/script.py", "--creates", "out.npz", "--joblog", "log")
    assert "4 succeeded, 2 of them done before" in told.stderr and told.stderr.count("before") == 1
    assert ran(folders) == [0, 0, 1, 1]
    assert len((project.path / "log").read_text().splitlines()) == 3
    told = project.call("run", "case*/script.py", "--creates", "out.npz")
    assert "4 succeeded, 4 of them done before" in told.stderr
    status = json.loads(project.call("status", "--json").stdout)
    assert (status["succeeded"], status["done_before"], [one["cases"] for one in status["versions"]]) == (4, 4, [[]])


def test_all_of_several_products_count(project: Project) -> None:
    folders = cases(project, 3, "a.npz b.npz")
    (folders[0] / "a.npz").touch()
    (folders[1] / "a.npz").touch()
    os.symlink("nowhere", folders[1] / "b.npz")
    (folders[2] / "b.npz").mkdir()
    (folders[2] / "a.npz").mkdir()
    (folders[1] / "makes").write_text("a.npz")
    told = project.call("run", "case*/script.py", "--creates", "a.npz", "--creates", "b.npz", status=1).stderr
    assert ran(folders) == [1, 1, 0]
    assert "failed: case2/script.py: it ended with 0 and did not create b.npz" in told


def test_who_ends_well_without_its_product_has_failed(project: Project) -> None:
    folders = cases(project, 2)
    (folders[0] / "makes").unlink()
    told = project.call("run", "case*/script.py", "--creates", "out.npz", "--creates", "more", "--retries", "2", status=1).stderr
    assert "it ended with 0 and did not create out.npz, more" in told
    assert ran(folders) == [2, 2]
    failure = json.loads(project.call("status", "--json").stdout)["failures"][0]
    assert (failure["status"], failure["error"]) == (0, "it ended with 0 and did not create out.npz, more")
    for folder in folders:
        (folder / "makes").write_text("out.npz more")
    told = project.call("run", "--resume").stderr  # the option goes on with the run
    assert "2 succeeded" in told and "before" not in told


def test_half_a_product_of_a_case_that_failed_is_none(project: Project) -> None:
    folders = cases(project, 2)
    (folders[0] / "ends").write_text("1")
    told = project.call("run", "case*/script.py", "--creates", "out.npz", "--retries", "2", status=1).stderr
    assert ran(folders) == [2, 1]
    assert "failed: case1/script.py: exit 1" in told
    project.call("run", "--resume", status=1)
    assert ran(folders) == [4, 1]
    project.call("run", "case*/script.py", "--creates", "out.npz", status=1)  # nor to a new run
    assert ran(folders) == [5, 1]
    (folders[0] / "ends").unlink()
    run = project.call("plan", "case*/script.py", "--creates", "out.npz").stdout.strip()
    assert "2 succeeded, 1 of them done before" in project.call("join", run).stderr
    assert (ran(folders), (folders[0] / "out.npz").read_text()) == ([6, 1], "whole")


def test_half_a_product_of_a_case_that_was_killed_is_none(project: Project) -> None:
    folders = cases(project, 1)
    (folders[0] / "hold").touch()
    process = project.start("run", "case*/script.py", "--creates", "out.npz")
    wait_until((folders[0] / "out.npz").exists, "the case is at work")
    process.kill()
    process.wait()
    project.call("cancel")
    (folders[0] / "hold").unlink()
    project.call("run", "--resume")
    assert ran(folders) == [2]


def test_workers_pass_over_what_is_there(project: Project) -> None:
    folders = cases(project, 30)
    for folder in folders[:25]:
        (folder / "out.npz").touch()
    (folders[29] / "makes").unlink()
    run = project.call("plan", "case*/script.py", "--creates", "out.npz").stdout.strip()
    workers = [project.start("join", run, "-j2") for _ in range(2)]
    assert sorted(worker.wait(60) for worker in workers) in ([0, 1], [1, 1])
    assert ran(folders) == [0] * 25 + [1] * 5
    told = project.call("status", run).stdout
    assert "29 succeeded, 25 of them done before, 1 failed" in told


def test_the_product_of_a_row(project: Project) -> None:
    project.script("s.py", body="import sys\nif sys.argv[1] != 'no': open(sys.argv[1] + '.txt', 'w')")
    write_csv(project.path / "t.csv", [["n"], ["one"], ["a b"], ["no"]])
    (project.path / "one.txt").touch()
    told = project.call("run", "s.py", "--table", "t.csv", "--creates", "{n}.txt", "--", "{n}", status=1).stderr
    assert "s.py row 4 (n=no): it ended with 0 and did not create no.txt" in told
    assert "2 succeeded, 1 of them done before, 1 failed" in told
    told = project.call("run", "s.py", "--table", "t.csv", "--creates", "{m}.txt", "--", "{n}", status=2).stderr
    assert "t.csv:1: no column 'm' for --creates {m}.txt" in told


def test_signals_are_heard_while_thousands_are_passed_over(project: Project) -> None:
    project.script("s.py", body="import time; time.sleep(60)")
    write_csv(project.path / "t.csv", [["n"], ["wait"], *([str(number)] for number in range(5000))])
    for number in range(5000):
        (project.path / f"{number}.out").touch()
    process = project.start("run", "-j2", "s.py", "--table", "t.csv", "--creates", "{n}.out", "--", "{n}")
    journal = project.pool / "runs"
    wait_until(lambda: any(b"done_before" in path.read_bytes() for path in journal.glob("*/results*")), "cases are passed over")
    process.terminate()
    process.terminate()
    process.send_signal(2)
    _, told = process.communicate(timeout=60)
    assert "ending 1 that run" in told or "waiting for 1 that run" in told


@pytest.mark.slurm
@pytest.mark.xdist_group("slurm")
@pytest.mark.timeout(600)
def test_tasks_of_an_array_pass_over_what_is_there(on: Submitting) -> None:
    folders = cases(on, 4)
    (folders[0] / "out.npz").touch()
    (folders[3] / "ends").write_text("1")
    run = on.call("submit", "case*/script.py", "--tasks", "2", "--wait", "--creates", "out.npz", status=1).stdout.split()[0]
    assert ran(folders) == [0, 1, 1, 1]
    on.call("submit", "--resume", "--wait", "--run-id", run, status=1)
    assert ran(folders) == [0, 1, 1, 2]
