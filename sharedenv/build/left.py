"""Temporary folders of builds that were killed: the next build of the same user removes them."""

from __future__ import annotations

import os
import time
from functools import cache

from sharedenv.pool.owner import is_here, lives
from sharedenv.pool.staging import builder_of
from sharedenv.pool.store import remove_tree

PREFIX = "sharedenv-build-"  #: how their names begin
_SILENCE = 24 * 3600.0  # seconds after which one counts as left whose builder is on another machine, or unknown


@cache  # once is enough for all builds of a process: a TMPDIR that all users share may have thousands of entries
def clear_left(parent: str) -> None:
    """Removes those in a folder (TMPDIR) that dead builds of this user have left. Never fails."""
    try:
        with os.scandir(parent) as entries:
            folders = [entry for entry in entries if entry.name.startswith(PREFIX) and entry.is_dir(follow_symlinks=False)]
            for entry in folders:
                found = entry.stat(follow_symlinks=False)
                if found.st_uid == os.geteuid() and _is_left(entry.path, time.time() - found.st_mtime):
                    remove_tree(entry.path)
    except OSError:
        pass  # somebody was faster


def _is_left(folder: str, age: float) -> bool:
    owner = builder_of(folder)
    if owner is not None and is_here(owner):
        return not lives(owner, 0.0)
    return age >= _SILENCE
