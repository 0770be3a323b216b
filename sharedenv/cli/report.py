"""`sharedenv report`."""

from __future__ import annotations

import os
import shlex
import sys

import click

from sharedenv.cli.options import option, runs
from sharedenv.cli.runs import meant_run, pool_of_runs
from sharedenv.errors import EXIT_USAGE, SharedenvError
from sharedenv.report.console import Console
from sharedenv.report.html.document import document
from sharedenv.report.words import printable, short_path, size
from sharedenv.run.case import Case
from sharedenv.run.journal.run import root_of
from sharedenv.run.measures import measure

_LONG = 200  # characters of a case's name


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
    if output is not None and os.path.isdir(output):
        raise SharedenvError(f"{output} is a folder", hint=f"sharedenv report -o {shlex.quote(os.path.join(output, 'report.html'))}")
    path = output or f"report-{found[0].id}.html"
    root = root_of(found[0].path)
    try:
        text = document([measure(run) for run in found], lambda case: _name(case, root))
    except ModuleNotFoundError as error:
        hint = shlex.join([sys.executable, "-m", "pip", "install", "sharedenv[report]"])
        raise SharedenvError("a report needs plotly, which draws", cause=str(error), hint=hint, exit_code=EXIT_USAGE) from None
    try:
        with open(path, "w", encoding="utf-8", errors="backslashreplace") as file:
            file.write(text)
    except OSError as error:
        hint = f"ls -ld {shlex.quote(os.path.dirname(path) or '.')}"
        raise SharedenvError(f"can't write {path}", cause=error.strerror, hint=hint, exit_code=EXIT_USAGE) from None
    console.say(f"{printable(path)}: {size(len(text))}, to be opened in a browser")
    return 0


def _name(case: Case, root: str) -> str:
    name = printable(" ".join([short_path(case.script, root), *case.arguments]))
    return name if len(name) <= _LONG else name[: _LONG - 1] + "…"
