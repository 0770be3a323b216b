"""Where a run stands that was submitted: what is still to begin, and what a scheduler has of it in its queue."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace

from sharedenv.app.guards import beside
from sharedenv.app.work import Work
from sharedenv.cluster.arrays import list_arrays
from sharedenv.cluster.schedulers import SCHEDULERS
from sharedenv.cluster.slurm import PATIENCE
from sharedenv.cluster.submissions import QueueStanding, list_submissions, standings
from sharedenv.cluster.workers import some_yet_to_begin
from sharedenv.errors import SharedenvError
from sharedenv.run.journal.living import living_runs
from sharedenv.run.journal.run import Run
from sharedenv.run.journal.runs import open_run
from sharedenv.run.journal.sessions import SessionState
from sharedenv.run.journal.standing import SUBMITTED, Standing, stand
from sharedenv.run.outlived import without_result

_SOON = 10.0  # seconds that a scheduler has for who only looks


def queue_of(run: Run, environ: Mapping[str, str], patience: float = PATIENCE) -> list[QueueStanding]:
    """Where each array of workers of a run stands; [] for a run that has none, and nobody is asked."""
    return standings(list_submissions(run.path), SCHEDULERS, environ, patience)


def look_at_queue(run: Run, environ: Mapping[str, str]) -> list[QueueStanding]:
    """As queue_of, for who only wants to know."""
    return queue_of(run, environ, _SOON)


def stand_queued(standing: Standing, queue: Sequence[QueueStanding]) -> Standing:
    """The same standing, but `submitted` where nobody is at work and a queue still has tasks."""
    waits = standing.left and not standing.alive and any(each.live for each in queue)
    return replace(standing, state=SUBMITTED) if waits else standing


def stand_submitted(run: Run, standing: Standing, sessions: Sequence[SessionState]) -> Standing:
    """The same standing, but `submitted` where tasks that have yet to begin, or never did, have what is left. Slurm isn't asked."""
    if not standing.left or standing.alive or not (arrays := list_arrays(run.path)):
        return standing
    return replace(standing, state=SUBMITTED) if some_yet_to_begin(arrays[-1], sessions) else standing


def standing_of(run: Run, now: float) -> Standing:
    """Where a run stands at ``now`` (seconds since the epoch) by its own files: no scheduler is asked. Raises SharedenvError."""
    results, sessions = run.read()
    return stand_submitted(run, stand(run.count, results, sessions, now), sessions)


def refuse_waiting(work: Work, environ: Mapping[str, str]) -> None:
    """Raises SharedenvError where workers of another run that has some of these cases wait in a queue, or may."""
    wanted = {case.identity for case in work.cases}
    for name in living_runs(work.layout.runs):
        if work.run is not None and name == work.run.id:
            continue
        try:
            run = open_run(work.layout.runs, name)
            if not list_submissions(run.path):
                continue
            common = [case for case in without_result(run.cases(), run.results()) if case.identity in wanted]
        except SharedenvError:
            continue  # what can't be read says nothing
        if common and (live := [each for each in queue_of(run, environ) if each.live or each.trouble]):
            raise beside(run.id, len(common), f"its job {live[-1].submission.job} is in the queue of {title_of(live[-1])}", "status")


def title_of(standing: QueueStanding) -> str:
    """What the scheduler of an array is called."""
    key = standing.submission.scheduler
    return SCHEDULERS[key].title if key in SCHEDULERS else key
