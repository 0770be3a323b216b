"""The tasks of a run's arrays as its workers. They claim cases of the array's list, and so does who joins it by hand; those of old arrays
have shares (static.py).

Slurm knows which tasks wait or run, the journal what they have begun and how they said that they end.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection, Mapping, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING

from sharedenv.cluster.arrays import Array, task_of, writer_of
from sharedenv.cluster.static import share_of_task, static_writer
from sharedenv.run.case import Result
from sharedenv.run.journal.sessions import WORKER, SessionState, list_number
from sharedenv.run.workers import Fate, Worker, living

if TYPE_CHECKING:
    from sharedenv.cluster import slurm

_CANCELLED, _NODE_FAIL = "CANCELLED", "NODE_FAIL"
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
    again     sequences that failed and that somebody is to try once more
    """

    def __init__(
        self,
        arrays: Sequence[Array],
        sessions: Sequence[SessionState],
        results: Mapping[str, Mapping[int, Result]],
        queue: Sequence[slurm.SlurmTask] | None,
        elsewhere: Mapping[str, str] | None = None,
        again: Collection[int] = (),
    ) -> None:
        self._sessions = sessions
        self._reports = _reports(sessions)
        self._begun = _begun(sessions)
        self._elsewhere = elsewhere or {}
        self._queue = None if queue is None else {(task.job, task.index): task for task in queue if task.index is not None}
        self._builds = {task.job: task for task in queue or () if task.index is None}
        self._latest = _latest(results)
        self._open = _open(sessions, results, self._latest)
        self._last = _last_writers(sessions, results, self._open)
        self._again = again
        self._holders: dict[int, Worker] = {}
        self._arrays: dict[int, int] = {}  # by sequence, as the one before
        self._fates: dict[str, Fate] = {}
        self._by_number = {array.number: array for array in arrays}
        for array in arrays:
            self._arrays.update(dict.fromkeys(array.sequences, array.number))
            if array.static:
                self._share_out(array)
            else:
                self._claim(array)
        if any(array.pending for array in arrays):
            self._wait_for_rungs(arrays, results)

    def holder(self, sequence: int) -> Worker | None:
        """Who has begun a case; else a task of the last array that it is in."""
        return self._holders.get(sequence)

    def fate(self, worker: Worker | None) -> Fate:
        """By Slurm where it answers and knows the task, else by the task's own last word."""
        if worker is None:
            return Fate(alive=False, reason="it was never submitted", begun=self._open, reported=True)
        return self._fates[worker.writer]

    def since(self, sequence: int) -> Result | None:
        """The last result in the last array; what was run again without Slurm after it counts in place of that."""
        own = self._latest.get((self._arrays[sequence], sequence)) if sequence in self._arrays else None
        if own is None or sequence in self._open or sequence in self._again:  # a further try of it was begun, or will be
            return None
        here = self._latest.get((_HERE, sequence))
        return own if here is None or here.order <= own.order else here

    def ever(self, sequence: int) -> Result | None:
        """The last result, of whatever array or none."""
        return self._latest.get((_ANY, sequence))

    @property
    def dead(self) -> dict[str, tuple[str, int]]:
        """Writers that ended without a word and whose tasks Slurm has seen end: job and number of each. Not for a node that failed, which
        may live, nor for what was started anew.
        """
        found = {}
        for (number, task), (_, report) in self._reports.items():
            array = self._by_number.get(number)
            if array is None or self._queue is None or report.ended or report.alive or array.path in self._elsewhere:
                continue
            state = self._state(array, task)
            if state is None or not (state.live or state.state == _NODE_FAIL):
                found[report.writer] = (array.job, task)
        return found

    def _share_out(self, array: Array) -> None:
        """The tasks of an old array hold their shares."""
        for task in range(1, array.tasks + 1):
            worker = self._worker(array, task)
            self._fates[worker.writer] = self._fate(array, task)
            self._holders.update(dict.fromkeys((planned.sequence for planned in share_of_task(array, task)), worker))

    def _claim(self, array: Array) -> None:
        """Who has begun a case of an array holds it; the rest is the whole array's as long as somebody works on it or is yet to begin."""
        fates = {task: self._fate(array, task) for task in range(1, array.tasks + 1)}
        members = {session.writer: session for session in self._sessions if list_number(session.writer) == array.number}
        at_work = living(members.values())
        alive = [fate for fate in fates.values() if fate.alive]
        sequences = array.sequences
        if at_work or alive:
            rest = Worker(f"{WORKER}{array.number}.")
            reason = "" if at_work else next((fate.reason for fate in alive if not fate.reason), alive[0].reason if alive else "")
            self._fates[rest.writer] = Fate(alive=True, reason=reason)
            self._holders.update(dict.fromkeys(sequences, rest))
        else:
            self._leave(array, fates, sequences)
        for sequence in sequences:
            session = members.get(self._last.get(sequence, ""))
            if session is not None and not self._is_taken_up(session, sequence, fates):
                worker = Worker(session.writer, 1, session.owner)
                self._holders[sequence] = worker
                if worker.writer not in self._fates:
                    self._fates[worker.writer] = self._fate_of(array, session)

    def _wait_for_rungs(self, arrays: Sequence[Array], results: Mapping[str, Mapping[int, Result]]) -> None:
        """What an array that has yet to begin will go on with is in its hands."""
        from sharedenv.cluster.rising import Evidence, rising  # noqa: PLC0415 - most runs have one rung

        for sequence, (above, why) in rising(Evidence(arrays, self._sessions, results, self._queue), self._again).items():
            if self._fates.get(name := f"{WORKER}{above.number}.", Fate(alive=False)).alive:
                holder = Worker(f"{name}{why}")
                self._fates[holder.writer] = Fate(alive=True, reason=above.rung.promise(why) if above.rung else "")
                self._holders[sequence], self._arrays[sequence] = holder, above.number

    def _leave(self, array: Array, fates: Mapping[int, Fate], sequences: Sequence[int]) -> None:
        """Nobody will begin the rest: told is why most of the tasks did not, and each of those stands for some of the cases."""
        said = {task: fate.reason for task, fate in fates.items() if not self._has_done(array, task)} or dict.fromkeys(fates, "")
        reason = Counter(said.values()).most_common(1)[0][0]
        workers = [self._worker(array, task) for task, why in said.items() if why == reason]
        reported = all(fates[task].reported for task, why in said.items() if why == reason)
        for worker in workers:
            self._fates[worker.writer] = Fate(alive=False, reason=reason, begun=self._open, reported=reported)
        for index, sequence in enumerate(sequences):
            self._holders[sequence] = workers[index % len(workers)]

    def _has_done(self, array: Array, task: int) -> bool:
        _, report = self._reports.get((array.number, task), (0, None))
        return report is not None and report.ended == "done"

    def _is_taken_up(self, session: SessionState, sequence: int, fates: Mapping[int, Fate]) -> bool:
        """Whether a case that was ended with its task is begun again by what this task is started as next (requeued.py)."""
        found = task_of(session.writer)
        return bool(session.ended) and sequence not in session.running and found is not None and fates[found[1]].alive

    def _fate_of(self, array: Array, session: SessionState) -> Fate:
        """What became of who has begun a case."""
        if session.alive:
            return Fate(alive=True, begun=session.running)
        found = task_of(session.writer)
        if found is None:
            return Fate(False, session.ended or "its process died without a word", self._open, reported=bool(session.ended))
        state, last = self._state(array, found[1]), self._reports[found[:2]][1].writer == session.writer
        if state is not None and state.running and last:
            return Fate(alive=True, begun=session.running)  # its heartbeat is late
        if state is not None and (state.live or not (last or session.ended)):  # how its next start ended says nothing of it
            where = f" ({session.owner.host} was silent)" if session.owner and not session.ended else ""
            return Fate(False, f"its task was started anew{where}", self._open, reported=bool(session.ended))
        return replace(self._ended(array, state, session), begun=self._open)

    def _worker(self, array: Array, task: int) -> Worker:
        starts, report = self._reports.get((array.number, task), (0, None))
        state = self._state(array, task)
        if report is None or (state is not None and state.waiting):
            name = static_writer if array.static else writer_of
            return Worker(name(array.number, task, starts))  # requeued, it will be another writer
        return Worker(report.writer, starts, report.owner)

    def _state(self, array: Array, task: int) -> slurm.SlurmTask | None:
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

    def _ended(self, array: Array, state: slurm.SlurmTask | None, report: SessionState | None) -> Fate:
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


