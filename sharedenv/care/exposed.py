"""What in a pool others than its maker may write: looked for by doctor, which asks every file. A start looks at one (trust.py)."""

from __future__ import annotations

import os
import shlex
import stat
from collections.abc import Iterator

from sharedenv.care.survey import survey
from sharedenv.pool.check import read_contents
from sharedenv.pool.files import entries
from sharedenv.pool.layout import Layout
from sharedenv.start.access import OTHERS
from sharedenv.start.trust import is_shared
from sharedenv.values import frozen

_PARTS = ("runs", "archives", "packed", "failures", "logs", "locks", "used")  #: what lies in the others leads into envs/, or is on its way


@frozen
class Exposed:
    """Something that others may write, in words, and the command that mends it."""

    text: str
    remedy: str


def find_exposed(layout: Layout) -> Iterator[Exposed]:
    """All that others may write in a pool that is trusted itself, with its folders. Raises OSError."""
    for item in survey(layout):
        # a chmod would change uv's cache, whose files most are, and keep what others may have written
        if item.published and (names := exposed_in(item.path)):
            yield Exposed(f"others may write {_some(names)} in environment {item.name}", f"sharedenv verify --repair {item.name}")
    shared = is_shared(layout.path)
    parts = [(part, name) for part in _PARTS if (name := _first_exposed(layout, part, shared=shared)) is not None]
    if parts:
        # the folders themselves are the group's where it shares the pool
        paths = " ".join(shlex.quote(os.path.join(layout.path, part)) + ("/*" if shared else "") for part, _ in parts)
        names = [os.path.join(part, name) for part, name in parts]
        yield Exposed(f"others may write {_some(names)} in the pool", f"chmod -R go-w {paths}")


def exposed_in(environment: str) -> list[str]:
    """What others may write of an environment, itself included: paths relative to it, sorted. Raises OSError."""
    top = ["."] if os.lstat(environment).st_mode & OTHERS else []
    return [*top, *sorted(read_contents(environment).exposed)]


def _first_exposed(layout: Layout, part: str, *, shared: bool) -> str | None:
    """The first that others may write below a folder of the pool, relative to it; of a shared pool, what this user can mend."""
    top, user = os.path.join(layout.path, part), os.geteuid()
    for path, found in entries(top):
        mine = not shared or user in (found.st_uid, 0)
        if mine and found.st_mode & OTHERS and not stat.S_ISLNK(found.st_mode):
            return os.path.relpath(path, top)
    return None


def _some(names: list[str]) -> str:
    more = f" and {len(names) - 1:,} more" if len(names) > 1 else ""
    return f"{names[0]}{more}"
