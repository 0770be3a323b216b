"""A requeued task of an old array (static.py) whose first node lives: Slurm holds it for dead, its processes run on. Two starts of one
task, and each case once.

The later start says that it is there, in a file that the earlier ones look at with each heartbeat. These start nothing more then and
put that down; only then does the later one take what they have not begun.
"""

from __future__ import annotations

import os
import time
from collections.abc import Callable

from sharedenv.cluster.arrays import Array, task_of
from sharedenv.errors import SharedenvError
from sharedenv.pool.files import private
from sharedenv.run.journal.run import Run
from sharedenv.run.journal.sessions import SessionState
from sharedenv.run.workers import living
from sharedenv.start.regular import read_regular

_LOOK = 1.0  # seconds between looks at an earlier start, ten times as long as a look takes where that is more


def note_restart(array: Array, task: int, restarts: int) -> None:
    """Tells earlier starts of a task that there is another. Raises OSError."""
    path = _path(array, task)
    with open(f"{path}.{restarts}", "w", encoding="ascii", opener=private) as file:
        file.write(str(restarts))
    os.rename(file.name, path)


def was_restarted(array: Array, task: int, restarts: int) -> bool:
    """Whether there is a later start of a task than that of this number. Raises OSError."""
    try:
        return int(read_regular(_path(array, task)) or 0) > restarts
    except FileNotFoundError:
        return False


def await_earlier(run: Run, array: Array, task: int, restarts: int, tell: Callable[[str], None]) -> frozenset[int]:
    """Waits until no earlier start of a task begins anything more; the sequences that such starts still run.

    Raises SharedenvError when there is a later start, OSError.
    """
    said = False
    while True:
        began = time.monotonic()
        earlier = [state for state in living(run.sessions()) if _is_earlier(state, array, task, restarts)]
        if all(state.yielded for state in earlier):
            return frozenset(sequence for state in earlier for sequence in state.running)
        if not said:
            hosts = ", ".join(sorted({state.owner.host for state in earlier if state.owner}))
            tell(f"task {task} still runs on {hosts}, from where it was requeued: waiting until it starts nothing more there")
            said = True
        if was_restarted(array, task, restarts):
            raise SharedenvError(f"task {task} was started anew meanwhile", hint=f"sharedenv status {run.id}")
        time.sleep(max(_LOOK, 10 * (time.monotonic() - began)))


def _is_earlier(state: SessionState, array: Array, task: int, restarts: int) -> bool:
    found = task_of(state.writer)
    return found is not None and found[:2] == (array.number, task) and found[2] < restarts


def _path(array: Array, task: int) -> str:
    return os.path.join(array.path, f"restart-{task}")
