"""Signals and news of other threads, on one descriptor that the loop of a batch sleeps on."""

from __future__ import annotations

import os
import select
import signal
from types import FrameType

from sharedenv.run.signals import CANCEL

#: what the loop answers itself; SIGHUP only where nobody (nohup) ignores it already
_HANDLED = (signal.SIGCHLD, signal.SIGINT, signal.SIGTERM, signal.SIGUSR1, CANCEL, signal.SIGHUP, signal.SIGTSTP)


class Wakeup:
    """A context: inside it, signals no longer interrupt but wait to be asked for. Only in the main thread."""

    def __init__(self) -> None:
        self._read, self._write = os.pipe()
        os.set_blocking(self._read, False)
        os.set_blocking(self._write, False)
        self._poll = select.poll()
        self._poll.register(self._read, select.POLLIN)
        self._old: dict[int, object] = {}
        self._old_descriptor = -1

    def watch(self, descriptor: int) -> None:
        """Makes `wait` also return when this descriptor is readable."""
        self._poll.register(descriptor, select.POLLIN)

    def poke(self) -> None:
        """Wakes the loop, from any thread."""
        try:
            os.write(self._write, b"\0")
        except BlockingIOError:
            pass  # it is full of reasons to wake up already

    def wait(self, seconds: float | None) -> list[int]:
        """Sleeps until something happens, ``seconds`` at most; the signals that came, in order, SIGCHLD left out."""
        self._poll.poll(None if seconds is None else max(0.0, seconds * 1000))
        try:
            data = os.read(self._read, 4096)
        except BlockingIOError:
            return []
        return [number for number in data if number and number != signal.SIGCHLD]

    def __enter__(self) -> Wakeup:
        self._old_descriptor = signal.set_wakeup_fd(self._write, warn_on_full_buffer=False)
        for number in _HANDLED:
            old = signal.getsignal(number)
            if old is not signal.SIG_IGN or number == signal.SIGCHLD:
                self._old[number] = old
                signal.signal(number, _leave_it_to_the_loop)
        return self

    def __exit__(self, *_: object) -> None:
        for number, handler in self._old.items():
            signal.signal(number, handler)  # type: ignore[arg-type]  # what getsignal gave
        signal.set_wakeup_fd(self._old_descriptor)
        os.close(self._read)
        os.close(self._write)


def _leave_it_to_the_loop(_number: int, _frame: FrameType | None) -> None:
    """The number is on the wakeup descriptor already."""
