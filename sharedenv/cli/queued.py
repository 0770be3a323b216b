"""What a scheduler still has of a run that was submitted as an array of workers: for `status`, `cancel`, `submit` and `run`."""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from typing import Any

from sharedenv.app.guards import beside
from sharedenv.app.work import Work
from sharedenv.cli.schedulers import SCHEDULERS
from sharedenv.cluster.slurm import PATIENCE
from sharedenv.cluster.submissions import QueueStanding, list_submissions, standings
from sharedenv.errors import SharedenvError
from sharedenv.report.console import Console
from sharedenv.report.words import count
from sharedenv.run.journal.living import living_runs
from sharedenv.run.journal.run import Run
from sharedenv.run.journal.runs import open_run
from sharedenv.run.journal.standing import SUBMITTED, Standing
from sharedenv.run.outlived import without_result

_SOON = 10.0  # seconds that a scheduler has for who only looks


def queue_of(run: Run, environ: Mapping[str, str], patience: float = PATIENCE) -> list[QueueStanding]:
    """Where each array of workers of a run stands; [] for a run that has none, and nobody is asked."""
    return standings(list_submissions(run.path), SCHEDULERS, environ, patience)


def look_at_queue(run: Run) -> list[QueueStanding]:
    """As queue_of, for who only wants to know."""
    return queue_of(run, os.environ, _SOON)


def queue_lines(queue: Sequence[QueueStanding]) -> Iterator[str]:
    """What `status` says of it: nothing of what is over."""
    for each in queue:
        if each.waiting or each.running:
            parts = [f"{number:,} {word}" for number, word in ((each.running, "running"), (each.waiting, "waiting")) if number]
            told = f"{', '.join(parts)} of {count(each.submission.tasks, 'task')}"
            yield f"job {each.submission.job} of {_title(each)}: {told}"
        yield from (f"warning: {line}" for line in trouble_lines(each))


def trouble_lines(standing: QueueStanding) -> Iterator[str]:
    """What keeps tasks from going on, a line each, with what helps; and that nobody can tell."""
    if standing.trouble:
        yield f"{_title(standing)} does not say whether it still has tasks of it: {standing.trouble}"
    for stuck in standing.stuck:
        more = f" and {len(stuck.tasks) - 1:,} more" if len(stuck.tasks) > 1 else ""
        yield f"task {stuck.tasks[0]}{more} of job {stuck.job} is stuck: {stuck.reason}; when that is mended: {stuck.remedy}"


def stand_queued(standing: Standing, queue: Sequence[QueueStanding]) -> Standing:
    """The same standing, but `submitted` where nobody is at work and a queue still has tasks."""
    waits = standing.left and not standing.alive and any(each.live for each in queue)
    return replace(standing, state=SUBMITTED) if waits else standing


def queue_values(queue: Sequence[QueueStanding]) -> list[dict[str, Any]]:
    """It for a JSON document."""
    return [
        {
            "scheduler": each.submission.scheduler,
            "job": each.submission.job or None,
            "tasks": each.submission.tasks,
            "waiting": each.waiting,
            "running": each.running,
            "stuck": [{"tasks": list(stuck.tasks), "reason": stuck.reason} for stuck in each.stuck],
            "trouble": each.trouble or None,
        }
        for each in queue
    ]


def cancel_jobs(run: Run, console: Console) -> bool:
    """Cancels what the scheduler still has of a run's arrays of workers; False where it has nothing. Raises SharedenvError."""
    found = False
    for each in queue_of(run, os.environ):
        if each.trouble and each.live:
            raise SharedenvError(f"can't tell whether job {each.submission.job} of run {run.id} is over", cause=each.trouble)
        if each.live:
            SCHEDULERS[each.submission.scheduler].cancel([each.submission.job], os.environ)
            console.say(f"cancelled job {each.submission.job} of run {run.id}")
            found = True
    return found


def refuse_waiting(work: Work) -> None:
    """Raises SharedenvError where workers of another run that has some of these cases wait in a queue, or may."""
    wanted = {case.identity for case in work.cases}
    for name in living_runs(work.layout.runs):
        if work.run is not None and name == work.run.id:
            continue
        try:
            run = open_run(work.layout.runs, name)
            if not list_submissions(run.path):
                continue
            common = without_result((case for case in run.each_case() if case.identity in wanted), run.results())
        except SharedenvError:
            continue  # what can't be read says nothing
        if common and (live := [each for each in queue_of(run, os.environ) if each.live or each.trouble]):
            raise beside(run.id, len(common), f"its job {live[-1].submission.job} is in the queue of {_title(live[-1])}", "status")


def _title(standing: QueueStanding) -> str:
    key = standing.submission.scheduler
    return SCHEDULERS[key].title if key in SCHEDULERS else key
