"""What `status` and `cancel` share: where the runs are, and which one is meant."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable, Mapping

from sharedenv.app.project import pool_here
from sharedenv.errors import SharedenvError
from sharedenv.pool.create import check_format
from sharedenv.pool.layout import Layout
from sharedenv.report.console import Console
from sharedenv.report.sets import mixed_lines
from sharedenv.report.standing import edited_lines
from sharedenv.report.words import short_path
from sharedenv.run.case import Case, Result
from sharedenv.run.edited import edited_later
from sharedenv.run.journal.run import Run
from sharedenv.run.journal.runs import newest_first, open_run
from sharedenv.run.sets import mixed
from sharedenv.start.environ import current_folder


def pool_of_runs(pool: str | None) -> Layout:
    """The pool at hand. Raises SharedenvError when there is none."""
    layout = pool_here(pool)
    if layout is None:
        raise SharedenvError("no pool here or above, so no runs", hint="sharedenv --pool DIR/.sharedenv status")
    check_format(layout)
    return layout


def meant_run(layout: Layout, run_id: str | None, console: Console) -> Run:
    """The run of this name, or the newest of the pool; newer ones that can't be read are warned of. Raises SharedenvError."""
    if run_id is not None:
        return open_run(layout.runs, run_id)
    unread: dict[str, SharedenvError] = {}
    run = next(newest_first(layout.runs, unread), None)
    for name, error in sorted(unread.items()):
        if run is None or name > run.id:
            console.warn(f"{error.message}: {error.cause}")
    if run is None:
        raise SharedenvError(f"no run in {layout.runs}", hint="sharedenv run 'case*/script.py'")
    return run


def told_of_sets(
    run: Run, cases: Iterable[Case], results: Mapping[int, Result], console: Console, style: Callable[[str, str], str]
) -> list[str]:
    """What to say of a run whose results were computed with several sets of versions; nothing of any other."""
    here = current_folder(os.environ)
    look = console.in_pool(f"sharedenv show --run {run.id}")
    return mixed_lines(mixed(cases, results), look, lambda path: short_path(path, here), style)


def told_of_edits(run: Run, cases: Iterable[Case], results: Mapping[int, Result], console: Console, command: str) -> list[str]:
    """The lines of `status` about scripts that were edited since; ``command``: the one that goes on with the run."""
    here = current_folder(os.environ)
    again = console.in_pool(f"sharedenv {command} --resume --run-id {run.id}")
    return edited_lines(edited_later(cases, results, run.asked.created), lambda path: short_path(path, here), again)
