"""The tasks of a run's arrays as its workers: each has a share of its array's cases, fixed when that was made.

Slurm knows which tasks wait or run, the journal what they have begun and how they said that they end.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING

from sharedenv.cluster.arrays import Array, task_of, writer_of
from sharedenv.run.case import Result
from sharedenv.run.journal.sessions import SessionState
from sharedenv.run.workers import Fate, Worker, living

if TYPE_CHECKING:
    from sharedenv.cluster import slurm

_CANCELLED = "CANCELLED"
_NOT_LAUNCHED = "JobLaunchFailure"
_HERE, _ANY = 0, -1  # in place of the number of an array: without Slurm, whichever came last

#: how a task said that it ended → in words for the user
_REPORTS = {"drained": "its task started nothing more", "interrupted": "its task was ended"}


class Tasks:
    """The workers of a run on Slurm (`run.workers.Workers`), of what is read already.

    arrays    of the run, oldest first
    sessions  of the run
    results   the last of each case, by writer and sequence
    queue     what Slurm says of the arrays' jobs, None when it doesn't answer
    elsewhere  the arrays of which it can't tell: path → who has them, in words
    """

    def __init__(
        self,
        arrays: Sequence[Array],
        sessions: Sequence[SessionState],
        results: Mapping[str, Mapping[int, Result]],
        queue: Sequence[slurm.Task] | None,
        elsewhere: Mapping[str, str] | None = None,
    ) -> None:
        self._reports = _reports(sessions)
        self._begun = _begun(sessions)
        self._elsewhere = elsewhere or {}
        self._queue = None if queue is None else {(task.job, task.index): task for task in queue if task.index is not None}
        self._builds = {task.job: task for task in queue or () if task.index is None}
        self._latest = _latest(results)
        self._open = _open(sessions, results, self._latest)
        self._holders: dict[int, Worker] = {}
        self._arrays: dict[str, int] = {}  # by writer, as the next
        self._fates: dict[str, Fate] = {}
        for array in arrays:
            for task in range(1, array.tasks + 1):
                worker = self._worker(array, task)
                self._arrays[worker.writer] = array.number
                self._fates[worker.writer] = self._fate(array, task)
                self._holders.update(dict.fromkeys((planned.sequence for planned in array.share(task)), worker))

    def holder(self, sequence: int) -> Worker | None:
        """The task of the last array that has a case in its share."""
        return self._holders.get(sequence)

    def fate(self, worker: Worker | None) -> Fate:
        """By Slurm where it answers and knows the task, else by the task's own last word."""
        if worker is None:
            return Fate(alive=False, reason="it was never submitted", begun=self._open, reported=True)
        return self._fates[worker.writer]

    def since(self, sequence: int) -> Result | None:
        """The last result in the holder's array; what was run again without Slurm after it counts in place of that."""
        worker = self._holders.get(sequence)
        own = None if worker is None else self._latest.get((self._arrays[worker.writer], sequence))
        if own is None or sequence in self._open:  # a further try of it was begun
            return None
        here = self._latest.get((_HERE, sequence))
        return own if here is None or here.order <= own.order else here

    def ever(self, sequence: int) -> Result | None:
        """The last result, of whatever array or none."""
        return self._latest.get((_ANY, sequence))

    def _worker(self, array: Array, task: int) -> Worker:
        starts, report = self._reports.get((array.number, task), (0, None))
        state = self._state(array, task)
        if report is None or (state is not None and state.waiting):
            return Worker(writer_of(array, task, starts))  # requeued, it will be another writer
        return Worker(report.writer, starts, report.owner)

    def _state(self, array: Array, task: int) -> slurm.Task | None:
        return None if self._queue is None else self._queue.get((array.job, task))

    def _fate(self, array: Array, task: int) -> Fate:
        fate = self._standing(array, task)
        return fate if fate.alive else replace(fate, begun=self._open)

    def _standing(self, array: Array, task: int) -> Fate:
        _, report = self._reports.get((array.number, task), (0, None))
        state = self._state(array, task)
        if state is not None and state.waiting:
            return Fate(alive=True, reason=state.reason)
        begun = self._begun.get((array.number, task))
        # a fresh sign outweighs what Slurm says or doesn't say: it may be another cluster's, or hold a node for dead that lives
        if (state is not None and state.running) or begun is not None:
            return Fate(alive=True, begun=begun or ())
        if report is None or not report.ended:  # it may wait in the queue, for the first time or again
            if self._queue is None:
                return Fate(alive=True, reason="Slurm doesn't answer")
            if where := self._elsewhere.get(array.path):
                return Fate(alive=True, reason=where)
        return self._ended(array, state, report)

    def _ended(self, array: Array, state: slurm.Task | None, report: SessionState | None) -> Fate:
        """What became of a task that has ended."""
        if report is not None and report.ended:
            return Fate(alive=False, reason=_reported(report.ended, state), reported=True)
        if report is None and (reason := self._without_build(array)):
            return Fate(alive=False, reason=reason, reported=True)
        if state is not None and state.state == _CANCELLED and report is None:
            return Fate(alive=False, reason=state.ending, reported=True)
        if state is not None and report is None and state.reason == _NOT_LAUNCHED:
            return Fate(alive=False, reason=_not_launched(array, state))
        where = f" ({report.owner.host})" if report is not None and report.owner else ""
        when = ", before its first script" if state is not None and state.state == "FAILED" and report is None else ""
        return Fate(alive=False, reason=f"{state.ending if state is not None else 'Slurm no longer knows its task'}{when}{where}")

    def _without_build(self, array: Array) -> str:
        """Why nothing was built for an array, in words for the user; "" when it was, or still may be."""
        build = self._builds.get(array.build) if array.build else None
        if build is None or build.live or build.state == "COMPLETED":
            return ""
        if build.state == _CANCELLED:
            return "the job that builds for it was cancelled"
        return f"the job that builds for it failed: see {array.build_log}"


