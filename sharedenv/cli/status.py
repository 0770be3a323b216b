"""`sharedenv status`."""

from __future__ import annotations

import contextlib
import os
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any

import click

from sharedenv.app.join import write_joblog
from sharedenv.cli.failures import failure_group, tell_failures
from sharedenv.cli.options import contrary, json_option, option, runs
from sharedenv.cli.queued import look_at_queue, queue_lines, queue_values, stand_queued
from sharedenv.cli.runs import meant_run, pool_of_runs, told_of_edits, told_of_sets
from sharedenv.cli.slurm import is_on_slurm, slurm_endings, stand_submitted, tell_slurm
from sharedenv.cli.unfinished import hidden_run
from sharedenv.cluster.status import look
from sharedenv.cluster.submissions import list_submissions
from sharedenv.errors import SharedenvError
from sharedenv.pool.layout import Layout
from sharedenv.report.console import Console
from sharedenv.report.sets import mixed_share_lines, set_values
from sharedenv.report.slurm import standing_value
from sharedenv.report.standing import case_values, failure_values, head_lines, listed, pace_lines, running_lines, share_lines, value
from sharedenv.report.summary import interrupted, summarize, summary_lines
from sharedenv.report.table import table
from sharedenv.report.words import printable, short_path
from sharedenv.report.workers import downed_lines, downed_values, worker_lines, worker_values
from sharedenv.run.case import Case, Result
from sharedenv.run.edited import edited_later
from sharedenv.run.journal.owned import doubt_error, find_doubt
from sharedenv.run.journal.run import Run
from sharedenv.run.journal.runs import list_runs
from sharedenv.run.journal.shares import share_of, shares_beside
from sharedenv.run.journal.standing import Standing, stand
from sharedenv.run.listing import is_joinable, lists_of, waits_for_workers
from sharedenv.run.outlived import leftover, named, without_result
from sharedenv.run.sets import mixed, sets_of_shares, sets_used
from sharedenv.run.workers import INTERRUPTED, LOST
from sharedenv.start.environ import current_folder

ENDINGS = ("failed", "interrupted", "lost", "not-run", "succeeded")


@contrary("everything", "run_id", why="RUN names one run and --all lists them all")
@contrary("ended", "everything", why="--list names scripts of one run")
@contrary("joblog", "everything", why="--joblog is of one run")
@contrary("joblog", "ended", "as_json", why="each is another answer")
@contrary("failures", "everything", why="--failures are of one run")
@contrary("failures", "ended", why="each is another answer")
@contrary("failures", "joblog", why="each is another answer")
@contrary("failures", "as_json", why="--json has them all")
@contrary("ended", "as_json", why="each is another answer")
@click.command()
@click.argument("run_id", metavar="[RUN]", required=False, shell_complete=runs)
@option("--all", "everything", is_flag=True, help="List the runs of the pool.")
@option("--list", "ended", type=click.Choice(ENDINGS), help="The scripts of the run that ended so, one a line.")
@option("--failures", is_flag=True, help="Each group of failures whole, with the last lines of one of its scripts.")
@option("--group", type=click.IntRange(min=1), metavar="N", needs=("ended",), help="With --list failed, one group of --failures alone.")
@option("-0", "--null", is_flag=True, needs=("ended",), help="With --list, names end with NUL instead of a newline.")
# SHAREDENV_JOBLOG is for who runs scripts: looking at a run must not write over what he writes
@option("--joblog", envvar=None, metavar="FILE", help="Write GNU parallel's log of the run, of all who worked on it.")
@json_option
@click.pass_obj
def status(
    console: Console,
    /,
    run_id: str | None,
    everything: bool,
    ended: str | None,
    failures: bool,
    group: int | None,
    null: bool,
    joblog: str | None,
    as_json: bool,
) -> int:
    """Where a run stands, or how it ended: counts, failures by what they said, how to go on.

    RUN is the name of a run; without it, the last one.
    """
    layout = pool_of_runs(console.pool)
    if null and not ended:
        raise SharedenvError("-0 says how the names of --list end", hint="sharedenv status --list failed -0")
    if group and ended != "failed":
        raise SharedenvError("--group names a group of what failed", hint=f"sharedenv status --list failed --group {group}")
    if everything:
        return _list(layout, console, as_json)
    run = meant_run(layout, run_id, console)
    if joblog is not None:
        _write_joblog(layout, run, joblog)
        return 0
    doubt = find_doubt(run.path, colleagues=True)
    error = doubt_error(run.path, doubt, "vouch for") if doubt else None
    if as_json:
        console.document({**_document(layout, run), "errors": [console.error_value(error)] if error else []})
        return 0
    if error:
        console.warn(f"{error.message} ({error.cause}): {error.hint}")
    here = current_folder(os.environ)
    if ended:
        console.names(_names(failure_group(run, group).cases if group else _ended(run, ended), here), null=null)
        return 0
    if failures:
        tell_failures(run, lambda path: short_path(path, here), console)
        return 0
    if is_on_slurm(run):
        tell_slurm(run, console, here)
    else:
        tell_run(layout, run, console)
    if run_id is None and (text := hidden_run(layout, run, console)):
        console.result(text)
    return 0


