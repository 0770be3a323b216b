"""Working on a run beside others: one worker, from its first claim to the end of the list."""

from __future__ import annotations

import contextlib
import os
import time
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import replace

from sharedenv.app.launcher import doubt_of_step, refuse_missing
from sharedenv.app.listed import Listed, launcher_of, worker_name
from sharedenv.app.recorder import Display, Recorder
from sharedenv.cluster.arrays import list_arrays
from sharedenv.cluster.crew import worker_tag
from sharedenv.cluster.task import prepare_all
from sharedenv.errors import EXIT_BUILD, EXIT_FAILED, SharedenvError
from sharedenv.pool.layout import Layout
from sharedenv.process import capture
from sharedenv.run.allot import allot, default_jobs
from sharedenv.run.batch import Batch
from sharedenv.run.case import Case, Result
from sharedenv.run.claims.blocks import STOP, TOKENS
from sharedenv.run.claims.claims import Claims
from sharedenv.run.claims.folder import DiskFolder
from sharedenv.run.claims.list_end import fold, not_begun
from sharedenv.run.claims.liveness import TAKEOVER, Heartbeats
from sharedenv.run.claims.source import ClaimedCases
from sharedenv.run.claims.suspicion import Suspicion
from sharedenv.run.edited import edited_digest
from sharedenv.run.joblog import HEADER, joblog_line
from sharedenv.run.journal.kept import journal_sign, keep_standing
from sharedenv.run.journal.living import forget_living, note_living
from sharedenv.run.journal.run import Run
from sharedenv.run.journal.standing import stand
from sharedenv.run.journal.writer import Session
from sharedenv.run.listing import Listing, length, lists_of
from sharedenv.run.make_starter import make_starter
from sharedenv.run.observer import AtWork
from sharedenv.run.places import Places
from sharedenv.run.products import halfway
from sharedenv.run.starter import Prepared, Starter
from sharedenv.run.terms import Outcome, Resources
from sharedenv.run.witness import hesitation
from sharedenv.start.access import SHORT, published
from sharedenv.values import frozen

_LOOK = 1.0  # seconds between two looks whether a run has ended


@frozen
class Manner:
    """What is a worker's own: how many at a time, the pause between two starts, and (`Options`) its hesitation; all times in seconds.

    takeover  without a sign, after which it takes what others have claimed and not begun
    stage     gives, for an environment's path, that of a copy to run from; None: from the pool
    until     when this process will be ended, seconds since the epoch; None: not known
    """

    jobs: int
    delay: float = 0.0
    hesitation: float = 0.0
    takeover: float = 180.0
    stage: Callable[[str], str] | None = None
    until: float | None = None


@frozen
class Part:
    """What one worker did.

    cases      begun, in this order
    unwritten  results the journal could not take
    edited     cases whose scripts had been edited before they were begun
    torn       cases whose scripts were edited while they were at work
    failed     how many have failed for good
    left       how many cases of the list nobody has begun
    trouble    why it claimed nothing more ("": nothing was left)
    last       it was the last at work
    cut_off    then: how many of the run have been begun and have no end, as their workers were killed
    """

    outcome: Outcome
    cases: tuple[Case, ...]
    seconds: float
    unwritten: tuple[Result, ...]
    edited: tuple[Case, ...]
    torn: tuple[Case, ...]
    failed: int
    left: int
    trouble: str
    last: bool
    cut_off: int


@frozen
class JoinOrder:
    """What the user says of a worker: how many cases at a time (None: as many as it may use CPUs); seconds between two starts, and
    without a sign after which it takes what others have claimed and not begun.
    """

    jobs: int | None = None
    delay: float = 0.0
    takeover: float = TAKEOVER


def take_up(layout: Layout, run: Run, listed: Listed, order: JoinOrder, display: Display, environ: Mapping[str, str]) -> Part:
    """Works on a list of a run as one worker more, in this process. Raises SharedenvError."""
    terms = listed.terms
    if text := doubt_of_step(terms.launcher, environ):
        display.warn(text)
    allotment = allot(Resources(order.jobs, default_jobs(environ), environ), terms.needs, display.warn, several=True)
    manner = Manner(allotment.jobs, order.delay, hesitation(environ), order.takeover)
    starter = make_starter(display.say, preload=terms.preload)
    try:
        return join(layout, run, listed, manner, starter, allotment.places, display, worker_name(listed, worker_tag(environ)))
    finally:
        starter.close()
        allotment.places.close()


