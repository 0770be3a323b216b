"""What a task of a rung notes of its own end: squeue forgets within minutes, and many clusters have no accounting."""

from __future__ import annotations

import re
import time

from sharedenv.cluster.arrays import Array
from sharedenv.cluster.rising import mark
from sharedenv.cluster.rungs import MEMORY, TIME
from sharedenv.run.claims.folder import DiskFolder
from sharedenv.start.regular import read_regular

_EARLY = 60.0  # seconds by which Slurm may send the signal before the limit too soon
_V1, _V2 = "/sys/fs/cgroup/memory{}/memory.oom_control", "/sys/fs/cgroup{}/memory.events"


def note_limits(array: Array, task: int, restarts: int, until: float | None, killed: int, *, told: bool) -> None:
    """Notes which limits a task has met that ends now. Raises OSError.

    ``until``: when its time limit ends it, seconds since the epoch; ``killed``: what `oom_kills` was when it began; ``told``: it was told
    to end, or found too little time left.
    """
    folder, rung = DiskFolder(array.path), array.rung
    if told and until is not None and rung is not None and time.time() >= until - rung.margin - _EARLY:
        folder.mark(mark(TIME, task, restarts))
    if oom_kills() > killed:
        folder.mark(mark(MEMORY, task, restarts))


def oom_kills() -> int:
    """How many processes of this process's cgroup the kernel has killed for want of memory; 0 where that can't be known.

    It is the task's own where Slurm makes cgroups, else that of all that Slurm runs on the node.
    """
    try:
        with open("/proc/self/cgroup", encoding="utf-8", errors="surrogateescape") as file:
            lines = [line.rstrip("\n").split(":", 2) for line in file]
        own = {name: path for _, names, path in lines for name in names.split(",")}
        text = read_regular(_V1.format(own["memory"]) if "memory" in own else _V2.format(own.get("", "")))
    except (OSError, ValueError):
        return 0
    found = re.search(rb"^oom_kill (\d+)$", text, re.MULTILINE)
    return int(found[1]) if found else 0
