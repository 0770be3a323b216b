"""`sharedenv report`."""

from __future__ import annotations

import os

import click

from sharedenv.app.runs import meant_run, pool_of_runs
from sharedenv.cli.options import option, runs
from sharedenv.report.console import Console
from sharedenv.report.html.file import write_report
from sharedenv.report.words import printable, size


@click.command()
@click.argument("run_ids", metavar="[RUN]…", nargs=-1, shell_complete=runs)
@option("-o", "--output", metavar="FILE", help="Where to write it. [default: report-RUN.html]")
@click.pass_obj
def report(console: Console, run_ids: tuple[str, ...], output: str | None) -> int:
    """Write an HTML file with pictures of a run: when each script ran, how long, with how much CPU and memory, what failed.

    RUN is the name of a run; without it, the last one. Several are shown side by side. The file needs no network, now or in years.
    """
    layout = pool_of_runs(console.pool)
    found = [meant_run(layout, run_id, console) for run_id in (run_ids or (None,))]
    path, length = write_report(found, output, os.environ)
    console.say(f"{printable(path)}: {size(length)}, to be opened in a browser")
    return 0
