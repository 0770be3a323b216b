"""Options of every command that may build, and the one way in which they do it."""

from __future__ import annotations

import functools
import os
import signal
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any, NoReturn

from sharedenv.cli.arguments import duration
from sharedenv.cli.common import Session
from sharedenv.cli.options import Function, option
from sharedenv.errors import SharedenvError
from sharedenv.frozen import frozen
from sharedenv.plan import Plan
from sharedenv.pool.missing import look_up_all, missing_error
from sharedenv.pool.options import BuildOptions
from sharedenv.pool.store import Environment
from sharedenv.process import stop_all
from sharedenv.report.building import BuildProgress, summary
from sharedenv.report.console import Console
from sharedenv.start.access import SHORT

if TYPE_CHECKING:
    from concurrent.futures import Future

_SPELL = 0.5  # seconds


def build_options(function: Function) -> Function:
    """Adds --no-compile, --offline and --lock-timeout; the command receives them as ``build_options``."""

    @option("--no-compile", is_flag=True, help="Don't compile bytecode: builds are faster, first imports are slower.")
    @option("--offline", is_flag=True, help="Use uv's cache only.")
    @option("--lock-timeout", type=duration, metavar="TIME", help="Wait this long for another process's build: 90, 10m, 2h.")
    @functools.wraps(function)
    def with_options(*args: Any, no_compile: bool, offline: bool, lock_timeout: float | None, **options: Any) -> Any:
        chosen = BuildOptions(compile=not no_compile, offline=offline, lock_timeout=lock_timeout)
        return function(*args, build_options=chosen, **options)

    return with_options


def option_words(options: BuildOptions) -> tuple[str, ...]:
    """What `build_options` has taken from a command line, for another command line."""
    return (
        *(() if options.compile else ("--no-compile",)),
        *(("--offline",) if options.offline else ()),
        *(() if options.lock_timeout is None else (f"--lock-timeout={options.lock_timeout}",)),
    )


@frozen
class Outcome:
    """What became of the environments of a plan: those that are ready, by key, and the errors of those that are not."""

    ready: Mapping[str, Environment]
    errors: tuple[SharedenvError, ...]


@contextmanager
def building(
    session: Session, plan: Plan, options: BuildOptions, jobs: int, console: Console
) -> Iterator[tuple[dict[str, Future[Environment]], BuildProgress]]:
    """Starts building what is missing; yields the future of each key, and who tells of them."""
    from sharedenv.pool.build import Builder  # noqa: PLC0415 - `run` with a full pool needs the options above and no builder

    with BuildProgress(console) as progress, taking_builds_along():
        builder = Builder(session.layout, session.settings, options, os.environ, progress)
        yield builder.build_all(plan.needs.values(), jobs), progress


@contextmanager
def taking_builds_along() -> Iterator[None]:
    """Whoever leaves by an exception (Ctrl-C, TERM, HUP where nohup doesn't ignore it) takes along the builds that are at work."""
    heard = [number for number in (signal.SIGTERM, signal.SIGHUP) if signal.getsignal(number) != signal.SIG_IGN]
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


def build_plan(session: Session, plan: Plan, options: BuildOptions, jobs: int, console: Console) -> Outcome:
    """Builds what is missing and waits for all of it; tells what was built and which builds failed."""
    ready: dict[str, Environment] = {}
    errors: list[SharedenvError] = []
    with building(session, plan, options, jobs, console) as (futures, progress):
        for key, future in futures.items():
            try:
                ready[key] = result_of(future)
            except SharedenvError as error:
                errors.append(error)
            except Exception as error:  # a bug met in one build ends no other
                from sharedenv.report.bug import write_report  # noqa: PLC0415 - needed once in a blue moon

                errors.append(write_report(error, f"build, environment {key[:SHORT]}"))
    if text := summary(progress.built_environments):
        console.say(text)
    console.errors(errors)
    return Outcome(ready, tuple(errors))


def require_one(session: Session, plan: Plan, options: BuildOptions, no_build: bool, console: Console) -> Environment:
    """The environment of a plan over one script, built if it may be. Raises SharedenvError."""
    ready, missing = look_up_all(session.layout, plan)
    if missing:
        if no_build:
            raise missing_error(session.layout, plan.needs, missing, session.python)
        with building(session, plan, options, 1, console) as (futures, _):
            return result_of(next(iter(futures.values())))
    return next(iter(ready.values()))
