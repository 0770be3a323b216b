"""Where the bytes that a script writes are kept: in memory while few, on disk beyond that, or in a file of the user's."""

from __future__ import annotations

import errno
import os
import stat
from collections.abc import Iterator

LIMIT = 8 << 20  #: bytes of one stream that stay in memory
CHUNK = 256 << 10
_PIECE = 4 << 10  # bytes: smaller ones that follow each other are kept as one


class Overflow:
    """Bytes in an unlinked temporary file. In several where `ulimit -f` lets none get large enough: that limit is meant for
    what scripts save, not for what they print.
    """

    __slots__ = ("_files", "size")

    def __init__(self) -> None:
        self._files: list[tuple[int, int]] = []  # which byte each begins with, its descriptor
        self.size = 0  #: bytes that are kept

    def append(self, data: bytes | bytearray) -> None:
        """Raises OSError where the disk takes no more; ``size`` tells how much it has taken."""
        rest = memoryview(data)
        while rest:
            if not self._files:
                self._begin()
            start, descriptor = self._files[-1]
            try:
                written = os.write(descriptor, rest)
            except OSError as error:
                if error.errno != errno.EFBIG or start == self.size:
                    raise
                self._begin()
                continue
            self.size += written
            rest = rest[written:]

    def read(self, position: int, count: int) -> bytes:
        """Up to ``count`` bytes from byte ``position`` on; none at the end."""
        for start, descriptor in reversed(self._files):
            if start <= position:
                return os.pread(descriptor, count, position - start)
        return b""

    def close(self) -> None:
        """Gives the disk back; what was kept is gone."""
        for _, descriptor in self._files:
            os.close(descriptor)
        self._files.clear()

    def _begin(self) -> None:
        import tempfile  # noqa: PLC0415 - for large outputs alone

        descriptor, path = tempfile.mkstemp(prefix="sharedenv-output-")
        os.unlink(path)
        self._files.append((self.size, descriptor))


class Spool:
    """What a script wrote on one of its two outputs, until it is passed on."""

    __slots__ = ("_memory", "_moved", "_refused", "kept")

    def __init__(self) -> None:
        # the last of all, in the pieces in which it came: one growing block would leave holes in the memory that nothing fills
        self._memory: list[bytes] = []
        self.kept = 0  #: bytes of it that are in memory
        self._moved: Overflow | None = None
        self._refused = 0  # bytes in memory below which the disk is not asked again

    @property
    def size(self) -> int:
        """Bytes of it."""
        return self.kept + (self._moved.size if self._moved else 0)

    def add(self, data: bytes) -> None:
        """The next bytes."""
        self._memory.append(data)
        self.kept += len(data)
        if len(data) < _PIECE and len(self._memory) > 1 and len(self._memory[-2]) < _PIECE:  # of many small ones few are made
            self._memory[-2:] = [self._memory[-2] + data]

    def relieve(self, limit: int = LIMIT) -> None:
        """Moves all to disk when more than ``limit`` bytes are in memory. Raises OSError where the disk takes no more: what it
        did not take stays in memory, and the disk is asked again when that has doubled.
        """
        if self.kept <= max(limit, self._refused):
            return
        self._moved = self._moved or Overflow()
        for number, piece in enumerate(self._memory):
            before = self._moved.size
            try:
                self._moved.append(piece)
            except OSError:
                taken = self._moved.size - before
                self._memory[: number + 1] = [piece[taken:]]
                self.kept = sum(map(len, self._memory))
                self._refused = 2 * self.kept
                raise
        self._memory, self.kept = [], 0

    def chunks(self, start: int = 0) -> Iterator[bytes]:
        """All from byte ``start`` on, piece by piece."""
        position = start
        moved = self._moved.size if self._moved else 0
        while self._moved and position < moved:
            if not (data := self._moved.read(position, min(CHUNK, moved - position))):
                return
            yield data
            position += len(data)
        begin = moved
        for piece in self._memory:
            if (data := piece[max(0, position - begin) :]):
                yield data
            begin += len(piece)

    def tail(self, count: int = 4096) -> bytes:
        """The last ``count`` bytes."""
        return b"".join(self.chunks(max(0, self.size - count)))

    def close(self) -> None:
        """Gives back memory and disk."""
        self._memory, self.kept = [], 0
        if self._moved:
            self._moved.close()


class Capture:
    """A file of the user's (`--capture`) that takes what a script writes, and at once.

    direct  whether the script may write into it itself: it is a fifo or a device, of which nobody can wipe what was written
    error   why it did not take everything, in words; "" when it did
    """

    __slots__ = ("descriptor", "direct", "error")

    def __init__(self, path: str) -> None:
        """Empties the file. Raises OSError."""
        flags = os.O_RDWR | os.O_CREAT | os.O_TRUNC | os.O_APPEND | os.O_CLOEXEC
        self.descriptor = os.open(path, flags, 0o666)
        self.direct = not stat.S_ISREG(os.fstat(self.descriptor).st_mode)
        self.error = ""

    @property
    def size(self) -> int:
        """Bytes in it."""
        return os.fstat(self.descriptor).st_size

    def add(self, data: bytes) -> None:
        """The next bytes; after an error they are dropped, as what follows a gap would be misread."""
        rest = memoryview(data)
        while rest and not self.error:
            try:
                rest = rest[os.write(self.descriptor, rest) :]
            except OSError as error:
                self.error = f"its output could not be written: {error.strerror}"

    def tail(self, count: int = 4096) -> bytes:
        """The last ``count`` bytes; none of what can't be read again (a fifo, a terminal)."""
        try:
            return os.pread(self.descriptor, count, max(0, self.size - count))
        except OSError:
            return b""

    def close(self) -> None:
        """Lets the file go."""
        os.close(self.descriptor)
