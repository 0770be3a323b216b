"""What one script writes, kept until it ends: in memory while small, on disk beyond that.

A script writes into a memory file of the kernel, not into a pipe: nobody has to read along, it never waits for us, and
a child that it leaves behind does not keep us waiting for an end of file. What grows beyond a limit is moved to an
unlinked temporary file while the script goes on writing: the moved part is punched out of the memory file, whose size
and offsets stay as they are.
"""

from __future__ import annotations

import os
from collections.abc import Iterator

LIMIT = 8 << 20  #: bytes of one stream that stay in memory
CHUNK = 256 << 10
_PIECE = 4 << 20  # bytes moved to disk by one call of the kernel

_memory = getattr(os, "memfd_create", None)


def in_memory() -> bool:
    """Whether this system has files in memory (Linux); elsewhere all that scripts write is on disk from the start."""
    return _memory is not None


class Spool:
    """One stream of one script. ``descriptor`` is what the script writes to."""

    __slots__ = ("_moved", "_overflow", "descriptor")

    def __init__(self) -> None:
        """Raises OSError when there is no descriptor or no memory left."""
        if _memory is not None:
            self.descriptor: int = _memory("sharedenv-output", os.MFD_CLOEXEC)
        else:
            self.descriptor = _unlinked()
        self._overflow = -1
        self._moved = 0

    @property
    def size(self) -> int:
        """Bytes written so far."""
        return os.fstat(self.descriptor).st_size

    @property
    def kept(self) -> int:
        """Bytes of it that are in memory."""
        return self.size - self._moved

    def relieve(self, limit: int = LIMIT) -> None:
        """Moves a piece to disk when more than ``limit`` bytes are in memory. Raises OSError where the disk takes no more: what
        it did not take is still in memory.
        """
        if (kept := self.kept) <= limit:
            return
        if self._overflow < 0:
            self._overflow = _unlinked()
        moved = os.sendfile(self._overflow, self.descriptor, self._moved, min(_PIECE, kept))
        _punch(self.descriptor, self._moved, moved)
        self._moved += moved

    def chunks(self, start: int = 0) -> Iterator[bytes]:
        """What was written, from byte ``start`` on, piece by piece."""
        position, end = start, self.size
        while position < end:
            if position < self._moved:
                data = os.pread(self._overflow, min(CHUNK, self._moved - position), position)
            else:
                data = os.pread(self.descriptor, min(CHUNK, end - position), position)
            if not data:
                return
            yield data
            position += len(data)

    def tail(self, count: int = 4096) -> bytes:
        """The last ``count`` bytes."""
        return b"".join(self.chunks(max(0, self.size - count)))

    def close(self) -> None:
        """Gives back memory and disk."""
        os.close(self.descriptor)
        if self._overflow >= 0:
            os.close(self._overflow)


class Capture:
    """A stream that goes to a file of the user's (`--capture`): the same uses as a Spool, nothing kept back."""

    __slots__ = ("descriptor",)

    def __init__(self, path: str) -> None:
        """Empties the file. Raises OSError."""
        flags = os.O_RDWR | os.O_CREAT | os.O_TRUNC | os.O_APPEND | os.O_CLOEXEC
        self.descriptor = os.open(path, flags, 0o666)

    @property
    def size(self) -> int:
        """Bytes written so far."""
        return os.fstat(self.descriptor).st_size

    def tail(self, count: int = 4096) -> bytes:
        """The last ``count`` bytes; none of what can't be read again (a fifo, a terminal)."""
        try:
            return os.pread(self.descriptor, count, max(0, self.size - count))
        except OSError:
            return b""

    def close(self) -> None:
        """Lets the file go."""
        os.close(self.descriptor)


def open_streams(capture: str | None) -> tuple[Spool, Spool] | tuple[Capture, Capture]:
    """stdout and stderr of one script: spools, or both the file that ``capture`` names in the current folder. Raises OSError."""
    if capture is not None:
        both = Capture(capture)
        return both, both
    stdout = Spool()
    try:
        return stdout, Spool()
    except OSError:
        stdout.close()  # of two descriptors there was one
        raise


def _unlinked() -> int:
    import tempfile  # noqa: PLC0415 - for large outputs alone (macOS: for all)

    descriptor, path = tempfile.mkstemp(prefix="sharedenv-output-")
    os.unlink(path)
    return descriptor


def _punch(descriptor: int, start: int, length: int) -> None:
    import ctypes  # noqa: PLC0415 - milliseconds that only large outputs pay

    keep_size, punch_hole = 1, 2  # FALLOC_FL_* of linux/falloc.h
    libc = ctypes.CDLL(None, use_errno=True)
    # an error here costs memory, nothing else
    libc.fallocate(descriptor, keep_size | punch_hole, ctypes.c_int64(start), ctypes.c_int64(length))
