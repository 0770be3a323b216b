"""The pipe that a script writes into: whatever of it writes, and however it came by the descriptor, nothing is overwritten.

A file would be wiped by who opens /dev/stdout by its name (`tee /dev/stderr`, awk), as that begins at its first byte or
empties it, and `ulimit -f` would count what is printed.
"""

from __future__ import annotations

import os
import threading

from sharedenv.run.spool import Capture, Spool

_READ = 64 << 10  # bytes: what a pipe holds (Linux)
_AT_ONCE = 1 << 20  # bytes: what a pipe holds at most, as a user may make it


class Pipe:
    """One way out of a script. What is written into ``writer`` arrives in ``sink``, as often as someone calls `fill`.

    The loop and the thread that reads along (reader.py) both do: a lock keeps the order.
    """

    __slots__ = ("_lock", "reader", "sink", "writer")

    def __init__(self, sink: Spool | Capture) -> None:
        """Raises OSError when there is no descriptor left; the sink is then its giver's still."""
        self.sink: Spool | Capture = sink
        self._lock = threading.Lock()
        if isinstance(sink, Capture) and sink.direct:
            self.reader, self.writer = -1, os.dup(sink.descriptor)
        else:
            self.reader, self.writer = os.pipe()  #: reader: -1 once nobody can write any more
            os.set_blocking(self.reader, False)

    @property
    def open(self) -> bool:
        """Whether more may come."""
        return self.reader >= 0

    def started(self) -> None:
        """The script has its end of the pipe: ours is closed, or the other end would never come to its end."""
        os.close(self.writer)
        self.writer = -1

    def fill(self, limit: int | None = None) -> int:
        """Takes some of what is in the pipe; how many bytes. Never waits for a writer. ``limit``: bytes that may stay in
        memory; raises OSError when more do since the disk does not take them: they are kept all the same.
        """
        with self._lock:
            if self.reader < 0:
                return 0
            try:
                data = os.read(self.reader, _READ)
            except BlockingIOError:
                return 0
            if not data:
                os.close(self.reader)
                self.reader = -1
                return 0
            self.sink.add(data)
            if limit is not None and isinstance(self.sink, Spool):
                self.sink.relieve(limit)
            return len(data)

    def drain(self) -> None:
        """Takes what is in the pipe now: of one who never stops writing, no more than it can hold."""
        taken = 0
        while taken < _AT_ONCE and (count := self.fill()):
            taken += count

    def take(self) -> Spool | Capture:
        """What has arrived until now. What is still to come arrives elsewhere, where it does not go into a file anyway."""
        with self._lock:
            sink = self.sink
            if self.reader >= 0 and isinstance(sink, Spool):
                self.sink = Spool()
            return sink

    def hand_over(self) -> int:
        """The descriptor to read on from, for another process; -1 when nothing more comes."""
        with self._lock:
            reader, self.reader = self.reader, -1
            return reader

    def close(self) -> None:
        """Gives all back. Who still writes gets SIGPIPE."""
        for descriptor in (self.hand_over(), self.writer):
            if descriptor >= 0:
                os.close(descriptor)
        self.sink.close()


def open_pipes(capture: str | None) -> tuple[Pipe, Pipe]:
    """For stdout and stderr of one script; one for both into the file that ``capture`` names in the current folder. Raises
    OSError.
    """
    if capture is None:
        stdout = Pipe(Spool())
        try:
            return stdout, Pipe(Spool())
        except OSError:
            stdout.close()  # of four descriptors there were two
            raise
    file = Capture(capture)
    try:
        both = Pipe(file)
    except OSError:
        file.close()
        raise
    return both, both
