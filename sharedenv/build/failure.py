"""The last failed build of a key: those who waited for it get the same error at once."""

from __future__ import annotations

import json
import os

from sharedenv.errors import EXIT_BUILD, SharedenvError
from sharedenv.pool.files import private, readable_as
from sharedenv.pool.layout import Layout
from sharedenv.start.access import again
from sharedenv.start.regular import read_regular


def stamp(layout: Layout, key: str) -> tuple[int, int] | None:
    """Which failure of a key is recorded now: it changes with each new one. None: none is."""
    try:
        found = again(lambda: os.stat(_path(layout, key)))
    except OSError:
        return None
    return found.st_mtime_ns, found.st_ino


def record(layout: Layout, key: str, error: SharedenvError) -> None:
    """Records a failure; never fails itself: a full disk may be the failure."""
    temporary = os.path.join(layout.tmp, f"failure-{os.urandom(8).hex()}")
    try:
        with open(temporary, "w", encoding="utf-8", opener=private) as file:
            json.dump({"message": error.message, "cause": error.cause, "hint": error.hint}, file)
        readable_as(temporary, layout.failures)
        os.replace(temporary, _path(layout, key))
    except OSError:
        pass


def recorded(layout: Layout, key: str) -> SharedenvError | None:
    """The last failure of a key, as the error it was."""
    try:
        value = json.loads(again(lambda: read_regular(_path(layout, key))))
        return SharedenvError(value["message"], cause=value["cause"], hint=value["hint"], exit_code=EXIT_BUILD)
    except (OSError, ValueError, KeyError, TypeError):
        return None


def clear(layout: Layout, key: str) -> None:
    """Forgets the failure of a key that has been built since."""
    try:
        os.unlink(_path(layout, key))
    except OSError:
        pass


def _path(layout: Layout, key: str) -> str:
    return os.path.join(layout.failures, key)
