"""`run`: some work brought to its end by this process, as a command line or a program asks for it."""

from __future__ import annotations

import contextlib
import os
from collections.abc import Callable, Iterator, Mapping
from dataclasses import field, replace
from typing import TYPE_CHECKING, Any

from sharedenv.app.beside import Beside, look_beside
from sharedenv.app.execute import Needed, RunEnd, execute, needed
from sharedenv.app.journal import kept_journal
from sharedenv.app.launcher import doubt_of_step, refuse_missing
from sharedenv.app.recorder import Display, Teller
from sharedenv.app.work import Wanted, Work, remember_all
from sharedenv.pool.missing import missing_error
from sharedenv.run.allot import Allotment, allot, default_jobs
from sharedenv.run.journal.run import Run
from sharedenv.run.make_starter import make_starter
from sharedenv.run.node import beside
from sharedenv.run.terms import Resources, Terms
from sharedenv.run.witness import hesitation
from sharedenv.values import frozen

if TYPE_CHECKING:
    from sharedenv.build.options import BuildOptions
    from sharedenv.run.joblog import Joblog


@frozen
class RunOrder:
    """How some work is to be run here.

    terms   of each case; the joblog is opened by who orders
    build   how what is missing is built
    jobs    at a time; None: as many as this process may use CPUs
    delay   seconds between two starts
    builds  whether what is missing may be built
    insist  begin also what another run is at work on
    share   others work on the same list at the same time: no more files are looked at than must be, hundreds may start at once
    noted   for who goes on with the run (`Asked.extra`)
    """

    terms: Terms
    build: BuildOptions
    jobs: int | None = None
    delay: float = 0.0
    builds: bool = True
    insist: bool = False
    share: bool = False
    noted: Mapping[str, Any] = field(default_factory=dict)


@frozen
class Ready:
    """What was found before some work begins: the environments, and who looks again whether another run has its cases."""

    environments: Needed
    beside: Beside | None


def make_ready(work: Work, order: RunOrder, tell: Teller, environ: Mapping[str, str]) -> Ready:
    """Looks whether some work may begin here. Nothing is begun, nor written. Raises SharedenvError where it may not."""
    found = look_beside(work, tell, environ, insist=order.insist, share=order.share)
    environments = needed(work, thorough=not order.share, strict=order.build.strict)
    launcher = order.terms.launcher
    if text := doubt_of_step(launcher, environ):
        tell.warn(text)
    if not environments.missing:  # an environment that is yet to be built may bring the launcher: then it is left to the cases
        path = environ.get("PATH", os.defpath)
        refuse_missing(launcher, [os.pathsep.join([os.path.join(one.path, "bin"), path]) for one in environments.ready.values()])
    elif order.builds:
        work.project.settings  # noqa: B018 - an error in them is told before anything is begun
    else:
        raise missing_error(work.layout, work.plan.needs, environments.missing, work.project.options)
    return Ready(environments, found)


def allotted(order: RunOrder, tell: Teller, environ: Mapping[str, str], *, dry: bool = False) -> Allotment:
    """How many cases at a time, and the places for them; ``dry``: nothing is taken. Raises SharedenvError."""
    worker = Resources(order.jobs, default_jobs(environ), environ)
    return allot(worker, order.terms.needs, tell.warn, several=beside(environ) > 1, dry=dry)


@contextlib.contextmanager
def carried_out(
    work: Work,
    asked: Wanted,
    order: RunOrder,
    ready: Ready,
    allotment: Allotment,
    display: Display,
    environ: Mapping[str, str],
    joblog: Joblog | None = None,
    began: Callable[[Run], None] | None = None,
) -> Iterator[tuple[Run, RunEnd]]:
    """Builds what is missing and runs the cases; the run and how it ended. Where the pool is read-only, the run is gone after the context.
    ``began`` is told of the run before its first case.

    Main thread only: signals are its business meanwhile, and the current folder changes. Raises SharedenvError.
    """
    with kept_journal(work, asked, order.noted, display) as journal:
        if began:
            began(journal)
        starter = make_starter(display.say, preload=order.terms.preload)
        try:
            ended = execute(
                work,
                journal,
                starter=starter,
                environments=ready.environments,
                options=replace(order.terms.options(allotment.jobs, order.delay, hesitation(environ)), begun=work.begun),
                places=allotment.places,
                build_options=order.build if order.builds else None,
                display=display,
                joblog=joblog,
                threads=order.terms.threads,
                launcher=order.terms.launcher,
                begun=lambda: ready.beside.begun(journal) if ready.beside else None,
            )
        finally:
            starter.close()
            allotment.places.close()
        yield journal, ended
    if order.builds and not order.share:  # nodes write nothing into the pool but their journals
        remember_all(work)