def ended_in(results: Mapping[str, Mapping[int, Result]], submitted: Mapping[int, int], tries: int = 1) -> dict[int, Result]:
    """The results that workers of arrays have written, by sequence: those after which no further try follows, of ``tries`` in all.

    ``submitted``: the array whose result counts, by sequence.
    """
    return {
        sequence: result
        for writer, ended in results.items()
        for sequence, result in ended.items()
        if submitted.get(sequence) == _array_of(writer) and not result.interrupted and (result.succeeded or result.attempt >= tries)
    }


def some_yet_to_begin(array: Array, sessions: Sequence[SessionState]) -> bool:
    """Whether there are tasks of an array that never began, by the run's own files: they may be in the queue."""
    begun = _reports(sessions)
    nothing = array.taken is not None and not array.taken.sequences
    return not nothing and any((array.number, task) not in begun for task in range(1, array.tasks + 1))


def some_not_begun(array: Array, results: Mapping[int, Result]) -> bool:
    """Whether there are cases of an array that nobody has begun since it was made, by the run's own files."""
    begun = {sequence for sequence, result in results.items() if result.session >= array.created}
    return any(sequence not in begun for sequence in array.sequences)


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


def _array_of(writer: str) -> int:
    """Number of the array whose cases a writer has; _HERE for one without Slurm."""
    found = task_of(writer)
    return max(_HERE, list_number(writer)) if found is None else found[0]


