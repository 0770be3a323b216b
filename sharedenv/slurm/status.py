"""Where each case of a run on Slurm stands, from the run's own journal and squeue; the accounting only adds a word.

done      it succeeded
failed    it ended otherwise
running   at work in a task
waiting   its task will come to it
lost      its task ended without reporting: node death, out of memory, time limit
left      its task ended before its turn, and said so: drained, cancelled, interrupted
"""

from __future__ import annotations

import os
import time
from collections.abc import Mapping, Sequence
from dataclasses import replace

from sharedenv.errors import SharedenvError
from sharedenv.frozen import frozen
from sharedenv.run.case import Case, Result
from sharedenv.run.journal import Run
from sharedenv.run.session_state import SessionState
from sharedenv.slurm import cluster
from sharedenv.slurm.arrays import Array, list_arrays, task_of
from sharedenv.slurm.queued import with_job

_CANCELLED = "CANCELLED"

#: how a task said that it ended → in words for the user
_REPORTS = {"drained": "its task started nothing more", "interrupted": "its task was ended"}


@frozen
class Place:
    """Where one case stands: one of the six words above, and for waiting, lost and left why, in words for the user.

    log  path of what its task printed, for lost and left; "" when there is none
    """

    word: str
    reason: str = ""
    array: int = 0
    task: int = 0
    log: str = ""


@frozen
class Standing:
    """Where a run stands.

    places     by sequence
    results    the last of each case, by sequence
    cases      by sequence
    jobs       ids of its arrays, oldest first
    live       ids of the jobs that Slurm still has to run or runs
    rate       cases that ended per second while tasks were at work, 0.0 when none has
    remaining  seconds until the end at that rate, None when nothing runs
    trouble    why squeue could not be asked, "" when it answered
    """

    places: Mapping[int, Place]
    results: Mapping[int, Result]
    cases: Mapping[int, Case]
    jobs: tuple[str, ...]
    live: tuple[str, ...]
    rate: float
    remaining: float | None
    trouble: str = ""

    def sequences(self, *words: str) -> list[int]:
        """Sequences of the cases that stand so, in order."""
        return [sequence for sequence, place in self.places.items() if place.word in words]

    def count(self, *words: str) -> int:
        """How many cases stand so."""
        return len(self.sequences(*words))

    @property
    def over(self) -> bool:
        """Whether nothing more will happen by itself."""
        return not self.count("running", "waiting")


def standing(run: Run, environ: Mapping[str, str]) -> Standing:
    """Where a run on Slurm stands now. A Slurm that doesn't answer is no error: see ``trouble``."""
    arrays = list_arrays(run.path)
    trouble = ""
    tasks: list[cluster.Task] | None
    try:
        arrays = [with_job(array, environ) for array in arrays]
        jobs = [job for array in arrays for job in (array.build, array.job) if job]
        tasks = cluster.tasks(jobs, environ)
    except SharedenvError as error:
        tasks, trouble = None, error.cause or error.message
    results, sessions = run.read()
    cases = {case.sequence: case for case in run.cases()}
    places = locate(list(cases), run.results_by_writer(), sessions, arrays, tasks)
    if any(place.word == "lost" for place in places.values()):
        places = _with_accounts(places, arrays, cluster.accounts([array.job for array in arrays if array.job], environ))
    places = _with_logs(places, arrays)
    rate = _rate(results, sessions)
    working = sum(place.word in ("running", "waiting") for place in places.values())
    at_work = any(place.word == "running" for place in places.values())
    return Standing(
        places,
        results,
        cases,
        tuple(array.job for array in arrays if array.job),
        tuple(dict.fromkeys(task.job for task in tasks or () if task.waiting or task.running)),
        rate,
        working / rate if at_work and rate else None,
        trouble,
    )


def locate(
    sequences: Sequence[int],
    results: Mapping[str, Mapping[int, Result]],
    sessions: Sequence[SessionState],
    arrays: Sequence[Array],
    tasks: Sequence[cluster.Task] | None,
) -> dict[int, Place]:
    """The place of every case. Pure. ``results``: by writer and sequence; ``tasks``: None when squeue doesn't answer."""
    last: dict[int, tuple[Array, int]] = {}
    for array in arrays:
        for task in range(1, array.tasks + 1):
            for planned in array.share(task):
                last[planned.sequence] = (array, task)
    states = _states(tasks)
    reports = _reports(sessions)
    builds = {task.job: task for task in tasks or () if task.index is None}
    latest = _latest(results)
    places = {}
    for sequence in sequences:
        if sequence not in last:
            word = _word(latest.get((ANY, sequence)))
            places[sequence] = Place(word) if word else Place("left", "it was never submitted")
            continue
        array, task = last[sequence]
        own = latest.get((array.number, sequence))
        # what was run again without Slurm after the array counts in place of the array's
        word = _word(own, latest.get((HERE, sequence))) if own else ""
        place = Place(word, "", array.number, task) if word else _place(sequence, array, task, states, reports, builds)
        # an earlier outcome says nothing while this array may still try again, and all when it did not
        if place.word in ("lost", "left") and (word := _word(latest.get((ANY, sequence)))):
            place = Place(word, "", array.number, task)
        places[sequence] = place
    return places


HERE, ANY = 0, -1  # in place of the number of an array: without Slurm, whichever came last


