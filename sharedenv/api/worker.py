"""The process that does the work of one call (companion.py): the job comes on stdin, what happens goes out on stdout, pickled.

A str is a line for people, a CaseResult and a CaseOutput are news of a case, a RunResult is what came of it all, an exception why nothing
did. When its standard input ends, its owner is gone: it ends as the command does whose terminal is closed.
"""

from __future__ import annotations

import contextlib
import os
import pickle
import signal
import sys
import threading
import traceback
from collections.abc import Callable
from dataclasses import replace
from typing import IO, TYPE_CHECKING

from sharedenv.api.asked import terms
from sharedenv.api.events import Events, events
from sharedenv.api.jobs import CaseOutput, JoinJob, RunJob, Wishes
from sharedenv.api.outcome import RunResult, case_result, result_of_run
from sharedenv.app.execute import RunEnd
from sharedenv.app.outputs import check_outputs
from sharedenv.app.project import tell_strays, trusted
from sharedenv.app.run import RunOrder, allotted, carried_out, make_ready
from sharedenv.app.work import Wanted, Work, new_work, wanted
from sharedenv.errors import SharedenvError
from sharedenv.report.output import Output
from sharedenv.report.running import Screen
from sharedenv.report.words import first_names, short_path
from sharedenv.run.case import Case, Result
from sharedenv.run.journal.run import Run
from sharedenv.run.observer import AtWork
from sharedenv.run.spool import Spool
from sharedenv.run.terms import Terms, terms_of
from sharedenv.start.environ import current_folder, undo_coercion

if TYPE_CHECKING:
    from sharedenv.app.project import Project
    from sharedenv.key.plan import Plan

Send = Callable[[object], None]


def main() -> int:
    """Does the job. Returns the exit status, which says no more than whether an answer was given."""
    undo_coercion()
    signal.signal(signal.SIGCHLD, signal.SIG_DFL)  # as cli/main.py says
    signal.signal(signal.SIGINT, signal.default_int_handler)  # whatever became of it in the owner, this is how he ends us
    signal.signal(signal.SIGHUP, signal.SIG_DFL)
    with os.fdopen(os.dup(1), "wb") as stream:
        os.dup2(2, 1)  # whoever prints here must not mix with the messages
        send = _sender(stream)
        job = pickle.load(sys.stdin.buffer)
        threading.Thread(target=_end_with_owner, name="owner", daemon=True).start()
        try:
            send(_run(job, send) if isinstance(job, RunJob) else _join(job, send))
        except KeyboardInterrupt:
            return 130
        except Exception as error:
            if not isinstance(error, SharedenvError):  # a bug of ours: the caller sees where
                error.add_note("".join(traceback.format_tb(error.__traceback__)))
            send(error)
            return 1
    return 0


def _sender(stream: IO[bytes]) -> Send:
    lock = threading.Lock()

    def send(message: object) -> None:
        data = pickle.dumps(message)
        with lock, contextlib.suppress(OSError):  # the owner is gone: we are about to hear of it
            stream.write(data)
            stream.flush()

    return send


def _end_with_owner() -> None:
    while os.read(0, 1):
        pass
    os.kill(os.getpid(), signal.SIGHUP)


def _run(job: RunJob, send: Send) -> RunResult:
    here = current_folder(os.environ)
    tell = _events(job.wishes, job.pool, send)
    asked, work, given = _chosen(job, tell, here)
    check_outputs(work.cases, given.capture, None)
    tell_strays(work.project, tell)
    for text in work.plan.warnings:
        tell.warn(text)
    for note in work.notes:
        tell.say(note)
    order = RunOrder(given, job.build, job.jobs, job.delay, job.builds, job.insist, noted=_noted(job, given))
    ready = make_ready(work, order, tell, os.environ)
    if work.run is not None and not work.cases and not work.settled:
        tell.say("nothing to run")
        return result_of_run(work.run, 0.0)
    screen = _Stream(tell, job.wishes, send, here)
    allotment = allotted(order, tell, os.environ)
    with carried_out(work, asked, order, ready, allotment, screen, os.environ) as (journal, ended):
        if ended.edited:
            names = first_names(list(dict.fromkeys(case.script for case in ended.edited)), lambda path: short_path(path, here), 1)
            tell.warn(f"edited since the run began, so its result may be of either text: {names}; the next resume runs it again")
        return _result(work, journal, ended, tell)


def _result(work: Work, journal: Run, ended: RunEnd, tell: Events) -> RunResult:
    found = result_of_run(journal, ended.seconds, ended.errors)
    if ended.unwritten:
        tell.warn(f"{len(ended.unwritten):,} results could not be written to the journal of run {journal.id}: they will be run again")
        lost = {result.sequence: result for result in ended.unwritten}
        every = {one.number: one for one in found.results}
        every |= {case.sequence: case_result(case, lost[case.sequence]) for case in work.cases if case.sequence in lost}
        found = replace(found, results=tuple(every[number] for number in sorted(every)))
    kept = journal.path.startswith(work.layout.path + os.sep)
    return found if kept else replace(found, path="")


