"""`sharedenv join`."""

from __future__ import annotations

import os
import shlex
from collections.abc import Mapping
from typing import Any

import click

from sharedenv.app.join import JoinOrder, Part, take_up, wait_for_others
from sharedenv.app.listed import Listed, list_to_join
from sharedenv.app.project import trusted
from sharedenv.app.runs import pool_of_runs
from sharedenv.cli.arguments import Jobs, duration
from sharedenv.cli.look import tell_run
from sharedenv.cli.options import option, runs
from sharedenv.cli.scripts import in_pool_of
from sharedenv.errors import EXIT_FAILED, EXIT_INTERRUPTED, SharedenvError
from sharedenv.pool.layout import Layout
from sharedenv.report.console import Console
from sharedenv.report.output import Output, tag_of
from sharedenv.report.running import Screen
from sharedenv.report.summary import summarize, summary_lines
from sharedenv.report.words import count, first_names, short_path
from sharedenv.run.claims.blocks import CLAIMS
from sharedenv.run.claims.folder import DiskFolder
from sharedenv.run.claims.list_end import is_damaged
from sharedenv.run.claims.liveness import TAKEOVER
from sharedenv.run.journal.run import Run
from sharedenv.run.journal.runs import open_run
from sharedenv.start.environ import current_folder

_JOBS = "Scripts at a time. [default: SLURM_CPUS_PER_TASK, NSLOTS, or the CPUs this process may use]"


@click.command()
@click.argument("run_id", metavar="RUN", shell_complete=runs)
@option("--jobs", "-j", type=Jobs(), metavar="N", help=_JOBS)
@option("--delay", type=duration, default=0.0, metavar="TIME", help="Wait this long between two starts.")
@option("--tag", is_flag=True, help="Put the script's path and a tab before each line of its output.")
@option(
    "--takeover", type=duration, default=TAKEOVER, metavar="TIME",
    help="Begin what a worker has claimed and not begun after so long without a sign of it. [default: 3m]",
)  # fmt: skip
@option("--wait", is_flag=True, help="Wait for the other workers, and tell of the whole run.")
@click.pass_obj
def join(console: Console, /, run_id: str, **given: Any) -> int:
    """Work on a run that `sharedenv plan` made, until no script of it is left to begin.

    Any number may join, from any machine that sees the disk, early or late: each script is begun once.
    A first TERM or USR1 starts nothing more and gives back what was claimed.
    """
    here = current_folder(os.environ)
    layout = pool_of_runs(console.pool)
    trusted(layout)
    run = open_run(layout.runs, run_id, owned=True)
    status = take_part(layout, run, given, console, here)
    if not given["wait"] or status == EXIT_INTERRUPTED:
        return status
    wait_for_others(run)
    return EXIT_FAILED if tell_run(layout, run, console) else status


def take_part(layout: Layout, run: Run, given: Mapping[str, Any], console: Console, here: str) -> int:
    """Works on a run (`Run.owned`) as one of its workers, and tells what became of it; the exit status.

    ``given``: the options that are the worker's own. Raises SharedenvError.
    """
    listed = list_to_join(run)
    screen = Screen(console, Output(tag_of(here) if given["tag"] else None), lambda path: short_path(path, here))
    order = JoinOrder(given["jobs"], given["delay"], given["takeover"])
    return _tell(layout, run, listed, take_up(layout, run, listed, order, screen, os.environ), console, here)


def _tell(layout: Layout, run: Run, listed: Listed, part: Part, console: Console, here: str) -> int:
    """What became of this worker's part, and what is left of the whole; the exit status."""
    results = part.outcome.results
    summary = summarize(part.cases, results, part.seconds)
    if part.cases:
        for line in summary_lines(summary, lambda path: short_path(path, here), console.style, everything=console.verbosity > 0):
            console.say(line)
    if part.edited:
        some = first_names(list(dict.fromkeys(case.script for case in part.edited)), lambda path: short_path(path, here), 1)
        console.warn(f"edited since the run was planned, run as it is now in the environment of then: {some}")
    if part.torn:
        some = first_names([case.script for case in part.torn], lambda path: short_path(path, here), 1)
        console.warn(f"edited while they were at work, so results may be of either text: {some}")
    if part.unwritten:
        console.error(SharedenvError(
            f"{count(len(part.unwritten), 'result')} could not be written to the journal of run {run.id}",
            cause="they count as lost",
            hint=f"df -h -i {shlex.quote(layout.path)}",
        ))  # fmt: skip
    if part.trouble and part.trouble != part.outcome.reason:  # it came before anything was begun: nobody has said it
        console.warn(part.trouble)
    left = part.left
    if left and is_damaged(DiskFolder(listed.folder)):
        console.error(SharedenvError(
            f"{count(left, 'script')} of run {run.id} can't be begun by workers",
            cause=f"the last claim in {os.path.join(listed.folder, CLAIMS)} is damaged",
            hint=in_pool_of(layout, f"sharedenv run --resume --run-id {run.id}", console),
        ))  # fmt: skip
        return EXIT_FAILED
    if left:
        again = in_pool_of(layout, f"sharedenv join {run.id}", console)
        console.say(f"{count(left, 'script')} of run {run.id} not begun; to go on: {again}")
    elif part.cut_off:
        again = in_pool_of(layout, f"sharedenv run --resume --run-id {run.id}", console)
        console.say(f"nothing is left to begin; cut off with a worker: {count(part.cut_off, 'script')} of run {run.id}; to go on: {again}")
    else:
        look = in_pool_of(layout, f"sharedenv status {run.id}", console)
        told = "has ended" if part.last else "goes on elsewhere"
        console.say(f"nothing is left to begin; run {run.id} {told}: {look}")
    if part.outcome.interrupted or part.outcome.reason.startswith("SIG"):
        return EXIT_INTERRUPTED
    return EXIT_FAILED if summary.failed or summary.left or part.unwritten or part.trouble else 0
