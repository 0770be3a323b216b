"""`sharedenv cancel`."""

from __future__ import annotations

import contextlib
import os
import shlex
import signal
import time
from collections.abc import Iterator

import click

from sharedenv.app.journal import unwritable_run
from sharedenv.app.project import trusted
from sharedenv.app.runs import meant_run, pool_of_runs
from sharedenv.cli.options import runs
from sharedenv.cli.queued import cancel_jobs
from sharedenv.cli.unfinished import hidden_run
from sharedenv.cluster import slurm
from sharedenv.cluster.arrays import list_arrays, task_of
from sharedenv.cluster.queued import with_job
from sharedenv.cluster.status import standing
from sharedenv.errors import EXIT_FAILED, SharedenvError
from sharedenv.pool.layout import Layout
from sharedenv.pool.owner import Owner, is_here, lives, may_hold
from sharedenv.report.console import Console
from sharedenv.report.words import count, printable
from sharedenv.run.claims.blocks import STOP
from sharedenv.run.claims.folder import DiskFolder
from sharedenv.run.claims.list_end import not_begun
from sharedenv.run.journal.owned import refuse_doubt
from sharedenv.run.journal.run import Run, session_files
from sharedenv.run.journal.runs import list_runs
from sharedenv.run.journal.sessions import SessionState
from sharedenv.run.journal.shares import share_of, shares_beside
from sharedenv.run.listing import length, lists_of
from sharedenv.run.outlived import end_leftover, leftover, named, without_result
from sharedenv.run.signals import CANCEL
from sharedenv.run.terms import GRACE
from sharedenv.run.workers import living

_WAIT = 15.0  # seconds to wait for a run on this machine to end: the grace of its scripts, and some


@click.command()
@click.argument("run_id", metavar="[RUN]", required=False, shell_complete=runs)
@click.pass_obj
def cancel(console: Console, run_id: str | None) -> int:
    """Cancel a run: its jobs on Slurm, or its process on this machine. [default: the last run]"""
    layout = pool_of_runs(console.pool)
    trusted(layout)  # what it says of processes and jobs is acted upon
    run = meant_run(layout, run_id, console)
    refuse_doubt(run.path, "cancel")
    try:
        status = _cancel(run, console)
    except PermissionError:
        if os.access(run.path, os.W_OK):
            raise
        raise unwritable_run(layout, run, "cancel", f"ls -ld {shlex.quote(run.path)}") from None
    for line in _other_shares(layout, run, console):
        console.say(line)
    if run_id is None and (text := hidden_run(layout, run, console, queued_only=True)):
        console.say(text)
    return status


def _other_shares(layout: Layout, run: Run, console: Console) -> Iterator[str]:
    """How to cancel the shares beside one: each is a run of its own."""
    if share_of(run) is None:
        return
    for number, other in shares_beside(run, list_runs(layout.runs)).items():
        with contextlib.suppress(SharedenvError):
            if other.id != run.id and living(other.sessions()):
                yield f"share {number} is still at work: {console.in_pool(f'sharedenv cancel {other.id}')}"


def _cancel(run: Run, console: Console) -> int:
    arrays = [with_job(array, os.environ) for array in list_arrays(run.path)]
    if not arrays:
        return _cancel_local(run, console)
    for array in arrays:
        if array.pending:
            DiskFolder(array.path).mark(STOP)
    _stop_workers(run, console)  # before Slurm is asked: who begins meanwhile begins nothing
    jobs = {job: script for array in arrays for job, script in array.jobs.items()}
    # the last first: none is to begin because the one before it is gone
    live = sorted({task.job for task in slurm.tasks(jobs, os.environ) if task.live}, key=int, reverse=True)
    if live:
        slurm.cancel(live, os.environ)
        console.say(f"cancelled job {', '.join(sorted(live, key=int))} of run {run.id}")
    elif sign := standing(run, os.environ).sign:
        message = f"this cluster doesn't have the job of run {run.id}"
        raise SharedenvError(message, cause=sign, hint=f"sharedenv status {run.id}", exit_code=EXIT_FAILED)
    for session in living(run.sessions()):  # who has joined by hand
        if task_of(session.writer) is None and session.owner and is_here(session.owner):
            _refuse_copy(run, session)
            _end(run, session.owner)
    if not _cancel_leftover(run, "submit", console) and not live:
        console.say(f"run {run.id} has no job in the queue")
    return 0


