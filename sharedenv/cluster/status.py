"""Where a run on Slurm stands: its cases (run/workers.py), from the run's own journal and squeue; the accounting only adds a word."""

from __future__ import annotations

import contextlib
import os
import time
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import field, replace
from typing import TYPE_CHECKING

from sharedenv.cluster import slurm
from sharedenv.cluster.arrays import Array, list_arrays, task_of
from sharedenv.cluster.queued import elsewhere, with_job
from sharedenv.cluster.workers import Tasks, some_yet_to_begin, task_in
from sharedenv.errors import SharedenvError
from sharedenv.run.case import Case, Result
from sharedenv.run.claims.folder import DiskFolder
from sharedenv.run.claims.list_end import to_try_again
from sharedenv.run.journal.run import Run
from sharedenv.run.journal.sessions import SessionState
from sharedenv.run.listing import Listing
from sharedenv.run.terms import Counts
from sharedenv.run.workers import DONE, FAILED, INTERRUPTED, LEFT, RUNNING, WAITING, CaseState, case_states, living
from sharedenv.run.workers import begun as begun_in
from sharedenv.start.regular import open_regular
from sharedenv.values import frozen

if TYPE_CHECKING:
    from sharedenv.cluster.rungs import Rung

SOON = 5.0  #: seconds that squeue has for who only looks: the journal knows nearly all
_NODE_FAIL = "NODE_FAIL"
_OVER = 3.0  # and where all tasks have said how they ended: it can add a word only


@frozen
class Starved:
    """A task that met its memory limit though no script of it was killed, and some ended well: what they had started may be what was.

    task       its number
    log        path of what it printed
    sequences  of those of its cases that succeeded
    """

    task: int
    log: str
    sequences: tuple[int, ...]


@frozen
class OnRung:
    """One of the arrays of which each goes on with what the one before has lost; ``sequences``: of the cases that are on it now."""

    array: Array
    rung: Rung
    sequences: frozenset[int]


@frozen
class ClusterStanding:
    """Where a run stands.

    states     where each case is, by sequence
    results    the last of each case, by sequence
    cases      by sequence
    jobs       ids of its arrays, oldest first
    live       ids of the jobs that Slurm still has to run or runs
    rate       cases that ended per second while tasks were at work, 0.0 when none has
    counts     how many cases stand how, with those at work
    trouble    why squeue could not be asked, "" when it answered
    logs       paths of what their tasks printed, by sequence, for cases interrupted and left
    starved    tasks that ran out of memory though scripts of them succeeded
    words      the last line of such a file of a task that came to no script, by its path
    sessions   of the run
    dead       writers that ended without a word, and that Slurm has seen end
    rungs      of the last submission that had some, lowest first
    """

    states: Mapping[int, CaseState]
    results: Mapping[int, Result]
    cases: Mapping[int, Case]
    jobs: tuple[str, ...]
    live: tuple[str, ...]
    rate: float
    counts: Counts
    trouble: str = ""
    logs: Mapping[int, str] = field(default_factory=dict)
    words: Mapping[str, str] = field(default_factory=dict)
    starved: tuple[Starved, ...] = ()
    sessions: tuple[SessionState, ...] = ()
    dead: frozenset[str] = frozenset()
    rungs: tuple[OnRung, ...] = ()

    def rung_of(self, sequence: int) -> int | None:
        """The number of the rung that a case is on; None where there are none."""
        return next((one.rung.number for one in self.rungs if sequence in one.sequences), None)

    @property
    def remaining(self) -> float | None:
        """Seconds until the end at that rate; None where nothing is at work, or nothing waits: the end is then that of those at work."""
        return self.counts.left_at(self.rate) if self.rate and self.counts.running and self.counts.waiting else None

    @property
    def climbs(self) -> bool:
        """Whether an array in the queue may go on with what has failed: why it has, Slurm says only when its task has ended."""
        return any(one.array.pending and one.array.job in self.live for one in self.rungs)

    def sequences(self, *words: str) -> list[int]:
        """Sequences of the cases that stand so, in order."""
        return [sequence for sequence, state in self.states.items() if state.word in words]

    def count(self, *words: str) -> int:
        """How many cases stand so."""
        return len(self.sequences(*words))

    @property
    def held(self) -> frozenset[int]:
        """Sequences of the cases that somebody has who lives, or is yet to begin."""
        return frozenset(sequence for sequence, state in self.states.items() if state.held)

    @property
    def sign(self) -> str:
        """That somebody has cases, or is to begin some, and how that is known, in words for the user; "" when nobody has."""
        held = [state for state in self.states.values() if state.held]
        if not held:
            return ""
        host = next((state.worker.host for state in held if state.worker and state.worker.host), "")
        return self.trouble or held[0].reason or f"a task of it is at work{' on ' if host else ''}{host}"

    @property
    def over(self) -> bool:
        """Whether nothing more will happen by itself."""
        return not self.held


