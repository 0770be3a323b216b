"""`--joblog`: one line an attempt, in GNU parallel's nine columns (its manual, "joblog").

Host is the name of our host, where GNU parallel writes ":" for the local machine.
"""

from __future__ import annotations

import contextlib
import errno
import fcntl
import os
import shlex
import stat
import time
from collections.abc import Callable, Iterator
from dataclasses import replace

from sharedenv.run.case import Case, Result
from sharedenv.run.starter import Prepared
from sharedenv.start.regular import open_regular

_TRIES, _PAUSE = 40, 0.05  # seconds between them
HEADER = b"Seq\tHost\tStarttime\tJobRuntime\tSend\tReceive\tExitval\tSignal\tCommand\n"


def joblog_line(case: Case, result: Result, prepared: Prepared | None) -> bytes:
    """One line; ``prepared``: None for a case that had no environment.

    A time-out is -1 and 15, as GNU parallel writes it; a line break in a command is a NUL, as there."""
    signal = 15 if result.error.startswith("timed out") else result.signal
    # GNU parallel writes 0 beside a signal; what never started has no exit status at all
    status = 0 if result.signal and not result.error else result.status
    argv = (prepared or Prepared("python", {})).argv(case)
    command = " ".join(map(_word, argv)).replace("\n", "\0")
    fields = (
        str(case.sequence),
        result.host,
        f"{result.start:.3f}",
        f"{result.seconds:10.3f}",
        "0",
        str(result.output),
        str(status),
        str(signal),
        command,
    )
    return os.fsencode("\t".join(fields)) + b"\n"


def _word(text: str) -> str:
    """A word for a shell (bash, zsh, ksh): what is no printable character is spelled out, but for a line break."""
    if all(char.isprintable() or char == "\n" for char in text):
        return shlex.quote(text)
    return "$'" + "".join(map(_spelled, text)) + "'"


def _spelled(char: str) -> str:
    if char.isprintable() or char == "\n":
        return f"\\{char}" if char in "\\'" else char
    return "".join(f"\\x{byte:02x}" for byte in os.fsencode(char))


class Joblog:
    """The file. A new run empties it, a resumed one goes on in it, and so do the shares of one list, which may all name one file.

    ``place``, of a share: gives for the sequence of a case in it that in the list of all, its Seq, for no two rows to have one.
    """

    def __init__(self, path: str, *, append: bool, place: Callable[[int], int] | None = None) -> None:
        """Raises OSError."""
        self._place = place
        flags = os.O_WRONLY | os.O_CREAT | os.O_APPEND | os.O_CLOEXEC
        self._descriptor = _open(path, flags if append or place else flags | os.O_TRUNC)
        with self._alone() if place else contextlib.nullcontext():
            self._torn = stat.S_ISREG(os.fstat(self._descriptor).st_mode) and not _ends_a_line(path)
            if os.fstat(self._descriptor).st_size == 0:
                self._write(HEADER)

    def append(self, case: Case, result: Result, prepared: Prepared | None) -> None:
        """Writes one line. Raises OSError."""
        if self._place is not None:
            case = replace(case, sequence=self._place(case.sequence))
        self._write(joblog_line(case, result, prepared))

    @contextlib.contextmanager
    def _alone(self) -> Iterator[None]:
        # of many shares that begin at once, one writes the header; without flock on its disk a second may
        with contextlib.suppress(OSError):
            fcntl.flock(self._descriptor, fcntl.LOCK_EX)
        yield
        with contextlib.suppress(OSError):
            fcntl.flock(self._descriptor, fcntl.LOCK_UN)

    def _write(self, line: bytes) -> None:
        # a disk that fills takes part of a line: the next one starts on a line of its own
        line = b"\n" + line if self._torn else line
        while line:
            line = line[os.write(self._descriptor, line) :]
            self._torn = bool(line)


def _ends_a_line(path: str) -> bool:
    """Whether a file is empty or ends with a line break; one that can't be read counts as such."""
    try:
        with open(open_regular(path, follow=True), "rb") as file:
            file.seek(-min(1, os.fstat(file.fileno()).st_size), os.SEEK_END)
            return file.read() in (b"", b"\n")
    except OSError:
        return True


def _open(path: str, flags: int) -> int:
    """A descriptor to write to; a pipe that nobody reads is waited for no longer than whoever is to read it takes to come."""
    for _ in range(_TRIES):
        try:
            descriptor = os.open(path, flags | os.O_NONBLOCK, 0o666)
        except OSError as error:
            if error.errno != errno.ENXIO:
                raise
            time.sleep(_PAUSE)
        else:
            os.set_blocking(descriptor, True)
            return descriptor
    raise OSError(errno.ENXIO, "nobody reads from this pipe", path)
