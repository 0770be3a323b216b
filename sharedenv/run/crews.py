"""Which runs the tasks of an array, or of a step, work on: a note for each line of their job script that names scripts.

    runs/.crew-<digest>/<n>     the run of the n-th line: folder and words by which a task knows its own, and the run
    runs/.crew-<digest>/failed  why the last try to make one has failed
    <run>/joined/<task>         this task has joined the run

The digest stands for what all these tasks have in common. A note is made by a link, complete; of two who make the same one, the first
decides. Notes stay: an array that has the number of one of long ago adds its own behind them.
"""

from __future__ import annotations

import contextlib
import hashlib
import json
import os
import shlex
from collections.abc import Callable, Iterable, Mapping
from typing import Any, TypeVar

from sharedenv.care.rubbish import CREW
from sharedenv.errors import EXIT_FAILED, SharedenvError
from sharedenv.pool.files import make_folders, private, readable_as, sync_descriptor
from sharedenv.run.journal.owned import open_owned
from sharedenv.start.regular import SMALL, read_bounded
from sharedenv.values import frozen

_FAILED = "failed"
_JOINED = "joined"

Noted = TypeVar("Noted")


@frozen
class Line:
    """A line of a job script, as its tasks gave it.

    folder  where they gave it, relative to the project's root
    words   as the shell left them, without what is each worker's own
    run     path of its run, absolute
    """

    folder: str
    words: tuple[str, ...]
    run: str

    def is_as(self, other: Line) -> bool:
        """Whether the same was said in the same place."""
        return (self.folder, self.words) == (other.folder, other.words)


def crew_digest(common: Iterable[str]) -> str:
    """The name of a crew's folder, by what its tasks have in common."""
    return hashlib.sha256("\0".join(common).encode("utf-8", "surrogateescape")).hexdigest()[:32]


def crew_folder(runs: str, digest: str) -> str:
    """Where the notes of a crew are. ``runs``: the pool's folder of runs."""
    return os.path.join(runs, CREW + digest)


def read_lines(folder: str) -> list[Line]:
    """The lines noted there so far, oldest first. Raises OSError, and SharedenvError where they are damaged or others may have written
    them.
    """
    lines: list[Line] = []
    while (line := _read(folder, str(len(lines) + 1), _line)) is not None:
        lines.append(line)
    return lines


def add_line(folder: str, number: int, line: Line) -> bool:
    """Notes the line of this number; False when there is one of it. Raises OSError."""
    make_folders(folder)
    temporary = _write(folder, {"folder": line.folder, "words": line.words, "run": line.run})
    try:
        os.link(temporary, os.path.join(folder, str(number)))
    except (FileExistsError, PermissionError):
        if not os.path.lexists(os.path.join(folder, str(number))):  # who is too late on sshfs reads EPERM as often as EEXIST
            raise
        return os.stat(temporary).st_nlink == 2  # it says so, too, when the answer to the first try was lost
    finally:
        os.unlink(temporary)
    return True


def note_failure(folder: str, error: SharedenvError) -> None:
    """Tells those who wait why there will be no run. Never fails: without it each of them tries itself."""
    with contextlib.suppress(OSError):
        make_folders(folder)
        temporary = _write(folder, {"message": error.message, "cause": error.cause, "hint": error.hint, "status": error.exit_code})
        os.rename(temporary, os.path.join(folder, _FAILED))


def last_failure(folder: str) -> tuple[str, SharedenvError] | None:
    """The last failure there, with a name of its own that no other has; None where there is none. Raises as read_lines."""
    return _read(folder, _FAILED, _failure)


def note_joined(run: str, task: str) -> None:
    """Notes in the run at a path that a task has joined it. Raises OSError."""
    path = _joined(run, task)
    make_folders(os.path.dirname(path))
    os.close(private(path, os.O_WRONLY | os.O_CREAT))


def has_joined(run: str, task: str) -> bool:
    """Whether a task has joined the run at a path, in this start or an earlier one."""
    return os.path.lexists(_joined(run, task))


def _joined(run: str, task: str) -> str:
    return os.path.join(run, _JOINED, os.path.basename(task) or "-")


def _line(record: Mapping[str, Any]) -> Line:
    return Line(str(record["folder"]), tuple(map(str, record["words"])), str(record["run"]))


def _failure(record: Mapping[str, Any]) -> tuple[str, SharedenvError]:
    error = SharedenvError(record["message"], cause=record["cause"], hint=record["hint"], exit_code=int(record["status"]))
    return str(record["name"]), error


def _read(folder: str, name: str, decode: Callable[[Mapping[str, Any]], Noted]) -> Noted | None:
    path = os.path.join(folder, name)
    try:
        with open_owned(path, folder) as file:
            found = decode(json.loads(read_bounded(file.fileno(), path, SMALL)))
    except FileNotFoundError:
        return None
    except (ValueError, KeyError, TypeError):
        hint = shlex.join(["rm", "-r", folder])
        raise SharedenvError(f"the note {path} is damaged", hint=hint, exit_code=EXIT_FAILED) from None
    return found


def _write(folder: str, record: Mapping[str, Any]) -> str:
    """A complete temporary file."""
    name = os.urandom(8).hex()
    path = os.path.join(folder, f".new-{name}")
    with open(path, "xb", opener=private) as file:
        file.write(json.dumps({**record, "name": name}).encode("ascii") + b"\n")
        file.flush()
        sync_descriptor(file.fileno())
    readable_as(path, os.path.dirname(folder))
    return path
