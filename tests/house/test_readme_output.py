"""What the README shows is what is printed: its commands are run, and what they print is held against its lines."""

from __future__ import annotations

import re
import shlex
import sys
from pathlib import Path

from sharedenv.cluster.status import ClusterStanding
from sharedenv.pool.owner import Owner
from sharedenv.report.slurm import standing_lines
from sharedenv.report.workers import worker_lines
from sharedenv.run.case import Case, Result
from sharedenv.run.journal.run import Asked, Run
from sharedenv.run.journal.sessions import SessionState
from sharedenv.run.terms import Counts
from sharedenv.run.workers import CaseState
from tests.conftest import Project
from tests.readme import assert_printed, blocks, commands, read, section

COST = shlex.join([sys.executable, str(Path(__file__).parent.parent.parent / "scripts" / "cost_of_copies.py")])

#: the demo's script, as far as it goes without the four themselves; one is larger than all who started it, or no memory is told
BODY = """
import os, scipy, numpy, matplotlib, pandas
case = os.path.basename(os.getcwd())
held = b"x" * (400 << 20 if case == "case91" else 1)
print(f"{case}: mean {0.039:+.3f}")
"""


def test_the_main_job(four: Project) -> None:
    (metadata,) = blocks(section("The main job"), "python")
    for number in range(1, 101):
        path = four.path / f"case{number}" / "script.py"
        path.parent.mkdir()
        path.write_text(metadata + BODY)
    (block,) = blocks(section("The main job"), "console")
    [(command, shown)] = commands(block)
    quick = [line for line in shown if not re.match(r"(\d+ min )?\d+ s: \d+ of", line)]  # lines of progress, of what takes long
    assert len(quick) < len(shown)
    assert_printed(quick, four.shell(command))


def test_what_it_saved(four: Project) -> None:
    """The table is that of the demo's last command."""
    (table,) = blocks(section("The main job"), "text")
    dependencies = ["scipy", "numpy", "matplotlib", "pandas"]
    four.copies(2, dependencies, BODY)
    four.shell("sharedenv run 'case*/script.py'")
    four.env["UV_CACHE_DIR"] = str(four.path.parent / "cache")  # where other tests make no environments meanwhile
    printed = four.shell(f"{COST} case1/script.py case2/script.py --copies 100")
    shown = [re.sub(" +", " ", line) for line in table.splitlines()]
    assert_printed(shown, re.sub(" +", " ", printed))
    again = four.shell(
        f"{COST} case1/script.py --copies 100", {"PYTHONDONTWRITEBYTECODE": "1"}
    )
    [entries, entries_again] = [re.findall("directory entries +([0-9,]+)", text) for text in (printed, again)]
    assert entries == entries_again, "bytecode counts, whatever a container sets"


def test_how_a_run_on_slurm_stands() -> None:
    """A failure and a dead node among 5,000 cases: the lines of `status`, from places that are made up."""
    shown = next(
        lines for block in blocks(read("cluster"), "console") for command, lines in commands(block) if command == "sharedenv status"
    )
    cases = {number: Case(number, f"case{number}/script.py", key="key") for number in range(1, 5001)}
    failed = Result(7, 1, 0.0, status=1, tail="ValueError: negative density")
    lost = [12, 28, 44, 1000, 1001]
    logs = [f".sharedenv/runs/20261122-101500/slurm/1/4711_{task}.out" for task in (12, 28, 44, 60, 76)]
    states = {number: CaseState("done") for number in cases}
    states |= {number: CaseState("interrupted", "its node failed (node3)", lost=True) for number in lost}
    states[7] = CaseState("failed")
    shown_by = {number: logs[index % 5] for index, number in enumerate(lost)}
    standing = ClusterStanding(states, {7: failed}, cases, ("4711",), (), 0.0, Counts(5000, 0, 0, 0, 0), logs=shown_by)
    run = Run("/pool/runs/20261122-101500", Asked((), (), None, 0.0, len(cases), ("key",), {}))
    printed = standing_lines(run, standing, str, lambda _, text: text)
    sessions = [
        SessionState(f"worker.1.{task}.ab", 1, Owner("node3", "x", 4241 + task, "1"), 1, 0.0, (), 0.0, {}, "done" if task > 5 else "", 0.0, False)
        for task in range(1, 251)
    ]
    printed += worker_lines(sessions, cases, 0.0, str)
    assert printed == shown[:-1]
    assert shown[-1].startswith("to go on: sharedenv submit --resume --run-id ")  # test_slurm.py follows it
