"""Where a run stands, for people. Pure."""

from __future__ import annotations

import os
import shlex
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any

from sharedenv.report.progress import rate_text
from sharedenv.report.words import ago, case_name, count, duration, estimate, printable
from sharedenv.run.case import Case, Result
from sharedenv.run.journal.run import Run
from sharedenv.run.journal.standing import MEANING, Standing
from sharedenv.run.terms import Counts
from sharedenv.run.workers import DONE, RUNNING

NAMED = 8  #: running scripts named


def head_lines(run: Run, standing: Standing, now: float, style: Callable[[str, str], str]) -> list[str]:
    """The run, what was asked of it, and how it is."""
    told = MEANING[standing.state]
    if standing.state == RUNNING:
        owners = [session.owner for session in standing.alive if session.owner is not None]
        where = ", ".join(f"process {owner.pid} on {owner.host}" for owner in owners[:3])
        told = f"at work for {duration(standing.seconds)}" + (f" ({where}{', …' if len(owners) > 3 else ''})" if owners else "")
    elif standing.state == DONE and standing.failed:
        told = f"{standing.failed:,} of {count(standing.total, 'script')} failed"
    if standing.state != RUNNING and standing.heard:
        told += f", {ago(now - standing.heard)}"
    colour = {RUNNING: "warning", DONE: "warning" if standing.failed else "good"}.get(standing.state, "error")
    return [f"run {run.id}: {style(colour, standing.state)}, {told}", style("dim", f"  {command_text(run.asked.command)}")]


def counts_of(standing: Standing, cases: Iterable[Case], now: float, limit: float | None = None) -> Counts:
    """The same run as one that is at work counts itself. ``limit``: seconds for each attempt."""
    since = sorted(standing.running.items(), key=lambda pair: pair[1])
    ages = tuple(max(0.0, now - begun) for _, begun in since)
    first = tuple(case for case in cases if since and case.sequence == since[0][0])
    waiting = standing.left - len(ages) if standing.alive else 0
    return Counts(
        standing.total, standing.succeeded, standing.failed, len(ages), 0, waiting=waiting, ages=ages, cases=first, limit=limit
    )  # fmt: skip


def running_lines(
    cases: Iterable[Case], standing: Standing, now: float, name: Callable[[str], str], limit: float | None = None
) -> list[str]:
    """The scripts at work and for how long each has been, the longest first, and how long each may."""
    since = standing.running
    running = sorted((case for case in cases if case.sequence in since), key=lambda case: since[case.sequence])
    named = ", ".join(
        f"{case_name(case, name)} {duration(max(0.0, now - since[case.sequence]))}" for case in running[:NAMED]
    )
    more = f" and {len(running) - NAMED:,} more" if len(running) > NAMED else ""
    most = f"; limit {duration(limit)}" if limit else ""
    return [f"running: {named}{more}{most}"] if running else []


def edited_lines(edited: Sequence[Case], name: Callable[[str], str], again: str) -> list[str]:
    """The scripts that have succeeded and were edited since; ``again``: the command that runs them again."""
    if not edited:
        return []
    more = f" and {len(edited) - 1:,} more" if len(edited) > 1 else ""
    return [f"edited since they succeeded: {case_name(edited[0], name)}{more}; to run them again, too: {again}"]


def rate_of(standing: Standing, results: Mapping[int, Result], now: float) -> float | None:
    """How fast a run at work goes, in cases a second, by what has ended since its session began; None where nothing has."""
    since = min((session.started for session in standing.alive), default=now)
    recent = [result for result in results.values() if result.start >= since and not result.interrupted and not result.done_before]
    seconds = now - min((result.start for result in recent), default=now)
    return len(recent) / seconds if seconds > 0 else None


def pace_lines(counts: Counts, rate: float | None) -> list[str]:
    """How fast a run goes and how long it has still to go; nothing where nothing waits: the end is then that of those at work."""
    return [f"{estimate(counts.left_at(rate))} left, {rate_text(rate)}"] if rate and counts.waiting else []