def _write_joblog(layout: Layout, run: Run, path: str) -> None:
    try:
        write_joblog(layout, run, path)
    except OSError as error:
        raise SharedenvError(f"can't write the joblog {path}", cause=error.strerror) from None


def _document(layout: Layout, run: Run) -> dict[str, Any]:
    """A run for --json."""
    cases = run.cases()
    results, sessions = run.read(tails=True)
    standing = stand_submitted(run, stand(len(cases), results, sessions, time.time()), sessions)
    document = {
        **value(run, standing),
        "failures": failure_values(cases, results),
        "interrupted": case_values(interrupted(cases, results)),
        "at_work": case_values(case for case in cases if case.sequence in standing.running),
        "downed": downed_values(sessions, cases, results),
        "edited": case_values(edited_later(cases, results, run.asked.created)),
        "left_running": case_values(case for _, case in leftover(sessions, without_result(cases, results))),
        "versions": set_values(sets_used(run.path, cases, results)),
        "mixed": bool(mixed(cases, results)),
    }
    if queue := look_at_queue(run):
        document["jobs"] = queue_values(queue)
    if lists_of(run):
        document["workers"] = worker_values(sessions)
    if is_on_slurm(run):
        stands = look(run, os.environ)
        document["slurm"] = standing_value(stands)
        document["interrupted"] = case_values(stands.cases[sequence] for sequence in stands.sequences(INTERRUPTED))
    if share_of(run):
        shares = _shares(layout, run, standing)
        document["shares"] = [{"share": number, **value(*one)} for number, one in shares.items()]
        document["mixed"] |= bool(_sets_of(shares))
    return document


def _ended(run: Run, ended: str) -> list[Case]:
    """The cases of a run that ended so, in the order asked; those at work have not ended."""
    cases = run.cases()
    endings = slurm_endings(run) if is_on_slurm(run) else _endings(run, cases)
    return [case for case in cases if ended in endings.get(case.sequence, ())]


def _names(cases: Iterable[Case], here: str) -> Iterable[str]:
    """Scripts (and rows) for other programs, each once, as seen from a folder."""
    meant = dict.fromkeys((case.script, case.row and case.row.line) for case in cases)
    names = (short_path(path, here) + (f" row {line}" if line else "") for path, line in meant)
    return (f"./{name}" if name.startswith("-") else name for name in names)


def _endings(run: Run, cases: Sequence[Case]) -> dict[int, tuple[str, ...]]:
    """Which of ENDINGS each case of a run without Slurm is, by sequence."""
    results, sessions = run.read()
    standing = stand(len(cases), results, sessions, time.time())
    endings: dict[int, tuple[str, ...]] = {}
    for case in cases:
        if case.sequence not in standing.running:
            ending = _ending(results.get(case.sequence))
            # what no worker has begun is there for the next one
            lost = standing.state == LOST and (ending == "interrupted" or (ending == "not-run" and not is_joinable(run)))
            endings[case.sequence] = (ending, "lost") if lost else (ending,)
    return endings


def _ending(result: Result | None) -> str:
    if result is None:
        return "not-run"
    if result.interrupted:
        return "interrupted"
    return "succeeded" if result.succeeded else "failed"


