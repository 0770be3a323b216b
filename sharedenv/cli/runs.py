"""What `status` and `submit` tell of the versions that a run was computed with."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable, Mapping

from sharedenv.report.console import Console
from sharedenv.report.sets import mixed_lines
from sharedenv.report.standing import edited_lines
from sharedenv.report.words import short_path
from sharedenv.run.case import Case, Result
from sharedenv.run.edited import edited_later
from sharedenv.run.journal.run import Run
from sharedenv.run.sets import mixed
from sharedenv.start.environ import current_folder


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
