"""What `status` says of a run that is on no Slurm, or that workers of another scheduler have."""

from __future__ import annotations

import contextlib
import os
import time
from collections.abc import Callable, Mapping, Sequence

from sharedenv.app.queued import look_at_queue, stand_queued, standing_of
from sharedenv.cli.queued import queue_lines
from sharedenv.cli.runs import told_of_edits, told_of_sets
from sharedenv.cluster.submissions import QueueStanding, list_submissions
from sharedenv.errors import EXIT_BUILD, EXIT_FAILED, EXIT_INTERRUPTED, SharedenvError
from sharedenv.pool.layout import Layout
from sharedenv.report.console import Console
from sharedenv.report.sets import mixed_share_lines
from sharedenv.report.standing import counts_of, head_lines, pace_lines, rate_of, running_lines, share_lines
from sharedenv.report.summary import summarize, summary_lines
from sharedenv.report.words import printable, short_path
from sharedenv.report.workers import downed_lines, worker_lines
from sharedenv.run.case import Case, Result
from sharedenv.run.journal.run import Run
from sharedenv.run.journal.runs import list_runs
from sharedenv.run.journal.sessions import SessionState
from sharedenv.run.journal.shares import share_of, shares_beside
from sharedenv.run.journal.standing import PLANNED, SUBMITTED, Standing, stand
from sharedenv.run.listing import is_joinable, waits_for_workers
from sharedenv.run.lost import begun_unsaid
from sharedenv.run.outlived import leftover, named, without_result
from sharedenv.run.sets import sets_of_shares
from sharedenv.run.terms import Counts, terms_of
from sharedenv.run.workers import BEGINNING, INTERRUPTED, RUNNING
from sharedenv.start.environ import current_folder
from sharedenv.values import frozen


@frozen
class Look:
    """A run at one instant.

    lines   what `status` says of it
    counts  where it stands
    seconds for which it has been at work
    rate    cases that end in a second, None where none has
    over    nothing more will happen by itself
    status  its exit status, once it is over
    asked   a scheduler was asked
    """

    lines: tuple[str, ...]
    counts: Counts
    seconds: float
    rate: float | None
    over: bool
    status: int
    asked: bool


def tell_run(layout: Layout, run: Run, console: Console, tell: Callable[[str], None] | None = None) -> bool:
    """Tells where a run without Slurm stands, on stdout or by ``tell``; whether it failed or left anything."""
    look = look_at(run, console, console.result_style)
    for line in (*look.lines, *_share_lines(layout, run, console)):
        (tell or console.answer)(line)
    return look.counts.total > look.counts.succeeded


def look_at(run: Run, console: Console, style: Callable[[str, str], str], *, bar: bool = False) -> Look:
    """Where a run without Slurm stands; nothing of the shares beside it. ``bar``: a bar will tell the pace.

    Raises SharedenvError when it can't be read.
    """
    here, now = current_folder(os.environ), time.time()
    cases = run.cases()
    results, sessions = read_run(run, cases)
    queue = look_at_queue(run, os.environ)
    standing = stand_queued(stand(len(cases), results, sessions, now), queue)
    limit = _limit(run, sessions)
    counts, rate = counts_of(standing, cases, now, limit), rate_of(standing, results, now)
    lines = head_lines(run, standing, now, style)
    lines += running_lines(cases, standing, now, lambda path: short_path(path, here), limit)
    lines += worker_lines(sessions, {case.sequence: case for case in cases}, now, lambda path: short_path(path, here))
    lines += downed_lines(sessions, cases, results, lambda path: short_path(path, here), style("warning", "warning:"))
    lines += queue_lines(queue)
    lines += [] if bar else pace_lines(counts, rate)
    if found := leftover(run.id, sessions, without_result(cases, results)):
        end = console.in_pool(f"sharedenv cancel {run.id}")
        lines.append(style("warning", f"still running without it: {printable(named(found))}; to end them: {end}"))
    running = {*standing.running, *(case.sequence for _, case in found)}
    summary = summarize(cases, results, standing.seconds, running=running, going=bool(standing.alive))
    lines += summary_lines(summary, lambda path: short_path(path, here), style, everything=console.verbosity > 0)
    lines += told_of_sets(run, cases, results, console, style)
    if not standing.alive:
        lines += told_of_edits(run, cases, results, console, "submit" if list_submissions(run.path) else "run")
    live = any(each.live for each in queue)
    if not standing.alive and (standing.left or standing.failed) and not live:
        lines.append(f"to go on: {_again(run, standing, console)}")
    status = EXIT_BUILD if any(result.unbuilt for result in results.values()) else EXIT_FAILED if standing.left or standing.failed else 0
    if standing.state == INTERRUPTED:
        status = EXIT_INTERRUPTED
    return Look(tuple(lines), counts, standing.seconds, rate, _is_over(run, standing, queue, now), status, bool(queue))


def _is_over(run: Run, standing: Standing, queue: list[QueueStanding], now: float) -> bool:
    """Whether nothing more happens by itself: of a run that nobody has begun, nobody who is to come is known."""
    if standing.state == PLANNED:
        return bool(queue) or (now - run.asked.created > BEGINNING and not is_joinable(run))
    return standing.state not in (RUNNING, SUBMITTED)


def _limit(run: Run, sessions: list[SessionState]) -> float | None:
    """Seconds that each attempt has, where that is written down; whoever goes on with a run of one process may have said otherwise."""
    words = list(run.asked.extra.get("again", ()))
    if "--timeout" in words[:-1] and len(sessions) == 1:
        with contextlib.suppress(ValueError):
            return float(words[words.index("--timeout") + 1])
    return terms_of(run.asked.extra).timeout


def read_run(run: Run, cases: Sequence[Case], *, tails: bool = False) -> tuple[dict[int, Result], list[SessionState]]:
    """The results of a run and who has worked on it, with what killed workers had begun without a word. Raises SharedenvError."""
    results, sessions = run.read(tails=tails)
    return {**results, **begun_unsaid(run, cases, results, sessions)}, sessions


def shares_of(layout: Layout, run: Run) -> dict[int, tuple[Run, Standing]]:
    """How the shares of the whole stand that ``run`` is one of, by number; what can't be read is left to `status --all`."""
    found: dict[int, tuple[Run, Standing]] = {}
    for number, other in shares_beside(run, list_runs(layout.runs)).items():
        with contextlib.suppress(SharedenvError):
            found[number] = (other, standing_of(other, time.time()))
    return found


def sets_in(shares: Mapping[int, tuple[Run, Standing]]) -> list[dict[str, list[int]]]:
    """The sets of versions that shares of one whole have, where these differ (run/sets.py)."""
    return list(sets_of_shares({number: run.path for number, (run, _) in shares.items()}).values())


def _share_lines(layout: Layout, run: Run, console: Console) -> list[str]:
    if not (share := share_of(run)):
        return []
    shares = shares_of(layout, run)
    lines = share_lines(share, shares, lambda run, standing: _again(run, standing, console))
    look = {number: console.in_pool(f"sharedenv show --run {one.id}") for number, (one, _) in shares.items()}
    return [*lines, *mixed_share_lines(sets_in(shares), look.__getitem__, console.result_style)]


def _again(run: Run, standing: Standing, console: Console) -> str:
    if list_submissions(run.path):
        return console.in_pool(f"sharedenv submit --resume --run-id {run.id}")
    if standing.left and waits_for_workers(run):
        return console.in_pool(f"sharedenv join {run.id}")
    return console.in_pool(f"sharedenv run {'--resume' if standing.left else '--retry-failed'} --run-id {run.id}")
