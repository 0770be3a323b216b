"""`run` in the tasks of an array (--array) or of a step of `srun`: they work on one run, which the first of them makes."""

from __future__ import annotations

import os
import shlex
from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING, Any

from sharedenv.app.build import NotBuilt
from sharedenv.app.crew import Call, run_of_crew
from sharedenv.app.journal import is_read_only, make_pool
from sharedenv.app.plan import PlanOrder, freeze
from sharedenv.app.project import Selection, open_project, tell_plan, trusted
from sharedenv.app.work import Wanted, Work, new_work
from sharedenv.build.options import BuildOptions
from sharedenv.cli.building import Building
from sharedenv.cli.cases import case_terms, left_of, wanted
from sharedenv.cli.given import Inherited
from sharedenv.cli.join import take_part
from sharedenv.cluster.crew import Crew
from sharedenv.errors import EXIT_BUILD, SharedenvError
from sharedenv.pool.create import check_format
from sharedenv.pool.layout import Layout
from sharedenv.pool.location import find_pools
from sharedenv.report.console import Console
from sharedenv.run.claims.liveness import TAKEOVER
from sharedenv.run.crews import Line
from sharedenv.run.journal.run import Run
from sharedenv.run.journal.runs import holds_unfinished
from sharedenv.run.listing import is_joinable
from sharedenv.script.find import below_which
from sharedenv.start.environ import current_folder
from sharedenv.values import frozen

if TYPE_CHECKING:
    from sharedenv.app.resume import Earlier

#: options that each worker may have of his own
OWN = frozenset({"jobs", "delay", "tag", "keep_order", "no_wait"})


@frozen
class Said:
    """A command line of `run`.

    options  by name
    words    the options as words, without OWN
    again    those of them that a run which goes on takes over
    inherit  gives the options where it goes on with a run
    """

    selection: Selection
    arguments: tuple[str, ...] | None
    build_options: BuildOptions
    options: Mapping[str, Any]
    words: Sequence[str]
    again: Sequence[str]
    inherit: Callable[[Run], Inherited]


def run_in_crew(crew: Crew, said: Said, console: Console) -> int:
    """Works on the run of the crew; the exit status. Raises SharedenvError."""
    here = current_folder(os.environ)
    selection = said.selection
    if selection.from_file == "-":
        raise SharedenvError(
            f"the tasks of {crew.text} work on one list, and each may read another from its standard input",
            hint=shlex.join(["sharedenv", "run", *(["--array"] if crew.array else []), "--from-file", "LIST"]),
        )
    home = _home(console, selection, here)
    words = (*said.words, *selection.arguments, "--", *(said.arguments or ()))
    call = Call(crew, home, Line(os.path.relpath(here, home.root), words, ""))
    wait = not said.options["no_wait"]
    run = run_of_crew(call, lambda: _made(crew, said, console, here), wait=wait, say=console.say, environ=os.environ)
    if not is_joinable(run):  # nothing of an earlier one was left
        console.say("nothing to run")
        return 0
    if said.options["keep_order"]:
        console.warn("-k has no order to keep: which scripts a task gets is decided as it goes")
    layout = Layout(os.path.dirname(os.path.dirname(run.path)))
    return take_part(layout, run, {**said.options, "takeover": TAKEOVER}, console, here)


def _home(console: Console, selection: Selection, here: str) -> Layout:
    """The pool in which the crew's notes are: that of its scripts, as far as this can be known without looking for them. Made, where
    there is none. Raises SharedenvError.
    """
    layout = _pool_above(console, selection, here)
    if layout is None or not os.path.exists(layout.marker):
        made = open_project(console.pool, selection, cwd=here).layout
        make_pool(made, console)
        layout = _pool_above(console, selection, here) or made
    trusted(layout)
    check_format(layout)
    if is_read_only(layout):
        raise SharedenvError(
            "tasks can't work on one run here: the pool is read-only",
            cause=f"{layout.runs} can't be written",
            hint="sharedenv run --no-build --shard I/N …, which needs no run, or case$TASK/script.py, with the number of the task",
        )
    return layout


def _pool_above(console: Console, selection: Selection, here: str) -> Layout | None:
    first = below_which(selection.arguments[0], here) if selection.arguments else os.path.join(here, "script.py")
    [layout] = find_pools(console.pool, os.environ, [first], here, holds_unfinished).pools
    return layout


def _made(crew: Crew, said: Said, console: Console, here: str) -> Run:
    """A new run for the crew: of all scripts, or of what an earlier run has left. Raises SharedenvError."""
    asked = wanted(said.selection, said.arguments, said.options, here)
    own = Inherited(said.selection, said.build_options, said.options)
    work = None
    if said.options["resume"] or said.options["retry_failed"]:
        found = _earlier(said, asked, console, here)
        if found is not None:
            own = said.inherit(found.run)
            work = _left(found, asked, own, console, here)
            if not work.cases:
                return found.run
    terms = case_terms(own.given, here)
    work = work or new_work(console.pool, asked, terms, here)
    if own.given["no_build"]:
        from sharedenv.app.execute import require_all  # noqa: PLC0415 - who may build sees what is missing

        require_all(work, strict=own.build_options.strict)
    elif not crew.array:  # an array of 5,000 tasks has 5,000 files of errors; who builds before it has read this
        tell_plan(work.plan, console)
    joblog = [] if terms.joblog is None else ["--joblog", terms.joblog]  # wherever the run goes on, it is this file
    noted = {"again": [*said.again, *joblog], "crew": crew.record()}
    order = PlanOrder(terms, noted, insist=own.given["insist"])

    def build() -> None:
        Building(console).finish(work.project, work.needed, own.build_options)

    try:
        return freeze(work, asked, order, console, build, os.environ)
    except NotBuilt:
        message = f"{crew.text} has no run to work on: an environment could not be built"
        raise SharedenvError(message, hint=shlex.join(["sharedenv", "build", *said.selection.arguments]), exit_code=EXIT_BUILD) from None


def _earlier(said: Said, asked: Wanted, console: Console, here: str) -> Earlier | None:
    """The run to go on with; None where there is none, so that all is to be run. Raises SharedenvError."""
    from sharedenv.app.resume import NoRun, idle_run  # noqa: PLC0415 - a new run does without

    try:
        return idle_run(console.pool, asked, here, os.environ, insist=said.options["insist"])
    except NoRun:
        if asked.failed_only:
            raise
        console.say("none of these scripts was ever begun: running all of them")
        return None


def _left(found: Earlier, asked: Wanted, own: Inherited, console: Console, here: str) -> Work:
    """What is left of an earlier run, for one that takes its place: nobody begins anything of that any more. Raises SharedenvError."""
    from sharedenv.app.resume import tell_choice  # noqa: PLC0415 - a new run does without
    from sharedenv.run.journal.sessions import LOCAL  # noqa: PLC0415 - as above
    from sharedenv.run.lost import close_list  # noqa: PLC0415 - as above

    work = left_of(found, asked, own, console)
    tell_choice(work, console, here)
    if work.cases:
        close_list(found.run, work.known or (), LOCAL)
    return work
