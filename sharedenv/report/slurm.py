"""Where a run on Slurm stands, for people and for programs."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from typing import Any

from sharedenv.cluster.rungs import MEMORY, REST, TIME, Taken
from sharedenv.cluster.status import ClusterStanding, OnRung, Starved
from sharedenv.cluster.workers import task_in
from sharedenv.report.progress import rate_text
from sharedenv.report.summary import group
from sharedenv.report.words import case_names, count, estimate, noun_of, printable
from sharedenv.run.case import Case
from sharedenv.run.journal.run import Run
from sharedenv.run.journal.sessions import is_worker
from sharedenv.run.workers import DONE, FAILED, INTERRUPTED, LEFT, RUNNING, WAITING

_STYLES = {DONE: "good", FAILED: "error", INTERRUPTED: "error", LEFT: "warning"}
_NAMED = 3  # scripts named for each reason
_WORDS = (DONE, FAILED, INTERRUPTED, LEFT, RUNNING, WAITING)
_SAID = {LEFT: "not run"}


def standing_line(standing: ClusterStanding, style: Callable[[str, str], str]) -> str:
    """`5,000 scripts: 4,200 done, 3 failed, 16 running, 781 waiting; 61/s, 2 min 3 s left`."""
    said = [
        style(_STYLES.get(word, "dim"), f"{number:,} {_SAID.get(word, word)}") if word in _STYLES else f"{number:,} {word}"
        for word in _WORDS
        if (number := standing.count(word))
    ]
    line = f"{count(len(standing.states), noun_of(list(standing.cases.values())))}: {', '.join(said) or 'nothing to do'}"
    if standing.remaining is not None:
        line += f"; {rate_text(standing.rate)}, {estimate(standing.remaining)} left"
    return line


def standing_lines(run: Run, standing: ClusterStanding, name: Callable[[str], str], style: Callable[[str, str], str]) -> list[str]:
    """The whole text: counts, failures grouped, what was cut off or left and why."""
    jobs = f", job {', '.join(standing.jobs)}" if standing.jobs else ""
    lines = [f"run {run.id}{jobs}", standing_line(standing, style)]
    if standing.trouble:
        lines.append(f"{style('warning', 'warning:')} squeue did not answer, so this is what the run's own files say: {standing.trouble}")
    lines += _rung_lines(standing)
    failed = [
        (standing.cases[sequence], standing.results[sequence])
        for sequence in standing.sequences(FAILED)
        if sequence in standing.results
    ]
    for one in group(failed):
        lines += _named(f"{len(one.cases):,} × {style('error', one.said)}", one.cases, name, values=True)
    for word in (INTERRUPTED, LEFT, WAITING):
        for reason, cases in _reasons(standing, word).items():
            lines += _named(f"{len(cases):,} {_SAID.get(word, word)}: {reason}", cases, name)
            lines += _logs(standing, dict.fromkeys(log for case in cases if (log := standing.logs.get(case.sequence))), name)
    for task in standing.starved:
        told = f"task {task.task} ran out of memory, though {count(len(task.sequences), 'script')} of it succeeded"
        lines += _named(f"{style('warning', 'warning:')} {told}", [standing.cases[sequence] for sequence in task.sequences], name)
        lines.append(f"    see {printable(name(task.log))}")
    return lines


def _rung_lines(standing: ClusterStanding) -> Iterator[str]:
    """`  rung 2 (8G, 4:00:00), job 12: 5 scripts: up to 4 for memory, 1 for time`."""
    for one in standing.rungs:
        told = f"  {one.rung.name}, job {one.array.job or '?'}: "
        if one.array.pending:
            yield told + "nothing yet"
            continue
        noun = noun_of([standing.cases[sequence] for sequence in one.sequences])
        why = [f"{said}{len(taken):,} {text}" for said, text, taken in _taken(one) if taken]
        yield told + count(len(one.sequences), noun) + (f"; taken over: {', '.join(why)}" if why else "")


def _taken(one: OnRung) -> tuple[tuple[str, str, Sequence[int]], ...]:
    """Of what a rung took over: how sure it is, why, and which. Of several that were killed for memory at once, one may be at fault."""
    taken = one.array.taken or Taken()
    unsure = "up to " if len(taken.memory) > 1 else ""
    return (unsure, "for memory", taken.memory), ("", "for time", taken.time), ("", "that its tasks had to leave", taken.rest)


def _rung_value(standing: ClusterStanding, one: OnRung) -> Mapping[str, Any]:
    taken = one.array.taken or Taken()
    reasons = ((MEMORY, taken.memory), (TIME, taken.time), (REST, taken.rest))
    return {
        "rung": one.rung.number,
        "memory": one.rung.limits.memory,
        "time": one.rung.limits.time,
        "job": one.array.job or None,
        "begun": not one.array.pending,
        "scripts": len(one.sequences),
        "taken": {why: [standing.cases[sequence].script for sequence in some] for why, some in reasons},
    }


def standing_value(standing: ClusterStanding) -> dict[str, Any]:
    """As a JSON value: counts, and each case that has not succeeded with where it stands."""
    return {
        "jobs": list(standing.jobs),
        "live_jobs": list(standing.live),
        "counts": {word: standing.count(word) for word in _WORDS},
        "rate": round(standing.rate, 3),
        "remaining": None if standing.remaining is None else round(standing.remaining, 1),
        "trouble": standing.trouble or None,
        "rungs": [_rung_value(standing, one) for one in standing.rungs],
        "out_of_memory": [_starved_value(standing, task) for task in standing.starved],
        "cases": [_case_value(standing, sequence) for sequence, state in standing.states.items() if state.word != DONE],
    }


def _starved_value(standing: ClusterStanding, task: Starved) -> Mapping[str, Any]:
    return {"task": task.task, "log": task.log, "succeeded": [standing.cases[sequence].script for sequence in task.sequences]}


def _case_value(standing: ClusterStanding, sequence: int) -> Mapping[str, Any]:
    state = standing.states[sequence]
    case = standing.cases[sequence]
    result = standing.results.get(sequence) if state.word == FAILED else None
    # what nobody has begun was no task's more than another's
    task = None if state.word == LEFT and state.worker and is_worker(state.worker.writer) else task_in(state.worker)
    return {
        "script": case.script,
        "arguments": list(case.arguments),
        **({"line": case.row.line, "row": case.row.by_name} if case.row else {}),
        "state": state.word,
        "lost": state.lost,
        **({"rung": standing.rung_of(sequence)} if standing.rungs else {}),
        "reason": state.reason or None,
        "task": None if task is None else task[1],
        "log": standing.logs.get(sequence),
        "status": None if result is None else result.status,
        "signal": None if result is None else result.signal,
        "error": None if result is None else result.error or None,
    }


def _reasons(standing: ClusterStanding, word: str) -> dict[str, list[Case]]:
    found: dict[str, list[Case]] = {}
    for sequence in standing.sequences(word):
        if reason := standing.states[sequence].reason:
            found.setdefault(reason, []).append(standing.cases[sequence])
    return found


def _logs(standing: ClusterStanding, paths: Collection[str], name: Callable[[str], str]) -> list[str]:
    more = f" and {len(paths) - 1:,} more" if len(paths) > 1 else ""
    return [line for path in list(paths)[:1] for line in (f"    see {printable(name(path))}{more}", *_words(standing, path))]


def _words(standing: ClusterStanding, path: str) -> list[str]:
    said = printable(standing.words.get(path, ""))
    return [f"      {said}"] if said else []


def named(cases: Sequence[Case], name: Callable[[str], str], *, values: bool = False) -> str:
    """The first of these scripts, and how many more there are; ``values``: as case_name has it."""
    return case_names(cases, name, _NAMED, values=values)


def _named(text: str, cases: Sequence[Case], name: Callable[[str], str], *, values: bool = False) -> list[str]:
    return [f"  {text}", f"    {named(cases, name, values=values)}"]
