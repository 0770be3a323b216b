"""What a task of an array becomes: `main`, with the words RUN NUMBER; RUN is the path of the run's folder. It joins the array's list.

No command of the user's: `submit` writes it into the job script. It does without click, as it is started many times. Scripts that
are queued have this module's name: it stays.
"""

from __future__ import annotations

import functools
import math
import os
import signal
import sys
import time
from collections.abc import Callable, Sequence

from sharedenv.app.join import Manner, Part, join, settle
from sharedenv.app.listed import list_of
from sharedenv.cluster.arrays import Array, open_array, writer_of
from sharedenv.cluster.requeued import former_starts, left_undone, take_up
from sharedenv.cluster.task import cpus_asked, ends_at, restarts_of, task_number
from sharedenv.errors import EXIT_FAILED, EXIT_USAGE, SharedenvError
from sharedenv.pool.layout import Layout
from sharedenv.process import limit_error
from sharedenv.report.console import Console
from sharedenv.report.output import Output
from sharedenv.report.running import Screen
from sharedenv.report.words import count, first_names
from sharedenv.run.allot import allot
from sharedenv.run.case import Case
from sharedenv.run.claims.blocks import TOKENS
from sharedenv.run.claims.folder import DiskFolder
from sharedenv.run.claims.source import TOO_LONG
from sharedenv.run.journal.run import Run
from sharedenv.run.journal.runs import open_run
from sharedenv.run.make_starter import make_starter
from sharedenv.run.observer import AtWork
from sharedenv.run.terms import Resources
from sharedenv.start.distrust import Distrust
from sharedenv.start.environ import undo_coercion
from sharedenv.start.trust import check_pool


def main() -> int:
    """Works on the array's list as the task that Slurm's variables name. Returns its exit status: 0 when every case that it ran has
    succeeded and it left none.
    """
    return run_task(_work)


def run_task(work: Callable[[Layout, Run, Array, Console], int]) -> int:
    """What `work` returns of the run and the array that the words of the command line name; an error of ours is told."""
    signal.signal(signal.SIGCHLD, signal.SIG_DFL)  # as cli/main.py says
    undo_coercion()
    path, number = sys.argv[1:]
    console = Console()
    try:
        layout = Layout(os.path.dirname(os.path.dirname(path)))
        check_pool(layout.path, os.environ)
        run = open_run(layout.runs, os.path.basename(path), owned=True)
        array = open_array(run.path, int(number), owned=True)
        console = Console(array.how.verbosity)
        return work(layout, run, array, console)
    except Distrust as error:
        console.error(SharedenvError(error.message, cause=error.cause, hint=error.hint))
        return EXIT_USAGE
    except SharedenvError as error:
        console.error(error)
        return error.exit_code
    except OSError as error:  # a purged run, one that this node may not read, a disk that is full
        run_id = os.path.basename(path)
        cause = f"{error.strerror}: {error.filename}" if error.filename else str(error)
        console.error(SharedenvError(f"a task of run {run_id} can't go on", cause=cause, hint=f"sharedenv status {run_id}"))
        return EXIT_FAILED
    except RuntimeError as error:
        if (told := limit_error(error)) is None:
            raise
        console.error(told)
        return told.exit_code


def _work(layout: Layout, run: Run, array: Array, console: Console) -> int:
    task, restarts = task_number(run, array, os.environ), restarts_of(os.environ)
    if array.rung is not None and array.rung.number > 1:
        from sharedenv.cluster.climb import take_over  # noqa: PLC0415 - most arrays have one rung

        array = take_over(layout, run, array, os.environ)
    console.say(f"task {task} of {array.tasks} of run {run.id}: {count(len(array.sequences), 'case')} in its list")
    former = former_starts(run, array, task, restarts) if restarts else []
    if not DiskFolder(array.path).exists(TOKENS):  # the list is closed: thousands may come too late
        console.say(f"task {task}: nothing is left to begin")
        if array.rung is not None:
            settle(layout, run, list_of(array), 0)
        return EXIT_FAILED if (former and left_undone(run, former)) or _is_undone(array) else 0
    here = Resources(array.how.jobs, cpus_asked(array.how, os.environ), os.environ)
    allotment = allot(here, array.how.terms.needs, console.warn, several=False)
    stage = staging(layout, console) if array.how.stage else None
    killed = _oom_kills() if array.rung is not None else 0
    screen = _Log(console, Output(), functools.partial(os.path.relpath, start=layout.root))
    starter = make_starter(screen.say, preload=array.how.preload)
    manner, name = Manner(allotment.jobs, hesitation=1.0, stage=stage, until=_until(array)), writer_of(array.number, task, restarts)
    try:
        joined = functools.partial(take_up, run, array, former)
        part = join(layout, run, list_of(array), manner, starter, allotment.places, screen, name, joined)
    finally:
        starter.close()
        allotment.places.close()
    if array.rung is not None:
        from sharedenv.cluster.noted import note_limits  # noqa: PLC0415 - as above

        told = part.outcome.interrupted or part.outcome.reason.startswith("SIGTERM") or part.trouble == TOO_LONG
        note_limits(array, task, restarts, manner.until, killed, told=told)
    status = _tell(run, task, part, former, console)
    return EXIT_FAILED if _is_undone(array) else status


def staging(layout: Layout, console: Console) -> Callable[[str], str]:
    """What gives the copy on this node of an environment that the pool has, by their paths."""
    from sharedenv.app.stage import staged  # noqa: PLC0415 - other tasks do without tar and locks

    return functools.partial(staged, layout, console, os.environ)


def _oom_kills() -> int:
    from sharedenv.cluster.noted import oom_kills  # noqa: PLC0415 - as above

    return oom_kills()


def _until(array: Array) -> float | None:
    """When the time limit of this task ends it, seconds since the epoch; None where nobody says."""
    limit = math.inf if array.rung is None else array.rung.limits.seconds
    return ends_at(os.environ) or (time.time() + limit if math.isfinite(limit) else None)


def _is_undone(array: Array) -> bool:
    """Whether it is a last rung, and scripts failed below it that nobody will run again: by it go jobs that depend on all of them."""
    return array.rung is not None and array.rung.number == array.rung.of and array.taken is not None and array.taken.undone > 0


class _Log(Screen):
    def tick(self, batch: AtWork) -> None:
        """Draws nothing: a task's log is read when it has ended."""


def _tell(run: Run, task: int, part: Part, former: list[str], console: Console) -> int:
    """What became of this task's part; its exit status, by which jobs go that depend on the array."""
    if part.edited:
        console.warn(f"edited since they were submitted, run as they are now in the environments of then: {_names(part.edited)}")
    if part.torn:
        console.warn(f"edited while the task was at work, so results may be of either text: {_names(part.torn)}")
    if part.trouble and part.trouble != part.outcome.reason:  # it came before anything was begun: nobody has said it
        console.warn(part.trouble)
    cut_off = sum(result.interrupted for result in part.outcome.results.values())
    succeeded = sum(result.succeeded for result in part.outcome.results.values())
    console.say(f"task {task}: {succeeded:,} succeeded, {part.failed:,} failed, {cut_off:,} cut off; {part.left:,} of the list not begun")
    undone = part.failed or cut_off or part.unwritten or part.trouble or part.left
    return EXIT_FAILED if undone or (former and left_undone(run, former)) else 0


def _names(cases: Sequence[Case]) -> str:
    return first_names([case.script for case in cases], os.path.relpath, 1)


if __name__ == "__main__":
    sys.exit(main())
