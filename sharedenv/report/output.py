"""What scripts write, passed on whole: one script's output, then another's, never mixed."""

from __future__ import annotations

import os
import stat
from collections.abc import Callable, Iterable, Iterator
from typing import Protocol

from sharedenv.report.console import write_all
from sharedenv.report.words import case_name, short_path
from sharedenv.run.case import Case
from sharedenv.run.spool import CHUNK, Overflow

IN_MEMORY = 256 << 20  #: bytes of what waits for its turn that may be there, where the disk takes no more

_Kept = list[tuple[int, int] | bytes]  # pieces in order: where one is on disk and how many bytes it has, or the bytes themselves


class Stream(Protocol):
    """What a script wrote on one of its two outputs."""

    def chunks(self) -> Iterator[bytes]:
        """All of it, piece by piece."""


class Output:
    """Passes on the output of each script as it ends, or (``order``: the sequences asked) each in its turn."""

    def __init__(self, tag: Callable[[Case], bytes] | None = None, order: Iterable[int] | None = None) -> None:
        self._tag = tag
        self._turns = None if order is None else iter(order)
        self._turn = 0 if self._turns is None else next(self._turns, 0)
        self._held: dict[int, list[tuple[_Kept, _Kept]]] = {}  # sequence → of stdout, of stderr
        self._kept = 0  # bytes of them that are in memory
        self.crowded = ""  #: why what waits is in memory, in words, until somebody has told it
        self._settled: set[int] = set()  # of these, those from which nothing comes any more but what is late
        self._store: Overflow | None = None
        self._mixed = _one_file()
        self._slow = not (_takes_all(1) and _takes_all(2))
        self.open_line = False  #: whether what went last to where our own lines go (stderr) did not end its line

    def may_wait(self, size: int) -> bool:
        """Whether passing on so many bytes may take its time: they are many, or whoever reads them may be in no hurry."""
        return size > CHUNK or (size > 0 and self._slow)

    def write(self, case: Case, stdout: Stream, stderr: Stream, *, late: bool = False) -> None:
        """Takes what a script wrote; ``late``: what something that it left running wrote when the case was settled. Raises
        OSError when it can't be passed on; with the folder as its file name, when it can't be kept there for its turn.
        """
        out, err = stdout.chunks(), stderr.chunks()
        if self._tag is not None:
            out, err = tagged(out, self._tag(case)), tagged(err, self._tag(case))
        over = late and case.sequence not in self._settled
        if self._turns is None or over or case.sequence == self._turn:
            self._emit(out, err)
        else:
            self._hold(case.sequence, out, err)

    def settled(self, sequence: int) -> None:
        """Nothing more comes from this case: whose turn is it now? Raises OSError."""
        if self._turns is None:
            return
        self._settled.add(sequence)
        while self._turn in self._settled:
            self._settled.remove(self._turn)
            self._release(self._turn)
            self._turn = next(self._turns, 0)

    def finish(self) -> None:
        """Passes on what still waits for its turn (a run cut short). Raises OSError."""
        for sequence in sorted(self._held):
            self._release(sequence)

    def _emit(self, out: Iterable[bytes], err: Iterable[bytes]) -> None:
        for descriptor, chunks in ((1, out), (2, err)):
            for chunk in chunks:
                write_all(descriptor, chunk)
                if descriptor == 2 or self._mixed:
                    self.open_line = not chunk.endswith(b"\n")

    def _hold(self, sequence: int, out: Iterable[bytes], err: Iterable[bytes]) -> None:
        self._held.setdefault(sequence, []).append((self._keep(out), self._keep(err)))

    def _keep(self, chunks: Iterable[bytes]) -> _Kept:
        # in one place for all: thousands may wait for a slow first one
        store = self._store = self._store or Overflow()
        kept: _Kept = []
        for chunk in chunks:
            start = store.size
            try:
                store.append(chunk)
            except OSError as error:
                import tempfile  # noqa: PLC0415 - loaded already, for the file

                if self._kept + len(chunk) > IN_MEMORY:
                    raise OSError(error.errno, error.strerror, tempfile.tempdir) from None
                if not self._kept:
                    where = tempfile.tempdir or "a temporary folder"  # none was found
                    self.crowded = f"what waits for its turn can't be kept in {where} ({error.strerror}): it stays in memory"
                rest = chunk[store.size - start :]
                kept += [(start, store.size - start), rest]
                self._kept += len(rest)
            else:
                kept.append((start, len(chunk)))
        return kept

    def _release(self, sequence: int) -> None:
        for out, err in self._held.pop(sequence, ()):
            self._emit(self._all(out), self._all(err))

    def _all(self, kept: _Kept) -> Iterator[bytes]:
        for piece in kept:
            if isinstance(piece, bytes):
                self._kept -= len(piece)
                yield piece
            else:
                yield from self._read(*piece)

    def _read(self, position: int, count: int) -> Iterator[bytes]:
        end = position + count
        while self._store is not None and position < end:
            chunk = self._store.read(position, min(CHUNK, end - position))
            if not chunk:
                return
            yield chunk
            position += len(chunk)


def _takes_all(descriptor: int) -> bool:
    """Whether a descriptor takes what is written to it at once: a file, /dev/null; no pipe or terminal."""
    try:
        found = os.fstat(descriptor)
    except OSError:
        return True  # closed: nothing waits for it
    return stat.S_ISREG(found.st_mode) or (stat.S_ISCHR(found.st_mode) and not os.isatty(descriptor))


def _one_file() -> bool:
    """Whether stdout and stderr lead to the same place: a terminal, a pipe, a log (`>log 2>&1`)."""
    try:
        return os.path.samestat(os.fstat(1), os.fstat(2))
    except OSError:
        return False


def tagged(chunks: Iterable[bytes], tag: bytes) -> Iterator[bytes]:
    """Each line with ``tag`` before it, as GNU parallel's --tag; a last line without an end gets one."""
    rest = b""
    for chunk in chunks:
        lines = (rest + chunk).split(b"\n")
        rest = lines.pop()
        if lines:
            yield b"".join(tag + line + b"\n" for line in lines)
        if len(rest) > CHUNK:  # a line without end must not fill our memory
            yield tag + rest + b"\n"
            rest = b""
    if rest:
        yield tag + rest + b"\n"


def tag_of(here: str) -> Callable[[Case], bytes]:
    """For --tag: what stands before each line of a case's output, its script as seen from a folder, and its row."""
    return lambda case: case_name(case, lambda path: short_path(path, here)).encode() + b"\t"