def look(run: Run, environ: Mapping[str, str]) -> ClusterStanding:
    """Where a run on Slurm stands, for who only wants to know: a controller that doesn't answer soon is done without."""
    arrays = list_arrays(run.path)
    over = run.has_ended() and bool(arrays) and not some_yet_to_begin(arrays[-1], run.sessions())
    return standing(run, environ, _OVER if over else SOON)


def standing(run: Run, environ: Mapping[str, str], patience: float = slurm.PATIENCE) -> ClusterStanding:
    """Where a run on Slurm stands now. A Slurm that doesn't answer within ``patience`` seconds is no error: see ``trouble``."""
    arrays = list_arrays(run.path)
    try:
        arrays = [with_job(array, environ, patience) for array in arrays]
    except SharedenvError as error:
        tasks, trouble = None, error.cause or error.message
    else:
        tasks, trouble = ask(arrays, environ, patience)
    results, sessions = run.read()
    cases = {case.sequence: case for case in run.cases()}
    strange = {} if tasks is None else elsewhere(arrays, tasks, environ)
    by_writer = run.results_by_writer()
    workers = Tasks(arrays, sessions, by_writer, tasks, strange, retried(run, arrays))
    states = case_states(cases, workers)
    known = list(tasks or ())
    if any(state.lost for state in states.values()) or (tasks is not None and _forgotten(arrays, tasks)):
        accounts = slurm.accounts([array.job for array in arrays if array.job and array.path not in strange], environ)
        states = _with_accounts(states, arrays, accounts)
        known += accounts
    failed = {(one.job, one.index) for one in known if one.state == _NODE_FAIL}
    rate = _rate(results, sessions)
    logs = _logs(states, arrays)
    return ClusterStanding(
        states,
        results,
        cases,
        tuple(array.job for array in arrays if array.job),
        tuple(dict.fromkeys(task.job for task in tasks or () if task.live)),
        rate,
        _counts(states, cases, sessions, arrays[-1].how.timeout if arrays else None),
        trouble,
        logs,
        {path: last_line(path) for sequence, path in logs.items() if (worker := states[sequence].worker) and not worker.attempt},
        tuple(_starved(states, by_writer, arrays, known)),
        tuple(sessions),
        frozenset(writer for writer, task in workers.dead.items() if task not in failed),
        _rungs(arrays),
    )


def _rungs(arrays: Sequence[Array]) -> tuple[OnRung, ...]:
    last = {sequence: array.number for array in arrays for sequence in array.sequences}
    first = next((array.rung.first for array in reversed(arrays) if array.rung), 0)
    return tuple(
        OnRung(array, array.rung, frozenset(sequence for sequence in array.sequences if last[sequence] == array.number))
        for array in arrays if array.rung and array.rung.first == first
    )  # fmt: skip


def ask(
    arrays: Sequence[Array], environ: Mapping[str, str], patience: float = slurm.PATIENCE
) -> tuple[list[slurm.SlurmTask] | None, str]:
    """What Slurm knows of the tasks of a run's arrays; None, and why, where squeue does not say."""
    try:
        tasks = slurm.tasks({job: script for array in arrays for job, script in array.jobs.items()}, environ, patience)
    except SharedenvError as error:
        return None, error.cause or error.message
    if any(array.pending for array in arrays):  # what ended its tasks long ago decides what a rung takes over
        known = {(task.job, task.index) for task in tasks}
        asked = [array.job for array in arrays if array.rung and {(array.job, task) for task in range(1, array.tasks + 1)} - known]
        tasks += [task for task in slurm.accounts(list(filter(None, asked)), environ) if (task.job, task.index) not in known]
    return tasks, ""


def retried(run: Run, arrays: Sequence[Array]) -> frozenset[int]:
    """The cases that failed and that somebody is to try once more, by sequence."""
    found: set[int] = set()
    for array in arrays:
        if not array.static and not array.pending and (positions := to_try_again(DiskFolder(array.path))):
            listing = Listing(run, array.path, len(array.sequences))
            found |= {listing.case(position).sequence for position in positions}
            listing.close()
    return frozenset(found)


