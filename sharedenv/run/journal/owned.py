"""Whether what a run says may be acted upon: who resumes or cancels it runs its scripts, and ends its processes, as himself.

So all of it must belong to the user (to root, or to somebody the user trusts), and nobody else may write there. `status` only
tells what a run says, and warns.
"""

from __future__ import annotations

import os
import shlex
import stat
from typing import BinaryIO

from sharedenv.errors import EXIT_USAGE, SharedenvError
from sharedenv.pool.files import entries
from sharedenv.run.claims.blocks import may_hold_links
from sharedenv.start.regular import open_regular
from sharedenv.start.trust import OPEN, file_fault
from sharedenv.values import frozen

GO_ON = "go on with"


@frozen
class Doubt:
    """Why what a run says may be somebody else's: what is wrong (``fault``, in words) at which ``path``; the command that mends it."""

    path: str
    fault: str
    remedy: str | None


def find_doubt(run: str, *, colleagues: bool = False) -> Doubt | None:
    """What is wrong with the run at this path, if anything; ``colleagues``: it may be another user's, who alone may write there."""
    maker = os.stat(run) if colleagues else None
    for path, found in [(run, os.stat(run)), *entries(run)]:
        if doubt := _doubt(run, path, found, maker):
            return doubt
    return None


def doubt_error(run: str, doubt: Doubt, action: str) -> SharedenvError:
    """The error of who was to ``action`` the run at this path."""
    instead = "sharedenv run SCRIPT…, which runs them all as a run of yours" if action == GO_ON else f"ls -ld {shlex.quote(doubt.path)}"
    return SharedenvError(
        f"can't {action} run {os.path.basename(run)}: others may have written what it says",
        cause=f"{doubt.path}: {doubt.fault}",
        hint=doubt.remedy or instead,
        exit_code=EXIT_USAGE,
    )


def refuse_doubt(run: str, action: str = GO_ON) -> None:
    """Raises SharedenvError where others may have written what the run at this path says: who was to ``action`` it must not."""
    _refuse(run, find_doubt(run), action)


def refuse_folder(run: str) -> None:
    """As refuse_doubt, of the folder alone: its files are looked at as `open_owned` opens them. Raises OSError, too."""
    _refuse(run, _doubt(run, run, os.stat(run)), GO_ON)


def open_file(path: str) -> BinaryIO:
    """Opens a file of a run, to be told of. Raises OSError."""
    return os.fdopen(open_regular(path), "rb")


def open_owned(path: str, run: str) -> BinaryIO:
    """Opens a file of the run at a path, to be acted upon. Raises OSError, SharedenvError."""
    file = open_file(path)
    if doubt := _doubt(run, path, os.fstat(file.fileno())):
        file.close()
        _refuse(run, doubt, GO_ON)
    return file


def _doubt(run: str, path: str, found: os.stat_result, maker: os.stat_result | None = None) -> Doubt | None:
    fault = file_fault(found, path, os.environ, maker)
    if stat.S_ISLNK(found.st_mode):
        if not may_hold_links(os.path.basename(os.path.dirname(path))):
            fault = "it is a link"
        elif fault == OPEN:  # what the mode of every link says
            fault = None
    return Doubt(path, fault, f"chmod -R go-w {shlex.quote(run)}" if fault == OPEN else None) if fault else None


def _refuse(run: str, doubt: Doubt | None, action: str) -> None:
    if doubt is not None:
        raise doubt_error(run, doubt, action)