def task_in(worker: Worker | None) -> tuple[int, int] | None:
    """Number of the array and of the task that a worker is; None for one that is no task."""
    found = None if worker is None else task_of(worker.writer)
    return None if found is None else found[:2]


def results_of(results: Mapping[str, Mapping[int, Result]], array: int, task: int) -> Iterator[Result]:
    """The results of every start of one task, the last of each. ``results``: by writer and sequence."""
    for writer, ended in results.items():
        if (found := task_of(writer)) is not None and found[:2] == (array, task):
            yield from ended.values()


def ended_in(results: Mapping[str, Mapping[int, Result]], submitted: Mapping[int, int]) -> dict[int, Result]:
    """The results that tasks have written, by sequence. ``submitted``: the array whose result counts, by sequence."""
    return {
        sequence: result
        for writer, ended in results.items()
        if (found := task_of(writer)) is not None
        for sequence, result in ended.items()
        if submitted.get(sequence) == found[0] and not result.interrupted
    }


def some_yet_to_begin(array: Array, sessions: Sequence[SessionState]) -> bool:
    """Whether there are tasks of an array that never began, by the run's own files: they may be in the queue."""
    begun = _reports(sessions)
    return any((array.number, task) not in begun for task in range(1, array.tasks + 1))


def some_not_begun(array: Array, results: Mapping[int, Result]) -> bool:
    """Whether there are cases of an array that nobody has begun since it was made, by the run's own files."""
    begun = {sequence for sequence, result in results.items() if result.session >= array.created}
    return any(planned.sequence not in begun for planned in array.cases)


def _reports(sessions: Sequence[SessionState]) -> dict[tuple[int, int], tuple[int, SessionState]]:
    """How often each task was started, by array and task, and the session of its last start."""
    reports: dict[tuple[int, int], tuple[int, SessionState]] = {}
    for session in sessions:
        if (found := task_of(session.writer)) is not None:
            array, task, restarts = found
            if (array, task) not in reports or restarts + 1 >= reports[array, task][0]:
                reports[array, task] = (restarts + 1, session)
    return reports


def _begun(sessions: Sequence[SessionState]) -> dict[tuple[int, int], set[int]]:
    """What the living starts of each task have begun, by array and task: of a requeued one, two may live."""
    begun: dict[tuple[int, int], set[int]] = {}
    for session in living(sessions):
        if (found := task_of(session.writer)) is not None:
            begun.setdefault(found[:2], set()).update(session.running)
    return begun


def _latest(results: Mapping[str, Mapping[int, Result]]) -> dict[tuple[int, int], Result]:
    """The last result by number of the array (_HERE, _ANY) and sequence."""
    latest: dict[tuple[int, int], Result] = {}
    for writer, ended in results.items():
        found = task_of(writer)
        for sequence, result in ended.items():
            if not result.interrupted:
                for place in ((_HERE if found is None else found[0], sequence), (_ANY, sequence)):
                    if place not in latest or latest[place].order <= result.order:
                        latest[place] = result
    return latest


def _open(
    sessions: Sequence[SessionState], results: Mapping[str, Mapping[int, Result]], latest: Mapping[tuple[int, int], Result]
) -> frozenset[int]:
    """The cases that were begun and have not ended since: those at work in tasks, and those cut off, by whatever."""
    # whether a task lives Slurm knows better than its session
    begun = [case for session in sessions if not session.alive or task_of(session.writer) for case in session.running.items()]
    begun += [(sequence, result.start) for ended in results.values() for sequence, result in ended.items() if result.interrupted]
    return frozenset(case for case, since in begun if (last := latest.get((_ANY, case))) is None or last.start <= since)


def _not_launched(array: Array, state: slurm.Task) -> str:
    """Why a node could not so much as start a job script, in words for the user: Slurm's, and what it is most often."""
    output = f"the folder of its output, {array.path} unless --output says otherwise"
    return f"Slurm could not start its task on {state.node} ({state.reason}): does that node see {output}, and may it write there?"


def _reported(ended: str, state: slurm.Task | None) -> str:
    """Why a task that reported its end left cases, in words for the user: Slurm's where it has them."""
    if state is not None and state.state not in ("COMPLETED", "FAILED"):
        return state.ending
    how, _, why = ended.partition(": ")
    why = why.replace(": starting nothing more", "").replace("SIGTERM", "SIGTERM, as comes near the time limit")
    return f"{_REPORTS[how]}{why and ': '}{why}" if how in _REPORTS else f"its task {ended}"
