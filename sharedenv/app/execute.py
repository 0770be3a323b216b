"""Running the cases of some work: builds, the batch, the journal and what is shown, put together."""

from __future__ import annotations

import contextlib
import os
import shlex
import threading
import time
from collections.abc import Callable, Iterable, Iterator, Mapping
from functools import partial
from typing import TYPE_CHECKING

from sharedenv.app.build import result_of, taking_builds_along
from sharedenv.app.recorder import Display, Recorder
from sharedenv.app.sets import lost_set, put_down, with_sets
from sharedenv.app.work import Work
from sharedenv.errors import EXIT_BUILD, SharedenvError
from sharedenv.key.plan import Need
from sharedenv.pool.missing import look_up_all, missing_error
from sharedenv.pool.sets import find_set, set_of
from sharedenv.pool.store import Environment, Unusable, look_up
from sharedenv.process import stop_all
from sharedenv.run.batch import Batch
from sharedenv.run.case import Case, Result
from sharedenv.run.joblog import Joblog
from sharedenv.run.journal.run import Run
from sharedenv.run.journal.standing import FEW
from sharedenv.run.journal.writer import Session
from sharedenv.run.places import Places
from sharedenv.run.prepare import prepare
from sharedenv.run.queue import Queue
from sharedenv.run.starter import Prepared, Starter
from sharedenv.run.terms import BatchOptions, Outcome
from sharedenv.start.access import Vanished
from sharedenv.values import frozen

if TYPE_CHECKING:
    from concurrent.futures import Future

    from sharedenv.build.builder import Builder
    from sharedenv.build.options import BuildOptions

BUILDS = 2  #: environments built side by side while scripts run


@frozen
class RunEnd:
    """How the running ended: the batch's outcome, seconds it took, errors of builds, results the journal could not take, and
    cases whose scripts were edited between the plan and their end.
    """

    outcome: Outcome
    seconds: float
    errors: tuple[SharedenvError, ...]
    unwritten: tuple[Result, ...]
    edited: tuple[Case, ...]


def execute(
    work: Work,
    run: Run,
    *,
    starter: Starter,
    environments: Needed,
    options: BatchOptions,
    places: Places,
    build_options: BuildOptions | None,
    display: Display,
    joblog: Joblog | None,
    threads: int | None,
    launcher: tuple[str, ...],
    begun: Callable[[], None],
) -> RunEnd:
    """Runs the cases of ``work`` under the journal of ``run``; ``build_options``: None where nothing may be built.

    ``begun`` is called once others can see that this run is at work.

    Raises SharedenvError when another process has the run.
    """
    started = time.monotonic()
    with _session(work, run, options.jobs) as session:
        begun()
        recorder = Recorder(display, session, work.digests, work.since, joblog)
        batch = Batch(Queue(work.cases), starter, options, recorder, places)
        session.keep()
        delivery = Delivery(work, run, threads, launcher, starter, recorder, batch, build_options, display)
        with taking_builds_along():  # until the batch hears signals itself, and again when it has ended
            building = delivery.begin(environments)
            outcome = batch.run()
        if outcome.interrupted or not all(future.done() for future in building):
            stop_all()
        display.finish()
        session.close(_ending(outcome))
        unwritten = tuple(recorder.unwritten) if session.unwritten else ()
    if work.run is None and not unwritten and len(work.cases) >= FEW:
        from sharedenv.run.journal.kept import keep_own  # noqa: PLC0415 - of few cases nothing is kept

        keep_own(run, outcome.results)
    return RunEnd(outcome, time.monotonic() - started, tuple(delivery.errors), unwritten, tuple(recorder.edited))


@contextlib.contextmanager
def _session(work: Work, run: Run, jobs: int) -> Iterator[Session]:
    session = run.begin(jobs=jobs, writer=work.writer, keys={case.key for case in work.cases}, again=work.again, known=work.known)
    try:
        if work.run is not None:
            from sharedenv.run.lost import close_list  # noqa: PLC0415 - a new run has no workers of before

            close_list(run, work.known or (), work.writer)
        if work.run is not None and work.planned:
            run.extend(work.planned)
        for case in work.settled:
            session.append(Result(case.sequence, 1, time.time(), error="the script is gone"))
        yield session
    except BaseException:
        stop_all()
        session.close("interrupted")
        raise


