"""The staging folder of one build: below tmp/, with a note of who builds there, and gone whatever happens."""

from __future__ import annotations

import json
import os
from collections.abc import Iterator
from contextlib import contextmanager

from sharedenv.pool.files import private
from sharedenv.pool.layout import Layout
from sharedenv.pool.owner import Owner, owner_of, this_process
from sharedenv.pool.store import remove_tree
from sharedenv.start.access import SHORT
from sharedenv.start.regular import read_regular

OWNER = "owner.json"
VENV = "venv"


@contextmanager
def staging(layout: Layout, key: str) -> Iterator[str]:
    """A new folder for a build of ``key``; what is moved out of it stays, the rest is removed."""
    folder = os.path.join(layout.tmp, f"{key[:SHORT]}-{os.urandom(6).hex()}")
    os.mkdir(folder, 0o700)  # its files may hold credentials
    try:
        sign(folder)
        yield folder
    finally:
        # the note goes last: a removal that is killed leaves what is known as rubbish
        for name in os.listdir(folder):
            if name != OWNER:
                remove_tree(os.path.join(folder, name))
        remove_tree(folder)


def sign(folder: str) -> None:
    """Notes in a folder that this process builds there. Raises OSError."""
    with open(os.path.join(folder, OWNER), "w", encoding="utf-8", opener=private) as file:
        json.dump(this_process().record(), file)


def builder_of(folder: str) -> Owner | None:
    """Who builds in a staging folder; None when it doesn't say so."""
    try:
        return owner_of(json.loads(read_regular(os.path.join(folder, OWNER))))
    except (OSError, ValueError, KeyError, TypeError):
        return None
