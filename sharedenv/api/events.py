"""What happens meanwhile, for the caller: the lines that the command writes for people."""

from __future__ import annotations

import threading
from collections.abc import Callable, Sequence
from dataclasses import field

from sharedenv.errors import SharedenvError
from sharedenv.report.console import Console
from sharedenv.values import frozen

OnEvent = Callable[[str], object]


@frozen
class Events(Console):
    """A console that prints nothing: each line is given to ``on_event``, one at a time, from whatever thread it comes."""

    on_event: OnEvent | None = None
    lock: threading.RLock = field(default_factory=threading.RLock, repr=False, compare=False)

    @property
    def live(self) -> bool:
        """No line is drawn again."""
        return False

    def say(self, text: str) -> None:
        """A line for people."""
        if self.on_event is not None:
            with self.lock:
                self.on_event(text)

    def errors(self, errors: Sequence[SharedenvError]) -> None:
        """Errors are raised."""

    def detail(self, text: str) -> None:
        """A line that only -v shows."""


def events(on_event: OnEvent | None, pool: str | None = None) -> Events:
    """Who is told. ``pool``: the one that was named, for commands that are told to be run."""
    return Events(color="never", pool=pool, on_event=on_event)
