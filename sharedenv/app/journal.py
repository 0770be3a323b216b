"""The journal of a run, in a pool that is there or is made for it."""

from __future__ import annotations

import contextlib
import os
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from typing import Any

from sharedenv.app.recorder import Teller
from sharedenv.app.work import Wanted, Work
from sharedenv.errors import EXIT_USAGE, SharedenvError
from sharedenv.pool.create import create_pool, way_out
from sharedenv.pool.layout import Layout
from sharedenv.report.words import made_pool
from sharedenv.run.case import Case
from sharedenv.run.journal.owned import GO_ON
from sharedenv.run.journal.run import Run
from sharedenv.run.journal.runs import create_run
from sharedenv.script.find import POOL


def make_pool(layout: Layout, tell: Teller, *, shared: bool = False) -> None:
    """Makes the pool where there is none, and says so. Raises SharedenvError."""
    if create_pool(layout, shared=shared):
        tell.say(made_pool(layout.path))


@contextlib.contextmanager
def kept_journal(work: Work, asked: Wanted, extra: Mapping[str, Any], tell: Teller) -> Iterator[Run]:
    """The run's journal. Where the pool is read-only, one that goes when the run ends, which is said. Raises SharedenvError."""
    if work.run is not None:
        if not os.access(work.run.path, os.W_OK):
            raise unwritable_run(work.layout, work.run, GO_ON)
        make_pool(work.layout, tell)
        yield work.run
    elif is_read_only(work.layout):
        tell.warn("no journal: the pool is read-only; --resume will not know this run")
        import tempfile  # noqa: PLC0415 - it costs more of a start than the journal

        with tempfile.TemporaryDirectory(prefix="sharedenv-run-") as folder:
            elsewhere = replace(work.project, layout=Layout(os.path.join(folder, POOL)))
            yield create_journal(replace(work, project=elsewhere), asked, extra)
    else:
        make_pool(work.layout, tell)
        yield create_journal(work, asked, extra)


def is_read_only(layout: Layout) -> bool:
    """Whether the pool is there and takes no journal from this process."""
    folder = layout.runs if os.path.isdir(layout.runs) else layout.path
    return os.path.isdir(folder) and not os.access(folder, os.W_OK)


def unwritable_run(layout: Layout, run: Run, action: str, hint: str | None = None) -> SharedenvError:
    """The error of who was to ``action`` a run that he can't write to: a colleague's, or where the pool is read-only.

    ``hint``: a command to run next, by default that which runs its scripts anew.
    """
    read_only = is_read_only(layout)
    instead = f"sharedenv run SCRIPT…, which runs them all {'without a journal' if read_only else 'as a run of yours'}"
    return SharedenvError(
        f"can't {action} run {run.id}: {'the pool is read-only here' if read_only else 'it is of another user'}",
        cause=f"{run.path} can't be written",
        hint=hint or instead,
        exit_code=EXIT_USAGE,
    )


def create_journal(work: Work, asked: Wanted, extra: Mapping[str, Any], *, ordered: Sequence[Case] | None = None, settled: int = 0) -> Run:
    """A new run on disk with the plan of ``work``; ``ordered``: for workers to join, who take its cases in this order, but for the first
    ``settled`` ones. Raises SharedenvError.
    """
    try:
        return create_run(
            work.layout.runs,
            work.planned if ordered is None else ordered,
            command=asked.command,
            arguments=asked.arguments or (),
            cwd=asked.cwd,
            extra={
                **extra,
                **({"table": asked.table.record} if asked.table else {}),
                **({"halfway": sorted(work.halfway)} if work.halfway else {}),
            },
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
