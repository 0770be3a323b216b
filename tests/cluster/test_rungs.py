"""`submit --mem 4G,8G --time 1:00:00,4:00:00`: what the limits of one array end goes on in the next. Real Slurm; for memory, real cgroups
where this machine lets Slurm make some, else Slurm's word is put into squeue's mouth.
"""

from __future__ import annotations

import json
import os
import re
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.cluster.test_slurm import BODY, Submitting, cases, on
from tests.cluster.test_slurm_told import in_place_of_squeue
from tests.conftest import Project
from tests.slurm import Cluster, cgroups_for_memory, require_slurm, running_cluster, wait_until

__all__ = ["on"]  # the fixture

pytestmark = [pytest.mark.slurm, pytest.mark.xdist_group("slurm"), pytest.mark.timeout(600)]

#: takes as many MB as a file `megabytes` says, then notes that it ended well
HOG = BODY + """\
if os.path.exists("megabytes"):
    taken = [b"x" * 1_000_000 for _ in range(int(open("megabytes").read()))]
"""


@pytest.fixture(scope="module")
def limiting() -> Iterator[Cluster]:
    """A cluster whose tasks are held to their memory by cgroups."""
    require_slurm()
    with running_cluster(nodes=2, cpus=2, cgroups=cgroups_for_memory()) as cluster:
        yield cluster


@pytest.fixture
def starving(project: Project, limiting: Cluster) -> Iterator[Submitting]:
    wait_until(lambda: limiting.answers, "the controller answers")
    yield Submitting(project, limiting)
    limiting.call("scancel", "--user", str(os.getuid()))
    wait_until(lambda: not limiting.call("squeue", "-h"), "the queue is empty")


def test_what_ran_out_of_memory_goes_on_with_more(starving: Submitting) -> None:
    """One case needs the second value, one the third; a third fails by itself, and is not repeated."""
    on = starving
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
    rungs = on.slurm(run)["rungs"]
    assert [(rung["rung"], rung["memory"], rung["scripts"]) for rung in rungs] == [(1, "100M", 4), (2, "250M", 1), (3, "500M", 1)]
    assert [[Path(name).parent.name for name in rung["taken"]["memory"]] for rung in rungs] == [[], ["case1", "case2"], ["case2"]]
