"""What `status` tells, and `cancel` ends, of what a scheduler still has of a run that was submitted as an array of workers."""

from __future__ import annotations

import os
from collections.abc import Iterator, Sequence
from typing import Any

from sharedenv.app.queued import queue_of, title_of
from sharedenv.cluster.schedulers import SCHEDULERS
from sharedenv.cluster.submissions import QueueStanding
from sharedenv.errors import SharedenvError
from sharedenv.report.console import Console
from sharedenv.report.words import count
from sharedenv.run.journal.run import Run


def queue_lines(queue: Sequence[QueueStanding]) -> Iterator[str]:
    """What `status` says of it: nothing of what is over."""
    for each in queue:
        if each.waiting or each.running:
            parts = [f"{number:,} {word}" for number, word in ((each.running, "running"), (each.waiting, "waiting")) if number]
            told = f"{', '.join(parts)} of {count(each.submission.tasks, 'task')}"
            yield f"job {each.submission.job} of {title_of(each)}: {told}"
        for reason, tasks in each.ended.items():
            more = f" and {len(tasks) - 1:,} more" if len(tasks) > 1 else ""
            yield f"task {tasks[0]}{more} of job {each.submission.job} died without a word: {reason}"
        yield from (f"warning: {line}" for line in trouble_lines(each))


def trouble_lines(standing: QueueStanding) -> Iterator[str]:
    """What keeps tasks from going on, a line each, with what helps; and that nobody can tell."""
    if standing.trouble:
        yield f"{title_of(standing)} does not say whether it still has tasks of it: {standing.trouble}"
    for stuck in standing.stuck:
        more = f" and {len(stuck.tasks) - 1:,} more" if len(stuck.tasks) > 1 else ""
        yield f"task {stuck.tasks[0]}{more} of job {stuck.job} is stuck: {stuck.reason}; when that is mended: {stuck.remedy}"


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
            "ended": [{"tasks": list(tasks), "reason": reason} for reason, tasks in each.ended.items()],
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
