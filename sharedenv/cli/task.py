"""What a task of an old array (cluster/static.py) becomes: `main`, with the words RUN NUMBER; RUN is the path of the run's folder.

Job scripts that are queued have this module's name, also as `python -m sharedenv.cli.task RUN NUMBER`: it stays. What tasks of
new arrays become is worker.py.
"""

from __future__ import annotations

import functools
import os
import sys
import time
from collections.abc import Sequence
from dataclasses import replace

from sharedenv.app.recorder import Recorder
from sharedenv.cli.worker import run_task, staging
from sharedenv.cluster.arrays import Array, How
from sharedenv.cluster.restart import await_earlier, note_restart, was_restarted
from sharedenv.cluster.static import Assignment, assignment, share_of_task
from sharedenv.cluster.task import cpus_asked, prepare_all, restarts_of
from sharedenv.errors import EXIT_FAILED, SharedenvError
from sharedenv.pool.layout import Layout
from sharedenv.report.console import Console
from sharedenv.report.output import Output
from sharedenv.report.running import Screen
from sharedenv.report.words import count, first_names
from sharedenv.run.allot import Allotment, allot
from sharedenv.run.batch import Batch
from sharedenv.run.case import Case
from sharedenv.run.journal.run import Run
from sharedenv.run.journal.writer import Session
from sharedenv.run.make_starter import make_starter
from sharedenv.run.observer import AtWork
from sharedenv.run.products import halfway
from sharedenv.run.queue import Queue
from sharedenv.run.terms import BatchOptions, Outcome, Resources


def main() -> int:
    """Runs the cases of this task and returns its exit status: 0 when every one of its share succeeded."""
    return run_task(_begin)


def _begin(layout: Layout, run: Run, array: Array, console: Console) -> int:
    """Takes the task; a requeued one begins once an earlier start of it that lives begins nothing more."""
    assigned = assignment(run, array, os.environ)
    task, restarts = assigned.task, restarts_of(os.environ)
    worker = Resources(array.how.jobs, cpus_asked(array.how, os.environ), os.environ)
    allotment = allot(worker, array.how.terms.needs, console.warn, several=False)
    jobs = allotment.jobs
    if restarts:
        note_restart(array, task, restarts)
    session = run.begin(jobs=jobs, writer=assigned.writer, keys={case.key for case in assigned.cases})
    session.keep(lambda: was_restarted(array, task, restarts))
    ended = "ended by an error"
    try:
        if restarts:
            assigned = assignment(run, array, os.environ, await_earlier(run, array, task, restarts, console.say))
        outcome = _work(layout, run, assigned, session, allotment, console)
        ended = _ending(outcome)
    except SharedenvError as error:
        ended = f"ended: {error.message}"
        raise
    finally:
        session.close(ended)
        allotment.places.close()
    results = [result for result in outcome.results.values() if not result.interrupted]
    failed = sum(not result.succeeded for result in results)
    console.say(f"task {task}: {len(results) - failed:,} succeeded, {failed:,} failed, {outcome.left:,} not run")
    return EXIT_FAILED if failed or outcome.left or _failed_before(run, assigned) else 0


def _work(layout: Layout, run: Run, assigned: Assignment, session: Session, allotment: Allotment, console: Console) -> Outcome:
    how = assigned.array.how
    keys = dict.fromkeys(case.key for case in assigned.cases)
    before = f", {assigned.ended:,} before" if assigned.ended else ""
    console.say(f"task {assigned.task} of {assigned.array.tasks} of run {run.id}: {count(len(assigned.cases), 'case')}{before}")
    if assigned.edited:
        console.warn(f"edited since they were submitted, run as they are now in the environments of then: {_names(assigned.edited)}")
    chosen = staging(layout, console) if how.stage else None
    ready = prepare_all(layout, run, assigned.array.sets, keys, os.environ, how.threads, how.launcher, chosen, console.warn)
    planned = {case.sequence: case.digest for case in run.cases()}
    digests = {case.sequence: case.digest for case in assigned.cases if case.digest != planned.get(case.sequence)}
    screen = Screen(console, Output(), functools.partial(os.path.relpath, start=layout.root))
    starter = make_starter(screen.say, preload=how.preload)
    recorder = _TaskRecorder(screen, session, digests, time.time())
    begun = halfway(run).union(run.results()) if how.creates else frozenset()
    options = replace(_options(how, allotment.jobs), begun=begun)
    batch = Batch(Queue(assigned.cases), starter, options, recorder, allotment.places)
    for key, prepared in ready.items():
        recorder.ready(key, prepared)
        batch.deliver(key, prepared)
    try:
        outcome = batch.run()
    finally:
        starter.close()
    screen.finish()
    if recorder.edited:
        console.warn(f"edited while the task was at work, so results may be of either text: {_names(recorder.edited)}")
    return outcome


def _names(cases: Sequence[Case]) -> str:
    return first_names(list(dict.fromkeys(case.script for case in cases)), os.path.relpath, 1)


def _failed_before(run: Run, assigned: Assignment) -> bool:
    """Whether a case failed that an earlier start of this task has brought to an end."""
    results = run.results()
    return any(
        (result := results.get(planned.sequence)) is not None and not result.succeeded
        for planned in share_of_task(assigned.array, assigned.task)
    )


def _options(how: How, jobs: int) -> BatchOptions:
    return BatchOptions(
        jobs=jobs, hesitation=1.0, timeout=how.timeout, grace=how.grace, tries=how.retries, fail_fast=how.fail_fast, capture=how.capture,
        creates=how.creates,
    )  # fmt: skip


def _ending(outcome: Outcome) -> str:
    if outcome.interrupted:
        return "interrupted"
    return f"drained: {outcome.reason}" if outcome.left else "done"


class _TaskRecorder(Recorder):
    _yielded = False

    def tick(self, batch: AtWork) -> None:
        """Draws nothing: a task's log is read when it has ended."""
        if self._session.lost and not self._yielded:
            batch.drain("another process works on this task now: starting nothing more")
            self._session.yield_rest()
            self._yielded = True


if __name__ == "__main__":
    sys.exit(main())
