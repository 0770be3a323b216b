"""Environments that a command needs: built where they may be, and waited for."""

from __future__ import annotations

import os
import signal
import threading
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import replace
from typing import TYPE_CHECKING, NoReturn, Protocol

from sharedenv.app.project import Project
from sharedenv.build.options import BuildOptions
from sharedenv.errors import EXIT_BUILD, SharedenvError
from sharedenv.key.plan import Plan
from sharedenv.pool.index import remember
from sharedenv.pool.missing import look_up_all, missing_error
from sharedenv.pool.store import DRIFTED, Environment, Unusable, inspect
from sharedenv.process import stop_all
from sharedenv.values import frozen

if TYPE_CHECKING:
    from concurrent.futures import Future

    from sharedenv.build.builder import BuildObserver

_SPELL = 0.5  # seconds


@frozen
class BuildOutcome:
    """What became of the environments of a plan, by key: those that are ready, and why others are not: a SharedenvError, or a bug
    that was met.
    """

    ready: Mapping[str, Environment]
    failed: Mapping[str, Exception]


class NotBuilt(SharedenvError):
    """Builds have failed, with these ``errors``, which have been told."""

    def __init__(self, errors: Sequence[SharedenvError]) -> None:
        super().__init__("an environment could not be built", exit_code=EXIT_BUILD)
        self.errors = errors


class Builds(Protocol):
    """Who has environments built for a use case, and tells people of it."""

    def attempt(self, project: Project, plan: Plan, options: BuildOptions) -> object:
        """Builds what is missing; what fails is told by who tries it again."""

    def finish(self, project: Project, plan: Plan, options: BuildOptions) -> object:
        """The same, and tells what was built. Raises SharedenvError where a build has failed."""


@contextmanager
def building(
    project: Project, plan: Plan, options: BuildOptions, jobs: int, observer: BuildObserver
) -> Iterator[dict[str, Future[Environment]]]:
    """Starts building what is missing, ``jobs`` at a time; yields the future of each key."""
    from sharedenv.build.builder import Builder  # noqa: PLC0415 - `run` with a full pool needs no builder

    futures: dict[str, Future[Environment]] = {}
    try:
        with taking_builds_along():
            futures = Builder(project.layout, project.settings, options, os.environ, observer).build_all(plan.needs.values(), jobs)
            yield futures
    except BaseException:
        for future in futures.values():  # uv has been ended: who builds in this process again must not meet who is about to end
            future.exception()
        raise


@contextmanager
def taking_builds_along() -> Iterator[None]:
    """Whoever leaves by an exception takes along the builds that are at work: Ctrl-C, and TERM and HUP where nobody else (nohup, a
    program that builds by the way) hears or ignores them.
    """
    ours = threading.current_thread() is threading.main_thread()  # no other thread may say who hears a signal
    heard = [number for number in (signal.SIGTERM, signal.SIGHUP) if ours and signal.getsignal(number) is signal.SIG_DFL]
    before = {number: signal.signal(number, end_by_signal) for number in heard}
    try:
        yield
    except BaseException:
        stop_all()
        raise
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


def end_by_signal(number: int, _frame: object) -> NoReturn:
    """A signal's handler: whoever is at work cleans up. Without it uv, in a process group of its own, would outlive us."""
    raise SystemExit(128 + number)


def result_of(future: Future[Environment]) -> Environment:
    """What a build gives. Waited for in short spells: Python hears of a signal that comes just before a wait only after it."""
    from concurrent.futures import wait  # noqa: PLC0415 - loaded with the builder

    while not wait((future,), timeout=_SPELL).done:
        pass
    return future.result()


def build_plan(project: Project, plan: Plan, options: BuildOptions, jobs: int, observer: BuildObserver) -> BuildOutcome:
    """Builds what is missing and waits for all of it."""
    ready: dict[str, Environment] = {}
    failed: dict[str, Exception] = {}
    with building(project, plan, options, jobs, observer) as futures:
        for key, future in futures.items():
            try:
                ready[key] = result_of(future)
            except Exception as error:  # whatever one build has met, it ends no other
                failed[key] = error
    return BuildOutcome(ready, failed)


def remember_built(project: Project, plan: Plan, ready: Mapping[str, Environment]) -> None:
    """Notes what was built in the index: the next command over the same scripts parses none of them."""
    # one script of each key: its copies have the same bytes
    remember(project.layout, os.environ, {plan.needs[key].scripts[0]: environment for key, environment in ready.items()}, project.python)


def look_closely(
    project: Project, plan: Plan, options: BuildOptions, observer: BuildObserver
) -> dict[str, Environment | Unusable | None]:
    """What a build would find of each key, and build nothing: uv is asked whether sources have changed that can."""
    from sharedenv.build.builder import Builder  # noqa: PLC0415 - as above

    builder = Builder(project.layout, project.settings, replace(options, drift=True), os.environ, observer)
    found: dict[str, Environment | Unusable | None] = {}
    for key, need in plan.needs.items():
        looked = inspect(project.layout, need.payload, strict=options.strict)
        changed = isinstance(looked, Environment) and builder.has_drifted(need, looked)
        found[key] = Unusable(looked.path, DRIFTED) if changed and looked is not None else looked
    return found


def require_one(project: Project, plan: Plan, options: BuildOptions, no_build: bool, observer: BuildObserver) -> Environment:
    """The environment of a plan over one script, built if it may be. Raises SharedenvError."""
    ready, missing = look_up_all(project.layout, plan, strict=options.strict)
    if not missing:
        return next(iter(ready.values()))
    if no_build:
        raise missing_error(project.layout, plan.needs, missing, project.options)
    with building(project, plan, options, 1, observer) as futures:
        environment = result_of(next(iter(futures.values())))
    if environment.reading:  # told by who builds: `exec` starts thousands of times
        observer.warn(environment.reading)
    return environment