def tell_run(layout: Layout, run: Run, console: Console, tell: Callable[[str], None] | None = None) -> bool:
    """Tells where a run without Slurm stands, on stdout or by ``tell``; whether it failed or left anything."""
    tell = tell or console.result
    here, now = current_folder(os.environ), time.time()
    cases = run.cases()
    results, sessions = run.read()
    queue = look_at_queue(run)
    standing = stand_queued(stand(len(cases), results, sessions, now), queue)
    style = console.result_style
    lines = head_lines(run, standing, now, style)
    lines += running_lines(cases, standing, now, lambda path: short_path(path, here))
    lines += worker_lines(sessions, {case.sequence: case for case in cases}, now, lambda path: short_path(path, here))
    lines += downed_lines(sessions, cases, results, lambda path: short_path(path, here), style("warning", "warning:"))
    lines += queue_lines(queue)
    lines += pace_lines(standing, results, now) if standing.alive else []
    if found := leftover(sessions, without_result(cases, results)):
        end = console.in_pool(f"sharedenv cancel {run.id}")
        lines.append(style("warning", f"still running without it: {printable(named(found))}; to end them: {end}"))
    running = {*standing.running, *(case.sequence for _, case in found)}
    summary = summarize(cases, results, standing.seconds, running=running, going=bool(standing.alive))
    lines += summary_lines(summary, lambda path: short_path(path, here), style, everything=console.verbosity > 0)
    lines += told_of_sets(run, cases, results, console, style)
    if not standing.alive:
        lines += told_of_edits(run, cases, results, console, "submit" if list_submissions(run.path) else "run")
    for line in lines:
        tell(line)
    if not standing.alive and (standing.left or standing.failed) and not any(each.live for each in queue):
        tell(f"to go on: {_again(run, standing, console)}")
    if share := share_of(run):
        shares = _shares(layout, run, standing)
        lines = share_lines(share, shares, lambda run, standing: _again(run, standing, console))
        lines += mixed_share_lines(_sets_of(shares), lambda number: console.in_pool(f"sharedenv show --run {shares[number][0].id}"), style)
        for line in lines:
            tell(line)
    return bool(standing.left or standing.failed)


def _shares(layout: Layout, run: Run, standing: Standing) -> dict[int, tuple[Run, Standing]]:
    """How the shares of the whole stand that ``run`` is one of, by number; what can't be read is left to `status --all`."""
    found: dict[int, tuple[Run, Standing]] = {}
    now = time.time()
    for number, other in shares_beside(run, list_runs(layout.runs)).items():
        with contextlib.suppress(SharedenvError):
            found[number] = (other, standing if other is run else _stand(other, now))
    return found


def _sets_of(shares: Mapping[int, tuple[Run, Standing]]) -> list[dict[str, list[int]]]:
    return list(sets_of_shares({number: run.path for number, (run, _) in shares.items()}).values())


def _again(run: Run, standing: Standing, console: Console) -> str:
    if list_submissions(run.path):
        return console.in_pool(f"sharedenv submit --resume --run-id {run.id}")
    if standing.left and waits_for_workers(run):
        return console.in_pool(f"sharedenv join {run.id}")
    return console.in_pool(f"sharedenv run {'--resume' if standing.left else '--retry-failed'} --run-id {run.id}")


def _stand(run: Run, now: float) -> Standing:
    results, sessions = run.read()
    return stand_submitted(run, stand(run.count, results, sessions, now), sessions)


def _list(layout: Layout, console: Console, as_json: bool) -> int:
    now = time.time()
    found: list[tuple[Run, Standing]] = []
    unread: dict[str, SharedenvError] = {}
    for run in list_runs(layout.runs, unread):
        try:
            found.append((run, _stand(run, now)))
        except SharedenvError as error:
            unread[run.id] = error
    errors = [error for _, error in sorted(unread.items())]
    if as_json:
        console.document({"runs": [value(run, standing) for run, standing in found], "errors": list(map(console.error_value, errors))})
        return 0
    for line in table(("RUN", "STATE", "DONE", "FAILED", "STARTED", "COMMAND"), listed(found, now)):
        console.result(line)
    for one in errors:
        console.warn(f"{one.message}: {one.cause}")
    return 0
