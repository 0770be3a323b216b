"""`submit --mem 4G,8G --time 1:00:00,4:00:00`, and `--after RUN`: arrays that wait for others."""

from __future__ import annotations

import os
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import replace

from sharedenv.app.recorder import Teller
from sharedenv.app.work import Work
from sharedenv.cluster.arrays import Array, list_arrays
from sharedenv.cluster.rungs import Allowance, ladder_of
from sharedenv.cluster.sbatch import SbatchOptions, names_any, script_text
from sharedenv.cluster.status import standing
from sharedenv.cluster.submit import ArrayOrder, array_job, rung_at
from sharedenv.errors import EXIT_FAILED, EXIT_USAGE, SharedenvError
from sharedenv.pool.layout import Layout
from sharedenv.report.words import count
from sharedenv.run.case import Case
from sharedenv.run.journal.run import Run
from sharedenv.run.journal.runs import open_run
from sharedenv.run.workers import DONE, living

#: what sbatch takes in place of each option
_SAME = {"mem": {"mem", "mem-per-cpu", "mem-per-gpu"}, "time": {"time", "t"}}
_WHY_NOT = "only Slurm tells at once which limit a task of `submit` has met"


def ladder_given(asked: SbatchOptions, environ: Mapping[str, str], *, fail_fast: bool) -> tuple[Allowance, ...]:
    """The rungs that these options ask for, () where they ask for one array. Raises SharedenvError."""
    several = _several(asked)
    if not several:
        return ()
    for name, text in several.items():
        if names_any(asked.more, _SAME[name]):
            message = f"--{name} has several values, and --sbatch has one for all"
            raise SharedenvError(message, hint=f"sharedenv submit --{name} {text} …, without it", exit_code=EXIT_USAGE)
    if fail_fast:
        cause = "a script that runs out of memory has failed, so nothing would go on"
        hint = "sharedenv submit … without it"
        raise SharedenvError("--fail-fast leaves nothing to the next of several values", cause=cause, hint=hint, exit_code=EXIT_USAGE)
    return tuple(ladder_of(asked.memory, asked.time or environ.get("SBATCH_TIMELIMIT")))


def _several(asked: SbatchOptions) -> dict[str, str]:
    """The options that have several values."""
    return {name: text for name, text in (("mem", asked.memory), ("time", asked.time)) if "," in (text or "") and text}


def placed(order: ArrayOrder, work: Work, after: str | None, anew: Collection[str], tell: Teller, environ: Mapping[str, str]) -> ArrayOrder:
    """The order with the rungs that are still to climb, and with what it waits for. Raises SharedenvError.

    ``after``: the run that --after names; ``anew``: names of the options that this call gives.
    """
    if order.ladder and work.run and not {"mem", "time"} & set(anew):
        order = replace(order, ladder=_still_to_climb(order.ladder, work.run, work.cases))
    return order if after is None else replace(order, depends=_after_run(work.layout, after, tell, environ))


def _still_to_climb(ladder: Sequence[Allowance], run: Run, cases: Iterable[Case]) -> tuple[Allowance, ...]:
    """The rungs from the lowest on that one of these cases of a run was on last."""
    last = {sequence: array.rung.limits for array in list_arrays(run.path) if array.rung for sequence in array.sequences}
    places = [ladder.index(known) if (known := last.get(case.sequence)) in ladder else 0 for case in cases]
    return tuple(ladder[min(places, default=0) :])


def preview(work: Work, number: int, tasks: int, order: ArrayOrder, after: str | None) -> str:
    """The job scripts of an array and of its higher rungs, with words in capitals for what only a submission can know."""
    path = work.run.path if work.run else os.path.join(work.layout.runs, "RUN")
    texts = []
    for place in range(max(1, len(order.ladder))):
        folder = os.path.join(path, "slurm", str(number + place))
        array = Array(folder, (), tasks, order.how, rung=rung_at(place + 1, number, order))
        behind = replace(order, depends=(f"afterany:RUNG{place}",)) if place else order
        texts.append(script_text(array_job(os.path.basename(path), array, behind, None if place else after)))
    return "\n".join(texts)


def _after_run(layout: Layout, run_id: str, tell: Teller, environ: Mapping[str, str]) -> tuple[str, ...]:
    """What a job waits for that is to begin when a run has ended well; () where it has. Raises SharedenvError where it can't end so."""
    run = open_run(layout.runs, run_id)
    arrays = list_arrays(run.path)
    look = f"sharedenv status {run.id}"
    if not arrays:
        return _after_local(run)
    stands = standing(run, environ)
    if stands.trouble:
        raise SharedenvError(f"can't tell where run {run.id} stands", cause=stands.trouble, hint="squeue --me", exit_code=EXIT_FAILED)
    left = [word for state in stands.states.values() if (word := state.word) != DONE and not state.held]
    if left:
        cause = ", ".join(f"{left.count(word):,} {word}" for word in dict.fromkeys(left))
        hint = f"sharedenv submit --resume --run-id {run.id}"
        raise SharedenvError(f"run {run.id} does not end well, so nothing can follow it", cause=cause, hint=hint, exit_code=EXIT_USAGE)
    if stands.over:
        tell.say(f"run {run.id} has ended well: nothing to wait for")
        return ()
    jobs = [job for job in map(last_job, _ladders(arrays)) if job in stands.live]
    if not jobs:
        cause = "somebody who joined it by hand is at work on it"
        raise SharedenvError(f"run {run.id} has no job in the queue", cause=cause, hint=look, exit_code=EXIT_USAGE)
    tell.say(f"begins when run {run.id} has ended well: job {', '.join(jobs)}")
    return tuple(f"afterok:{job}" for job in jobs)


def _after_local(run: Run) -> tuple[str, ...]:
    results, sessions = run.read()
    cases = run.cases()
    if living(sessions):
        cause = "it is no run on Slurm, so no job can wait for it"
        raise SharedenvError(f"run {run.id} is at work", cause=cause, hint=f"sharedenv status {run.id}", exit_code=EXIT_USAGE)
    left = sum((result := results.get(case.sequence)) is None or not result.succeeded for case in cases)
    if left:
        cause, hint = f"{count(left, 'script')} of it did not succeed", f"sharedenv run --resume --run-id {run.id}"
        raise SharedenvError(f"run {run.id} did not end well, so nothing can follow it", cause=cause, hint=hint, exit_code=EXIT_USAGE)
    return ()


def _ladders(arrays: Iterable[Array]) -> list[list[Array]]:
    """The arrays of each submission, oldest first."""
    found: dict[int, list[Array]] = {}
    for array in arrays:
        found.setdefault(array.rung.first if array.rung else array.number, []).append(array)
    return list(found.values())


def last_job(ladder: Sequence[Array]) -> str:
    """The job that ends well only when all of a submission has."""
    return ladder[-1].job


def refuse_rungs(asked: SbatchOptions, title: str) -> None:
    """Raises SharedenvError where several values are asked of what has one."""
    for name, text in _several(asked).items():
        hint = f"sharedenv submit --{name} {text.partition(',')[0]} …"
        raise SharedenvError(f"several values of --{name} are not for {title}", cause=_WHY_NOT, hint=hint, exit_code=EXIT_USAGE)
