"""Runs on Slurm once they are submitted: what `status` tells of them, and `submit --wait`."""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Collection, Mapping, Sequence

from sharedenv.cli.runs import told_of_edits, told_of_sets
from sharedenv.cluster.arrays import Array, list_arrays
from sharedenv.cluster.status import ClusterStanding, look, standing
from sharedenv.cluster.workers import ended_in
from sharedenv.errors import EXIT_FAILED, EXIT_INTERRUPTED
from sharedenv.report.console import Console
from sharedenv.report.progress import Progress
from sharedenv.report.slurm import standing_lines
from sharedenv.report.words import printable, short_path
from sharedenv.report.workers import downed_lines, worker_lines
from sharedenv.run.case import Result
from sharedenv.run.journal.run import Run
from sharedenv.run.journal.watched import watched
from sharedenv.run.outlived import leftover, named, without_result
from sharedenv.run.terms import Counts
from sharedenv.run.workers import DONE, FAILED, INTERRUPTED, LEFT, WAITING
from sharedenv.run.workers import begun as begun_in

_LISTED = {DONE: "succeeded", FAILED: "failed", INTERRUPTED: "interrupted", LEFT: "not-run", WAITING: "not-run"}

_LOOK = 1.0  # seconds between looks at the journal, ten times as long as a look takes where that is more
_REST = 5.0  # seconds that tasks have to end after their last case
_ASK = (2.0, 30.0)  # seconds between questions to squeue: at first, and in the end


def is_on_slurm(run: Run) -> bool:
    """Whether a run was submitted: `tell_slurm` and `slurm_endings` know more of it than its sessions."""
    return bool(list_arrays(run.path))


def has_rungs(run: Run) -> bool:
    """Whether a run was submitted with several values of a limit, of which each goes on with what the one before has lost."""
    return any(array.rung for array in list_arrays(run.path))


def tell_slurm(run: Run, console: Console, here: str) -> None:
    """What `status` says of a run on Slurm, on stdout."""
    for line in slurm_lines(run, look(run, os.environ), console, here, console.result_style):
        console.answer(line)


def slurm_endings(run: Run, rung: int | None = None) -> dict[int, tuple[str, ...]]:
    """What `status --list` calls each case of a run on Slurm that is not at work, by sequence; those on a ``rung`` alone, or all."""
    stands = look(run, os.environ)
    meant = {sequence: state for sequence, state in stands.states.items() if rung is None or stands.rung_of(sequence) == rung}
    listed = {sequence: (_LISTED[state.word], state.lost) for sequence, state in meant.items() if state.word in _LISTED}
    return {sequence: (word, "lost") if lost else (word,) for sequence, (word, lost) in listed.items()}


def slurm_lines(
    run: Run, stands: ClusterStanding, console: Console, here: str, style: Callable[[str, str], str]
) -> list[str]:
    """What there is to say of a run on Slurm."""
    lines = standing_lines(run, stands, lambda path: short_path(path, here), style)
    lines += worker_lines(stands.sessions, stands.cases, time.time(), lambda path: short_path(path, here))
    warning = style("warning", "warning:")
    lines += downed_lines(stands.sessions, stands.cases.values(), stands.results, lambda path: short_path(path, here), warning)
    if found := leftover(run.id, stands.sessions, without_result(stands.cases.values(), stands.results)):
        end = console.in_pool(f"sharedenv cancel {run.id}")
        lines.append(style("warning", f"still running without it: {printable(named(found))}; to end them: {end}"))
    lines += told_of_sets(run, stands.cases.values(), stands.results, console, style)
    if stands.over and not stands.climbs:
        lines += told_of_edits(run, stands.cases.values(), stands.results, console, "submit")
    if stands.over and not stands.climbs and stands.count(FAILED, INTERRUPTED, LEFT):
        lines.append("to go on: " + console.in_pool(f"sharedenv submit --resume --run-id {run.id}"))
    return lines


def wait(run: Run, arrays: Sequence[Array], here: str, console: Console) -> int:
    """Follows arrays of a run to their end, then tells how it ended. Ctrl-C leaves the jobs and says how to come back."""
    progress = Progress(console, name=lambda path: printable(short_path(path, here)))
    try:
        stands = _follow(watched(run), arrays, progress, console)
    except KeyboardInterrupt:
        progress.hide()
        jobs = ", ".join(array.job for array in arrays)
        look, end = (console.in_pool(f"sharedenv {command} {run.id}") for command in ("status", "cancel"))
        console.say(f"job {jobs} goes on; where it stands: {look}; to end it: {end}")
        return EXIT_INTERRUPTED
    progress.hide()
    for line in slurm_lines(run, stands, console, here, console.style):
        console.say(line)
    return 0 if stands.count(DONE) == len(stands.states) else EXIT_FAILED


def _follow(run: Run, arrays: Sequence[Array], progress: Progress, console: Console) -> ClusterStanding:
    delay, ask, trouble = _ASK[0], 0.0, ""
    submitted = {sequence: array.number for array in arrays for sequence in array.sequences}
    tries = max(array.how.retries for array in arrays)
    while True:
        began = time.monotonic()
        if any(array.rung for array in arrays):
            numbers = {array.number for array in arrays}
            arrays = [array for array in list_arrays(run.path) if array.number in numbers]
            submitted = {sequence: array.number for array in arrays for sequence in array.sequences}
        results = ended_in(run.results_by_writer(), submitted, tries)
        climbs = any(array.pending for array in arrays) and not all(result.succeeded for result in results.values())
        if submitted.keys() <= results.keys() and not climbs:
            return _at_rest(run)
        if began >= ask:
            stands = standing(run, os.environ)
            if stands.over and not stands.climbs:
                return stands
            if stands.trouble and not trouble:
                progress.hide()
                console.warn(f"squeue does not answer, so this goes by the run's own files: {stands.trouble}")
            trouble = stands.trouble
            delay, ask = min(delay * 1.5, _ASK[1]), began + delay
        if progress.due():
            progress.show(counts_now(run, submitted, results, max(array.how.timeout or 0.0 for array in arrays)))
        time.sleep(max(_LOOK, 10 * (time.monotonic() - began)))


def counts_now(run: Run, submitted: Collection[int], results: Mapping[int, Result], limit: float) -> Counts:
    """Where the cases ``submitted`` stand by the run's own files, of which these ``results`` have ended: Slurm is asked now and then only.
    ``limit``: seconds for each, 0.0 for none.
    """
    since = sorted((begun, case) for case, begun in begun_in(run.sessions()).items() if case in submitted and case not in results)
    now, succeeded = time.time(), sum(result.succeeded for result in results.values())
    cases = {case.sequence: case for case in run.cases()} if since else {}
    return Counts(
        len(submitted), succeeded, len(results) - succeeded, len(since), 0,
        waiting=len(submitted) - len(results) - len(since),
        ages=tuple(max(0.0, now - begun) for begun, _ in since),
        cases=tuple(cases[case] for _, case in since),
        limit=limit or None,
    )  # fmt: skip


def _at_rest(run: Run) -> ClusterStanding:
    """Where a run stands once Slurm has seen its tasks end, or after some seconds: only then it says that one ran out of memory."""
    until = time.monotonic() + _REST
    while (stands := standing(run, os.environ)).live and time.monotonic() < until:
        time.sleep(_REST / 10)
    return stands
