"""Files that a case is to create (`--creates`): whether they are there before it is started, and when it has ended."""

from __future__ import annotations

import contextlib
import os
from collections.abc import Iterable
from typing import TYPE_CHECKING

from sharedenv.run.case import Case

if TYPE_CHECKING:
    from sharedenv.run.journal.run import Run


def are_there(case: Case, names: tuple[str, ...]) -> bool:
    """Whether a case is to create something, and all of it is there."""
    return bool(names) and not missing(case, names, case.folder)


def missing(case: Case, names: Iterable[str], folder: str) -> list[str]:
    """Those of the products of a case that are not in its folder, as they were named for it; a link to nowhere is not."""
    wanted = [case.fill(name) for name in names]
    return [name for name in wanted if not os.path.exists(os.path.join(folder, name))]


def halfway(run: Run) -> frozenset[int]:
    """Sequences of cases of a run that others began before it and did not bring to a good end."""
    return frozenset(run.asked.extra.get("halfway", ()))


def lacking(case: Case, names: Iterable[str], folder: str) -> str:
    """What to say of a case that has ended well without all its products in a folder; "" where they are there."""
    if not (gone := missing(case, names, folder)):
        return ""
    for name in gone:  # NFS may say for a minute that what another node has made is not there, until the folder is opened
        with contextlib.suppress(OSError):
            os.close(os.open(os.path.dirname(os.path.join(folder, name)), os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC))
    gone = missing(case, names, folder)
    return f"it ended with 0 and did not create {', '.join(gone)}" if gone else ""
