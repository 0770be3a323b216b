"""Runs on Slurm once they are submitted: `sharedenv cancel`, what `status` tells of them, and `submit --wait`."""

from __future__ import annotations

import os
import shlex
import signal
import sys
import time
from collections.abc import Callable
from typing import Any

import click

from sharedenv.cli.options import Globals
from sharedenv.errors import EXIT_FAILED, EXIT_INTERRUPTED, SharedenvError
from sharedenv.pool.layout import find_pool
from sharedenv.pool.owner import Owner, is_here, lives
from sharedenv.report.console import Console
from sharedenv.report.progress import Progress
from sharedenv.report.slurm import standing_lines, standing_value
from sharedenv.report.words import short_path
from sharedenv.run.case import Result
from sharedenv.run.journal import Run, list_runs, open_run
from sharedenv.run.orders import Counts
from sharedenv.slurm import cluster
from sharedenv.slurm.arrays import Array, list_arrays, task_of
from sharedenv.slurm.status import Standing, standing

_LOOK = 1.0  # seconds between looks at the journal, ten times as long as a look takes where that is more
_ASK = (2.0, 30.0)  # seconds between questions to squeue: at first, and in the end

_WAIT = 15.0  # seconds to wait for a run on this machine to end: the grace of its scripts, and some


@click.command()
@click.argument("run_id", metavar="[RUN]", required=False)
@click.pass_context
def cancel(context: click.Context, run_id: str | None) -> int:
    """Cancel a run: its jobs on Slurm, or its process on this machine. [default: the last run]"""
    console: Console = context.obj.console
    run = find_run(context, run_id)
    arrays = list_arrays(run.path)
    if not arrays:
        return _cancel_local(run, console)
    jobs = [job for array in arrays for job in (array.build, array.job) if job]
    live = sorted({task.job for task in cluster.tasks(jobs, os.environ) if task.waiting or task.running})
    if not live:
        console.say(f"run {run.id} has no job in the queue")
        return 0
    cluster.cancel(live, os.environ)
    console.say(f"cancelled job {', '.join(live)} of run {run.id}")
    return 0


def find_run(context: click.Context, run_id: str | None) -> Run:
    """The run of this name, or the last one of the pool at hand. Raises SharedenvError."""
    globals_: Globals = context.obj
    layout = find_pool(globals_.pool, os.environ, (), os.getcwd())
    if layout is None:
        raise SharedenvError("no pool here or above, so no run", hint="sharedenv --pool DIR status")
    if run_id is not None:
        return open_run(layout.runs, run_id)
    runs = list_runs(layout.runs)
    if not runs:
        raise SharedenvError(f"no run in {layout.runs}", hint="sharedenv run 'case*/script.py'")
    return runs[0]


def is_on_slurm(run: Run) -> bool:
    """Whether a run was submitted: `tell_slurm` and `slurm_value` know more of it than its sessions."""
    return bool(list_arrays(run.path))


def tell_slurm(run: Run, globals_: Globals, here: str) -> None:
    """What `status` says of a run on Slurm, on stdout."""
    console = globals_.console
    style = console.style if sys.stdout.isatty() or console.color == "always" else lambda _, text: text
    for line in _lines(run, standing(run, os.environ), globals_, here, style):
        console.result(line)


def slurm_value(run: Run) -> dict[str, Any]:
    """What `status --json` adds for a run on Slurm."""
    return standing_value(standing(run, os.environ))


def _lines(
    run: Run, stands: Standing, globals_: Globals, here: str, style: Callable[[str, str], str]
) -> list[str]:
    lines = standing_lines(run, stands, lambda path: short_path(path, here), style)
    if stands.over and stands.count("failed", "lost", "left"):
        pool = ["--pool", globals_.pool] if globals_.pool else []
        lines.append(f"to go on: {shlex.join(['sharedenv', *pool, 'submit', '--resume', '--run-id', run.id])}")
    return lines


def wait(run: Run, array: Array, here: str, globals_: Globals) -> int:
    """Follows an array to its end, then tells how it ended. Ctrl-C leaves the job and says how to come back."""
    console = globals_.console
    progress = Progress(console)
    try:
        stands = _follow(run, array, progress)
    except KeyboardInterrupt:
        progress.hide()
        console.say(f"job {array.job} goes on; where it stands: sharedenv status {run.id}; to end it: sharedenv cancel {run.id}")
        return EXIT_INTERRUPTED
    progress.hide()
    for line in _lines(run, stands, globals_, here, console.style):
        console.say(line)
    return 0 if stands.count("done") == len(stands.places) else EXIT_FAILED


def _follow(run: Run, array: Array, progress: Progress) -> Standing:
    delay, ask, running = _ASK[0], 0.0, 0
    submitted = {planned.sequence for planned in array.cases}
    while True:
        began = time.monotonic()
        results = _ended(run, array)
        if submitted <= results.keys() or began >= ask:
            stands = standing(run, os.environ)
            if stands.over or submitted <= results.keys():
                return stands
            running = stands.count("running")
            delay, ask = min(delay * 1.5, _ASK[1]), began + delay
        if progress.due():
            succeeded = sum(result.succeeded for result in results.values())
            progress.show(Counts(len(submitted), succeeded, len(results) - succeeded, running, 0))
        time.sleep(max(_LOOK, 10 * (time.monotonic() - began)))


def _ended(run: Run, array: Array) -> dict[int, Result]:
    """The results that the tasks of an array have written, by sequence."""
    return {
        sequence: result
        for writer, results in run.results_by_writer().items()
        if (found := task_of(writer)) is not None and found[0] == array.number
        for sequence, result in results.items()
        if not result.interrupted
    }


def _cancel_local(run: Run, console: Console) -> int:
    alive = [state.owner for state in run.sessions() if state.alive and state.owner]
    if not alive:
        console.say(f"run {run.id} is not at work")
        return 0
    for owner in alive:
        if not is_here(owner):
            raise SharedenvError(
                f"run {run.id} is at work on {owner.host}",
                hint=f"ssh {owner.host} 'kill {owner.pid}; sleep 1; kill {owner.pid}'",
            )
    deadline = time.monotonic() + _WAIT
    # TERM twice, not INT: a run in the background of a script was started with INT ignored, and INT is to stay ignored
    # there. The first TERM starts nothing more, the second ends what runs; a third would cut its grace short
    for _ in range(2):
        for owner in alive:
            _terminate(run, owner)
        _await_end(alive, min(deadline, time.monotonic() + 1.0))
    _await_end(alive, deadline)
    left = [str(owner.pid) for owner in alive if lives(owner, 0.0)]
    if left:
        console.say(f"run {run.id} is ending: process {', '.join(left)} waits for its scripts; sharedenv status {run.id}")
    else:
        console.say(f"run {run.id} has ended; to go on: sharedenv run --resume --run-id {run.id}")
    return 0


def _terminate(run: Run, owner: Owner) -> None:
    if not lives(owner, 0.0):
        return
    try:
        os.kill(owner.pid, signal.SIGTERM)
        os.kill(owner.pid, signal.SIGCONT)  # one that Ctrl-Z has stopped could not answer
    except ProcessLookupError:
        pass
    except PermissionError:
        message = f"run {run.id} is another user's: process {owner.pid}"
        raise SharedenvError(message, hint=f"ps -o user= -p {owner.pid}", exit_code=EXIT_FAILED) from None


def _await_end(owners: list[Owner], deadline: float) -> None:
    while any(lives(owner, 0.0) for owner in owners) and time.monotonic() < deadline:
        time.sleep(0.05)