class Delivery:
    """Brings environments to the batch: those that are there at once, those that are built as they get ready."""

    def __init__(
        self,
        work: Work,
        run: Run,
        threads: int | None,
        launcher: tuple[str, ...],
        starter: Starter,
        recorder: Recorder,
        batch: Batch,
        options: BuildOptions | None,
        display: Display,
    ) -> None:
        self._options = options
        self._display = display
        self._work = work
        self._run = run
        self._threads = threads
        self._launcher = launcher
        self._starter = starter
        self._recorder = recorder
        self._batch = batch
        self._readings: set[str] = set()
        self.errors: list[SharedenvError] = []

    def begin(self, environments: Needed) -> list[Future[Environment]]:
        """Delivers what is there and starts building the rest; the builds."""
        needs = self._work.plan.needs
        ready = [(needs[key], environment) for key, environment in environments.ready.items()]
        if self._starter.warms:
            # not in the main thread: a signal is to find the batch's loop at work, however long the imports take
            threading.Thread(target=self._deliver_all, args=(ready,), name="warming", daemon=True).start()
        else:
            self._deliver_all(ready)
        if not environments.missing or self._options is None:
            return []
        futures = self._builder(self._options).build_all([needs[key] for key in environments.missing], BUILDS)
        for key, future in futures.items():
            future.add_done_callback(partial(self._built, needs[key]))
        return list(futures.values())

    def _builder(self, options: BuildOptions) -> Builder:
        from sharedenv.build.builder import Builder  # noqa: PLC0415 - with a full pool nobody waits until locks, threads and uv are loaded

        return Builder(self._work.layout, self._work.project.settings, options, dict(os.environ), self._display.builds())

    def _deliver_all(self, ready: Iterable[tuple[Need, Environment]]) -> None:
        for need, environment in ready:
            self._deliver(need, partial(_itself, environment))

    def _built(self, need: Need, future: Future[Environment]) -> None:
        self._deliver(need, future.result)

    def _deliver(self, need: Need, result: Callable[[], Environment]) -> None:
        """Holds an environment that is ready and tells the batch; also from a builder's thread."""
        key = need.payload.key
        try:
            environment = result()
            self._tell_reading(environment)
            prepared = self._hold(need, environment)
            self._starter.warm(need.scripts[0], prepared)
        except SharedenvError as error:
            told = error
        except OSError as error:
            cause = f"{error.strerror}: {error.filename}"
            told = SharedenvError(f"environment {key[:12]} can't be used", cause=cause, exit_code=EXIT_BUILD)
        except BaseException as error:  # whatever it was, the batch waits for an answer
            if threading.current_thread() is threading.main_thread():
                raise  # Ctrl-C, before the batch has begun
            told = SharedenvError(f"environment {key[:12]} could not be built", cause=repr(error), exit_code=EXIT_BUILD)
        else:
            self._recorder.ready(key, prepared)
            self._batch.deliver(key, prepared)
            return
        self.errors.append(told)
        self._batch.deliver(key, told)

    def _tell_reading(self, environment: Environment) -> None:
        text = environment.reading
        if text and text not in self._readings and self._options is not None:  # with --no-build, who built has told it
            self._readings.add(text)
            self._display.warn(text)

    def _hold(self, need: Need, environment: Environment) -> Prepared:
        layout, key = self._work.layout, need.payload.key
        # who goes on with a run has decided; of several who begin one, the first does
        decided = self._work.run is not None and self._work.sets.get(key) in (None, set_of(environment))
        digest = put_down(layout, self._run, environment, decided=decided)
        for _ in range(20):  # each time somebody prunes, rebuilds or upgrades in the instant between
            if set_of(environment) != digest:  # another worker of this run was faster, or an upgrade came in between
                if (other := find_set(layout, key, digest)) is None:
                    raise lost_set(key, self._run)
                environment = other
            try:
                return prepare(layout, environment, os.environ, self._threads, self._run.id, self._launcher, self._display.warn)
            except Vanished:
                # pruned or rebuilt in this instant: what the pool has for the key now counts
                found = look_up(layout, need.payload)
                if isinstance(found, Environment):
                    environment = found
                elif self._options is not None:
                    # in a thread, as every build: a signal that comes while uv is being started would lose it
                    environment = result_of(self._builder(self._options).build_all([need], 1)[key])
                else:
                    break
        raise SharedenvError(
            f"environment {need.payload.key[:12]} was taken away while it was wanted",
            hint=shlex.join(["sharedenv", "build", os.path.relpath(need.scripts[0])]),
            exit_code=EXIT_BUILD,
        )


def _itself(environment: Environment) -> Environment:
    return environment


@frozen
class Needed:
    """The environments that the cases of some work need: those that are there, and those that are not or can't be used."""

    ready: Mapping[str, Environment]
    missing: Mapping[str, Unusable | None]


def needed(work: Work, *, thorough: bool = False, strict: bool = False) -> Needed:
    """Looks up what the cases need; ``thorough``: environments are walked through for purged files; ``strict``: as look_up has it."""
    ready, missing = look_up_all(work.layout, work.needed, thorough=thorough, strict=strict)
    found = with_sets(work, ready) if work.sets else ready
    there = {key: environment for key, environment in found.items() if environment is not None}
    return Needed(there, {**missing, **dict.fromkeys(key for key in found if key not in there)})


def require_all(work: Work, *, strict: bool) -> None:
    """`--no-build`: raises SharedenvError unless every environment is there."""
    if missing := needed(work, strict=strict).missing:
        raise missing_error(work.layout, work.plan.needs, missing, work.project.options)


def _ending(outcome: Outcome) -> str:
    if outcome.interrupted:
        return "interrupted"
    return "drained" if outcome.left else "done"
