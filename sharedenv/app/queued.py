"""Where a run stands that was submitted: what is still to begin, and what a scheduler has of it in its queue."""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import replace

from sharedenv.app.guards import beside
from sharedenv.app.work import Work
from sharedenv.cluster.arrays import list_arrays
from sharedenv.cluster.crew import task_in_name
from sharedenv.cluster.grid_engine import GRID_ENGINE
from sharedenv.cluster.schedulers import SCHEDULERS
from sharedenv.cluster.slurm import PATIENCE
from sharedenv.cluster.submissions import QueueStanding, list_submissions, standings
from sharedenv.cluster.workers import some_yet_to_begin
from sharedenv.errors import SharedenvError
from sharedenv.run.journal.kept import journal_sign, keep_standing, kept_standing
from sharedenv.run.journal.living import living_runs
from sharedenv.run.journal.run import Run, readable
from sharedenv.run.journal.runs import open_run
from sharedenv.run.journal.sessions import SessionState
from sharedenv.run.journal.standing import SUBMITTED, Standing, stand
from sharedenv.run.outlived import without_result

_SOON = 10.0  # seconds that a scheduler has for who only looks


def queue_of(run: Run, environ: Mapping[str, str], patience: float = PATIENCE) -> list[QueueStanding]:
    """Where each array of workers of a run stands; [] for a run that has none, and nobody is asked."""
    return standings(list_submissions(run.path), SCHEDULERS, environ, patience)


def look_at_queue(run: Run, environ: Mapping[str, str]) -> list[QueueStanding]:
    """As queue_of, for who only wants to know; with what an accounting says of workers that died without a word."""
    queue = queue_of(run, environ, _SOON)
    silent: dict[str, set[int]] = {}
    for session in run.sessions() if queue else ():
        if not session.ended and not session.alive and (found := task_in_name(session.writer)):
            silent.setdefault(found[0], set()).add(found[1])
    dead = {job: _endings(each, silent[job], environ) for each in queue if (job := each.submission.job) in silent}
    return [replace(each, ended=dead.get(each.submission.job, each.ended)) for each in queue]


def _endings(standing: QueueStanding, tasks: Collection[int], environ: Mapping[str, str]) -> dict[str, tuple[int, ...]]:
    scheduler = SCHEDULERS.get(standing.submission.scheduler)
    known = [] if scheduler is None else scheduler.accounts([standing.submission.job], environ)
    last = {task.index or 1: task.ending for task in known if (task.index or 1) in tasks}  # of one that was started anew, the last
    found: dict[str, list[int]] = {}
    for index, ending in sorted(last.items()):
        found.setdefault(ending, []).append(index)
    return {ending: tuple(indices) for ending, indices in found.items()}


def seen_to_end(run: Run, queue: Iterable[QueueStanding]) -> frozenset[str]:
    """The workers of a run that died without a word, and whose tasks Grid Engine no longer has. Not one whose task was started anew, or may
    have been: its node was held for dead, and may live.
    """
    live = {each.submission.job: each.tasks for each in queue if each.submission.scheduler == GRID_ENGINE.key and not each.trouble}
    tasks = [(task_in_name(session.writer), session) for session in run.sessions()]
    starts = Counter(found[:2] for found, _ in tasks if found is not None)
    return frozenset(
        session.writer
        for found, session in tasks
        if found is not None and found[0] in live and found[1] not in live[found[0]]
        and starts[found[:2]] == 1 and not found[2] and not session.ended
    )  # fmt: skip


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
    """Where a run stands at ``now`` (seconds since the epoch) by its own files: no scheduler is asked. Of one that has ended, it is kept.

    Raises SharedenvError.
    """
    with readable(run.id):
        sign = journal_sign(run.path)
    if (kept := kept_standing(run.path, sign)) is not None:
        return kept
    results, sessions = run.read()
    found = stand_submitted(run, stand(run.count, results, sessions, now), sessions)
    keep_standing(run, sign, found, sessions)
    return found


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
            common = without_result((case for case in run.each_case() if case.identity in wanted), run.results())
        except SharedenvError:
            continue  # what can't be read says nothing
        if common and (live := [each for each in queue_of(run, environ) if each.live or each.trouble]):
            raise beside(run.id, len(common), f"its job {live[-1].submission.job} is in the queue of {title_of(live[-1])}", "status")


def title_of(standing: QueueStanding) -> str:
    """What the scheduler of an array is called."""
    key = standing.submission.scheduler
    return SCHEDULERS[key].title if key in SCHEDULERS else key
