"""Which run is meant, and where it is."""

from __future__ import annotations

from sharedenv.app.project import pool_here
from sharedenv.app.recorder import Teller
from sharedenv.errors import SharedenvError
from sharedenv.pool.create import check_format
from sharedenv.pool.layout import Layout
from sharedenv.run.journal.run import Run
from sharedenv.run.journal.runs import newest_first, open_run


def pool_of_runs(pool: str | None) -> Layout:
    """The pool at hand. Raises SharedenvError when there is none."""
    layout = pool_here(pool)
    if layout is None:
        raise SharedenvError("no pool here or above, so no runs", hint="sharedenv --pool DIR/.sharedenv status")
    check_format(layout)
    return layout


def meant_run(layout: Layout, run_id: str | None, tell: Teller) -> Run:
    """The run of this name, or the newest of the pool; newer ones that can't be read are warned of. Raises SharedenvError."""
    if run_id is not None:
        return open_run(layout.runs, run_id)
    unread: dict[str, SharedenvError] = {}
    run = next(newest_first(layout.runs, unread), None)
    for name, error in sorted(unread.items()):
        if run is None or name > run.id:
            tell.warn(f"{error.message}: {error.cause}")
    if run is None:
        raise SharedenvError(f"no run in {layout.runs}", hint="sharedenv run 'case*/script.py'")
    return run
