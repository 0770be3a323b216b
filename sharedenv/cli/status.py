"""`sharedenv status`."""

from __future__ import annotations

import os
import time
from collections.abc import Iterable, Sequence
from typing import Any

import click

from sharedenv.app.join import write_joblog
from sharedenv.app.queued import look_at_queue, stand_submitted, standing_of
from sharedenv.app.runs import meant_run, pool_of_runs
from sharedenv.cli.failures import failure_group, tell_failures
from sharedenv.cli.look import read_run, sets_in, shares_of, tell_run
from sharedenv.cli.options import contrary, json_option, option, runs
from sharedenv.cli.queued import queue_values
from sharedenv.cli.slurm import has_rungs, is_on_slurm, slurm_endings, tell_slurm
from sharedenv.cli.unfinished import hidden_run
from sharedenv.cluster.status import look
from sharedenv.errors import EXIT_USAGE, SharedenvError
from sharedenv.pool.layout import Layout
from sharedenv.report.console import Console
from sharedenv.report.sets import set_values
from sharedenv.report.slurm import standing_value
from sharedenv.report.standing import case_values, failure_values, listed, value
from sharedenv.report.summary import interrupted
from sharedenv.report.table import table
from sharedenv.report.words import short_path
from sharedenv.report.workers import downed_values, worker_values
from sharedenv.run.case import Case, Result
from sharedenv.run.edited import edited_later
from sharedenv.run.journal.owned import doubt_error, find_doubt
from sharedenv.run.journal.run import Run
from sharedenv.run.journal.runs import list_runs
from sharedenv.run.journal.shares import share_of
from sharedenv.run.journal.standing import Standing, stand
from sharedenv.run.listing import is_joinable, lists_of
from sharedenv.run.outlived import leftover, without_result
from sharedenv.run.sets import mixed, sets_used
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
@contrary("follow", "everything", why="--follow is of one run")
@contrary("follow", "ended", "joblog", "failures", why="each is another answer")
@contrary("follow", "as_json", why="--json is one document, of one instant")
@click.command()
@click.argument("run_id", metavar="[RUN]", required=False, shell_complete=runs)
@option("--all", "everything", is_flag=True, help="List the runs of the pool.")
@option("--follow", is_flag=True, help="Go on telling until the run has ended; exit as it does. Ctrl-C leaves it running.")
@option("--list", "ended", type=click.Choice(ENDINGS), help="The scripts of the run that ended so, one a line.")
@option("--failures", is_flag=True, help="Each group of failures whole, with the last lines of one of its scripts.")
@option("--group", type=click.IntRange(min=1), metavar="N", needs=("ended",), help="With --list failed, one group of --failures alone.")
@option("--rung", type=click.IntRange(min=1), metavar="N", needs=("ended",), help="With --list, those on one rung of several alone.")
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
    follow: bool,
    ended: str | None,
    failures: bool,
    group: int | None,
    rung: int | None,
    null: bool,
    joblog: str | None,
    as_json: bool,
) -> int:
    """Where a run stands, or how it ended: counts, failures by what they said, how to go on.

    RUN is the name of a run; without it, the last one.
    """
    layout = pool_of_runs(console.pool)
    _check_names(ended, group, rung, null=null)
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
    if follow:
        from sharedenv.cli.follow import follow_run  # noqa: PLC0415 - one look does without

        return follow_run(layout, run, console)
    here = current_folder(os.environ)
    if ended:
        console.names(_names(failure_group(run, group).cases if group else _ended(run, ended, rung), here), null=null)
    elif failures:
        tell_failures(run, lambda path: short_path(path, here), console)
    elif is_on_slurm(run):
        tell_slurm(run, console, here)
    else:
        tell_run(layout, run, console)
    if run_id is None and not (ended or failures) and (text := hidden_run(layout, run, console)):
        console.answer(text)
    return 0


def _check_names(ended: str | None, group: int | None, rung: int | None, *, null: bool) -> None:
    """What says which names --list gives, and how, needs a --list that has them. Raises SharedenvError."""
    if null and not ended:
        raise SharedenvError("-0 says how the names of --list end", hint="sharedenv status --list failed -0")
    if rung and not ended:
        raise SharedenvError("--rung says which names of --list are meant", hint=f"sharedenv status --list failed --rung {rung}")
    if group and ended != "failed":
        raise SharedenvError("--group names a group of what failed", hint=f"sharedenv status --list failed --group {group}")


def _write_joblog(layout: Layout, run: Run, path: str) -> None:
    try:
        write_joblog(layout, run, path)
    except OSError as error:
        raise SharedenvError(f"can't write the joblog {path}", cause=error.strerror) from None


def _document(layout: Layout, run: Run) -> dict[str, Any]:
    """A run for --json."""
    cases = run.cases()
    results, sessions = read_run(run, cases, tails=True)
    standing = stand_submitted(run, stand(len(cases), results, sessions, time.time()), sessions)
    document = {
        **value(run, standing),
        "failures": failure_values(cases, results),
        "interrupted": case_values(interrupted(cases, results)),
        "at_work": case_values(case for case in cases if case.sequence in standing.running),
        "downed": downed_values(sessions, cases, results),
        "edited": case_values(edited_later(cases, results, run.asked.created)),
        "left_running": case_values(case for _, case in leftover(run.id, sessions, without_result(cases, results))),
        "versions": set_values(sets_used(run.path, cases, results)),
        "mixed": bool(mixed(cases, results)),
    }
    if queue := look_at_queue(run, os.environ):
        document["jobs"] = queue_values(queue)
    if lists_of(run):
        document["workers"] = worker_values(sessions)
    if is_on_slurm(run):
        stands = look(run, os.environ)
        document["slurm"] = standing_value(stands)
        document["interrupted"] = case_values(stands.cases[sequence] for sequence in stands.sequences(INTERRUPTED))
    if share_of(run):
        shares = shares_of(layout, run)
        document["shares"] = [{"share": number, **value(*one)} for number, one in shares.items()]
        document["mixed"] |= bool(sets_in(shares))
    return document


def _ended(run: Run, ended: str, rung: int | None) -> list[Case]:
    """The cases of a run that ended so, in the order asked, all or those on a rung; those at work have not ended. Raises SharedenvError."""
    cases = run.cases()
    if rung is not None and not has_rungs(run):
        message = f"run {run.id} was not submitted with several values of --mem or --time"
        raise SharedenvError(message, hint=f"sharedenv status {run.id}", exit_code=EXIT_USAGE)
    endings = slurm_endings(run, rung) if is_on_slurm(run) else _endings(run, cases)
    return [case for case in cases if ended in endings.get(case.sequence, ())]


def _names(cases: Iterable[Case], here: str) -> Iterable[str]:
    """Scripts (and rows) for other programs, each once, as seen from a folder."""
    meant = dict.fromkeys((case.script, case.row and case.row.line) for case in cases)
    names = (short_path(path, here) + (f" row {line}" if line else "") for path, line in meant)
    return (f"./{name}" if name.startswith("-") else name for name in names)


def _endings(run: Run, cases: Sequence[Case]) -> dict[int, tuple[str, ...]]:
    """Which of ENDINGS each case of a run without Slurm is, by sequence."""
    results, sessions = read_run(run, cases)
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


def _list(layout: Layout, console: Console, as_json: bool) -> int:
    now = time.time()
    found: list[tuple[Run, Standing]] = []
    unread: dict[str, SharedenvError] = {}
    for run in list_runs(layout.runs, unread):
        try:
            found.append((run, standing_of(run, now)))
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