def _latest(results: Mapping[str, Mapping[int, Result]]) -> dict[tuple[int, int], Result]:
    """The last result by number of the array (HERE, ANY) and sequence."""
    latest: dict[tuple[int, int], Result] = {}
    for writer, ended in results.items():
        found = task_of(writer)
        for sequence, result in ended.items():
            if not result.interrupted:
                for place in ((HERE if found is None else found[0], sequence), (ANY, sequence)):
                    if place not in latest or latest[place].start <= result.start:
                        latest[place] = result
    return latest


def _word(*results: Result | None) -> str:
    """done or failed, as the last of these results says; "" when there is none."""
    last = max((result for result in results if result is not None), key=lambda result: result.start, default=None)
    return "" if last is None else "done" if last.succeeded else "failed"


def _place(
    sequence: int,
    array: Array,
    task: int,
    states: Mapping[tuple[str, int], cluster.Task] | None,
    reports: Mapping[tuple[int, int], SessionState],
    builds: Mapping[str, cluster.Task],
) -> Place:
    report = reports.get((array.number, task))
    state = None if states is None else states.get((array.job, task))
    if state is not None and state.waiting:
        return Place("waiting", state.reason, array.number, task)
    if (state is not None and state.running) or (states is None and report is not None and report.alive):
        at_work = report is not None and sequence in report.running
        return Place("running" if at_work else "waiting", "", array.number, task)
    if states is None and report is None:
        return Place("waiting", "Slurm doesn't answer", array.number, task)
    return _ended(array, task, state, report, builds)


def _reported(ended: str, state: cluster.Task | None) -> str:
    """Why a task that reported its end left cases, in words for the user: Slurm's where it has them."""
    if state is not None and state.state not in ("COMPLETED", "FAILED"):
        return state.ending
    how, _, why = ended.partition(": ")
    why = why.replace(": starting nothing more", "").replace("SIGTERM", "SIGTERM, as comes near the time limit")
    return f"{_REPORTS[how]}{why and ': '}{why}" if how in _REPORTS else f"its task {ended}"


def _without_build(array: Array, builds: Mapping[str, cluster.Task]) -> str:
    """Why nothing was built for an array, in words for the user; "" when it was, or still may be."""
    build = builds.get(array.build) if array.build else None
    if build is None or build.waiting or build.running or build.state == "COMPLETED":
        return ""
    if build.state == _CANCELLED:
        return "the job that builds for it was cancelled"
    return f"the job that builds for it failed: see {array.build_log}"


def _ended(
    array: Array, task: int, state: cluster.Task | None, report: SessionState | None, builds: Mapping[str, cluster.Task]
) -> Place:
    """The place of a case without result whose task has ended."""
    if report is not None and report.ended:
        return Place("left", _reported(report.ended, state), array.number, task)
    if report is None and (reason := _without_build(array, builds)):
        return Place("left", reason, array.number, task)
    if state is not None and state.state == _CANCELLED and report is None:
        return Place("left", state.ending, array.number, task)
    where = f" ({report.owner.host})" if report is not None and report.owner else ""
    reason = f"{state.ending}{where}" if state is not None else f"Slurm no longer knows its task{where}"
    return Place("lost", reason, array.number, task)


def _states(tasks: Sequence[cluster.Task] | None) -> dict[tuple[str, int], cluster.Task] | None:
    if tasks is None:
        return None
    return {(task.job, task.index): task for task in tasks if task.index is not None}


def _reports(sessions: Sequence[SessionState]) -> dict[tuple[int, int], SessionState]:
    """The last session of each task: that of its last start."""
    reports: dict[tuple[int, int], tuple[int, SessionState]] = {}
    for session in sessions:
        if (found := task_of(session.writer)) is not None:
            array, task, restarts = found
            if (array, task) not in reports or restarts >= reports[array, task][0]:
                reports[array, task] = (restarts, session)
    return {key: session for key, (_, session) in reports.items()}


def _with_accounts(
    places: Mapping[int, Place], arrays: Sequence[Array], accounts: Sequence[cluster.Task]
) -> dict[int, Place]:
    """The same places, with the accounting's word for tasks that squeue has forgotten."""
    jobs = {array.number: array.job for array in arrays}
    known = {(task.job, task.index): task for task in accounts}
    named = {}
    for sequence, place in places.items():
        task = known.get((jobs.get(place.array, ""), place.task)) if place.word == "lost" else None
        named[sequence] = Place("lost", task.ending, place.array, place.task) if task else place
    return named


def _with_logs(places: Mapping[int, Place], arrays: Sequence[Array]) -> dict[int, Place]:
    """The same places, with what the tasks of those lost and left have printed."""
    ended = {(place.array, place.task) for place in places.values() if place.word in ("lost", "left") and place.task}
    paths = {(array.number, task): array.log(task) for array in arrays for number, task in ended if number == array.number}
    logs = {task: path for task, path in paths.items() if os.path.exists(path)}
    return {
        sequence: replace(place, log=logs.get((place.array, place.task), "")) if place.word in ("lost", "left") else place
        for sequence, place in places.items()
    }


def _rate(results: Mapping[int, Result], sessions: Sequence[SessionState]) -> float:
    ends = sorted(result.start + result.seconds for result in results.values() if not result.interrupted)
    if not ends or not sessions:
        return 0.0
    alive = [session for session in sessions if session.alive]
    # tasks of long ago say nothing of how fast those go that are at work now
    began = min(session.started for session in alive or sessions)
    until = time.time() if alive else ends[-1]
    return sum(end >= began for end in ends) / max(until - began, 0.001)