def _forgotten(arrays: Sequence[Array], tasks: Sequence[slurm.SlurmTask]) -> bool:
    """Whether squeue no longer knows some job of these."""
    return bool({array.job for array in arrays if array.job} - {task.job for task in tasks})


def _starved(
    states: Mapping[int, CaseState], results: Mapping[str, Mapping[int, Result]], arrays: Sequence[Array], tasks: Sequence[slurm.SlurmTask]
) -> Iterator[Starved]:
    short = {(task.job, task.index) for task in tasks if task.state == slurm.OUT_OF_MEMORY}
    if not short:
        return
    from sharedenv.cluster.rising import was_killed  # noqa: PLC0415 - most runs have memory enough

    done: dict[tuple[int, int], list[int]] = {}
    explained: set[tuple[int, int]] = set()  # tasks of which a script itself was killed
    for writer, own in results.items():
        if (given := task_of(writer)) is not None:
            ended = [sequence for sequence, result in own.items() if result.succeeded and states[sequence].word == DONE]
            done.setdefault(given[:2], []).extend(ended)
            explained |= {given[:2]} if any(map(was_killed, own.values())) else set()
    for array in arrays:
        for task in range(1, array.tasks + 1):
            place = (array.number, task)
            if (array.job, task) in short and place not in explained and (sequences := sorted(done.get(place, ()))):
                yield Starved(task, array.log(task), tuple(sequences))


def _with_accounts(
    states: Mapping[int, CaseState], arrays: Sequence[Array], accounts: Sequence[slurm.SlurmTask]
) -> dict[int, CaseState]:
    """The same states, with the accounting's word for tasks that squeue has forgotten."""
    jobs = {array.number: array.job for array in arrays}
    known = {(task.job, task.index): task for task in accounts}
    named = {}
    for sequence, state in states.items():
        given = task_in(state.worker) if state.lost else None
        task = known.get((jobs[given[0]], given[1])) if given else None
        named[sequence] = replace(state, reason=task.ending) if task else state
    return named


def _logs(states: Mapping[int, CaseState], arrays: Sequence[Array]) -> dict[int, str]:
    """What the tasks of those interrupted and left have printed: the path, where there is something, by sequence."""
    by_number = {array.number: array for array in arrays}
    given = {sequence: task for sequence, state in states.items() if state.word in (INTERRUPTED, LEFT) and (task := task_in(state.worker))}
    paths = {(number, task): by_number[number].log(task) for number, task in set(given.values())}
    there = {task for task, path in paths.items() if os.path.exists(path)}
    return {sequence: paths[task] for sequence, task in given.items() if task in there}


def last_line(path: str) -> str:
    """The last line that a file has, "" where there is none to be read."""
    with contextlib.suppress(OSError):
        descriptor = open_regular(path)
        with open(descriptor, "rb") as file:
            file.seek(max(0, os.fstat(descriptor).st_size - 4096))
            lines = file.read().decode(errors="replace").split("\n")
            return next((line.strip() for line in reversed(lines) if line.strip()), "")
    return ""


def _counts(
    states: Mapping[int, CaseState], cases: Mapping[int, Case], sessions: Sequence[SessionState], limit: float | None
) -> Counts:
    words = Counter(state.word for state in states.values())
    running = {sequence for sequence, state in states.items() if state.word == RUNNING}
    since = sorted((begun, sequence) for sequence, begun in begun_in(sessions).items() if sequence in running)
    now = time.time()
    ages = tuple(max(0.0, now - begun) for begun, _ in since)
    counts = Counts(len(states), words[DONE], words[FAILED], words[RUNNING], 0, waiting=words[WAITING], ages=ages, limit=limit)
    return replace(counts, cases=tuple(cases[sequence] for _, sequence in since))


def _rate(results: Mapping[int, Result], sessions: Sequence[SessionState]) -> float:
    ends = sorted(result.start + result.seconds for result in results.values() if not result.interrupted and not result.done_before)
    if not ends or not sessions:
        return 0.0
    alive = living(sessions)
    # tasks of long ago say nothing of how fast those go that are at work now
    began = min(session.started for session in alive or sessions)
    until = time.time() if alive else ends[-1]
    return sum(end >= began for end in ends) / max(until - began, 0.001)