def _cancel_local(run: Run, console: Console) -> int:
    for session in living(run.sessions()):
        _refuse_copy(run, session)
    stopped = _stop_workers(run, console)
    queued = cancel_jobs(run, console)  # after the list is closed: a task that hears of it late begins nothing
    alive = [session.owner for session in living(run.sessions()) if session.owner]
    if not alive:
        if not _cancel_leftover(run, _command(run), console) and not stopped and not queued:
            console.say(f"run {run.id} is not at work")
        return 0
    for owner in alive:
        if not is_here(owner):
            hint = f"ssh {owner.host} kill -{CANCEL.name.removeprefix('SIG')} {owner.pid}"
            if not stopped and not queued:
                raise SharedenvError(f"run {run.id} is at work on {owner.host}", hint=hint)
            if not queued:  # else the scheduler ends it
                console.say(f"on {owner.host} what runs may finish; to end it: {hint}")
    alive = [owner for owner in alive if is_here(owner)]
    if not alive:
        return 0
    for owner in alive:
        _end(run, owner)
    _await_end(alive, time.monotonic() + _WAIT)
    left = [str(owner.pid) for owner in alive if lives(owner, 0.0)]
    if left:
        look = console.in_pool(f"sharedenv status {run.id}")
        console.say(f"run {run.id} is ending: process {', '.join(left)} waits for its scripts; {look}")
    else:
        console.say(f"run {run.id} has ended; to go on: {console.in_pool(f'sharedenv {_command(run)} --resume --run-id {run.id}')}")
    return 0


def _command(run: Run) -> str:
    """The command that goes on with a run."""
    return "submit" if run.asked.extra.get("slurm") else "run"


def _stop_workers(run: Run, console: Console) -> bool:
    """Tells the workers of a run, those to come too, to start nothing more; False for a run that has none."""
    stopped = 0
    for path in lists_of(run):
        folder = DiskFolder(path)
        if left := not_begun(folder, length(run, path)):
            folder.mark(STOP)
            stopped += left
    if stopped:
        console.say(f"run {run.id} was told to stop: {count(stopped, 'script')} will not be begun")
    return stopped > 0


def _cancel_leftover(run: Run, command: str, console: Console) -> bool:
    """Ends the scripts here that outlived a kill of what had started them; False when there are none. ``command`` goes on with the run."""
    results, sessions = run.read()
    cases = without_result(run.cases(), results)
    found = leftover(run.id, sessions, cases)
    if not found:
        return False
    end_leftover(found, _grace(run))
    if left := leftover(run.id, sessions, cases):
        groups = " ".join(f"-{group}" for group in sorted({group for group, _ in left}))
        raise SharedenvError(f"can't end scripts of run {run.id}: {named(left)}", hint=f"kill -9 -- {groups}", exit_code=EXIT_FAILED)
    console.say(f"ended what the killed run {run.id} had left running: {printable(named(found))}")
    console.say("to go on: " + console.in_pool(f"sharedenv {command} --resume --run-id {run.id}"))
    return True


def _grace(run: Run) -> float:
    """What the scripts of a run were promised between TERM and KILL, in seconds."""
    words = list(run.asked.extra.get("again", ()))
    return float(words[words.index("--grace") + 1]) if "--grace" in words else GRACE


def _refuse_copy(run: Run, session: SessionState) -> None:
    """Raises SharedenvError where the process that a session names lives and writes elsewhere: the run's folder is a copy."""
    owner = session.owner
    if owner is None or not is_here(owner) or not lives(owner, 0.0):
        return
    files = [os.path.join(run.path, name) for writer, _, name in session_files(run.path) if writer == session.writer]
    if files and not any(may_hold(owner, path) for path in files):
        raise SharedenvError(
            f"run {run.id} is not at work here",
            cause=f"process {owner.pid} works on it in the pool that this one was copied from",
            hint=f"readlink /proc/{owner.pid}/cwd",
            exit_code=EXIT_FAILED,
        )


def _end(run: Run, owner: Owner) -> None:
    if not lives(owner, 0.0):
        return
    try:
        os.kill(owner.pid, CANCEL)
        os.kill(owner.pid, signal.SIGCONT)  # one that Ctrl-Z has stopped could not answer
    except ProcessLookupError:
        pass
    except PermissionError:
        message = f"run {run.id} is another user's: process {owner.pid}"
        raise SharedenvError(message, hint=f"ps -o user= -p {owner.pid}", exit_code=EXIT_FAILED) from None


def _await_end(owners: list[Owner], deadline: float) -> None:
    while any(lives(owner, 0.0) for owner in owners) and time.monotonic() < deadline:
        time.sleep(0.05)