def join(
    layout: Layout,
    run: Run,
    listed: Listed,
    manner: Manner,
    starter: Starter,
    places: Places,
    display: Display,
    name: str,
    joined: Callable[[Claims, Listing], None] = lambda _claims, _listing: None,
) -> Part:
    """Works on a list of a run (`Run.owned`) until no case of it is left to begin, or the user ends it. ``name``: how that of this worker
    begins; ``joined`` is called before its first claim. Raises SharedenvError.
    """
    started = time.monotonic()
    worker = name + os.urandom(5).hex()
    note_living(run)
    terms = listed.terms
    with _session(layout, run, worker, manner.jobs, listed.keys) as session:
        ready = _prepared(layout, run, listed, manner, display)
        listing = Listing(run, listed.folder, listed.count)
        claims = _claims(run, listed, worker, manner)
        source = ClaimedCases(claims, listing, Suspicion(manner.jobs, lambda: _successes(run)), manner.until)
        recorder = _WorkerRecorder(display, session, source, listed)
        options = replace(terms.options(manner.jobs, manner.delay, manner.hesitation), begun=_begun(run, listed))
        batch = Batch(source, starter, options, recorder, places)
        for key, prepared in ready.items():
            recorder.ready(key, prepared)
            batch.deliver(key, prepared)
        session.keep()
        try:
            joined(claims, listing)
            outcome = batch.run()
        finally:
            source.close()
        display.finish()
        session.close(_ending(outcome, source))
    unwritten = tuple(recorder.unwritten) if session.unwritten else ()
    left = not_begun(DiskFolder(listed.folder), listed.count)
    last, cut_off = settle(layout, run, listed, left)
    begun, edited, torn = tuple(recorder.begun), tuple(recorder.before), tuple(recorder.edited)
    return Part(outcome, begun, time.monotonic() - started, unwritten, edited, torn, recorder.failed, left, source.trouble, last, cut_off)


def _claims(run: Run, listed: Listed, worker: str, manner: Manner) -> Claims:
    folder, others = DiskFolder(listed.folder), Heartbeats(run.path, manner.takeover)
    claims = Claims(folder, worker, manner.jobs, listed.count, others, time.monotonic, time.sleep)
    claims.over = not folder.exists(TOKENS)  # it is closed, and that somebody stopped it before says nothing any more
    return claims


def _begun(run: Run, listed: Listed) -> frozenset[int]:
    """What others have begun before, so that its products are not trusted (`--creates`)."""
    if not listed.terms.creates:
        return frozenset()
    return halfway(run).union(run.results()) if listed.array else halfway(run)


@contextlib.contextmanager
def _session(layout: Layout, run: Run, worker: str, jobs: int, keys: Iterable[str]) -> Iterator[Session]:
    try:
        session = run.join(worker, jobs, keys)
    except OSError as error:
        if not os.access(run.path, os.W_OK):
            from sharedenv.app.journal import unwritable_run  # noqa: PLC0415 - most workers do without it

            raise unwritable_run(layout, run, "work on") from None
        cause = f"{error.strerror}: {error.filename}"
        raise SharedenvError(f"can't work on run {run.id} here", cause=cause, hint=_way_out(layout, error), exit_code=EXIT_FAILED) from None
    try:
        yield session
    except BaseException as error:
        session.close(f"ended: {error.message}" if isinstance(error, SharedenvError) else "interrupted")
        raise


def _way_out(layout: Layout, error: OSError) -> str | None:
    from sharedenv.pool.create import way_out  # noqa: PLC0415 - most workers do without tomli

    return way_out(layout, error)


def _ending(outcome: Outcome, source: ClaimedCases) -> str:
    if outcome.interrupted:
        return "interrupted"
    reason = source.trouble or outcome.reason
    return f"drained: {reason}" if reason else "done"


def _prepared(layout: Layout, run: Run, listed: Listed, manner: Manner, display: Display) -> dict[str, Prepared]:
    """The environments of all its cases, held, each Python started once: who can't start one claims nothing. Raises SharedenvError."""
    terms = listed.terms
    ready = prepare_all(layout, run, listed.sets, listed.keys, os.environ, terms.threads, terms.launcher, manner.stage, display.warn)
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


