"""How a run goes on: one line redrawn on a terminal, plain lines now and then elsewhere."""

from __future__ import annotations

import contextlib
import time
from collections import deque
from collections.abc import Callable
from dataclasses import replace

from sharedenv.report.console import Console, columns, write_all
from sharedenv.report.words import count, duration, estimate
from sharedenv.run.terms import Counts
from sharedenv.values import frozen

REDRAW = 0.1  #: seconds between two drawings of the line
WINDOW = 30.0  #: seconds over which the rate is taken
SHORTEST = 12  #: characters of a name's end, where there is no room for all of it
NAMED = 1.0  #: seconds after which the last ones are named

_ERASE = "\r\033[K"


@frozen
class Rate:
    """Where a run stands in time: seconds since its start, cases a second of late (None before the first has ended). ``doing``: what
    the one build that is at work does.
    """

    elapsed: float
    rate: float | None
    doing: str = ""


def rate_text(rate: float) -> str:
    """`61/s`, `4.2/s`, `12/min`, `3/h`: cases a unit of time, the unit such that the number says something."""
    unit, seconds = ("s", 1) if rate >= 1 else ("min", 60) if rate * 60 >= 1 else ("h", 3600)
    number = rate * seconds
    return f"{number:,.0f}/{unit}" if number >= 9.95 else f"{number:.1f}/{unit}"


def parts(counts: Counts, pace: Rate, name: Callable[[str], str] = str) -> list[str]:
    """What there is to say, most important first; ``name`` shortens a path for the reader."""
    done = counts.succeeded + counts.failed
    said = [f"{done:,} of {counts.total:,}"]
    if counts.failed:
        said.append(f"{counts.failed:,} failed")
    if counts.running:
        said.append(f"{counts.running:,} running")
    if counts.building:
        said.append(f"building {count(counts.building, 'environment')}" + (f": {pace.doing}" if pace.doing else ""))
    if counts.running and not counts.waiting:  # the end is theirs, and no pace tells of it
        return said if counts.building else _with_oldest(said, counts, name)
    if counts.waiting and not counts.building:  # how long a build takes the pace of scripts doesn't tell
        left = counts.left_at(pace.rate) if pace.rate else counts.left
        said += [] if left is None else [f"{estimate(left)} left"]
    if pace.rate:
        said.append(rate_text(pace.rate))
    return said


def _with_oldest(said: list[str], counts: Counts, name: Callable[[str], str]) -> list[str]:
    """The same with the one that has been at work for the longest, once that is a second, and its limit."""
    if not counts.ages or counts.ages[0] < NAMED:
        return said
    which = f"{name(counts.oldest)} for {duration(counts.ages[0])}".lstrip()
    said[-1] += f", longest {which}" if counts.running > 1 else f": {which}" if counts.oldest else f" {which}"
    return [*said, f"limit {duration(counts.limit)}"] if counts.limit else said


def plain_line(counts: Counts, pace: Rate, name: Callable[[str], str] = str) -> str:
    """A line for a log."""
    return f"{duration(pace.elapsed)}: " + ", ".join(parts(counts, pace, name))


def live_line(
    counts: Counts, pace: Rate, width: int, style: Callable[[str, str], str], name: Callable[[str], str] = str
) -> str:
    """The line for a terminal of this many columns: a bar where there is room for one, and what fits of the rest."""
    text = _fitting(counts, pace, width - 1, name)
    room = width - len(text) - 8
    failed = f"{counts.failed:,} failed"
    if counts.failed:
        text = text.replace(failed, style("error", failed), 1)
    if room < 10:
        return text
    done = counts.succeeded + counts.failed
    cells = min(room, 40)
    share = done / counts.total if counts.total else 1.0
    filled = int(share * cells)
    bar = style("good", "━" * filled) + style("dim", "─" * (cells - filled))
    return f"{bar} {int(share * 100):3d}%  {text}"


def _fitting(counts: Counts, pace: Rate, width: int, name: Callable[[str], str]) -> str:
    """What fits of all there is to say: of the one that is named goes its limit, then the beginning of its name, the name, its time."""
    if len(" · ".join(parts(counts, pace, name))) > width:
        pace = replace(pace, doing="")
    unlimited = replace(counts, limit=None)
    text = " · ".join(parts(unlimited, pace, name))
    room = max(len(name(counts.oldest)) + width - len(text), 0)
    shapes = [counts, unlimited, unlimited, replace(unlimited, cases=()), replace(unlimited, cases=(), ages=())]
    for number, shape in enumerate(shapes):
        short = number == 2 and room >= SHORTEST
        said = parts(shape, pace, (lambda path: _end(name(path), room)) if short else name)
        if len(" · ".join(said)) <= width:
            return " · ".join(said)
    while len(said) > 1 and len(" · ".join(said)) > width:
        said.pop()
    return " · ".join(said)


def _end(text: str, width: int) -> str:
    """The end of a text that is longer than that."""
    return text if len(text) <= width else "…" + text[1 - width :]


def next_plain(elapsed: float) -> float:
    """When the next plain line is due: after 10 s, 30 s, then each minute, and every ten minutes after the first ten."""
    for step, until in ((10.0, 10.0), (20.0, 30.0), (30.0, 60.0), (60.0, 600.0)):
        if elapsed < until:
            return elapsed + step if step > 10.0 else 10.0
    return elapsed + 600.0


class Progress:
    """Draws. What else is written to the terminal meanwhile goes between `hide` and the next `show`."""

    def __init__(self, console: Console, now: Callable[[], float] = time.monotonic, name: Callable[[str], str] = str) -> None:
        self._console = console
        self._name = name
        self._now = now
        self._start = now()
        self._first = self._start  # when the first case started, as far as is known: builds before it tell nothing of the pace
        self._samples: deque[tuple[float, int]] = deque([(self._start, 0)])
        self._due = self._start if console.live else self._start + next_plain(0.0)
        self._shown = False

    def due(self) -> bool:
        """Whether it is time for a line."""
        return self._now() >= self._due and self._console.verbosity >= 0

    def show(self, counts: Counts, doing: str = "") -> None:
        """Draws the line, or writes a plain one; ``doing``: what the one build that is at work does."""
        now = self._now()
        if counts.began is not None and counts.began > self._first:
            self._first = counts.began
            self._samples = deque([(self._first, 0)])
        pace = replace(self._pace(now, counts.succeeded + counts.failed), doing=doing)
        if self._console.live:
            self._due = now + REDRAW
            line = live_line(counts, pace, columns(), self._console.style, self._name)
            _draw(_ERASE + line)
            self._shown = True
        else:
            self._due = self._start + next_plain(pace.elapsed)
            self._console.say(plain_line(counts, pace, self._name))

    def hide(self) -> None:
        """Takes the line off the terminal."""
        if self._shown:
            _draw(_ERASE)
            self._shown = False
            self._due = min(self._due, self._now() + REDRAW)

    def _pace(self, now: float, done: int) -> Rate:
        samples = self._samples
        if now - samples[-1][0] >= 1.0:
            samples.append((now, done))
        while len(samples) > 2 and now - samples[1][0] > WINDOW:
            samples.popleft()
        since, before = samples[0]
        if done == before:  # slow scripts: none ended of late, the whole run tells more
            since, before = self._first, 0
        return Rate(now - self._start, (done - before) / (now - since) if done > before and now > since else None)


def _draw(text: str) -> None:
    with contextlib.suppress(OSError):  # the terminal has gone: no reason to end what runs
        write_all(2, text.encode())