def _latest(results: Mapping[str, Mapping[int, Result]]) -> dict[tuple[int, int], Result]:
    """The last result by number of the array (_HERE, _ANY) and sequence."""
    latest: dict[tuple[int, int], Result] = {}
    makers: dict[tuple[int, int], int] = {}
    for writer, ended in results.items():
        number, of_list = _array_of(writer), list_number(writer)
        for sequence, result in ended.items():
            if not result.interrupted:
                for place in ((number, sequence), (_ANY, sequence)):
                    if (known := latest.get(place)) is None or _precedes(known, result, beside=makers[place] == of_list > _HERE):
                        latest[place], makers[place] = result, of_list
    return latest


def _precedes(known: Result, result: Result, *, beside: bool) -> bool:
    """Whether a result came before another. ``beside``: their writers are workers of one list, who count attempts together."""
    if beside:
        return (known.attempt, known.start) <= (result.attempt, result.start)
    return known.order <= result.order


def _last_writers(
    sessions: Sequence[SessionState], results: Mapping[str, Mapping[int, Result]], open_cases: Collection[int]
) -> dict[int, str]:
    """Who has begun each case that was begun and has not ended, the last one of several."""
    begun = [(since, sequence, session.writer) for session in sessions for sequence, since in session.running.items()]
    begun += [(one.start, sequence, writer) for writer, own in results.items() for sequence, one in own.items() if one.interrupted]
    return {sequence: writer for _, sequence, writer in sorted(begun) if sequence in open_cases}


def _open(
    sessions: Sequence[SessionState], results: Mapping[str, Mapping[int, Result]], latest: Mapping[tuple[int, int], Result]
) -> frozenset[int]:
    """The cases that were begun and have not ended since: those at work in tasks, and those cut off, by whatever."""
    # whether a task lives Slurm knows better than its session
    begun = [case for session in sessions if not session.alive or _array_of(session.writer) for case in session.running.items()]
    begun += [(sequence, result.start) for ended in results.values() for sequence, result in ended.items() if result.interrupted]
    return frozenset(case for case, since in begun if (last := latest.get((_ANY, case))) is None or last.start <= since)


def _not_launched(array: Array, state: slurm.SlurmTask) -> str:
    """Why a node could not so much as start a job script, in words for the user: Slurm's, and what it is most often."""
    output = f"the folder of its output, {array.path} unless --output says otherwise"
    return f"Slurm could not start its task on {state.node} ({state.reason}): does that node see {output}, and may it write there?"


def _reported(ended: str, state: slurm.SlurmTask | None) -> str:
    """Why a task that reported its end left cases, in words for the user: Slurm's where it has them."""
    if state is not None and state.state not in ("COMPLETED", "FAILED"):
        return state.ending
    how, _, why = ended.partition(": ")
    why = why.replace(": starting nothing more", "").replace("SIGTERM", "SIGTERM, as comes near the time limit")
    return f"{_REPORTS[how]}{why and ': '}{why}" if how in _REPORTS else f"its task {ended}"