class _WorkerRecorder(Recorder):
    """Tells the claims, too, what happens."""

    def __init__(self, display: Display, session: Session, source: ClaimedCases, listed: Listed) -> None:
        self._texts: dict[int, str] = {}  # digests of scripts that are not what the run's plan says
        super().__init__(display, session, self._texts, listed.created)
        self._source = source
        self._fail_fast = listed.terms.fail_fast
        self._anew = listed.array > 1  # the run's plan is older than the list
        self._begun: dict[int, Case] = {}
        self.before: list[Case] = []
        self.failed = 0

    @property
    def begun(self) -> Iterable[Case]:
        """The cases begun, in this order, each once."""
        return self._begun.values()

    def started(self, case: Case, group: int, *, result_follows: bool) -> None:
        """Puts down that a case runs, at once, and looks whether its script is what was planned."""
        super().started(case, group, result_follows=result_follows)
        if case.sequence not in self._begun:
            self._begun[case.sequence] = case
            if edited := edited_digest(case, self._since):
                self.before.append(case)
            if edited or self._anew:
                self._texts[case.sequence] = edited or case.digest

    def record(self, case: Case, result: Result, last: bool) -> str:
        """Puts an attempt down; a text when nothing more is to be started."""
        self._begun.setdefault(case.sequence, case)
        trouble = super().record(replace(case, digest=self._texts.get(case.sequence, case.digest)), result, last)
        self._source.ended(result)
        self.failed += last and not result.succeeded and not result.interrupted
        if last and self._fail_fast and not result.succeeded and not result.interrupted:
            self._source.stop()
        return trouble or self._source.trouble

    def tick(self, batch: AtWork) -> None:
        """Draws, and gives back what others may begin sooner."""
        super().tick(batch)
        batch.drain(self._source.tick(going=batch.going))


def wait_for_others(run: Run) -> None:
    """Until nobody is at work on a run, as far as can be told."""
    looked = 0.0
    while not run.has_ended():
        if time.monotonic() - looked > 10 * _LOOK:
            if not any(session.alive for session in run.sessions()):
                return
            looked = time.monotonic()
        time.sleep(_LOOK)


def settle(layout: Layout, run: Run, listed: Listed, left: int) -> tuple[bool, int]:
    """Clears up behind the last worker of a run: its joblog, the claims of its list in one file. Whether nobody is at work any more, and
    how many cases were cut off (`Part`). ``left``: cases of the list that nobody has begun.
    """
    cut_off = 0
    try:
        if not run.is_idle():
            return False, 0
        if listed.terms.joblog is not None:
            write_joblog(layout, run, listed.terms.joblog)
        stopped = DiskFolder(listed.folder).exists(STOP)
        if not left and not stopped:
            sign = journal_sign(run.path)
            found, sessions = run.read()
            keep_standing(run, sign, stand(run.count, found, sessions, time.time()), sessions)
            results = found.values()
            if not any(result.interrupted for result in results):
                fold(listed.folder)
            if not listed.array:  # its list has all cases of the run
                cut_off = listed.count - sum(not result.interrupted for result in results)
        if not cut_off and not _tasks_may_come(run):  # what was cut off may run on, without its worker
            forget_living(run)
    except OSError as error:
        cause = f"{error.strerror}: {error.filename}"
        raise SharedenvError(f"can't clear up after run {run.id}", cause=cause, hint=_way_out(layout, error)) from None
    return True, cut_off


def _tasks_may_come(run: Run) -> bool:
    """Whether a task that waits in a queue would find something to begin."""
    listed = (not_begun(DiskFolder(folder), length(run, folder)) for folder in lists_of(run) if folder != run.path)
    return any(listed) or any(array.pending for array in list_arrays(run.path))


def write_joblog(layout: Layout, run: Run, path: str) -> None:
    """Writes the log of a whole run in GNU parallel's format, one line an attempt. Raises OSError, SharedenvError."""
    cases = {case.sequence: case for case in run.cases()}
    paths = {key: published(layout.path, key) or os.path.join(layout.keys, key) for key in run.asked.keys}
    launcher = launcher_of(run)
    commands = {key: Prepared(os.path.join(path, "bin", "python"), {}, launcher=launcher) for key, path in paths.items()}
    staging = f"{path}.{os.urandom(4).hex()}"
    with open(staging, "wb") as file:
        file.write(HEADER)
        attempts = (result for result in run.attempts() if not result.done_before)
        file.writelines(joblog_line(cases[result.sequence], result, commands[cases[result.sequence].key]) for result in attempts)
    os.replace(staging, path)
