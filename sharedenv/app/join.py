"""Working on a run beside others: one worker, from its first claim to the end of the list."""

from __future__ import annotations

import contextlib
import os
import time
from collections.abc import Iterable, Iterator
from dataclasses import replace

from sharedenv.app.launcher import refuse_missing
from sharedenv.app.recorder import Display, Recorder
from sharedenv.cluster.task import prepare_all
from sharedenv.errors import EXIT_BUILD, EXIT_FAILED, SharedenvError
from sharedenv.pool.create import way_out
from sharedenv.pool.layout import Layout
from sharedenv.process import capture
from sharedenv.run.batch import Batch
from sharedenv.run.case import Case, Result
from sharedenv.run.claims.blocks import STOP, TOKENS
from sharedenv.run.claims.claims import Claims
from sharedenv.run.claims.folder import DiskFolder
from sharedenv.run.claims.list_end import fold
from sharedenv.run.claims.liveness import Heartbeats
from sharedenv.run.claims.source import ClaimedCases
from sharedenv.run.claims.suspicion import Suspicion
from sharedenv.run.joblog import HEADER, joblog_line
from sharedenv.run.journal.living import forget_living, note_living
from sharedenv.run.journal.run import Run
from sharedenv.run.journal.sessions import WORKER
from sharedenv.run.journal.writer import Session
from sharedenv.run.listing import Listing, is_joinable
from sharedenv.run.observer import Work
from sharedenv.run.orders import Outcome
from sharedenv.run.places import Places
from sharedenv.run.products import halfway
from sharedenv.run.sets import pinned
from sharedenv.run.starter import Prepared, Starter
from sharedenv.run.terms import Terms, terms_of
from sharedenv.start.access import SHORT, published
from sharedenv.values import frozen


@frozen
class Manner:
    """What is a worker's own: how many at a time, the pause between two starts, and (`Options`) its hesitation; all times in seconds.

    takeover  without a sign, after which it takes what others have claimed and not begun
    """

    jobs: int
    delay: float = 0.0
    hesitation: float = 0.0
    takeover: float = 180.0


@frozen
class Part:
    """What one worker did: its outcome, its cases in the order begun, seconds, results the journal could not take, cases whose scripts
    were edited meanwhile, why it claimed nothing more ("": nothing was left), and whether it was the last at work.
    """

    outcome: Outcome
    cases: tuple[Case, ...]
    seconds: float
    unwritten: tuple[Result, ...]
    edited: tuple[Case, ...]
    trouble: str
    last: bool


def refuse_joining(run: Run) -> None:
    """Raises SharedenvError for a run that nobody can join: of one process, or stopped."""
    if not is_joinable(run):
        raise SharedenvError(
            f"run {run.id} is none that others can join",
            cause="it was begun as the run of one process; `sharedenv plan` makes one for many",
            hint=f"sharedenv run --resume --run-id {run.id}",
        )
    folder = DiskFolder(run.path)
    if folder.exists(STOP) and folder.exists(TOKENS):  # a list that is closed has nothing to offer anyway
        raise SharedenvError(
            f"run {run.id} was told to stop",
            cause="by `sharedenv cancel`, or by a failure under --fail-fast",
            hint=f"sharedenv run --resume --run-id {run.id}",
        )


def join(layout: Layout, run: Run, terms: Terms, manner: Manner, starter: Starter, places: Places, display: Display) -> Part:
    """Works on a run (`Run.owned`) until no case of it is left to begin, or the user ends it. Raises SharedenvError."""
    started = time.monotonic()
    worker = WORKER + os.urandom(5).hex()
    note_living(run)
    with _session(layout, run, worker, manner.jobs) as session:
        ready = _prepared(layout, run, terms, display)
        others = Heartbeats(run.path, manner.takeover)
        claims = Claims(DiskFolder(run.path), worker, manner.jobs, run.asked.count, others, time.monotonic, time.sleep)
        source = ClaimedCases(claims, Listing(run), Suspicion(manner.jobs, lambda: _successes(run)))
        recorder = _Recorder(display, session, source, run.asked.created, fail_fast=terms.fail_fast)
        options = replace(terms.options(manner.jobs, manner.delay, manner.hesitation), begun=halfway(run))
        batch = Batch(source, starter, options, recorder, places)
        for key, prepared in ready.items():
            recorder.ready(key, prepared)
            batch.deliver(key, prepared)
        session.keep()
        try:
            outcome = batch.run()
        finally:
            source.close()
        display.finish()
        session.close(_ending(outcome, source))
    unwritten = tuple(recorder.unwritten) if session.unwritten else ()
    last = settle(layout, run, terms)
    return Part(outcome, tuple(recorder.begun), time.monotonic() - started, unwritten, tuple(recorder.edited), source.trouble, last)


