"""What `run` and `submit` share: how the cases are run, and the journal they go into."""

from __future__ import annotations

import contextlib
import os
import shlex
import sys
from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import click

from sharedenv.app.build import build_plan
from sharedenv.app.project import Selection
from sharedenv.app.work import Wanted, Work
from sharedenv.build.options import BuildOptions
from sharedenv.cli.arguments import duration
from sharedenv.cli.options import Function, option
from sharedenv.cli.scripts import make_pool
from sharedenv.errors import EXIT_USAGE, SharedenvError
from sharedenv.key.plan import Plan
from sharedenv.pool.create import way_out
from sharedenv.pool.layout import Layout
from sharedenv.report.building import BuildProgress
from sharedenv.report.console import Console
from sharedenv.run.case import Case
from sharedenv.run.journal.run import Run
from sharedenv.run.journal.runs import create_run
from sharedenv.run.terms import Terms
from sharedenv.script.find import POOL

if TYPE_CHECKING:
    from sharedenv.cluster.share import Share

_CASE_OPTIONS = (
    option("--timeout", type=duration, metavar="TIME", help="End a script that takes longer: 90, 10m, 2h; 0: never."),
    option("--grace", type=duration, default=10.0, metavar="TIME", help="From TERM to KILL. [default: 10 s]"),
    option("--retries", type=click.IntRange(min=1), default=1, metavar="N", help="Try a script that fails up to N times in all."),
    option("--fail-fast", is_flag=True, help="Start nothing more after the first failure (under Slurm: in its task)."),
    option("--cwd", metavar="DIR", yields=("resume", "retry_failed"), help="Start every script there. [default: each in its own folder]"),
    option("--capture", metavar="NAME", help="Write each script's output to this file in its folder, in place of what is there."),
    option("--threads", type=click.IntRange(min=1), metavar="N", help="Set OMP_NUM_THREADS and its kin to N."),
    option("--insist", is_flag=True, help="Begin also what another run is at work on."),
    option("--preload", is_flag=True, help="Import once what the scripts import, and fork for each of them (Linux)."),
)
_RESUME_OPTIONS = (
    option("--resume", is_flag=True, help="Go on with the last run over these scripts and its options: what is left undone, what failed."),
    option("--retry-failed", is_flag=True, help="What failed in it, and no more."),
    option("--upgrade", is_flag=True, needs=("resume", "retry_failed"), help="What is left, with the versions that are asked for now."),
    option("--run-id", metavar="ID", needs=("resume", "retry_failed"), help="The run that these two mean. [default: the last one]"),
    option("--no-build", is_flag=True, help="A missing environment is an error at once."),
)


def case_options(function: Function) -> Function:
    """Adds the options that say how each case is run."""
    for add in reversed(_CASE_OPTIONS):
        function = add(function)
    return function


def case_terms(given: Mapping[str, Any], joblog: str | None = None) -> Terms:
    """What the options of `case_options` say of how cases are run. ``joblog``: its absolute path."""
    return Terms(
        timeout=given["timeout"] or None,
        grace=given["grace"],
        tries=given["retries"],
        fail_fast=given["fail_fast"],
        capture=given["capture"],
        threads=given["threads"],
        preload=given["preload"],
        joblog=joblog,
    )


def resume_options(function: Function) -> Function:
    """Adds --resume, --retry-failed, --run-id and --no-build."""
    for add in reversed(_RESUME_OPTIONS):
        function = add(function)
    return function


