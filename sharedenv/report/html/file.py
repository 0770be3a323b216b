"""A report of runs as a file."""

from __future__ import annotations

import os
import shlex
import sys
from collections.abc import Mapping, Sequence

from sharedenv.cluster.climbed import climbed
from sharedenv.errors import EXIT_USAGE, SharedenvError
from sharedenv.report.html.document import document
from sharedenv.report.words import printable, short_path
from sharedenv.run.case import Case
from sharedenv.run.journal.run import Run, root_of
from sharedenv.run.measures import measure

_LONG = 200  # characters of a case's name


def write_report(runs: Sequence[Run], output: str | None, environ: Mapping[str, str]) -> tuple[str, int]:
    """Writes the report of some runs, side by side, to ``output`` (None: a file in the current folder); its path and its size in bytes.

    ``environ``: by which Slurm is asked, where rungs of a run ended. Raises SharedenvError.
    """
    if output is not None and os.path.isdir(output):
        raise SharedenvError(f"{output} is a folder", hint=f"sharedenv report -o {shlex.quote(os.path.join(output, 'report.html'))}")
    path = output or f"report-{runs[0].id}.html"
    root = root_of(runs[0].path)
    try:
        measured = [measure(run) for run in runs]
        text = document(measured, lambda case: _name(case, root), [climbed(one, environ) for one in measured])
    except ModuleNotFoundError as error:
        hint = shlex.join([sys.executable, "-m", "pip", "install", "sharedenv[report]"])
        raise SharedenvError("a report needs plotly, which draws", cause=str(error), hint=hint, exit_code=EXIT_USAGE) from None
    try:
        with open(path, "w", encoding="utf-8", errors="backslashreplace") as file:
            file.write(text)
    except OSError as error:
        hint = f"ls -ld {shlex.quote(os.path.dirname(path) or '.')}"
        raise SharedenvError(f"can't write {path}", cause=error.strerror, hint=hint, exit_code=EXIT_USAGE) from None
    return path, len(text)


def _name(case: Case, root: str) -> str:
    name = printable(" ".join([short_path(case.script, root), *case.arguments]))
    return name if len(name) <= _LONG else name[: _LONG - 1] + "…"
