"""Never twice: what a run whose workers live has in its list, no other run is to begin beside it."""

from __future__ import annotations

import contextlib
from collections.abc import Iterable, Mapping, Sequence

from sharedenv.errors import EXIT_USAGE, SharedenvError
from sharedenv.pool.layout import Layout
from sharedenv.report.words import count
from sharedenv.run.case import Case
from sharedenv.run.journal.living import forget_living, living_runs
from sharedenv.run.journal.run import Run
from sharedenv.run.journal.runs import open_run
from sharedenv.run.workers import living


def refuse_living(layout: Layout, cases: Iterable[Case], environ: Mapping[str, str], own: str | None = None) -> None:
    """Raises SharedenvError when workers of another run (than the one of the name ``own``) are at work on one of these cases, or will be.

    Two cases are one when script, arguments, folder and row are. Only the plans of runs in which somebody lives are read.
    ``environ``: in which Slurm is asked of those that wait in its queue.
    """
    names = [name for name in living_runs(layout.runs) if name != own]
    if not names:
        return
    wanted = {case.identity for case in cases}
    for name in names:
        held, sign = 0, ""
        with contextlib.suppress(SharedenvError):  # what can't be read says nothing
            run = open_run(layout.runs, name)
            if common := [case for case in run.each_case() if case.identity in wanted]:
                held, sign = _held(run, common, environ)
        if held:
            raise beside(name, held, sign, "join")


def _held(run: Run, cases: Sequence[Case], environ: Mapping[str, str]) -> tuple[int, str]:
    """How many of these cases of a run somebody has, and how that is known. A run whose tasks on Slurm are over is forgotten."""
    from sharedenv.cluster.arrays import list_arrays  # noqa: PLC0415 - as above
    from sharedenv.cluster.status import standing  # noqa: PLC0415 - as above
    from sharedenv.run.outlived import without_result  # noqa: PLC0415 - no workers live, most times

    results, sessions = run.read()
    if alive := living(sessions):
        owner = alive[0].owner
        return len(without_result(cases, results)), f"{f'process {owner.pid} on {owner.host}' if owner else 'a worker'} is at work on it"
    if not list_arrays(run.path):
        return 0, ""
    stands = standing(run, environ)  # who waits in the queue gives no sign
    if stands.over:
        forget_living(run)
    job = f"its job {stands.live[-1]} is in Slurm's queue" if stands.live else stands.sign
    return sum(case.sequence in stands.held for case in cases), job


def beside(run_id: str, common: int, sign: str, command: str) -> SharedenvError:
    """The error of who would begin cases that a living run has; the ``sign`` of its life, and the command for who doesn't insist."""
    return SharedenvError(
        f"run {run_id} works on {count(common, 'script')} of these",
        cause=f"{sign}; two processes in one folder mix what they write",
        hint=f"sharedenv {command} {run_id}, or --insist to begin them here as well",
        exit_code=EXIT_USAGE,
    )