def _chosen(job: RunJob, tell: Events, here: str) -> tuple[Wanted, Work, Terms]:
    """What to run and on which terms, of a new run or of an earlier one: those that it goes on with. Raises SharedenvError."""
    given = terms(Terms(), job.given)
    asked = wanted(job.request, given, here)
    if job.request.goes_on:
        return _resumed(job, asked, tell, here)
    return asked, new_work(job.pool, asked, given, here), given


def _resumed(job: RunJob, asked: Wanted, tell: Events, here: str) -> tuple[Wanted, Work, Terms]:
    from sharedenv.app.build import build_plan  # noqa: PLC0415 - a new run does without all of them
    from sharedenv.app.resume import idle_run, left_work  # noqa: PLC0415 - as above
    from sharedenv.report.building import BuildProgress  # noqa: PLC0415 - as above

    found = idle_run(job.pool, asked, here, os.environ, insist=job.insist)
    given = terms(terms_of(found.run.asked.extra), job.given)
    selection = asked.selection
    said = list(found.run.asked.extra.get("again", ()))
    if selection.python is None and "--python" in said:
        selection = replace(selection, python=said[said.index("--python") + 1])
    asked = replace(asked, selection=replace(selection, no_lock=selection.no_lock or "--no-lock" in said))

    def build(project: Project, plan: Plan) -> None:
        with BuildProgress(tell) as progress:
            build_plan(project, plan, job.build, 2, progress)

    return asked, left_work(found, asked, given, build if job.builds else None), given


def _noted(job: RunJob, given: Terms) -> dict[str, object]:
    """What the run notes for who goes on with it, by a call or by the command."""
    selection = job.request.selection
    python = ("--python", selection.python) if selection.python else ()
    jobs = ("--jobs", str(job.jobs)) if job.jobs else ()
    return {"again": [*given.words(), *jobs, *python, *(("--no-lock",) if selection.no_lock else ())], "terms": given.record()}


def _join(job: JoinJob, send: Send) -> RunResult:
    from sharedenv.app.join import take_up, wait_for_others  # noqa: PLC0415 - a run of its own does without
    from sharedenv.app.listed import list_to_join  # noqa: PLC0415 - as above
    from sharedenv.app.runs import pool_of_runs  # noqa: PLC0415 - as above
    from sharedenv.report.words import counted  # noqa: PLC0415 - as above
    from sharedenv.run.journal.runs import open_run  # noqa: PLC0415 - as above

    here = current_folder(os.environ)
    tell = _events(job.wishes, job.pool, send)
    layout = pool_of_runs(job.pool)
    trusted(layout)
    run = open_run(layout.runs, job.run, owned=True)
    part = take_up(layout, run, list_to_join(run), job.order, _Stream(tell, job.wishes, send, here), os.environ)
    for cases, when in ((part.edited, "since the run was planned"), (part.torn, "while they were at work")):
        if cases:
            tell.warn(f"edited {when}: {counted(cases)}")
    if part.trouble:
        tell.warn(part.trouble)
    if job.wait and not part.outcome.interrupted:
        wait_for_others(run)
    return result_of_run(run, part.seconds)


def _events(wishes: Wishes, pool: str | None, send: Send) -> Events:
    return events(send if wishes.lines else None, pool)


class _Stream(Screen):
    """Sends what happens, and draws nothing."""

    def __init__(self, tell: Events, wishes: Wishes, send: Send, here: str) -> None:
        super().__init__(tell, Output(), lambda path: short_path(path, here))
        self._wishes = wishes
        self._send = send

    def may_wait(self, size: int) -> bool:
        """The owner may take his time."""
        return self._wishes.outputs and size > 0

    def pass_on(self, case: Case, stdout: Spool, stderr: Spool, *, late: bool = False) -> None:  # noqa: ARG002 - the display's signature
        """What a script wrote, where it is wanted."""
        if self._wishes.outputs and (stdout.size or stderr.size):
            out, err = (b"".join(spool.chunks()) for spool in (stdout, stderr))
            self._send(CaseOutput(case.sequence, case.script, None if case.row is None else case.row.by_name, out, err))

    def ended(self, case: Case, result: Result, last: bool) -> None:
        """An attempt ended."""
        super().ended(case, result, last)
        if last and self._wishes.results:
            self._send(case_result(case, result))

    def tick(self, batch: AtWork) -> None:
        """Draws nothing."""
