"""What uv does, as it goes on: told from the lines that it adds to a log."""

from __future__ import annotations

import contextlib
import threading
from collections.abc import Callable, Iterator
from typing import IO

from sharedenv.build.uv_words import Phases
from sharedenv.start.regular import open_regular

_LOOK = 0.5  # seconds between looks


@contextlib.contextmanager
def following(log: IO[str], step: Callable[[str], None]) -> Iterator[None]:
    """Tells meanwhile what uv does, whenever that changes: resolving, downloading, preparing, installing."""
    log.flush()
    start = log.tell()
    ended = threading.Event()
    thread = threading.Thread(target=_follow, args=(log.name, start, step, ended), name="follow", daemon=True)
    try:
        thread.start()
    except RuntimeError:  # no thread is to be had: a build goes on without
        yield
        return
    try:
        yield
    finally:
        ended.set()
        thread.join()


def _follow(path: str, start: int, step: Callable[[str], None], ended: threading.Event) -> None:
    phases, told = Phases(), ""
    with contextlib.suppress(OSError), open(open_regular(path), encoding="utf-8", errors="replace") as reader:
        reader.seek(start)
        rest = ""
        while not ended.wait(_LOOK):
            *lines, rest = (rest + reader.read()).split("\n")
            for line in lines:
                phases.hear(line)
            if phases.text != told:
                told = phases.text
                step(told)