def wanted(
    selection: Selection, arguments: tuple[str, ...] | None, given: Mapping[str, Any], here: str, share: Share | None = None
) -> Wanted:
    """What a command line asks for; ``arguments``: what followed `--`. Raises SharedenvError for options that contradict each other."""
    if given["run_id"] and not (given["resume"] or given["retry_failed"]):
        hint = f"sharedenv {selection.command} --resume --run-id {given['run_id']}"
        raise SharedenvError("--run-id names a run to go on with", hint=hint)
    if given["upgrade"] and not (given["resume"] or given["retry_failed"]):
        hint = shlex.join(["sharedenv", "build", "--upgrade", *(selection.arguments or ["case*/script.py"])])
        raise SharedenvError("--upgrade says with which versions a run goes on; an environment is moved by build", hint=hint)
    cwd = None if given["cwd"] is None else os.path.normpath(os.path.join(here, given["cwd"]))
    if cwd is not None and not os.path.isdir(cwd):
        raise SharedenvError(f"--cwd {given['cwd']} is no folder", hint=f"mkdir -p {shlex.quote(cwd)}")
    return Wanted(selection, arguments, cwd, share, given["run_id"], given["retry_failed"], given.get("lost_too", False))


def choose_sets(work: Work, options: BuildOptions, given: Mapping[str, Any], console: Console, queued: Collection[int] = ()) -> Work:
    """The work of a run that goes on, with its sets of versions; ``queued``: see settled. Raises SharedenvError where results would mix."""
    from sharedenv.app.mixing import settled, take_over  # noqa: PLC0415 - a new run does without

    def build(plan: Plan) -> None:  # what fails is told by who tries it again
        with BuildProgress(console) as progress:
            build_plan(work.project, plan, options, 2, progress)

    may_build = not any(given.get(name) for name in ("no_build", "build_job", "dry_run", "print_only"))
    command = "submit" if "build_job" in given else "run"
    work = settled(work, command, build if may_build else None, upgrade=given["upgrade"], queued=queued)
    if may_build:
        take_over(work)
    return work


@contextlib.contextmanager
def kept_journal(work: Work, asked: Wanted, extra: Mapping[str, Any], console: Console) -> Iterator[Run]:
    """The run's journal. Where the pool is read-only, one that goes when the run ends, which is said. Raises SharedenvError."""
    if work.run is not None:
        if not os.access(work.run.path, os.W_OK):
            read_only = is_read_only(work.layout)
            raise SharedenvError(
                f"can't go on with run {work.run.id}: {'the pool is read-only here' if read_only else 'it is of another user'}",
                cause=f"{work.run.path} can't be written",
                hint=f"sharedenv run SCRIPT…, which runs them all {'without a journal' if read_only else 'as a run of yours'}",
            )
        make_pool(work.layout, console)
        yield work.run
    elif is_read_only(work.layout):
        console.warn("no journal: the pool is read-only; --resume will not know this run")
        import tempfile  # noqa: PLC0415 - it costs more of a start than the journal

        with tempfile.TemporaryDirectory(prefix="sharedenv-run-") as folder:
            elsewhere = replace(work.project, layout=Layout(os.path.join(folder, POOL)))
            yield create_journal(replace(work, project=elsewhere), asked, extra)
    else:
        make_pool(work.layout, console)
        yield create_journal(work, asked, extra)


def is_read_only(layout: Layout) -> bool:
    """Whether the pool is there and takes no journal from this process."""
    folder = layout.runs if os.path.isdir(layout.runs) else layout.path
    return os.path.isdir(folder) and not os.access(folder, os.W_OK)


def create_journal(work: Work, asked: Wanted, extra: Mapping[str, Any], *, ordered: Sequence[Case] | None = None, settled: int = 0) -> Run:
    """A new run on disk with the plan of ``work``; ``ordered``: for workers to join, who take its cases in this order, but for the first
    ``settled`` ones. Raises SharedenvError.
    """
    try:
        return create_run(
            work.layout.runs,
            work.planned if ordered is None else ordered,
            command=sys.argv,
            arguments=asked.arguments or (),
            cwd=asked.cwd,
            extra=dict(extra),
            joinable=ordered is not None,
            settled=settled,
        )
    except OSError as error:
        raise SharedenvError(
            f"can't write the journal below {work.layout.runs}",
            cause=error.strerror,
            hint=way_out(work.layout, error),
            exit_code=EXIT_USAGE,  # nothing was run: 1 would say that some script failed
        ) from None