def listed(runs: Sequence[tuple[Run, Standing]], now: float) -> list[tuple[str, ...]]:
    """A row for each run: name, state, done of total, failed, age, command."""
    return [
        (
            run.id,
            standing.state,
            f"{standing.succeeded + standing.failed:,}/{standing.total:,}",
            f"{standing.failed:,}" if standing.failed else "",
            ago(now - run.asked.created),
            command_text(run.asked.command) + _share_text(run),
        )
        for run, standing in runs
    ]


def _share_text(run: Run) -> str:
    """Which share a run is of, where its command does not say: all tasks of an array have one command."""
    share = run.asked.extra.get("share", "")
    return f" (share {share})" if share and not any(share in word for word in run.asked.command) else ""


def share_lines(
    share: tuple[int, int], standings: Mapping[int, tuple[Run, Standing]], again: Callable[[Run, Standing], str]
) -> list[str]:
    """How the whole stands that a run is one share of (number, count), and the other shares that want something done.

    ``standings``: the shares that have begun, by number; ``again``: the command that goes on with one.
    """
    number, of = share
    every = [standing for _, standing in standings.values()]
    which = f"all {of} together" if len(standings) == of else f"the {len(standings)} that have begun"
    told = [f"{sum(one.succeeded for one in every):,} of {count(sum(one.total for one in every), 'script')} succeeded"]
    told += [f"{failed:,} failed"] if (failed := sum(one.failed for one in every)) else []
    told += [f"{left:,} left"] if (left := sum(one.left for one in every)) else []
    told += [f"{count(working, 'share')} at work"] if (working := sum(1 for one in every if one.alive)) else []
    wanting = [
        f"  share {other}/{of}: {standing.state}, {_wanting(standing)}: {again(run, standing)}"
        for other, (run, standing) in standings.items()
        if other != number and not standing.alive and (standing.left or standing.failed)
    ]
    if len(wanting) > NAMED:
        wanting[NAMED:] = [f"  and {count(len(wanting) - NAMED, 'share')} more: sharedenv status --all"]
    missing = [str(other) for other in range(1, of + 1) if other not in standings]
    if missing:
        more = f" and {len(missing) - NAMED} more" if len(missing) > NAMED else ""
        wanting.append(f"  not begun: share {', '.join(missing[:NAMED])}{more}")
    return [f"share {number}/{of}; {which}: {', '.join(told)}", *wanting]


def _wanting(standing: Standing) -> str:
    failed = [f"{standing.failed:,} failed"] if standing.failed else []
    return ", ".join([*failed, *([f"{standing.left:,} left"] if standing.left else [])])


def command_text(command: Sequence[str]) -> str:
    """The command line as it was typed, as near as can be; long ones are cut."""
    words = [os.path.basename(command[0]) if command else "", *command[1:]]
    text = printable(shlex.join(["sharedenv" if words[0] == "__main__.py" else words[0], *words[1:]]))
    return text if len(text) <= 100 else text[:99] + "…"


def value(run: Run, standing: Standing) -> dict[str, Any]:
    """A run as it stands in a JSON document."""
    return {
        "id": run.id,
        "path": run.path,
        "state": standing.state,
        "command": run.asked.command,
        "arguments": run.asked.arguments,
        "created": run.asked.created,
        "seconds": round(standing.seconds, 3),
        "total": standing.total,
        "succeeded": standing.succeeded,
        "failed": standing.failed,
        "done_before": standing.before,
        "left": standing.left,
        "running": len(standing.running),
        "extra": dict(run.asked.extra),
    }


def case_values(cases: Iterable[Case]) -> list[dict[str, Any]]:
    """Cases for a JSON document."""
    return [
        {
            "sequence": case.sequence,
            "script": case.script,
            "arguments": case.arguments,
            **({"line": case.row.line, "row": case.row.by_name} if case.row else {}),
        }
        for case in cases
    ]


def failure_values(cases: Sequence[Case], results: Mapping[int, Result]) -> list[dict[str, Any]]:
    """The failures of a run for a JSON document, in the order asked."""
    return [
        {
            **case_values([case])[0],
            "status": result.status,
            "signal": result.signal,
            "error": result.error or None,
            "seconds": result.seconds,
            "slot": result.slot or None,
            "gpus": list(result.gpus),
            "stderr": result.tail,
        }
        for case in cases
        if (result := results.get(case.sequence)) is not None and not result.succeeded and not result.interrupted
    ]