@contextlib.contextmanager
def _session(layout: Layout, run: Run, worker: str, jobs: int) -> Iterator[Session]:
    try:
        session = run.join(worker, jobs)
    except OSError as error:
        cause = f"{error.strerror}: {error.filename}"
        raise SharedenvError(f"can't work on run {run.id} here", cause=cause, hint=way_out(layout, error), exit_code=EXIT_FAILED) from None
    try:
        yield session
    except BaseException as error:
        session.close(f"ended: {error.message}" if isinstance(error, SharedenvError) else "interrupted")
        raise


def _ending(outcome: Outcome, source: ClaimedCases) -> str:
    if outcome.interrupted:
        return "interrupted"
    reason = source.trouble or outcome.reason
    return f"drained: {reason}" if reason else "done"


def _prepared(layout: Layout, run: Run, terms: Terms, display: Display) -> dict[str, Prepared]:
    """The environments of all its cases, held, each Python started once: who can't start one claims nothing. Raises SharedenvError."""
    ready = prepare_all(layout, run, pinned(run.path), run.asked.keys, os.environ, terms.threads, terms.launcher, None, display.warn)
    for key, prepared in ready.items():
        refuse_missing(terms.launcher, [prepared.variables.get("PATH", os.defpath)])
        try:
            ended = capture([prepared.python, "-c", ""], env=prepared.variables, cwd="/")
            cause = ended.stderr.strip() or f"it ended with {ended.status}"
        except OSError as error:
            cause = error.strerror or str(error)
        else:
            if ended.status == 0:
                continue
        what = f"the Python of environment {key[:SHORT]} can't be started here, so nothing was claimed"
        raise SharedenvError(what, cause=cause, hint="sharedenv doctor", exit_code=EXIT_BUILD)
    return ready


def _successes(run: Run) -> Iterable[float]:
    return [result.seconds for result in run.results().values() if result.succeeded and not result.done_before]


class _Recorder(Recorder):
    """Tells the claims, too, what happens."""

    def __init__(self, display: Display, session: Session, source: ClaimedCases, since: float, *, fail_fast: bool) -> None:
        super().__init__(display, session, {}, since)
        self._source = source
        self._fail_fast = fail_fast
        self._begun: dict[int, Case] = {}

    @property
    def begun(self) -> Iterable[Case]:
        """The cases begun, in this order, each once."""
        return self._begun.values()

    def started(self, case: Case, group: int, *, result_follows: bool) -> None:
        """Puts down that a case runs."""
        self._begun.setdefault(case.sequence, case)
        super().started(case, group, result_follows=result_follows)

    def record(self, case: Case, result: Result, last: bool) -> str:
        """Puts an attempt down; a text when nothing more is to be started."""
        self._begun.setdefault(case.sequence, case)
        trouble = super().record(case, result, last)
        self._source.ended(result)
        if last and self._fail_fast and not result.succeeded and not result.interrupted:
            self._source.stop()
        return trouble or self._source.trouble

    def tick(self, batch: Work) -> None:
        """Draws, and gives back what others may begin sooner."""
        super().tick(batch)
        batch.drain(self._source.tick(going=batch.going))


def settle(layout: Layout, run: Run, terms: Terms) -> bool:
    """Clears up behind the last worker of a run: its joblog, its claims in one file. Whether nobody is at work any more."""
    try:
        if not run.is_idle():
            return False
        if terms.joblog is not None:
            write_joblog(layout, run, terms.joblog)
        results = run.results()
        if len(results) >= run.asked.count and not any(result.interrupted for result in results.values()):
            fold(run.path)
    except OSError as error:
        cause = f"{error.strerror}: {error.filename}"
        raise SharedenvError(f"can't clear up after run {run.id}", cause=cause, hint=way_out(layout, error)) from None
    forget_living(run)
    return True


def write_joblog(layout: Layout, run: Run, path: str) -> None:
    """Writes the log of a whole run in GNU parallel's format, one line an attempt. Raises OSError, SharedenvError."""
    cases = {case.sequence: case for case in run.cases()}
    paths = {key: published(layout.path, key) or os.path.join(layout.keys, key) for key in run.asked.keys}
    launcher = terms_of(run.asked.extra).launcher
    commands = {key: Prepared(os.path.join(path, "bin", "python"), {}, launcher=launcher) for key, path in paths.items()}
    staging = f"{path}.{os.urandom(4).hex()}"
    with open(staging, "wb") as file:
        file.write(HEADER)
        attempts = (result for result in run.attempts() if not result.done_before)
        file.writelines(joblog_line(cases[result.sequence], result, commands[cases[result.sequence].key]) for result in attempts)
    os.replace(staging, path)
