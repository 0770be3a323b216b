"""`sharedenv show --run`: the versions that a run was computed with."""

from __future__ import annotations

import os
import shlex

from sharedenv.app.runs import meant_run, pool_of_runs
from sharedenv.errors import EXIT_FAILED, SharedenvError
from sharedenv.report.console import Console
from sharedenv.report.sets import set_lines, set_values
from sharedenv.report.words import short_path
from sharedenv.run.sets import sets_used
from sharedenv.start.environ import current_folder


def show_run(console: Console, run_id: str, as_json: bool) -> int:
    """Prints the sets of a run, each with the cases that were computed with it. Raises SharedenvError."""
    run = meant_run(pool_of_runs(console.pool), run_id, console)
    cases, results = run.cases(), run.results()
    try:
        used = sets_used(run.path, cases, results)
    except OSError as error:
        cause = f"{error.strerror}: {error.filename}"
        hint = shlex.join(["ls", "-ld", error.filename])
        raise SharedenvError(f"the versions of run {run.id} can't be read", cause=cause, hint=hint, exit_code=EXIT_FAILED) from None
    if as_json:
        console.document({"run": run.id, "versions": set_values(used), "errors": []})
        return 0
    here = current_folder(os.environ)
    unknown = sum(not result.versions and not result.interrupted and not result.unbuilt for result in results.values())
    for line in set_lines(used, len(cases), unknown, lambda path: short_path(path, here)):
        console.result(line)
    return 0
