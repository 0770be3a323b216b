"""What a batch asks of Linux's scheduler, as the kernel tells it (/proc/…/sched)."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from sharedenv.run.scheduling import wake_promptly

_STANDING = """
import json, os, re

def standing():
    text = open("/proc/self/sched").read()
    return {
        "slice": int(re.search(r"se\\.slice\\s*:\\s*(\\d+)", text)[1]),
        "policy": os.sched_getscheduler(0) & ~os.SCHED_RESET_ON_FORK,
        "nice": os.getpriority(os.PRIO_PROCESS, 0),
    }
"""
_CHILD = _STANDING + "print(json.dumps(standing()))"
_PARENT = _STANDING + """
import subprocess, sys
from sharedenv.run.scheduling import wake_promptly

exec(sys.argv[1])
before = standing()
wake_promptly()
child = subprocess.run([sys.executable, "-c", sys.argv[2]], stdout=subprocess.PIPE, check=True).stdout
print(json.dumps([before, standing(), json.loads(child)]))
"""


def ask(first: str) -> list[dict[str, Any]]:
    """How a process that was busy with ``first`` stands before, and after, and how a child of it does."""
    try:
        told = "se.slice" in Path("/proc/self/sched").read_text()
    except OSError:
        told = False
    release = tuple(map(int, os.uname().release.split("-")[0].split(".")[:2])) if sys.platform == "linux" else (0, 0)
    if not told or release < (6, 12):
        pytest.skip("this kernel has no slices of a task's own, or does not tell them (Linux 6.12 with CONFIG_SCHED_DEBUG does)")
    done = subprocess.run([sys.executable, "-c", _PARENT, first, _CHILD], capture_output=True, text=True, check=True)
    answer: list[dict[str, Any]] = json.loads(done.stdout)
    return answer


@pytest.mark.parametrize("first", ["pass", "os.nice(5)"])
def test_the_loop_has_short_slices_and_what_it_starts_the_usual_ones(first: str) -> None:
    before, after, child = ask(first)
    assert 0 < after.pop("slice") < before["slice"]
    assert child == before
    assert after == {"policy": before["policy"], "nice": before["nice"]}


@pytest.mark.parametrize(
    "first",
    [
        "os.sched_setscheduler(0, os.SCHED_BATCH, os.sched_param(0))",
        pytest.param("os.setpriority(os.PRIO_PROCESS, 0, -5)", marks=pytest.mark.skipif(os.getuid() != 0, reason="a priority of its own needs root")),
    ],
)
def test_who_has_chosen_a_policy_or_a_priority_keeps_it(first: str) -> None:
    before, after, child = ask(first)
    assert before == after == child


def test_other_systems_are_asked_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    """The same numbers are other calls there, and what Linux is asked first is missing (macOS)."""
    monkeypatch.setattr(sys, "platform", "darwin")
    for name in ("sched_getscheduler", "getpriority"):
        monkeypatch.delattr(os, name)
    wake_promptly()
